"""What is wrong: each message names the place, and what was expected there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """A request that may not go now, or would have to wait longer than it may. ``decision`` says when it could."""

    decision: Decision

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.decision = decision

    @property
    def retry_after(self) -> float | None:
        """See ``Decision.retry_after``."""
        return self.decision.retry_after

    def __str__(self) -> str:
        if self.decision.outage is not None:
            return f"no answer about {self.decision.policy}: {self.decision.outage}"
        if self.decision.never:
            return f"the request costs more than fits into {self.decision.policy}"
        return f"limited to {self.decision.policy}; retry after {self.decision.retry_after} s"
