"""The names of Flask-Limiter, with its order of arguments before and since version 3, and with its default: a fixed window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from ...flask import Limiter as _Limiter
from ...flask import RateLimitExceeded

__all__ = ["Limiter", "RateLimitExceeded"]

_START = "RATELIMIT_"
_DEFAULTS = {
    "DEFAULTS_PER_METHOD": "per_method",
    "DEFAULTS_EXEMPT_WHEN": "exempt_when",
    "DEFAULTS_DEDUCT_WHEN": "deduct_when",
    "DEFAULTS_COST": "cost",
}
_OBEYED = {"ENABLED", "DEFAULT", "APPLICATION", "HEADERS_ENABLED", "STRATEGY", "STORAGE_URI", "KEY_PREFIX", *_DEFAULTS}
# What those that are not obeyed may say, as it is so here: beside these, nothing at all.
_SO_HERE = {
    "APPLICATION_COST": 1,
    "FAIL_ON_FIRST_BREACH": True,
    "HEADER_RETRY_AFTER": "Retry-After",
    "HEADER_RETRY_AFTER_VALUE": "delta-seconds",
}


class Limiter(_Limiter):
    """``flask.Limiter`` that counts in fixed windows from the first request, refused ones too, unless ``strategy`` says
    otherwise.

    ``init_app`` obeys ``RATELIMIT_ENABLED``, ``_DEFAULT``, ``_DEFAULTS_PER_METHOD``, ``_DEFAULTS_EXEMPT_WHEN``,
    ``_DEFAULTS_DEDUCT_WHEN``, ``_DEFAULTS_COST``, ``_APPLICATION``, ``_HEADERS_ENABLED``, ``_STRATEGY``, ``_KEY_PREFIX``, and
    ``_STORAGE_URI`` if it is ``memory://``, of the application's configuration: arguments go before it, but for ``_ENABLED``. It
    refuses what else begins with ``RATELIMIT_``.
    """

    def __init__(self, *args: Any, key_prefix: str = "", **options: Any) -> None:
        # Of which the configuration says nothing.
        self._given = {name for name, value in options.items() if value is not None}
        self._key_prefix = key_prefix
        if options.get("strategy") is None:
            options["strategy"] = "fixed-window"
        if options.get("headers_enabled") is None:
            options["headers_enabled"] = True
        super().__init__(*args, **options)

    def init_app(self, app: Flask) -> None:
        self._configure({key[len(_START) :]: value for key, value in app.config.items() if key.startswith(_START)})
        super().init_app(app)

    def _configure(self, config: Mapping[str, Any]) -> None:
        self.enabled = bool(config.get("ENABLED", self.enabled))
        if not self.enabled:
            # Nor need the rest be right, as of a configuration for tests.
            return
        for key, value in config.items():
            if key not in _OBEYED and (value != _SO_HERE[key] if key in _SO_HERE else value):
                raise ValueError(f"{_START}{key} is not offered, and {value!r} was given: use Flask-Limiter itself, and "
                                 'storage_uri="tollgate://" there')  # fmt: skip
        if "storage_uri" not in self._given:
            self._require_memory(config.get("STORAGE_URI"))
        self._prefix = self._key_prefix or config.get("KEY_PREFIX") or ""
        if "headers_enabled" not in self._given:
            self._headers_enabled = bool(config.get("HEADERS_ENABLED", self._headers_enabled))
        if "strategy" not in self._given and config.get("STRATEGY"):
            self._table.go_by(config["STRATEGY"])
        for key, option in _DEFAULTS.items():
            if config.get(key) is not None and f"default_limits_{option}" not in self._given:
                self._of_defaults[option] = config[key]
        for rule in self._defaults:
            vars(rule).update(self._of_defaults)
        if not self._defaults:
            self._defaults = self._declare_all("default", config.get("DEFAULT"), **self._of_defaults)
        if not self._application:
            self._application = self._declare_all("application", config.get("APPLICATION"), per_endpoint=False)
