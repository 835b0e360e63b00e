"""Rate limits: exact, fast, and one count for all workers of a machine."""

from . import _interpreter

_interpreter.require_main()

from ._engine import Decision, ManualClock, Policies, Reservation, key_bytes
from ._errors import LimitSyntaxError, LimitValueError, RateLimited, SharedTableError
from ._limiter import Limiter
from ._middleware import Asgi, Wsgi, policies

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
    "Wsgi",
    "key_bytes",
    "policies",
]
