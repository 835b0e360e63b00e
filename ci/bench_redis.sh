#!/usr/bin/env bash
# Figures of crates/redis beside its peers, in one run on one server: throughput and latency of exact checks beside redis-benchmark of the
# same script, PING, a tutorial's script through redis-rs and redis-py, Flask-Limiter's storage and trypema; leases beside a local check
# and trypema's hybrid; what a decision costs while the breaker is open. Two minutes, and the builds. Needs what ci/redis.sh has unpacked
# (run that first): the server is its Valkey, as trypema needs 7.2, or TOLLGATE_REDIS=path.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

fail() { echo "bench_redis: $*" >&2; exit 1; }

root=$(realpath -m "${CARGO_TARGET_DIR:-target}")/redis
server=${TOLLGATE_REDIS:-$(find "$root/valkey" -name valkey-server -type f 2> /dev/null | head -n 1)}
[[ -x $server ]] || fail "no server: ci/redis.sh unpacks one"
python=$root/peers/bin/python
[[ -x $root/peers/done ]] || {
    rm -rf "$root/peers"
    python3 -m venv "$root/peers" || fail "python3 -m venv does not work here"
    "$python" -m pip install --quiet --disable-pip-version-check 'limits[redis]==5.8.0' || fail "pip could not install limits and redis"
    install -m 755 /dev/null "$root/peers/done"
}
benchmark=$(command -v redis-benchmark || echo "$root/debian/usr/bin/redis-benchmark")
cargo bench --quiet --package tollgate-redis --bench fleet --no-run
peers=crates/redis/benches/peers
CARGO_TARGET_DIR=$root/peers-target cargo build --quiet --release --manifest-path $peers/Cargo.toml
socket=$(mktemp -d)
port=$((20000 + RANDOM % 20000))
"$server" --port "$port" --bind 127.0.0.1 --save "" --appendonly no --dir "$socket" > /dev/null &
pid=$!
trap 'kill "$pid"; wait "$pid" 2> /dev/null; rm -rf "$socket"' EXIT
sleep 0.5
ci/machine.sh
"$server" --version
export TOLLGATE_REDIS_ADDRESS=redis://127.0.0.1:$port/
cargo bench --quiet --package tollgate-redis --bench fleet
"$root/peers-target/release/peers"
"$python" ci/bench_redis.py "$TOLLGATE_REDIS_ADDRESS"
# Instructions of a check, of a limiter, by a lease (waiting, and not), and with the breaker open: those of 2,000 calls less those of 1,000.
if command -v valgrind > /dev/null; then
    program=$(cargo bench --quiet --package tollgate-redis --bench fleet --no-run --message-format=json |
        sed -n 's/.*"name":"fleet".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
    for what in local leased here open_closed open_local; do
        counts=()
        for calls in 1000 2000; do
            counts+=("$(TOLLGATE_COUNT=$what TOLLGATE_CALLS=$calls valgrind --tool=callgrind --callgrind-out-file=/dev/null \
                --collect-atstart=no --toggle-collect="*measured_${what%%_*}*" "$program" 2>&1 | sed -n 's/.*Collected : //p')")
        done
        echo "instructions, $what: $(((counts[1] - counts[0]) / 1000)) a check"
    done
else
    echo "no valgrind: instructions are not counted"
fi
libraries=$(dirname "$(find "$root/debian" -name liblua5.1.so.0 2> /dev/null | head -n 1)")
# The same script with the same arguments, by Redis' own client: as checks of a bucket have them, all of them allowed.
script=$(cat crates/redis/src/scripts/prelude.lua crates/redis/src/scripts/check.lua)
sha=$(python3 - "$port" "$script" << 'PY'
import socket, sys
port, body = int(sys.argv[1]), sys.argv[2].encode() + b"\n"
link = socket.create_connection(("127.0.0.1", port))
link.sendall(b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%d\r\n%s\r\n" % (len(body), body))
print(link.recv(200).decode().split("\r\n")[1])
PY
)
for width in 1 32; do
    echo -n "redis-benchmark of the same script, $width at a time: "
    LD_LIBRARY_PATH=$libraries "$benchmark" -p "$port" -c 1 -P "$width" -n 40000 -r 32 -q EVALSHA "$sha" 1 "tg1:{__rand_int__}:bench:b1000000000" \
        take b 1000000/1000000 1 1 0 1000000 0 1000000 0 3601000000 "" "" | tr '\r' '\n' | grep "requests per second" | tail -n 1 | sed 's/.*: //'
done
