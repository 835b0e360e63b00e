"""The names of fastapi-limiter 0.1: ``FastAPILimiter.init``, and what tutorials import beside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from starlette.requests import HTTPConnection

from ..._functions import require_answers
from ...fastapi import Limiter, get_remote_address

__all__ = ["FastAPILimiter", "limiter"]


class FastAPILimiter:
    """``init`` may be called, and need not be: counts are kept in this machine's memory, whatever ``redis`` is."""

    redis: Any = None
    identifier: Callable[..., Any] = staticmethod(get_remote_address)

    @classmethod
    async def init(
        cls, redis: Any = None, prefix: str = "fastapi-limiter", identifier: Callable[..., Any] | None = None, **rest: Any
    ) -> None:
        """Keeps ``identifier``, as the key of those limits that have none of their own."""
        unknown = set(rest) - {"http_callback", "ws_callback"}
        if unknown:
            raise TypeError(f"init() got an unexpected argument {sorted(unknown)[0]!r}")
        if rest:
            raise NotImplementedError("callbacks are not called: handle RateLimitException instead")
        cls.redis = redis
        if identifier is not None:
            require_answers(True, "", identifier=identifier)
            cls.identifier = staticmethod(identifier)

    @classmethod
    async def close(cls) -> None:
        """Does nothing: there is nothing to close, and the client is the caller's."""


async def _identified(connection: HTTPConnection, identifier: Callable[..., Any] | None = None) -> Any:
    """What the identifier says, which is known when ``init`` has been called."""
    key = (identifier or FastAPILimiter.identifier)(connection)
    return await key if inspect.isawaitable(key) else key


async def _key(connection: HTTPConnection) -> Any:
    return await _identified(connection)


limiter = Limiter(strategy="fixed-window", key_func=_key)
"""What ``@limiter.limit("5/minute")`` of tutorials means: a limiter of this process and its forks. Its key is the
identifier of ``FastAPILimiter.init``."""
