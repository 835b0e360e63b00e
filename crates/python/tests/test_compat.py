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
    with pytest.raises(ValueError, match="expected times from 1 and a period above 0, and 0 per 60000 ms was given"):
        Times(times=0, seconds=60)
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


def test_slowapis_rates_by_the_key(clock: ManualClock) -> None:
    def plan(request: Request) -> str:
        return request.headers["x-plan"]

    def rates(key: str) -> str:
        return "2/minute" if key == "gold" else "1/minute"

    limits = slowapi.Limiter(key_func=plan, default_limits=[rates], clock=clock)
    app = FastAPI()

    async def index(request: Request) -> str:
        return "ok"

    app.get("/own")(limits.limit(rates, scope="own")(index))
    app.get("/other")(limits.limit(rates, lambda: "gold", scope="other")(index))
    app.get("/shared")(limits.shared_limit(rates, "all")(index))
    app.get("/default")(limits.limit("9/minute", scope="nine", override_defaults=False)(index))
    app.get("/of-request")(limits.limit(lambda request: rates(plan(request)), scope="r")(index))
    for path in ("/own", "/shared", "/default", "/of-request"):
        assert fast_codes(app, path, 3, headers={"x-plan": "gold"}) == [200, 200, 429]
        assert fast_codes(app, path, 2, headers={"x-plan": "none"}) == [200, 429]
    assert fast_codes(app, "/other", 3, headers={"x-plan": "none"}) == [200, 200, 429]
    with pytest.raises(TypeError, match="wants the key"):
        limits.limit(rates, key_func=user_key)


def configured(config: dict[str, Any], *args: Any, **options: Any) -> Flask:
    """An application with a route that has no limit of its own, and one that has two a minute."""
    app = Flask(__name__)
    app.config.update({f"RATELIMIT_{name}": value for name, value in config.items()})
    limits = flask_limiter.Limiter(get_remote_address, *args, **options)
    app.add_url_rule("/", "plain", lambda: "ok", methods=["GET", "POST"])
    app.add_url_rule("/own", "own", limits.limit("2/minute")(lambda: "ok"))
    limits.init_app(app)
    return app


@pytest.mark.parametrize(
    ("config", "options", "answers"),
    [
        ({"DEFAULT": "1/minute"}, {}, [200, 429]),
        ({"DEFAULT": lambda: "1/minute"}, {}, [200, 429]),
        ({"DEFAULT": "1/minute", "ENABLED": True}, {}, [200, 429]),
        ({"DEFAULT": "1/minute", "ENABLED": False, "STORAGE_URI": "redis://"}, {}, [200, 200]),
        ({"ENABLED": True}, {"default_limits": ["1/minute"], "enabled": False}, [200, 429]),
        ({"DEFAULT": "9/minute"}, {"default_limits": "1/minute"}, [200, 429]),
        ({"APPLICATION": "1/minute"}, {}, [200, 429]),
        ({"DEFAULT": "8/minute", "DEFAULTS_COST": 8}, {}, [200, 429]),
        ({"DEFAULT": "8/minute", "DEFAULTS_COST": 1}, {"default_limits_cost": 8}, [200, 429]),
        ({"DEFAULTS_COST": 8}, {"default_limits": ["8/minute"]}, [200, 429]),
        ({"DEFAULT": "1/minute", "DEFAULTS_EXEMPT_WHEN": lambda: True}, {}, [200, 200]),
        ({"DEFAULT": "1/minute", "DEFAULTS_DEDUCT_WHEN": lambda response: response.status_code > 200}, {}, [200, 200]),
        ({"DEFAULT": "1/minute", "FAIL_ON_FIRST_BREACH": True, "SWALLOW_ERRORS": False, "META": None}, {}, [200, 429]),
        ({"DEFAULT": "1/minute", "STORAGE_URI": "memory://", "STORAGE_OPTIONS": {}}, {}, [200, 429]),
    ],
)
def test_flask_limiters_configuration_is_obeyed(
    config: dict[str, Any], options: dict[str, Any], answers: list[int], clock: ManualClock
) -> None:
    assert codes(configured(config, clock=clock, **options), "/", 2) == answers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORAGE_URI", "redis://localhost"),
        ("STORAGE_OPTIONS", {"a": 1}),
        ("STRATEGY", "lottery"),
        ("META", "1/minute"),
        ("SWALLOW_ERRORS", True),
        ("FAIL_ON_FIRST_BREACH", False),
        ("HEADER_LIMIT", "X-Limit"),
        ("DEFAULT_LIMIT", "1/minute"),
        ("DEFAULT", "5/fortnight"),
    ],
)
def test_what_is_not_offered_of_it_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"RATELIMIT_{name}|{value!r} was given|not in {value!r}|expected a unit"):
        configured({name: value})


def test_flask_limiters_strategy_headers_method_and_prefix(clock: ManualClock, shared_name: str) -> None:
    app = configured({"STRATEGY": "moving-window", "HEADERS_ENABLED": False}, clock=clock)
    client = app.test_client()
    client.get("/own")
    clock.advance(40)
    answers = [client.get("/own") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429] and "Retry-After" in answers[1].headers
    assert "RateLimit" not in answers[0].headers
    clock.advance(20)
    # A fixed window would begin anew, with two of them.
    assert codes(app, "/own", 2) == [200, 429]
    app = configured({"DEFAULT": "1/minute", "DEFAULTS_PER_METHOD": True}, clock=clock)
    assert codes(app, "/", 2) + codes(app, "/", 2, method="POST") == [200, 429] * 2
    prefixes: list[dict[str, Any]] = [{}, {"KEY_PREFIX": "a"}, {"KEY_PREFIX": "b"}]
    for config in prefixes:
        assert codes(configured({"DEFAULT": "1/hour", **config}, shared=shared_name), "/", 2) == [200, 429]
    assert codes(configured({"DEFAULT": "1/hour"}, shared=shared_name, key_prefix="b"), "/", 1) == [429]


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
