"""What the limiter decides, under every algorithm."""

import ipaddress
import logging
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tollgate_limiter import Limiter, LimitSyntaxError, LimitValueError, ManualClock, RateLimited, key_bytes
from tollgate_limiter._rules import Table

ALGORITHMS = ["token-bucket", "leaky-bucket", "leaky-queue", "fixed-window", "sliding-window", "sliding-log"]


def test_a_bucket_admits_its_burst_and_then_what_has_refilled(clock: ManualClock) -> None:
    limiter = Limiter("10/second", clock=clock)
    assert [limiter.allow("k") for _ in range(11)] == [True] * 10 + [False]
    clock.advance(0.5)
    assert [limiter.allow("k") for _ in range(6)] == [True] * 5 + [False]


def test_time_that_passes_in_small_steps_is_worth_as_much(clock: ManualClock) -> None:
    limiter = Limiter("1 per 10 seconds burst 10", clock=clock)
    assert limiter.allow("k", 10)
    for _ in range(100):
        clock.advance(0.1)
    assert [limiter.allow("k"), limiter.allow("k")] == [True, False]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_refuses_and_tells_the_wait_to_the_nanosecond(algorithm: str, clock: ManualClock) -> None:
    limiter = Limiter("5/minute", algorithm=algorithm, clock=clock)
    # Of a queue one may leave at once; the others would wait, which a check does not.
    admitted = sum(limiter.allow("k") for _ in range(20))
    assert admitted == (1 if algorithm == "leaky-queue" else 5)
    refused = limiter.check("k")
    assert not refused and not refused.allowed and not refused.never
    assert refused.retry_after is not None and 0 < refused.retry_after <= 60
    now = clock.now_ns() / 1e9
    clock.advance(refused.retry_after - 0.000_001)
    assert not limiter.peek("k")
    clock.advance(0.000_001)
    assert limiter.check("k").allowed, (now, refused)


def test_of_several_limits_all_admit_or_none_is_charged(clock: ManualClock) -> None:
    limiter = Limiter(["3/minute as fixed-window", "4/hour as fixed-window"], clock=clock)
    assert [limiter.allow("k") for _ in range(5)] == [True, True, True, False, False]
    clock.advance(60)
    # The hour has been charged for the three that went, and for none of the others.
    decision = limiter.check("k")
    assert decision.allowed and decision.remaining == 0 and decision.policy == "4 per 1 hour as fixed-window"
    refused = limiter.check("k")
    assert not refused and refused.index == 1


def test_peek_takes_nothing_and_says_what_check_would(clock: ManualClock) -> None:
    limiter = Limiter("2/minute, 5/hour", clock=clock)
    for _ in range(4):
        peeked, checked = limiter.peek("k"), limiter.check("k")
        assert (peeked.allowed, peeked.index, peeked.retry_after) == (checked.allowed, checked.index, checked.retry_after)
    assert limiter.peek("other", 0).remaining == 2
    assert limiter.peek("other", 3).never


def test_a_cost_a_refund_and_a_reset(clock: ManualClock) -> None:
    limiter = Limiter("10/hour", clock=clock)
    assert limiter.check("k", cost=8).remaining == 2
    assert not limiter.allow("k", 5)
    limiter.refund("k", 3)
    assert limiter.allow("k", 5) and not limiter.allow("k")
    limiter.reset("k")
    assert limiter.check("k").remaining == 9
    assert limiter.check("k", 11).never and limiter.check("k", 11).retry_after is None
    assert limiter.charge("k", 12) == 12
    assert not limiter.allow("k")


def test_many_keys_at_once(clock: ManualClock) -> None:
    limiter = Limiter("1/minute", clock=clock)
    assert [bool(decision) for decision in limiter.check_many(["a", "b", "a"])] == [True, True, False]
    assert limiter.allow_many(["a", "c"]) == [False, True]
    with pytest.raises(TypeError, match="one str was given"):
        limiter.check_many("abc")


def test_limits_that_come_later_share_the_table_and_are_exact(clock: ManualClock) -> None:
    limiter = Limiter("1/second", clock=clock)
    for rate in ["7/minute", "3/second", "300/second", "11/hour", "13/minute", "9/day", "97/minute burst 10"]:
        later = limiter.prepare("later", rate)
        if "97" not in rate:
            assert later.exact == [True], rate
        capacity = later.peek("k", 0).limit
        assert sum(later.allow("k") for _ in range(capacity + 1)) == capacity
    assert limiter.prepare("other", "1/second").allow("k") and limiter.allow("k") and not limiter.allow("k")


def test_a_bool_is_what_the_engine_says_and_a_decision_is_that_too(clock: ManualClock) -> None:
    limiter = Limiter("1/minute", clock=clock)
    assert limiter.allow("k") is True
    assert limiter.allow("k") is False
    assert repr(limiter.check("k")).startswith('<Decision refused by "1 per 1 minute": limit=1, remaining=0, retry_after=60')


def encode(key: Any) -> bytes:
    """The bytes of a key as the engine's documentation defines them."""

    def whole(tag: bytes, contents: bytes) -> bytes:
        return tag + len(contents).to_bytes(8, "big") + contents

    def parts(tag: bytes, keys: Any) -> bytes:
        return tag + len(keys).to_bytes(8, "big") + b"".join(map(encode, keys))

    if isinstance(key, bool):
        return whole(b"f", bytes([key]))
    if isinstance(key, str):
        return whole(b"s", key.encode())
    if isinstance(key, bytes):
        return whole(b"b", key)
    if isinstance(key, int):
        size = 8 if abs(key) < 2**64 else 16
        return whole(b"n" if key < 0 else b"i", abs(key).to_bytes(size, "big"))
    if isinstance(key, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return whole(b"a", key.packed)
    if key is None:
        return parts(b"o", ())
    return parts(b"t" if isinstance(key, tuple) else b"l", key)


KEYS: list[Any] = [
    "", "ada", "\u00fc", b"", b"ada", 0, 1, -1, 2**64 - 1, 2**64, 2**128 - 1, -(2**64), -(2**127), True, False, None,
    ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::1"), ipaddress.ip_address("::ffff:192.0.2.7"),
    (), ("a",), ("a", "bc"), ("ab", "c"), [], ["a"], ("org", 7, ("user", b"x"), [1, None]), tuple(range(12)),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_a_key_is_the_bytes_that_are_defined(key: Any) -> None:
    assert key_bytes(key) == encode(key)


def test_different_keys_have_different_buckets(clock: ManualClock) -> None:
    limiter = Limiter("1/minute", clock=clock)
    for key in KEYS:
        assert limiter.allow(key), key
    for key in KEYS:
        assert not limiter.allow(key), key


def test_half_a_surrogate_pair_is_a_key(clock: ManualClock) -> None:
    limiter = Limiter("1/minute", clock=clock)
    assert limiter.allow("\ud800") and not limiter.allow("\ud800") and limiter.allow("\ud801")


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (1.5, TypeError, "`float` was given"),
        ({}, TypeError, "`dict` was given"),
        ((1, 2.5), TypeError, "`float` was given"),
        (2**128, OverflowError, r"2\*\*128 - 1"),
        (tuple(range(13)), ValueError, "may have 12 parts, and 13 were given"),
    ],
)
def test_what_is_no_key_is_said(key: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Limiter("1/minute").allow(key)


def test_a_text_that_is_no_rate_is_told_with_place_and_expectation() -> None:
    with pytest.raises(LimitSyntaxError, match=r"at column 3 of `5/fortnight`: expected a unit \(second, minute, ") as caught:
        Limiter("5/fortnight")
    assert caught.value.position == 2 and caught.value.found == "fortnight"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Limiter(5), TypeError, "`int` was given"),  # type: ignore[arg-type]
        (lambda: Limiter([5]), TypeError, "`int` was given"),  # type: ignore[list-item]
        (lambda: Limiter([]), LimitValueError, "at least one limit"),
        (lambda: Limiter("10/0 minutes"), LimitValueError, "`10/0 minutes` has a period of 0, and 1 is the least"),
        (lambda: Limiter(["5/s", "10 PER 00minutes"]), LimitValueError, "has a period of 0"),
        (lambda: Limiter("1/minute", algorithm="gcra"), ValueError, "unknown algorithm `gcra`; expected one of"),
        (lambda: Limiter("1/minute", capacity=0), LimitValueError, "from 1 to"),
        (lambda: Limiter("1/minute", on_full="panic"), ValueError, '"evict", "refuse" or "admit"'),  # type: ignore[arg-type]
        (lambda: Limiter("1/minute", clock="sun"), ValueError, "ManualClock, and 'sun' was given"),  # type: ignore[arg-type]
        (lambda: Limiter("1/minute", shared="a b"), ValueError, "'a b' was given"),
        (lambda: Limiter("1/minute", shared="x", clock="python"), ValueError, "not both"),
        (lambda: Limiter("2000/minute as sliding-log"), LimitValueError, "above 1024"),
        (lambda: Limiter("1/minute").allow("k", -1), ValueError, "and -1 was given"),
        (lambda: Limiter("1/minute").allow("k", 1.5), TypeError, "and 1.5 was given"),  # type: ignore[arg-type]
        (lambda: ManualClock(-1.0), ValueError, "-1 was given"),
    ],
)
def test_what_cannot_be_is_said_with_value_and_bound(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_the_clock_of_python_is_the_one_that_libraries_stop() -> None:
    freezegun = pytest.importorskip("freezegun")
    with freezegun.freeze_time("2026-01-01") as frozen:
        limiter = Limiter("1/minute", clock="python")
        assert limiter.allow("k") and not limiter.allow("k")
        frozen.tick(59)
        assert not limiter.allow("k")
        frozen.tick(1)
        assert limiter.allow("k")


def test_only_a_shared_limiter_is_pickled_as_its_configuration(shared_name: str) -> None:
    limiter = Limiter("2/hour", name="mail", shared=shared_name)
    assert limiter.allow("k")
    other = pickle.loads(pickle.dumps(limiter))
    assert other.allow("k") and not other.allow("k") and not limiter.allow("k")
    later = pickle.loads(pickle.dumps(limiter.prepare("later", ["1/hour"])))
    assert later.name == "later" and later.allow("k") and not limiter.prepare("later", "1/hour").allow("k")
    with pytest.raises(TypeError, match="give it shared=NAME"):
        pickle.dumps(Limiter("2/hour"))


def test_limited_raises_with_the_decision(clock: ManualClock) -> None:
    limiter = Limiter("1/minute", clock=clock)

    @limiter.limited(key=lambda user, *rest: user)
    def export(user: str, what: str = "") -> str:
        return user + what

    assert export("ada", "x") == "adax" and export("bob") == "bob"
    with pytest.raises(RateLimited, match="retry after 60.0 s") as caught:
        export("ada")
    assert caught.value.decision.retry_after == caught.value.retry_after == 60.0
    assert export.__name__ == "export"


def test_stats_count(clock: ManualClock) -> None:
    limiter = Limiter("1/minute", clock=clock, capacity=1000)
    limiter.allow_many(range(100))
    stats = limiter.stats()
    assert stats["capacity"] == 1000 and stats["busy"] > 0 and stats["clock_steps"] == 0


def test_functions_of_one_name_count_each_by_itself(shared_name: str) -> None:
    def started() -> list[Callable[[], int]]:
        limiter = Limiter("1/hour", shared=shared_name)

        def made(number: int) -> Callable[[], int]:
            @limiter.limited()
            def function() -> int:
                return number

            return function

        return [made(number) for number in range(3)]

    functions = started()
    assert [function() for function in functions] == [0, 1, 2]
    # In another process they are found again by their order.
    for function in [*functions, *started()]:
        with pytest.raises(RateLimited):
            function()


def test_a_function_that_is_made_for_each_call_is_limited_all_the_same() -> None:
    limiter = Limiter("2/hour")

    def call() -> int:
        @limiter.limited()
        def function() -> int:
            return 1

        return function()

    assert call() + call() == 2
    with pytest.raises(RateLimited):
        call()


Hasty = Callable[[Callable[[int], object]], list[BaseException]]


@pytest.fixture
def hasty_threads() -> Iterator[Hasty]:
    """Runs a function of a number in eight threads that take turns all the time, 4000 times each, and returns what was raised."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def run(function: Callable[[int], object]) -> list[BaseException]:
        raised: list[BaseException] = []

        def work(first: int) -> None:
            for number in range(first, first + 4000):
                try:
                    function(number)
                except BaseException as error:
                    raised.append(error)

        threads = [threading.Thread(target=work, args=(4000 * index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return raised

    yield run
    sys.setswitchinterval(before)


def test_refusals_are_told_by_many_threads(hasty_threads: Hasty, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter, logger = Limiter("0/minute"), logging.getLogger("tollgate")
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(logger, "propagate", False)
    logger.setLevel(logging.INFO)
    try:
        assert {type(error) for error in hasty_threads(limiter.require)} == {RateLimited}
    finally:
        logger.setLevel(logging.NOTSET)


def test_rates_of_many_texts_are_made_by_many_threads(hasty_threads: Hasty) -> None:
    table = Table()
    assert hasty_threads(lambda number: table.limiter("rates", f"{number + 1}/hour")) == []
