"""The limiter, with what reads better in Python: waiting, decorators, and where shared tables lie."""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import re
import sys
import time
import weakref
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

from . import testing
from ._engine import Core, Decision, ManualClock, Reservation
from ._errors import RateLimited
from ._log import REFUSALS

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._types import Key, Limits

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


def shared_path(shared: str | os.PathLike[str]) -> str:
    """Where a shared table lies: an absolute path is itself, and a name a file of this user's in ``/dev/shm``."""
    text = os.fspath(shared)
    if os.path.isabs(text):
        return text
    if not _NAME.match(text):
        raise ValueError(
            "shared is an absolute path, or a name of 1 to 64 letters, digits, dots, dashes and underscores, "
            f"and {text!r} was given"
        )
    return f"/dev/shm/tollgate.{os.geteuid()}.{text}"


class Limiter(Core):
    """One limit or several, all of which a request must pass: ``Limiter("100/minute")``.

    ``limits``
        A rate such as ``"100/minute burst 20"``, several with commas between them, or a list of such texts: all or nothing.
    ``name``
        Part of what a limit is: limits of one table with the same name and rate share their buckets.
    ``algorithm``
        Of those rates that do not name one: ``token-bucket`` (the default), ``leaky-bucket``, ``leaky-queue``,
        ``fixed-window``, ``sliding-window`` or ``sliding-log``.
    ``shared``
        A name, or an absolute path on a tmpfs: all processes of this machine that give it count together. Without it the
        processes that are forked from this one do.
    ``capacity``, ``on_full``
        How many keys may be busy at once, and what happens to a new key beyond that: ``evict`` (it inherits the debt of
        the one that is nearest to full), ``refuse`` or ``admit``.
    ``on_mismatch``
        What happens if a shared table was made with another capacity: ``refuse``, ``adopt`` or ``replace``.
    ``clock``
        ``"python"`` to go by ``time.time_ns()``, so that freezegun and time-machine steer it, or a ``ManualClock``.
        Such a table is of this process alone.
    ``store``, ``secret``
        A client of redis-py, sync or asyncio, and 16 bytes or more that all who use the server know and nobody else: all
        machines count together, with nodes of Rust's ``tollgate-redis`` too, under the same ``name``. Each call is one round
        trip; with a client of asyncio ``await`` ``acheck`` and its like. The client's ``socket_timeout`` is the longest that a
        call takes, and its pool may not wait longer for a connection; it may not repeat what was not answered
        (``retry=Retry(NoBackoff(), 0)``).
    ``on_outage``, ``nodes``
        What happens while no server answers: ``closed`` refuses (the default), ``open`` admits, ``local`` decides by the whole
        limit in this limiter's table, ``share`` by the limit divided by ``nodes``. ``Decision.outage`` says why.
    """

    _config: dict[str, Any]

    def __new__(
        cls,
        limits: Limits,
        *,
        name: str = "default",
        algorithm: str | None = None,
        capacity: int = 65_536,
        on_full: Literal["evict", "refuse", "admit"] = "evict",
        shared: str | os.PathLike[str] | None = None,
        on_mismatch: Literal["refuse", "adopt", "replace"] = "refuse",
        clock: Literal["system", "python"] | ManualClock | None = None,
        like: Core | None = None,
        store: Any = None,
        secret: str | bytes | None = None,
        on_outage: Literal["closed", "open", "share", "local"] = "closed",
        nodes: int | None = None,
    ) -> Self:
        # What is no list either is for the engine to refuse.
        if not isinstance(limits, str) and isinstance(limits, Iterable):
            limits = tuple(limits)
        path = None if shared is None else shared_path(shared)
        if like is None and store is None:
            clock, path = testing.chosen(clock, path)
        core: dict[str, Any] = {
            "limits": limits,
            "name": name,
            "algorithm": algorithm,
            "capacity": capacity,
            "on_full": on_full,
            "path": path,
            "on_mismatch": on_mismatch,
            "clock": clock,
            "like": like,
        }
        if store is None:
            if secret is not None or nodes is not None or on_outage != "closed":
                raise TypeError("secret=, on_outage= and nodes= are of store=, and no store was given")
            self = super().__new__(cls, **core)
        else:
            from ._store import StoredLimiter

            if cls is not Limiter and not issubclass(cls, StoredLimiter):
                raise TypeError(f"store= is given to Limiter itself, and {cls.__name__} is a class derived from it")
            self = cast("Self", StoredLimiter._make(core, store, secret, on_outage, nodes))
        self._config = {
            "limits": limits,
            "name": name,
            "algorithm": algorithm,
            "capacity": capacity,
            "on_full": on_full,
            "shared": path,
            "on_mismatch": on_mismatch,
            "clock": clock,
        }
        return self

    def prepare(self, name: str, limits: Limits, *, algorithm: str | None = None) -> Self:
        """Other limits over the same table: one table for a program, however many limits it has."""
        other = type(self).__new__(type(self), limits, name=name, algorithm=algorithm, like=self)
        other._config = {**self._config, "limits": other._config["limits"], "name": name, "algorithm": algorithm}
        return other

    @property
    def name(self) -> str:
        """The name of the limits."""
        return cast(str, self._config["name"])

    def wait(self, key: Key, cost: int = 1, *, max_wait: float = 60.0) -> Wait:
        """Waits for its turn, at most ``max_wait`` seconds: ``with limiter.wait(key):``, or ``async with``.

        A turn that is given back comes free if nobody has reserved a later one, which has been promised its time. Tasks of asyncio that
        are broken off together, as by a time-out around all of them, give all of their turns back; of threads and processes that are
        broken off one after the other, first to last, all turns but the last stay taken: as long as their ``max_wait`` at most.

        Under a bucket or a queue the turn is reserved when the block is entered, first come first served, and given back if
        the wait is broken off. Windows promise nothing ahead of time: there it sleeps until the next one, and tries again.
        Raises ``RateLimited`` at once if it would be longer, and ``RuntimeError`` if the clock is one of tests that stands still.
        """
        return Wait(self, key, cost, max_wait)

    def limited(
        self,
        key: Key | Callable[..., Key] = None,
        *,
        cost: int = 1,
        max_wait: float | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Limits calls of a function, plain or async: ``@limiter.limited(key=lambda user: user)``.

        ``key`` is a key, or a function of the arguments; without it all calls of the function count together. Functions of one
        name, such as those that another function makes, count each by itself: by their number, in the order in which this
        limiter decorates them, which processes that count together have to have in common (or give ``key``). The number of a
        function that is gone is given to the next, so one that is made anew for each call is limited over all of them. Raises
        ``RateLimited``, at once or, with ``max_wait``, if the turn would come later than that.
        """

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            own: Key = None
            if key is None and not hasattr(function, "__qualname__"):
                raise TypeError(f"what has no name, such as a partial, needs key=, and {function!r} was given")
            if max_wait is not None and inspect.isasyncgenfunction(function):
                raise TypeError(f"`{function.__qualname__}` is an async generator, which cannot wait when it is called")

            def key_of(*args: P.args, **kwargs: P.kwargs) -> Key:
                if own is not None:
                    return own
                return key(*args, **kwargs) if callable(key) else key

            made: Callable[P, R]
            if inspect.iscoroutinefunction(function):

                @functools.wraps(function)
                async def limited_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                    name = key_of(*args, **kwargs)
                    if max_wait is None:
                        await self._arequire(name, cost)
                    else:
                        await self.wait(name, cost, max_wait=max_wait)
                    return await function(*args, **kwargs)

                made = cast("Callable[P, R]", limited_async)
            else:

                @functools.wraps(function)
                def limited(*args: P.args, **kwargs: P.kwargs) -> R:
                    name = key_of(*args, **kwargs)
                    if max_wait is None:
                        self.require(name, cost)
                    else:
                        with self.wait(name, cost, max_wait=max_wait):
                            pass
                    return function(*args, **kwargs)

                made = limited
            if key is None:
                own = self._own_key(made)
            return made

        return decorate

    def _own_key(self, function: Callable[..., Any]) -> Key:
        """The name of a decorated function, and its number among those of this name, but for the first."""
        place = (function.__module__, function.__qualname__)
        decorated = self.__dict__.setdefault("_decorated", {})
        alive: weakref.WeakValueDictionary[int, Any] = decorated.setdefault(place, weakref.WeakValueDictionary())
        number = next(number for number in itertools.count() if number not in alive)
        alive[number] = function
        return (*place, number) if number else place

    def require(self, key: Key, cost: int = 1) -> Decision:
        """``check``, and ``RateLimited`` if it is refused."""
        decision = self.check(key, cost)
        if not decision.allowed:
            REFUSALS.tell(self.name, key, decision)
            raise RateLimited(decision)
        return decision

    async def _arequire(self, key: Key, cost: int) -> Decision:
        return self.require(key, cost)

    # For programs that are to run over a store of asyncio as well. Nothing waits.

    async def aallow(self, key: Key, cost: int = 1) -> bool:
        """``allow``, to be awaited."""
        return self.allow(key, cost)

    async def acheck(self, key: Key, cost: int = 1) -> Decision:
        """``check``, to be awaited."""
        return self.check(key, cost)

    async def apeek(self, key: Key, cost: int = 1) -> Decision:
        """``peek``, to be awaited."""
        return self.peek(key, cost)

    async def acharge(self, key: Key, cost: int = 1) -> int:
        """``charge``, to be awaited."""
        return self.charge(key, cost)

    async def arefund(self, key: Key, cost: int = 1) -> None:
        """``refund``, to be awaited."""
        self.refund(key, cost)

    async def areset(self, key: Key) -> None:
        """``reset``, to be awaited."""
        self.reset(key)

    async def acheck_many(self, keys: Iterable[Key], cost: int = 1) -> list[Decision]:
        """``check_many``, to be awaited."""
        return self.check_many(keys, cost)

    async def aallow_many(self, keys: Iterable[Key], cost: int = 1) -> list[bool]:
        """``allow_many``, to be awaited."""
        return self.allow_many(keys, cost)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._config["shared"] is None:
            raise TypeError(
                "a Limiter without shared= cannot be pickled: what it has counted lies in this process and its forks; "
                "give it shared=NAME, and all processes that unpickle it count together"
            )
        return _restored, (type(self), self._config)

    def __repr__(self) -> str:
        return f"<Limiter {self.name} {', '.join(self.limits)}>"


def _restored(cls: type[Limiter], config: dict[str, Any]) -> Limiter:
    return cls(**config)


class Wait:
    """A turn to wait for, from ``Limiter.wait``."""

    __slots__ = ("_cost", "_deadline", "_key", "_limiter", "_max_wait")

    def __init__(self, limiter: Limiter, key: Key, cost: int, max_wait: float) -> None:
        # Also of what is no number: nothing but a number is in bounds.
        if not isinstance(max_wait, (int, float)) or not 0 <= max_wait <= 1e9:
            raise ValueError(f"max_wait must be from 0 to 1e9 seconds, and {max_wait!r} was given")
        self._limiter = limiter
        self._key = key
        self._cost = cost
        self._max_wait = float(max_wait)
        self._deadline: int | None = None

    def _attempt(self) -> tuple[float, Reservation | None]:
        """How long to sleep, and what is reserved for then: nothing, if it has to be tried again."""
        now = self._limiter.now_ns()
        if self._deadline is None:
            left = self._max_wait
            self._deadline = now + int(left * 1e9)
        else:
            left = max(0, self._deadline - now) / 1e9
        got = self._limiter.reserve(self._key, self._cost, left)
        if isinstance(got, Decision):
            if got.retry_after is None or got.retry_after > left:
                raise RateLimited(got)
            wait, held = got.retry_after, None
        else:
            wait, held = got.wait, got
        if wait > 0 and (what := self._stands_still()):
            if held is not None:
                held.cancel()
            raise RuntimeError(f"{what} stands still, so there is no waiting for {wait} s: advance it, and check()")
        return wait, held

    def _stands_still(self) -> str | None:
        """What clock it is that nobody would move meanwhile."""
        clock = self._limiter._config["clock"]
        if isinstance(clock, ManualClock):
            return "a ManualClock"
        if clock == "python":
            # Of tests, which may have frozen it, and that of asyncio too: no sleep would end. A thread's sleep does.
            now = self._limiter.now_ns()
            time.sleep(0.001)
            if self._limiter.now_ns() == now:
                return "the clock of Python"
        return None

    def __enter__(self) -> None:
        while True:
            wait, held = self._attempt()
            process = os.getpid()
            try:
                if wait > 0:
                    time.sleep(wait)
            except BaseException:
                if held is not None and os.getpid() == process:
                    held.cancel()
                raise
            # A child that was forked meanwhile has a copy, by which its parent goes: it is for a turn of its own to come.
            if held is not None and os.getpid() == process:
                self._deadline = None
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def __aenter__(self) -> None:
        while True:
            wait, held = self._attempt()
            number, process = next(_NUMBERS), os.getpid()
            try:
                if wait > 0:
                    await _sleep(wait)
            except BaseException:
                if held is not None and os.getpid() == process:
                    _give_back(number, held)
                raise
            # A child that was forked meanwhile has a copy, by which its parent goes: it is for a turn of its own to come.
            if held is not None and os.getpid() == process:
                self._deadline = None
                return

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __await__(self) -> Generator[Any, None, None]:
        return self.__aenter__().__await__()


# Of turns, in the order in which they were reserved.
_NUMBERS = itertools.count()
_BROKEN_OFF: weakref.WeakKeyDictionary[Any, list[tuple[int, Reservation]]] = weakref.WeakKeyDictionary()


def _give_back(number: int, held: Reservation) -> None:
    """Gives a turn back, on a loop of asyncio together with all others that are broken off in this round of it, and the last first: a
    turn comes free only if nobody holds a later one, and a time-out around many callers breaks off the first one first."""
    try:
        # Of trio there is none, and that of a program which has not imported asyncio is not of asyncio either.
        loop = sys.modules["asyncio"].get_running_loop()
    except (KeyError, RuntimeError):
        held.cancel()
        return
    broken_off = _BROKEN_OFF.get(loop)
    if broken_off is None:
        broken_off = _BROKEN_OFF[loop] = []
        loop.call_soon(_give_all_back, loop)
    broken_off.append((number, held))


def _give_all_back(loop: Any) -> None:
    for _, held in sorted(_BROKEN_OFF.pop(loop, []), key=lambda turn: turn[0], reverse=True):
        held.cancel()


async def _sleep(seconds: float) -> None:
    """Sleeps on the loop that runs: trio's, where sniffio says so, else that of asyncio."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None and sniffio.current_async_library() == "trio":
        trio: Any = sys.modules["trio"]
        await trio.sleep(seconds)
        return
    import asyncio

    await asyncio.sleep(seconds)
