"""One count for all processes: forked, spawned, and attached by name."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from tollgate_limiter import Limiter, SharedTableError


def admitted(limiter: Limiter, checks: int) -> int:
    return sum(limiter.allow("key") for _ in range(checks))


def by_name(name: str, checks: int) -> int:
    return admitted(Limiter("1000/hour", shared=name), checks)


def in_forks(limiter: Limiter, processes: int, checks: int) -> int:
    """How many checks forked children were admitted together."""
    pipes = []
    for _ in range(processes):
        read, write = os.pipe()
        if os.fork() == 0:
            status = 1
            try:
                os.write(write, admitted(limiter, checks).to_bytes(8, "big"))
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        pipes.append(read)
    total = 0
    for read in pipes:
        total += int.from_bytes(os.read(read, 8), "big")
        os.close(read)
    for _ in range(processes):
        assert os.wait()[1] == 0
    return total


def test_forks_count_together() -> None:
    limiter = Limiter("1000/hour")
    assert in_forks(limiter, 8, 1000) == 1000
    assert not limiter.allow("key")


def test_limits_made_after_the_fork_lie_in_the_same_table() -> None:
    limiter = Limiter("1/hour")
    if (child := os.fork()) == 0:
        os._exit(0 if limiter.prepare("late", "1/hour").allow("key") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not limiter.prepare("late", "1/hour").allow("key")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_not_forked_count_together_by_name(method: str, shared_name: str) -> None:
    with multiprocessing.get_context(method).Pool(4) as pool:
        assert sum(pool.starmap(by_name, [(shared_name, 1000)] * 8)) == 1000


def test_what_was_counted_outlives_a_process_that_is_killed(shared_name: str) -> None:
    code = (
        f"from tollgate_limiter import Limiter\nlimiter = Limiter('10/hour', shared='{shared_name}')\n"
        "print(sum(limiter.allow('k') for _ in range(7)), flush=True)\nimport time\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"7\n"
        child.send_signal(signal.SIGKILL)
    limiter = Limiter("10/hour", shared=shared_name)
    assert sum(limiter.allow("k") for _ in range(10)) == 3


def test_another_capacity_is_refused_with_both(shared_name: str) -> None:
    first = Limiter("1/hour", shared=shared_name)
    with pytest.raises(SharedTableError, match="65536.*1000|1000.*65536"):
        Limiter("1/hour", shared=shared_name, capacity=1000)
    assert first.allow("k")
    adopted = Limiter("1/hour", shared=shared_name, capacity=1000, on_mismatch="adopt")
    assert not adopted.allow("k") and adopted.stats()["capacity"] == 65536


def test_a_file_that_is_gone_is_told(shared_name: str) -> None:
    limiter = Limiter("1/hour", shared=shared_name)
    assert not limiter.is_detached()
    os.unlink(f"/dev/shm/tollgate.{os.geteuid()}.{shared_name}")
    assert limiter.is_detached()


def test_no_thread_is_started() -> None:
    before = len(os.listdir("/proc/self/task"))
    limiter = Limiter("1/second")
    limiter.allow("k")
    assert len(os.listdir("/proc/self/task")) == before


def test_many_limiters_cost_little() -> None:
    begun = time.process_time()
    limiter = Limiter("1/second")
    for number in range(200):
        limiter.prepare(f"route {number}", "5/minute").allow("k")
    # The clock of the engine alone would take a second of wall time, were there one for each.
    assert time.process_time() - begun < 2


def test_a_turn_is_its_process_s() -> None:
    """A child that is forked while somebody waits does not give the parent's turn back, nor go by it."""
    limiter = Limiter("1/hour")
    assert limiter.allow("key")

    async def wait() -> None:
        async with limiter.wait("key", max_wait=7200):
            raise AssertionError("not for an hour")

    async def forked() -> None:
        waits = wait()
        waiting = asyncio.create_task(waits)
        await asyncio.sleep(0)
        if (child := os.fork()) == 0:
            try:
                waits.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        after = limiter.peek("key").retry_after
        assert after is not None and after > 3600, "the turn at one hour is the parent's"
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        after = limiter.peek("key").retry_after
        assert after is not None and after <= 3600, "given back by whose it is"

    asyncio.run(forked())
