"""A plug-in for pytest under which ``memory://`` of ``limits`` is the engine, on the clock that the tests stop."""

from __future__ import annotations

import time
from typing import Any

from tollgate_limiter.limits import AsyncTollgateStorage, TollgateStorage

assert time  # what the tests stop is what the clock reads


class Memory(TollgateStorage):
    STORAGE_SCHEME = ["memory"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__("tollgate://?clock=python", wrap_exceptions, **options)


class AsyncMemory(AsyncTollgateStorage):
    STORAGE_SCHEME = ["async+memory"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__("tollgate://?clock=python", wrap_exceptions, **options)
