"""``Depends(RateLimiter(times=5, seconds=60))``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from ..._rules import Rule
from ...fastapi import _set_fields
from . import FastAPILimiter, limiter

__all__ = ["RateLimiter"]


class RateLimiter:
    """A dependency that limits each path for each client. Equal ones are one, also for ``app.dependency_overrides``."""

    def __init__(
        self,
        times: int = 1,
        milliseconds: int = 0,
        seconds: int = 0,
        minutes: int = 0,
        hours: int = 0,
        identifier: Callable[..., Any] | None = None,
    ) -> None:
        self.times = times
        self.milliseconds = milliseconds + 1000 * (seconds + 60 * (minutes + 60 * hours))
        if times < 0 or self.milliseconds <= 0:
            raise ValueError(f"expected times from 0 and a period above 0, and {times} per {self.milliseconds} ms was given")
        self.identifier = identifier
        text = f"{times} per {self.milliseconds} ms"
        self._asked = limiter._asked(Rule(text, "depends"))
        # Which is brought below, as for a dependency.
        self._asked.key = None

    async def __call__(self, request: HTTPConnection, response: Response) -> None:
        identifier = self.identifier or FastAPILimiter.identifier
        key = identifier(request)
        if inspect.isawaitable(key):
            key = await key
        path = getattr(request.scope.get("route"), "path", request.scope["path"])
        _set_fields(response, limiter._decide(request, [(self._asked, key)], path))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RateLimiter) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[Any, ...]:
        return self.times, self.milliseconds, self.identifier
