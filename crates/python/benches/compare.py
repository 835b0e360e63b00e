"""What a hit and a request cost, beside other packages: CPU time, contenders in turn in one process, the least of the rounds. Every
answer is counted: all must be admissions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiolimiter
import limits
import limits.storage
import limits.strategies
import pyrate_limiter as pyrate
import rust_py_rate_limit
import throttled
from fastapi import Depends, FastAPI, Request
from flask import Flask

from tollgate_limiter import Asgi, Limiter, Wsgi

ROUNDS = 5
MANY = "100000000/day"


def cpu(run: Callable[[int], int], times: int) -> float:
    begun = time.process_time()
    admitted = run(times)
    taken = time.process_time() - begun
    assert admitted == times, f"{admitted} of {times} were admitted"
    return taken / times * 1e6


def compare(title: str, contenders: dict[str, tuple[Callable[[int], int], int]]) -> None:
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(ROUNDS):
        for name, (run, times) in contenders.items():
            best[name] = min(best[name], cpu(run, times))
    first = next(iter(best.values()))
    print(f"\n{title}")
    for name, taken in best.items():
        print(f"  {name:<44} {taken:9.3f} us   {taken / first:8.2f} x the first")


def hits() -> None:
    limiter = Limiter(MANY)
    fixed = limits.strategies.FixedWindowRateLimiter(limits.storage.MemoryStorage())
    item = limits.parse(MANY)

    def bare(times: int) -> int:
        allow = limiter.allow
        return sum([allow("key") for _ in range(times)])

    def decision(times: int) -> int:
        check = limiter.check
        return sum([check("key").allowed for _ in range(times)])

    def theirs(times: int) -> int:
        hit = fixed.hit
        return sum([hit(item, "key") for _ in range(times)])

    def sliding(times: int) -> int:
        hit = limits.strategies.SlidingWindowCounterRateLimiter(limits.storage.MemoryStorage()).hit
        return sum([hit(item, "key") for _ in range(times)])

    pyrate_limiter = pyrate.Limiter(pyrate.Rate(100_000_000, pyrate.Duration.DAY))

    def pyrates(times: int) -> int:
        acquire = pyrate_limiter.try_acquire
        return sum([acquire("key", blocking=False) is True for _ in range(times)])

    throttle = throttled.Throttled(using="fixed_window", quota=throttled.per_day(100_000_000))

    def throttleds(times: int) -> int:
        limit = throttle.limit
        return sum([not limit("key").limited for _ in range(times)])

    windows = rust_py_rate_limit.RateLimiter(limit=100_000_000, window_seconds=86_400)

    def rusts(times: int) -> int:
        allow = windows.allow
        return sum([allow("key") for _ in range(times)])

    def aio(times: int) -> int:
        async def all_of_them() -> int:
            limiter = aiolimiter.AsyncLimiter(100_000_000, 86_400)
            for _ in range(times):
                async with limiter:
                    pass
            return times

        return asyncio.run(all_of_them())

    compare("one hit in memory, one key", {
        "tollgate allow": (bare, 200_000),
        "tollgate check, a Decision": (decision, 200_000),
        "limits, fixed window": (theirs, 20_000),
        "limits, sliding window counter": (sliding, 20_000),
        "pyrate-limiter": (pyrates, 10_000),
        "throttled-py, fixed window": (throttleds, 10_000),
        "rust-py-rate-limit, fixed window": (rusts, 100_000),
        "aiolimiter, one bucket and no key": (aio, 20_000),
    })  # fmt: skip


def wsgi() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    told: list[str] = []

    def start(status: str, headers: Any, exc_info: Any = None) -> None:
        told.append(status)

    def runs(app: Any) -> Callable[[int], int]:
        def run(times: int) -> int:
            told.clear()
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.7", "SCRIPT_NAME": "", "QUERY_STRING": ""}
            for _ in range(times):
                app(environ, start)
            return sum(status == "200 OK" for status in told)

        return run

    compare("a WSGI application", {
        "alone": (runs(app), 50_000),
        "Wsgi, one limit and fields": (runs(Wsgi(app, MANY)), 50_000),
        "Wsgi, two policies and fields": (runs(Wsgi(app, MANY, policies=[{"name": "two", "limits": MANY, "always": True}])), 50_000),
    })  # fmt: skip


def asgi() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def runs(app: Any) -> Callable[[int], int]:
        def run(times: int) -> int:
            async def all_of_them() -> int:
                count = 0

                async def send(message: Any) -> None:
                    nonlocal count
                    count += message.get("status") == 200

                scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"h")],
                         "client": ("192.0.2.7", 1)}  # fmt: skip
                for _ in range(times):
                    await app(scope, None, send)
                return count

            return asyncio.run(all_of_them())

        return run

    two = [{"name": "two", "limits": MANY, "always": True}]
    compare("an ASGI application", {
        "alone": (runs(app), 50_000),
        "Asgi, one limit and fields": (runs(Asgi(app, MANY)), 50_000),
        "Asgi, two policies and fields": (runs(Asgi(app, MANY, policies=two)), 50_000),
    })  # fmt: skip


def flask() -> None:
    import flask_limiter
    from flask_limiter.util import get_remote_address

    import tollgate_limiter.flask

    def application(limit: Any) -> Flask:
        app = Flask("bench")
        limiter = limit(app)

        @app.route("/")
        @(limiter.limit(MANY) if limiter else lambda view: view)
        def index() -> str:
            return "ok"

        return app

    def runs(app: Flask) -> Callable[[int], int]:
        def run(times: int) -> int:
            told: list[str] = []
            base = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.7", "SCRIPT_NAME": "", "QUERY_STRING": "",
                    "SERVER_NAME": "h", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "SERVER_PROTOCOL": "HTTP/1.1"}  # fmt: skip
            for _ in range(times):
                app.wsgi_app(dict(base), lambda status, headers, exc_info=None: told.append(status))  # type: ignore[arg-type, misc]
            return sum(status == "200 OK" for status in told)

        return run

    theirs = application(lambda app: flask_limiter.Limiter(get_remote_address, app=app, headers_enabled=True))
    compare("a route of Flask, with fields", {
        "alone": (runs(application(lambda app: None)), 3_000),
        "tollgate_limiter.flask": (runs(application(tollgate_limiter.flask.Limiter)), 3_000),
        "Flask-Limiter, memory": (runs(theirs), 3_000),
    })  # fmt: skip


def fastapi() -> None:
    import slowapi
    from fastapi_limiter.depends import RateLimiter
    from slowapi.util import get_remote_address

    import tollgate_limiter.fastapi

    def application(limiter: Any, dependencies: Any = ()) -> FastAPI:
        app = FastAPI()
        app.state.limiter = limiter

        @app.get("/", dependencies=dependencies)
        @(limiter.limit(MANY) if limiter else lambda route: route)
        async def index(request: Request) -> str:
            return "ok"

        return app

    def runs(app: Any) -> Callable[[int], int]:
        def run(times: int) -> int:
            async def all_of_them() -> int:
                count = 0

                async def send(message: Any) -> None:
                    nonlocal count
                    count += message.get("status") == 200

                async def receive() -> Any:
                    return {"type": "http.request", "body": b"", "more_body": False}

                for _ in range(times):
                    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "root_path": "", "query_string": b"",
                             "headers": [(b"host", b"h")], "client": ("192.0.2.7", 1), "server": ("h", 80), "scheme": "http",
                             "http_version": "1.1"}  # fmt: skip
                    await app(scope, receive, send)
                return count

            return asyncio.run(all_of_them())

        return run

    peer = RateLimiter(limiter=pyrate.Limiter(pyrate.Rate(100_000_000, pyrate.Duration.DAY)))
    ours = tollgate_limiter.fastapi.Limiter().depends(MANY)
    compare("a route of FastAPI", {
        "alone": (runs(application(None)), 3_000),
        "tollgate_limiter.fastapi, with fields": (runs(application(tollgate_limiter.fastapi.Limiter())), 3_000),
        "tollgate_limiter.fastapi, as a dependency": (runs(application(None, [Depends(ours)])), 3_000),
        "fastapi-limiter, memory": (runs(application(None, [Depends(peer)])), 3_000),
        "slowapi, memory": (runs(application(slowapi.Limiter(key_func=get_remote_address))), 3_000),
    })  # fmt: skip


if __name__ == "__main__":
    for part in (hits, wsgi, asgi, flask, fastapi):
        part()
