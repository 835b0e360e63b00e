"""The names of Flask-Limiter, with its order of arguments before and since version 3, and with its default: a fixed window."""

from __future__ import annotations

from typing import Any

from ...flask import Limiter as _Limiter
from ...flask import RateLimitExceeded

__all__ = ["Limiter", "RateLimitExceeded"]


class Limiter(_Limiter):
    """``flask.Limiter`` that counts in fixed windows from the first request, refused ones too, unless ``strategy`` says
    otherwise."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("strategy", "fixed-window")
        super().__init__(*args, **options)
