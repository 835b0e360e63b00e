"""Which interpreter of a process this is. The extension module keeps objects of the one that loads it, and PyO3 lets every one load it."""

from __future__ import annotations

import importlib


def require_main() -> None:
    """Raises ImportError in a subinterpreter, such as those of mod_wsgi."""
    # As CPython calls it from 3.13, and before.
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            raise ImportError(
                "tollgate_limiter cannot be imported into a subinterpreter: it keeps objects of the main one; import it there "
                "(mod_wsgi: WSGIApplicationGroup %{GLOBAL})"
            )
        return
