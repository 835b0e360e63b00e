"""Routes of Flask, FastAPI and Django whose limits are counted on a server of Redis."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from flask import Flask
from redis.backoff import NoBackoff
from redis.retry import Retry

import test_django  # noqa: F401  (the settings of Django are of a process)
from server import SECRET, Server, started
from tollgate_limiter import fastapi as of_fastapi
from tollgate_limiter import flask as of_flask
from tollgate_limiter.django import limit


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as server:
        yield server


@pytest.fixture
def store(server: Server) -> Iterator[dict[str, Any]]:
    client = server.client()
    client.flushall()
    yield {"store": client, "secret": SECRET}
    client.close()


@pytest.fixture
def astore(server: Server, store: dict[str, Any]) -> dict[str, Any]:
    retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    return {"store": redis.asyncio.Redis(**server.options(retry=retry)), "secret": SECRET}


@pytest.fixture
def nowhere() -> Iterator[dict[str, Any]]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        yield {"store": redis.Redis(port=port, socket_timeout=5, retry=Retry(NoBackoff(), 0)), "secret": SECRET}


def flask_app(**options: Any) -> Flask:
    app = Flask("routes")
    limiter = of_flask.Limiter(app, default_limits=["5 per 30 days"], application_limits=["7 per 30 days"], **options)

    @app.get("/plain")
    def plain() -> str:
        return "ok"

    @app.get("/two")
    @limiter.limit("2 per 30 days", deduct_when=lambda response: response.status_code == 200)
    @limiter.limit("9 per 30 days", scope="a" * 150)
    def two() -> str:
        return "ok"

    return app


def test_two_programs_of_flask_count_together(store: dict[str, Any]) -> None:
    clients = [flask_app(**store).test_client() for _ in range(2)]
    answers = [clients[number % 2].get("/plain") for number in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[5].headers["Retry-After"] and answers[0].headers["RateLimit"]
    # Of the seven of the application two are left; the refusal took nothing of them.
    assert [clients[0].get("/two").status_code for _ in range(3)] == [200, 200, 429]
    assert store["store"].dbsize() == 4


def test_flask_in_an_outage(nowhere: dict[str, Any]) -> None:
    refused = flask_app(**nowhere).test_client().get("/plain")
    assert refused.status_code == 503 and refused.headers["Retry-After"] == "1"
    # Nor does it say that there were too many.
    assert b"Limits cannot be checked now." in refused.data and b"30 days" not in refused.data
    client = flask_app(**nowhere, on_outage="local").test_client()
    assert [client.get("/plain").status_code for _ in range(6)] == [200] * 5 + [503]
    client = flask_app(**nowhere, on_outage="open").test_client()
    # What is charged afterwards is lost, and the response goes.
    assert [client.get("/two").status_code for _ in range(9)] == [200] * 9


def fastapi_app(**options: Any) -> FastAPI:
    app = FastAPI()
    limiter = of_fastapi.Limiter(**options)
    messages = limiter.messages("2 per 30 days")

    @app.get("/items")
    @limiter.limit("2 per 30 days", scope="items")
    @limiter.limit("3 per 30 days as fixed-window", scope="all")
    async def items() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/other", dependencies=[Depends(limiter.depends("1 per 30 days", scope="other"))])
    async def other() -> str:
        return "ok"

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        for _ in range(3):
            await websocket.receive_text()
            decision = await messages.acheck(websocket)
            await websocket.send_text("ok" if decision else "slow down")

    return app


def test_fastapi_awaits(store: dict[str, Any], astore: dict[str, Any]) -> None:
    with TestClient(fastapi_app(**astore)) as client:
        answers = [client.get("/items") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert "RateLimit" in answers[0].headers and "Retry-After" in answers[2].headers
        assert [client.get("/other").status_code for _ in range(2)] == [200, 429]
        with client.websocket_connect("/ws") as websocket:
            said = []
            for _ in range(3):
                websocket.send_text("x")
                said.append(websocket.receive_text())
        assert said == ["ok", "ok", "slow down"]
    keys: list[Any] = list(store["store"].keys())
    # Under the names that were given, as a node of Rust has them.
    assert sorted(key.split(b":")[2] for key in keys) == [b"all", b"items", b"messages", b"other"]


def test_a_route_wants_the_client_of_its_kind(store: dict[str, Any], astore: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="redis.asyncio, as another would block"):
        fastapi_app(**store)
    with pytest.raises(TypeError, match="awaits nothing"):
        of_fastapi.Limiter(**astore).limit("1/minute")(lambda: None)
    with pytest.raises(TypeError, match="Flask calls what it asks"):
        of_flask.Limiter(**astore)
    app = FastAPI()

    @app.get("/sync")
    @of_fastapi.Limiter(**store).limit("1 per 30 days")
    def sync() -> str:
        return "ok"

    client = TestClient(app)
    assert [client.get("/sync").status_code for _ in range(2)] == [200, 429]


def test_fastapi_in_an_outage(nowhere: dict[str, Any]) -> None:
    app = FastAPI()

    @app.get("/sync")
    @of_fastapi.Limiter(**nowhere).limit("1 per 30 days")
    def sync() -> str:
        return "ok"

    refused = TestClient(app).get("/sync")
    assert refused.status_code == 503 and refused.headers["Retry-After"] == "1"


@limit("2 per 30 days", "ip")
def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@limit("2 per 30 days", "ip")
async def view_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def of_django(options: dict[str, Any], **more: Any) -> Any:
    return override_settings(TOLLGATE={name.upper(): value for name, value in {**options, **more}.items()})


def test_views_of_django_count_on_the_server(store: dict[str, Any]) -> None:
    codes = []
    for _ in range(2):
        # Settings that are set anew make a table anew: as in another process.
        with of_django({**store, "store": lambda: store["store"]}):
            codes += [view(RequestFactory().get("/")).status_code for _ in range(2)]
    assert codes == [200, 200, 429, 429]
    assert store["store"].dbsize() == 1


async def test_async_views_of_django_are_awaited(astore: dict[str, Any], nowhere: dict[str, Any]) -> None:
    request = AsyncRequestFactory().get("/")
    with of_django(astore):
        assert [(await view_async(request)).status_code for _ in range(3)] == [200, 200, 429]
        with pytest.raises(TypeError, match="await acheck"):
            view(request)
    with of_django(nowhere):
        refused = view(request)
        assert refused.status_code == 503 and b"Not available" in refused.content
        with pytest.raises(TypeError, match="block the event loop"):
            await view_async(request)
