import os
import uuid
from collections.abc import Iterator

import pytest

from tollgate_limiter import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shared_name() -> Iterator[str]:
    """A name of a shared table that nobody else has; its file is removed afterwards."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    for path in (f"/dev/shm/tollgate.{os.geteuid()}.{name}", f"/dev/shm/tollgate.{os.geteuid()}.{name}.counts"):
        if os.path.exists(path):
            os.unlink(path)
