#!/usr/bin/env bash
# Compares what clients see of `tollgate gateway` with what they see of Flask-Limiter and slowapi, case by case. Ten
# seconds, once it is built and the packages are there; they stay under target/.
# Needs python3 with venv and pip, and PyPI; without them it fails rather than passing unseen.
#
#     TOLLGATE   a program to compare instead of the one built here
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

fail() { echo "http_compare: $*" >&2; exit 1; }

target=${CARGO_TARGET_DIR:-target}
packages=(flask-limiter==4.1.1 limits==5.8.0 slowapi==0.1.10 fastapi==0.165.0 starlette==1.10.0 httpx==0.28.1)
venv=$target/http_compare
command -v python3 > /dev/null || fail "python3 is not installed"
[[ $(cat "$venv/packages" 2> /dev/null) == "${packages[*]}" ]] || {
    rm -rf "$venv"
    python3 -m venv "$venv" || fail "python3 -m venv does not work here"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}" ||
        fail "pip could not install ${packages[*]}"
    echo "${packages[*]}" > "$venv/packages"
}

if [[ -z ${TOLLGATE:-} ]]; then
    cargo build --quiet --package tollgate-gateway || fail "the program does not build"
    TOLLGATE=$target/debug/tollgate
fi
# The test client of FastAPI warns about its own future.
TOLLGATE=$TOLLGATE "$venv/bin/python" -W ignore ci/http_compare.py
