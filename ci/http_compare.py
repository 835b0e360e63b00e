"""Sends the same requests through Flask-Limiter, slowapi and `tollgate gateway`, and compares what clients see.

Theirs run in this process, through their test clients; ours is the program, before its built-in echo or a small server
that answers with the status that is asked for. A case says what is expected of both. Where the meaning is the same by
design, statuses and `X-RateLimit-*` must be equal; where it differs, both sides must be as docs/http.md says.
"""

import http.client
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path

import flask
import flask_limiter
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from slowapi import Limiter as SlowLimiter
from slowapi import _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIMiddleware

PROGRAM = os.environ["TOLLGATE"]

# What a client sends: a method, a path, the last number of its address 127.0.0.N, header fields; and how far into the
# next window of two seconds it waits first.
Ask = namedtuple("Ask", "path method client headers into", defaults=("GET", 1, {}, None))
# What it sees of the answer. `wait` is `Retry-After`; `reset` is `X-RateLimit-Reset` in seconds from now.
Seen = namedtuple("Seen", "status limit remaining reset wait body")


def gets(count, path="/", **more):
    return [Ask(path, **more)] * count


def wait(ask):
    if ask.into is not None:
        time.sleep(2 - time.time() % 2 + ask.into)


def seen(status, headers, body):
    number = lambda name: int(headers[name]) if headers.get(name) else None
    # slowapi's has a fraction.
    reset = float(headers["X-RateLimit-Reset"]) - time.time() if headers.get("X-RateLimit-Reset") else None
    return Seen(status, number("X-RateLimit-Limit"), number("X-RateLimit-Remaining"), reset, number("Retry-After"), body)


# --- theirs


def flask_app(routes, key=lambda: flask.request.remote_addr, **options):
    """A Flask application; `routes` maps paths to functions that decorate the view."""
    app = flask.Flask(__name__)
    limiter = flask_limiter.Limiter(key, app=app, headers_enabled=True, storage_uri="memory://", **options)
    for path, decorate in routes.items():
        view = lambda rest="": ("", int(rest or 200))
        view.__name__ = path.replace("/", "_")
        rule = path + "/<rest>" if path == "/status" else path
        app.add_url_rule(rule, view_func=decorate(limiter)(view), methods=["GET", "POST"])
    return app


def ask_flask(app, asks):
    client = app.test_client()
    for ask in asks:
        wait(ask)
        at = {"REMOTE_ADDR": f"127.0.0.{ask.client}"}
        answer = client.open(ask.path, method=ask.method, environ_base=at, headers=ask.headers)
        yield seen(answer.status_code, answer.headers, answer.get_data(as_text=True))


def slow_app(paths, **options):
    app = FastAPI()
    address = lambda request: request.client.host
    app.state.limiter = SlowLimiter(address, headers_enabled=True, **options)
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
    app.add_middleware(SlowAPIMiddleware)
    for path in paths:
        def view(request: Request):
            return ""
        view.__name__ = "view" + path.replace("/", "_")
        app.get(path)(view)
    return app


def ask_slow(app, asks):
    for ask in asks:
        wait(ask)
        client = TestClient(app, client=(f"127.0.0.{ask.client}", 50000))
        answer = client.request(ask.method, ask.path, headers=ask.headers)
        yield seen(answer.status_code, answer.headers, answer.text)


plain = lambda limiter: lambda view: view


# --- ours


class Status(BaseHTTPRequestHandler):
    """Answers `/status/401` with 401."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(int(self.path.rsplit("/", 1)[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def ask_gateway(policies, asks, scratch, upstream):
    file = Path(scratch) / "tollgate.yaml"
    upstreams = f"upstreams: [http://127.0.0.1:{upstream}]\n" if upstream else ""
    answer = "answer: {headers: x-ratelimit, body: json}\n"
    file.write_text(f"listen: 127.0.0.1:0\nadmin: off\n{upstreams}{answer}policies:\n{policies}")
    with subprocess.Popen([PROGRAM, "gateway", "--config", file], stdout=subprocess.PIPE, text=True) as gateway:
        try:
            line = gateway.stdout.readline()
            if "listening on http://" not in line:
                sys.exit(f"http_compare: the gateway did not start with\n{file.read_text()}")
            port = int(line.split("listening on http://127.0.0.1:")[1].split(",")[0])
            yield from ask_port(port, asks)
        finally:
            gateway.terminate()


def ask_port(port, asks):
    connections = {}
    for ask in asks:
        wait(ask)
        if ask.client not in connections:
            source = (f"127.0.0.{ask.client}", 0)
            connections[ask.client] = http.client.HTTPConnection("127.0.0.1", port, 10, source_address=source)
        connection = connections[ask.client]
        connection.request(ask.method, ask.path, headers=ask.headers)
        answer = connection.getresponse()
        yield seen(answer.status, answer.headers, answer.read().decode())


# --- cases

# `expect` has the statuses of theirs and of ours; `why` says what differs, and nothing if all is equal.
Case = namedtuple("Case", "name theirs policies asks expect why more upstream")
cases = []


def same(name, theirs, policies, asks, expect, more=None, upstream=False):
    """Both answer `expect`, with the same limit and the same remaining."""
    cases.append(Case(name, theirs, policies, asks, (expect, expect), None, more, upstream))


def differs(name, theirs, policies, asks, expect_theirs, expect_ours, why, more=None, upstream=False):
    cases.append(Case(name, theirs, policies, asks, (expect_theirs, expect_ours), why, more, upstream))


TWO = ["200 per day", "50 per hour"]
FIXED = "algorithm: fixed-window"
LOG = "algorithm: sliding-log"
ok, no = 200, 429

for strategy, algorithm in [("fixed-window", FIXED), ("moving-window", LOG)]:
    make = lambda strategy=strategy, **more: flask_app({"/": plain}, default_limits=TWO, strategy=strategy, **more)
    policy = f"  - {{name: d, limits: '200 per day, 50 per hour', {algorithm}}}\n"
    same(f"200 per day, 50 per hour; {strategy}", make, policy, gets(53), [ok] * 50 + [no] * 3)
    same(f"a second address has its own; {strategy}", make, policy, gets(51) + gets(1, client=2), [ok] * 50 + [no, ok])

two_routes = {"/login": lambda limiter: limiter.limit("3/hour"), "/a": plain, "/b": plain}
routed = lambda **more: flask_app(two_routes, default_limits=["5/hour"], strategy="moving-window", **more)
by_path = f"  - {{name: d, limits: 5/hour, key: ip+path, {LOG}}}\n"
login = f"  - {{name: login, limits: 3/hour, match: {{path: /login}}, {LOG}}}\n"
same("a route's limit takes the default's place", routed, by_path + login,
     gets(4, "/login") + gets(6, "/a"), [ok] * 3 + [no] + [ok] * 5 + [no])
same("defaults for each endpoint: key ip+path", routed, by_path, gets(6, "/a") + gets(6, "/b"), ([ok] * 5 + [no]) * 2)
differs("defaults for each endpoint: key ip", routed, f"  - {{name: d, limits: 5/hour, {LOG}}}\n",
        gets(4, "/a") + gets(2, "/b"), [ok] * 6, [ok] * 5 + [no],
        "their default limits have a bucket for each endpoint; ours for each key, whatever the path")

beside = {"/login": lambda limiter: limiter.limit("2 per minute", override_defaults=False)}
same("override_defaults=False: always", lambda: flask_app(beside, default_limits=["5/hour"], strategy="moving-window"),
     f"  - {{name: d, limits: 5/hour, {LOG}}}\n"
     f"  - {{name: login, limits: 2 per minute, match: {{path: /login}}, always: true, {LOG}}}\n",
     gets(3, "/login"), [ok] * 2 + [no])


def shared():
    app = flask.Flask(__name__)
    limiter = flask_limiter.Limiter(lambda: flask.request.remote_addr, app=app, headers_enabled=True,
                                    storage_uri="memory://", strategy="moving-window")
    both = limiter.shared_limit("3/hour", scope="both")
    app.add_url_rule("/a", "a", both(lambda: ""))
    app.add_url_rule("/b", "b", both(lambda: ""))
    return app


same("shared_limit: one policy, several paths", shared,
     f"  - {{name: both, limits: 3/hour, match: {{path: [/a, /b]}}, {LOG}}}\n",
     gets(2, "/a") + gets(2, "/b") + gets(1, "/a"), [ok, ok, ok, no, no])

everywhere = {"/login": lambda limiter: limiter.limit("3/hour"), "/a": plain}
left = lambda answers: [answer.remaining for answer in answers]
differs("application_limits: always",
     lambda: flask_app(everywhere, application_limits=["4/hour"], strategy="moving-window"),
     f"  - {{name: all, limits: 4/hour, always: true, {LOG}}}\n" + login,
     gets(3, "/a") + gets(1, "/login") + gets(1, "/a") + gets(1, "/login"), [ok] * 4 + [no] * 2, [ok] * 4 + [no] * 2,
     "statuses are the same; their fields tell of the route's own limit, ours of the one with the fewest left",
     more=lambda theirs, ours: (left(theirs), left(ours)) == ([3, 2, 1, 2, 0, 0], [3, 2, 1, 0, 0, 0]))

methods = {"/a": lambda limiter: limiter.limit("2/hour", per_method=True)}
same("per_method: key ip+method", lambda: flask_app(methods, strategy="moving-window"),
     f"  - {{name: a, limits: 2/hour, key: ip+method, match: {{path: /a}}, {LOG}}}\n",
     gets(3, "/a") + gets(3, "/a", method="POST"), [ok, ok, no] * 2)

posts = {"/a": lambda limiter: limiter.limit("2/hour", methods=["POST"])}
same("methods: match.method", lambda: flask_app(posts, strategy="moving-window"),
     f"  - {{name: a, limits: 2/hour, match: {{path: /a, method: POST}}, {LOG}}}\n",
     gets(3, "/a") + gets(3, "/a", method="POST"), [ok] * 3 + [ok, ok, no])

spared = {"/health": lambda limiter: limiter.exempt, "/a": plain}
same("exempt: no limit and no fields",
     lambda: flask_app(spared, default_limits=["1/hour"], strategy="moving-window"),
     f"  - {{name: d, limits: 1/hour, exempt: ['path:/health'], {LOG}}}\n",
     gets(3, "/health") + gets(2, "/a"), [ok] * 4 + [no])

priced = {"/a": lambda limiter: limiter.limit("5/hour", cost=2)}
same("cost 2 of 5; moving-window", lambda: flask_app(priced, strategy="moving-window"),
     f"  - {{name: a, limits: 5/hour, cost: 2, {LOG}}}\n", gets(3, "/a"), [ok, ok, no])
differs("cost 2 of 5; fixed-window", lambda: flask_app(priced, strategy="fixed-window"),
        f"  - {{name: a, limits: 5/hour, cost: 2, {FIXED}}}\n", gets(3, "/a"), [ok, ok, no], [ok, ok, no],
        "their fixed window counts refused requests, so nothing is left; ours leaves the 1 that is there",
        more=lambda theirs, ours: (left(theirs), left(ours)) == ([3, 1, 0], [3, 1, 1]))

whole = lambda: flask_app({"/": plain}, default_limits=["2 per 2 seconds", "4 per hour"], fail_on_first_breach=False)
differs("refused by one limit, counted by the other", whole,
        f"  - {{name: d, limits: '2 per 2 seconds, 4 per hour', {FIXED}}}\n",
        gets(1, into=0.1) + gets(3) + gets(1, into=0.5) + gets(2), [ok, ok, no, no, no, no, no], [ok, ok, no, no, ok, ok, no],
        "with fail_on_first_breach=False theirs take from every limit, ours from all or from none")

# `deduct_when`: the upstream decides.
failed = {"/status": lambda limiter: limiter.limit("3/hour", deduct_when=lambda answer: answer.status_code == 401)}
bad, good = Ask("/status/401"), Ask("/status/200")
statuses = [401, 401, ok, 401, no, no]
same("deduct_when 401: charge.only_on", lambda: flask_app(failed, strategy="moving-window"),
     f"  - {{name: f, limits: 3/hour, charge: {{only_on: 401}}, {LOG}}}\n",
     [bad, bad, good, bad, bad, good], statuses, upstream=True)

by_key = lambda **more: flask_app({"/": plain}, key=lambda: flask.request.headers.get("x-api-key"),
                                  default_limits=["1/hour"], strategy="moving-window", **more)
keyed = f"  - {{name: d, limits: 1/hour, key: 'header:x-api-key', {LOG}%s}}\n"
k1, k2 = {"x-api-key": "one"}, {"x-api-key": "two"}
same("key_func: key header:x-api-key", by_key, keyed % "",
     gets(2, headers=k1) + gets(2, headers=k2), [ok, no] * 2)
same("no key: missing_key skip", by_key, keyed % ", missing_key: skip", gets(3), [ok] * 3)
differs("no key, nothing said", by_key, keyed % "", gets(3), [ok] * 3, [ok, no, no],
        "theirs skip the limit for a request without a key; ours share one bucket, so leaving the header out is no way round")

# slowapi.
same("slowapi: default limits; statuses, fields, body", lambda: slow_app(["/"], default_limits=["3/hour"]),
     f"  - {{name: d, limits: 3/hour, {FIXED}}}\n", gets(5), [ok] * 3 + [no] * 2,
     more=lambda theirs, ours: theirs[-1].body == ours[-1].body == '{"error":"Rate limit exceeded: 3 per 1 hour"}')
same("slowapi: application_limits", lambda: slow_app(["/a", "/b"], application_limits=["3/hour"]),
     f"  - {{name: d, limits: 3/hour, {FIXED}}}\n", gets(2, "/a") + gets(2, "/b"), [ok] * 3 + [no])

# Times.
hour = lambda **more: flask_app({"/": plain}, default_limits=["2/hour"], **more)
differs("when a fixed window ends", lambda: hour(strategy="fixed-window"),
        f"  - {{name: d, limits: 2/hour, {FIXED}}}\n", gets(3), [ok, ok, no], [ok, ok, no],
        "theirs begins with the first request and says one second more; ours at the full hour, UTC",
        more=lambda theirs, ours: abs(theirs[2].reset - 3601) < 5 and abs(ours[2].reset - to_the_hour()) < 5)
same("Retry-After of a log, within 2 s", lambda: hour(strategy="moving-window"),
     f"  - {{name: d, limits: 2/hour, {LOG}}}\n", gets(3), [ok, ok, no],
     more=lambda theirs, ours: abs(theirs[2].wait - ours[2].wait) <= 2 and 3595 <= ours[2].wait <= 3600)
differs("a bucket is not a window", lambda: hour(strategy="fixed-window"), "  - {name: d, limits: 2/hour}\n", gets(3),
        [ok, ok, no], [ok, ok, no], "our default fills evenly: the next request passes after half an hour",
        more=lambda theirs, ours: abs(theirs[2].wait - 3600) < 5 and abs(ours[2].wait - 1800) < 5)


def to_the_hour():
    return 3600 - time.time() % 3600


def wait_for_room():
    """No case may stand over the end of an hour, where our windows end and theirs do not."""
    if to_the_hour() < 15:
        time.sleep(to_the_hour() + 0.05)


def brief(statuses):
    count = lambda run: f"{len(run)}x{run[0]}" if len(run) > 1 else str(run[0])
    return " ".join(count(list(run)) for _, run in groupby(statuses))


def judge(case, theirs, ours):
    """What is not as expected."""
    statuses = [answer.status for answer in theirs], [answer.status for answer in ours]
    for side, found, expected in zip(("theirs", "ours"), statuses, case.expect):
        if found != expected:
            yield f"{side}: {brief(found)}, expected {brief(expected)}"
    if case.why is None:
        for at, pair in enumerate(zip(theirs, ours), 1):
            fields = [(answer.limit, answer.remaining) for answer in pair]
            if fields[0] != fields[1]:
                yield f"answer {at}: X-RateLimit-Limit and -Remaining are {fields[0]} there, {fields[1]} here"
    if case.more and not case.more(theirs, ours):
        shown = lambda answers: [answer._replace(body=answer.body[:60]) for answer in answers[-3:]]
        yield f"theirs {shown(theirs)}, ours {shown(ours)}"


def main():
    logging.disable(logging.CRITICAL)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Status)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wrong, start = 0, time.monotonic()
    print("`same`: statuses, X-RateLimit-Limit and X-RateLimit-Remaining of every answer are equal, and as expected.")
    print(f"{'case':50} {'theirs':22} {'ours':22}")
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases:
            wait_for_room()
            app = case.theirs()
            ask = ask_flask if isinstance(app, flask.Flask) else ask_slow
            theirs = list(ask(app, case.asks))
            ours = list(ask_gateway(case.policies, case.asks, scratch, server.server_port if case.upstream else None))
            problems = list(judge(case, theirs, ours))
            verdict = f"differs: {case.why}" if case.why else "same"
            statuses = [brief([answer.status for answer in side]) for side in (theirs, ours)]
            print(f"{case.name:50} {statuses[0]:22} {statuses[1]:22} {'WRONG' if problems else verdict}")
            for problem in problems:
                print(f"    {problem}")
            wrong += bool(problems)
    print(f"{len(cases)} cases, {wrong} not as expected, {time.monotonic() - start:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
