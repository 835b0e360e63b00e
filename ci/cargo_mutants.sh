#!/usr/bin/env bash
# Changes one operator or one answer at a time in the modules of pure arithmetic, and runs the tests on each change:
# `ci/cargo_mutants.sh [FILE...]`, by default all of them. Fails if fewer than 95 % of the changes are noticed, or if one
# survives that ci/cargo_mutants.txt does not list. An hour; installs cargo-mutants if it is missing.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
fail() { echo "ci/cargo_mutants.sh: $1" >&2; exit 1; }

[[ $# -gt 0 ]] || set -- src/{word,base,quota,rate,decision,set}.rs src/algorithm/*.rs
files=()
for file in "$@"; do
    [[ -f $file ]] || { echo "ci/cargo_mutants.sh: no such file: $file" >&2; exit 2; }
    files+=(--file "$file")
done
export PATH="$PWD/target/tools/bin:$PATH"
cargo mutants --version >/dev/null 2>&1 || cargo install cargo-mutants --locked --root target/tools

out=target/cargo-mutants
mkdir -p "$out"
# Lean builds; and as many steps of the oracle as notice nearly all by themselves.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 TOLLGATE_STEPS=30000
status=0
cargo mutants --config ci/cargo_mutants.toml --package tollgate --output "$out" "${files[@]}" || status=$?
# 2 and 3: some were missed, or ran out of time, which is for what follows to judge.
[[ $status == 0 || $status == 2 || $status == 3 ]] || fail "cargo mutants failed ($status)"

cd "$out/mutants.out"
awk -F: '
    { name[$1]; count[$1, FILENAME]++; all[FILENAME]++ }
    function line(name, killed, missed) {
        printf "%-34s %4d of %4d noticed, %5.1f %%\n", name, killed, killed + missed, 100 * killed / (killed + missed)
    }
    END {
        for (n in name) line(n, count[n, "caught.txt"] + count[n, "timeout.txt"], count[n, "missed.txt"])
        killed = all["caught.txt"] + all["timeout.txt"]
        line("together", killed, all["missed.txt"])
        exit killed < 0.95 * (killed + all["missed.txt"])
    }' caught.txt timeout.txt missed.txt || fail "fewer than 95 % noticed"
# Without line numbers, one line for each.
survivors=$(sed -E 's/^([^:]+):[0-9]+:[0-9]+: /\1: /' missed.txt | sort)
accepted=$(sed -E '/^#|^$/d; s/ +# .*//' ../../../ci/cargo_mutants.txt | sort)
unknown=$(comm -23 <(printf '%s\n' "$survivors") <(printf '%s\n' "$accepted") | sed '/^$/d')
[[ -z $unknown ]] || { printf '%s\n' "$unknown"; fail "these changes survive, and ci/cargo_mutants.txt does not say why"; }
echo "ci/cargo_mutants.sh: every survivor is accounted for"
