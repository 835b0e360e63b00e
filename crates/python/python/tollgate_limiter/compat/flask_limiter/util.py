"""``get_remote_address``."""

from ...flask import get_remote_address

__all__ = ["get_remote_address"]
