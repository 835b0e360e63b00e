"""Limits of FastAPI's routes."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tollgate_limiter import ManualClock
from tollgate_limiter.fastapi import Limiter, RateLimitExceeded, RateLimitMiddleware


def get(app: Any, path: str, times: int, **options: Any) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 4000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.get(path, **options) for _ in range(times)]

    return asyncio.run(ask())


def codes(app: Any, path: str, times: int, **options: Any) -> list[int]:
    return [answer.status_code for answer in get(app, path, times, **options)]


def test_a_route_is_limited_without_a_parameter_called_request(clock: ManualClock) -> None:
    app, limiter = FastAPI(), Limiter(clock=clock)

    @app.get("/items")
    @limiter.limit("5/minute")
    async def items(x: int = 0, q: str | None = None) -> dict[str, Any]:
        return {"x": x, "q": q}

    @app.get("/sync/{name}")
    @limiter.limit("1/minute")
    def sync(name: str) -> Response:
        return PlainTextResponse(name)

    answers = get(app, "/items?x=3", 6)
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[0].json() == {"x": 3, "q": None}
    assert answers[0].headers.get_list("ratelimit")[0].endswith(";r=4;t=12")
    assert answers[5].json() == {"detail": "Rate limit exceeded: 5 per 1 minute"}
    assert answers[5].headers["retry-after"] == "12"
    sync_answers = get(app, "/sync/ada", 2)
    assert sync_answers[0].text == "ada" and "ratelimit" in sync_answers[0].headers
    assert sync_answers[1].status_code == 429
    parameters = app.openapi()["paths"]["/items"]["get"]["parameters"]
    assert [parameter["name"] for parameter in parameters] == ["x", "q"]
    clock.advance(12)
    assert codes(app, "/items", 2) == [200, 429]


async def current_user(x_user: str = Header()) -> str:
    return x_user


async def user_key(user: str = Depends(current_user)) -> str:
    return f"user {user}"


def tenant_key(x_tenant: str = Header("nobody")) -> str:
    return x_tenant


def test_key_functions_are_dependencies(clock: ManualClock) -> None:
    app, limiter = FastAPI(), Limiter(clock=clock)

    @app.get("/me")
    @limiter.limit("2/minute", key_func=user_key)
    async def me(user: str = Depends(current_user)) -> str:
        return user

    @app.get("/tenant")
    @limiter.limit("1/minute", tenant_key)
    @limiter.limit("3/hour")
    def tenant() -> str:
        return "ok"

    for user in ("ann", "bob"):
        assert codes(app, "/me", 3, headers={"x-user": user}) == [200, 200, 429]
    assert codes(app, "/tenant", 2, headers={"x-tenant": "a"}) == [200, 429]
    # What the first refused has taken nothing of the second.
    assert codes(app, "/tenant", 2, headers={"x-tenant": "b"}) == [200, 429]
    assert codes(app, "/tenant", 2, headers={"x-tenant": "c"}) == [200, 429]
    assert codes(app, "/tenant", 1, headers={"x-tenant": "d"}) == [429]


def test_dependencies_of_routers_limit_each_path(clock: ManualClock) -> None:
    app, limiter = FastAPI(), Limiter(clock=clock)
    cost = limiter.depends("4/minute", cost=lambda request: 4 if "full" in request.query_params else 1)
    router = APIRouter(dependencies=[Depends(cost)])

    @router.get("/a")
    async def a() -> str:
        return "a"

    @router.get("/b")
    async def b() -> str:
        return "b"

    @app.get("/user", dependencies=[Depends(limiter.depends("1/minute", key_func=user_key, scope="user"))])
    async def user() -> str:
        return "user"

    app.include_router(router)
    answers = get(app, "/a", 5)
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] and "ratelimit" in answers[0].headers
    assert codes(app, "/b?full=1", 2) == [200, 429]
    assert codes(app, "/user", 2, headers={"x-user": "ann"}) == [200, 429]
    assert codes(app, "/user", 1, headers={"x-user": "bob"}) == [200]


def test_a_handler_is_given_the_exception(clock: ManualClock) -> None:
    app, limiter = FastAPI(), Limiter(clock=clock)

    @app.exception_handler(RateLimitExceeded)
    async def slow_down(request: Request, error: RateLimitExceeded) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, 429, error.headers)

    @app.get("/")
    @limiter.limit("1/minute", error_message="too fast")
    async def index() -> str:
        return "ok"

    answers = get(app, "/", 2)
    assert answers[1].json() == {"error": "too fast"} and answers[1].headers["retry-after"] == "60"


def test_a_whole_application_and_websocket_messages(clock: ManualClock) -> None:
    app, limiter = FastAPI(), Limiter(clock=clock)
    app.add_middleware(RateLimitMiddleware, limits="3 per day", clock=clock)
    messages = limiter.messages("2/second")

    @app.get("/")
    async def index() -> str:
        return "ok"

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        for _ in range(3):
            await websocket.receive_text()
            await websocket.send_text("ok" if messages.check(websocket) else "slow down")

    client = TestClient(app, client=("192.0.2.9", 1))
    with client.websocket_connect("/ws") as socket:
        told = []
        for _ in range(3):
            socket.send_text("x")
            told.append(socket.receive_text())
    assert told == ["ok", "ok", "slow down"]
    assert codes(app, "/", 4) == [200, 200, 200, 429]


def test_starlette_routes(clock: ManualClock) -> None:
    limiter = Limiter(clock=clock)

    @limiter.limit("1/minute")
    async def index(request: Request) -> Response:
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", index)])
    assert codes(app, "/", 2) == [200, 429]


def test_the_wrong_order_is_found() -> None:
    app, limiter = FastAPI(), Limiter()

    @limiter.limit("1/minute")
    @app.get("/")
    async def index() -> str:
        return "ok"

    with pytest.raises(RuntimeError, match="`index` is registered without it"):
        limiter.init_app(app)


def test_a_dependency_that_is_the_key_of_all_limits_is_that_of_each(clock: ManualClock) -> None:
    """Of the defaults that a route keeps, and of a dependency that has no key of its own, too."""
    app, limiter = FastAPI(), Limiter("2/minute", key_func=user_key, clock=clock)

    @app.get("/route")
    @limiter.limit("5/minute", lambda request: "all", override_defaults=False)
    async def route() -> str:
        return "ok"

    @app.get("/depends", dependencies=[Depends(limiter.depends("1/minute"))])
    async def depends() -> str:
        return "ok"

    for user in ("ann", "bob"):
        assert codes(app, "/route", 3, headers={"x-user": user}) == [200, 200, 429]
        assert codes(app, "/depends", 2, headers={"x-user": user}) == [200, 429]
    with pytest.raises(TypeError, match="is a dependency"):
        limiter.messages("5/minute")


def test_a_key_function_that_would_become_a_query_parameter_is_refused() -> None:
    async def key(request):  # type: ignore[no-untyped-def]
        return "key"

    with pytest.raises(TypeError, match="`request` .* needs its type"):
        Limiter().limit("5/minute", key_func=key)(lambda: None)


def test_defaults_are_of_routes_that_keep_them_and_fields_can_be_left_out(clock: ManualClock) -> None:
    app, limiter = FastAPI(), Limiter("1/minute", headers_enabled=False, clock=clock)

    @app.get("/own")
    @limiter.limit("2/minute")
    async def own() -> str:
        return "ok"

    @app.get("/kept")
    @limiter.limit("2/minute", override_defaults=False)
    def kept() -> str:
        return "ok"

    assert codes(app, "/own", 3) == [200, 200, 429]
    answers = get(app, "/kept", 2)
    assert [answer.status_code for answer in answers] == [200, 429]
    assert not any(name.startswith("ratelimit") for answer in answers for name in answer.headers)
    # When to come again is no figure of the limits.
    assert answers[1].headers["retry-after"] == "60"
