"""Limits of FastAPI's routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
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


class Lookup:
    """A function that is an object, and async."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def __call__(self, request: Request) -> Any:
        await asyncio.sleep(0)
        return self.answer


async def yielded(x_user: str = Header("ada")) -> AsyncIterator[str]:
    yield x_user


def test_async_functions_of_a_limit_are_awaited(clock: ManualClock) -> None:
    app, limiter = FastAPI(), Limiter(clock=clock)

    @app.get("/limited")
    @limiter.limit("2/minute", exempt_when=Lookup(False))
    async def limited() -> None: ...

    @app.get("/exempt")
    @limiter.limit(Lookup("1/minute"), exempt_when=Lookup(True), cost=Lookup(2))
    async def exempt() -> None: ...

    @app.get("/rates")
    @limiter.limit(Lookup("4/minute"), cost=Lookup(2), key_func=Lookup("all"))
    async def rates() -> None: ...

    @app.get("/none")
    @limiter.limit(Lookup(None))
    async def none() -> None: ...

    @app.get("/yields")
    @limiter.limit("1/minute", key_func=yielded)
    async def yields() -> None: ...

    @app.get("/depends", dependencies=[Depends(limiter.depends(Lookup("4/minute"), cost=Lookup(2)))])
    async def depends() -> None: ...

    @app.get("/hidden")
    @limiter.limit("1/minute", exempt_when=lambda request: Lookup(False)(request))
    async def hidden() -> None: ...

    assert codes(app, "/limited", 3) == [200, 200, 429]
    assert codes(app, "/exempt", 3) == [200] * 3
    assert codes(app, "/rates", 3) == [200, 200, 429]
    assert codes(app, "/none", 3) == [200] * 3
    assert codes(app, "/yields", 2) == [200, 429]
    assert codes(app, "/yields", 2, headers={"x-user": "bob"}) == [200, 429]
    assert codes(app, "/depends", 3) == [200, 200, 429]
    with pytest.raises(TypeError, match="async def"):
        codes(app, "/hidden", 1)


def test_what_nobody_would_await_is_refused_where_it_is_declared() -> None:
    def route() -> None: ...

    def generator(request: Request) -> Iterator[bool]:
        yield False

    for options in ({"exempt_when": Lookup(False)}, {"cost": Lookup(1)}, {"exempt_when": generator}):
        with pytest.raises(TypeError, match=next(iter(options))):
            Limiter().limit("1/minute", **options)(route)
    with pytest.raises(TypeError, match="rates"):
        Limiter().limit(Lookup("1/minute"))(route)
    with pytest.raises(TypeError, match="rates"):
        Limiter([Lookup("1/minute")]).limit("1/minute")(route)
    with pytest.raises(TypeError, match="messages"):
        Limiter().messages(Lookup("1/minute"))
    with pytest.raises(TypeError, match="a class"):
        Limiter(key_func=Lookup).limit("1/minute")(route)


def test_functions_of_one_name_have_counts_of_their_own(clock: ManualClock) -> None:
    app, limiter = FastAPI(), Limiter(["3/minute"], clock=clock)
    for prefix in ("/a", "/b"):
        router = APIRouter(prefix=prefix)

        @router.get("/")
        @limiter.limit("2/minute", override_defaults=False)
        async def index() -> None: ...

        app.include_router(router)
    for path in ("/a/", "/b/"):
        assert codes(app, path, 3) == [200, 200, 429]

    async def view(request: Request) -> Response:
        # Decorated anew for each request, it is one all the same.
        return await limiter.limit("1/minute")(index_of)(request)

    async def made(request: Request) -> Response:
        @limiter.limit("1/minute")
        async def of_this_request(request: Request) -> Response:
            return PlainTextResponse("x")

        return await of_this_request(request)

    async def index_of(request: Request) -> Response:
        return PlainTextResponse("x")

    app.add_api_route("/each", view)
    app.add_api_route("/made", made)
    for path in ("/each", "/made"):
        assert codes(app, path, 2) == [200, 429]


def test_dependencies_count_by_whole_paths_and_each_by_itself(clock: ManualClock) -> None:
    limiter = Limiter(clock=clock)

    def application() -> FastAPI:
        app = FastAPI()
        items = APIRouter(dependencies=[Depends(each)])

        @items.get("/{name}")
        async def get_item(name: str) -> None: ...

        app.include_router(items, prefix="/users")
        app.include_router(items, prefix="/items")
        return app

    each = limiter.depends("2/minute")
    app = application()
    for path in ("/users/1", "/items/1"):
        assert codes(app, path, 3) == [200, 200, 429]
    assert codes(app, "/users/2", 1) == [429]

    outer = FastAPI()
    outer.mount("/v1", application())
    outer.mount("/of/{tenant}", application())
    for path in ("/v1/users/1", "/v1/items/1", "/of/ada/users/1"):
        assert codes(outer, path, 3) == [200, 200, 429], path
    # What a client puts into the path of a mount makes no new count.
    assert codes(outer, "/of/bob/users/1", 1) == [429]

    app = FastAPI()
    router = APIRouter(dependencies=[Depends(limiter.depends("4/minute"))])
    router.add_api_route("/both", lambda: None, dependencies=[Depends(limiter.depends("4/minute"))])
    app.include_router(router)
    assert codes(app, "/both", 5) == [200] * 4 + [429]


def test_two_limiters_limit_one_route(clock: ManualClock) -> None:
    app = FastAPI()
    minutes, hours = Limiter(clock=clock, key_func=user_key), Limiter(clock=clock, key_func=tenant_key)

    @app.get("/two")
    @minutes.limit("2/minute")
    @hours.limit("3/hour")
    @minutes.limit("5/minute", key_func=user_key)
    async def two(q: int = 1) -> int:
        return q

    both = {"x-user": "ada", "x-tenant": "a"}
    answers = get(app, "/two?q=3", 3, headers=both)
    assert [answer.status_code for answer in answers] == [200, 200, 429] and answers[0].json() == 3
    assert codes(app, "/two", 2, headers={"x-user": "bob", "x-tenant": "a"}) == [200, 429]


def test_the_wrong_order_is_found_in_routers_and_mounted_applications() -> None:
    limiter, inner = Limiter(), FastAPI()

    async def plain() -> None: ...

    limiter.limit("1/minute")(plain)
    router, around = APIRouter(), APIRouter()
    router.add_api_route("/x", plain)
    around.include_router(router)
    inner.include_router(around)
    outer = FastAPI()
    outer.mount("/inner", inner)
    for app in (inner, outer):
        with pytest.raises(RuntimeError, match="`plain` is registered without it"):
            limiter.init_app(app)


def test_an_outage_is_not_told_as_an_exceeded_limit() -> None:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    app, closed = FastAPI(), Redis(port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))
    limiter = Limiter(store=closed, secret=b"0123456789abcdef0123456789abcdef")

    @app.get("/")
    @limiter.limit("1/minute", error_message="slow down")
    async def index() -> None: ...

    [answer] = get(app, "/", 1)
    assert answer.status_code == 503 and answer.json() == {"detail": "Limits cannot be checked now"}


def test_async_key_functions_are_awaited_in_bare_starlette(clock: ManualClock) -> None:
    limiter = Limiter(clock=clock)

    async def who(request: Request) -> str:
        await asyncio.sleep(0)
        return request.headers["x-user"]

    @limiter.limit("1/minute", key_func=who)
    async def index(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    client = TestClient(Starlette(routes=[Route("/", index)]))
    codes = [client.get("/", headers={"x-user": user}).status_code for user in ("ada", "bob", "ada", "bob")]
    assert codes == [200, 200, 429, 429]


def test_keys_that_starlette_cannot_bring_are_refused_and_not_shared_by_all(clock: ManualClock) -> None:
    limiter = Limiter(clock=clock)

    async def token(x_user: str = Header()) -> str:
        return x_user

    async def who(request: Request) -> str:
        return "ada"

    @limiter.limit("1/minute", key_func=token)
    async def dependent(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    @limiter.limit("1/minute", key_func=who)
    def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    client = TestClient(Starlette(routes=[Route("/dependent", dependent), Route("/plain", plain)]))
    for path in ("/dependent", "/plain"):
        with pytest.raises(TypeError, match="which FastAPI brings and Starlette does not"):
            client.get(path)
