"""Which limits a view of Flask has, and with whom it counts: by its endpoint, and by its blueprints."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from test_flask import codes
from tollgate_limiter import ManualClock
from tollgate_limiter.flask import Limiter

View = Callable[[], str]


def made() -> View:
    """Views of a factory, which all have one name."""

    def view() -> str:
        return "made"

    return view


def unnamed(view: View) -> View:
    """A decorator that does not say what it wraps."""

    def inner() -> str:
        return view()

    return inner


def of_class(decorator: Any) -> Any:
    class Shown(MethodView):
        decorators = [decorator]

        def get(self) -> str:
            return "shown"

    return Shown.as_view("shown")


class Called:
    """A view that is an object."""

    def __call__(self, text: str = "called") -> str:
        return text


KINDS: dict[str, Callable[[Any], Any]] = {
    "factory": lambda decorator: decorator(made()),
    "decorator without wraps, outside": lambda decorator: unnamed(decorator(made())),
    "decorator without wraps, inside": lambda decorator: decorator(unnamed(made())),
    "class": of_class,
    "partial": lambda decorator: decorator(functools.partial(Called(), "partial")),
    "object": lambda decorator: decorator(Called()),
    "bound": lambda decorator: decorator(Called().__call__),
}


@pytest.mark.parametrize("kind", KINDS)
def test_views_of_one_name_are_limited_each_by_itself(kind: str, clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)
    for name in ("a", "b"):
        app.add_url_rule(f"/{name}", name, KINDS[kind](limiter.limit("2/hour")))
    assert codes(app, "/a", 3) == [200, 200, 429] and codes(app, "/b", 3) == [200, 200, 429]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "outside" not in kind])
def test_what_is_exempt_does_not_exempt_its_namesakes(kind: str, clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, default_limits=["1/hour"])
    app.add_url_rule("/free", "free", KINDS[kind](limiter.exempt))
    app.add_url_rule("/held", "held", KINDS[kind](lambda view: view))
    assert codes(app, "/free", 3) == [200] * 3 and codes(app, "/held", 2) == [200, 429]


def test_what_is_exempt_stays_so_under_wraps_and_at_each_endpoint(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, default_limits=["1/hour"])
    view = limiter.exempt(limiter.limit("1/hour")(made()))
    app.add_url_rule("/a", "a", view)
    app.add_url_rule("/b", "b", functools.wraps(view)(lambda: view()))
    assert codes(app, "/a", 3) + codes(app, "/b", 3) == [200] * 6


def test_one_view_at_two_endpoints_counts_at_each(clock: ManualClock) -> None:
    app = Flask(__name__)
    view = Limiter(app, clock=clock).limit("1/hour")(made())
    app.add_url_rule("/a", "a", view)
    app.add_url_rule("/b", "b", view)
    assert codes(app, "/a", 2) == [200, 429] and codes(app, "/b", 2) == [200, 429]


def test_counts_are_kept_by_names_that_the_next_process_has_too(clock: ManualClock, shared_name: str) -> None:
    def started() -> Flask:
        app = Flask(__name__)
        limiter = Limiter(app, shared=shared_name)
        for name in ("a", "b"):
            app.add_url_rule(f"/{name}", name, limiter.limit("2/hour")(made()))
        return app

    assert codes(started(), "/a", 2) == [200, 200]
    assert codes(started(), "/a", 1) == [429] and codes(started(), "/b", 1) == [200]


def test_a_scope_may_be_a_function_of_the_endpoint(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)
    by_family = limiter.shared_limit("2/hour", scope=lambda endpoint: endpoint.partition("-")[0])
    for name in ("a-1", "a-2", "b-1"):
        app.add_url_rule(f"/{name}", name, by_family(made()))
    scopes: list[str] = []

    def scope(endpoint: str) -> str:
        scopes.append(endpoint)
        return str(len(scopes) % 2)

    app.add_url_rule("/c", "c", limiter.limit("1/hour", scope=scope)(made()))
    assert codes(app, "/a-1", 2) + codes(app, "/a-2", 1) == [200, 200, 429] and codes(app, "/b-1", 3) == [200, 200, 429]
    assert codes(app, "/c", 3) == [200, 200, 429] and scopes == ["c"] * 3


def nested(limiter: Limiter, app: Flask) -> tuple[Blueprint, Blueprint]:
    """``/in`` in a blueprint that is registered within another one under a new name, and ``/out`` in that other one."""
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    inner.add_url_rule("/in", "view", made())
    inner.add_url_rule("/in/2", "view2", made())
    outer.add_url_rule("/out", "view", made())
    outer.register_blueprint(inner, name="renamed")
    app.register_blueprint(outer)
    return outer, inner


def test_limits_of_blueprints_reach_what_is_within_under_any_name(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, default_limits="5/hour")
    outer, inner = nested(limiter, app)
    limit: Any = limiter.limit
    limit("2/hour")(outer)
    # Of each route by itself.
    assert [codes(app, path, 3) for path in ("/in", "/in/2", "/out")] == [[200, 200, 429]] * 3
    limit("3/hour")(inner)
    # The nearest one takes the place of those around it.
    assert codes(app, "/in", 4) == [200, 200, 200, 429] and codes(app, "/out", 1) == [429]


def test_limits_of_a_blueprint_hold_beside_those_around_it_if_told_so(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)
    outer, inner = nested(limiter, app)
    limit: Any = limiter.limit
    limit("2/hour")(outer)
    limit("3/hour", override_defaults=False)(inner)
    assert codes(app, "/in", 3) == [200, 200, 429]


@pytest.mark.parametrize("which", [0, 1])
def test_a_blueprint_is_exempt_with_those_within(which: int, clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, default_limits=["1/hour"])
    limiter.exempt(nested(limiter, app)[which])
    assert codes(app, "/in", 3) == [200] * 3
    assert codes(app, "/out", 2) == [200, 429 if which else 200]


def test_an_endpoint_with_a_dot_may_be_of_no_blueprint(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, default_limits=["1/hour"])
    app.add_url_rule("/", "v1.index", made())
    app.add_url_rule("/free", "free", limiter.exempt(made()))
    assert codes(app, "/", 2) == [200, 429]


def test_limits_of_a_route_take_the_place_of_its_blueprints(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)
    blueprint = Blueprint("bp", __name__)
    limit: Any = limiter.limit
    limit("1/hour")(blueprint)
    blueprint.add_url_rule("/", "view", limiter.limit("3/hour", methods=["POST"])(made()), methods=["GET", "POST"])
    app.register_blueprint(blueprint)
    assert codes(app, "/", 4, method="POST") == [200, 200, 200, 429]
    # It has none of this method.
    assert codes(app, "/", 2) == [200, 429]


def test_what_flask_answers_by_itself_takes_nothing_of_the_route(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, application_limits="9/hour")
    app.add_url_rule("/", "view", limiter.limit("1/hour")(made()), methods=["POST"])
    own = limiter.limit("1/hour")(made())
    app.add_url_rule("/own", "own", own, methods=["OPTIONS"], provide_automatic_options=False)
    assert codes(app, "/", 3, method="OPTIONS") == [200] * 3 and codes(app, "/", 2, method="POST") == [200, 429]
    assert codes(app, "/own", 2, method="OPTIONS") == [200, 429]
    assert codes(app, "/", 9, method="OPTIONS").count(200) == 4


async def never(*_: Any) -> bool:
    return False


def test_functions_that_nobody_would_await_are_refused() -> None:
    """What such a function answers is true, whatever it would say: nothing would be limited."""
    limiter = Limiter(key_func=lambda: "key")
    for wrong in ("exempt_when", "deduct_when", "cost", "key_func"):
        with pytest.raises(TypeError, match=f"{wrong}=.* is async, and Flask cannot await it"):
            limiter.limit("1/minute", **{wrong: never})(made())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key_func=.* is async"):
        Limiter(key_func=never)
    with pytest.raises(TypeError, match="exempt_when=.* is async"):
        Limiter(key_func=lambda: "key", default_limits=["1/minute"], default_limits_exempt_when=never)  # type: ignore[arg-type]


def test_a_hidden_coroutine_exempts_nobody() -> None:
    app = Flask(__name__)
    limiter = Limiter(app, key_func=lambda: "key")
    app.get("/")(limiter.limit("1/minute", exempt_when=lambda: never())(made()))  # type: ignore[arg-type,return-value]
    assert codes(app, "/", 2) == [500, 500]
