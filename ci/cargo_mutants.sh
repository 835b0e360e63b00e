#!/usr/bin/env bash
# Changes one operator or one answer at a time in the modules that are pure arithmetic, and runs the tests on each change:
# `ci/cargo_mutants.sh [FILE...]`, by default all of them. Fails if fewer than 95 % of the changes are noticed, or if one
# survives that `ci/cargo_mutants.txt` does not list with its reason. Installs cargo-mutants if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
