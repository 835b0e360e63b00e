#!/usr/bin/env bash
# Races 2, 8 and 64 threads through one limiter, DECISIONS times in all (1e9 unless told otherwise; minutes), and judges
# every decision in exact integers: `tests/soak.rs`. Prints what each scenario met; one without contention fails.
# TOLLGATE_SEED=7 ci/stress.sh draws other keys and costs.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
source ci/number.sh

if [[ $# -gt 1 ]] || ! TOLLGATE_DECISIONS=$(whole_number "${1:-1e9}"); then
    echo "usage: ci/stress.sh [DECISIONS]: a whole number from 1 to 1e15, such as 1e9 or 200000000" >&2
    exit 2
fi
export TOLLGATE_DECISIONS
# A directory of its own: the flag, which counts the compare-and-swaps that fail and stops threads between two accesses,
# would rebuild everything else.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/stress}"
export RUSTFLAGS="--cfg tollgate_count ${RUSTFLAGS:-}"
cargo test --release --locked --quiet --package tollgate --test soak -- --ignored --exact long --nocapture
