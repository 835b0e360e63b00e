"""What a package of Python is expected to do besides: tests of its users, pickles, logs, figures, other interpreters."""

import logging
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tollgate_limiter import Asgi, Limiter, ManualClock, RateLimited, Wsgi, policies
from tollgate_limiter._log import REFUSALS
from tollgate_limiter.prometheus import Collector
from tollgate_limiter.testing import disabled, manual_clock

pytest_plugins = ["pytester"]


def test_limiters_of_a_test_go_by_its_clock(tollgate_clock: ManualClock, shared_name: str) -> None:
    private, shared = Limiter("1/minute"), Limiter("1/minute", shared=shared_name)
    for limiter in (private, shared):
        assert limiter.allow("k") and not limiter.allow("k")
    tollgate_clock.advance(60)
    assert private.allow("k") and shared.allow("k")
    # One that names its clock keeps it.
    other = ManualClock()
    own = Limiter("1/minute", clock=other)
    assert own.allow("k")
    tollgate_clock.advance(60)
    assert not own.allow("k")


def test_without_the_fixture_time_goes_on() -> None:
    with manual_clock():
        still = Limiter("1000/second burst 1")
    goes = Limiter("1/hour")
    assert still.now_ns() == still.now_ns() == 1_000_000_000 * 10**9
    assert goes.now_ns() > 1_500_000_000 * 10**9


def environ() -> dict[str, str]:
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": "", "REMOTE_ADDR": "192.0.2.1"}


def hello(environ: object, start_response: object) -> Iterator[bytes]:
    start_response("200 OK", [])  # type: ignore[operator]
    yield b"hello"


def test_all_can_be_switched_off(tollgate_off: None) -> None:
    limiter = Limiter(["1/hour", "2/day as sliding-log"])
    assert all(limiter.allow("k") for _ in range(5)) and limiter.check("k", 99).allowed
    limiter.require("k")
    with limiter.wait("k"):
        pass
    statuses: list[str] = []
    application = Wsgi(hello, "1/hour")
    for _ in range(3):
        assert b"".join(application(environ(), lambda status, headers: statuses.append(status))) == b"hello"
    assert statuses == ["200 OK"] * 3


def test_what_was_off_took_nothing() -> None:
    limiter = Limiter("2/hour")
    with disabled():
        assert all(limiter.allow("k") for _ in range(5))
        limiter.charge("k", 7)
    assert [limiter.allow("k") for _ in range(3)] == [True, True, False]
    with disabled(), disabled():
        assert limiter.allow("k")
    assert not limiter.allow("k")


@pytest.mark.parametrize(("value", "count"), [("0", "5"), ("False", "5"), ("off", "5"), ("NO", "5"), ("1", "1"), ("yes", "1"), ("", "1")])
def test_the_environment_switches_off(value: str, count: str) -> None:
    program = "from tollgate_limiter import Limiter; limiter = Limiter('1/hour'); print(sum(limiter.allow('k') for _ in range(5)))"
    env = {"TOLLGATE_ENABLED": value, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == count, done.stderr


def test_what_is_neither_on_nor_off_is_said() -> None:
    env = {"TOLLGATE_ENABLED": "disabled", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", "import tollgate_limiter"], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "TOLLGATE_ENABLED is 1, true" in done.stderr and "'disabled' was given" in done.stderr


def test_the_plug_in_sets_the_clock_of_limiters_made_at_import(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntollgate_clock = manual\n")
    pytester.makepyfile(
        application="from tollgate_limiter import Limiter\nlimiter = Limiter('1/day')\n",
        test_it="""
            from application import limiter

            def test_one(tollgate_clock):
                assert limiter.allow("k") and not limiter.allow("k")
                tollgate_clock.advance(86_400)
                assert limiter.allow("k")

            def test_two(tollgate_clock):
                assert limiter.allow("k") and not limiter.allow("k")

            def test_off(tollgate_off):
                assert limiter.allow("k") and limiter.allow("k")
        """,
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)
    pytester.makeini("[pytest]\ntollgate_clock = sun\n")
    assert "'sun' was given" in str(pytester.runpytest_subprocess().stderr)


def test_decisions_and_refusals_are_pickled_with_their_figures() -> None:
    limiter = Limiter(["7/minute", "3/hour as sliding-log"])
    for cost in (1, 2, 1, 9):
        decision = limiter.check("k", cost)
        other = pickle.loads(pickle.dumps(decision))
        assert repr(other) == repr(decision) and other.allowed == decision.allowed
        for name in ("never", "limit", "remaining", "retry_after", "reset_after", "index", "policy", "outage"):
            assert getattr(other, name) == getattr(decision, name), name
    refused = pickle.loads(pickle.dumps(RateLimited(limiter.check("k"))))
    assert isinstance(refused, RateLimited) and refused.decision.index == 1


def test_refusals_are_logged_once_a_minute_for_each_key(caplog: pytest.LogCaptureFixture) -> None:
    REFUSALS._seen.clear()
    limiter = Limiter("1/hour", name="mail")
    keys: list[Any] = ["ada", "bob", ("org", [7])]
    for _ in range(3):
        with caplog.at_level(logging.INFO, logger="tollgate"):
            for key in keys:
                for _ in range(50):
                    try:
                        limiter.require(key)
                    except RateLimited:
                        pass
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [f"mail: {key!r} refused by 1 per 1 hour" for key in keys]
    for number in range(5000):
        limiter.allow(number)
        with caplog.at_level(logging.INFO, logger="tollgate"), pytest.raises(RateLimited):
            limiter.require(number)
    assert len(REFUSALS._seen) <= 1024
    # Nothing is kept for those who do not listen.
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="tollgate"), pytest.raises(RateLimited):
        limiter.require("ada")
    assert not caplog.records


async def test_figures_are_collected() -> None:
    limiter = Limiter("1/hour", capacity=1000)
    limiter.allow_many(range(10))
    site = policies("1/hour")
    for _ in range(3):
        list(Wsgi(hello, site)(environ(), lambda status, headers: None))
    registry = CollectorRegistry()
    registry.register(Collector(api=limiter, site=site))
    text = generate_latest(registry).decode()
    assert 'tollgate_table_capacity_keys{table="api"} 1000.0' in text
    assert 'tollgate_table_busy_keys{table="api"} 10.0' in text
    assert 'tollgate_evictions_total{table="api"} 0.0' in text
    assert 'tollgate_requests_total{outcome="allowed",policy="default",table="site"} 1.0' in text
    assert 'tollgate_requests_total{outcome="refused",policy="default",table="site"} 2.0' in text
    with pytest.raises(TypeError, match="'Asgi' was given"):
        Collector(site=Asgi(hello, "1/hour"))  # type: ignore[arg-type]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="another module has them there")
def test_a_subinterpreter_is_refused_with_a_sentence() -> None:
    program = """
import tollgate_limiter
import _xxsubinterpreters as interpreters
other = interpreters.create()
interpreters.run_string(other, '''
try:
    import tollgate_limiter
except ImportError as error:
    print(error, flush=True)
''')
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "cannot be imported into a subinterpreter" in done.stdout, done.stdout + done.stderr


def test_the_clock_of_python_is_the_one_that_time_machine_moves() -> None:
    time_machine = pytest.importorskip("time_machine")
    with time_machine.travel(1_800_000_000, tick=False) as traveller:
        limiter = Limiter("1/minute", clock="python")
        assert limiter.allow("k") and not limiter.allow("k")
        traveller.shift(59)
        assert not limiter.allow("k")
        traveller.shift(1)
        assert limiter.allow("k")
