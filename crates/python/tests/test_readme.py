"""Every example of the README runs."""

import os
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int) -> None:
    try:
        exec(compile(EXAMPLES[number], f"README example {number}", "exec"), {"__name__": f"example_{number}"})
    finally:
        for name in ("readme-example", "readme-wsgi"):
            Path(f"/dev/shm/tollgate.{os.geteuid()}.{name}").unlink(missing_ok=True)
