"""Limits of Django: a middleware, a decorator of views, and a throttle of Django REST framework.

All is set in ``settings.TOLLGATE``, a mapping whose keys are the arguments of ``tollgate_limiter.policies`` in capitals (``LIMITS``, ``KEY``,
``EXEMPT``, ``POLICIES``, ``CLIENT``, ``ANSWER``, ``CAPACITY``, ``ON_FULL``, ``SHARED``, ``ON_MISMATCH``, ``CLOCK``), and ``ENABLED``,
``HEADERS`` (whether decorated views tell how their limits stand) and ``STRATEGY`` (how decorators and throttles count). With ``STORE``, a client of
redis-py or a function that makes one, ``SECRET``, ``ON_OUTAGE`` and ``NODES`` those count on a server: see ``Limiter``. Views that are ``async def`` want a client
of asyncio, and others want none of it.

Views and throttles share one table. It is made by the middleware, or when the application ``"tollgate_limiter.django.TollgateConfig"`` of
``INSTALLED_APPS`` is ready: so before workers are forked, where the master loads the program (``gunicorn --preload``). Workers that load it
by themselves count together under a name, ``SHARED``.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject

from ._engine import Decision, Guard, Policies
from ._functions import Names, require_answers, said
from ._limiter import _sleep, shared_path
from ._log import REFUSALS
from ._middleware import policies
from ._rules import Charge, Rule, Table, refusal_fields, retry_seconds

__all__ = ["RateLimitMiddleware", "Ratelimited", "TollgateConfig", "client_address", "limit", "ratelimit"]

V = TypeVar("V", bound=Callable[..., Any])
Rates = Any
"""A rate, several with commas between them, or a function of the request that answers such a text, or ``None`` for no limit."""

_OF_POLICIES = {"LIMITS", "KEY", "EXEMPT", "POLICIES", "CLIENT", "ANSWER", "CAPACITY", "ON_FULL", "SHARED", "ON_MISMATCH", "CLOCK"}
_OF_VIEWS = {"ENABLED", "HEADERS", "STRATEGY", "STORE", "SECRET", "ON_OUTAGE", "NODES"}
_OF_BOTH = ("CAPACITY", "ON_FULL", "CLOCK")


def _settings() -> dict[str, Any]:
    """The settings, which are looked at when they are first read."""
    if _STATE.given is None:
        _STATE.given = _read()
    return _STATE.given


def _read() -> dict[str, Any]:
    given = getattr(settings, "TOLLGATE", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f'settings.TOLLGATE is a mapping, such as {{"LIMITS": "100/minute"}}, and {given!r} was given')
    unknown = sorted(set(given) - _OF_POLICIES - _OF_VIEWS)
    if unknown:
        known = ", ".join(sorted(_OF_POLICIES | _OF_VIEWS))
        raise ImproperlyConfigured(f"settings.TOLLGATE knows {known}, and {unknown[0]!r} was given")
    return dict(given)


class _State:
    """What is made of the settings: once, and again when a test has changed them."""

    def __init__(self) -> None:
        self._table: Table | None = None
        self._client: Policies | None = None
        self.given: dict[str, Any] | None = None
        self._lock = threading.Lock()

    def forget(self, *, setting: str, **more: Any) -> None:
        if setting == "TOLLGATE":
            self._table = self._client = self.given = None

    def table(self) -> Table:
        table = self._table
        if table is None:
            # The first requests may come at once, and are to be counted in one table.
            with self._lock:
                table = self._table
                if table is None:
                    table = self._table = self._made()
        return table

    def _made(self) -> Table:
        given = _settings()
        options: dict[str, Any] = {name.lower(): given[name] for name in _OF_BOTH if name in given}
        shared = given.get("SHARED")
        if shared is not None:
            # Beside that of the policies, which has other buckets.
            shared = shared_path(shared) + ".views"
        options |= {name.lower(): given[name] for name in ("STORE", "SECRET", "ON_OUTAGE", "NODES") if name in given}
        if inspect.isroutine(options.get("store")):
            options["store"] = options["store"]()
        return Table(shared=shared, strategy=given.get("STRATEGY"), **options)

    def client(self) -> Policies | None:
        """What finds the client's address behind proxies; nothing if the peer is the client."""
        given = _settings().get("CLIENT")
        if given is not None and self._client is None:
            self._client = policies("unlimited", client=given, capacity=1)
        return self._client


_STATE = _State()
setting_changed.connect(_STATE.forget)


class TollgateConfig(AppConfig):  # type: ignore[misc]
    """For ``INSTALLED_APPS``: makes the table of views and throttles when the program is loaded."""

    name = "tollgate_limiter.django"
    label = "tollgate_limiter"

    def ready(self) -> None:
        _STATE.table()


def _view_of(request: HttpRequest) -> dict[str, Any]:
    """What the decision looks at: the scope of ASGI, or the environ."""
    scope = getattr(request, "scope", None)
    if scope is None:
        return cast("dict[str, Any]", request.META)
    query = scope.get("query_string")
    # Django's AsyncClient has text there, against ASGI.
    return {**scope, "query_string": query.encode("latin-1")} if isinstance(query, str) else cast("dict[str, Any]", scope)


def client_address(request: HttpRequest) -> str | None:
    """The address of the client: the peer's, or what ``settings.TOLLGATE["CLIENT"]`` says. None for a socket of Unix."""
    finder = _STATE.client()
    if finder is not None:
        return finder.client(_view_of(request))
    return request.META.get("REMOTE_ADDR") or None


class RateLimitMiddleware:
    """All requests behind the policies of ``settings.TOLLGATE``, for WSGI and ASGI, sync and async."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[..., Any]) -> None:
        given = _settings()
        self._get_response = get_response
        self._enabled = given.get("ENABLED", True)
        # Before any fork.
        _STATE.table()
        options = {name.lower(): value for name, value in given.items() if name in _OF_POLICIES}
        if "LIMITS" not in given and "POLICIES" not in given:
            raise ImproperlyConfigured('RateLimitMiddleware wants limits: settings.TOLLGATE = {"LIMITS": "100/minute"}')
        self.policies = policies(**options)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self._is_async:
            return self._acall(request)
        if not self._enabled:
            return self._get_response(request)
        decided = self.policies.decide(_view_of(request))
        if not isinstance(decided, Guard):
            return _refusal(*decided)
        try:
            wait = decided.wait
            while wait > 0:
                time.sleep(wait)
                wait = decided.turn()
        except BaseException:
            decided.withdraw()
            raise
        try:
            response = self._get_response(request)
        except BaseException:
            decided.end()
            raise
        return _told(response, decided)

    async def _acall(self, request: HttpRequest) -> Any:
        if not self._enabled:
            return await self._get_response(request)
        decided = self.policies.decide(_view_of(request))
        if not isinstance(decided, Guard):
            return _refusal(*decided)
        try:
            wait = decided.wait
            while wait > 0:
                await _sleep(wait)
                wait = decided.turn()
        except BaseException:
            decided.withdraw()
            raise
        try:
            response = await self._get_response(request)
        except BaseException:
            decided.end()
            raise
        return _told(response, decided)


def _refusal(status: int, fields: list[tuple[str, str]], body: bytes) -> HttpResponse:
    response = HttpResponse(body, status=status)
    del response.headers["Content-Type"]
    _tell(response, fields)
    return response


def _tell(response: HttpResponseBase, fields: Iterable[tuple[str, str]]) -> None:
    own = {name.lower() for name in response.headers}
    for name, value in fields:
        if name.lower() in own:
            continue
        before = response.headers.get(name)
        response.headers[name] = value if before is None else f"{before}, {value}"


def _told(response: HttpResponseBase, guard: Guard) -> HttpResponseBase:
    _tell(response, guard.fields(response.status_code))
    # A place among the requests in flight is free once the response has been sent.
    response._resource_closers.append(guard.end)
    return response


class Ratelimited(HttpResponse):  # type: ignore[misc]
    """The refusal of a decorated view: 429 with ``Retry-After``, or 503 in an outage; ``decision`` has the figures."""

    status_code = 429

    def __init__(self, decision: Decision, fields: Iterable[tuple[str, str]]) -> None:
        retry = retry_seconds(decision)
        when = "" if retry is None else f" Try again in {retry} s."
        what = "Too many requests" if decision.outage is None else "Not available"
        super().__init__(f"{what}.{when}\n", content_type="text/plain; charset=utf-8")
        if decision.outage is not None:
            self.status_code = 503
        self.decision = decision
        _tell(self, refusal_fields(decision, fields))


def _user(request: HttpRequest) -> Any:
    return _known(getattr(request, "user", None))


def _known(user: Any) -> Any:
    return user.pk if user is not None and user.is_authenticated else None


async def _auser(request: HttpRequest) -> Any:
    """Who is known, without a look at the database from the event loop."""
    if not isinstance(request.__dict__.get("user"), SimpleLazyObject):
        return _user(request)
    if hasattr(request, "auser"):
        return _known(await request.auser())
    # Django before 5.
    return await sync_to_async(_user)(request)


async def _key(key: Any, request: HttpRequest, group: str, is_async: bool) -> Any:
    if callable(key):
        answer = key(request) if len(inspect.signature(key).parameters) == 1 else key(group, request)
        return await _answer(answer, is_async)
    if key == "ip":
        return client_address(request)
    if key in ("user", "user_or_ip"):
        user = await _auser(request) if is_async else _user(request)
        if user is not None:
            return ("user", str(user))
        return client_address(request) if key == "user_or_ip" else None
    kind, _, name = str(key).partition(":")
    if kind == "header" and name:
        return request.headers.get(name)
    if kind in ("get", "post") and name:
        return (request.GET if kind == "get" else request.POST).get(name)
    raise ImproperlyConfigured(
        'key is "ip", "user", "user_or_ip", "header:NAME", "get:NAME", "post:NAME" or a function of the request, '
        f"and {key!r} was given"
    )


Answered = tuple["HttpResponse | None", list[tuple[str, str]]]


async def _answer(answer: Any, is_async: bool) -> Any:
    return await answer if is_async and inspect.isawaitable(answer) else said(answer)


class _Limited:
    """What the decorators of one view have declared: all of it is decided together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rules: list[tuple[Rule, Any, bool]] = []
        # A view that is made for one request is to be gone with it.
        self.view: Callable[[], Any] = lambda: None

    def decide(self, request: HttpRequest) -> Answered:
        charging = self._charges(request, is_async=False)
        try:
            # Nothing in it waits, if it is not async.
            charging.send(None)
        except StopIteration as end:
            charges, blocks = end.value
        return self._told(request, blocks, _STATE.table().decide(charges)) if charges else (None, [])

    async def adecide(self, request: HttpRequest) -> Answered:
        charges, blocks = await self._charges(request, is_async=True)
        return self._told(request, blocks, await _STATE.table().adecide(charges)) if charges else (None, [])

    async def _charges(self, request: HttpRequest, is_async: bool) -> tuple[list[Charge], dict[int, bool]]:
        charges: list[Charge] = []
        blocks: dict[int, bool] = {}
        if not _settings().get("ENABLED", True):
            return charges, blocks
        table = _STATE.table()
        for rule, key, block in self.rules:
            if rule.methods is not None and request.method not in rule.methods:
                continue
            if rule.exempt_when is not None and await _answer(rule.exempt_when(request), is_async):
                continue
            text = rule.rates if isinstance(rule.rates, str) else await _answer(rule.rates(request), is_async)
            if not text:
                continue
            cost = rule.cost if isinstance(rule.cost, int) else await _answer(rule.cost(request), is_async)
            value = await _key(key, request, rule.name, is_async)
            parts = (value, request.method if rule.per_method else None)
            charges.append(Charge(rule, table.limiter(rule.name, text), parts, cost))
            blocks[id(rule)] = block
        return charges, blocks

    def _told(
        self,
        request: HttpRequest,
        blocks: dict[int, bool],
        decided: tuple[Decision, Charge, list[tuple[str, str]]],
    ) -> Answered:
        decision, whose, fields = decided
        request.ratelimit = decision
        request.limited = not decision.allowed
        fields = fields if _settings().get("HEADERS", True) else []
        if decision.allowed or not blocks[id(whose.rule)]:
            return None, fields
        return Ratelimited(decision, fields), fields


_NAMES = Names()


def _owner(view: Any) -> Any:
    """The object whose method it is: ``method_decorator`` decorates a partial of one, anew for each request."""
    return getattr(view.func if isinstance(view, functools.partial) else view, "__self__", None)


def _is_dummy(view: Any) -> bool:
    """Whether it is what ``method_decorator`` tries decorators on, of which nothing can be said."""
    return bool(view.__module__ == method_decorator.__module__)


def _is_async(view: Any) -> bool:
    # ``View.dispatch`` answers what the method does.
    return iscoroutinefunction(view) or (view.__name__ == "dispatch" and getattr(_owner(view), "view_is_async", False))


def _is_within(inner: Any, view: Any) -> bool:
    """Whether the view calls the other, through decorators that are no limits."""
    while view is not None:
        if view is inner:
            return True
        view = getattr(view, "__wrapped__", None)
    return False


def _name_of(view: Any, what: str) -> str:
    """What a view is counted as: its class, where there is one, since all of ``View.dispatch`` are one function."""
    of_class = getattr(view, "view_class", None)
    if of_class is not None:
        return _NAMES.of(of_class)
    owner = _owner(view)
    # Limits of one method by several of method_decorator do not know of each other.
    return _NAMES.of(view) if owner is None else f"{_NAMES.of(type(owner))}.{view.__name__} {what}"


def ratelimit(
    key: Any = "user_or_ip",
    rate: Rates = None,
    *,
    method: str | Iterable[str] | None = None,
    group: str | None = None,
    block: bool = True,
    cost: int | Callable[[HttpRequest], int | Awaitable[int]] = 1,
    exempt_when: Callable[[HttpRequest], bool | Awaitable[bool]] | None = None,
    per_method: bool = False,
) -> Callable[[V], V]:
    """Limits a view, sync or async: ``@ratelimit(key="user_or_ip", rate="5/m", method="POST")``.

    ``key``
        ``"ip"``, ``"user"`` (all who are not known count as one), ``"user_or_ip"``, ``"header:NAME"``, ``"get:NAME"``, ``"post:NAME"``, or a
        function of the request, or of group and request.
    ``group``
        Views of one group count together; by default each is one by itself: each function, and each class of views.
    ``block``
        Whether a request that is refused is answered with 429 (``Ratelimited``). If not, the view looks at ``request.limited``.

    Functions may be async if the view is. ``request.ratelimit`` is the ``Decision``. Several of these on one view are decided together: all admit, or none is charged.
    """
    if rate is None:
        raise TypeError('ratelimit() wants rate=, such as "5/minute"')

    def decorate(view: V) -> V:
        limited: _Limited | None = getattr(view, "__tollgate_limited__", None)
        if limited is not None and not _is_within(limited.view(), view):
            # Django copies what a method has to the view that is made of it, where it is not what is called.
            limited = None
        is_async = _is_async(view if limited is None else limited.view())
        if not _is_dummy(view):
            require_answers(is_async, f"{view!r}", key=key, rate=rate, cost=cost, exempt_when=exempt_when)
        methods = None
        if method is not None:
            methods = frozenset(name.upper() for name in ([method] if isinstance(method, str) else method))
        own = limited or _Limited(_name_of(view, f"{key if isinstance(key, str) else ''} {sorted(methods or ())}"))
        which = f"{own.name} {len(own.rules) + 1}" if own.rules else own.name
        rule = Rule(
            rate,
            group or which,
            methods=methods,
            cost=cost,
            exempt_when=exempt_when,
            per_method=per_method,
        )
        if isinstance(rate, str):
            # What is wrong is said where it is declared; the table may not be there yet.
            _readable(rate)
        own.rules.append((rule, key, block))
        if limited is not None:
            return view
        inner: Any = view

        def request_of(args: tuple[Any, ...]) -> HttpRequest:
            # A method of a class has itself before.
            found = next((value for value in args[:2] if isinstance(value, HttpRequest) or hasattr(value, "META")), None)
            if found is None:
                raise TypeError(f"`{inner.__name__}` was called without a request: it is limited as a view is; use method_decorator?")
            return found

        if is_async:

            async def limited_async(*args: Any, **kwargs: Any) -> Any:
                refusal, fields = await own.adecide(request_of(args))
                if refusal is not None:
                    return refusal
                response = await inner(*args, **kwargs)
                _tell(response, fields)
                return response

            wrapper: Any = functools.wraps(inner)(limited_async)
        else:

            def limited_sync(*args: Any, **kwargs: Any) -> Any:
                refusal, fields = own.decide(request_of(args))
                if refusal is not None:
                    return refusal
                response = inner(*args, **kwargs)
                _tell(response, fields)
                return response

            wrapper = functools.wraps(inner)(limited_sync)
        wrapper.__tollgate_limited__ = own
        own.view = weakref.ref(wrapper)
        return cast(V, wrapper)

    return decorate


def limit(rate: Rates, key: Any = "user_or_ip", **options: Any) -> Callable[[V], V]:
    """``ratelimit`` with its arguments in the order of the other frameworks: ``@limit("5/minute")``."""
    return ratelimit(key, rate, **options)


_READ: Table | None = None


def _readable(rate: str) -> None:
    """Raises what is wrong with a text that is no rate."""
    global _READ
    if _READ is None:
        _READ = Table(capacity=1)
    _READ.limiter("", rate)


def __getattr__(name: str) -> Any:
    # Only for those who have Django REST framework.
    if name == "Throttle":
        return _throttle()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _throttle() -> Any:
    try:
        from rest_framework.settings import api_settings
        from rest_framework.throttling import BaseThrottle
    except ImportError as error:
        raise ImportError("tollgate_limiter.django.Throttle is of Django REST framework, which is not installed") from error

    class Throttle(BaseThrottle):  # type: ignore[misc]
        """A throttle of Django REST framework, exact under requests that run at once: in ``DEFAULT_THROTTLE_CLASSES``, with
        ``DEFAULT_THROTTLE_RATES = {"default": "100/hour, 10/minute"}``; or a class derived from it with ``rate`` or ``scope``.

        Who is known counts as a user, and who is not by the address (``get_ident``, with ``NUM_PROXIES``). Another key: ``get_key``.
        """

        scope = "default"
        rate: str | None = None

        def get_rate(self, request: Any, view: Any) -> str | None:
            """The rates for this request, or None for no limit."""
            if self.rate is not None:
                return self.rate
            scope = getattr(view, "throttle_scope", None) or self.scope
            rates = api_settings.DEFAULT_THROTTLE_RATES or {}
            if scope not in rates:
                raise ImproperlyConfigured(f"DEFAULT_THROTTLE_RATES has no rate for the scope {scope!r}, and {type(self).__name__} no rate")
            return cast("str | None", rates[scope])

        def get_key(self, request: Any, view: Any) -> Any:
            """Who is counted."""
            user = _user(request)
            return ("ip", self.get_ident(request)) if user is None else ("user", str(user))

        def get_cost(self, request: Any, view: Any) -> int:
            """What the request costs."""
            return 1

        def allow_request(self, request: Any, view: Any) -> bool:
            self.decision: Decision | None = None
            rate = self.get_rate(request, view) if _settings().get("ENABLED", True) else None
            if rate is None:
                return True
            scope = getattr(view, "throttle_scope", None) or self.scope
            limiter = _STATE.table().limiter(f"throttle {scope}", rate)
            key = self.get_key(request, view)
            self.decision = limiter.check(key, self.get_cost(request, view))
            if not self.decision.allowed:
                REFUSALS.tell(limiter.name, key, self.decision)
            return self.decision.allowed

        def wait(self) -> float | None:
            return None if self.decision is None else self.decision.retry_after

    Throttle.__module__ = __name__
    Throttle.__qualname__ = "Throttle"
    return Throttle
