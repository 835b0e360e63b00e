#!/usr/bin/env bash
# Builds the fuzz targets with coverage, as cargo-fuzz does but on the stable toolchain and without sanitizers, and runs
# each for a few seconds from a fixed seed. To fuzz in earnest: `ci/fuzz_build.sh 600` (seconds per target).
set -euo pipefail
seconds=${1:-5}
cd "$(dirname "$0")/../fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions --cfg fuzzing"
# A target of its own name keeps the flags away from build scripts.
RUSTFLAGS="$coverage" cargo build --quiet --release --target "$host"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for target in rate quota ops; do
    mkdir -p "$out/$target"
    echo "fuzz target $target, $seconds s:"
    "${CARGO_TARGET_DIR:-target}/$host/release/$target" -max_total_time="$seconds" -max_len=512 -seed=1 \
        -artifact_prefix="$out/" -print_final_stats=1 "$out/$target" >"$out/log" 2>&1 || { tail -n 40 "$out/log"; exit 1; }
    grep -E "stat::number_of_executed_units|DONE" "$out/log"
done
