"""``RateLimitException``, which no release of fastapi-limiter has and tutorials import."""

from ...fastapi import RateLimitExceeded as RateLimitException

__all__ = ["RateLimitException"]
