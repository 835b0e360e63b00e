#!/usr/bin/env bash
# Builds the Pingora example, which embeds the engine in a proxy's request filter, and tries it: 64 clients at once
# behind a quota, each answer looked at, see ci/pingora.py. Installs cmake if it is not there. A minute or two, the first
# time; then seconds. Not part of .ci/run: Pingora wants a C compiler and cmake, and four hundred crates.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/../examples/pingora"

command -v cmake > /dev/null && command -v cc > /dev/null || {
    echo "ci/pingora.sh: installing cmake and a C compiler" >&2
    [[ $(id -u) == 0 ]] && sudo="" || sudo=sudo
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq cmake gcc g++ make; } > /dev/null
}
cargo clippy --quiet --locked --all-targets -- -D warnings
cargo test --quiet --locked > /dev/null
cargo build --quiet --locked
exec python3 ../../ci/pingora.py "${CARGO_TARGET_DIR:-target}/debug/tollgate-pingora"
