"""Limits that are counted on a server of Redis, by redis-py."""

import asyncio
import logging
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from server import SECRET, Server, hits, started
from tollgate_limiter import Limiter, LimitValueError, RateLimited, StoreError
from tollgate_limiter.testing import disabled

ALGORITHMS = {
    "token-bucket": "b",
    "leaky-bucket": "b",
    "leaky-queue": "q",
    "fixed-window": "w",
    "fixed-window first-hit refused-counted": "h",
    "sliding-window": "s",
    "sliding-log": "l",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    client = server.client()
    client.flushall()
    yield client
    client.close()


def stored(client: Any, limits: Any, **options: Any) -> Limiter:
    return Limiter(limits, store=client, secret=SECRET, **options)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_python_and_rust_count_together(server: Server, client: redis.Redis, algorithm: str) -> None:
    # 30 days: of a window on the clock's grid there is no end in sight.
    limit = f"5 per 30 days as {algorithm}"
    limiter = stored(client, limit, name="api")
    if algorithm == "leaky-queue":
        assert limiter.allow("ada") and hits(server, "api", limit, "ada", 1) == 0 and not limiter.allow("ada")
        return
    assert limiter.allow("ada", 2)
    assert hits(server, "api", limit, "ada", 5) == 3
    refused = limiter.check("ada")
    assert not refused and refused.outage is None and refused.remaining == 0
    assert refused.retry_after is not None and 0 < refused.retry_after <= 30 * 86_400
    # One key, of this limit, which Rust has used as well; and one of another name.
    keys: list[Any] = list(client.keys())
    [key] = keys
    assert key.startswith(b"tg1:{") and f":api:{ALGORITHMS[algorithm]}".encode() in key
    assert stored(client, limit, name="other").allow("ada")


def test_python_and_rust_at_once_admit_exactly_the_limit(server: Server, client: redis.Redis) -> None:
    limiter = stored(client, "1000 per 30 days", name="api")
    admitted: list[int] = []

    def ask() -> None:
        admitted.append(sum(limiter.allow("ada") for _ in range(200)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    threads.append(threading.Thread(target=lambda: admitted.append(hits(server, "api", "1000 per 30 days", "ada", 600))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 5 and sum(admitted) == 1000
    assert limiter.peek("ada").remaining == 0


async def test_many_tasks_at_once_admit_exactly_the_limit(server: Server, client: redis.Redis) -> None:
    other = redis.asyncio.Redis(**server.options(retry=redis.asyncio.retry.Retry(NoBackoff(), 0)))
    try:
        limiter = stored(other, ["50 per 30 days", "40 per 30 days as sliding-log"])
        decisions = await asyncio.gather(*(limiter.acheck("k") for _ in range(100)))
        assert sum(decision.allowed for decision in decisions) == 40
        assert (await limiter.apeek("k")).outage is None
    finally:
        await other.aclose()


def test_forked_workers_count_together_on_the_server_and_in_outages(server: Server, client: redis.Redis) -> None:
    limiter = stored(client, "20 per 30 days")
    limiter.allow("k")
    nobody, nowhere_client = nowhere()
    with nobody:
        local = stored(nowhere_client, "20 per 30 days", on_outage="local")
        counts = in_children(3, lambda: sum(limiter.allow("k") for _ in range(20)) + 1000 * sum(local.allow("k") for _ in range(20)))
    assert sum(count % 1000 for count in counts) == 19
    assert sum(count // 1000 for count in counts) == 20


def in_children(number: int, work: Callable[[], int]) -> list[int]:
    """What forked processes answer."""
    pipes = []
    for _ in range(number):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, str(work()).encode())
            finally:
                os._exit(0)
        os.close(writing)
        pipes.append((child, reading))
    answers = []
    for child, reading in pipes:
        with os.fdopen(reading) as pipe:
            answers.append(int(pipe.read()))
        os.waitpid(child, 0)
    return answers


def test_of_several_limits_both_sides_take_all_or_nothing(server: Server, client: redis.Redis) -> None:
    limits = ["3 per 30 days", "5 per 30 days as sliding-log"]
    limiter = stored(client, limits, name="both")
    assert limiter.allow("ada", 2)
    assert hits(server, "both", ", ".join(limits), "ada", 4) == 1
    # The log has three, and none of the three that the bucket has refused.
    assert stored(client, limits[1], name="both").check("ada").remaining == 1
    assert limiter.check("ada").index == 0


def test_limits_of_one_period_are_two_buckets(server: Server, client: redis.Redis) -> None:
    limiter = stored(client, ["5 per 30 days burst 2", "5 per 30 days"], name="api")
    assert [limiter.allow("ada") for _ in range(3)] == [True, True, False]
    assert len(client.keys()) == 2
    # A node of Rust gives the second that name.
    assert hits(server, "api-2", "5 per 30 days", "ada", 9) == 3


def test_keys_of_all_kinds_are_the_bytes_that_rust_hashes(server: Server, client: redis.Redis) -> None:
    limiter = stored(client, "1 per 30 days", name="k")
    keys: list[Any] = ["ada", b"ada", 7, ("org", 7), None, "\u00fc"]
    for key in keys:
        assert limiter.allow(key) and not limiter.allow(key), key
    assert len(client.keys()) == 6
    assert hits(server, "k", "1 per 30 days", "\u00fc", 1) == 0


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "leaky-queue"])
def test_a_cost_a_look_a_refund_a_charge_and_a_reset(client: redis.Redis, algorithm: str) -> None:
    limiter = stored(client, f"10 per 30 days as {algorithm}")
    assert limiter.check("k", cost=8).remaining == 2
    if "refused-counted" not in algorithm:
        assert not limiter.allow("k", 5)
    assert limiter.peek("k", 2).allowed and not limiter.peek("k", 3).allowed
    limiter.refund("k", 3)
    assert limiter.allow("k", 5) and not limiter.peek("k").allowed
    limiter.reset("k")
    assert limiter.check("k").remaining == 9
    never = limiter.check("k", 11)
    assert never.never and never.retry_after is None
    # A bucket goes into debt; a window fills up.
    assert limiter.charge("k", 12) == (12 if "bucket" in algorithm else 9 if "refused-counted" not in algorithm else 0)
    assert not limiter.allow("k")
    assert limiter.peek("k", 0).allowed


def test_the_wait_is_true_by_the_servers_clock(client: redis.Redis) -> None:
    limiter = stored(client, "20/second burst 1")
    # One that comes later than a token is admitted: the next is not, unless it is late as well.
    refused = next(decision for decision in (limiter.check("k") for _ in range(1000)) if not decision)
    assert refused.retry_after is not None and 0 < refused.retry_after <= 0.05
    time.sleep(refused.retry_after)
    assert limiter.allow("k")


def test_waiting_is_asking_again_when_there_is_room(client: redis.Redis) -> None:
    limiter = stored(client, "20/second burst 1")
    begun = time.monotonic()
    for _ in range(4):
        with limiter.wait("k", max_wait=60):
            pass
    assert time.monotonic() - begun >= 0.149
    with pytest.raises(RateLimited), stored(client, "1 per 30 days", name="long").wait("k", 2):
        pass


def test_what_needs_no_server_asks_none(server: Server) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        client = redis.Redis(port=nobody.getsockname()[1], socket_timeout=1, retry=Retry(NoBackoff(), 0))
        assert stored(client, "unlimited").check("k").outage is None
        assert stored(client, "0/second").check("k").never


def test_many_keys_are_one_round_trip(client: redis.Redis) -> None:
    limiter = stored(client, "1 per 30 days")
    keys: list[Any] = [*range(300), 7]
    # The first of each batch finds no script, and says so for all of it.
    client.script_flush()
    decisions = limiter.check_many(keys)
    assert [bool(decision) for decision in decisions] == [True] * 300 + [False]
    before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert limiter.allow_many([7, 1000]) == [False, True]
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 2
    with pytest.raises(TypeError, match="one str was given"):
        limiter.check_many("abc")


def test_what_another_quota_wrote_is_converted(client: redis.Redis) -> None:
    old, new = (stored(client, f"{count} per 30 days", name="api") for count in (100, 10))
    assert old.allow("k", 4) and new.check("k").remaining == 5
    assert old.check("k").remaining == 94
    assert new.check_many(["k"])[0].remaining == 3


def test_decoded_answers_are_read(server: Server, client: redis.Redis) -> None:
    kinds: list[dict[str, Any]] = [{"decode_responses": True}, {"protocol": 3}, {"protocol": 2}]
    for options in kinds:
        limiter = stored(server.client(**options), "1 per 30 days", name=str(options))
        assert limiter.allow("k") and not limiter.check("k").allowed
        limiter.refund("k")
        assert limiter.allow("k")


def test_limits_that_come_later_and_decorators(client: redis.Redis) -> None:
    limiter = stored(client, "2 per 30 days").prepare("later", ["1 per 30 days"])
    assert limiter.name == "later"

    @limiter.limited(key=lambda user: user)
    def export(user: str) -> str:
        return user

    assert export("ada") == "ada"
    with pytest.raises(RateLimited, match="limited to 1 per 30 day"):
        export("ada")


async def test_a_client_of_asyncio_is_awaited(server: Server, client: redis.Redis) -> None:
    other = redis.asyncio.Redis(**server.options(retry=None))
    other.set_retry(redis.asyncio.retry.Retry(NoBackoff(), 0))
    try:
        limiter = stored(other, "3 per 30 days", name="api")
        assert (await limiter.acheck("k")).remaining == 2
        assert (await limiter.apeek("k", 2)).allowed and await limiter.aallow("k")
        assert hits(server, "api", "3 per 30 days", "k", 2) == 1
        await limiter.arefund("k", 2)
        decisions = await limiter.acheck_many(["k", "k", "k"])
        assert [bool(decision) for decision in decisions] == [True, True, False]
        await limiter.areset("k")
        assert await limiter.acharge("k", 5) == 5 and await limiter.aallow_many(["k", "j"]) == [False, True]

        @limiter.limited(key="limited", cost=3)
        async def fetch() -> int:
            return 1

        assert await fetch() == 1
        with pytest.raises(RateLimited):
            await fetch()
        with pytest.raises(TypeError, match="await acheck"):
            limiter.check("k")
        with pytest.raises(TypeError, match="block the event loop"):
            await stored(client, "1/second").acheck("k")
    finally:
        await other.aclose()


async def test_in_memory_the_same_words_can_be_awaited() -> None:
    limiter = Limiter("2/minute")
    assert (await limiter.acheck("k")).remaining == 1 and await limiter.aallow("k")
    assert not (await limiter.apeek("k")).allowed
    await limiter.arefund("k")
    assert [bool(each) for each in await limiter.acheck_many(["k", "k"])] == [True, False]
    await limiter.areset("k")
    assert await limiter.acharge("k") == 1 and await limiter.aallow_many(["k", "k"]) == [True, False]


def nowhere() -> tuple[socket.socket, redis.Redis]:
    """A client of a port at which nobody listens."""
    nobody = socket.socket()
    nobody.bind(("127.0.0.1", 0))
    return nobody, redis.Redis(port=nobody.getsockname()[1], socket_timeout=5, retry=Retry(NoBackoff(), 0))


def test_without_a_server_the_choice_decides(caplog: pytest.LogCaptureFixture) -> None:
    nobody, client = nowhere()
    with nobody, caplog.at_level(logging.WARNING, logger="tollgate"):
        closed = stored(client, "2 per 30 days")
        refused = closed.check("k")
        assert not refused and refused.retry_after == 1.0 and refused.outage is not None
        with pytest.raises(RateLimited, match="no answer about 2 per 30 day"):
            closed.require("k")
        assert stored(client, "2 per 30 days", on_outage="open").allow("k", 2)
        local = stored(client, "2 per 30 days", on_outage="local")
        assert local.allow_many(["k", "k", "k"]) == [True, True, False]
        # Two of eight, and nothing is lost of it to what another limit refuses.
        share = stored(client, ["8 per 30 days", "1 per 30 days as fixed-window"], on_outage="share", nodes=4)
        assert [share.allow("k") for _ in range(2)] == [True, False]
        assert share.prepare("share", "8 per 30 days").allow_many("kkk"[i] for i in range(3)) == [True, True, False]
        for change in (closed.refund, closed.charge):
            with pytest.raises(StoreError, match="may have been made, or not"):
                change("k", 1)
        with pytest.raises(StoreError):
            closed.reset("k")
        for _ in range(200):
            assert not closed.allow("k")
    # One line a minute of each limiter's store, not one for each request.
    assert 1 <= len(caplog.records) <= 5 and "on_outage decides" in caplog.records[0].getMessage()


class Silent:
    """A server that takes what is sent, and answers nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.connections.append(self._socket.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._socket.close()
        for connection in self.connections:
            connection.close()


@pytest.mark.parametrize("waits", [False, True])
def test_a_pool_without_connections_is_no_broken_server(server: Server, waits: bool) -> None:
    client = server.client(max_connections=1)
    if waits:
        pool: Any = redis.BlockingConnectionPool
        of = client.connection_pool
        client = redis.Redis(connection_pool=pool(1, 0.01, of.connection_class, **of.connection_kwargs))
    limiter = stored(client, "1000 per 30 days", name="pool")
    held = client.connection_pool.get_connection()
    busy = limiter.check("k")
    assert not busy and busy.outage == "too many requests wait for the server"
    client.connection_pool.release(held)
    # The next one is asked at once.
    assert limiter.check("k").outage is None


def test_nothing_is_asked_while_all_is_off() -> None:
    silent = Silent()
    try:
        client = redis.Redis(port=silent.port, socket_timeout=30, retry=Retry(NoBackoff(), 0))
        with disabled():
            decision = stored(client, "1/minute").check("k", 9)
            assert decision.allowed and decision.outage is None
        assert not silent.connections
    finally:
        silent.close()


def test_a_server_that_says_nothing_costs_a_few_timeouts() -> None:
    silent = Silent()
    try:
        client = redis.Redis(port=silent.port, socket_timeout=0.05, retry=Retry(NoBackoff(), 0))
        limiter = stored(client, "1000 per 30 days", on_outage="open")
        begun = time.monotonic()
        decisions = [limiter.check("k") for _ in range(2000)]
        spent = time.monotonic() - begun
        assert all(decision.allowed and decision.outage for decision in decisions)
        # Without the breaker they would take 100 s.
        assert spent < 30
    finally:
        silent.close()


def test_service_is_back_with_the_server_and_what_was_counted_is_kept() -> None:
    with started() as server:
        client = server.client()
        limiter = stored(client, "5 per 30 days", on_outage="closed")
        assert limiter.allow("k", 2)
        os.kill(server.process.pid, signal.SIGSTOP)
        stopped = stored(server.client(socket_timeout=1.0), "5 per 30 days")
        assert not stopped.allow("k") and stopped.check("k").outage is not None
        os.kill(server.process.pid, signal.SIGCONT)
        until = time.monotonic() + 60
        while stopped.check("k", 0).outage is not None:
            assert time.monotonic() < until
            time.sleep(0.01)
        # What was not answered may have been counted, once each.
        assert limiter.peek("k").remaining <= 3
        server.stop()
        assert not limiter.allow("k")
        server.start()
        # The first that is let through again is answered, though the server has forgotten the scripts.
        time.sleep(max(0.0, limiter._store.breaker._until - time.monotonic()))  # type: ignore[attr-defined]
        assert limiter.check("k", 0).outage is None
        assert limiter.allow("k", 5)


def test_a_full_or_read_only_server_refuses_and_is_told(client: redis.Redis) -> None:
    limiter = stored(client, "5 per 30 days")
    assert limiter.allow("k")
    client.config_set("maxmemory", "1")
    try:
        refused = limiter.check("k")
        assert not refused and refused.outage is not None and "OutOfMemory" in refused.outage
    finally:
        client.config_set("maxmemory", "0")
    assert limiter.check("k").remaining == 3


def of_pool(package: Any, **options: Any) -> Any:
    """A client that waits for a connection if all are in use."""
    retry = package.retry.Retry(NoBackoff(), 0)
    return package.Redis(connection_pool=package.BlockingConnectionPool(socket_timeout=0.05, retry=retry, **options))


def test_a_pool_may_wait_as_long_as_the_deadline() -> None:
    for package in (redis, redis.asyncio):
        assert stored(of_pool(package, timeout=0.05), "1/minute").name == "default"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"secret": "short"}, ValueError, "at least 16 bytes, and 5 were given"),
        ({"secret": None}, TypeError, "wants secret="),
        ({"secret": 7}, TypeError, "'int' was given"),
        ({"on_outage": "maybe"}, ValueError, "unknown choice `maybe`"),
        ({"on_outage": "share"}, LimitValueError, "number of nodes was not given"),
        ({"nodes": 0}, ValueError, "at least 1 node"),
        ({"name": ""}, LimitValueError, "from 1 to 100 bytes, and has 0"),
        ({"clock": "python"}, ValueError, "the time is the server's"),
        ({"store": object()}, TypeError, "'object' was given"),
        ({"store": redis.Redis()}, ValueError, "sends again what was not answered"),
        ({"store": redis.Redis(retry=Retry(NoBackoff(), 0), socket_timeout=None)}, ValueError, "no socket_timeout"),
        ({"store": redis.Redis().pipeline()}, TypeError, "its pipeline\\(\\) was given"),
        ({"store": redis.asyncio.Redis().pipeline()}, TypeError, "its pipeline\\(\\) was given"),
        ({"store": of_pool(redis)}, ValueError, "waits for a connection, 20 s at most"),
        ({"store": of_pool(redis, timeout=None)}, ValueError, "timeout=0.05, as long as that, or less"),
        ({"store": of_pool(redis.asyncio, timeout=0.06)}, ValueError, "waits for a connection, 0.06 s at most"),
        ({"limits": "1/1500ns as fixed-window"}, LimitValueError, "no whole number of microseconds"),
    ],
)
def test_what_cannot_be_is_said(client: redis.Redis, options: dict[str, Any], error: type[Exception], text: str) -> None:
    given: dict[str, Any] = {"limits": "1/minute", "store": client, "secret": SECRET, **options}
    with pytest.raises(error, match=text):
        Limiter(given.pop("limits"), **given)


def test_what_is_not_offered_over_a_store_is_said(client: redis.Redis) -> None:
    limiter = stored(client, "1/minute")
    with pytest.raises(NotImplementedError, match="not offered with store="):
        limiter.state("k")
    with pytest.raises(NotImplementedError, match="wait\\(\\) sleeps until"):
        limiter.reserve("k", 1, 1.0)
    with pytest.raises(NotImplementedError):
        limiter.now_ns()
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(limiter)
    with pytest.raises(TypeError, match="no store was given"):
        Limiter("1/minute", secret=SECRET)

    class Own(Limiter):
        pass

    with pytest.raises(TypeError, match="Own is a class derived"):
        Own("1/minute", store=client, secret=SECRET)
