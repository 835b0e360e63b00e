#!/usr/bin/env bash
# The pictures of docs/pictures, and the figures they are drawn from: cost against keys, calls against threads,
# latencies. About three minutes; on a machine that does nothing else, if they are to be shown.
#
# ci/pictures.sh          measures, and draws
# ci/pictures.sh --draw   draws what was measured before
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
folder=docs/pictures
mkdir -p "$folder"

if [[ ${1:-} != --draw ]]; then
    cargo bench --quiet --package tollgate --bench ratios -- --pictures "$PWD/$folder"
    ci/machine.sh > "$folder/machine.txt"
fi
python3 ci/pictures.py "$folder"
