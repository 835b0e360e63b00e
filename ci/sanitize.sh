#!/usr/bin/env bash
# Runs the engine's tests under the sanitizers of the toolchain: address, leak (a part of address) and thread. First a
# program with each defect is shown to die of it, so that a sanitizer that does not work does not pass.
#
#     ci/sanitize.sh                    all; about five minutes on two cores, most of it building
#     ci/sanitize.sh address            or thread: one of them
#
# Works on stable, as the runtimes come with every toolchain. The standard library is not instrumented, which takes its
# source: what that means for the thread sanitizer, and what Miri, Kani and cargo-fuzz add for those who have them, is in
# docs/sanitizers.md.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
fail() { echo "ci/sanitize.sh: $1" >&2; exit "${2:-1}"; }

case "${1:-}" in
    "") sanitizers=(address thread) ;;
    address | thread) sanitizers=("$1") ;;
    *) fail "there is no sanitizer \`$1\` here; usage: ci/sanitize.sh [address|thread]" 2 ;;
esac

# The flags are not stable yet.
export RUSTC_BOOTSTRAP=1 RUST_BACKTRACE=0
# A fifth of the calls that the oracle makes by default; `TOLLGATE_STEPS` says otherwise.
export TOLLGATE_STEPS=${TOLLGATE_STEPS:-200000}
# Reports name functions that were inlined, and so do suppressions.
export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only
export ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=
host=$(rustc -vV | sed -n 's/^host: //p')
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What the thread sanitizer says wrongly of a standard library that is not instrumented: it does not see the fence that
# orders the last drop of an `Arc`, nor the stores of channels, in which the test harness reports, nor how a `OnceLock` is filled, in which the clock's crate
# keeps its calibration. Nothing of ours is here, and the race below is found in spite of it.
cat > "$scratch/suppressions" <<'LIST'
race:alloc::sync::Arc*Drop>::drop
race:alloc::sync::Weak*Drop>::drop
race:std::sync::mpmc::list::Channel
race:quanta::Clock>::new
LIST
export TSAN_OPTIONS="suppressions=$scratch/suppressions halt_on_error=0"

cat > "$scratch/use_after_free.rs" <<'RUST'
fn main() {
    let token = Box::new(std::hint::black_box(7_u64));
    let place: *const u64 = &*token;
    drop(token);
    println!("{}", unsafe { place.read_volatile() });
}
RUST
cat > "$scratch/leak.rs" <<'RUST'
fn main() {
    std::mem::forget(std::hint::black_box(vec![1_u8; 4096]));
    std::hint::black_box([0_u64; 512]); // over what is left of the pointer on the stack
}
RUST
cat > "$scratch/race.rs" <<'RUST'
static mut TOKENS: u64 = 0;
fn take() {
    unsafe { TOKENS = std::hint::black_box(TOKENS) + 1 }
}
fn main() {
    let other = std::thread::spawn(take);
    take();
    other.join().unwrap();
}
RUST

# defect, flags, what must be said of it
dies() {
    rustc --edition 2021 -O -g -Awarnings --target "$host" $2 "$scratch/$1.rs" -o "$scratch/$1"
    if "$scratch/$1" > "$scratch/said" 2>&1 || ! grep -q "$3" "$scratch/said"; then
        tail -n 20 "$scratch/said" >&2
        fail "a program with a $1 was not found out: the sanitizer does not work here"
    fi
    echo "$3: a planted $1 is found"
}

# sanitizer, flags, which tests, what else for them
tests() {
    local start=$SECONDS
    local test="cargo test --package tollgate --features async $3 --quiet --target $host --target-dir target/sanitize/$1"
    echo "$1 sanitizer: building the tests"
    RUSTFLAGS=$2 $test --no-run || fail "the tests do not build for the $1 sanitizer"
    RUSTFLAGS=$2 $test --no-fail-fast -- $4 || fail "tests fail under the $1 sanitizer, see above"
    echo "$1 sanitizer: nothing found ($((SECONDS - start)) s)"
}

for sanitizer in "${sanitizers[@]}"; do
    flags=-Zsanitizer=$sanitizer
    if [ "$sanitizer" = address ]; then
        dies use_after_free "$flags" "AddressSanitizer: heap-use-after-free"
        dies leak "$flags" "LeakSanitizer: detected memory leaks"
        # Not where the system is made to refuse memory: the sanitizer itself then gets none.
        # Nor where instructions are counted, of which the sanitizer has its own.
        tests address "$flags" "--lib --tests" "--skip no_memory --skip memory_there_is --skip killed_or_stopped"
    else
        # The compiler refuses to mix, for the reason above.
        flags+=" -Cunsafe-allow-abi-mismatch=sanitizer"
        dies race "$flags" "ThreadSanitizer: data race"
        # Those with several threads; and large tables filled by one are slow here and have no race to show.
        tests thread "$flags" "--lib --test stress --test table --test waiting" "--skip a_table_of_a_million --skip middling_tables --skip chosen_keys"
    fi
done
