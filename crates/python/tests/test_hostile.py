"""What nobody should do, and somebody does: wrong types, odd bounds, pickles, interrupts, interpreters within the interpreter."""

import functools
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from flask import Flask

import tollgate_limiter.flask
from tollgate_limiter import Decision, Limiter, LimitSyntaxError, ManualClock, RateLimited


@pytest.mark.parametrize("given", [-1, 0, 2**36 + 1, 2**64, "5", 1.5])
def test_a_capacity_that_is_none_is_named_with_its_bounds(given: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"from 1 to 68719476736.* {given!r} was given"):
        Limiter("1/second", capacity=given)


@pytest.mark.parametrize("given", [-1, float("nan"), float("inf"), 1e10, "5", None])
def test_a_wait_that_is_none_is_named_with_its_bounds(given: Any) -> None:
    with pytest.raises(ValueError, match=f"max_wait must be from 0 to 1e9 seconds, and {given!r} was given"):
        Limiter("1/second").wait("key", max_wait=given)


def test_a_decision_and_the_exceptions_go_through_a_pickle(clock: ManualClock) -> None:
    """As from a worker of multiprocessing or Celery, whose parent waits for ever for one that does not."""
    limiter = Limiter("3/second, 1/minute", clock=clock)
    clock.advance(0.123456789)
    decisions = [limiter.check("a"), limiter.check("a"), limiter.check("a", 2)]
    assert [(decision.allowed, decision.never) for decision in decisions] == [(True, False), (False, False), (False, True)]

    def parts(decision: Decision) -> list[Any]:
        names = ("allowed", "never", "limit", "remaining", "retry_after", "reset_after", "index", "policy")
        return [getattr(decision, name) for name in names]

    for decision in decisions:
        assert parts(pickle.loads(pickle.dumps(decision))) == parts(decision)
    with pytest.raises(RateLimited) as refused:
        limiter.require("a")
    back = pickle.loads(pickle.dumps(refused.value))
    assert str(back) == str(refused.value) and back.retry_after == refused.value.retry_after
    with pytest.raises(LimitSyntaxError) as wrong:
        Limiter("1/parsec")
    back = pickle.loads(pickle.dumps(wrong.value))
    assert (str(back), back.position, back.found) == (str(wrong.value), 2, "parsec")


def test_what_cannot_be_decorated_is_refused_with_a_sentence() -> None:
    limiter = Limiter("1/second")
    with pytest.raises(TypeError, match="needs key="):
        limiter.limited()(functools.partial(int, "5"))
    assert limiter.limited("ints")(functools.partial(int, "5"))() == 5

    async def numbers() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="`.*numbers` is an async generator"):
        limiter.limited(max_wait=1)(numbers)


def test_an_interrupt_gives_the_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter("1/hour")
    assert limiter.allow("key")

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt), limiter.wait("key", max_wait=3600):
        pytest.fail("an hour was not waited for")
    decision = limiter.peek("key")
    assert decision.retry_after is not None and decision.retry_after <= 3600


def test_an_interpreter_within_the_interpreter_is_refused_with_a_sentence() -> None:
    program = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import tollgate_limiter
text = "try:\\n  import tollgate_limiter\\nexcept ImportError as e:\\n  assert 'subinterpreter' in str(e), str(e)\\nelse:\\n  raise SystemExit(7)"
given = interpreters.create()
failed = interpreters.run_string(given, text)
assert not failed, failed
print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("this Python has no interpreters within the interpreter to be tried from a program")
    assert done.stdout.strip() == "refused", done.stderr


def test_nothing_warns_that_is_ours() -> None:
    program = "import tollgate_limiter as t; l = t.Limiter('5/minute'); l.allow('a'); t.Asgi(print, '5/minute')"
    done = subprocess.run([sys.executable, "-W", "error", "-X", "dev", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_keys_that_come_out_of_a_callback_that_fails_or_asks_again() -> None:
    limiter = Limiter("5/minute")

    def keys() -> Any:
        yield "a"
        assert limiter.allow("a")
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        limiter.allow_many(keys())
    # What had come before it failed was not charged.
    assert limiter.check("a").remaining == 3


def test_a_key_function_that_fails_charges_nothing(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = tollgate_limiter.flask.Limiter(app, clock=clock)
    fails = [True]

    def key() -> str:
        if fails:
            raise RuntimeError("mine")
        return "key"

    @app.route("/")
    @limiter.limit("1/minute")
    @limiter.limit("1/hour", key_func=key)
    def index() -> str:
        return "ok"

    client = app.test_client()
    assert client.get("/").status_code == 500
    fails.clear()
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


def test_threads_take_what_is_there_and_no_more() -> None:
    limiter = Limiter("1000/day")
    taken: list[int] = []

    def take() -> None:
        taken.append(sum(limiter.allow_many(["key"] * 250)) + sum(limiter.allow("key") for _ in range(250)))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A thousand a day is one in 86 s: a slow run may see one more, or two.
    assert 1000 <= sum(taken) <= 1002
