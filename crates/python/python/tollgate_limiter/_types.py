"""The types of arguments."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Union

Key = Union[str, bytes, int, IPv4Address, IPv6Address, None, "tuple[Key, ...]", "list[Key]"]
"""What can be limited: text, octets, whole numbers, addresses, nothing, and tuples and lists of those."""

Limits = Union[str, Iterable[str]]
"""A rate such as ``"100/minute"``, several with commas between them, or a list of such texts."""

OnOutage = Literal["closed", "open", "share", "local"]
"""What a limiter does while no server answers."""
