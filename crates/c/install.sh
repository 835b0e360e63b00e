#!/usr/bin/env bash
# Builds libtollgate and puts it, its header and its pkg-config file under PREFIX:
#
#     crates/c/install.sh /usr/local
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -eq 1 ] && [[ $1 = /* ]] || { echo "usage: crates/c/install.sh PREFIX, an absolute path" >&2; exit 2; }
prefix=$1
version=$(cargo pkgid -p tollgate-c | sed 's/.*[#@]//')
target="${CARGO_TARGET_DIR:-target}/release"
cargo build --quiet --release --package tollgate-c
mkdir -p "$prefix/lib/pkgconfig" "$prefix/include"
install -m 755 "$target/libtollgate_c.so" "$prefix/lib/libtollgate.so"
install -m 644 "$target/libtollgate_c.a" "$prefix/lib/libtollgate.a"
install -m 644 crates/c/include/tollgate.h "$prefix/include/tollgate.h"
sed -e "s|@prefix@|$prefix|" -e "s|@version@|$version|" crates/c/tollgate.pc.in > "$prefix/lib/pkgconfig/tollgate.pc"
