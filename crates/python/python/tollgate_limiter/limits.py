"""The engine as a storage of ``limits``, and so of Flask-Limiter and slowapi: ``import tollgate_limiter.limits``, and
``storage_uri="tollgate://"`` (``async+tollgate://``).

All forked workers of a program count together; with ``tollgate://NAME`` all processes of this machine that give the name do. What is
counted is what ``limits`` counts: fixed windows from the first hit, refused hits too; and the memory that takes has a bound.

| strategy | limits |
|---|---|
| fixed-window | exact; what a window holds has a bound, beyond which all is refused: 15 million from a quarter of a minute on, a million in a second |
| moving-window | exact; more than 1,024 in a window is refused with an error that says so |
| sliding-window-counter | the same windows, but not rounded down: up to one fewer is admitted |

Options, behind a question mark: ``capacity`` (65,536 keys; a key under a moving window takes as many places as it has hits),
``on_full`` (``evict``), ``clock`` (``python`` for freezegun). ``tollgate://NAME`` makes a second table for counts, ``NAME.counts``.
"""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import limits.aio.storage
import limits.storage
from limits.limits import GRANULARITIES
from limits.storage.base import TimestampedSlidingWindow

from ._engine import HitWindows
from ._errors import LimitValueError
from ._limiter import Limiter
from ._rules import STRATEGIES

__all__ = ["AsyncTollgateStorage", "TollgateStorage"]

_REFUSED = 2**63 - 1
_ENDING = re.compile(r"/(\d+)/(\d+)/(\w+)\Z")
_SECONDS = {each.GRANULARITY.name: each.GRANULARITY.seconds for each in GRANULARITIES.values()}
_MOST_LIMITERS = 4096


class _Counters:
    """What is counted, of both kinds of storage."""

    def __init__(self, uri: str | None, options: dict[str, Any]) -> None:
        parts = urlsplit(uri or "tollgate://")
        asked: dict[str, Any] = {**dict(parse_qsl(parts.query)), **options}
        unknown = set(asked) - {"capacity", "on_full", "clock"}
        if unknown:
            raise ValueError(f"tollgate:// knows capacity, on_full and clock, and {sorted(unknown)[0]!r} was given")
        if "capacity" in asked:
            asked["capacity"] = int(asked["capacity"])
        name = parts.netloc + parts.path
        self._asked = {**asked, "shared": name or None}
        self._made: dict[tuple[str, int, float], Limiter] = {}
        self._windows: dict[float, HitWindows] = {}
        self._base, self._counts = self._tables()

    def _tables(self) -> tuple[Limiter, Limiter]:
        """The table of all, and that of the counts of windows: both are made now, before any fork."""
        name = self._asked["shared"]
        counts = {**self._asked, "shared": name and f"{name}.counts"}
        return Limiter("1/second", name="", **self._asked), Limiter("1/second", name="", **counts)

    def limiter(self, strategy: str, amount: int, expiry: float) -> Limiter:
        found = self._made.get((strategy, amount, expiry))
        if found is None:
            found = self._base.prepare("limits", f"{amount} per {round(expiry * 1000)} ms{STRATEGIES[strategy]}")
            if len(self._made) >= _MOST_LIMITERS:
                self._made.pop(next(iter(self._made)), None)
            self._made[strategy, amount, expiry] = found
        return found

    def windows(self, expiry: float) -> HitWindows:
        found = self._windows.get(expiry)
        if found is None:
            found = HitWindows(self._base, self._counts, "limits", round(expiry * 1000))
            if len(self._windows) >= _MOST_LIMITERS:
                self._windows.pop(next(iter(self._windows)), None)
            self._windows[expiry] = found
        return found

    def ending(self, key: str) -> tuple[int, int] | None:
        """The amount and the seconds of the limit that a key ends with, as ``limits`` writes it."""
        found = _ENDING.search(key)
        seconds = None if found is None else _SECONDS.get(found[3])
        return None if found is None or seconds is None else (int(found[1]), seconds * int(found[2]))

    def windows_of(self, key: str) -> list[HitWindows]:
        """The windows that may have counted the key: those of its ending; else all known."""
        ending = self.ending(key)
        return list(self._windows.values()) if ending is None else [self.windows(ending[1])]

    def of(self, key: str, strategy: str) -> list[Limiter]:
        """The limiters that may have counted the key, likewise."""
        ending = self.ending(key)
        if ending is not None:
            return [self.limiter(strategy, *ending)]
        return [limiter for (kind, _, _), limiter in self._made.items() if kind == strategy]

    def incr(self, key: str, expiry: float, amount: int) -> int:
        count = self.windows(expiry).hit(key, int(amount))
        return _REFUSED if count is None else count

    def window(self, key: str) -> tuple[int, float]:
        """How many hits the window of the key has, and when it ends."""
        found = [state for state in (windows.state(key) for windows in self.windows_of(key)) if state is not None]
        count, end = max(found, default=(0, None))
        return count, time.time() if end is None else end / 1e9

    def acquire(self, strategy: str, key: str, limit: int, expiry: float, amount: int) -> bool:
        return self.limiter(strategy, limit, expiry).allow(key, int(amount))

    def moving(self, key: str, limit: int, expiry: float) -> tuple[float, int]:
        state = self.limiter("moving-window", limit, expiry).state(key)[0]
        oldest = state["oldest_ns"]
        return (time.time() if oldest is None else oldest / 1e9), state["count"]

    def sliding(self, key: str, expiry: float) -> tuple[int, float, int, float]:
        now, length = self._base.now_ns(), round(expiry * 1e9)
        left = (length - now % length) / 1e9
        for limiter in self.of(key, "sliding-window-counter"):
            state = limiter.state(key)[0]
            before, count = state["previous_count"] or 0, state["count"]
            if before or count:
                return before, (left if before else 0.0), count, left + expiry
        return 0, 0.0, 0, left + expiry

    def clear(self, key: str) -> None:
        for windows in self.windows_of(key):
            windows.reset(key)
        for strategy in ("moving-window", "sliding-window-counter"):
            try:
                known = self.of(key, strategy)
            except LimitValueError:
                continue  # a limit that this strategy cannot hold has counted nothing
            for limiter in known:
                limiter.reset(key)

    def reset(self) -> None:
        if self._asked["shared"] is not None:
            raise NotImplementedError("a table that other processes have too cannot be emptied by one of them")
        self._base, self._counts = self._tables()
        self._made.clear()
        self._windows.clear()


class TollgateStorage(
    limits.storage.Storage,
    limits.storage.MovingWindowSupport,
    limits.storage.SlidingWindowCounterSupport,
    TimestampedSlidingWindow,
):
    """A storage of ``limits``; see the module."""

    STORAGE_SCHEME = ["tollgate"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._counters = _Counters(uri, options)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Counts, and says how many there are in the window; above the bound a number that no limit admits."""
        return self._counters.incr(key, expiry, amount)

    def get(self, key: str) -> int:
        """How many there are in the window."""
        return self._counters.window(key)[0]

    def get_expiry(self, key: str) -> float:
        """When the window ends."""
        return self._counters.window(key)[1]

    def check(self) -> bool:
        """Whether the storage is there: it is."""
        return True

    def reset(self) -> int | None:
        """Forgets all keys."""
        self._counters.reset()
        return None

    def clear(self, key: str) -> None:
        """Forgets a key."""
        self._counters.clear(key)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Admits under a moving window, or not."""
        return self._counters.acquire("moving-window", key, limit, expiry, amount)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest entry came, and how many there are."""
        return self._counters.moving(key, limit, expiry)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Admits under a sliding window counter, or not."""
        return self._counters.acquire("sliding-window-counter", key, limit, expiry, amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The counts of the window before and of this one, each with the seconds for which it matters."""
        return self._counters.sliding(key, expiry)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forgets a key."""
        self._counters.clear(key)


class AsyncTollgateStorage(
    limits.aio.storage.Storage,
    limits.aio.storage.MovingWindowSupport,
    limits.aio.storage.SlidingWindowCounterSupport,
    TimestampedSlidingWindow,
):
    """The same for ``limits.aio``. Nothing waits."""

    STORAGE_SCHEME = ["async+tollgate"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._counters = _Counters(uri, options)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return ValueError

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """See ``TollgateStorage``."""
        return self._counters.incr(key, expiry, amount)

    async def get(self, key: str) -> int:
        """See ``TollgateStorage``."""
        return self._counters.window(key)[0]

    async def get_expiry(self, key: str) -> float:
        """See ``TollgateStorage``."""
        return self._counters.window(key)[1]

    async def check(self) -> bool:
        """See ``TollgateStorage``."""
        return True

    async def reset(self) -> int | None:
        """See ``TollgateStorage``."""
        self._counters.reset()
        return None

    async def clear(self, key: str) -> None:
        """See ``TollgateStorage``."""
        self._counters.clear(key)

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """See ``TollgateStorage``."""
        return self._counters.acquire("moving-window", key, limit, expiry, amount)

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """See ``TollgateStorage``."""
        return self._counters.moving(key, limit, expiry)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """See ``TollgateStorage``."""
        return self._counters.acquire("sliding-window-counter", key, limit, expiry, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """See ``TollgateStorage``."""
        return self._counters.sliding(key, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """See ``TollgateStorage``."""
        self._counters.clear(key)
