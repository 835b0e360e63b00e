#!/usr/bin/env bash
# Instructions a check, counted by callgrind, against the table that is kept: fails if a row grew by more than 5 %.
#
# ci/instructions.sh            counts and compares
# ci/instructions.sh --update   counts and keeps
#
# Each row is counted for N and for 2 N calls; the difference is that of N calls, whatever it took to begin. The loop's
# own instructions are subtracted. The counts are those of one compiler: with another they are compared all the same,
# and it is said. About a minute.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
table=docs/instructions.tsv
calls=16000

command -v valgrind > /dev/null || {
    echo "ci/instructions.sh: installing valgrind" >&2
    [[ $(id -u) == 0 ]] && sudo="" || sudo=sudo
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq valgrind; } > /dev/null
}
cargo build --quiet --package tollgate --profile bench --bench instructions
program=$(cargo build --quiet --package tollgate --profile bench --bench instructions --message-format=json |
    sed -n 's/.*"name":"instructions".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
compiler=$(rustc --version | cut -d ' ' -f 1-2)

# Instructions within `measured`, for a row and a number of calls.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect='*measured*' \
        "$program" "$1" "$2" 2>&1 | sed -n 's/.*Collected : *//p'
}
export -f count
export program

new=$(mktemp)
trap 'rm -f "$new"' EXIT
"$program" --rows | xargs -d '\n' -P "$(nproc)" -I {} bash -c '
    one=$(count "$1" "$2") two=$(count "$1" $((2 * $2)))
    [[ -n $one && -n $two && $two -gt $one ]] || { echo "ci/instructions.sh: no count of: $1" >&2; exit 1; }
    printf "%s\t%s\n" "$1" $((two - one))' _ {} "$calls" > "$new"

python3 - "$new" "$table" "$calls" "$compiler" "$("$program" --rows)" "${1:-}" <<'PYTHON'
import sys

new, table, calls, compiler, order, mode = sys.argv[1:]
calls = int(calls)
counted = {}
for line in open(new):
    row, count = line.rstrip("\n").split("\t")
    counted[row] = int(count) / calls
counted = {row: counted[row] for row in order.splitlines()}
loop = counted.pop("the loop alone")
# A batch goes round the loop once for 32 keys.
counts = {row: count - (loop / 32 if row.startswith("check_keys") else loop) for row, count in counted.items()}

kept, kept_compiler = {}, None
try:
    for line in open(table):
        line = line.rstrip("\n")
        if line.startswith("# compiler: "):
            kept_compiler = line.removeprefix("# compiler: ")
        elif line and not line.startswith("#") and not line.startswith("check\t"):
            row, count = line.split("\t")
            kept[row] = float(count)
except FileNotFoundError:
    pass

if mode == "--update":
    with open(table, "w") as out:
        print("# Instructions a check, the loop subtracted: ci/instructions.sh --update", file=out)
        print(f"# compiler: {compiler}", file=out)
        print("check\tinstructions", file=out)
        for row, count in counts.items():
            print(f"{row}\t{count:.1f}", file=out)

width = max(map(len, counts))
grew, shrank = [], []
print(f"{'check':{width}} {'instructions':>12} {'kept':>8} {'change':>8}")
for row in list(counts) + [row for row in kept if row not in counts]:
    if row not in counts:
        grew.append(f"{row}: in {table}, and no longer counted")
        continue
    now, before = counts[row], kept.get(row)
    change = "" if before is None else f"{100 * (now / before - 1):+.1f} %"
    print(f"{row:{width}} {now:12.1f} {'-' if before is None else format(before, '8.1f'):>8} {change:>8}")
    if before is None:
        grew.append(f"{row}: not in {table}")
    elif now > before * 1.05:
        grew.append(f"{row}: {before} to {now:.1f}")
    elif now < before * 0.95:
        shrank.append(row)
if mode == "--update":
    print(f"kept in {table}")
    sys.exit(0)
if kept_compiler and kept_compiler != compiler:
    print(f"notice: {table} was counted with {kept_compiler}, this with {compiler}")
if shrank:
    print(f"notice: more than 5 % fewer: {', '.join(shrank)}; keep that with ci/instructions.sh --update")
if grew:
    sys.exit("ci/instructions.sh: more than 5 % more instructions than kept, or not known (--update keeps them):\n  "
             + "\n  ".join(grew))
print(f"no row grew by more than 5 % over {table}")
PYTHON
