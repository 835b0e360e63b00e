#!/usr/bin/env bash
# Runs the models of `loom-tests/` under all their witnesses: the complete explorer, loom with plain loads and with loads
# as read-modify-writes (it explores different schedules), and Shuttle.
#
#   ci/loom.sh             all of that
#   ci/loom.sh full        the larger models as well, with a higher preemption bound and more of Shuttle: ten minutes
#   ci/loom.sh explorer    one witness: explorer, loom, rmw or shuttle; further arguments filter the models
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/../loom-tests"

witnesses=(explorer loom rmw shuttle)
case "${1:-}" in
    "") ;;
    full) export TOLLGATE_LOOM_FULL=1 TOLLGATE_SHUTTLE_RUNS="${TOLLGATE_SHUTTLE_RUNS:-100000}" ;;
    explorer | loom | rmw | shuttle) witnesses=("$1") ;;
    *) echo "usage: ci/loom.sh [full | explorer | loom | rmw | shuttle [FILTER]]" >&2; exit 2 ;;
esac
shift $(($# > 0))
# A directory of its own: the flag would rebuild everything else.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/../target/loom}"
export RUSTFLAGS="--cfg tollgate_model ${RUSTFLAGS:-}"

failed=0
for witness in "${witnesses[@]}"; do
    echo "== $witness"
    export TOLLGATE_WITNESS="${witness/rmw/loom}"
    unset TOLLGATE_LOOM_RMW
    [ "$witness" != rmw ] || export TOLLGATE_LOOM_RMW=1
    # One at a time: the witnesses are single-threaded, and the times are comparable then.
    cargo test --release --locked --no-fail-fast --test models -- "$@" --test-threads=1 --nocapture || failed=1
    # The word of a fleet's leases is in another crate, and stands on loom alone.
    [ "$witness" != loom ] || cargo test --release --locked --test fleet_lease -- "$@" || failed=1
done
exit "$failed"
