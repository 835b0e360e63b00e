"""``RateLimitExceeded``."""

from ...fastapi import RateLimitExceeded

__all__ = ["RateLimitExceeded"]
