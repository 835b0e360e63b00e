#!/usr/bin/env bash
# Plants every defect of `ci/defects/*.toml` in a copy of the tree, one at a time, and fails if one survives.
#
#   ci/mutants.sh            all of them
#   ci/mutants.sh n3 fence   those with one of these in their names
#   ci/mutants.sh --file protocol   those of one list
#   ci/mutants.sh --minutes 12   the lists in an order drawn by the commit, for so long; what there was no time for is named
#   ci/mutants.sh --check    only whether each still has its place and compiles there: a minute, and part of ci/check.sh
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
exec python3 ci/mutants.py "$@"
