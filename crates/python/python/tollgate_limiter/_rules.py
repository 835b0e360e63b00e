"""What the decorators of the frameworks have in common: limits that are declared one after the other, over one table."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union

from ._engine import Core, Decision, ManualClock
from ._limiter import Limiter
from ._log import REFUSALS, forget_oldest
from ._store import StoredLimiter

if TYPE_CHECKING:
    from ._types import Key, OnOutage

Rates = Union[str, Callable[..., "str | None"]]
"""Rates with ``,``, ``;`` or ``|`` between them, or a function that answers such a text, or ``None`` for no limit."""

STRATEGIES = {
    "token-bucket": " as token-bucket",
    "fixed-window": " as fixed-window first-hit refused-counted",
    "moving-window": " as sliding-log",
    "sliding-window-counter": " as sliding-window",
}
"""The strategies of ``limits`` under its names, and what they are here: windows begin with the first request, and the fixed
window counts refused requests too."""

Strategy = Literal["token-bucket", "fixed-window", "moving-window", "sliding-window-counter"]

_MOST_TEXTS = 4096
# Of a store, with room for the number of a limit.
_MOST_NAME = 94


def split_rates(text: str, strategy: str | None) -> tuple[str, ...]:
    """The rates of a text, by a strategy where they do not name an algorithm."""
    parts = [part.strip() for part in re.split(r"[,;|\n]", text) if part.strip()]
    suffix = "" if strategy is None else STRATEGIES[strategy]
    return tuple(part if " as " in part.lower() else part + suffix for part in parts)


@dataclass
class Rule:
    """A limit as it was declared."""

    # Where a decision is awaited, these functions may be async.
    rates: str | Callable[..., Any]
    name: str
    key_func: Callable[..., Any] | None = None
    per_method: bool = False
    methods: frozenset[str] | None = None
    cost: int | Callable[..., Any] = 1
    exempt_when: Callable[..., Any] | None = None
    deduct_when: Callable[[Any], bool] | None = None
    override_defaults: bool = True
    error_message: str | Callable[[], str] | None = None


@dataclass
class Charge:
    """A rule that is asked about one request."""

    rule: Rule
    limiter: Limiter
    key: Key
    cost: int


class Table:
    """One table for all limits of a program."""

    def __init__(
        self,
        *,
        shared: str | os.PathLike[str] | None = None,
        capacity: int = 65_536,
        on_full: Literal["evict", "refuse", "admit"] = "evict",
        clock: Literal["system", "python"] | ManualClock | None = None,
        strategy: Strategy | None = None,
        dialect: str = "ietf",
        store: Any = None,
        secret: str | bytes | None = None,
        on_outage: OnOutage = "closed",
        nodes: int | None = None,
    ) -> None:
        self._prepared: dict[tuple[str, str], Limiter] = {}
        self.go_by(strategy)
        # Made now, before any fork; nobody is limited by this rate.
        self._base = Limiter(
            "1/second",
            name="" if store is None else "base",
            shared=shared,
            capacity=capacity,
            on_full=on_full,
            clock=clock,
            store=store,
            secret=secret,
            on_outage=on_outage,
            nodes=nodes,
        )
        self._stored = self._base if isinstance(self._base, StoredLimiter) else None
        self.dialect = dialect
        # Which says now what is wrong with a dialect, and takes nothing.
        Core.check_all([(self._base, None, 0)], dialect)

    def go_by(self, strategy: Strategy | None) -> None:
        """How rates count that name no algorithm."""
        if strategy is not None and strategy not in STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, and {strategy!r} was given")
        self._strategy = strategy
        # Limits that were declared before are made anew.
        self._prepared.clear()
        self.version = object()
        """Another one whenever limiters are made anew."""

    @property
    def is_stored(self) -> bool:
        """Whether limits are counted on a server."""
        return self._stored is not None

    @property
    def is_awaited(self) -> bool:
        """Whether decisions are awaited: those of a server, by a client of asyncio."""
        return self._stored is not None and self._stored._store.is_async

    def limiter(self, name: str, text: str) -> Limiter:
        """The limiter of these rates under a name; kept, as far as there are not too many different ones."""
        limiter = self._prepared.get((name, text))
        if limiter is None:
            limiter = self._base.prepare(_short(name) if self.is_stored else name, split_rates(text, self._strategy))
            if len(self._prepared) >= _MOST_TEXTS:
                forget_oldest(self._prepared)
            self._prepared[name, text] = limiter
        return limiter

    def declare(self, rule: Rule) -> Rule:
        """A rule whose text, if it has one, can be read: what is wrong is said where it is declared."""
        if isinstance(rule.rates, str):
            self.limiter(rule.name, rule.rates)
        return rule

    def decide(self, charges: list[Charge]) -> tuple[Decision, Charge, list[tuple[str, str]]]:
        """All that is charged now, or nothing of it; the decision, whose it is, and the header fields.

        What is charged after the response is asked about first, and takes nothing.
        """
        for charge in charges:
            if charge.rule.deduct_when is not None:
                peeked = charge.limiter.peek(charge.key, charge.cost)
                if not peeked.allowed:
                    return told(peeked, charge, [])
        items = _items(charges)
        if self._stored is None:
            decision, index, fields = Core.check_all(items, self.dialect)
        else:
            decision, index, fields = self._stored.check_together(items, self.dialect)
        return told(decision, charges[index], fields)

    async def adecide(self, charges: list[Charge]) -> tuple[Decision, Charge, list[tuple[str, str]]]:
        """The same, awaited if it is to be."""
        if self._stored is None:
            return self.decide(charges)
        for charge in charges:
            if charge.rule.deduct_when is not None:
                peeked = await charge.limiter.apeek(charge.key, charge.cost)
                if not peeked.allowed:
                    return told(peeked, charge, [])
        decision, index, fields = await self._stored.acheck_together(_items(charges), self.dialect)
        return told(decision, charges[index], fields)


def _items(charges: list[Charge]) -> list[tuple[Core, Key, int]]:
    return [
        (charge.limiter, charge.key, charge.cost if charge.rule.deduct_when is None else 0) for charge in charges
    ]


def told(
    decision: Decision, charge: Charge, fields: list[tuple[str, str]]
) -> tuple[Decision, Charge, list[tuple[str, str]]]:
    if not decision.allowed:
        REFUSALS.tell(charge.rule.name, charge.key, decision)
    return decision, charge, fields


def _short(name: str) -> str:
    """A name that a store takes: of one that is too long the beginning, and a hash of all of it."""
    text = name.encode()
    if len(text) <= _MOST_NAME:
        return name
    return f"{text[:60].decode(errors='ignore')}~{hashlib.sha256(text).hexdigest()[:32]}"


def retry_seconds(decision: Decision) -> int | None:
    """Whole seconds to wait, at least 1; ``None`` if waiting is of no use."""
    return None if decision.retry_after is None else max(1, math.ceil(decision.retry_after))


def refusal_fields(decision: Decision, fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The header fields of a refusal."""
    retry = retry_seconds(decision)
    told = [] if retry is None else [("Retry-After", str(retry))]
    return [*told, ("Cache-Control", "no-store"), *fields]
