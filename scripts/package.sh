#!/bin/sh
# Builds the release and, in target/package, the files of the packages that are made from it: the
# manual pages, the completions and the documents. Where cargo-auditable is installed, the program
# names its crates, for scanners such as `cargo audit bin`.
set -eu
cd "$(dirname "$0")/.."
if command -v cargo-auditable >/dev/null; then
    cargo auditable build --release --locked
else
    echo "the program will not name its crates: cargo install --locked cargo-auditable" >&2
    cargo build --release --locked
fi
rm -rf target/package
mkdir -p target/package/man
program=target/release/agent-sync
"$program" man --into target/package/man
"$program" completions bash >target/package/agent-sync.bash
"$program" completions zsh >target/package/_agent-sync
"$program" completions fish >target/package/agent-sync.fish
sh scripts/docs.sh target/package/doc
