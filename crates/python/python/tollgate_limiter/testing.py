"""For tests: a clock that all limiters go by, and the off switch. The plug-in of pytest is made of it.

``with disabled():`` admits everything and takes nothing, in this process; so does ``TOLLGATE_ENABLED=0`` in the environment when
the package is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._engine import ManualClock, set_enabled

__all__ = ["ManualClock", "disabled", "manual_clock", "set_enabled"]

_CLOCK: ManualClock | None = None


@contextmanager
def disabled() -> Iterator[None]:
    """Nothing is limited in this process meanwhile."""
    before = set_enabled(False)
    try:
        yield
    finally:
        set_enabled(before)


@contextmanager
def manual_clock(clock: ManualClock | None = None) -> Iterator[ManualClock]:
    """All limiters, policies and tables of frameworks that are made meanwhile, and name no other clock, go by this one. Those that
    are ``shared=`` have a table of their own then, so that no test sees another's."""
    global _CLOCK
    before, _CLOCK = _CLOCK, clock or ManualClock()
    try:
        yield _CLOCK
    finally:
        _CLOCK = before


def chosen(clock: Any, path: str | None) -> tuple[Any, str | None]:
    """The clock and the place of a table that is made now."""
    if _CLOCK is None or clock not in (None, "system"):
        return clock, path
    return _CLOCK, None
