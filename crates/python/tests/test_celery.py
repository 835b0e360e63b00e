"""Celery's tasks, run by a worker of Celery's own, over a broker in memory."""

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.signals import before_task_publish

from tollgate_limiter import Limiter, ManualClock, RateLimited
from tollgate_limiter.celery import limited

RAN: list[tuple[Any, float, int]] = []


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("tests", broker="memory://", backend="cache+memory://")
    app.conf.update(broker_connection_retry_on_startup=False, worker_hijack_root_logger=False)
    RAN.clear()
    yield app
    app.close()


def test_tasks_of_one_function_name_count_each_by_itself(app: Celery) -> None:
    limiter = Limiter("1/hour")

    def made(name: str) -> Any:
        @app.task(name=name)  # type: ignore[untyped-decorator]
        @limited(limiter)
        def run() -> str:
            return name

        return run

    tasks = [made("a"), made("b")]
    assert [task() for task in tasks] == ["a", "b"]
    for task in tasks:
        with pytest.raises(RateLimited):
            task()


def test_tasks_wait_for_their_turn_and_none_is_lost(app: Celery) -> None:
    limiter = Limiter("2/second burst 1")
    begun: list[float] = []

    def asked(to: str) -> str:
        if to == "ada":
            begun.append(time.monotonic())
        return to

    @app.task(bind=True, max_retries=0)  # type: ignore[untyped-decorator]
    @limited(limiter, key=asked)
    def send(self: Any, to: str) -> str:
        RAN.append((to, time.monotonic(), self.request.retries))
        return to

    told: list[float] = []

    def published(sender: str, headers: dict[str, Any], **more: Any) -> None:
        if headers.get("eta"):
            told.append((datetime.fromisoformat(headers["eta"]) - datetime.now(timezone.utc)).total_seconds())

    before_task_publish.connect(published)
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
        results = [send.delay(to) for to in ["ada"] * 3 + ["bob"]]
        assert [result.get(timeout=60) for result in results] == ["ada"] * 3 + ["bob"]
    times = sorted(at for to, at, _ in RAN if to == "ada")
    assert len(RAN) == 4 and times[-1] - begun[0] >= 0.999
    # The first is told about half a second; what is left of it when the message is sent is more than nothing.
    assert 0.1 < max(told) <= 0.5
    # Waiting is no failure.
    assert all(retries == 0 for _, _, retries in RAN)


def test_where_nobody_can_be_sent_to_it_raises(app: Celery) -> None:
    clock = ManualClock()
    limiter = Limiter("2/minute burst 1", clock=clock)

    @app.task  # type: ignore[untyped-decorator]
    @limited(limiter, cost=lambda number: number)
    def count(number: int) -> int:
        return number

    assert count(1) == 1
    with pytest.raises(RateLimited, match="retry after 30"):
        count(1)
    clock.advance(30)
    assert count.apply((1,)).get() == 1
    with pytest.raises(RateLimited, match="retry after 30"):
        count.apply((1,)).get()
    with pytest.raises(RateLimited, match="costs more than fits"):
        count(2)


def test_a_refusal_that_is_a_result_says_what_it_said(app: Celery, clock: ManualClock) -> None:
    limiter = Limiter("1/minute", clock=clock)

    @app.task  # type: ignore[untyped-decorator]
    def twice() -> None:
        limiter.require("k")
        limiter.require("k")

    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
        with pytest.raises(RateLimited) as refused:
            twice.delay().get(timeout=60)
    # Results are JSON, so the decision is a text.
    assert isinstance(refused.value.decision, str) and refused.value.retry_after == 60
    assert str(refused.value) == "limited to 1 per 1 minute; retry after 60.0 s"
