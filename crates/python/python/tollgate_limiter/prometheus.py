"""A collector for ``prometheus_client``: ``REGISTRY.register(Collector(api=limiter, site=policies))``.

The figures of tables are those of all processes that share them, so any worker tells them; those of policies and stores are of the
process that is asked, so with several workers each has to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as Base

from ._engine import Core, Policies

__all__ = ["Collector"]

_GAUGES = {
    "capacity": ("tollgate_table_capacity_keys", "As many keys can be busy at once."),
    "busy": ("tollgate_table_busy_keys", "Keys whose bucket is not full."),
    "bytes": ("tollgate_table_bytes", "Memory of the table."),
}
_COUNTERS = {
    "evictions": ("tollgate_evictions", "Keys that took the place of another one."),
    "refused_full": ("tollgate_refused_full", "Requests refused because the table was full."),
    "untracked": ("tollgate_untracked", "Requests admitted unseen because the table was full."),
    "clock_steps": ("tollgate_clock_steps", "Steps of the clock that were seen."),
}


class Collector(Base):
    """Limiters, and the ``policies`` of ``Wsgi`` and ``Asgi``, each under a name: the label ``table``."""

    def __init__(self, **named: Core | Policies) -> None:
        for name, given in named.items():
            if not isinstance(given, (Core, Policies)):
                raise TypeError(f"{name} is a Limiter or Policies, and {type(given).__name__!r} was given")
        self._named = named

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        tables = {name: given.stats() for name, given in self._named.items() if isinstance(given, Core)}
        for key, (metric, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(metric, text, labels=["table"])
            for name, stats in tables.items():
                gauge.add_metric([name], stats[key])
            yield gauge
        for key, (metric, text) in _COUNTERS.items():
            counter = CounterMetricFamily(metric, text, labels=["table"])
            for name, stats in tables.items():
                counter.add_metric([name], stats[key])
            yield counter
        outages = CounterMetricFamily("tollgate_outages", "Decisions that no server made.", labels=["table"])
        for name, given in self._named.items():
            store: Any = getattr(given, "_store", None)
            if store is not None:
                outages.add_metric([name], store.breaker.outages)
        yield outages
        requests = CounterMetricFamily("tollgate_requests", "Requests by policy.", labels=["table", "policy", "outcome"])
        for name, given in self._named.items():
            if isinstance(given, Policies):
                for policy, *counts in given.stats():
                    for outcome, count in zip(("allowed", "refused", "would_refuse"), counts, strict=True):
                        requests.add_metric([name, policy, outcome], count)
        yield requests
