#!/usr/bin/env bash
# Plants every defect of `ci/defects/*.toml` in a copy of the tree, one at a time, and fails if one survives.
#
#   ci/mutants.sh            all of them
#   ci/mutants.sh n3 fence   those with one of these in their names
#   ci/mutants.sh --file protocol   those of one list
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 ci/mutants.py "$@"
