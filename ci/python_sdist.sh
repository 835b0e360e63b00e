#!/usr/bin/env bash
# The source package of the Python package: made by `python -m build`, installed by pip into a fresh environment, which builds it from what is in
# it alone, and asked for a decision. Some minutes, as the engine is compiled anew: not a part of ci/python.sh. Wants Rust, and Python from
# 3.10 with venv.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR="$target/python" PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet build
"$work/venv/bin/python" -m build --sdist --outdir "$work/sdist" crates/python > "$work/log" 2>&1 || { tail -40 "$work/log" >&2; exit 1; }
"$work/venv/bin/python" -m pip install --quiet "$work"/sdist/tollgate_limiter-*.tar.gz
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
from tollgate_limiter import Asgi, Limiter, Wsgi

limiter = Limiter("2/minute")
assert [limiter.allow("ada") for _ in range(3)] == [True, True, False]
assert Wsgi(lambda environ, start: [], "5/minute") and Asgi(None, "5/minute")
PYTHON
echo "ci/python_sdist.sh: the source package is built and installed by pip, and decides"
