#!/bin/bash
# What the entry point of PostgreSQL's own image does, as far as packaging/compose.yaml asks for it: a cluster at the first start, with
# the database and the superuser's password that the environment names, and then the server. Socket without, network with a password.
set -eu
export PATH=/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }

mkdir -p /tmp /run/postgresql "$PGDATA"
chmod 1777 /tmp
ln -sfn /run /var/run
chown postgres:postgres /run/postgresql "$PGDATA"
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    as_postgres initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    as_postgres pg_ctl --wait --options="-c listen_addresses=''" start
    as_postgres psql --username=postgres --command="CREATE DATABASE \"$POSTGRES_DB\""
    as_postgres pg_ctl --wait stop
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -c listen_addresses='*'
