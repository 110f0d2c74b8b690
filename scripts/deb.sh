#!/bin/sh
# Builds the Debian package of the release build, target/debian/agent-sync_*.deb. Needs cargo-deb
# and, for the dependencies, dpkg-dev. The same commit gives the same package, because its files
# have the time of the commit.
set -eu
cd "$(dirname "$0")/.."
command -v cargo-deb >/dev/null || {
    echo "cargo-deb is needed for this: cargo install --locked cargo-deb" >&2
    exit 1
}
command -v dpkg-shlibdeps >/dev/null || {
    echo "dpkg-shlibdeps is needed for this: apt-get install dpkg-dev" >&2
    exit 1
}
sh scripts/package.sh
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)} \
    cargo deb --locked --no-build "$@"
