"""Limits that are counted on a server of Redis, by a client of the user's: ``Limiter("100/minute", store=client, secret=...)``.

What is sent, and what the answers mean, is ``tollgate-redis``; this module makes the call, and says what happens if there is no answer.
"""

from __future__ import annotations

import importlib
import inspect
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ._engine import Core, Decision, Fleet, Question, is_enabled
from ._errors import RateLimited, StoreError
from ._limiter import Limiter, Wait, _sleep
from ._log import LOGGER, REFUSALS

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._types import Key, Limits, OnOutage

_MISSES = 3
_PAUSES = (0.01, 0.5)
_LOG_EVERY = 60.0
_BATCH = 128


class Breaker:
    """Whether the server is asked at all: not for a while after the connection broke, or after three answers in a row that did not
    come in time. Then one request tries, while all others go on without it. Of this process; what a race of threads loses is a
    count, or one more try."""

    def __init__(self) -> None:
        self.outages = 0
        self._forget()
        self._logged = -_LOG_EVERY
        self._unsaid = 0

    def _forget(self) -> None:
        self._misses = 0
        self._pause = 0.0
        self._until = 0.0
        self._process = os.getpid()

    def is_open(self) -> bool:
        """Whether to go on without the server."""
        if self._process != os.getpid():
            # A child that was forked has connections of its own.
            self._forget()
        now = time.monotonic()
        if now < self._until:
            return True
        if self._pause:
            # This one tries.
            self._until = now + self._pause
        return False

    def answered(self) -> None:
        """The server is there."""
        if self._misses or self._pause:
            self._forget()

    def failed(self, kind: str, text: str) -> None:
        """The server is not there, or did not answer."""
        if kind == "deadline":
            self._misses += 1
        if kind == "disconnected" or self._misses >= _MISSES:
            self._pause = min(max(2 * self._pause, _PAUSES[0]), _PAUSES[1])
            self._until = time.monotonic() + self._pause
        now = time.monotonic()
        self._unsaid += 1
        if now - self._logged >= _LOG_EVERY:
            count, self._unsaid, self._logged = self._unsaid, 0, now
            LOGGER.warning("no answer from the store (%s): on_outage decides; %d since this was last said", text, count)


class Store:
    """A client, and how its errors are told."""

    def __init__(self, client: Any) -> None:
        roots = [kind.__module__.split(".", 1)[0] for kind in type(client).__mro__]
        root = next((root for root in roots if root in ("redis", "valkey")), None)
        if root is None or not hasattr(client, "execute_command"):
            raise TypeError(f"store is a client of redis-py, sync or asyncio, and {type(client).__name__!r} was given")
        if any(kind.__name__ in ("Pipeline", "ClusterPipeline") for kind in type(client).__mro__):
            raise TypeError("store is the client itself, and its pipeline() was given, which keeps commands back and answers none of them")
        self.client = client
        self.is_async = inspect.iscoroutinefunction(client.execute_command)
        self.is_cluster = any(kind.__name__ == "RedisCluster" for kind in type(client).__mro__)
        self.errors: Any = importlib.import_module(f"{root}.exceptions")
        self.breaker = Breaker()
        retries = _retries(client)
        if retries:
            raise ValueError(
                f"the client of store= sends again what was not answered, {retries} times: a request would be counted again with each, "
                f"and wait for all; make it with retry={root}.retry.Retry({root}.backoff.NoBackoff(), 0)"
            )
        pool = getattr(client, "connection_pool", None)
        # Of a cluster each node has a pool, and all are made with these.
        holder = next((each for each in (pool, getattr(client, "nodes_manager", None), client) if hasattr(each, "connection_kwargs")), None)
        if holder is not None and holder.connection_kwargs.get("socket_timeout") is None:
            raise ValueError(
                "the client of store= has no socket_timeout, so an answer that does not come would be waited for for ever; "
                "make it with socket_timeout=0.05, or as long as a decision may take"
            )
        if pool is not None and any(kind.__name__ == "BlockingConnectionPool" for kind in type(pool).__mro__):
            # It waits for a connection that another call has, before any deadline of the connection begins.
            allowed = pool.connection_kwargs["socket_timeout"]
            if pool.timeout is None or pool.timeout > allowed:
                raise ValueError(
                    f"the pool of the client of store= waits for a connection, {pool.timeout} s at most (None: for ever), which comes on top of "
                    f"socket_timeout; make it with timeout={allowed}, as long as that, or less"
                )

    def kind(self, error: BaseException) -> str:
        """Which outage an error is."""
        # The more special first: a server that is loading, and a pool that has no more connections, are errors of the connection there.
        if isinstance(error, (self.errors.TimeoutError, TimeoutError)):
            return "deadline"
        if isinstance(error, (self.errors.BusyLoadingError, self.errors.ResponseError)):
            return "refused"
        # A pool that waits for a connection says so in words alone.
        if isinstance(error, getattr(self.errors, "MaxConnectionsError", ())) or str(error) == "No connection available.":
            return "busy"
        return "disconnected"

    def is_unknown_script(self, error: BaseException) -> bool:
        """Whether the error proves that nothing was run: the script has to be sent."""
        return isinstance(error, self.errors.NoScriptError)

    @property
    def failures(self) -> tuple[type[BaseException], ...]:
        """What stands for an outage."""
        return (self.errors.RedisError, OSError)


def _retries(client: Any) -> int:
    # Those of a cluster have it as an attribute alone.
    retry = client.get_retry() if hasattr(client, "get_retry") else getattr(client, "retry", None)
    return int(getattr(retry, "_retries", 0)) if retry is not None else 0


class StoredLimiter(Limiter):
    """What ``Limiter(..., store=client)`` is. See ``Limiter``.

    With a client of asyncio ``acheck``, ``aallow``, ``apeek``, ``acharge``, ``arefund``, ``areset``, ``acheck_many`` and
    ``aallow_many`` are awaited; with another one the same without ``a``.
    """

    _store: Store
    _fleet: Fleet
    _options: dict[str, Any]

    @classmethod
    def _make(
        cls, core: dict[str, Any], store: Any, secret: str | bytes | None, on_outage: OnOutage, nodes: int | None
    ) -> Self:
        if secret is None:
            raise TypeError("store= wants secret=, 16 bytes or more that all nodes know and nobody else: keys are hashed with it")
        if core["clock"] is not None:
            raise ValueError("with store= the time is the server's; give clock= or store=, not both")
        if not isinstance(secret, (str, bytes)):
            raise TypeError(f"secret is str or bytes, and {type(secret).__name__!r} was given")
        # The table that decides during an outage.
        self = Core.__new__(cls, **core)
        self._store = store if isinstance(store, Store) else Store(store)
        self._fleet = Fleet(self, core["name"], secret, on_outage, nodes)
        self._options = {"secret": secret, "on_outage": on_outage, "nodes": nodes}
        return self

    # The call.

    def _sync(self) -> Store:
        if self._store.is_async:
            raise TypeError("the client of store= is one of asyncio: await acheck() and its like")
        return self._store

    def _async(self) -> Store:
        if not self._store.is_async:
            raise TypeError("the client of store= would block the event loop: give one of redis.asyncio, or use check()")
        return self._store

    def _ask(self, question: Question) -> Any:
        store, whole = self._sync(), False
        while (command := question.command(whole)) is not None:
            if store.breaker.is_open():
                return _without(store, question, "disconnected", "")
            try:
                reply = store.client.execute_command(*command)
            except store.failures as error:
                if not whole and store.is_unknown_script(error):
                    # Which is an answer: the server is there.
                    store.breaker.answered()
                    whole = True
                    continue
                return _failed(store, question, error)
            whole = False
            refusal = _read(store, question, reply)
            if refusal is not None:
                return refusal[0]
        return question.done()

    async def _aask(self, question: Question) -> Any:
        store, whole = self._async(), False
        while (command := question.command(whole)) is not None:
            if store.breaker.is_open():
                return _without(store, question, "disconnected", "")
            try:
                reply = await store.client.execute_command(*command)
            except store.failures as error:
                if not whole and store.is_unknown_script(error):
                    # Which is an answer: the server is there.
                    store.breaker.answered()
                    whole = True
                    continue
                return _failed(store, question, error)
            whole = False
            refusal = _read(store, question, reply)
            if refusal is not None:
                return refusal[0]
        return question.done()

    def _batches(self, keys: Iterable[Key], cost: int) -> list[list[Question]]:
        if isinstance(keys, str):
            raise TypeError("keys are a list of keys, and one str was given")
        questions = [self._fleet.check(key, cost, False) for key in keys]
        return [questions[at : at + _BATCH] for at in range(0, len(questions), _BATCH)]

    def _pipe(self, batch: list[Question]) -> Any:
        """One round trip for many questions, if there is a server to ask; of a cluster each is asked by itself."""
        if self._store.is_cluster or self._store.breaker.is_open():
            return None
        pipe = self._store.client.pipeline(transaction=False)
        for question in batch:
            command = question.command()
            if command is not None:
                pipe.execute_command(*command)
        return pipe

    def _answers(self, batch: list[Question], replies: list[Any]) -> list[Any]:
        """What each answer decides; nothing where it has to be asked by itself."""
        store, rest = self._store, iter(replies)
        answers: list[Any] = []
        for question in batch:
            if question.command() is None:
                answers.append(question.done())
                continue
            reply = next(rest)
            if isinstance(reply, BaseException):
                if store.is_unknown_script(reply):
                    store.breaker.answered()
                    answers.append(None)
                else:
                    answers.append(_failed(store, question, reply))
                continue
            refusal = _read(store, question, reply)
            if refusal is not None:
                answers.append(refusal[0])
            else:
                answers.append(question.done() if question.command() is None else None)
        return answers

    # With a client that is called.

    def allow(self, key: Key, cost: int = 1) -> bool:
        return self.check(key, cost).allowed

    def check(self, key: Key, cost: int = 1) -> Decision:
        if not is_enabled():
            return Core.peek(self, key, 0)
        return cast(Decision, self._ask(self._fleet.check(key, cost, False)))

    def peek(self, key: Key, cost: int = 1) -> Decision:
        return cast(Decision, self._ask(self._fleet.check(key, cost, True)))

    def charge(self, key: Key, cost: int = 1) -> int:
        return _made(self._ask(self._fleet.change(key, cost, "charge")), "charge")

    def refund(self, key: Key, cost: int = 1) -> None:
        _made(self._ask(self._fleet.change(key, cost, "refund")), "refund")

    def reset(self, key: Key) -> None:
        _made(self._ask(self._fleet.change(key, 0, "reset")), "reset")

    def check_many(self, keys: Iterable[Key], cost: int = 1) -> list[Decision]:
        self._sync()
        decisions: list[Decision] = []
        for batch in self._batches(keys, cost):
            answers: list[Any] = [None] * len(batch)
            pipe = self._pipe(batch)
            if pipe is not None:
                try:
                    answers = self._answers(batch, pipe.execute(raise_on_error=False))
                except self._store.failures as error:
                    answers = [_failed(self._store, question, error) for question in batch]
            pairs = zip(batch, answers, strict=True)
            decisions += [self._ask(question) if answer is None else answer for question, answer in pairs]
        return decisions

    def allow_many(self, keys: Iterable[Key], cost: int = 1) -> list[bool]:
        return [decision.allowed for decision in self.check_many(keys, cost)]

    # With one that is awaited.

    async def aallow(self, key: Key, cost: int = 1) -> bool:
        return (await self.acheck(key, cost)).allowed

    async def acheck(self, key: Key, cost: int = 1) -> Decision:
        if not is_enabled():
            return Core.peek(self, key, 0)
        return cast(Decision, await self._aask(self._fleet.check(key, cost, False)))

    async def apeek(self, key: Key, cost: int = 1) -> Decision:
        return cast(Decision, await self._aask(self._fleet.check(key, cost, True)))

    async def acharge(self, key: Key, cost: int = 1) -> int:
        return _made(await self._aask(self._fleet.change(key, cost, "charge")), "charge")

    async def arefund(self, key: Key, cost: int = 1) -> None:
        _made(await self._aask(self._fleet.change(key, cost, "refund")), "refund")

    async def areset(self, key: Key) -> None:
        _made(await self._aask(self._fleet.change(key, 0, "reset")), "reset")

    async def acheck_many(self, keys: Iterable[Key], cost: int = 1) -> list[Decision]:
        self._async()
        decisions: list[Decision] = []
        for batch in self._batches(keys, cost):
            answers: list[Any] = [None] * len(batch)
            pipe = self._pipe(batch)
            if pipe is not None:
                try:
                    answers = self._answers(batch, await pipe.execute(raise_on_error=False))
                except self._store.failures as error:
                    answers = [_failed(self._store, question, error) for question in batch]
            pairs = zip(batch, answers, strict=True)
            decisions += [await self._aask(question) if answer is None else answer for question, answer in pairs]
        return decisions

    async def aallow_many(self, keys: Iterable[Key], cost: int = 1) -> list[bool]:
        return [decision.allowed for decision in await self.acheck_many(keys, cost)]

    def check_together(
        self, items: list[tuple[Core, Key, int]], dialect: str
    ) -> tuple[Decision, int, list[tuple[str, str]]]:
        """``Core.check_all`` of limiters over this store."""
        if not is_enabled():
            return Core.check_all(items, dialect)
        question = _together(items)
        decision = cast(Decision, self._ask(question))
        return (decision, *question.told(dialect))

    async def acheck_together(
        self, items: list[tuple[Core, Key, int]], dialect: str
    ) -> tuple[Decision, int, list[tuple[str, str]]]:
        """The same, awaited."""
        if not is_enabled():
            return Core.check_all(items, dialect)
        question = _together(items)
        decision = cast(Decision, await self._aask(question))
        return (decision, *question.told(dialect))

    async def _arequire(self, key: Key, cost: int) -> Decision:
        decision = await self.acheck(key, cost) if self._store.is_async else self.check(key, cost)
        if not decision.allowed:
            REFUSALS.tell(self.name, key, decision)
            raise RateLimited(decision)
        return decision

    # The rest.

    def prepare(self, name: str, limits: Limits, *, algorithm: str | None = None) -> Self:
        if not isinstance(limits, str) and isinstance(limits, Iterable):
            limits = tuple(limits)
        core = {"limits": limits, "name": name, "algorithm": algorithm, "clock": None, "like": self}
        other = type(self)._make(core, self._store, **self._options)
        other._config = {**self._config, "limits": limits, "name": name, "algorithm": algorithm}
        return other

    def wait(self, key: Key, cost: int = 1, *, max_wait: float = 60.0) -> Wait:
        """Sleeps until it is admitted, at most ``max_wait`` seconds. Turns are not reserved: whoever asks first when there is room
        is the one who goes."""
        return StoredWait(self, key, cost, max_wait)

    def reserve(self, key: Key, cost: int, max_wait: float) -> NoReturn:
        _refuse("reserve() takes a turn ahead of time", "wait() sleeps until it is admitted")

    def state(self, key: Key) -> NoReturn:
        _refuse("state() looks at a bucket as it is kept", "peek() has the figures")

    def now_ns(self) -> NoReturn:
        _refuse("now_ns() reads the limiter's clock", "with store= that is the server's")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Limiter with store= cannot be pickled, as its client cannot: make one in each process")


class StoredWait(Wait):
    """A turn to wait for, that nobody reserves."""

    __slots__ = ()

    def _left(self) -> float:
        now = time.monotonic_ns()
        if self._deadline is None:
            self._deadline = now + int(min(self._max_wait, 1e9) * 1e9)
        return max(0, self._deadline - now) / 1e9

    def _sleep(self, decision: Decision, left: float) -> float:
        """How long to sleep; nothing once it is admitted."""
        if decision.allowed:
            self._deadline = None
            return 0.0
        if decision.retry_after is None or decision.retry_after > left:
            raise RateLimited(decision)
        return decision.retry_after

    def __enter__(self) -> None:
        while wait := self._sleep(self._limiter.check(self._key, self._cost), self._left()):
            time.sleep(wait)

    async def __aenter__(self) -> None:
        while wait := self._sleep(await self._limiter.acheck(self._key, self._cost), self._left()):
            await _sleep(wait)


def _together(items: list[tuple[Core, Key, int]]) -> Question:
    return Fleet.check_all([(cast(StoredLimiter, limiter)._fleet, key, cost) for limiter, key, cost in items])


def _refuse(what: str, instead: str) -> NoReturn:
    raise NotImplementedError(f"{what}, which is not offered with store=: {instead}")


def _without(store: Store, question: Question, kind: str, text: str) -> Decision | None:
    store.breaker.outages += 1
    decision: Decision | None = question.outage(kind, text)
    return decision


def _failed(store: Store, question: Question, error: BaseException) -> Decision | None:
    kind, text = store.kind(error), f"{type(error).__name__}: {error}"
    store.breaker.failed(kind, text)
    return _without(store, question, kind, text)


def _read(store: Store, question: Question, reply: Any) -> tuple[Decision | None] | None:
    """What was decided if the answer is none; else nothing."""
    store.breaker.answered()
    wrong = question.read(reply)
    if wrong is None:
        return None
    store.breaker.failed("unreadable", wrong)
    return (_without(store, question, "unreadable", wrong),)


def _made(answer: int | None, what: str) -> int:
    if answer is None:
        raise StoreError(f"the store did not answer: the {what} may have been made, or not")
    return answer

