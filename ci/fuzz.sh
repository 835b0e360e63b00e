#!/usr/bin/env bash
# Fuzzes with coverage as a guide, as cargo-fuzz does, but on the stable toolchain and without sanitizers:
#
#     ci/fuzz.sh                  every target for 5 seconds from a fixed seed, as CI does
#     ci/fuzz.sh 600              every target for 600 seconds
#     ci/fuzz.sh 60 ops log       two of them
#
# Starts from fuzz/corpus/TARGET; what it finds beyond is thrown away, unless TOLLGATE_FUZZ_KEEP=1 asks to merge into the
# corpus the few new inputs that reach new code. An input that fails is printed and kept in fuzz/artifacts/TARGET.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/../fuzz"
all=(base rate ops log quota forwarded proxy_protocol config snapshot table)
export RUST_BACKTRACE=0

usage() {
    echo "ci/fuzz.sh: $1; usage: ci/fuzz.sh [SECONDS [TARGET...]], targets: ${all[*]}" >&2
    exit 2
}

# 0 lets libFuzzer choose a seed.
seed=$((${#} == 0))
seconds=${1:-5}
[[ $seconds =~ ^[1-9][0-9]{0,6}$ ]] || usage "\`$seconds\` is no number of seconds"
shift $((${#} > 0))
targets=("${@:-${all[@]}}")
for target in "${targets[@]}"; do
    [[ " ${all[*]} " == *" $target "* ]] || usage "there is no target \`$target\`"
done

host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions --cfg fuzzing"
# A target of its own name keeps the flags away from build scripts.
features=()
for target in "${targets[@]}"; do
    case $target in
    forwarded | proxy_protocol) features+=(--features http) ;;
    log | config) features+=(--features program) ;;
    esac
done
RUSTFLAGS="$coverage" cargo build --quiet --release --target "$host" ${features[@]+"${features[@]}"} "${targets[@]/#/--bin=}"
programs="${CARGO_TARGET_DIR:-target}/$host/release"
scratch=$(mktemp -d)
child=
trap '[ -z "$child" ] || kill "$child" 2>/dev/null; rm -rf "$scratch"' EXIT

# Of the newest line that libFuzzer wrote: `#executions ... cov: edges ft: features corp: inputs/bytes ...`.
summary() {
    sed -nE 's|^#([0-9]+).* cov: ([0-9]+) ft: ([0-9]+) corp: ([0-9]+)/.*|\1 executions, cov \2, ft \3, \4 inputs|p' "$1" | tail -n 1
}

# One line that updates, or one every ten seconds where there is no terminal.
watch() {
    local start=$SECONDS every=10 passed
    [ -t 1 ] && every=1
    while kill -0 "$child" 2>/dev/null; do
        sleep 1
        passed=$((SECONDS - start))
        if ((passed % every == 0 && passed < seconds)); then
            local line="$1: $((passed * 100 / seconds)) % of $seconds s, $(summary "$2")"
            if [ -t 1 ]; then printf '\r\e[K%s' "$line"; else echo "$line"; fi
        fi
    done
    [ -t 1 ] && printf '\r\e[K'
    return 0
}

failed=0
for target in "${targets[@]}"; do
    new=$scratch/$target.new log=$scratch/$target.log corpus=corpus/$target artifacts=artifacts/$target/
    mkdir -p "$new" "$corpus" "$artifacts"
    touch "$scratch/begin"
    options=(-max_len=1024 -artifact_prefix="$artifacts")
    [ -f "dict/$target" ] && options+=(-dict="dict/$target")
    "$programs/$target" "${options[@]}" -max_total_time="$seconds" -timeout=20 -seed="$seed" "$new" "$corpus" > "$log" 2>&1 &
    child=$!
    watch "$target" "$log"
    if wait "$child"; then
        child=
        # Without coverage it would have been blind, and have found nothing.
        grep -q "DONE  *cov: [1-9]" "$log" || { echo "$target: no coverage" >&2; tail -n 20 "$log" >&2; exit 1; }
        echo "$target: $(summary "$log"), nothing found in $seconds s"
    else
        child=
        failed=1
        echo "$target FAILED:"
        # What the panic said; without one (too slow, out of memory) libFuzzer says it in its last lines.
        if grep -q 'panicked at' "$log"; then sed -n '/panicked at/,/^note: run with/{/^note: run with/!p}' "$log"; else tail -n 20 "$log"; fi
        for artifact in $(find "$artifacts" -type f -newer "$scratch/begin"); do
            RUST_LIBFUZZER_DEBUG_PATH="$scratch/input" "$programs/$target" "$artifact" > /dev/null 2>&1 || true
            echo "with the input, kept in fuzz/$artifact:"
            cat "$scratch/input"
        done
    fi
    if [ "${TOLLGATE_FUZZ_KEEP:-}" = 1 ]; then
        # By the code they reach alone: how often would keep ten times as many.
        mkdir "$scratch/$target.kept"
        "$programs/$target" "${options[@]}" -set_cover_merge=1 -use_counters=0 "$scratch/$target.kept" "$corpus" "$new" > "$log" 2>&1 ||
            { tail -n 20 "$log" >&2; exit 1; }
        # They are written in the order of what each adds.
        rm -rf "$corpus"
        mkdir "$corpus"
        ls -tr "$scratch/$target.kept" | head -n 60 | while read -r name; do cp "$scratch/$target.kept/$name" "$corpus"; done
        echo "$target: the corpus is now $(find "$corpus" -type f | wc -l) inputs"
    fi
done
exit "$failed"
