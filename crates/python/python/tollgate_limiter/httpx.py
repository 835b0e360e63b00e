"""Outgoing calls of ``httpx`` that keep to a limit: they wait for their turn, or raise.

``httpx.Client(transport=Transport(limiter))``, ``httpx.AsyncClient(transport=AsyncTransport(limiter))``. Each host is counted by itself.
A redirection is a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import httpx

from ._limiter import Limiter

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._types import Key

__all__ = ["AsyncTransport", "Transport"]

Cost = Callable[[httpx.Request], int]


def host(request: httpx.Request) -> Key:
    """The host that is called, with its port where that is not the usual one."""
    url = request.url
    return (url.host, url.port)


class _Limits:
    """What both transports are told."""

    def __init__(self, limiter: Limiter, key: Callable[[httpx.Request], Key], cost: int | Cost, max_wait: float) -> None:
        self._limiter = limiter
        self._key = key
        self._cost = cost
        self._max_wait = max_wait

    def _of(self, request: httpx.Request) -> tuple[Key, int]:
        return self._key(request), self._cost if isinstance(self._cost, int) else self._cost(request)


class Transport(_Limits, httpx.BaseTransport):
    """Calls wait for at most ``max_wait`` seconds, and raise ``RateLimited`` if it would be longer: with 0, at once.

    ``key`` is a function of the request, by default its host; ``cost`` a number, or such a function; ``transport`` what makes the
    calls, by default ``httpx.HTTPTransport()``. Of several limits all are taken, or none.
    """

    def __init__(
        self,
        limiter: Limiter,
        *,
        key: Callable[[httpx.Request], Key] = host,
        cost: int | Cost = 1,
        max_wait: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(limiter, key, cost, max_wait)
        self._transport = httpx.HTTPTransport() if transport is None else transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        key, cost = self._of(request)
        if self._max_wait > 0:
            with self._limiter.wait(key, cost, max_wait=self._max_wait):
                pass
        else:
            self._limiter.require(key, cost)
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._transport.__exit__(exc_type, exc_value, traceback)


class AsyncTransport(_Limits, httpx.AsyncBaseTransport):
    """The same for ``httpx.AsyncClient``; ``transport`` is ``httpx.AsyncHTTPTransport()`` by default."""

    def __init__(
        self,
        limiter: Limiter,
        *,
        key: Callable[[httpx.Request], Key] = host,
        cost: int | Cost = 1,
        max_wait: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(limiter, key, cost, max_wait)
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        key, cost = self._of(request)
        if self._max_wait > 0:
            await self._limiter.wait(key, cost, max_wait=self._max_wait)
        else:
            await self._limiter._arequire(key, cost)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(exc_type, exc_value, traceback)
