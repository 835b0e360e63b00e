"""Logging that does not flood: of each key the first refusal in a minute, and how many more there were."""

from __future__ import annotations

import logging
import time
from typing import Any

from ._engine import Decision

LOGGER = logging.getLogger("tollgate")

_EVERY = 60.0
_MOST_KEYS = 1024


def forget_oldest(kept: dict[Any, Any]) -> None:
    """Makes room for one more. Other threads may change it meanwhile, which iterating does not survive: a list is made at once."""
    for oldest in list(kept)[:1]:
        kept.pop(oldest, None)


class Refusals:
    """What is said of refusals, at the level INFO. Keys beyond a number are forgotten, the oldest first."""

    def __init__(self) -> None:
        self._seen: dict[Any, tuple[float, int]] = {}

    def tell(self, name: str, key: Any, decision: Decision) -> None:
        """A request that was refused."""
        if not LOGGER.isEnabledFor(logging.INFO):
            return
        now, place = time.monotonic(), (name, key if isinstance(key, (str, bytes, int, tuple, type(None))) else repr(key))
        try:
            since, more = self._seen.pop(place, (-_EVERY, 0))
        except TypeError:
            # A list within a tuple.
            place = (name, repr(key))
            since, more = self._seen.pop(place, (-_EVERY, 0))
        if now - since < _EVERY:
            self._seen[place] = (since, more + 1)
            return
        if len(self._seen) >= _MOST_KEYS:
            forget_oldest(self._seen)
        self._seen[place] = (now, 0)
        suffix = f"; {more} more of it since this was last said" if more else ""
        LOGGER.info("%s: %r refused by %s%s", name, key, decision.policy, suffix)


REFUSALS = Refusals()
