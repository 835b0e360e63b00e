"""``Depends(RateLimiter(times=5, seconds=60))``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from ..._functions import require_answers
from ..._rules import Rule
from ...fastapi import _path_of, _set_fields
from . import _identified, limiter

__all__ = ["RateLimiter"]


class RateLimiter:
    """A dependency that limits each route for each client. Those that are equal are one, also for ``app.dependency_overrides``: which
    have the same figures and the same identifier."""

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
        if times < 1 or self.milliseconds <= 0:
            raise ValueError(f"expected times from 1 and a period above 0, and {times} per {self.milliseconds} ms was given")
        self.identifier = identifier
        text = f"{times} per {self.milliseconds} ms"
        require_answers(True, "", identifier=identifier)
        # Two identifiers may give one value. Where a function is defined is the same in all workers.
        self._asked = limiter._asked(Rule(text, f"depends {_place(identifier)}"), scoped=True)

    async def __call__(self, request: HTTPConnection, response: Response) -> None:
        key = await _identified(request, self.identifier)
        # GET and POST of one path are two routes.
        methods = sorted(getattr(request.scope.get("route"), "methods", None) or ())
        own = " ".join([*methods, _path_of(request)])
        _set_fields(response, limiter._decide(request, [(self._asked, key)], own))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RateLimiter) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[Any, ...]:
        return self.times, self.milliseconds, self.identifier


def _place(function: Any) -> str:
    """Where a function is defined."""
    if function is None:
        return ""
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{function.__module__}.{name}:{0 if code is None else code.co_firstlineno}"
