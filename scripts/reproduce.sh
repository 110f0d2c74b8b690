#!/bin/sh
# Builds the commit twice, in two directories, and compares the programs byte by byte; takes some
# minutes. docs/building.md describes what makes them equal.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for folder in one another; do
    git clone --quiet . "$scratch/$folder"
    (
        cd "$scratch/$folder"
        RUSTFLAGS="--remap-path-prefix=$PWD=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
        export RUSTFLAGS CARGO_TARGET_DIR="$PWD/target"
        cargo build --quiet --release --locked
        sha256sum target/release/agent-sync | cut -d ' ' -f 1
    )
done
cmp "$scratch/one/target/release/agent-sync" "$scratch/another/target/release/agent-sync"
echo "two builds of $(git rev-parse --short=12 HEAD), in two folders, are the same"
