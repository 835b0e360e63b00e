"""``get_remote_address``."""

from ...fastapi import get_remote_address

__all__ = ["get_remote_address"]
