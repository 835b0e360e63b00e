#!/usr/bin/env bash
# Format, lints and documentation, with warnings denied; and the rules that no lint knows.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
fail() { echo "ci/check.sh: $1" >&2; exit 1; }

for manifest in Cargo.toml loom-tests/Cargo.toml fuzz/Cargo.toml examples/pingora/Cargo.toml; do
    cargo fmt --manifest-path "$manifest" --all --check
done
cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings
cargo clippy --package tollgate --no-default-features --quiet -- -D warnings
# Directories of their own: other flags would build everything again.
RUSTFLAGS="--cfg tollgate_model" CARGO_TARGET_DIR=target/check-models \
    cargo clippy --manifest-path loom-tests/Cargo.toml --all-targets --quiet -- -D warnings
CARGO_TARGET_DIR=target/check-fuzz cargo clippy --manifest-path fuzz/Cargo.toml --all-features --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --quiet

# Everything shared between threads goes through the facade.
if grep -rnE 'core::sync::atomic|std::sync::atomic|\batomic::Atomic|\bloom::|\bshuttle::|quanta::Atomic' src --include='*.rs' |
    grep -v '^src/sync/' | grep -vE '^[^:]+:[0-9]+:\s*//'; then
    fail "atomics are named outside src/sync/"
fi
# Unsafe code stays in two modules.
if grep -rnE '\bunsafe\b' src --include='*.rs' | grep -vE '^src/(memory|process|shared/owners|lib)\.rs:' | grep -vE '^[^:]+:[0-9]+:\s*//'; then
    fail "unsafe code outside src/memory.rs, src/process.rs and src/shared/owners.rs"
fi
# No room uses one above it.
ci/rooms.py
# Every planted defect can still be planted.
ci/mutants.sh --check
echo "ci/check.sh: format, clippy, docs, facade, unsafe rules, rooms and planted defects hold"
