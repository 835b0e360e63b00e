"""The engine as a storage of ``limits``."""

import asyncio
import os
from typing import Any

import flask_limiter
import freezegun
import limits.aio.strategies
import pytest
import slowapi
from fastapi import FastAPI, Request
from flask import Flask
from flask_limiter.util import get_remote_address
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    SlidingWindowCounterRateLimiter,
)
from slowapi.util import get_remote_address as slow_address

import tollgate_limiter.limits
from test_fastapi import codes as fast_codes
from test_flask import codes
from tollgate_limiter import Limiter, ManualClock
from tollgate_limiter._engine import HitWindows


@pytest.mark.parametrize("scheme", ["memory://", "tollgate://?clock=python"])
@pytest.mark.parametrize(
    "strategy", [FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter]
)
def test_hits_and_figures_are_those_of_their_own_memory(scheme: str, strategy: Any) -> None:
    """The same scene with either storage; where they may differ it is said."""
    with freezegun.freeze_time("2026-01-01 00:00:10") as frozen:
        limiter = strategy(storage_from_string(scheme))
        item = parse("10/minute")
        assert limiter.hit(item, "k", cost=8) and not limiter.hit(item, "k", cost=5)
        if strategy is FixedWindowRateLimiter:
            # Refused hits are counted.
            assert not limiter.test(item, "k") and limiter.get_window_stats(item, "k").remaining == 0
            assert limiter.get_window_stats(item, "k").reset_time == frozen().timestamp() + 60
        else:
            assert limiter.test(item, "k") and limiter.hit(item, "k")
            assert limiter.get_window_stats(item, "k").remaining == 1
        assert limiter.hit(item, "other", cost=10)
        frozen.tick(120.1)
        assert limiter.hit(item, "k", cost=10) and not limiter.hit(item, "k")
        limiter.clear(item, "k")
        assert limiter.hit(item, "k", cost=10)


def test_windows_begin_with_the_first_hit() -> None:
    with freezegun.freeze_time("2026-01-01 00:00:50") as frozen:
        limiter = FixedWindowRateLimiter(storage_from_string("tollgate://?clock=python"))
        item = parse("1/minute")
        assert limiter.hit(item, "k")
        frozen.tick(59.999999)
        assert not limiter.hit(item, "k")
        frozen.tick(0.000001)
        assert limiter.hit(item, "k") and not limiter.hit(item, "k")


@pytest.mark.parametrize("unit", ["second", "minute", "hour", "day", "month", "year"])
def test_a_window_ends_to_the_nanosecond(unit: str, clock: ManualClock) -> None:
    """No sooner and no later, whatever its length; and one that was cleared counts anew, also at the same instant."""
    seconds = parse(f"1/{unit}").get_expiry()
    windows = HitWindows(Limiter("1/second", clock=clock), Limiter("1/second", clock=clock), "test", seconds * 1000)
    clock.advance(0.123456789)
    begun = clock.now_ns()
    assert [windows.hit("k"), windows.hit("k", 3), windows.hit("other")] == [1, 4, 1]
    assert windows.state("k") == (4, begun + seconds * 10**9)
    windows.reset("k")
    assert windows.state("k") is None and windows.hit("k", 0) == 0 and windows.hit("k") == 1
    # In two steps, each of which a float tells to the nanosecond.
    clock.advance(seconds - 1)
    clock.advance(1 - 1e-9)
    assert windows.hit("k") == 2
    clock.advance(1e-9)
    assert windows.state("k") is None and windows.hit("k") == 1
    assert windows.state("k") == (1, begun + 2 * seconds * 10**9)
    assert windows.hit("k", windows.most) is None and windows.hit(b"bytes") == 1


def test_whoever_comes_to_a_full_table_takes_over_what_another_has_counted_and_no_more() -> None:
    storage = storage_from_string("tollgate://?capacity=64")
    for key in range(1_000):
        storage.incr(f"{key}/9/1/day", 86_400)
    counts = [int(storage.incr(f"new {key}/9/1/day", 86_400)) for key in range(100)]  # type: ignore[arg-type]
    # Each that was displaced had been asked about once, or had taken over what one of those had.
    assert 1 <= min(counts) and max(counts) < 1_000


def test_a_log_that_is_too_long_and_an_option_that_is_none_are_refused_with_a_sentence() -> None:
    limiter = MovingWindowRateLimiter(storage_from_string("tollgate://"))
    with pytest.raises(ValueError, match="above 1024"):
        limiter.hit(parse("2000/minute"), "k")
    with pytest.raises(ValueError, match="capacity, on_full and clock"):
        storage_from_string("tollgate://?colour=red")


def test_more_than_a_window_counts_is_refused() -> None:
    storage = storage_from_string("tollgate://")
    most = 15_000_000
    assert storage.incr("k/1/1/hour", 3600, most) == most
    limiter = FixedWindowRateLimiter(storage)
    item = parse(f"{most * 2}/hour")
    assert limiter.hit(item, "a", cost=most) and not limiter.hit(item, "a")
    for rate in ("9/second", "9/2 second", "9/minute", "9/day", "9/year"):
        assert limiter.hit(parse(rate), "b", cost=9) and not limiter.hit(parse(rate), "b")
    # Of more than a moving window holds: cleared without asking for one.
    limiter.clear(item, "a")
    assert limiter.hit(item, "a")


def test_forks_and_processes_with_a_name_count_together(shared_name: str) -> None:
    for uri in ("tollgate://", f"tollgate://{shared_name}"):
        limiter = FixedWindowRateLimiter(storage_from_string(uri))
        item = parse("2/hour")
        assert limiter.hit(item, "k")
        if (child := os.fork()) == 0:
            other = limiter
            if uri != "tollgate://":
                other = FixedWindowRateLimiter(storage_from_string(uri))
            stats = other.get_window_stats(item, "k")
            os._exit(0 if stats.remaining == 1 and other.hit(item, "k") else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not limiter.hit(item, "k")


def test_processes_that_begin_a_window_together_count_it_together() -> None:
    """Whoever comes first, each number is given once: 4 x 250 hits of 10 new keys each."""
    storage: Any = storage_from_string("tollgate://")
    read, write = os.pipe()
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            for index in range(10):
                counts = [storage.incr(f"k{index}/1/1/hour", 3600) for _ in range(250)]
                # A line at a time is written whole.
                os.write(write, (f"{index} {sum(counts)} {max(counts)}\n").encode())
            os._exit(0)
        children.append(child)
    os.close(write)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    with os.fdopen(read) as lines:
        rows = [tuple(map(int, line.split())) for line in lines]
    assert len(rows) == 40
    for index in range(10):
        own = [row for row in rows if row[0] == index]
        assert sum(row[1] for row in own) == 1000 * 1001 // 2 and max(row[2] for row in own) == 1000
        assert storage.get(f"k{index}/1/1/hour") == 1000


def test_the_async_storage() -> None:
    async def scene() -> None:
        for strategy in (
            limits.aio.strategies.FixedWindowRateLimiter,
            limits.aio.strategies.MovingWindowRateLimiter,
            limits.aio.strategies.SlidingWindowCounterRateLimiter,
        ):
            limiter = strategy(storage_from_string("async+tollgate://"))
            item = parse("2/hour")
            assert [await limiter.hit(item, "k") for _ in range(3)] == [True, True, False]
            assert (await limiter.get_window_stats(item, "k")).remaining == 0
            await limiter.clear(item, "k")
            assert await limiter.test(item, "k")

    asyncio.run(scene())


def test_flask_limiter_counts_here() -> None:
    app = Flask(__name__)
    limiter = flask_limiter.Limiter(get_remote_address, app=app, storage_uri="tollgate://", default_limits=["3/hour"])

    @app.route("/")
    @limiter.limit("2/minute")
    def index() -> str:
        return "ok"

    assert codes(app, "/", 3) == [200, 200, 429]
    assert isinstance(limiter.storage, tollgate_limiter.limits.TollgateStorage)


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window"])
def test_slowapi_counts_here(strategy: str) -> None:
    limiter = slowapi.Limiter(key_func=slow_address, storage_uri="tollgate://", strategy=strategy)
    app = FastAPI()
    app.state.limiter = limiter
    app.add_exception_handler(slowapi.errors.RateLimitExceeded, slowapi._rate_limit_exceeded_handler)  # type: ignore[arg-type]

    @app.get("/")
    @limiter.limit("2/minute")
    async def index(request: Request) -> str:
        return "ok"

    assert fast_codes(app, "/", 3) == [200, 200, 429]
    assert isinstance(limiter._storage, tollgate_limiter.limits.TollgateStorage)
