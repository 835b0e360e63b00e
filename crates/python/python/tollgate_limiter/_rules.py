"""What the decorators of the frameworks have in common: limits that are declared one after the other, over one table."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union

from ._engine import Core, Decision, ManualClock
from ._limiter import Limiter
from ._log import REFUSALS

if TYPE_CHECKING:
    from ._types import Key

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


def split_rates(text: str, strategy: str | None) -> tuple[str, ...]:
    """The rates of a text, by a strategy where they do not name an algorithm."""
    parts = [part.strip() for part in re.split(r"[,;|\n]", text) if part.strip()]
    suffix = "" if strategy is None else STRATEGIES[strategy]
    return tuple(part if " as " in part.lower() else part + suffix for part in parts)


@dataclass
class Rule:
    """A limit as it was declared."""

    rates: Rates
    name: str
    key_func: Callable[..., Any] | None = None
    per_method: bool = False
    methods: frozenset[str] | None = None
    cost: int | Callable[..., int] = 1
    exempt_when: Callable[..., bool] | None = None
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
    ) -> None:
        if strategy is not None and strategy not in STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, and {strategy!r} was given")
        # Made now, before any fork; nobody is limited by this rate.
        self._base = Limiter("1/second", name="", shared=shared, capacity=capacity, on_full=on_full, clock=clock)
        self._strategy = strategy
        self._dialect = dialect
        self._prepared: dict[tuple[str, str], Limiter] = {}

    def limiter(self, name: str, text: str) -> Limiter:
        """The limiter of these rates under a name; kept, as far as there are not too many different ones."""
        limiter = self._prepared.get((name, text))
        if limiter is None:
            limiter = self._base.prepare(name, split_rates(text, self._strategy))
            if len(self._prepared) >= _MOST_TEXTS:
                self._prepared.pop(next(iter(self._prepared)), None)
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
                    REFUSALS.tell(charge.rule.name, charge.key, peeked)
                    return peeked, charge, []
        now: list[tuple[Core, Key, int]] = []
        whose = []
        for charge in charges:
            cost = charge.cost if charge.rule.deduct_when is None else 0
            now.append((charge.limiter, charge.key, cost))
            whose.append(charge)
        decision, index, fields = Core.check_all(now, self._dialect)
        if not decision.allowed:
            REFUSALS.tell(whose[index].rule.name, whose[index].key, decision)
        return decision, whose[index], fields


def retry_seconds(decision: Decision) -> int | None:
    """Whole seconds to wait, at least 1; ``None`` if waiting is of no use."""
    return None if decision.retry_after is None else max(1, math.ceil(decision.retry_after))


def refusal_fields(decision: Decision, fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The header fields of a refusal."""
    retry = retry_seconds(decision)
    told = [] if retry is None else [("Retry-After", str(retry))]
    return [*told, ("Cache-Control", "no-store"), *fields]
