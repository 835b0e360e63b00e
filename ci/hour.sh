#!/usr/bin/env bash
# The gateway under load while all else happens to it: h2load over HTTP/2 and HTTP/1.1, heads that were fuzzed, configurations and
# tables of tiers that change every second (bad ones among them), questions on the control socket. No honest request may fail, and
# memory must stay flat. An hour, unless told otherwise.
#
# ci/hour.sh [SECONDS] [--seed N]
#
#     TOLLGATE   a program to run instead of the one built here
#
# h2load comes from Debian's package nghttp2-client. See ci/hour.py. Figures go to standard output.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
[[ $(id -u) == 0 ]] && sudo="" || sudo=sudo

command -v h2load > /dev/null || {
    echo "ci/hour.sh: installing nghttp2-client" >&2
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends nghttp2-client; } > /dev/null
}
if [[ -z ${TOLLGATE:-} ]]; then
    cargo build --release --quiet --package tollgate-gateway
    TOLLGATE=${CARGO_TARGET_DIR:-target}/release/tollgate
fi
TOLLGATE=$TOLLGATE exec python3 ci/hour.py "$@"
