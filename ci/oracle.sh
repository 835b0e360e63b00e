#!/usr/bin/env bash
# Runs the engine against its exact model (tests/oracle) for a long time, on all cores: `ci/oracle.sh [STEPS]`, by default
# 1e9. First it sees that debug and release builds answer alike. A failure names the seed and the command that shows it
# again. TOLLGATE_SEED repeats a run; without it every run is another.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
source ci/number.sh

usage() { echo "usage: [TOLLGATE_SEED=NUMBER] ci/oracle.sh [STEPS], such as 1000000 or 1e9" >&2; exit 2; }

[[ $# -le 1 ]] || usage
steps=$(whole_number "${1:-1e9}") || usage
export TOLLGATE_SEED=${TOLLGATE_SEED:-$(od -An -N7 -tu8 /dev/urandom | tr -d ' ')}
[[ $TOLLGATE_SEED =~ ^[0-9]+$ ]] || usage
export RUST_BACKTRACE=0
echo "oracle: TOLLGATE_SEED=$TOLLGATE_SEED"

# oracle STEPS [FLAG...]: all suites, in the profile that the flags say.
oracle() {
    local steps=$1
    shift
    TOLLGATE_STEPS=$steps cargo test --quiet --package tollgate --test oracle "$@" -- --ignored --exact --nocapture \
        long::all_suites
}

compared=$((steps < 300000 ? steps : 300000))
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for profile in dev release; do
    oracle "$compared" --profile "$profile" >"$out/$profile" || { cat "$out/$profile"; exit 1; }
done
if ! diff <(grep digest "$out/dev") <(grep digest "$out/release"); then
    echo "oracle: debug and release builds answer differently (above: debug <, release >)" >&2
    exit 1
fi
echo "oracle: debug and release builds gave equal answers to $compared calls"
oracle "$steps" --release
