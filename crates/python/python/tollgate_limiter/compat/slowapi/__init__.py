"""The names of slowapi, with its default: a fixed window. No parameter called ``request`` is needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...fastapi import Limiter as _Limiter
from ...fastapi import _is_plain, _of_request, get_remote_address
from .errors import RateLimitExceeded

__all__ = ["Limiter", "_rate_limit_exceeded_handler"]


P = ParamSpec("P")
R = TypeVar("R")


def _of_key(rates: Any, key_func: Callable[..., Any]) -> Any:
    """Rates of a function whose parameter is called ``key``, which is what slowapi gives it, as a function of the request."""
    if isinstance(rates, str) or "key" not in inspect.signature(rates).parameters:
        return rates
    if not _is_plain(key_func):
        raise TypeError(f"{rates!r} wants the key, and {key_func!r} is a dependency, which FastAPI resolves: let the rates be a "
                        "function of the request")  # fmt: skip
    function, key = rates, _of_request(key_func)
    return lambda request: function(key(request))


class Limiter(_Limiter):
    """``fastapi.Limiter`` that counts in fixed windows from the first request, refused ones too, unless ``strategy`` says otherwise.

    Rates may be a function with a parameter called ``key``, as with slowapi.
    """

    def __init__(
        self,
        key_func: Callable[..., Any] = get_remote_address,
        default_limits: Any = (),
        headers_enabled: bool = False,
        storage_uri: str | None = None,
        **options: Any,
    ) -> None:
        if storage_uri not in (None, "memory://"):
            raise ValueError(
                f"limits are counted in this machine's memory (shared= for all of its processes), and not in {storage_uri!r}"
            )
        options.setdefault("strategy", "fixed-window")
        given = [default_limits] if isinstance(default_limits, str) else default_limits
        defaults = [_of_key(rates, key_func) for rates in given]
        super().__init__(defaults, key_func=key_func, headers_enabled=headers_enabled, **options)

    def limit(
        self, limit_value: Any, key_func: Callable[..., Any] | None = None, **options: Any
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """``fastapi.Limiter.limit``."""
        return super().limit(_of_key(limit_value, key_func or self._key_func), key_func, **options)


def _rate_limit_exceeded_handler(request: Request, exc: RateLimitExceeded) -> Response:
    """Answers a refusal as slowapi does."""
    return JSONResponse({"error": exc.detail}, exc.status_code, exc.headers)
