#!/usr/bin/env bash
# Instructions a check and a request through the layer, and how many of them are locked, counted by callgrind, against the table that
# is kept: fails if a row grew by more than 5 %, or has more locked instructions than it had.
#
# ci/instructions.sh            counts and compares
# ci/instructions.sh --update   counts and keeps
#
# Each row is counted for N and for 2 N calls; the difference is that of N calls, whatever it took to begin. The loop's
# own instructions are subtracted. The counts are those of one compiler: with another they are compared all the same,
# and it is said. A locked instruction is one that other processors may have to wait for, if they use the same line. Two minutes.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
table=docs/instructions.tsv
calls=16000

command -v valgrind > /dev/null && command -v objdump > /dev/null || {
    echo "ci/instructions.sh: installing valgrind and binutils" >&2
    [[ $(id -u) == 0 ]] && sudo="" || sudo=sudo
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq valgrind binutils; } > /dev/null
}
# The program that a bench is built into.
built() {
    cargo build --quiet --package "$1" --profile bench --bench "$2" --message-format=json |
        sed -n 's/.*"name":"'"$2"'".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}
programs=("$(built tollgate instructions)" "$(built tollgate-http layer)")
compiler=$(rustc --version | cut -d ' ' -f 1-2)

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
# Instructions and locked ones within `measured`, for a program, a row and a number of calls.
count() {
    local out
    out=$(mktemp -p "$new")
    valgrind --tool=callgrind --callgrind-out-file="$out" --collect-atstart=no --toggle-collect='*measured*' \
        --dump-instr=yes --dump-line=no --compress-pos=no "$1" "$2" "$3" > /dev/null 2>&1
    python3 ci/locked.py "$1" "$out"
}
export -f count
export new

for program in "${programs[@]}"; do
    objdump --disassemble --no-show-raw-insn "$program" > "$new/$(basename "$program").disassembled"
    "$program" --rows | tee -a "$new/rows" | xargs -d '\n' -P "$(nproc)" -I {} bash -c '
        one=$(count "$1" "$2" "$3") two=$(count "$1" "$2" $((2 * $3)))
        [[ -n $one && -n $two ]] || { echo "ci/instructions.sh: no count of: $2" >&2; exit 1; }
        printf "%s\t%s\t%s\n" "$2" "$one" "$two"' _ "$program" {} "$calls" >> "$new/counts"
done

python3 - "$new" "$table" "$calls" "$compiler" "${1:-}" <<'PYTHON'
import sys

new, table, calls, compiler, mode = sys.argv[1:]
calls = int(calls)
counted = {}
for line in open(f"{new}/counts"):
    row, *counts = line.rstrip("\n").split("\t")
    one, one_locked, two, two_locked = map(int, counts)
    counted[row] = ((two - one) / calls, (two_locked - one_locked) / calls)
counted = {row: counted[row] for row in open(f"{new}/rows").read().splitlines()}
loops = {row.removesuffix("the loop alone"): counted.pop(row) for row in list(counted) if row.endswith("the loop alone")}
counts = {}
for row, (count, locked) in counted.items():
    loop = loops["layer: " if row.startswith("layer: ") else ""]
    # A batch goes round the loop once for 32 keys.
    share = 1 / 32 if row.startswith("check_keys") else 1
    counts[row] = (count - share * loop[0], locked - share * loop[1])

kept, kept_compiler = {}, None
try:
    for line in open(table):
        line = line.rstrip("\n")
        if line.startswith("# compiler: "):
            kept_compiler = line.removeprefix("# compiler: ")
        elif line and not line.startswith("#") and not line.startswith("check\t"):
            row, count, locked = line.split("\t")
            kept[row] = (float(count), float(locked))
except FileNotFoundError:
    pass

if mode == "--update":
    with open(table, "w") as out:
        print("# Instructions a check, the loop subtracted: ci/instructions.sh --update", file=out)
        print(f"# compiler: {compiler}", file=out)
        print("check\tinstructions\tlocked", file=out)
        for row, (count, locked) in counts.items():
            print(f"{row}\t{count:.1f}\t{locked:.2f}", file=out)

width = max(map(len, counts))
grew, shrank = [], []
print(f"{'check':{width}} {'instructions':>12} {'kept':>8} {'change':>8} {'locked':>8} {'kept':>8}")
for row in list(counts) + [row for row in kept if row not in counts]:
    if row not in counts:
        grew.append(f"{row}: in {table}, and no longer counted")
        continue
    now, locked = counts[row]
    before, locked_before = kept.get(row, (None, None))
    if before is None:
        print(f"{row:{width}} {now:12.1f} {'-':>8} {'':>8} {locked:8.2f} {'-':>8}")
        grew.append(f"{row}: not in {table}")
        continue
    print(f"{row:{width}} {now:12.1f} {before:8.1f} {100 * (now / before - 1):+6.1f} % {locked:8.2f} {locked_before:8.2f}")
    if now > before * 1.05:
        grew.append(f"{row}: {before} to {now:.1f}")
    elif now < before * 0.95:
        shrank.append(row)
    # Some retry now and then, such as what makes room for a new key.
    if locked > locked_before + 0.05:
        grew.append(f"{row}: {locked_before} to {locked:.2f} locked instructions")
if mode == "--update":
    print(f"kept in {table}")
    sys.exit(0)
if kept_compiler and kept_compiler != compiler:
    print(f"notice: {table} was counted with {kept_compiler}, this with {compiler}")
if shrank:
    print(f"notice: more than 5 % fewer: {', '.join(shrank)}; keep that with ci/instructions.sh --update")
if grew:
    sys.exit("ci/instructions.sh: more than 5 % more instructions than kept, or locked ones, or not known (--update keeps them):\n  "
             + "\n  ".join(grew))
print(f"no row grew by more than 5 % over {table}, or has more locked instructions")
PYTHON
