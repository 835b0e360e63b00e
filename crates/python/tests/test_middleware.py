"""Applications of WSGI and ASGI behind limits."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tollgate_limiter import Asgi, ManualClock, Wsgi, policies
from tollgate_limiter.fastapi import RateLimitMiddleware

APP = """
from tollgate_limiter import Wsgi

def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]

app = Wsgi(hello, "10/minute as sliding-log", client={"from": "x-forwarded-for", "trusted": "127.0.0.1"}%s)
"""


def plain(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


async def plain_async(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    status = 401 if scope["path"] == "/login" else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


def call(app: Any, path: str = "/", **environ: str) -> tuple[str, dict[str, str], bytes]:
    answer: list[Any] = []
    full = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "REMOTE_ADDR": "192.0.2.7", **environ}
    body = app(full, lambda status, headers, *rest: answer.append((status, headers)))
    data = b"".join(body)
    getattr(body, "close", lambda: None)()
    status, headers = answer[0]
    names = [name.lower() for name, _ in headers]
    assert len(names) == len(set(names)), headers
    return status, {name.lower(): value for name, value in headers}, data


async def fetch(app: Any, path: str = "/", address: str = "192.0.2.7", **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=(address, 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, **options)


def test_wsgi_limits_each_client_and_tells_both(clock: ManualClock) -> None:
    app = Wsgi(plain, "2/minute", clock=clock)
    status, headers, body = call(app)
    assert status == "200 OK" and body == b"ok" and headers["ratelimit"].startswith('"default";r=1;t=')
    assert call(app)[0] == "200 OK"
    status, headers, body = call(app)
    assert status == "429 Too Many Requests" and headers["retry-after"] == "30" and int(headers["content-length"]) == len(body)
    assert call(app, REMOTE_ADDR="192.0.2.8")[0] == "200 OK"
    clock.advance(30)
    assert call(app)[0] == "200 OK"
    # What a client writes itself is not who it is.
    assert call(app, HTTP_X_FORWARDED_FOR="198.51.100.1")[0] == "429 Too Many Requests"


async def test_asgi_limits_each_client_and_tells_both(clock: ManualClock) -> None:
    app = Asgi(plain_async, "2/minute", clock=clock)
    first = await fetch(app)
    assert first.status_code == 200 and first.headers["ratelimit"].startswith('"default";r=1;t=')
    await fetch(app)
    refused = await fetch(app, headers={"x-forwarded-for": "198.51.100.1"})
    assert refused.status_code == 429 and refused.headers["retry-after"] == "30"
    assert refused.json()["status"] == 429
    assert (await fetch(app, address="2001:db8::1")).status_code == 200
    assert (await fetch(app, address="2001:db8::2")).status_code == 200
    assert (await fetch(app, address="2001:db8::3")).status_code == 429
    clock.advance(30)
    assert (await fetch(app)).status_code == 200


async def test_a_list_of_header_fields_that_the_application_owns_is_left_as_it_is(clock: ManualClock) -> None:
    headers = [(b"x", b"y")]

    async def reused(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    app = Asgi(reused, "9/minute", clock=clock)
    for _ in range(3):
        assert (await fetch(app)).headers.get_list("ratelimit", split_commas=False).__len__() == 1
    assert headers == [(b"x", b"y")]


class Alive:
    """Something that an application holds."""


def gone(made: Callable[[], tuple[object, Any]]) -> bool:
    """Whether what is made, in a cycle, goes with the next collection."""
    held, cycle = made()
    watched = weakref.ref(held)
    del held, cycle
    gc.collect()
    return watched() is None


def test_an_application_that_holds_its_middleware_goes_when_nobody_else_holds_it() -> None:
    def of_wsgi() -> tuple[object, Any]:
        app = Flask("mine")
        app.wsgi_app = Wsgi(app.wsgi_app, "5/minute")  # type: ignore[method-assign]
        app.held = Alive()  # type: ignore[attr-defined]
        return app.held, app  # type: ignore[attr-defined]

    def of_asgi() -> tuple[object, Any]:
        # FastAPI keeps functions of routes for ever, and so what they refer to.
        async def index(request: Request) -> Response:
            return Response(str(app))

        app = Starlette(routes=[Route("/", index)])
        app.add_middleware(RateLimitMiddleware, limits="5/minute")
        assert TestClient(app).get("/").status_code == 200
        app.state.held = Alive()
        return app.state.held, app

    def of_guards() -> tuple[object, Any]:
        held = Alive()
        kept: list[Any] = [held]

        async def send(message: Any) -> None:
            kept.append(message)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            kept.append(send)

        asyncio.run(Asgi(app, "5/minute")({"type": "http", "headers": [], "client": ("192.0.2.7", 1)}, None, send))
        return held, kept

    assert gone(of_wsgi)
    assert gone(of_asgi)
    assert gone(of_guards)


async def test_policies_are_those_of_the_gateway(clock: ManualClock) -> None:
    rules = policies(
        "3/minute",
        exempt="path:/health",
        policies=[
            {"name": "login", "limits": "1/minute", "match": {"path": "/login"}, "charge": {"only_on": "401"}, "always": True},
            {"name": "key", "limits": "2/hour", "match": {"path": "/api/*"}, "key": "header:x-api-key"},
        ],
        clock=clock,
    )
    app = Asgi(plain_async, rules)
    assert [(await fetch(app, "/health")).status_code for _ in range(9)] == [200] * 9
    assert [(await fetch(app, "/login")).status_code for _ in range(2)] == [401, 429]
    keys = [(await fetch(app, "/api/x", headers={"x-api-key": "k"})).status_code for _ in range(3)]
    assert keys == [200, 200, 429]
    assert (await fetch(app, "/api/x", headers={"x-api-key": "other"})).status_code == 200
    # However the path is spelled, as the application decodes it to the same.
    assert (await fetch(app, "/%6Cogin", address="192.0.2.7")).status_code == 429
    assert {name: refused for name, _, refused, _ in rules.stats()}["login"] == 2


async def test_requests_in_flight_are_bounded_and_places_given_back() -> None:
    gate = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await plain_async(scope, receive, send)

    app = Asgi(slow, policies=[{"name": "flight", "concurrency": 2}])
    tasks = [asyncio.create_task(fetch(app)) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert (await fetch(app)).status_code == 429
    gate.set()
    assert [(await task).status_code for task in tasks] == [200, 200]
    assert (await fetch(app)).status_code == 200


def test_wsgi_gives_places_back_when_the_body_is_closed() -> None:
    app = Wsgi(plain, policies=[{"name": "flight", "concurrency": 1}])
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.7"}
    body: Any = app(environ, lambda status, headers: None)
    assert call(app)[0].startswith("429")
    body.close()
    assert call(app)[0] == "200 OK"

    def broken(environ: Any, start_response: Any) -> list[bytes]:
        raise RuntimeError

    app = Wsgi(broken, policies=[{"name": "flight", "concurrency": 1}])
    for _ in range(3):
        with pytest.raises(RuntimeError):
            app(environ, None)


async def test_a_queue_makes_wait_and_does_not_refuse() -> None:
    app = Asgi(plain_async, "20/second burst 3 as leaky-queue")
    begun = time.monotonic()
    answers = await asyncio.gather(*(fetch(app) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3 and time.monotonic() - begun >= 0.1


async def test_websockets_are_refused_before_they_are_open(clock: ManualClock) -> None:
    app = Asgi(plain_async, "1/minute", clock=clock)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "headers": [], "client": ("192.0.2.7", 1)}
    for _ in range(2):
        await app(dict(scope), None, send)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert any(name == b"ratelimit" for name, _ in sent[0]["headers"])
    sent.clear()
    await app({**scope, "extensions": {"websocket.http.response": {}}}, None, send)
    assert sent[0]["type"] == "websocket.http.response.start" and sent[0]["status"] == 429
    lifespan = {"type": "lifespan"}

    async def other(scope: Any, receive: Any, send: Any) -> Any:
        return "untouched"

    assert await Asgi(other, "0/minute")(lifespan, None, None) == "untouched"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "expected limits"),
        ({"limits": "5/fortnight"}, "at column 3 of `5/fortnight`"),
        ({"limits": "5/minute", "answer": {"status": 200}}, "400 to 599"),
        ({"limits": "5/minute", "clint": {}}, "clint"),
        ({"policies": [{"name": "x", "limit": "5/minute"}]}, "unknown field `limit`"),
        ({"key": "ip", "policies": []}, "no limits were given"),
    ],
)
def test_what_cannot_be_configured_is_said(options: Any, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        Asgi(plain_async, **options)


@contextmanager
def gunicorn(directory: Path, options: list[str], shared: str) -> Iterator[int]:
    (directory / "served.py").write_text(APP % shared)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-w", "4", "-b", f"127.0.0.1:{port}", *options, "served:app"]
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, start_new_session=True) as server:
        try:
            booted, deadline = 0, time.monotonic() + 30
            assert server.stderr is not None
            while booted < 4 and time.monotonic() < deadline:
                booted += b"Booting worker" in server.stderr.readline()
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def get(port: int, client: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": client})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.mark.parametrize("preload", [True, False])
def test_four_workers_of_gunicorn_admit_each_client_exactly_its_limit(
    preload: bool, tmp_path: Path, shared_name: str
) -> None:
    shared = "" if preload else f', shared="{shared_name}"'
    options = ["--preload"] if preload else []
    with gunicorn(tmp_path, options, shared) as port:
        counts: Counter[tuple[str, int]] = Counter()
        for number in range(200):
            client = f"203.0.113.{number % 4}"
            counts[client, get(port, client)] += 1
    for number in range(4):
        assert counts[f"203.0.113.{number}", 200] == 10, counts
        assert counts[f"203.0.113.{number}", 429] == 40, counts


def test_workers_that_are_killed_forget_nothing(tmp_path: Path, shared_name: str) -> None:
    with gunicorn(tmp_path, [], f', shared="{shared_name}"') as port:
        admitted = sum(get(port, "203.0.113.9") == 200 for _ in range(8))
        killed = workers(port)
        assert admitted == 8 and len(killed) == 4
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        time.sleep(1.5)
        admitted += sum(get(port, "203.0.113.9") == 200 for _ in range(10))
    assert admitted == 10


def workers(port: int) -> list[int]:
    """The workers of the server on that port."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            of_parent = Path(f"/proc/{parent}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if f"127.0.0.1:{port}".encode() in line and f"127.0.0.1:{port}".encode() in of_parent:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("charge", [False, True])
@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("ietf", {"ratelimit-policy": '"default";q=5;w=60', "ratelimit": '"default";r=4;t=12'}),
        ("x-ratelimit-seconds", {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "4", "x-ratelimit-reset": "12"}),
        (
            "draft-06",
            {"ratelimit-limit": "5", "ratelimit-remaining": "4", "ratelimit-reset": "12", "ratelimit-policy": "5;w=60"},
        ),
        ("none", {}),
    ],
)
async def test_each_dialect_on_what_is_decided_at_once_and_after_the_response(
    dialect: str, fields: dict[str, str], charge: bool, clock: ManualClock
) -> None:
    policy: dict[str, Any] = {"name": "default", "limits": "5/minute"}
    if charge:
        policy["charge"] = {"only_on": "200"}
    rules = policies(policies=[policy], answer={"headers": dialect}, clock=clock)
    got = (await fetch(Asgi(plain_async, rules))).headers
    assert {name: value for name, value in got.items() if "ratelimit" in name} == fields
    clock.advance(12)
    _, told, _ = call(Wsgi(plain, rules))
    assert {name: value for name, value in told.items() if "ratelimit" in name} == fields
