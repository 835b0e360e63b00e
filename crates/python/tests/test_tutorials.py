"""The programs of three published tutorials in their shapes, no more than their imports changed, under the requests that they describe;
and what is wrong with them elsewhere and not here. `docs/tutorials.md` tells it, and its examples run here."""

from __future__ import annotations

import asyncio
import functools
import importlib
import re
import threading
import time
from pathlib import Path
from typing import Any, Optional

import freezegun
import pytest
import redis
import redis.asyncio
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.testclient import TestClient
from flask import Flask, jsonify
from flask import request as flask_request

import tollgate_limiter.fastapi
import tollgate_limiter.flask
from server import started
from tollgate_limiter import ManualClock
from tollgate_limiter.compat.flask_limiter import Limiter as FlaskLimiter
from tollgate_limiter.compat.flask_limiter.util import get_remote_address
from tollgate_limiter.compat.tutorial import RateLimiter, RedisRateLimiter, TokenBucket

# The first: a token bucket by hand, and Flask.


def test_the_first_tutorial_has_these_tests() -> None:
    bucket = TokenBucket(rate=10.0, capacity=10)
    for _ in range(10):
        assert bucket.consume() is True
    # Time passes on a slow machine, so one may be there again.
    assert bucket.consume() is False or bucket.tokens < 10
    time.sleep(0.5)
    for _ in range(5):
        assert bucket.consume() is True
    limits = RateLimiter(rate=5.0, capacity=5)
    assert limits.is_allowed("user1") is True
    assert limits.is_allowed("user2") is True


def search_service(clock: ManualClock) -> tuple[Flask, RateLimiter]:
    app = Flask(__name__)
    limits = RateLimiter(rate=10.0, capacity=20, clock=clock)

    def rate_limit(view: Any) -> Any:
        @functools.wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            who = flask_request.headers.get("X-User-ID") or flask_request.remote_addr
            if not limits.is_allowed(who):
                return jsonify({"error": "slow down", "retry_after": 1.0 / limits.rate}), 429
            return view(*args, **kwargs)

        return wrapper

    @app.route("/api/search")
    @rate_limit
    def search() -> Any:
        return jsonify({"results": [flask_request.args.get("q", "")]})

    return app, limits


def test_the_first_tutorials_service(clock: ManualClock) -> None:
    app, limits = search_service(clock)
    client = app.test_client()
    answers = [client.get("/api/search?q=a") for _ in range(25)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 5
    assert answers[24].json == {"error": "slow down", "retry_after": 0.1}
    # What it tells is the rate; what is true can be asked for.
    assert limits.check("127.0.0.1").retry_after == 0.1 and limits.check("127.0.0.1", 5).retry_after == 0.5
    clock.advance(0.1)
    assert [client.get("/api/search").status_code for _ in range(2)] == [200, 429]
    assert client.get("/api/search", headers={"X-User-ID": "ann"}).status_code == 200


def test_a_bucket_by_hand_among_threads() -> None:
    bucket = TokenBucket(rate=1 / 3600, capacity=100)
    taken: list[int] = []

    def take() -> None:
        taken.append(sum(bucket.consume() for _ in range(50)))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 100


def test_a_step_of_the_wall_clock_gives_and_takes_nothing() -> None:
    """Theirs is full after a step forward, and has less than nothing after one back."""
    with freezegun.freeze_time("2026-01-01 12:00:00") as frozen:
        bucket = TokenBucket(rate=1 / 3600, capacity=10)
        assert bucket.consume(10)
        frozen.tick(3600 * 24)
        assert not bucket.consume() and bucket.tokens < 1
        frozen.move_to("2025-01-01")
        assert not bucket.consume() and 0 <= bucket.tokens < 1


def test_buckets_take_a_bounded_room(clock: ManualClock) -> None:
    """Theirs keeps each key for ever, unless somebody thinks of cleaning up."""
    limits = RateLimiter(rate=10.0, capacity=20, clock=clock)
    before = limits._limiter.stats()
    for key in range(100_000):
        limits.is_allowed(str(key))
    after = limits._limiter.stats()
    assert after["bytes"] == before["bytes"] < 2_000_000
    # A key that was pushed out gives what it owed to the one that came for it, and a new name is no new burst for ever.
    assert sum(limits.is_allowed(f"new {key}", 20) for key in range(1_000)) < 1_000
    limits.cleanup_old_buckets()
    clock.advance(2)
    assert limits.is_allowed("0", 20)


def test_a_name_that_a_client_gives_itself_is_no_way_around_a_limit_by_address(clock: ManualClock) -> None:
    """With the tutorial's own key, whoever has a new name each time is always admitted, there as here: a limit by address is one line."""
    app, _ = search_service(clock)
    names = ({"X-User-ID": str(number)} for number in range(60))
    client = app.test_client()
    assert [client.get("/api/search", headers=next(names)).status_code for _ in range(30)] == [200] * 30
    app, _ = search_service(clock)
    client = app.test_client()
    tollgate_limiter.flask.Limiter(app, application_limits=["10/second burst 20"], clock=clock)
    answers = [client.get("/api/search", headers=next(names)) for _ in range(30)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 10
    # As is the wait in the field that clients look at.
    assert answers[29].headers["Retry-After"] == "1"


def test_the_first_tutorials_form_for_redis() -> None:
    with started() as server:
        # As programs make it: it would send again ten times, and wait for five seconds each time.
        client = redis.Redis(host="127.0.0.1", port=server.port, db=0)
        limits = RedisRateLimiter(client, rate=0.001, capacity=3)
        assert (limits.redis, limits.rate, limits.capacity) == (client, 0.001, 3)
        assert [limits.is_allowed("user1") for _ in range(4)] == [True] * 3 + [False]
        assert limits.is_allowed("user2") is True
        # Another program; and what it is told is true.
        other = RedisRateLimiter(redis.Redis.from_url(f"redis://127.0.0.1:{server.port}/0"), rate=0.001, capacity=3)
        refused = other.check("user1")
        assert not refused and refused.outage is None and 900 < refused.retry_after <= 1000

        async def awaited() -> list[bool]:
            client = redis.asyncio.Redis(unix_socket_path=server.path)
            try:
                limits = RedisRateLimiter(client, rate=0.001, capacity=3)
                return [await limits.is_allowed(user) for user in ("user1", "user2", "user2", "user2")]
            finally:
                await client.aclose()
                await limits._limiter._store.client.aclose()  # type: ignore[attr-defined]

        assert asyncio.run(awaited()) == [False, True, True, False]
        # A client that is fit is used itself; of a pool that waits another one is made, too.
        own = server.client()
        assert RedisRateLimiter(own, 1, 3)._limiter._store.client is own  # type: ignore[attr-defined]
        pool_of: Any = redis.BlockingConnectionPool
        waiting = pool_of(host="127.0.0.1", port=server.port)
        assert RedisRateLimiter(redis.Redis(connection_pool=waiting), 1, 3).is_allowed("user3") is True
    # Nobody answers: at once, and refused, unless it says otherwise.
    assert limits.check("user1").outage is not None and limits.is_allowed("user4") is False
    assert RedisRateLimiter(client, 1, 3, on_outage="open").is_allowed("user4") is True


# The second: FastAPI, by the names of fastapi-limiter or of slowapi.


async def current_user(
    credentials: Optional[HTTPAuthorizationCredentials] = Depends(HTTPBearer(auto_error=False)),  # noqa: UP045
) -> Any:
    class User:
        def __init__(self, id: str) -> None:
            self.id = id

    if credentials and credentials.credentials.endswith("-token"):
        return User(credentials.credentials.removesuffix("-token"))
    return None


def user_key(request: Request, user: Optional[object] = Depends(current_user)) -> Any:  # noqa: UP045
    if user and hasattr(user, "id"):
        return str(user.id)
    return request.client.host if request.client else None


class Redis:
    """A client that nobody asks anything."""

    closed = False

    async def close(self) -> None:
        self.closed = True


def items_service(package: str, clock: ManualClock) -> tuple[FastAPI, Redis]:
    app, redis = FastAPI(), Redis()
    limiter: tollgate_limiter.fastapi.Limiter
    module = importlib.import_module(f"tollgate_limiter.compat.{package}")
    if package == "slowapi":
        refusal = importlib.import_module("tollgate_limiter.compat.slowapi.errors").RateLimitExceeded
        limiter = app.state.limiter = module.Limiter(importlib.import_module("tollgate_limiter.compat.slowapi.util").get_remote_address, clock=clock)
    else:
        refusal = importlib.import_module("tollgate_limiter.compat.fastapi_limiter.exceptions").RateLimitException
        # Theirs is one of the module, on the clock of the system.
        limiter = type(module.limiter)(strategy="fixed-window", clock=clock)

        @app.on_event("startup")
        async def startup() -> None:
            await module.FastAPILimiter.init(redis)

        @app.on_event("shutdown")
        async def shutdown() -> None:
            await redis.close()

    @app.get("/items")
    @limiter.limit("5/minute")
    async def read_items() -> Any:
        return [{"item": "a"}, {"item": "b"}]

    @app.post("/create_item")
    @limiter.limit("1/second")
    async def create_item(item: dict) -> Any:  # type: ignore[type-arg]
        return {"created": item}

    @app.get("/user_data")
    @limiter.limit("10/minute", key_func=user_key)
    async def read_user_data(user: Optional[object] = Depends(current_user)) -> Any:  # noqa: UP045
        return {"of": user.id if user and hasattr(user, "id") else "nobody"}

    @app.exception_handler(refusal)
    async def handler(request: Request, exc: Any) -> Any:
        return JSONResponse(status_code=429, content={"detail": "too many"}, headers=exc.headers)

    return app, redis


@pytest.mark.parametrize("package", ["fastapi_limiter", "slowapi"])
def test_the_second_tutorials_service(package: str, clock: ManualClock) -> None:
    app, redis = items_service(package, clock)
    with TestClient(app) as client:
        answers = [client.get("/items") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert answers[0].json() == [{"item": "a"}, {"item": "b"}] and answers[5].json() == {"detail": "too many"}
        # The wait that it is told is enough, and a second too long at most; a forged field is no way around.
        wait = int(answers[5].headers["retry-after"])
        assert wait in (60, 61)
        assert client.get("/items", headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 429
        clock.advance(wait - 1.1)
        assert client.get("/items").status_code == 429
        clock.advance(1.1)
        assert client.get("/items").status_code == 200
        create = [client.post("/create_item", json={"name": "c"}) for _ in range(2)]
        assert [answer.status_code for answer in create] == [200, 429]
        assert create[0].json() == {"created": {"name": "c"}}
        for user in ("user123", "user456", None):
            headers = {"Authorization": f"Bearer {user}-token"} if user else {}
            answers = [client.get("/user_data", headers=headers) for _ in range(11)]
            assert [answer.status_code for answer in answers] == [200] * 10 + [429]
            assert answers[0].json() == {"of": user or "nobody"}
        parameters = client.get("/openapi.json").json()["paths"]["/user_data"]["get"].get("parameters", [])
        assert parameters == []
    assert redis.closed == (package == "fastapi_limiter")


# The third: Flask-Limiter.


def test_the_third_tutorials_service(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = FlaskLimiter(app, key_func=get_remote_address, default_limits=["200 per day", "50 per hour"], clock=clock)

    @app.route("/api/users")
    @limiter.limit("10 per minute")
    def get_users() -> Any:
        return jsonify([])

    @app.route("/other")
    def other() -> Any:
        return jsonify([])

    client = app.test_client()
    answers = [client.get("/api/users", headers={"X-Forwarded-For": f"198.51.100.{number}"}) for number in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[10].headers["Retry-After"] in ("60", "61")
    assert [client.get("/other").status_code for _ in range(51)] == [200] * 50 + [429]


PAGE = Path(__file__).parent.parent / "docs" / "tutorials.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_page_runs(number: int) -> None:
    exec(compile(EXAMPLES[number], f"tutorials.md example {number}", "exec"), {"__name__": f"tutorial_{number}"})


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 3
