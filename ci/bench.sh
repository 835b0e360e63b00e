#!/usr/bin/env bash
# The table of workloads, ours, peer, ratio, goal, and what the layer costs a request. Five minutes; `full`, with all sizes for all
# peers, half an hour.
#
# ci/bench.sh [full] [--tsv] [--test] [--list] [FILTER]   FILTER: only scenes whose name contains it
# ci/bench.sh layer                                       the layer alone, beside tower_governor
# ci/bench.sh pictures                                    the figures and pictures of docs/pictures, see ci/pictures.sh
#
# The table goes to standard output, progress to standard error. Ratios are medians of ratios within a round of short
# slices; nanoseconds on a shared machine mean little.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
if [[ ${1:-} == pictures ]]; then
    exec ci/pictures.sh
fi
ci/machine.sh >&2
if [[ ${1:-} != layer ]]; then
    cargo bench --quiet --package tollgate --bench ratios -- "$@"
fi
# With a filter, the layer is not what is asked for.
if [[ $# == 0 || $1 == full || $1 == layer ]]; then
    cargo bench --quiet --package tollgate-http --bench layer
fi
