"""The classes that tutorials build by hand, over the engine: ``TokenBucket(rate, capacity).consume()`` and
``RateLimiter(rate, capacity).is_allowed(key)``; and ``RedisRateLimiter(client, rate, capacity).is_allowed(key)``, on a server.

What is different: time that passes in small steps is worth as much as in one, a step of the wall clock gives and takes nothing, a cost
below zero is an error, keys that are idle take no room, and forked processes count together.
"""

from __future__ import annotations

import importlib
import os
from fractions import Fraction
from typing import Any, Literal

from .._engine import Decision, ManualClock
from .._limiter import Limiter
from .._store import Store, StoredLimiter
from .._types import Key, OnOutage

__all__ = ["RateLimiter", "RedisRateLimiter", "TokenBucket"]

_NO_SECRET = "of programs of tutorials, and known to everybody"


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


class RedisRateLimiter:
    """The same on a server of Redis: all programs that use it count together, by the server's clock.

    ``redis_client`` is a client of redis-py; with one of ``redis.asyncio`` ``is_allowed`` is awaited. Those that send again what was not
    answered, as redis-py does unless told otherwise, would count a request several times: in place of such a client another one for the
    same server is used, which does not. Keys are hashed with ``secret``, 16 bytes or more; unless it is given, with one that everybody
    knows, so that who reads the server can try out whose keys they are. ``on_outage`` and ``nodes`` are of ``Limiter``.
    """

    def __init__(
        self,
        redis_client: Any,
        rate: float,
        capacity: int,
        *,
        name: str = "ratelimit",
        secret: str | bytes = _NO_SECRET,
        on_outage: OnOutage = "closed",
        nodes: int | None = None,
    ) -> None:
        self.redis = redis_client
        self.rate = rate
        self.capacity = capacity
        self._limiter = Limiter(
            _text(rate, capacity),
            name=name,
            store=_once(redis_client),
            secret=secret,
            on_outage=on_outage,
            nodes=nodes,
        )

    def is_allowed(self, key: Key, tokens: int = 1) -> Any:
        """Takes tokens of the key, if they are there: a bool, or what is awaited for one."""
        return self._limiter.aallow(key, tokens) if self._is_async else self._limiter.allow(key, tokens)

    def check(self, key: Key, tokens: int = 1) -> Any:
        """The same, as a ``Decision`` with the wait, and why no server decided, if none did."""
        return self._limiter.acheck(key, tokens) if self._is_async else self._limiter.check(key, tokens)

    @property
    def _is_async(self) -> bool:
        return isinstance(self._limiter, StoredLimiter) and self._limiter._store.is_async


def _once(client: Any) -> Any:
    """The client, or another one for the same server that sends everything once and waits for an answer for a second at most."""
    try:
        Store(client)
    except ValueError:
        pool: Any = getattr(client, "connection_pool", None)
        root = type(pool).__module__.rpartition(".")[0]
        if type(pool).__name__ not in ("ConnectionPool", "BlockingConnectionPool"):
            # Of sentinels or a cluster: as it says what is to be done.
            raise
        backoff = importlib.import_module(f"{root.split('.')[0]}.backoff").NoBackoff()
        options = {**pool.connection_kwargs, "retry": importlib.import_module(f"{root}.retry").Retry(backoff, 0)}
        options["socket_timeout"] = min(options.get("socket_timeout") or _LONGEST, _LONGEST)
        if "socket_connect_timeout" in options:
            options["socket_connect_timeout"] = min(options["socket_connect_timeout"] or _LONGEST, _LONGEST)
        plain = importlib.import_module(f"{root}.connection").ConnectionPool
        own = plain(pool.connection_class, max_connections=pool.max_connections, **options)
        return type(client)(connection_pool=own)
    return client


# Seconds.
_LONGEST = 1.0


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
