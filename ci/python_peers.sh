#!/usr/bin/env bash
# The suites of `limits` and Flask-Limiter, from their source packages on PyPI, with the engine in the place of their own memory storage:
# of the tests that pass with theirs, those that do not with ours must be the ones listed here. Run ci/python.sh first, which makes the
# environment. Three minutes, of which most is sleep (six where the machine is busy); no step of .ci/run, as it fetches both.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
bin="$target/python-test/bin"
[[ -x $bin/pytest ]] || { echo "ci/python_peers.sh: run ci/python.sh first" >&2; exit 1; }
"$bin/python" -m pip install --quiet pymemcache pymongo redis valkey hiro pytest-mock pytest-lazy-fixtures lovely-pytest-docker flask-restful asgiref
export PYTHONPATH="$PWD/crates/python/tests" PIP_DISABLE_PIP_VERSION_CHECK=1
peers="$target/python-peers"
mkdir -p "$peers"
cd "$peers"
for package in limits-5.8.0 flask_limiter-4.1.1; do
    [[ -d $package ]] || { "$bin/python" -m pip download --quiet --no-deps --no-binary :all: "${package/-/==}" && tar xf "$package.tar.gz"; }
done

# The reasons: a log of more than 1,024 entries is refused with an error that says so (huge_cost); the sliding counter is not rounded
# down, so it admits up to one fewer (previous_window: by the second in which the test begins, so it may pass).
cat > expected <<'LIST'
tests/aio/test_strategy.py::TestAsyncMovingWindow::test_moving_window_huge_cost[in-memory]
tests/aio/test_strategy.py::TestAsyncSlidingWindow::test_sliding_window_counter_previous_window[in-memory]
tests/test_strategy.py::TestMovingWindow::test_moving_window_huge_cost[in-memory]
tests/test_strategy.py::TestSlidingWindow::test_sliding_window_counter_previous_window[in-memory]
LIST

# Those that pass, by name.
passed() {
    local directory=$1
    shift
    (cd "$directory" && "$bin/python" -m pytest -o addopts= -c /dev/null --rootdir=. -o asyncio_mode=auto \
        -o asyncio_default_fixture_loop_scope=function -p no:cacheprovider -W ignore -rA --tb=no -q "$@" || true) |
        sed -n 's/^PASSED //p' | sort
}
limits=(limits-5.8.0 tests/test_strategy.py tests/aio/test_strategy.py -k memory)
flask=(flask_limiter-4.1.1 tests --ignore tests/test_commands.py)
{ passed "${limits[@]}"; passed "${flask[@]}"; } > theirs
{ passed "${limits[@]}" -p peers_plugin; passed "${flask[@]}" -p peers_plugin; } > ours
sort -o theirs theirs
sort -o ours ours
(($(wc -l < theirs) > 120)) || { echo "ci/python_peers.sh: only $(wc -l < theirs) tests pass with their own storage" >&2; exit 1; }
comm -23 theirs ours > differ
comm -23 differ expected > unexpected
if [[ -s unexpected ]]; then
    echo "ci/python_peers.sh: these pass with their own memory storage, and not here:" >&2
    cat unexpected >&2
    exit 1
fi
comm -13 differ <(grep huge_cost expected) > surplus
if [[ -s surplus ]]; then
    echo "ci/python_peers.sh: these are listed as different, and are not (or was the engine not asked?):" >&2
    cat surplus >&2
    exit 1
fi
echo "ci/python_peers.sh: of $(wc -l < theirs) tests that pass with their own memory storage, $(wc -l < differ) differ, each as expected"
