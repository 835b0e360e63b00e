"""Any application of WSGI or ASGI behind limits: one line, and the policies of the gateway."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Literal

from . import testing
from ._engine import AsgiCore, Guard, ManualClock, Policies, WsgiCore
from ._limiter import _sleep, shared_path
from ._types import Limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
WsgiApp = Callable[..., Iterable[bytes]]


def policies(
    limits: Limits | None = None,
    *,
    key: str | None = None,
    exempt: Iterable[str] = (),
    policies: Iterable[Mapping[str, Any]] = (),
    client: Mapping[str, Any] | None = None,
    answer: Mapping[str, Any] | None = None,
    capacity: int | None = None,
    on_full: Literal["evict", "refuse", "admit"] | None = None,
    shared: str | os.PathLike[str] | None = None,
    on_mismatch: Literal["refuse", "adopt", "replace"] = "refuse",
    clock: Literal["system", "python"] | ManualClock | None = None,
) -> Policies:
    """Policies over one table, for ``Wsgi`` and ``Asgi``.

    ``limits``, ``key``, ``exempt``
        One policy for all requests: rates, of what (``"ip"`` by default, or such as ``"header:x-api-key | ip"``), and what is
        exempt, such as ``"path:/health"``.
    ``policies``
        More of them, each a mapping with the keys of the gateway's file: ``name``, ``limits``, ``match``, ``key``, ``tiers``,
        ``charge``, ``concurrency``, ``shadow`` ...
    ``client``
        Who the client is, by default the peer: ``{"from": "x-forwarded-for", "trusted": "10.0.0.0/8"}``.
    ``answer``
        What a refusal is like: ``status``, ``body``, ``headers`` (the dialect), ``headers_on_success``, ``retry_after``.

    The rest is as of ``Limiter``. Bounds on requests in flight are of each process.
    """
    all_policies = [dict(policy) for policy in policies]
    if limits is not None:
        rates = limits if isinstance(limits, str) else list(limits)
        first: dict[str, Any] = {"name": "default", "limits": rates, "exempt": [exempt] if isinstance(exempt, str) else list(exempt)}
        if key is not None:
            first["key"] = key
        all_policies.insert(0, first)
    elif key is not None or tuple(exempt):
        raise TypeError("key= and exempt= are of limits=, and no limits were given")
    if not all_policies:
        raise TypeError('expected limits, such as "100/minute", or policies=')
    table: dict[str, Any] = {}
    if capacity is not None:
        table["capacity"] = capacity
    if on_full is not None:
        table["on_full"] = on_full
    config: dict[str, Any] = {"policies": all_policies, "limiter": table}
    if client is not None:
        config["client"] = dict(client)
    if answer is not None:
        config["answer"] = dict(answer)
    clock, path = testing.chosen(clock, None if shared is None else shared_path(shared))
    return Policies(json.dumps(config), path, on_mismatch, clock)


def _policies(limits: Limits | Policies | None, options: dict[str, Any]) -> Policies:
    if isinstance(limits, Policies):
        if options:
            raise TypeError(f"{next(iter(options))}= is of the policies, which are there already")
        return limits
    return policies(limits, **options)


class Asgi(AsgiCore):
    """Any ASGI application behind limits: ``app = Asgi(app, "100/minute")``, or with the arguments of ``policies``.

    HTTP requests and the opening of WebSockets are limited; what is refused does not reach the application. A plain
    callable that returns what the application returns, so streaming, background tasks, context variables and cancellation
    are as without it.
    """

    policies: Policies

    def __new__(cls, app: Any, limits: Limits | Policies | None = None, **options: Any) -> Asgi:
        made = _policies(limits, options)
        self = super().__new__(cls, app, made, _refuse, _later, _until_end)
        self.policies = made
        return self


class Wsgi(WsgiCore):
    """Any WSGI application behind limits: ``app.wsgi_app = Wsgi(app.wsgi_app, "100/minute")``, or with the arguments of
    ``policies``."""

    policies: Policies

    def __new__(cls, app: WsgiApp, limits: Limits | Policies | None = None, **options: Any) -> Wsgi:
        made = _policies(limits, options)
        self = super().__new__(cls, app, made, _until_closed)
        self.policies = made
        return self


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            # The server answers 403; 1013 is "try again later".
            await send({"type": "websocket.close", "code": 1013})
            return
        prefix = "websocket.http.response"
    else:
        prefix = "http.response"
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": f"{prefix}.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})


async def _until_end(app: AsgiApp, scope: Scope, receive: Receive, guard: Guard) -> None:
    try:
        await app(scope, receive, guard)
    finally:
        guard.end()


async def _later(app: AsgiApp, scope: Scope, receive: Receive, guard: Guard) -> None:
    try:
        wait = guard.wait
        while wait > 0:
            await _sleep(wait)
            wait = guard.turn()
    except BaseException:
        guard.withdraw()
        raise
    await _until_end(app, scope, receive, guard)


def _until_closed(app: WsgiApp, environ: dict[str, Any], guard: Guard) -> Iterable[bytes]:
    try:
        wait = guard.wait
        while wait > 0:
            time.sleep(wait)
            wait = guard.turn()
    except BaseException:
        guard.withdraw()
        raise
    try:
        return _Body(app(environ, guard), guard)
    except BaseException:
        guard.end()
        raise


class _Body:
    """What the application answered, until the server closes it."""

    def __init__(self, body: Iterable[bytes], guard: Guard) -> None:
        self._body = body
        self._guard = guard

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._guard.end()
