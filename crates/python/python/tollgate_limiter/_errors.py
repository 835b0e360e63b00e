"""What is wrong: each message names the place, and what was expected there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ._engine import Decision

__all__ = ["LimitSyntaxError", "LimitValueError", "RateLimited", "SharedTableError", "StoreError"]


class LimitValueError(ValueError):
    """A limit that cannot be held, with the bound that it broke."""


class LimitSyntaxError(LimitValueError):
    """A text that is no rate. ``position`` is where in the text, in bytes of UTF-8 from 0."""

    position: int
    expected: str
    found: str

    def __init__(self, message: str, position: int = 0, expected: str = "", found: str = "") -> None:
        super().__init__(message)
        self.position = position
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.position, self.expected, self.found)


class SharedTableError(RuntimeError):
    """A table that processes share was neither made nor attached."""


class StoreError(RuntimeError):
    """A store did not say whether it made a change: a refund, a charge or a reset."""


class RateLimited(Exception):
    """A request that may not go now, or would have to wait longer than it may. ``decision`` says when it could.

    Where it was written down as JSON, as results of Celery's tasks are, ``decision`` is a text, and ``retry_after`` and ``str()`` are as before.
    """

    decision: Decision

    def __init__(self, decision: Decision, text: str | None = None, retry_after: float | None = None) -> None:
        if text is None:
            text, retry_after = _told(decision), decision.retry_after
        # Of which JSON keeps what is plain.
        super().__init__(decision, text, retry_after)
        self.decision = decision

    @property
    def retry_after(self) -> float | None:
        """See ``Decision.retry_after``."""
        return cast("float | None", self.args[2])

    def __str__(self) -> str:
        return cast(str, self.args[1])


def _told(decision: Decision) -> str:
    if decision.outage is not None:
        return f"no answer about {decision.policy}: {decision.outage}"
    if decision.never:
        return f"the request costs more than fits into {decision.policy}"
    return f"limited to {decision.policy}; retry after {decision.retry_after} s"
