"""The plug-in of pytest, which finds it by itself: fixtures ``tollgate_clock`` and ``tollgate_off``, and ``tollgate_clock = manual`` in the
configuration, for limiters that are made while modules are imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .testing import ManualClock, disabled, manual_clock

_STACK = pytest.StashKey[ExitStack]()
_CLOCK = pytest.StashKey[ManualClock]()
_APART = 40 * 86_400.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "tollgate_clock",
        "manual: limiters that are made anywhere in this run, and name no other clock, go by the one of the fixture tollgate_clock",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    choice = config.getini("tollgate_clock")
    if choice not in ("", "manual"):
        raise pytest.UsageError(f"tollgate_clock is manual, or left out, and {choice!r} was given")
    if choice == "manual":
        stack = ExitStack()
        config.stash[_CLOCK] = stack.enter_context(manual_clock())
        config.stash[_STACK] = stack


def pytest_unconfigure(config: pytest.Config) -> None:
    stack = config.stash.get(_STACK, None)
    if stack is not None:
        stack.close()


@pytest.fixture
def tollgate_clock(request: pytest.FixtureRequest) -> Iterator[ManualClock]:
    """A clock that stands still until it is told otherwise: ``tollgate_clock.advance(60)``. Limiters that the test makes go by it.

    With ``tollgate_clock = manual`` it is that of the whole run, set forward by 40 days before the test: limits up to a month are full.
    """
    clock = request.config.stash.get(_CLOCK, None)
    if clock is not None:
        clock.advance(_APART)
        yield clock
        return
    with manual_clock() as clock:
        yield clock


@pytest.fixture
def tollgate_off() -> Iterator[None]:
    """Nothing is limited during the test."""
    with disabled():
        yield
