"""The classes that tutorials build by hand, over the engine: ``TokenBucket(rate, capacity).consume()`` and
``RateLimiter(rate, capacity).is_allowed(key)``.

What is different: time that passes in small steps is worth as much as in one, a step of the wall clock gives and takes nothing, a cost
below zero is an error, keys that are idle take no room, and forked processes count together.
"""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any, Literal

from .._engine import Decision, ManualClock
from .._limiter import Limiter
from .._types import Key

__all__ = ["RateLimiter", "TokenBucket"]


def _text(rate: float, capacity: int) -> str:
    """A rate in tokens a second, which may be a fraction, as a whole count per whole seconds."""
    exact = Fraction(rate).limit_denominator(1_000_000)
    if exact <= 0:
        raise ValueError(f"rate must be above 0 tokens a second (a millionth at least), and {rate} was given")
    if capacity != int(capacity):
        raise ValueError(f"capacity must be a whole number of tokens, and {capacity} was given")
    return f"{exact.numerator} per {exact.denominator} seconds burst {int(capacity)}"


class RateLimiter:
    """A token bucket for each key: ``rate`` tokens a second, ``capacity`` at most."""

    def __init__(
        self,
        rate: float,
        capacity: int,
        *,
        shared: str | os.PathLike[str] | None = None,
        clock: Literal["system", "python"] | ManualClock | None = None,
    ) -> None:
        self.rate = rate
        self.capacity = capacity
        self._limiter = Limiter(_text(rate, capacity), shared=shared, clock=clock)

    def is_allowed(self, key: Key, tokens: int = 1) -> bool:
        """Takes tokens of the key, if they are there."""
        return self._limiter.allow(key, tokens)

    def check(self, key: Key, tokens: int = 1) -> Decision:
        """The same, with the wait."""
        return self._limiter.check(key, tokens)

    def get_bucket(self, key: Key) -> TokenBucket:
        """The bucket of a key: a view of it, which costs nothing to keep or to forget."""
        return TokenBucket._view(self, key)

    def cleanup_old_buckets(self, max_idle_time: float = 3600) -> None:
        """Does nothing: a bucket that is full again takes no room, and the table has a bound."""


class TokenBucket:
    """One bucket: ``rate`` tokens a second, ``capacity`` at most."""

    _of: RateLimiter
    _key: Key

    def __init__(self, rate: float, capacity: int, **options: Any) -> None:
        self._of = RateLimiter(rate, capacity, **options)
        self._key = None

    @classmethod
    def _view(cls, of: RateLimiter, key: Key) -> TokenBucket:
        bucket = cls.__new__(cls)
        bucket._of, bucket._key = of, key
        return bucket

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._of.rate

    @property
    def capacity(self) -> int:
        """The most tokens that it holds."""
        return self._of.capacity

    @property
    def tokens(self) -> float:
        """How many are there now."""
        numerator, denominator = self._of._limiter.state(self._key)[0]["balance"]
        # Below zero it is only after a step back of a clock that is not the engine's own, and until somebody asks.
        return max(0.0, float(Fraction(numerator, denominator)))

    def consume(self, tokens: int = 1) -> bool:
        """Takes tokens, if they are there."""
        return self._of.is_allowed(self._key, tokens)
