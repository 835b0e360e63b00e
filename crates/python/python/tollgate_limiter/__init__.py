"""Rate limits: exact, fast, and one count for all workers of a machine."""

import os

from . import _interpreter

_interpreter.require_main()

from . import _engine
from ._engine import Decision, ManualClock, Policies, Reservation, key_bytes
from ._errors import LimitSyntaxError, LimitValueError, RateLimited, SharedTableError, StoreError
from ._limiter import Limiter
from ._middleware import Asgi, Wsgi, policies

_enabled = os.environ.get("TOLLGATE_ENABLED", "")
if _enabled.lower() in ("0", "false", "off", "no"):
    _engine.set_enabled(False)
elif _enabled.lower() not in ("", "1", "true", "on", "yes"):
    # Either guess would be wrong for somebody.
    raise ValueError(f"TOLLGATE_ENABLED is 1, true, on or yes, or 0, false, off or no, and {_enabled!r} was given")

__all__ = [
    "Asgi",
    "Decision",
    "LimitSyntaxError",
    "LimitValueError",
    "Limiter",
    "ManualClock",
    "Policies",
    "RateLimited",
    "Reservation",
    "SharedTableError",
    "StoreError",
    "Wsgi",
    "key_bytes",
    "policies",
]
