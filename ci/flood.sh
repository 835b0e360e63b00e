#!/usr/bin/env bash
# Streams KEYS distinct keys (1e8 unless told otherwise; minutes) through a table for a hundredth of them, under each
# policy for a full table: `tests/flood.rs`. Prints the memory, who is still in debt, and how long checks take.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
source ci/number.sh

if [[ $# -gt 1 ]] || ! TOLLGATE_KEYS=$(whole_number "${1:-1e8}") || ((TOLLGATE_KEYS < 100000 || TOLLGATE_KEYS > 10 ** 11)); then
    echo "usage: ci/flood.sh [KEYS]: a whole number from 1e5 to 1e11, such as 1e8 or 20000000" >&2
    exit 2
fi
export TOLLGATE_KEYS
cargo test --release --locked --quiet --package tollgate --test flood -- --ignored --exact long --nocapture
