"""The names of slowapi, with its default: a fixed window. No parameter called ``request`` is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...fastapi import Limiter as _Limiter
from ...fastapi import get_remote_address
from .errors import RateLimitExceeded

__all__ = ["Limiter", "_rate_limit_exceeded_handler"]


class Limiter(_Limiter):
    """``fastapi.Limiter`` that counts in fixed windows from the first request, refused ones too, unless ``strategy`` says otherwise."""

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
        super().__init__(default_limits, key_func=key_func, headers_enabled=headers_enabled, **options)


def _rate_limit_exceeded_handler(request: Request, exc: RateLimitExceeded) -> Response:
    """Answers a refusal as slowapi does."""
    return JSONResponse({"error": exc.detail}, exc.status_code, exc.headers)
