"""Limits of Flask's routes."""

from typing import Any

import pytest
from flask import Blueprint, Flask, jsonify, request

from tollgate_limiter import ManualClock
from tollgate_limiter.flask import Limiter, RateLimitExceeded, get_remote_address


def codes(app: Flask, path: str, times: int, **options: Any) -> list[int]:
    client = app.test_client()
    return [client.open(path, **options).status_code for _ in range(times)]


@pytest.mark.parametrize("order", ["app first", "key first", "init_app"])
def test_both_orders_of_arguments(order: str, clock: ManualClock) -> None:
    app = Flask(__name__)
    defaults: Any = {"default_limits": ["200 per day", "50 per hour"], "clock": clock}
    if order == "app first":
        limiter = Limiter(app, key_func=get_remote_address, **defaults)
    elif order == "key first":
        limiter = Limiter(get_remote_address, app=app, **defaults)
    else:
        limiter = Limiter(key_func=get_remote_address, **defaults)
        limiter.init_app(app)

    @app.route("/users")
    @limiter.limit("10 per minute")
    def users() -> str:
        return "users"

    @app.route("/other")
    def other() -> str:
        return "other"

    assert codes(app, "/users", 11) == [200] * 10 + [429]
    assert codes(app, "/other", 51) == [200] * 50 + [429]


def test_a_refusal_tells_the_wait_and_a_handler_keeps_it(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)

    @app.route("/")
    @limiter.limit("2/minute", error_message="slow down")
    def index() -> str:
        return "ok"

    client = app.test_client()
    first = client.get("/")
    assert first.headers.getlist("RateLimit")[0].endswith(";r=1;t=30") and "Retry-After" not in first.headers
    client.get("/")
    refused = client.get("/")
    assert refused.status_code == 429 and refused.headers.getlist("Retry-After") == ["30"] and b"slow down" in refused.data
    clock.advance(30)
    assert client.get("/").status_code == 200


def test_a_handler_of_the_application_keeps_the_fields(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)

    @app.route("/")
    @limiter.limit("2/minute", error_message="slow down")
    def index() -> str:
        return "ok"

    @app.errorhandler(429)
    def handler(error: RateLimitExceeded) -> Any:
        return jsonify(error=error.description, wait=error.decision.retry_after), 429

    client = app.test_client()
    handled = [client.get("/") for _ in range(3)][2]
    assert handled.json == {"error": "slow down", "wait": 30.0} and handled.headers.getlist("Retry-After") == ["30"]


def test_limits_of_one_route_are_all_or_nothing(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, strategy="moving-window")

    @app.route("/")
    @limiter.limit("3/minute")
    @limiter.limit("4/hour", key_func=lambda: "all")
    def index() -> str:
        return "ok"

    assert codes(app, "/", 9).count(200) == 3
    clock.advance(60)
    # Six were refused, and took nothing of the hour.
    assert codes(app, "/", 9).count(200) == 1


def test_what_is_deducted_is_decided_by_the_response(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)

    @app.route("/login", methods=["GET", "POST"])
    @limiter.limit("2/hour", methods=["POST"], deduct_when=lambda response: response.status_code == 401)
    def login() -> Any:
        return "", 401 if "bad" in request.args else 200

    assert codes(app, "/login", 5, method="POST") == [200] * 5
    assert codes(app, "/login?bad", 3, method="POST") == [401, 401, 429]
    assert codes(app, "/login", 1, method="POST") == [429]
    assert codes(app, "/login", 5) == [200] * 5


def test_shared_exempt_cost_dynamic_and_blueprints(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, default_limits=["1/hour"], application_limits=["100/hour"])
    both = limiter.shared_limit("3/hour", scope="both")
    bp = Blueprint("bp", __name__, url_prefix="/bp")

    @app.route("/a")
    @both
    def a() -> str:
        return "a"

    @app.route("/b")
    @both
    def b() -> str:
        return "b"

    @app.route("/free")
    @limiter.exempt
    def free() -> str:
        return "free"

    @app.route("/costly")
    @limiter.limit("10/hour", cost=lambda: 4)
    def costly() -> str:
        return "costly"

    @app.route("/dynamic")
    @limiter.limit(lambda: request.args.get("rate"))
    def dynamic() -> str:
        return "dynamic"

    @bp.route("/x")
    def x() -> str:
        return "x"

    limiter.limit("2/hour")(bp)  # type: ignore[arg-type]
    app.register_blueprint(bp)
    assert codes(app, "/a", 2) + codes(app, "/b", 2) == [200, 200, 200, 429]
    assert codes(app, "/free", 5) == [200] * 5
    assert codes(app, "/costly", 3) == [200, 200, 429]
    assert codes(app, "/dynamic?rate=1/hour", 2) == [200, 429] and codes(app, "/dynamic", 2) == [200, 200]
    assert codes(app, "/bp/x", 3) == [200, 200, 429]


def test_a_fixed_window_counts_what_it_refuses(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock, strategy="fixed-window")

    @app.route("/")
    @limiter.limit("10/minute", cost=lambda: int(request.args["n"]))
    def index() -> str:
        return "ok"

    assert [codes(app, f"/?n={cost}", 1)[0] for cost in (8, 5, 1)] == [200, 429, 429]


def test_a_function_that_a_request_calls_is_limited(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)

    @limiter.limit("2/hour")
    def send() -> str:
        return "sent"

    @app.route("/")
    def index() -> str:
        return send()

    assert codes(app, "/", 3) == [200, 200, 429]


def test_what_is_wrong_is_said_where_it_is_declared() -> None:
    app = Flask(__name__)
    with pytest.raises(ValueError, match="expected a unit"):
        Limiter(app, default_limits=["5/fortnight"])
    with pytest.raises(ValueError, match="redis://"):
        Limiter(app, storage_uri="redis://localhost")
    with pytest.raises(ValueError, match="`legacy` is not a valid dialect"):
        Limiter(app, dialect="legacy")
    with pytest.raises(TypeError, match="each once"):
        Limiter(app, "10/minute")
    limiter = Limiter(app)
    with app.app_context():

        @app.route("/")
        def index() -> str:
            return "ok"

        with pytest.raises(RuntimeError, match="must stand below @app.route: `index`"):
            limiter.limit("1/hour")(index)


@pytest.mark.parametrize("given", ["2/hour;1/minute", lambda: "1/minute", ["2/hour", "1/minute"]])
def test_limits_may_be_a_text_a_function_or_a_list(given: Any, clock: ManualClock) -> None:
    for name in ("default_limits", "application_limits"):
        app = Flask(__name__)
        Limiter(app, clock=clock, **{name: given})
        app.add_url_rule("/", "index", lambda: "ok")
        assert codes(app, "/", 2) == [200, 429]


def test_it_can_be_switched_off() -> None:
    app = Flask(__name__)
    limiter = Limiter(app, default_limits=["1/hour"], enabled=False)

    @app.route("/")
    @limiter.limit("1/hour")
    def index() -> str:
        return "ok"

    assert codes(app, "/", 3) == [200] * 3


def test_requests_in_one_context_of_the_application_are_each_limited(clock: ManualClock) -> None:
    """Flask does not make a context for each, where there is one already, as in tests and commands."""
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)

    @app.route("/")
    @limiter.limit("2/minute")
    def index() -> str:
        return "ok"

    with app.app_context():
        client = app.test_client()
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]


def test_views_of_one_name_of_two_applications_have_limits_of_their_own(clock: ManualClock) -> None:
    limiter = Limiter(clock=clock)
    clients = []
    for rate in ("1/minute", "2/minute"):
        app = Flask(__name__)
        limiter.init_app(app)

        def index() -> str:
            return "ok"

        app.add_url_rule("/", "index", limiter.limit(rate, scope=rate)(index))
        clients.append(app.test_client())
    codes = [client.get("/").status_code for client in (*clients, *clients, *clients)]
    assert codes == [200, 200, 429, 200, 429, 429]


def test_limits_that_are_made_anew_are_asked_anew(clock: ManualClock) -> None:
    app = Flask(__name__)
    limiter = Limiter(app, clock=clock)

    @app.route("/")
    @limiter.limit("2/minute")
    def index() -> str:
        return "ok"

    client = app.test_client()
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
    clock.advance(30)
    assert client.get("/").status_code == 200
    # From now on a window begins with the first hit, whose count is another one.
    limiter._table.go_by("fixed-window")
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
    clock.advance(30)
    assert client.get("/").status_code == 429
