"""Limits of FastAPI's and Starlette's routes.

``app.add_middleware(RateLimitMiddleware, limits="200 per day, 50 per hour")`` limits a whole application. ``Limiter`` limits single
routes: ``@limiter.limit("5/minute")`` below ``@app.get``, with no parameter called ``request``, and key functions that may have
dependencies of their own; or ``Depends(limiter.depends("5/minute"))`` on routes and routers.
"""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import os
import re
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar, Union, cast, get_type_hints

import fastapi.routing
from fastapi import Depends, FastAPI, HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Host, Mount
from starlette.websockets import WebSocket

from . import _limiter as limiters
from ._engine import Core, Decision, ManualClock
from ._functions import Names, is_awaited, is_generator, require_answers, said
from ._middleware import Asgi
from ._rules import Charge, Rule, Strategy, Table, refusal_fields, told
from ._types import OnOutage

__all__ = ["Limiter", "RateLimitExceeded", "RateLimitMiddleware", "get_remote_address"]

P = ParamSpec("P")
R = TypeVar("R")

Rates = Union[str, Callable[..., "str | Awaitable[str | None] | None"]]
"""Rates, or a function of the request that answers such a text, or ``None`` for no limit."""

_MISSING: Any = object()
"""The key of a limit whose dependency nobody has asked."""

_NUMBERS = itertools.count(1)
"""Of wrappers: each has hidden parameters of its own, so that two limiters can limit one route."""

RateLimitMiddleware: Callable[..., Asgi] = Asgi
"""``app.add_middleware(RateLimitMiddleware, limits="100/minute")``: see ``Asgi``."""


def get_remote_address(request: HTTPConnection) -> str | None:
    """The peer's address. uvicorn puts there what a proxy on this host says; see its ``--forwarded-allow-ips``."""
    client = request.scope.get("client")
    return client[0] if client else None


class RateLimitExceeded(HTTPException):
    """Status 429 with ``Retry-After``, with a handler or without; ``decision`` has the figures."""

    decision: Decision

    def __init__(self, decision: Decision, fields: list[tuple[str, str]], detail: str | None = None) -> None:
        if decision.outage is None:
            status, text = 429, detail or f"Rate limit exceeded: {decision.policy.split(' as ')[0]}"
        else:
            # Of the server, and no fault of the client.
            status, text = 503, "Limits cannot be checked now"
        super().__init__(status, text, dict(refusal_fields(decision, fields)))
        self.decision = decision


def _is_plain(function: Callable[..., Any]) -> bool:
    """Whether a key function wants the request at most, and so is called without FastAPI's help."""
    return not is_awaited(function) and not is_generator(function) and _wants_request(function)


def _wants_request(function: Callable[..., Any]) -> bool:
    """Whether a function wants the request at most, and nothing that FastAPI alone finds."""
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) > 1:
        return False
    return all(
        parameter.default is parameter.empty
        and (parameter.name == "request" or _names_request(parameter.annotation) or parameter.annotation is parameter.empty)
        for parameter in parameters
    )


def _names_request(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.rsplit(".", 1)[-1] in ("Request", "HTTPConnection", "WebSocket")
    return inspect.isclass(annotation) and issubclass(annotation, HTTPConnection)


def _of_request(function: Callable[..., Any]) -> Callable[[HTTPConnection], Any]:
    """The function as one of the request, whether it wants that or nothing."""
    return function if inspect.signature(function).parameters else lambda request: function()


def _walk(routes: Sequence[Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """All routes with their whole paths, those of included routers and mounted applications too."""
    # FastAPI once copied the routes that it included, and later refers to them.
    contexts = getattr(fastapi.routing, "iter_route_contexts", iter)
    for context in contexts(routes):
        route, path = getattr(context, "original_route", context), before + (getattr(context, "path", None) or "")
        yield path, route
        if isinstance(route, (Mount, Host)):
            yield from _walk(route.routes, path if isinstance(route, Mount) else before)


@functools.lru_cache
def _pattern(template: str) -> re.Pattern[str]:
    """What paths look like that a mount with this template has taken."""
    parts = re.split(r"(\{[^}]*\})", template)
    matched = (re.escape(part) if index % 2 == 0 else ".*" if part.endswith(":path}") else "[^/]+" for index, part in enumerate(parts))
    return re.compile("".join(matched))


def _path_of(connection: HTTPConnection) -> str:
    """The whole path of the route, as it was declared. What clients make of it would be a count for each spelling."""
    scope = connection.scope
    route = scope.get("route")
    if route is None:
        return cast(str, scope["path"])
    # Its own path is relative to the router that includes it.
    context = scope.get("fastapi", {}).get("effective_route_context")
    if context is not None and context.original_route is route:
        route = context
    path = cast(str, getattr(route, "path", ""))
    mounted = scope.get("root_path", "").removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
    if mounted:
        for prefix, mount in _walk(scope["router"].routes):
            if isinstance(mount, Mount) and _pattern(prefix).fullmatch(mounted):
                return prefix + path
    return path


class Asked:
    """A rule, with all that can be known before there is a request."""

    __slots__ = ("alone", "awaits", "cost", "exempt", "key", "limiter", "rates", "rule", "scoped")

    rates: Callable[[HTTPConnection], str | None] | None
    limiter: limiters.Limiter | None
    cost: int | Callable[[HTTPConnection], int]

    def __init__(self, rule: Rule, key_func: Callable[..., Any], table: Table, scoped: bool) -> None:
        self.rule = rule
        # Of each route by itself.
        self.scoped = scoped
        functions = {"rates": rule.rates, "cost": rule.cost, "exempt_when": rule.exempt_when}
        require_answers(True, "", **functions)
        require_answers(False, "a refusal", error_message=rule.error_message)
        self.awaits = {name: function for name, function in functions.items() if is_awaited(function)}
        if inspect.isclass(key_func) and not issubclass(key_func, (str, bytes, int)):
            raise TypeError(f"key_func is a function that answers a key, and {key_func!r} is a class whose objects are none")
        # What is no plain function is a dependency, whose value FastAPI brings.
        self.key = _of_request(key_func) if _is_plain(key_func) else None
        # Which Starlette does not bring: an async function of the request is awaited there, and others are refused.
        self.alone = _of_request(key_func) if self.key is None and is_awaited(key_func) and _wants_request(key_func) else None
        if self.key is None:
            bare = inspect.signature(key_func).parameters.get("request")
            if bare is not None and bare.annotation is bare.empty:
                # FastAPI would ask clients for a query parameter of that name.
                raise TypeError(f"the parameter `request` of {key_func!r} needs its type: a key function that is async, or "
                                "has other parameters, is a dependency of FastAPI")  # fmt: skip
        if isinstance(rule.rates, str):
            self.rates, self.limiter = None, table.limiter(rule.name, rule.rates)
        else:
            self.rates, self.limiter = _of_request(rule.rates), None
        self.cost = rule.cost if isinstance(rule.cost, int) else _of_request(rule.cost)
        self.exempt = None if rule.exempt_when is None else _of_request(rule.exempt_when)

    def require_plain(self, what: str) -> None:
        """Refuses functions that are async, for what cannot await them."""
        require_answers(False, what, **self.awaits)

    def is_missing(self, key: Any) -> bool:
        """Whether its key is a dependency that nobody has brought."""
        return self.key is None and key is _MISSING

    def refuse_missing(self) -> NoReturn:
        """Says whose key is not there."""
        raise TypeError(
            f"the key function of {self.rule.name!r} is a dependency, which FastAPI brings and Starlette does not: there it may be async, and "
            "the route too, and has the request as its one parameter"
        )

    async def settled(self, request: HTTPConnection) -> Asked | None:
        """The rule with the answers of its async functions in their place; nothing if it is exempt."""
        answers: Any = copy.copy(self)
        if "exempt_when" in self.awaits:
            if await answers.exempt(request):
                return None
            answers.exempt = None
        if "rates" in self.awaits:
            text = await answers.rates(request)
            answers.rates = lambda request: text
        if "cost" in self.awaits:
            answers.cost = await answers.cost(request)
        return cast(Asked, answers)


_Quick = tuple[limiters.Limiter, Union[Callable[[HTTPConnection], Any], None], str, Union[str, None], int, Rule]
"""A limit that is charged for every request: of which limiter; how its key is found, or the parameter that has it; the part of the key that
is of the route; its cost; the rule."""


class Limiter:
    """Limits of routes, over one table. By default rates are token buckets; ``strategy="fixed-window"`` counts as slowapi does."""

    def __init__(
        self,
        default_limits: str | Sequence[Rates] = (),
        *,
        key_func: Callable[..., Any] = get_remote_address,
        headers_enabled: bool = True,
        dialect: str = "ietf",
        strategy: Strategy | None = None,
        shared: str | os.PathLike[str] | None = None,
        capacity: int = 65_536,
        on_full: Literal["evict", "refuse", "admit"] = "evict",
        clock: Literal["system", "python"] | ManualClock | None = None,
        enabled: bool = True,
        store: Any = None,
        secret: str | bytes | None = None,
        on_outage: OnOutage = "closed",
        nodes: int | None = None,
    ) -> None:
        self.enabled = enabled
        self._key_func = key_func
        self._headers_enabled = headers_enabled
        self._table = Table(
            shared=shared,
            capacity=capacity,
            on_full=on_full,
            clock=clock,
            strategy=strategy,
            dialect=dialect,
            store=store,
            secret=secret,
            on_outage=on_outage,
            nodes=nodes,
        )
        given = [default_limits] if isinstance(default_limits, str) else list(default_limits)
        self._defaults = [self._asked(Rule(rates, f"default-{index}"), scoped=True) for index, rates in enumerate(given)]
        self._originals: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()
        self._names = Names()

    def limit(
        self,
        limit_value: Rates,
        key_func: Callable[..., Any] | None = None,
        *,
        per_method: bool = False,
        methods: Sequence[str] | None = None,
        error_message: str | Callable[[], str] | None = None,
        exempt_when: Callable[..., bool | Awaitable[bool]] | None = None,
        cost: int | Callable[..., int | Awaitable[int]] = 1,
        override_defaults: bool = True,
        scope: str | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Limits a route; stands below ``@app.get``. ``key_func`` may have dependencies of FastAPI, and be async.
        Functions that are given as rates, ``cost`` or ``exempt_when`` may be async if the route is. Each limit of each function has a
        count of its own, at whatever paths the function is."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            stacked = len(function.__tollgate_rules__) if self._has(function) else 0  # type: ignore[attr-defined]
            name = function.__tollgate_name__ if stacked else self._names.of(function)  # type: ignore[attr-defined]
            rule = Rule(
                limit_value,
                scope or (f"{name} {stacked + 1}" if stacked else name),
                key_func=key_func,
                per_method=per_method,
                methods=None if methods is None else frozenset(method.upper() for method in methods),
                cost=cost,
                exempt_when=exempt_when,
                override_defaults=override_defaults,
                error_message=error_message,
            )
            return self._wrap(function, rule, name)

        return decorate

    def shared_limit(
        self, limit_value: Rates, scope: str, key_func: Callable[..., Any] | None = None, **options: Any
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """One limit for all routes that it decorates."""
        return self.limit(limit_value, key_func, scope=f"shared {scope}", **options)

    def depends(
        self,
        limit_value: Rates,
        *,
        key_func: Callable[..., Any] | None = None,
        cost: int | Callable[..., int | Awaitable[int]] = 1,
        scope: str | None = None,
    ) -> Callable[..., Any]:
        """A dependency that limits: ``Depends(limiter.depends("10/minute"))``, of a route, a router or an application. Without a
        ``scope`` each of these has a count of its own for each path, whatever the method. So it is called where routes are
        declared, and not for each request."""
        self._require("a dependency", is_async=True)
        rule = Rule(limit_value, scope or self._names.next("depends"), key_func=key_func, cost=cost)
        asked = self._asked(rule, scoped=scope is None)
        is_stored = self._table.is_stored

        async def limited(connection: HTTPConnection, response: Response, key: Any = None) -> None:
            own = None if scope else _path_of(connection)
            rules = [(asked, key)]
            if is_stored or asked.awaits:
                decided = await self._adecide(connection, rules, own)
            else:
                decided = self._decide(connection, rules, own)
            _set_fields(response, decided)

        parameters = list(inspect.signature(limited, eval_str=True).parameters.values())[:2]
        if asked.key is None:
            dependency = Depends(key_func or self._key_func)
            parameters.append(inspect.Parameter("key", inspect.Parameter.KEYWORD_ONLY, default=dependency))
        limited.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return limited

    def messages(self, limit_value: Rates, *, scope: str = "messages") -> Messages:
        """A limit of the messages of WebSockets: ``if not messages.check(websocket): ...``."""
        asked = self._asked(Rule(limit_value, scope))
        asked.require_plain("a limit of messages")
        if asked.key is None:
            raise TypeError("the key of messages is a function of the WebSocket, and the limiter's is a dependency")
        return Messages(self, asked)

    def init_app(self, app: FastAPI) -> None:
        """Says which routes are registered without the limit that was declared for them; also those of routers that are included and
        applications that are mounted by now."""
        for _, route in _walk(app.routes):
            endpoint: Any = getattr(route, "endpoint", None)
            if endpoint in self._originals:
                raise RuntimeError(f"limit() must stand below @app.get: `{endpoint.__name__}` is registered without it")

    def _asked(self, rule: Rule, *, scoped: bool = False) -> Asked:
        return Asked(rule, rule.key_func or self._key_func, self._table, scoped)

    def _has(self, function: Any) -> bool:
        """Whether the function has limits of this limiter already, and nothing around them."""
        return getattr(function, "__tollgate_limiter__", None) is self

    def _wrap(self, function: Callable[P, R], rule: Rule, name: str) -> Callable[P, R]:
        inner: Any = function
        asked = self._asked(rule)
        if self._has(function):
            # All limits of a route are decided together.
            wrapper = inner
            rules: list[tuple[Asked, str | None]] = wrapper.__tollgate_rules__
        else:
            self._originals.add(function)
            rules = []
            # FastAPI gives the request to one parameter, and so the response: to the route's own, where there is one.
            own = _own_parameters(inner)
            hidden_name = f"_tollgate{next(_NUMBERS)}"
            hidden = [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
                for name, kind in ((f"{hidden_name}_request", Request), (f"{hidden_name}_response", Response))
                if kind not in own
            ]
            if not _is_plain(self._key_func):
                hidden.append(inspect.Parameter(f"{hidden_name}_key", inspect.Parameter.KEYWORD_ONLY, default=Depends(self._key_func)))
            wrapper = self._wrapper(inner, rules, own, hidden_name, name)
            wrapper.__tollgate_name__ = name
            wrapper.__tollgate_hidden__ = hidden_name
            wrapper.__tollgate_limiter__ = self
            wrapper.__tollgate_rules__ = rules
            wrapper.__signature__ = _with(inspect.signature(inner), hidden)
            if not inspect.iscoroutinefunction(inner):
                for default in self._defaults:
                    default.require_plain(f"`{function.__name__}`, which is not `async def`,")
        if not inspect.iscoroutinefunction(inner):
            asked.require_plain(f"`{function.__name__}`, which is not `async def`,")
        parameter = None
        if asked.key is None and rule.key_func is not None:
            parameter = f"{wrapper.__tollgate_hidden__}_key_{len(rules)}"
            more = inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, default=Depends(rule.key_func))
            wrapper.__signature__ = _with(wrapper.__signature__, [more])
        rules.append((asked, parameter))
        return cast("Callable[P, R]", wrapper)

    def _require(self, what: str, is_async: bool) -> None:
        """Which kind of client a route can ask."""
        if self._table.is_stored and self._table.is_awaited != is_async:
            wanted = "redis.asyncio, as another would block the event loop" if is_async else "redis.Redis, as it awaits nothing"
            raise TypeError(f"{what} wants a client of {wanted}: give the other kind as store=")

    def _wrapper(
        self, function: Any, rules: list[tuple[Asked, str | None]], own: dict[type, str], hidden: str, scope: str
    ) -> Any:
        is_async = inspect.iscoroutinefunction(function)
        self._require(f"`{function.__name__}`", is_async)
        is_stored = self._table.is_stored
        of_request, of_response = own.get(Request), own.get(Response)
        hidden_request, hidden_response, hidden_key = f"{hidden}_request", f"{hidden}_response", f"{hidden}_key"
        check_all, dialect = Core.check_all, self._table.dialect
        # Made for the first request, when all decorators have run.
        quick: list[_Quick] | None = None
        planned = 0
        brought: set[str] = set()

        def request_of(args: Any, kwargs: dict[str, Any]) -> HTTPConnection:
            request = kwargs.get(of_request) if of_request else kwargs.pop(hidden_request, None)
            if request is None:
                # Starlette gives the request alone.
                found = (value for value in (*args, *kwargs.values()) if isinstance(value, HTTPConnection))
                request = next(found, None)
            if request is None:
                raise TypeError(f"`{function.__name__}` was called without a request: it is limited as a route is")
            return cast(HTTPConnection, request)

        def at_once(args: Any, kwargs: dict[str, Any]) -> tuple[Response | None, list[tuple[bytes, bytes]]] | None:
            """Decides, and answers the response that FastAPI has given and what is to be told; nothing where that takes more."""
            nonlocal quick, planned, brought
            if planned != len(rules):
                quick, planned = self._quick(rules, scope, hidden_key), len(rules)
                brought = {name for _, key, name, *_ in quick or () if key is None}
            if quick is None or not self.enabled or not brought <= kwargs.keys():
                return None
            request = request_of(args, kwargs)
            response = kwargs.get(of_response) if of_response else kwargs.pop(hidden_response, None)
            items: list[tuple[Core, Any, int]] = [
                (limiter, (kwargs.pop(name) if key is None else key(request), part, None), cost)
                for limiter, key, name, part, cost, _ in quick
            ]
            decision, index, fields = check_all(items, dialect, True)
            if not decision.allowed:
                limiter, *_, rule = quick[index]
                self._told(told(decision, Charge(rule, limiter, *items[index][1:]), _texts(fields)))
            return response, fields if self._headers_enabled else []

        def begin(
            args: Any, kwargs: dict[str, Any]
        ) -> tuple[HTTPConnection, list[tuple[Asked, Any]], Response | None]:
            request = request_of(args, kwargs)
            response = kwargs.get(of_response) if of_response else kwargs.pop(hidden_response, None)
            common = kwargs.pop(hidden_key, _MISSING)
            keys = [(asked, common if name is None else kwargs.pop(name, _MISSING)) for asked, name in self._all(rules)]
            return request, keys, response

        def end(result: Any, fields: list[tuple[bytes, bytes]], response: Response | None) -> Any:
            target = result if isinstance(result, Response) else response
            if fields and target is not None:
                _set_lines(target, fields)
            return result

        wrapper: Any
        if is_async:

            @functools.wraps(function)
            async def limited_async(*args: Any, **kwargs: Any) -> Any:
                decided = at_once(args, kwargs)
                if decided is not None:
                    response, lines = decided
                    return end(await function(*args, **kwargs), lines, response)
                request, keys, response = begin(args, kwargs)
                if is_stored or any(asked.awaits or asked.is_missing(key) for asked, key in keys):
                    fields = await self._adecide(request, keys, scope)
                else:
                    fields = self._decide(request, keys, scope)
                return end(await function(*args, **kwargs), _lines(fields), response)

            wrapper = limited_async
        else:

            @functools.wraps(function)
            def limited(*args: Any, **kwargs: Any) -> Any:
                decided = at_once(args, kwargs)
                if decided is not None:
                    response, lines = decided
                    return end(function(*args, **kwargs), lines, response)
                request, keys, response = begin(args, kwargs)
                fields = self._decide(request, keys, scope)
                return end(function(*args, **kwargs), _lines(fields), response)

            wrapper = limited
        return wrapper

    def _all(self, rules: Sequence[tuple[Asked, str | None]]) -> Sequence[tuple[Asked, str | None]]:
        """The rules of a route, and those of all routes if none of its own stands for them."""
        if self._defaults and not any(asked.rule.override_defaults for asked, _ in rules):
            return [*rules, *((asked, None) for asked in self._defaults)]
        return rules

    def _quick(
        self, rules: Sequence[tuple[Asked, str | None]], scope: str, hidden_key: str
    ) -> list[_Quick] | None:
        """The rules of a route, and its defaults, where each is charged for every request and nothing but a key is asked for;
        nothing where one is not so."""
        if self._table.is_stored:
            return None
        quick: list[_Quick] = []
        for asked, name in self._all(rules):
            rule = asked.rule
            asks = rule.methods is not None or rule.per_method or rule.deduct_when is not None or asked.exempt is not None
            if asks or asked.limiter is None or not isinstance(asked.cost, int):
                return None
            part = scope if asked.scoped else None
            quick.append((asked.limiter, asked.key, name or hidden_key, part, asked.cost, rule))
        # Each that FastAPI has brought is taken out once.
        brought = [name for _, key, name, *_ in quick if key is None]
        wanted = {name for _, name in rules if name is not None}
        if not _is_plain(self._key_func):
            wanted.add(hidden_key)
        return quick if sorted(brought) == sorted(wanted) else None

    def _decide(
        self, request: HTTPConnection, rules: Sequence[tuple[Asked, Any]], scope: str | None
    ) -> list[tuple[str, str]]:
        charges = self._charges(request, rules, scope)
        return self._told(self._table.decide(charges)) if charges else []

    async def _adecide(
        self, request: HTTPConnection, rules: Sequence[tuple[Asked, Any]], scope: str | None
    ) -> list[tuple[str, str]]:
        if not self.enabled:
            return []
        settled = []
        method = _method(request)
        for asked, key in rules:
            methods = asked.rule.methods
            answers = await asked.settled(request) if asked.awaits and (methods is None or method in methods) else asked
            if answers is None:
                continue
            if asked.is_missing(key):
                key = asked.refuse_missing() if asked.alone is None else await asked.alone(request)
            settled.append((answers, key))
        charges = self._charges(request, settled, scope)
        return self._told(await self._table.adecide(charges)) if charges else []

    def _charges(
        self, request: HTTPConnection, rules: Sequence[tuple[Asked, Any]], scope: str | None
    ) -> list[Charge]:
        if not self.enabled:
            return []
        charges = []
        method = _method(request)
        for asked, key in rules:
            rule = asked.rule
            if rule.methods is not None and method not in rule.methods:
                continue
            if asked.exempt is not None and said(asked.exempt(request)):
                continue
            limiter = asked.limiter
            if limiter is None:
                text = asked.rates(request) if asked.rates is not None else None
                if not text:
                    continue
                limiter = self._table.limiter(rule.name, text)
            if asked.key is not None:
                key = asked.key(request)
            elif key is _MISSING:
                asked.refuse_missing()
            cost = asked.cost if isinstance(asked.cost, int) else asked.cost(request)
            parts = (key, scope if asked.scoped else None, method if rule.per_method else None)
            charges.append(Charge(rule, limiter, parts, cost))
        return charges

    def _told(self, decided: tuple[Decision, Charge, list[tuple[str, str]]]) -> list[tuple[str, str]]:
        decision, whose, fields = decided
        if not self._headers_enabled:
            fields = []
        if not decision.allowed:
            message = whose.rule.error_message
            raise RateLimitExceeded(decision, fields, message() if callable(message) else message)
        return fields


class Messages:
    """A limit of the messages of WebSockets, from ``Limiter.messages``."""

    def __init__(self, limiter: Limiter, asked: Asked) -> None:
        self._limiter = limiter
        self._asked = asked

    def check(self, websocket: WebSocket, cost: int = 1) -> Decision:
        """Whether one more message may come."""
        limiter, key = self._of(websocket)
        return limiter.check(key, cost)

    async def acheck(self, websocket: WebSocket, cost: int = 1) -> Decision:
        """The same, awaited: for ``store=`` a client of asyncio."""
        limiter, key = self._of(websocket)
        return await limiter.acheck(key, cost)

    def _of(self, websocket: WebSocket) -> tuple[limiters.Limiter, Any]:
        asked = self._asked
        limiter = asked.limiter
        if limiter is None:
            text = asked.rates(websocket) if asked.rates is not None else None
            if text is None:
                raise ValueError("the limit of messages is None")
            limiter = self._limiter._table.limiter(asked.rule.name, text)
        return limiter, None if asked.key is None else asked.key(websocket)


def _method(connection: HTTPConnection) -> str:
    return cast(str, connection.scope.get("method", "WEBSOCKET"))


def _lines(fields: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Header fields as Starlette keeps them: octets of Latin-1, names in small letters, as the engine writes them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


def _texts(lines: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lines]


def _set_fields(response: Response, fields: list[tuple[str, str]]) -> None:
    """Sets those fields that the response does not have."""
    _set_lines(response, _lines(fields))


def _set_lines(response: Response, lines: list[tuple[bytes, bytes]]) -> None:
    raw = response.raw_headers
    if raw:
        there = {name for name, _ in raw}
        lines = [line for line in lines if line[0] not in there]
    raw += lines


def _own_parameters(function: Callable[..., Any]) -> dict[type, str]:
    """The parameters of a route that are given the request and the response."""
    try:
        hints = get_type_hints(function)
    except Exception:  # a name that is not there at run time: FastAPI says so itself
        return {}
    parameters = inspect.signature(function).parameters
    # The hidden ones of another limiter too.
    hints |= {name: parameter.annotation for name, parameter in parameters.items() if name not in hints}
    return {kind: name for name, kind in hints.items() if kind in (Request, Response) and name in parameters}


def _with(signature: inspect.Signature, hidden: list[inspect.Parameter]) -> inspect.Signature:
    """The signature with more parameters, before ``**kwargs`` if it has that."""
    parameters = list(signature.parameters.values())
    rest = [parameters.pop()] if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD else []
    return signature.replace(parameters=[*parameters, *hidden, *rest])
