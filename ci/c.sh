#!/usr/bin/env bash
# Builds and installs libtollgate under target/c, and builds and runs the examples in C with it: shared and static, by pkg-config, with
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
# Two programs, and a child of each, on one table: one links the library dynamically, the other has a copy of its own.
gcc -std=c11 -D_DEFAULT_SOURCE "${warnings[@]}" "${flags[@]}" crates/c/examples/shared.c -o "$target/shared-a" "${shared[@]}"
gcc -std=c11 -D_DEFAULT_SOURCE "${warnings[@]}" "${flags[@]}" crates/c/examples/shared.c -o "$target/shared-b" "$target/lib/libtollgate.a" -lpthread -ldl -lm
table=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$table"' EXIT
LD_LIBRARY_PATH="$target/lib" "$target/shared-a" "$table/table" > "$table/a" &
first=$!
"$target/shared-b" "$table/table" > "$table/b"
wait "$first"
read -r a < "$table/a"
read -r b < "$table/b"
[ $((a + b)) -eq 1000 ] || { echo "ci/c.sh: two processes admitted $a and $b of a limit of 1000" >&2; exit 1; }
echo "ci/c.sh: the header is that of the source; the examples do as they say, shared and static; two processes admitted $a + $b = 1000"
