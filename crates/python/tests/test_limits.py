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
            assert abs(limiter.get_window_stats(item, "k").reset_time - (frozen().timestamp() + 60)) < 1
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
        frozen.tick(59)
        assert not limiter.hit(item, "k")
        frozen.tick(1.1)
        assert limiter.hit(item, "k")


def test_a_log_that_is_too_long_and_an_option_that_is_none_are_refused_with_a_sentence() -> None:
    limiter = MovingWindowRateLimiter(storage_from_string("tollgate://"))
    with pytest.raises(ValueError, match="above 1024"):
        limiter.hit(parse("2000/minute"), "k")
    with pytest.raises(ValueError, match="capacity, on_full and clock"):
        storage_from_string("tollgate://?colour=red")


def test_more_than_a_window_counts_is_refused() -> None:
    storage = storage_from_string("tollgate://")
    most = tollgate_limiter.limits.MAX_HITS[0]
    assert storage.incr("k/1/1/hour", 3600, most) == most
    limiter = FixedWindowRateLimiter(storage)
    item = parse(f"{most * 2}/hour")
    assert limiter.hit(item, "a", cost=most) and not limiter.hit(item, "a")
    for rate in ("9/second", "9/2 second", "9/minute", "9/day", "9/year"):
        assert limiter.hit(parse(rate), "b", cost=9) and not limiter.hit(parse(rate), "b")


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
