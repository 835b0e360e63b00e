"""Rate limits: exact, fast, and one count for all workers of a machine."""

from ._engine import Decision, ManualClock, Reservation, key_bytes
from ._errors import LimitSyntaxError, LimitValueError, RateLimited, SharedTableError
from ._limiter import Limiter

__all__ = [
    "Decision",
    "LimitSyntaxError",
    "LimitValueError",
    "Limiter",
    "ManualClock",
    "RateLimited",
    "Reservation",
    "SharedTableError",
    "key_bytes",
]
