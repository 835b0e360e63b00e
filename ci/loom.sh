#!/usr/bin/env bash
# Runs the loom models twice, with plain loads and with loads as read-modify-writes: loom explores different schedules.
# `ci/loom.sh full` runs the larger ones as well, with a higher preemption bound: for the night.
set -euo pipefail
cd "$(dirname "$0")/../loom-tests"

case "${1:-}" in
    "") ;;
    full) export TOLLGATE_LOOM_FULL=1 ;;
    *) echo "usage: ci/loom.sh [full]" >&2; exit 2 ;;
esac
# A directory of its own: the flag would rebuild everything else.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/../target/loom}"
export RUSTFLAGS="--cfg tollgate_model ${RUSTFLAGS:-}"

run() {
    echo "== $1"
    # One at a time: loom is single-threaded, and the times are comparable then.
    cargo test --release --locked --no-fail-fast --tests -- --test-threads=1 --nocapture
}

failed=0
run "plain loads" || failed=1
TOLLGATE_LOOM_RMW=1 run "loads as read-modify-writes" || failed=1
exit "$failed"
