#!/bin/sh
# Runs the fuzz targets one after the other: `make fuzz`, for FUZZ_SECONDS each, or only the named
# ones. New inputs go into fuzz/target/found. With --keep, nothing is fuzzed, and the inputs that
# reach new code move into fuzz/corpus. An input that breaks a promise stays in fuzz/artifacts.
#
# No sanitizer: the code has no unsafe blocks, and without one the stable compiler suffices, at
# twice the speed.
set -eu
cd "$(dirname "$0")/../fuzz"

keep=
if [ "${1:-}" = --keep ]; then keep=yes; shift; fi
seconds="${FUZZ_SECONDS:-50}"

if ! command -v c++ >/dev/null; then
    echo "make fuzz needs a C++ compiler, for libFuzzer: sudo apt-get install g++" >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz (cargo install cargo-fuzz --locked) ..." >&2
    cargo install cargo-fuzz --locked --quiet
fi

TMPDIR="$PWD/target/tmp"
export TMPDIR
mkdir -p "$TMPDIR"
[ $# -gt 0 ] || set -- mapping shaped rules settings inbox dsn
for target in "$@"; do
    mkdir -p "target/found/$target" "target/kept/$target"
    if [ -n "$keep" ]; then
        cargo fuzz run --fuzz-dir . -s none "$target" "target/kept/$target" "corpus/$target" "target/found/$target" -- \
            -set_cover_merge=1 -use_counters=0 -max_len=1500 2>/dev/null
        # An input that once broke a promise has its own name, and stays whatever it reaches.
        find "corpus/$target" -type f -regextype posix-extended ! -regex '.*/[0-9a-f]{40}' \
            -exec cp {} "target/kept/$target" \;
        rm -r "corpus/$target"
        mv "target/kept/$target" "corpus/$target"
        echo "$target: $(find "corpus/$target" -type f | wc -l) inputs kept"
        continue
    fi
    echo "== $target, for $seconds s"
    cargo fuzz run --fuzz-dir . -s none "$target" "target/found/$target" "corpus/$target" -- -max_total_time="$seconds" \
        -max_len=2048 -timeout=10 -rss_limit_mb=1024 -use_value_profile=1 -dict=words.dict -print_final_stats=1 -verbosity=0 ||
        { echo "$target: the input in fuzz/artifacts/$target breaks a promise; make it a case of the tests" >&2; exit 1; }
done
