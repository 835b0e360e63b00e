"""Programs of the shape that published tutorials have, with an import changed."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from flask import Flask, jsonify
from flask import request as flask_request

from test_fastapi import codes as fast_codes
from test_fastapi import get
from test_flask import codes
from tollgate_limiter import ManualClock
from tollgate_limiter.compat import fastapi_limiter, flask_limiter, slowapi
from tollgate_limiter.compat.fastapi_limiter import FastAPILimiter, limiter
from tollgate_limiter.compat.fastapi_limiter.depends import RateLimiter as Times
from tollgate_limiter.compat.fastapi_limiter.exceptions import RateLimitException
from tollgate_limiter.compat.flask_limiter.util import get_remote_address
from tollgate_limiter.compat.slowapi.util import get_remote_address as slow_address
from tollgate_limiter.compat.tutorial import RateLimiter, TokenBucket


def test_a_bucket_by_hand() -> None:
    bucket = TokenBucket(rate=10.0, capacity=10)
    assert all(bucket.consume() for _ in range(10)) and not bucket.consume()
    time.sleep(0.5)
    assert sum(bucket.consume() for _ in range(6)) >= 5
    assert (bucket.rate, bucket.capacity) == (10.0, 10)


def test_a_bucket_by_hand_on_a_clock_of_tests(clock: ManualClock) -> None:
    bucket = TokenBucket(0.1, 10, clock=clock)
    assert bucket.tokens == 10 and bucket.consume(10) and bucket.tokens == 0
    for _ in range(100):
        clock.advance(0.1)
    assert bucket.tokens == 1 and bucket.consume() and not bucket.consume() and not bucket.consume(11)
    clock.set(0)
    assert bucket.tokens >= 0
    with pytest.raises(ValueError, match="-5 was given"):
        bucket.consume(-5)
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(0.0, 1)


def test_a_limiter_by_hand_behind_a_decorator_of_flask(clock: ManualClock) -> None:
    app = Flask(__name__)
    limits = RateLimiter(rate=10.0, capacity=20, clock=clock)

    def limited(view: Any) -> Any:
        @functools.wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            who = flask_request.headers.get("X-User", flask_request.remote_addr)
            if not limits.is_allowed(who):
                wait = limits.get_bucket(who)
                return jsonify(error="too many", tokens=wait.tokens), 429
            return view(*args, **kwargs)

        return wrapper

    @app.route("/search")
    @limited
    def search() -> Any:
        return jsonify(results=[])

    answers = codes(app, "/search", 25)
    assert answers == [200] * 20 + [429] * 5
    clock.advance(0.1)
    assert codes(app, "/search", 2) == [200, 429]
    limits.cleanup_old_buckets(max_idle_time=1)
    assert limits.is_allowed("one") and limits.is_allowed("two", 20) and not limits.is_allowed("two")


class Redis:
    """A client that nobody asks anything."""


async def current_user(x_user: str = Header()) -> str:
    return x_user


def user_key(request: Request, user: str = Depends(current_user)) -> str:
    return user


def test_fastapi_with_fastapi_limiter() -> None:
    app = FastAPI()

    @app.on_event("startup")
    async def startup() -> None:
        await FastAPILimiter.init(Redis())

    @app.on_event("shutdown")
    async def shutdown() -> None:
        await FastAPILimiter.close()

    @app.get("/items")
    @limiter.limit("5/minute")
    async def items() -> dict[str, str]:
        return {"items": "all"}

    @app.get("/mine")
    @limiter.limit("2/minute", key_func=user_key)
    async def mine(user: str = Depends(current_user)) -> dict[str, str]:
        return {"user": user}

    @app.get("/times", dependencies=[Depends(Times(times=5, seconds=60))])
    async def times() -> str:
        return "ok"

    @app.exception_handler(RateLimitException)
    async def handler(request: Request, error: RateLimitException) -> JSONResponse:
        return JSONResponse({"message": error.detail}, error.status_code, error.headers)

    # The end of a window from the first hit is rounded up by some hundredths of a second: a second more at most.
    answers = get(app, "/items", 6)
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert "message" in answers[5].json() and 1 <= int(answers[5].headers["retry-after"]) <= 61
    for user in ("ann", "bob"):
        assert fast_codes(app, "/mine", 3, headers={"x-user": user}) == [200, 200, 429]
    timed = get(app, "/times", 6)
    assert [answer.status_code for answer in timed] == [200] * 5 + [429]
    assert 1 <= int(timed[5].headers["retry-after"]) <= 61
    assert fast_codes(app, "/times", 1, headers={"x-forwarded-for": "198.51.100.1"}) == [429]
    app.dependency_overrides[Times(times=5, seconds=60)] = lambda: None
    assert fast_codes(app, "/times", 2) == [200, 200]
    assert fastapi_limiter.limiter is limiter


def test_flask_with_flask_limiter() -> None:
    app = Flask(__name__)
    limits = flask_limiter.Limiter(app, key_func=get_remote_address, default_limits=["200 per day", "50 per hour"])

    @app.route("/api/users")
    @limits.limit("10 per minute")
    def users() -> Any:
        return jsonify([])

    assert codes(app, "/api/users", 11) == [200] * 10 + [429]


def test_fastapi_with_slowapi(clock: ManualClock) -> None:
    limits = slowapi.Limiter(key_func=slow_address, headers_enabled=True, clock=clock)
    app = FastAPI()
    app.state.limiter = limits
    app.add_exception_handler(RateLimitException, slowapi._rate_limit_exceeded_handler)  # type: ignore[arg-type]

    @app.get("/")
    @limits.limit("2/minute")
    async def index(request: Request) -> dict[str, str]:
        return {"a": "dict, and no response parameter"}

    answers = get(app, "/", 3)
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert len(answers[0].headers.get_list("ratelimit")) == 1 and "error" in answers[2].json()


def test_dependencies_of_fastapi_limiter_count_by_route_and_identifier() -> None:
    app = FastAPI()

    async def by_address(request: Request) -> str:
        return "same"

    async def by_user(request: Request) -> str:
        return "same"

    both = [Depends(Times(times=2, seconds=60, identifier=identifier)) for identifier in (by_address, by_user)]
    one = [Depends(Times(times=2, seconds=60))]
    app.add_api_route("/count-both", lambda: None, dependencies=both)
    app.add_api_route("/count-each", lambda: None, dependencies=one)
    app.add_api_route("/count-each", lambda: None, dependencies=one, methods=["POST"])
    router = APIRouter(dependencies=one)
    router.add_api_route("/", lambda: None)
    app.include_router(router, prefix="/count-a")
    app.include_router(router, prefix="/count-b")
    client = TestClient(app)
    for method, path in (("GET", "/count-both"), ("GET", "/count-each"), ("POST", "/count-each"), ("GET", "/count-a/"), ("GET", "/count-b/")):
        assert [client.request(method, path).status_code for _ in range(3)] == [200, 200, 429], path


def test_the_identifier_of_init_is_that_of_all_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def by_header(request: Request) -> str:
        return request.headers["x-user"]

    def generated(request: Request) -> Iterator[str]:
        yield "x"

    app = FastAPI()

    @app.get("/identified")
    @limiter.limit("1/minute")
    async def identified() -> None: ...

    monkeypatch.setattr(FastAPILimiter, "identifier", FastAPILimiter.identifier)
    asyncio.run(FastAPILimiter.init(None, identifier=by_header))
    client = TestClient(app)
    for user in ("ada", "bob"):
        assert [client.get("/identified", headers={"x-user": user}).status_code for _ in range(2)] == [200, 429]
    with pytest.raises(TypeError, match="generator"):
        asyncio.run(FastAPILimiter.init(None, identifier=generated))
