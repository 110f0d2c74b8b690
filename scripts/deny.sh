#!/bin/sh
# Checks the licences, bans and sources of every crate with cargo-deny, and notes in deny.checked
# what was checked: the sum of Cargo.lock and deny.toml. With --if-changed, does nothing where the
# note is current, because a build of cargo-deny takes minutes.
set -eu
cd "$(dirname "$0")/.."
sum=$(cat Cargo.lock deny.toml | sha256sum | cut -d ' ' -f 1)
if [ "${1:-}" = --if-changed ] && [ "$sum" = "$(cat deny.checked 2>/dev/null)" ]; then
    echo "deny: Cargo.lock and deny.toml are as they were at the last check" >&2
    exit 0
fi
command -v cargo-deny >/dev/null || {
    echo "expected cargo-deny, found none: cargo install --locked cargo-deny" >&2
    exit 1
}
cargo deny --locked check licenses bans sources
echo "$sum" >deny.checked
