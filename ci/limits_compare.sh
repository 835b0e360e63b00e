#!/usr/bin/env bash
# Compares the rate strings of this crate with those of the Python package `limits`, on thousands of generated strings.
# Needs python3 with venv and pip, and PyPI; without them it fails rather than passing unseen.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

fail() { echo "limits_compare: $*" >&2; exit 1; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
command -v python3 > /dev/null || fail "python3 is not installed"
python3 -m venv "$scratch/venv" || fail "python3 -m venv does not work here"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check limits==5.8.0 ||
    fail "pip could not install limits==5.8.0"

cargo build --release --quiet --package tollgate --example parse_rates || fail "the example parse_rates does not build"
"$scratch/venv/bin/python" ci/limits_compare.py
