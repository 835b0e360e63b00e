"""Waiting for a turn."""

import asyncio
import time

import freezegun
import pytest

from tollgate_limiter import Limiter, ManualClock, RateLimited


async def test_turns_come_in_the_order_of_asking_and_a_cancelled_one_is_given_back() -> None:
    limiter = Limiter("10/second burst 1")
    begun, went = time.monotonic(), []

    async def ask(name: int) -> None:
        async with limiter.wait("key", max_wait=5):
            went.append((name, time.monotonic() - begun))

    tasks = [asyncio.create_task(ask(name)) for name in range(5)]
    # All have asked once each has run until it sleeps.
    await asyncio.sleep(0)
    tasks[4].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [name for name, _ in went] == [0, 1, 2, 3]
    for name, at in went:
        assert at >= name * 0.1 - 0.001, went
    # The turn at 0.4 s, which was given back, is free.
    decision = limiter.peek("key")
    assert decision.allowed or (decision.retry_after is not None and decision.retry_after <= 0.1)


@pytest.mark.parametrize(("last_first", "empty"), [(True, 0), (False, 4)])
async def test_turns_come_back_as_far_as_none_was_reserved_later(last_first: bool, empty: int) -> None:
    limiter = Limiter("1/second burst 1")
    assert limiter.allow("key")
    tasks = [asyncio.create_task(limiter.wait("key").__aenter__()) for _ in range(5)]
    await asyncio.sleep(0)
    for task in reversed(tasks) if last_first else tasks:
        task.cancel()
        # It gives back when it runs.
        await asyncio.gather(task, return_exceptions=True)
    wait = limiter.peek("key").retry_after
    assert wait is not None and empty < wait <= empty + 1


def test_a_limiter_serves_one_loop_after_the_other() -> None:
    limiter = Limiter("100/second burst 1")

    async def ask() -> None:
        await limiter.wait("key", max_wait=1)

    for _ in range(3):
        asyncio.run(ask())


def test_a_thread_sleeps_until_its_turn() -> None:
    limiter = Limiter("20/second burst 1")
    begun = time.monotonic()
    for _ in range(3):
        with limiter.wait("key", max_wait=1):
            pass
    assert time.monotonic() - begun >= 0.1


def test_windows_are_waited_for() -> None:
    limiter = Limiter("1 per 100 ms as sliding-log")
    begun = time.monotonic()
    for _ in range(3):
        with limiter.wait("key", max_wait=1):
            pass
    assert time.monotonic() - begun >= 0.2


def test_a_wait_that_would_be_too_long_is_refused_at_once() -> None:
    limiter = Limiter("1/minute")
    limiter.allow("key")
    begun = time.monotonic()
    with pytest.raises(RateLimited) as caught, limiter.wait("key", max_wait=1):
        pass
    assert time.monotonic() - begun < 0.5
    assert caught.value.retry_after is not None and 59 < caught.value.retry_after <= 60
    with pytest.raises(RateLimited), limiter.wait("other", 2, max_wait=1):
        pass


def test_a_sleep_that_is_interrupted_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter("1/minute")
    limiter.allow("key")

    def interrupt(seconds: float) -> None:
        assert 59 < seconds <= 60
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), limiter.wait("key", max_wait=60):
            pass
    # Each was given back, so the next would wait no longer than the first.
    refused = limiter.peek("key")
    assert refused.retry_after is not None and refused.retry_after <= 60


def test_a_manual_clock_is_not_waited_for(clock: ManualClock) -> None:
    limiter = Limiter("1/minute", clock=clock)
    with limiter.wait("key"):
        pass
    with pytest.raises(RuntimeError, match="stands still"), limiter.wait("key"):
        pass
    clock.advance(60)
    assert limiter.allow("key")


async def test_async_functions_are_limited() -> None:
    limiter = Limiter("1/minute")

    @limiter.limited()
    async def fetch(number: int) -> int:
        return number

    assert await fetch(1) == 1
    with pytest.raises(RateLimited):
        await fetch(2)

    @limiter.limited("other", max_wait=0.01)
    async def slow() -> int:
        return 1

    assert await slow() == 1
    with pytest.raises(RateLimited):
        await slow()


@pytest.mark.parametrize("rate", ["1/second as fixed-window", "1/second as sliding-log", "1/second burst 1"])
def test_there_is_no_waiting_while_the_clock_is_frozen(rate: str) -> None:
    async def ask(limiter: Limiter) -> None:
        await limiter.wait("a", max_wait=1.5)

    with freezegun.freeze_time("2026-01-01") as frozen:
        limiter = Limiter(rate, clock="python")
        assert limiter.allow("a")
        with pytest.raises(RuntimeError, match="the clock of Python stands still"), limiter.wait("a", max_wait=1.5):
            pass
        with pytest.raises(RuntimeError, match="the clock of Python stands still"):
            asyncio.run(ask(limiter))
        # No turn is taken by that.
        frozen.tick(1)
        assert limiter.allow("a")


def test_the_clock_of_python_is_waited_for_if_it_goes() -> None:
    limiter = Limiter("1 per 50 ms as sliding-log", clock="python")
    for _ in range(2):
        with limiter.wait("a", max_wait=1):
            pass


async def test_tasks_that_are_broken_off_together_give_all_of_their_turns_back() -> None:
    limiter = Limiter("1 per 100 seconds burst 1")
    assert limiter.allow("k")
    for first_to_last in (True, False):
        tasks = [asyncio.create_task(limiter.wait("k", max_wait=10_000).__aenter__()) for _ in range(5)]
        await asyncio.sleep(0)
        assert (limiter.peek("k").retry_after or 0) > 500
        for task in tasks if first_to_last else reversed(tasks):
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
        await asyncio.sleep(0)
        # But for the one that went.
        assert (limiter.peek("k").retry_after or 0) <= 100
    # Those whose turn is promised keep it.
    early, late = (asyncio.create_task(limiter.wait("k", max_wait=10_000).__aenter__()) for _ in range(2))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.gather(early, return_exceptions=True)
    await asyncio.sleep(0)
    assert (limiter.peek("k").retry_after or 0) > 200
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
