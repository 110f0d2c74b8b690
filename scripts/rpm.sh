#!/bin/sh
# Builds the RPM of the release build, target/generate-rpm/agent-sync-*.rpm. Needs
# cargo-generate-rpm. The same commit gives the same package, because its files have the time of the
# commit. Where rpm is installed, it reads the package and lists the files.
set -eu
cd "$(dirname "$0")/.."
command -v cargo-generate-rpm >/dev/null || {
    echo "cargo-generate-rpm is needed for this: cargo install --locked cargo-generate-rpm" >&2
    exit 1
}
sh scripts/package.sh
rm -rf target/generate-rpm
cargo generate-rpm --source-date "${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}" "$@"
if command -v rpm >/dev/null; then
    rpm -qp --list --requires target/generate-rpm/*.rpm
else
    echo "the package is not checked: there is no rpm" >&2
    ls target/generate-rpm/*.rpm
fi
