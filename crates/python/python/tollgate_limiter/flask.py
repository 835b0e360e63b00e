"""Limits of Flask's routes: ``Limiter(app, key_func=get_remote_address, default_limits=["200 per day", "50 per hour"])``.

``Limiter`` takes the arguments of Flask-Limiter in either order that it has had. By default rates are token buckets, as everywhere
here; ``strategy="fixed-window"`` counts as Flask-Limiter does.

Each endpoint has a count of its own, as Flask-Limiter has it, unless the limit is of the application or a ``shared_limit``. Limits of a
route take the place of those of its blueprint, these of those of the blueprints around it, and all of them of the defaults, unless they are
declared with ``override_defaults=False`` or are of other methods.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar, Union, cast

from flask import Blueprint, Flask, Request, Response, current_app, request
from werkzeug.exceptions import TooManyRequests

from . import _limiter as limiters
from ._engine import Core, Decision, ManualClock
from ._errors import StoreError
from ._functions import require_answers, said
from ._rules import Charge, Rates, Rule, Strategy, Table, refusal_fields, told
from ._types import Key, OnOutage

__all__ = ["Limiter", "RateLimitExceeded", "get_remote_address"]

P = ParamSpec("P")
R = TypeVar("R")


def get_remote_address() -> str | None:
    """The peer's address. Behind a proxy put werkzeug's ``ProxyFix`` around the application, with the number of proxies."""
    return request.remote_addr


def _name(function: Any) -> str:
    """What is limited, under a name that is the same in all processes; which endpoint it is of is part of the key."""
    if isinstance(function, Blueprint):
        return f"blueprint {function.name}"
    while isinstance(function, functools.partial):
        function = function.func
    # All views of classes are called the same; an object that is called has the name of its class.
    named = getattr(function, "view_class", function)
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{named.__module__}.{named.__qualname__}"


class RateLimitExceeded(TooManyRequests):
    """Status 429 with the wait in ``Retry-After``; ``@app.errorhandler(429)`` is given it, and has ``decision``."""

    decision: Decision

    def __init__(self, decision: Decision, fields: list[tuple[str, str]], message: str | None = None) -> None:
        super().__init__(message or decision.policy.split(" as ")[0])
        self.decision = decision
        if decision.outage is not None:
            # Of the server, and no fault of the client: nor is it true that there were too many requests.
            self.code = 503
            self.description = "Limits cannot be checked now."
        self._fields = refusal_fields(decision, fields)

    @property
    def retry_after_seconds(self) -> float | None:
        """See ``Decision.retry_after``."""
        return self.decision.retry_after

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), *self._fields]


@dataclass
class _Declared(Rule):
    """A rule, and what else its counts are divided by: the endpoint, a scope, both or neither."""

    per_endpoint: bool = True
    scope: Callable[[str], str] | None = None

    def __post_init__(self) -> None:
        functions = ("rates", "key_func", "cost", "exempt_when", "deduct_when", "error_message", "scope")
        require_answers(False, "Flask", **{name: getattr(self, name) for name in functions})


_Quick = tuple[limiters.Limiter, Union[Callable[[], Any], None], bool, int, Rule]
"""A limit that is charged for each request: of which limiter; what its key is, but for the address; whether it is of the endpoint; its cost;
the rule."""


@dataclass
class _Plan:
    """What a view's requests are asked, as of a version of the table: the rules of its own, and all of them if they are quick."""

    view: Any
    table: object
    own: frozenset[int]
    quick: list[_Quick] | None


class _Asked:
    """What a request has been asked about. It is kept at the request, as an application's context may be that of several."""

    __slots__ = ("begun", "checked", "fields", "later")

    def __init__(self) -> None:
        self.begun = False
        self.checked: set[int] = set()
        self.fields: list[tuple[str, str]] = []
        self.later: list[Charge] = []


class Limiter:
    """Limits of the routes of an application."""

    def __init__(
        self,
        *args: Any,
        app: Flask | None = None,
        key_func: Callable[[], Any] | None = None,
        default_limits: Rates | Sequence[Rates] | None = None,
        default_limits_per_method: bool = False,
        default_limits_exempt_when: Callable[[], bool] | None = None,
        default_limits_deduct_when: Callable[[Response], bool] | None = None,
        default_limits_cost: int | Callable[[], int] = 1,
        application_limits: Rates | Sequence[Rates] | None = None,
        headers_enabled: bool = True,
        dialect: str = "ietf",
        strategy: Strategy | None = None,
        storage_uri: str | None = None,
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
        for given in args:
            if isinstance(given, Flask) and app is None:
                app = given
            elif callable(given) and key_func is None:
                key_func = given
            else:
                raise TypeError(f"expected a Flask application and a key function, each once, and {given!r} was given")
        self._require_memory(storage_uri)
        require_answers(False, "Flask", key_func=key_func)
        self.enabled = enabled
        self._slot = f"_tollgate_{id(self)}"
        self._key_func = key_func or get_remote_address
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
        if self._table.is_awaited:
            raise TypeError("Flask calls what it asks: store= is a client of redis.Redis here, and not of redis.asyncio")
        # Before the keys of all counts.
        self._prefix = ""
        # The objects themselves: names are shared by views of different modules, classes, factories and decorators.
        self._exempt: set[Any] = set()
        self._blueprints: dict[Blueprint, list[_Declared]] = {}
        # By endpoint.
        self._plans: dict[str, _Plan] = {}
        self._of_defaults: dict[str, Any] = {
            "per_method": default_limits_per_method,
            "exempt_when": default_limits_exempt_when,
            "deduct_when": default_limits_deduct_when,
            "cost": default_limits_cost,
        }
        self._defaults = self._declare_all("default", default_limits, **self._of_defaults)
        self._application = self._declare_all("application", application_limits, per_endpoint=False)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Limits the requests of an application."""
        self._plans.clear()
        if self in app.extensions.setdefault("tollgate_limiter", []):
            return
        app.extensions["tollgate_limiter"].append(self)
        # With the application at hand, which is else a look through a proxy for each request.
        app.before_request(functools.partial(self._before, app))
        app.after_request(self._after)

    @staticmethod
    def _require_memory(storage_uri: str | None) -> None:
        if storage_uri not in (None, "", "memory://"):
            raise ValueError(
                f"limits are counted in this machine's memory (shared= for all of its processes), or by store=, a client, and not in {storage_uri!r}; "
                'for other storages use Flask-Limiter itself, and storage_uri="tollgate://" there'
            )

    def _declare_all(self, name: str, given: Rates | Sequence[Rates] | None, **options: Any) -> list[_Declared]:
        every = [given] if isinstance(given, str) or callable(given) else given or ()
        rules = [_Declared(rates, f"{name}-{index}", **options) for index, rates in enumerate(every)]
        for rule in rules:
            self._table.declare(rule)
        return rules

    def limit(
        self,
        limit_value: Rates,
        *,
        key_func: Callable[[], Any] | None = None,
        per_method: bool = False,
        methods: Iterable[str] | None = None,
        error_message: str | Callable[[], str] | None = None,
        exempt_when: Callable[[], bool] | None = None,
        override_defaults: bool = True,
        deduct_when: Callable[[Response], bool] | None = None,
        cost: int | Callable[[], int] = 1,
        scope: str | Callable[[str], str] | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Limits a route, below ``@app.route``; a function that a request calls; or the routes of a blueprint, and of those within it.

        Each endpoint has a count of its own. ``scope``, a text or a function of the endpoint's name, divides it further.
        """
        return self._decorator(limit_value, True, scope, key_func, per_method, methods, error_message, exempt_when,
                               override_defaults, deduct_when, cost)  # fmt: skip

    def shared_limit(
        self,
        limit_value: Rates,
        scope: str | Callable[[str], str],
        *,
        key_func: Callable[[], Any] | None = None,
        per_method: bool = False,
        methods: Iterable[str] | None = None,
        error_message: str | Callable[[], str] | None = None,
        exempt_when: Callable[[], bool] | None = None,
        override_defaults: bool = True,
        deduct_when: Callable[[Response], bool] | None = None,
        cost: int | Callable[[], int] = 1,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """One limit for all routes that it decorates, or for those of which ``scope``, a function of the endpoint's name, says the same."""
        return self._decorator(limit_value, False, scope, key_func, per_method, methods, error_message, exempt_when,
                               override_defaults, deduct_when, cost)  # fmt: skip

    def _decorator(
        self,
        limit_value: Rates,
        per_endpoint: bool,
        scope: str | Callable[[str], str] | None,
        key_func: Callable[[], Any] | None,
        per_method: bool,
        methods: Iterable[str] | None,
        error_message: str | Callable[[], str] | None,
        exempt_when: Callable[[], bool] | None,
        override_defaults: bool,
        deduct_when: Callable[[Response], bool] | None,
        cost: int | Callable[[], int],
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            name = _name(function)
            if not per_endpoint:
                name = "shared" if callable(scope) else f"shared {scope}"
            elif isinstance(scope, str):
                name = scope
            rule = _Declared(
                limit_value,
                name,
                key_func=key_func,
                per_method=per_method,
                methods=None if methods is None else frozenset(method.upper() for method in methods),
                cost=cost,
                exempt_when=exempt_when,
                deduct_when=deduct_when,
                override_defaults=override_defaults,
                error_message=error_message,
                per_endpoint=per_endpoint,
                scope=scope if callable(scope) else None,
            )
            self._table.declare(rule)
            if isinstance(function, Blueprint):
                self._blueprints.setdefault(function, []).append(rule)
                return cast("Callable[P, R]", function)
            return self._wrap(function, rule)

        return decorate

    def exempt(self, function: Any) -> Any:
        """Exempts from all limits a view, at every endpoint that it has, or a blueprint with those within it."""
        self._exempt.add(function)
        return function

    def check(self) -> None:
        """Checks the limits of the current request now, if that has not been done."""
        self._before(current_app._get_current_object())  # type: ignore[attr-defined]

    def reset(self) -> None:
        """Not offered: a table forgets a key, not all of them. Make a new ``Limiter`` for each test."""
        raise NotImplementedError("make a new Limiter, or advance its ManualClock")

    def _wrap(self, function: Callable[P, R], rule: _Declared) -> Callable[P, R]:
        if current_app and function in current_app.view_functions.values():
            raise RuntimeError(f"limit() must stand below @app.route: `{_name(function).rpartition('.')[2]}` is registered without it")
        rules = [*getattr(function, "__tollgate_rules__", ()), (self, rule)]
        is_async = inspect.iscoroutinefunction(function)

        @functools.wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            # Of a route that has been asked about already; any other function is limited when it is called.
            if self.enabled:
                of = self._request()
                asked = self._asked(of)
                if id(rule) not in asked.checked:
                    self._decide(of, asked, [rule])
            if is_async:
                return cast(R, current_app.ensure_sync(function)(*args, **kwargs))
            return function(*args, **kwargs)

        limited.__tollgate_rules__ = rules  # type: ignore[attr-defined]
        return limited

    @staticmethod
    def _request() -> Request:
        """The request itself: each look through Flask's proxies costs as much as a check."""
        return cast(Request, request._get_current_object())  # type: ignore[attr-defined]

    def _asked(self, of: Request) -> _Asked:
        asked: _Asked | None = of.__dict__.get(self._slot)
        if asked is None:
            asked = of.__dict__[self._slot] = _Asked()
        return asked

    def _before(self, app: Flask) -> None:
        of = self._request()
        asked = self._asked(of)
        if not self.enabled or asked.begun:
            return
        asked.begun = True
        endpoint = of.endpoint
        view = app.view_functions.get(endpoint or "")
        if view is None or endpoint == "static":
            return
        if not (self._blueprints or self._exempt):
            plan = self._plans.get(cast(str, endpoint))
            if plan is None or plan.view is not view or plan.table is not self._table.version:
                plan = self._plans[cast(str, endpoint)] = self._planned(view)
            if plan.quick is not None and (of.method != "OPTIONS" or not plan.own):
                asked.checked |= plan.own
                if plan.quick:
                    self._decide_quick(of, asked, plan.quick)
                return
        declared = getattr(view, "__tollgate_rules__", ())
        within: list[Any] = []
        if self._blueprints or self._exempt:
            # From the nearest outwards, under the names that they are registered by; an endpoint with a dot may be of none.
            known = app.blueprints
            within = [known[name] for name in of.blueprints if name in known]
        if self._exempt and self._is_exempt(view, within):
            # Nor are the decorators of the view asked.
            asked.checked.update(id(rule) for _, rule in declared)
            return
        own = [rule for limiter, rule in declared if limiter is self]
        asked.checked.update(map(id, own))
        if own and of.method == "OPTIONS" and getattr(of.url_rule, "provide_automatic_options", False):
            # Which Flask answers by itself; the view is not called.
            self._decide(of, asked, self._application)
            return
        levels = [own, *[self._blueprints.get(blueprint, []) for blueprint in within], self._defaults]
        rules, method, is_enough = [*self._application], of.method, False
        for level in levels:
            for rule in level:
                if rule.methods is None or method in rule.methods:
                    rules.append(rule)
                    is_enough |= rule.override_defaults
            if is_enough:
                break
        self._decide(of, asked, rules)

    def _planned(self, view: Any) -> _Plan:
        """What each request of an endpoint is asked, of an application without limits or exemptions of blueprints and views."""
        declared = getattr(view, "__tollgate_rules__", ())
        own = [rule for limiter, rule in declared if limiter is self]
        rules = [*self._application, *own]
        if not any(rule.override_defaults for rule in own):
            rules += self._defaults
        quick: list[_Quick] = []
        is_quick = True
        for rule in rules:
            asks = rule.methods is not None or rule.per_method or rule.exempt_when is not None or rule.deduct_when is not None
            if asks or rule.scope is not None or not isinstance(rule.rates, str) or not isinstance(rule.cost, int) or self._table.is_stored:
                is_quick = False
                break
            if rule.rates:
                key_func = rule.key_func or self._key_func
                asked = None if key_func is get_remote_address else key_func
                quick.append((self._table.limiter(rule.name, rule.rates), asked, rule.per_endpoint, rule.cost, rule))
        return _Plan(view, self._table.version, frozenset(map(id, own)), quick if is_quick else None)

    def _decide_quick(self, of: Request, asked: _Asked, quick: list[_Quick]) -> None:
        """``_decide``, of limits that are charged for each request, and are asked for nothing but a key."""
        endpoint, prefix = of.endpoint, self._prefix
        items: list[tuple[Core, Key, int]] = []
        for limiter, key_func, per_endpoint, cost, _ in quick:
            # What most have, without a look through a proxy.
            parts: Key = (of.remote_addr if key_func is None else key_func(), endpoint if per_endpoint else None, None)
            items.append((limiter, (prefix, parts) if prefix else parts, cost))
        decision, index, fields = Core.check_all(items, self._table.dialect)
        if decision.allowed:
            asked.fields = fields
            return
        limiter, _, _, cost, rule = quick[index]
        self._refuse(asked, *told(decision, Charge(rule, limiter, items[index][1], cost), fields))

    def _is_exempt(self, view: Any, within: list[Any]) -> bool:
        if not self._exempt.isdisjoint(within):
            return True
        while view is not None:
            if view in self._exempt:
                return True
            # What was exempt stays so under a decorator that says whom it wraps.
            view = getattr(view, "__wrapped__", None)
        return False

    def _decide(self, of: Request, asked: _Asked, rules: list[_Declared]) -> None:
        charges = []
        endpoint = of.endpoint
        for rule in rules:
            if rule.methods is not None and of.method not in rule.methods:
                continue
            if rule.exempt_when is not None and said(rule.exempt_when()):
                continue
            text = rule.rates if isinstance(rule.rates, str) else rule.rates()
            if not text:
                continue
            key_func = rule.key_func or self._key_func
            # What most have, without a look through a proxy.
            key = of.remote_addr if key_func is get_remote_address else key_func()
            where: Key = endpoint if rule.per_endpoint else None
            if rule.scope is not None:
                where = (where, rule.scope(endpoint or ""))
            parts: Key = (key, where, of.method if rule.per_method else None)
            if self._prefix:
                parts = (self._prefix, parts)
            cost = rule.cost if isinstance(rule.cost, int) else rule.cost()
            charges.append(Charge(rule, self._table.limiter(rule.name, text), parts, cost))
        if not charges:
            return
        decision, whose, fields = self._table.decide(charges)
        asked.fields = fields
        if decision.allowed:
            asked.later += [charge for charge in charges if charge.rule.deduct_when is not None]
            return
        self._refuse(asked, decision, whose, fields)

    def _refuse(self, asked: _Asked, decision: Decision, whose: Charge, fields: list[tuple[str, str]]) -> NoReturn:
        # The response has them from the exception, also if a handler makes another one.
        asked.fields = refusal_fields(decision, fields) if self._headers_enabled else []
        message = whose.rule.error_message
        raise RateLimitExceeded(
            decision, fields if self._headers_enabled else [], message() if callable(message) else message
        )

    def _after(self, response: Response) -> Response:
        asked = self._asked(self._request())
        for charge in asked.later:
            deduct_when = charge.rule.deduct_when
            if deduct_when is not None and said(deduct_when(response)):
                try:
                    charge.limiter.charge(charge.key, charge.cost)
                except StoreError:
                    # The response is there, and goes; that the store did not answer has been said.
                    pass
        if self._headers_enabled and asked.fields:
            headers = response.headers
            there = {name.lower() for name, _ in headers}
            for name, value in asked.fields:
                if name.lower() not in there:
                    headers.add(name, value)
        return response
