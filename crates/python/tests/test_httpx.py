"""Outgoing calls of httpx."""

import time

import httpx
import pytest

from tollgate_limiter import Limiter, ManualClock, RateLimited
from tollgate_limiter.httpx import AsyncTransport, Transport

CALLS: list[str] = []


def answer(request: httpx.Request) -> httpx.Response:
    CALLS.append(str(request.url))
    return httpx.Response(200, text=request.url.host)


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def test_calls_to_a_host_wait_for_their_turn() -> None:
    transport = Transport(Limiter("20/second burst 1"), transport=httpx.MockTransport(answer))
    with httpx.Client(transport=transport) as client:
        begun = time.monotonic()
        for _ in range(4):
            assert client.get("http://a.test/").text == "a.test"
        assert time.monotonic() - begun >= 0.149
    assert len(CALLS) == 4


def test_each_host_and_port_is_counted_by_itself() -> None:
    limiter = Limiter("1/hour", clock=ManualClock())
    with httpx.Client(transport=Transport(limiter, max_wait=0, transport=httpx.MockTransport(answer))) as client:
        for url in ("http://a.test/", "http://b.test/", "http://b.test:8080/"):
            assert client.get(url).status_code == 200
            with pytest.raises(RateLimited):
                client.get(url)


def test_a_wait_that_is_too_long_is_not_waited_for_and_nothing_is_called() -> None:
    clock = ManualClock()
    limiter = Limiter(["2/minute", "3/hour as fixed-window"], clock=clock)
    with httpx.Client(transport=Transport(limiter, max_wait=0, transport=httpx.MockTransport(answer))) as client:
        assert [client.get("http://a.test/").status_code for _ in range(2)] == [200, 200]
        with pytest.raises(RateLimited) as caught:
            client.get("http://a.test/")
        assert caught.value.retry_after == 30.0
        clock.advance(60)
        client.get("http://a.test/")
        with pytest.raises(RateLimited, match="3 per 1 hour"):
            client.get("http://a.test/")
    assert len(CALLS) == 3
    slow = Transport(Limiter("1/hour"), max_wait=1, transport=httpx.MockTransport(answer))
    with httpx.Client(transport=slow) as client:
        client.get("http://a.test/")
        with pytest.raises(RateLimited):
            client.get("http://a.test/")


def test_key_and_cost_are_functions_of_the_request() -> None:
    limiter = Limiter("10/minute", clock=ManualClock())
    transport = Transport(
        limiter,
        key=lambda request: request.headers["x-account"],
        cost=lambda request: int(request.url.params["n"]),
        max_wait=0,
        transport=httpx.MockTransport(answer),
    )
    with httpx.Client(transport=transport) as client:
        client.get("http://a.test/?n=7", headers={"x-account": "ada"})
        with pytest.raises(RateLimited):
            client.get("http://b.test/?n=4", headers={"x-account": "ada"})
        client.get("http://b.test/?n=4", headers={"x-account": "bob"})


async def test_async_calls_wait_on_the_loop() -> None:
    transport = AsyncTransport(Limiter("20/second burst 1"), transport=httpx.MockTransport(answer))
    async with httpx.AsyncClient(transport=transport) as client:
        begun = time.monotonic()
        for _ in range(4):
            assert (await client.get("http://a.test/")).text == "a.test"
        assert time.monotonic() - begun >= 0.149
    at_once = AsyncTransport(Limiter("1/hour"), max_wait=0, transport=httpx.MockTransport(answer))
    async with httpx.AsyncClient(transport=at_once) as client:
        await client.get("http://a.test/")
        with pytest.raises(RateLimited):
            await client.get("http://a.test/")


def test_the_usual_transports_are_made_and_closed() -> None:
    with httpx.Client(transport=Transport(Limiter("1/second"))):
        pass
