"""Which interpreter of the process this is."""

from __future__ import annotations

import importlib
from typing import Any


def is_main() -> bool:
    """Whether this is the interpreter that the process began with, and not one within it, as mod_wsgi makes them."""
    for name in ("_interpreters", "_xxsubinterpreters"):  # since 3.13, and before
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        return bool(module.get_current() == module.get_main())
    return True


def require_main() -> None:
    """Refuses any other: what the engine keeps of Python's objects would be of two interpreters."""
    if not is_main():
        raise ImportError(
            "tollgate_limiter does not run in subinterpreters, in which each has a count of its own; under mod_wsgi set "
            "WSGIApplicationGroup %{GLOBAL}"
        )
