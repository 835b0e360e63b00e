"""Every example of the README runs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import started
from tollgate_limiter.testing import manual_clock

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with started() as server:
        yield f"unix://{server.path}"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 12


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    try:
        if "settings.configure(" in EXAMPLES[number]:
            # Settings of Django are of a process.
            subprocess.run([sys.executable, "-c", EXAMPLES[number]], check=True, timeout=120)
        else:
            names: dict[str, Any] = {"__name__": f"example_{number}"}
            exec(compile(EXAMPLES[number], f"README example {number}", "exec"), names)
            # One that is tests is run with the fixture.
            for name, test in list(names.items()):
                if name.startswith("test_"):
                    with manual_clock() as clock:
                        test(clock)
    finally:
        for name in ("readme-example", "readme-wsgi"):
            Path(f"/dev/shm/tollgate.{os.geteuid()}.{name}").unlink(missing_ok=True)
