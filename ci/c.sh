#!/usr/bin/env bash
# Builds and installs libtollgate under target/c, and builds and runs the example in C with it: shared and static, by pkg-config, with
# warnings denied, as C and with its header in C++. Under a minute.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
for tool in gcc g++ pkg-config; do
    command -v "$tool" > /dev/null || {
        echo "ci/c.sh: installing $tool" >&2
        [[ $(id -u) == 0 ]] && sudo="" || sudo=sudo
        { $sudo apt-get update -qq && $sudo apt-get install -y -qq gcc g++ pkg-config; } > /dev/null
        break
    }
done
cargo test --quiet --package tollgate-c
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/c
rm -rf "$target"
crates/c/install.sh "$target"
export PKG_CONFIG_PATH="$target/lib/pkgconfig"
warnings=(-Wall -Wextra -Wpedantic -Werror)
read -ra flags <<< "$(pkg-config --cflags tollgate)"
read -ra shared <<< "$(pkg-config --libs tollgate)"
gcc -std=c11 -D_DEFAULT_SOURCE "${warnings[@]}" "${flags[@]}" crates/c/examples/limit.c -o "$target/shared" "${shared[@]}"
gcc -std=c11 -D_DEFAULT_SOURCE "${warnings[@]}" "${flags[@]}" crates/c/examples/limit.c -o "$target/static" "$target/lib/libtollgate.a" -lpthread -ldl -lm
echo '#include <tollgate.h>' | g++ -std=c++17 "${warnings[@]}" "${flags[@]}" -fsyntax-only -x c++ -
LD_LIBRARY_PATH="$target/lib" "$target/shared"
"$target/static" > /dev/null
echo "ci/c.sh: the header is that of the source; the example does as it says, shared and static"
