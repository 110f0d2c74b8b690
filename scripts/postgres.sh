#!/bin/sh
# Finds or installs PostgreSQL's server programs, for the throwaway servers of the demo and the
# tests. It searches the same places as testbed/src/cluster.rs. As root on Debian it installs them;
# elsewhere it prints the command that does.
set -eu

found() {
    for folder in ${PG_BINDIR:-$(echo "$PATH" | tr ':' ' ') /usr/lib/postgresql/*/bin}; do
        [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ] && [ -x "$folder/postgres" ] && return 0
    done
    return 1
}

# With --pooler, for the tests with a PgBouncer in front of the server; without one they print that
# and are skipped.
if [ "${1:-}" = --pooler ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
    ! command -v pgbouncer >/dev/null && [ ! -x /usr/sbin/pgbouncer ]; then
    echo "installing PgBouncer (apt-get install pgbouncer) ..." >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends pgbouncer >&2; } ||
        echo "PgBouncer could not be installed; its tests are skipped" >&2
fi

found && exit 0
if [ "$(id -u)" = 0 ] && [ -z "${PG_BINDIR:-}" ] && command -v apt-get >/dev/null; then
    echo "installing PostgreSQL's server programs (apt-get install postgresql) ..." >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends postgresql >&2
    found && exit 0
fi
echo "agent-sync needs PostgreSQL's server programs (initdb, pg_ctl, postgres) for this: sudo apt-get install postgresql" >&2
exit 1
