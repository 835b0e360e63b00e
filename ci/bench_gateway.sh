#!/usr/bin/env bash
# `tollgate gateway` beside nginx with `limit_req`, before the same upstream, in the same run: requests per second, p99,
# processor time a request, their ratios, and the limiter's share of a proxied request. Two and a half minutes.
#
# ci/bench_gateway.sh [--tsv] [--rounds N] [--seconds S] [--scene SCENE] [--instructions] [--rehearse]
#
#     --tsv           every slice as a line of tab-separated values instead of the tables
#     --instructions  the limiter's share by instructions as well, counted with callgrind: half a minute more
#     --rehearse      nginx in the gateway's place: the ratios must come out near 1, or the figures mean nothing here
#     TOLLGATE        a program to measure instead of the one built here
#
# wrk comes from Debian's packages, and so does nginx, which is unpacked under target/ and not installed, so that no
# service starts. Tables go to standard output, progress to standard error. See ci/bench_gateway.py.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
target=$PWD/${CARGO_TARGET_DIR:-target}
[[ ${CARGO_TARGET_DIR:-} == /* ]] && target=$CARGO_TARGET_DIR
[[ $(id -u) == 0 ]] && sudo="" || sudo=sudo

tools=(wrk)
[[ " $* " == *" --instructions "* ]] && tools+=(valgrind)
for tool in "${tools[@]}"; do
    command -v "$tool" > /dev/null || {
        echo "ci/bench_gateway.sh: installing $tool" >&2
        { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends "$tool"; } > /dev/null
    }
done
nginx=$(command -v nginx || true)
if [[ -z $nginx ]]; then
    nginx=$target/nginx/usr/sbin/nginx
    [[ -x $nginx ]] || {
        echo "ci/bench_gateway.sh: unpacking nginx under $target/nginx" >&2
        mkdir -p "$target/nginx"
        (cd "$target/nginx" && { apt-get download -qq nginx || { $sudo apt-get update -qq && apt-get download -qq nginx; }; } 2> /dev/null
            dpkg -x nginx_*.deb .)
    }
fi
if [[ -z ${TOLLGATE:-} && " $* " != *" --rehearse "* ]]; then
    cargo build --release --quiet --package tollgate-gateway
    TOLLGATE=$target/release/tollgate
fi
ci/machine.sh >&2
NGINX=$nginx TOLLGATE=${TOLLGATE:-} exec python3 ci/bench_gateway.py "$@"
