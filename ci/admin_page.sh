#!/usr/bin/env bash
# The admin page in a real browser without a screen: what it shows agrees with /limits while requests come, nothing that
# a client sends is taken for markup, nothing is fetched from elsewhere, a phone has room for it, and it says when the
# gateway has gone. Half a minute.
#
# ci/admin_page.sh              checks
# ci/admin_page.sh --keep       also keeps a picture in docs/pictures/admin.png, after ten minutes of requests
# ci/admin_page.sh --into DIR   also puts pictures into DIR: light, dark, phone, unreachable
#
#     TOLLGATE   a program to look at instead of the one built here
#
# chromium and chromedriver come from Debian's packages. See ci/admin_page.py.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
[[ $(id -u) == 0 ]] && sudo="" || sudo=sudo

command -v chromium > /dev/null && command -v chromedriver > /dev/null || {
    echo "ci/admin_page.sh: installing chromium" >&2
    packages=(chromium chromium-driver fonts-dejavu-core)
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}"; } > /dev/null
}
if [[ -z ${TOLLGATE:-} ]]; then
    cargo build --quiet --package tollgate-gateway
    target=${CARGO_TARGET_DIR:-target}
    TOLLGATE=$target/debug/tollgate
fi
TOLLGATE=$TOLLGATE exec python3 ci/admin_page.py "$@"
