"""Rate limits: exact, fast, and one count for all workers of a machine."""

import os

from . import _interpreter

_interpreter.require_main()

from . import _engine
from ._engine import Decision, ManualClock, Policies, Reservation, key_bytes
from ._errors import LimitSyntaxError, LimitValueError, RateLimited, SharedTableError, StoreError
from ._limiter import Limiter
from ._middleware import Asgi, Wsgi, policies

if os.environ.get("TOLLGATE_ENABLED", "1") == "0":
    _engine.set_enabled(False)

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
