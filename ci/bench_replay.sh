#!/usr/bin/env bash
# `tollgate replay` beside mawk on the same work, in turns, in processor time and time on the wall; and 100 million lines from a pipe.
#
# ci/bench_replay.sh [LINES]       a log of so many lines (default 1,500,000, 280 MB), five rounds; minutes
# ci/bench_replay.sh many [LINES]  so many short lines of 200 clients (default 100,000,000) through a pipe, once
#
# Needs mawk, GNU time and python3. What mawk is given to do: to count the requests of each client in each minute and those above a
# limit, which is what a limit is; with five policies, five such counts. Its bare count of requests by client is shown, too.
# Ratios are medians of those of the rounds. Not in CI: it is for a quiet machine, though ratios of processor time are good on a busy one.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
for tool in mawk python3; do
    command -v "$tool" > /dev/null || { echo "ci/bench_replay.sh: there is no $tool" >&2; exit 1; }
done
if [[ -z ${TOLLGATE:-} ]]; then
    cargo build --quiet --release --package tollgate-gateway --bin tollgate
    TOLLGATE=${CARGO_TARGET_DIR:-target}/release/tollgate
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 - "$TOLLGATE" "$scratch" "$@" <<'PYTHON'
import os
import random
import resource
import statistics
import subprocess
import sys
import time

tollgate, scratch, *arguments = sys.argv[1:]


def clock(second):
    return b"%02d:%02d:%02d" % (second // 3600, second // 60 % 60, second % 60)


def measured(command, stdin=None):
    """Seconds of processor time, and on the wall, and MiB of memory."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"ci/bench_replay.sh: {command} ended with {status}")
    return used.ru_utime + used.ru_stime, time.monotonic() - start, used.ru_maxrss / 1024, output


def many(lines, clients=200):
    """Writes short lines of a day to standard output, a block a second."""
    per, rng, left = -(-lines // 86_400), random.Random(1), lines
    line = b'10.0.%d.%d - - [01/Mar/2024:@ +0000] "GET / HTTP/1.1" 200 1\n'
    client = lambda: int(clients * rng.random() * rng.random())
    blocks = [[line % divmod(client(), 256) for _ in range(per)] for _ in range(64)]
    for second in range(86_400):
        block = blocks[second % 64][:left]
        left -= len(block)
        sys.stdout.buffer.write(b"".join(block).replace(b"@", clock(second)))
        if not left:
            return


if arguments[:1] == ["many"]:
    lines = int(arguments[1]) if arguments[1:] else 100_000_000
    pipe, write = os.pipe()
    if os.fork() == 0:
        os.close(pipe)
        os.dup2(write, 1)
        os.close(write)
        many(lines)
        sys.stdout.flush()
        os._exit(0)
    os.close(write)
    processor, wall, memory, output = measured([tollgate, "replay", "--limit", "60/minute", "-"], stdin=pipe)
    sys.stdout.write(output.decode())
    print(f"{lines:,} lines: {processor:.0f} s of processor time, {wall:.0f} s on the wall, at most {memory:.0f} MiB")
    sys.exit(0)

lines = int(arguments[0]) if arguments else 1_500_000
rng = random.Random(7)
pages = ["/", "/a", "/b/c", "/static/site.css", "/api/v1/items?page=2", "/login"]
agents = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:123.0) Gecko/20100101 Firefox/123.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
    "curl/8.5.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.3 Safari/604.1",
]
log = os.path.join(scratch, "access.log")
with open(log, "w") as out:
    for i in range(lines):
        client = int(10_000 * rng.random() * rng.random())
        # Lines are written when answers are done.
        second = max(0, i * 86_400 // lines - int(5 * rng.random()))
        out.write(
            f"10.0.{client >> 8}.{client & 255} - - [01/Mar/2024:{clock(second).decode()} +0000] "
            f'"GET {pages[i % 6]} HTTP/1.1" 200 {i % 30_000} "https://www.example.org/" "{agents[i * 7 % 4]}"\n'
        )
config = os.path.join(scratch, "five.yaml")
with open(config, "w") as out:
    out.write("policies:\n")
    for name, limit, key in [
        ("a", "60/minute", "ip"), ("b", "1000/hour", "ip"), ("c", "30/minute", "ip+path"), ("d", "50000/hour", "path"), ("e", "100000/hour", "all"),
    ]:
        out.write(f"  - {{name: {name}, limits: {limit}, key: {key}}}\n")
minute = 'm = substr($4, 2, 17)'
commands = {
    "mawk, by client": ["mawk", "{ c[$1]++ } END { for (k in c) n++; print n }", log],
    "mawk, one limit": ["mawk", f'{{ {minute}; if (++c[$1 " " m] > 60) r++ }} END {{ print r + 0 }}', log],
    "replay, one limit": [tollgate, "replay", "--limit", "60/minute", "--json", log],
    "mawk, five": [
        "mawk",
        f'{{ {minute}; h = substr(m, 1, 14); p = $7; sub(/[?].*/, "", p); if (++a[$1 " " m] > 60) r++; if (++b[$1 " " h] > 1000) r++; '
        'if (++c[$1 " " p " " m] > 30) r++; if (++d[p " " h] > 50000) r++; if (++e[h] > 100000) r++ } END { print r + 0 }',
        log,
    ],
    "replay, five": [tollgate, "replay", "--config", config, "--json", log],
}
rounds = {name: [] for name in commands}
for _ in range(5):
    for name, command in commands.items():
        rounds[name].append(measured(command)[:3])
print(f"{lines:,} lines, {os.path.getsize(log) / 1e6:.0f} MB; medians of 5 rounds")
for name, figures in rounds.items():
    processor, wall, memory = (statistics.median(column) for column in zip(*figures))
    print(f"{name:18} {processor:6.2f} s of processor time {wall:6.2f} s on the wall {memory:5.0f} MiB")
for ours, theirs in [("replay, one limit", "mawk, one limit"), ("replay, one limit", "mawk, by client"), ("replay, five", "mawk, five")]:
    ratios = [[a / b for a, b in zip(one, other)] for one, other in zip(rounds[ours], rounds[theirs])]
    processor, wall, _ = (statistics.median(column) for column in zip(*ratios))
    print(f"{ours} / {theirs}: {processor:.2f} in processor time, {wall:.2f} on the wall")
PYTHON
