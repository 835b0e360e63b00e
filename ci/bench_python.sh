#!/usr/bin/env bash
# What the Python package costs beside others, as CPU time of contenders in turn. Run ci/python.sh first, which makes the environment.
# A minute.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
python="$(realpath -m "${CARGO_TARGET_DIR:-target}")/python-test/bin/python"
[[ -x $python ]] || { echo "ci/bench_python.sh: run ci/python.sh first" >&2; exit 1; }
"$python" -m pip install --quiet --disable-pip-version-check pyrate-limiter aiolimiter throttled-py fastapi-limiter rust-py-rate-limit
"$python" crates/python/benches/compare.py
