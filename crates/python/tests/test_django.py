"""Django: middleware, decorator and throttle, sync and async."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import django
import pytest
from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "tollgate_limiter.django.TollgateConfig"],
        MIDDLEWARE=["tollgate_limiter.django.RateLimitMiddleware"],
        TOLLGATE={"LIMITS": "1000/second"},
        REST_FRAMEWORK={
            "DEFAULT_THROTTLE_CLASSES": ["tollgate_limiter.django.Throttle"],
            "DEFAULT_THROTTLE_RATES": {"default": "2/minute, 3/hour", "burst": "1/hour"},
            "UNAUTHENTICATED_USER": None,
            "DEFAULT_AUTHENTICATION_CLASSES": [],
        },
    )
    django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils.asyncio import async_unsafe  # noqa: E402
from django.utils.decorators import method_decorator  # noqa: E402
from django.utils.functional import SimpleLazyObject  # noqa: E402
from django.views import View  # noqa: E402
from django.views.decorators.cache import never_cache  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from tollgate_limiter import LimitSyntaxError, ManualClock  # noqa: E402
from tollgate_limiter.django import RateLimitMiddleware, _State, client_address, limit, ratelimit  # noqa: E402


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


async def plain_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse("ok")


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a", b"b"]))


def denied(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no", status=401)


@ratelimit(key="ip", rate="2/m", method="POST")
@ratelimit(key="ip", rate="3/h", method="POST")
def login(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.ratelimit.remaining if hasattr(request, "ratelimit") else ""))


@limit("1/minute", "header:x-api-key")
async def keyed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@ratelimit(key="ip", rate="1/minute", block=False, group="soft")
def soft(request: HttpRequest) -> HttpResponse:
    return HttpResponse("limited" if request.limited else "free")


@ratelimit(key="get:user", rate=lambda request: None if request.GET.get("user") == "root" else "2/minute", cost=2)
def dynamic(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@method_decorator(limit("1/minute", lambda group, request: request.GET.get("k")), name="get")
class Class(View):  # type: ignore[misc]
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")


class Api(APIView):  # type: ignore[misc]
    def get(self, request: Any) -> Response:
        return Response({"ok": True})


class Scoped(Api):
    throttle_scope = "burst"


class Unknown(Api):
    throttle_scope = "unknown"


urlpatterns = [
    path("plain", plain),
    path("async", plain_async),
    path("streamed", streamed),
    path("denied", denied),
    path("login", login),
    path("keyed", keyed),
    path("soft", soft),
    path("dynamic", dynamic),
    path("class", Class.as_view()),
    path("api", Api.as_view()),
    path("scoped", Scoped.as_view()),
    path("unknown", Unknown.as_view()),
]

OPEN = {"LIMITS": "1000/second"}


@pytest.fixture
def configured(clock: ManualClock) -> Iterator[Any]:
    """The settings, on a clock that the test moves."""
    entered = []

    def use(**options: Any) -> None:
        override = override_settings(TOLLGATE={"CLOCK": clock, **options})
        override.enable()
        entered.append(override)

    use(**OPEN)
    yield use
    for override in reversed(entered):
        override.disable()


def codes(client: Client, url: str, number: int, **options: Any) -> list[int]:
    return [client.get(url, **options).status_code for _ in range(number)]


def test_the_middleware_limits_all_requests_of_a_client(configured: Any, clock: ManualClock) -> None:
    configured(LIMITS=["3/minute", "4/hour as fixed-window"], EXEMPT=["path:/denied"])
    client = Client()
    first = client.get("/plain")
    assert first.status_code == 200 and first.headers["RateLimit"].startswith('"default')
    assert codes(client, "/plain", 2) == [200, 200]
    refused = client.get("/plain")
    assert refused.status_code == 429 and refused.headers["Retry-After"] == "20"
    assert refused.content and "RateLimit" in refused.headers
    assert codes(client, "/plain", 1, REMOTE_ADDR="192.0.2.1") == [200]
    assert codes(client, "/denied", 9) == [401] * 9
    clock.advance(60)
    assert codes(client, "/plain", 2) == [200, 429]


def test_policies_charge_by_the_status_of_the_response(configured: Any) -> None:
    configured(POLICIES=[{"name": "login", "limits": "2/minute", "match": {"path": "/denied"}, "charge": {"only_on": "401"}}])
    client = Client()
    assert codes(client, "/denied", 3) == [401, 401, 429]
    assert codes(client, "/plain", 5) == [200] * 5


def test_a_place_in_flight_is_free_once_the_response_is_closed(configured: Any) -> None:
    configured(POLICIES=[{"name": "few", "limits": "1000/second", "concurrency": 1}])
    client = Client()
    first = client.get("/streamed")
    assert client.get("/plain").status_code in (429, 503)
    assert b"".join(first.streaming_content) == b"ab"
    first.close()
    assert client.get("/plain").status_code == 200
    assert codes(client, "/plain", 3) == [200] * 3


def test_a_view_that_raises_frees_its_place(configured: Any) -> None:
    configured(POLICIES=[{"name": "few", "limits": "1000/second", "concurrency": 1}])
    client = Client()
    assert client.get("/none").status_code == 404
    with pytest.raises(ImproperlyConfigured, match="no rate for the scope 'unknown'"):
        client.get("/unknown")
    assert client.get("/plain").status_code == 200
    # What Django itself lets through, such as the end of the program.
    error: BaseException = KeyboardInterrupt()

    def broken(request: HttpRequest) -> HttpResponse:
        raise error

    async def broken_async(request: HttpRequest) -> HttpResponse:
        raise error

    middleware, middleware_async = RateLimitMiddleware(broken), RateLimitMiddleware(broken_async)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            middleware(RequestFactory().get("/"))
    error = asyncio.CancelledError()
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(middleware_async(RequestFactory().get("/")))


async def test_the_middleware_is_async_where_the_server_is(configured: Any) -> None:
    configured(LIMITS="2/minute", CLIENT={"from": "x-forwarded-for", "trusted": "127.0.0.0/8"})
    client = AsyncClient()
    headers = {"x-forwarded-for": "203.0.113.9, 192.0.2.77"}
    got = [(await client.get("/async", headers=headers)).status_code for _ in range(3)]
    assert got == [200, 200, 429]
    # Whatever the client says of itself before that is no other client.
    spoofed = await client.get("/async", headers={"x-forwarded-for": "198.51.100.1, 192.0.2.77"})
    assert spoofed.status_code == 429
    other = await client.get("/async", headers={"x-forwarded-for": "192.0.2.78"})
    assert other.status_code == 200 and "RateLimit" in other.headers


def test_limits_of_a_view_are_decided_together(configured: Any, clock: ManualClock) -> None:
    client = Client()
    assert codes(client, "/login", 5) == [200] * 5  # not limited by that method
    posts = [client.post("/login").status_code for _ in range(3)]
    assert posts == [200, 200, 429]
    refused = client.post("/login")
    assert refused.headers["Retry-After"] == "30" and "RateLimit" in refused.headers
    assert refused.headers["Cache-Control"] == "no-store"
    clock.advance(60)
    # The hour has been charged for what went, and for nothing else.
    assert [client.post("/login").status_code for _ in range(2)] == [200, 429]


async def test_async_views_are_limited_by_a_header(configured: Any) -> None:
    client = AsyncClient()
    for key in ("a", "b"):
        got = [(await client.get("/keyed", headers={"x-api-key": key})).status_code for _ in range(2)]
        assert got == [200, 429]


def test_a_view_may_look_by_itself(configured: Any) -> None:
    client = Client()
    assert [client.get("/soft").content for _ in range(2)] == [b"free", b"limited"]


def test_rates_costs_and_keys_are_functions(configured: Any) -> None:
    client = Client()
    assert codes(client, "/dynamic?user=ada", 2) == [200, 429]
    assert codes(client, "/dynamic?user=bob", 1) == [200]
    assert codes(client, "/dynamic?user=root", 9) == [200] * 9
    assert codes(client, "/class?k=1", 2) + codes(client, "/class?k=2", 1) == [200, 429, 200]


def test_who_is_known_is_a_user(configured: Any) -> None:
    class User:
        is_authenticated = True

        def __init__(self, pk: int) -> None:
            self.pk = pk

    @limit("1/minute")
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    def code(user: Any) -> int:
        request = RequestFactory().get("/")
        if user is not None:
            request.user = user
        return int(view(request).status_code)

    assert [code(User(1)), code(User(2)), code(None), code(User(1)), code(None)] == [200, 200, 200, 429, 429]


def test_the_throttle_takes_all_its_rates_or_none(configured: Any, clock: ManualClock) -> None:
    client = Client()
    assert codes(client, "/api", 3) == [200, 200, 429]
    assert client.get("/api").headers["Retry-After"] == "30"
    clock.advance(60)
    assert codes(client, "/api", 2) == [200, 429]
    assert codes(client, "/scoped", 2) == [200, 429]


def test_all_can_be_switched_off(configured: Any) -> None:
    configured(LIMITS="1/hour", ENABLED=False)
    client = Client()
    assert codes(client, "/plain", 3) + codes(client, "/soft", 0) + codes(client, "/api", 5) == [200] * 8
    assert [client.post("/login").status_code for _ in range(5)] == [200] * 5


def test_the_address_is_the_peers_or_what_proxies_say(configured: Any) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.1")
    assert client_address(request) == "10.0.0.1"
    configured(CLIENT={"from": "x-forwarded-for", "trusted": "10.0.0.0/8"}, **OPEN)
    assert client_address(request) == "192.0.2.1"
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="")) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [({"LIMIT": "1/minute"}, "'LIMIT' was given"), ({}, "wants limits"), ([], "is a mapping")],
)
def test_settings_that_cannot_be_are_said(given: Any, text: str) -> None:
    with override_settings(TOLLGATE=given), pytest.raises(ImproperlyConfigured, match=text):
        Client().get("/plain")


def test_what_is_declared_wrongly_is_said_there(configured: Any) -> None:
    with pytest.raises(LimitSyntaxError, match="expected a unit"):
        limit("5/fortnight")
        limit("5/fortnight")(plain)
    with pytest.raises(TypeError, match="wants rate="):
        ratelimit("ip")
    with pytest.raises(ImproperlyConfigured, match="'nobody' was given"):
        limit("1/minute", "nobody")(plain)(RequestFactory().get("/"))
    with pytest.raises(TypeError, match="without a request"):
        limit("1/minute")(plain)(7)


class Later:
    """A function that is an object, and async."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def __call__(self, request: HttpRequest) -> Any:
        await asyncio.sleep(0)
        return self.answer


async def acodes(view: Any, number: int, **options: Any) -> list[int]:
    return [(await view(AsyncRequestFactory().get("/", **options))).status_code for _ in range(number)]


def scodes(view: Any, number: int, method: str = "GET") -> list[int]:
    return [view(RequestFactory().generic(method, "/")).status_code for _ in range(number)]


async def test_async_functions_of_an_async_view_are_awaited(configured: Any) -> None:
    @ratelimit("ip", "2/minute", exempt_when=Later(False))
    async def limited(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    @ratelimit("ip", "1/minute", exempt_when=Later(True))
    async def exempt(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    @ratelimit(Later("all"), Later("4/minute"), cost=Later(2))
    async def all_of_it(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert await acodes(limited, 3) == [200, 200, 429]
    assert await acodes(exempt, 3) == [200] * 3
    assert await acodes(all_of_it, 3) == [200, 200, 429]


def test_async_functions_of_a_sync_view_are_refused(configured: Any) -> None:
    given: list[dict[str, Any]] = [{"key": Later("x")}, {"rate": Later("1/minute")}, {"cost": Later(1)}, {"exempt_when": Later(False)}]
    for options in given:
        with pytest.raises(TypeError, match=f"{next(iter(options))}=.* is async"):
            ratelimit(**{"rate": "1/minute", **options})(plain)
    hidden: Any = lambda request: Later(False)(request)  # noqa: E731
    with pytest.raises(TypeError, match="async def"):
        ratelimit("ip", "1/minute", exempt_when=hidden)(plain)(RequestFactory().get("/"))


def test_each_view_has_a_count_of_its_own(configured: Any) -> None:
    once = ratelimit("ip", "2/minute")

    @method_decorator(once, name="dispatch")
    class Base(View):  # type: ignore[misc]
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        post = get

    class Derived(Base):
        pass

    def made() -> Any:
        @once
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        return view

    class A(View):  # type: ignore[misc]
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse()

    class B(A):
        pass

    for view in (Base.as_view(), Derived.as_view(), made(), made(), once(A.as_view()), once(B.as_view())):
        assert scodes(view, 3) == [200, 200, 429]

    def each(request: HttpRequest) -> HttpResponse:
        # Decorated anew for each request, it is one all the same.
        response: HttpResponse = once(plain)(request)
        return response

    def of_each(request: HttpRequest) -> HttpResponse:
        @once
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        return cast(HttpResponse, view(request))

    assert scodes(each, 3) == [200, 200, 429]
    assert scodes(of_each, 3) == [200, 200, 429]

    # All of those that stand above each other hold.
    stacked = method_decorator(ratelimit("ip", "3/minute", method="POST"), name="dispatch")(
        method_decorator(ratelimit("ip", "3/minute", method="GET"), name="dispatch")(A)
    ).as_view()
    assert scodes(stacked, 4) == [200] * 3 + [429] and scodes(stacked, 1, "POST") == [405]
    assert scodes(ratelimit("ip", "1/hour")(Base.as_view()), 1) == [429]
    around = ratelimit("ip", "1/hour")(B.as_view())
    assert scodes(around, 2) == [200, 429]


def test_decorators_between_limits_change_nothing(configured: Any) -> None:
    @ratelimit("ip", "1/hour", method="POST")
    @never_cache  # type: ignore[untyped-decorator]
    @ratelimit("ip", "2/minute")
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert scodes(view, 1, "POST") == [200] and scodes(view, 1, "POST") == [429] and scodes(view, 2) == [200, 429]


async def test_classes_of_async_views_are_limited_by_dispatch(configured: Any) -> None:
    @method_decorator(limit("2/minute", "ip"), name="dispatch")
    class Async(View):  # type: ignore[misc]
        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse()

    assert await acodes(Async.as_view(), 3) == [200, 200, 429]


async def test_who_is_known_is_found_without_a_look_at_the_database_from_the_loop(configured: Any) -> None:
    @limit("1/minute")
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    @async_unsafe  # type: ignore[untyped-decorator]
    def looked_up() -> User:
        return User(pk=7)

    async def auser() -> User:
        return User(pk=7)

    async def code(**attributes: Any) -> int:
        request = AsyncRequestFactory().get("/")
        vars(request).update(attributes)
        return int((await view(request)).status_code)

    assert [await code(user=SimpleLazyObject(looked_up), auser=auser) for _ in range(2)] == [200, 429]
    assert [await code(user=SimpleLazyObject(looked_up)), await code(user=User(pk=7)), await code()] == [429, 429, 200]


async def test_a_query_may_be_text_as_that_of_djangos_client(configured: Any) -> None:
    configured(LIMITS="1/minute", EXEMPT=["path:/health"])
    client = AsyncClient()
    assert [(await client.get("/async?x=1")).status_code for _ in range(2)] == [200, 429]


def test_the_first_requests_are_counted_in_one_table(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _State._made

    def slowly(self: _State) -> Any:
        time.sleep(0.05)
        return made(self)

    monkeypatch.setattr(_State, "_made", slowly)
    view = ratelimit("ip", "2/minute")(plain)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: scodes(view, 1)[0], range(8)))
    assert answers.count(200) == 2
