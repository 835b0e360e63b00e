"""Clients of redis-py that find their server by themselves: those of a cluster and of sentinels, sync and asyncio."""

from __future__ import annotations

import itertools
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from server import SECRET, program
from tollgate_limiter import Limiter

# Without types of their own.
RedisCluster: Any = redis.RedisCluster
AsyncCluster: Any = redis.asyncio.RedisCluster
Sentinel: Any = redis.sentinel.Sentinel
AsyncSentinel: Any = redis.asyncio.sentinel.Sentinel

# Long, as the machine may be busy; nothing waits for it.
LONGEST = 180


def until(done: Callable[[], Any], what: str) -> None:
    """Waits for what will be so."""
    end = time.monotonic() + LONGEST
    while True:
        try:
            if done():
                return
        except (redis.RedisError, OSError) as error:
            what = f"{what}: {error}"
        assert time.monotonic() < end, what[:500]
        time.sleep(0.05)


def plain(port: int) -> Any:
    """A client of one server."""
    return redis.Redis(port=port, socket_timeout=LONGEST)


def free_port() -> int:
    """A port of loopback that nobody has, and whose number and 10,000 is one as well, by which nodes of a cluster talk."""
    for _ in range(200):
        with socket.socket() as chosen, socket.socket() as bus:
            chosen.bind(("127.0.0.1", 0))
            port: int = chosen.getsockname()[1]
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no port is free")


@contextmanager
def node(*options: str, config: str | None = None) -> Iterator[int]:
    """A server; the port may be another's by the time that it starts, so another is tried."""
    for _ in range(5):
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="tollgate-py-") as folder:
            arguments = [program()]
            if config is not None:
                file = Path(folder, "server.conf")
                file.write_text(config)
                arguments.append(str(file))
            arguments += ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *options]
            process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
            try:
                client = redis.Redis(port=port, socket_timeout=LONGEST, retry=Retry(NoBackoff(), 0))
                until(lambda: process.poll() is not None or client.ping(), "the server did not start")
                client.close()
                if process.poll() is None:
                    yield port
                    return
            finally:
                process.kill()
                process.wait()
    raise AssertionError("no server started on any of five ports")


@pytest.fixture(scope="module")
def cluster() -> Iterator[int]:
    """The port of one of three nodes, each of which has a third of the keys."""
    with ExitStack() as stack:
        ports = [stack.enter_context(node("--cluster-enabled", "yes")) for _ in range(3)]
        clients = [plain(port) for port in ports]
        for client, (first, last) in zip(clients, ((0, 5460), (5461, 10922), (10923, 16383)), strict=True):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            for port in ports:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", port)

        def agree() -> bool:
            infos: list[Any] = [client.execute_command("CLUSTER", "INFO") for client in clients]
            return all(b"cluster_state:ok\r" in info and b"cluster_known_nodes:3\r" in info for info in infos)

        until(agree, "the nodes did not find each other")
        for client in clients:
            client.close()
        yield ports[0]


def once(**options: Any) -> dict[str, Any]:
    return {"socket_timeout": LONGEST, "socket_connect_timeout": LONGEST, **options}


def test_a_cluster_counts_each_key_on_the_node_that_has_it(cluster: int) -> None:
    client = RedisCluster(host="127.0.0.1", port=cluster, **once(retry=Retry(NoBackoff(), 0)))
    limiter = Limiter(["3 per 30 days", "5 per 30 days as sliding-log"], store=client, secret=SECRET)
    for number in range(30):
        decisions = [limiter.check(("user", number)) for _ in range(4)]
        assert [decision.outage for decision in decisions] == [None] * 4
        assert [decision.allowed for decision in decisions] == [True] * 3 + [False]
    assert limiter.allow_many([("user", number) for number in range(29, 32)]) == [False, True, True]
    nodes: list[Any] = [plain(each.port).dbsize() for each in client.get_primaries()]
    assert len(nodes) == 3 and all(nodes), "all keys lie on one node"
    client.close()


async def test_a_cluster_is_awaited(cluster: int) -> None:
    client = AsyncCluster(
        host="127.0.0.1", port=cluster, **once(retry=redis.asyncio.retry.Retry(NoBackoff(), 0))
    )
    try:
        limiter = Limiter("3 per 30 days", store=client, secret=SECRET, name="awaited")
        for number in range(10):
            decisions = [await limiter.acheck(number) for _ in range(4)]
            assert [decision.outage for decision in decisions] == [None] * 4
            assert [decision.allowed for decision in decisions] == [True] * 3 + [False]
        assert await limiter.aallow_many([9, 10]) == [False, True]
    finally:
        await client.aclose()


async def test_a_client_of_a_cluster_that_sends_again_or_waits_for_ever_is_refused(cluster: int) -> None:
    for retry, client_of in ((Retry, RedisCluster), (redis.asyncio.retry.Retry, AsyncCluster)):
        # As it comes: ten times.
        client: Any = client_of(host="127.0.0.1", port=cluster, socket_timeout=LONGEST)
        with pytest.raises(ValueError, match="sends again what was not answered, 10 times"):
            Limiter("3/minute", store=client, secret=SECRET)
        waiting: Any = client_of(host="127.0.0.1", port=cluster, socket_timeout=None, retry=retry(NoBackoff(), 0))
        with pytest.raises(ValueError, match="has no socket_timeout"):
            Limiter("3/minute", store=waiting, secret=SECRET)
        for each in (client, waiting):
            closed = each.aclose() if hasattr(each, "aclose") else each.close()
            if closed is not None:
                await closed


@contextmanager
def watched() -> Iterator[tuple[int, int, int]]:
    """The ports of a server, of a copy of it, and of the sentinel that watches both."""
    with node() as port, node("--replicaof", "127.0.0.1", str(port)) as copy:
        config = f"sentinel monitor first 127.0.0.1 {port} 1\nsentinel down-after-milliseconds first 60000\n"
        with node("--sentinel", config=config) as sentinel:
            client = plain(sentinel)
            until(lambda: client.execute_command("SENTINEL", "REPLICAS", "first"), "the sentinel did not find the copy")
            client.close()
            yield port, copy, sentinel


async def test_a_client_of_sentinels_goes_where_the_server_is() -> None:
    with watched() as (_, copy, port):
        sentinel = Sentinel([("127.0.0.1", port)], socket_timeout=LONGEST)
        client = sentinel.master_for("first", **once(retry=Retry(NoBackoff(), 0)))
        limiter = Limiter("3 per 30 days", store=client, secret=SECRET)
        assert [limiter.allow("ada") for _ in range(4)] == [True] * 3 + [False]
        awaited = AsyncSentinel([("127.0.0.1", port)], socket_timeout=LONGEST)
        other = awaited.master_for("first", **once(retry=redis.asyncio.retry.Retry(NoBackoff(), 0)))
        counted = await Limiter("3 per 30 days", store=other, secret=SECRET).acheck("ada")
        assert not counted and counted.outage is None
        await other.aclose()
        # The copy has what was counted, and takes over: so does the limiter, as soon as its connection says where.
        replica = plain(copy)
        until(lambda: replica.dbsize() == 1, "the copy has nothing")
        asked = plain(port)
        until(lambda: asked.execute_command("SENTINEL", "FAILOVER", "first"), "the sentinel does not hand over")
        until(lambda: b"master" in str(replica.execute_command("ROLE")).encode(), "the copy did not take over")
        # What is counted by the old server meanwhile is lost, as ever with copies.
        users = itertools.count()
        until(lambda: limiter.allow(next(users)) and replica.dbsize() > 1, "the limiter counts elsewhere")
        after = limiter.check("ada")
        assert not after and after.outage is None
        for each in (replica, asked, client):
            each.close()


def test_a_client_of_sentinels_without_a_deadline_is_refused() -> None:
    sentinel = Sentinel([("127.0.0.1", 1)], socket_timeout=LONGEST)
    client = sentinel.master_for("first", socket_timeout=None, retry=Retry(NoBackoff(), 0))
    with pytest.raises(ValueError, match="has no socket_timeout"):
        Limiter("3/minute", store=client, secret=SECRET)
