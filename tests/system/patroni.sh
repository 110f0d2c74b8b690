#!/usr/bin/env bash
# High availability with real parts: three nodes of Patroni over etcd, the daemon with the addresses of all, and two writers that save
# agents throughout. The primary is switched over, killed and paused, the last in two ways. Each time the daemon has to follow, no
# acknowledged save may be lost, and no configuration may go back to an older value. run.sh runs this as root, and after the packages are
# there; the servers and the daemon run as postgres in a temporary folder, on free ports of 127.0.0.1.
#
#     tests/system/patroni.sh AGENT_SYNC ETCD      the two programs
set -Eeuo pipefail
cd "$(dirname "$0")/../.."
. tests/system/check.sh

export LC_ALL=C.UTF-8 PGCONNECT_TIMEOUT=2 ETCD_UNSUPPORTED_ARCH
ETCD_UNSUPPORTED_ARCH=$(dpkg --print-architecture)
# The longest time from the first acknowledged save on the new primary to its configuration, in seconds. More shows how long it takes with
# other settings of the daemon (AGENT_SYNC__...), which win over those below.
limit=${AGENT_SYNC_FOLLOW_LIMIT:-15}
nodes=(a b c)
bin=${PG_BINDIR:-$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)}
folder=$(mktemp -d "${TMPDIR:-/tmp}/agent-sync-patroni.XXXXXX")
PGPASSWORD=$(head -c 15 /dev/urandom | base64 | tr -d '/+=')
export PGPASSWORD
declare -A port=() rest=() patroni=()
daemon='' etcd='' primary='' figures=()

evidence() {
    local each
    ctl list || true
    for each in "${nodes[@]}"; do tail -n 15 "$folder/$each.log" | sed "s/^/$each: /"; done
    tail -n 30 "$folder/daemon.log" || true
    [ ! -e "$folder/errors" ] || sort "$folder/errors" | uniq -c | sort -rn | head
}

# A process and all below it.
# shellcheck disable=SC2046 # Words.
tree() { # PID...
    local each
    for each in "$@"; do
        echo "$each"
        tree $(pgrep -P "$each" || true)
    done
}
postmaster() { head -1 "$folder/$1/postmaster.pid" 2>/dev/null || true; }
# The processes of a node: Patroni, and PostgreSQL with its sessions.
processes() { # NODE
    local each
    for each in ${patroni[$1]:-} $(postmaster "$1"); do
        ! kill -0 "$each" 2>/dev/null || tree "$each"
    done
}

# At any exit, no process and no file is left.
clean_up() {
    local each found
    trap - ERR
    set +e
    trap '' INT TERM
    rm -f "$folder/writing"
    for each in $daemon $etcd; do kill -KILL "$each" 2>/dev/null; done
    for each in "${nodes[@]}"; do
        # What begins while the others are stopped is found by the second look.
        for _ in 1 2; do
            found=$(processes "$each")
            [ -z "$found" ] || kill -KILL $found 2>/dev/null
        done
    done
    wait
    rm -rf --one-file-system "$folder"
}
trap clean_up EXIT

# Turns the shell into a program of the user postgres; the caller puts it into the background, so $! is the program itself.
as_postgres() { exec setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$folder" "$@"; }

free_ports() { # COUNT
    python3 -c 'import socket, sys
all = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(each.getsockname()[1] for each in all))' "$1"
}

# With the time-outs below, Patroni replaces a primary after 20 s of silence: less is not accepted by its newer versions.
# It uses the second version of etcd's API. Over the third, Patroni before 3.1 renews its lease without a look at the holder: one that was
# paused took the lead back from its successor, whose acknowledged saves were gone (corrected by its pull request 2689).
settings_of() { # NODE
    cat <<Y
scope: platform
name: $1
restapi: {listen: "127.0.0.1:${rest[$1]}", connect_address: "127.0.0.1:${rest[$1]}"}
etcd: {host: "127.0.0.1:$etcd_port"}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 5
    synchronous_mode: true
    postgresql: {use_pg_rewind: true}
  initdb: [{encoding: UTF8}, data-checksums]
postgresql:
  listen: 127.0.0.1:${port[$1]}
  connect_address: 127.0.0.1:${port[$1]}
  data_dir: $folder/$1
  bin_dir: $bin
  pgpass: $folder/$1.pgpass
  basebackup: {checkpoint: fast}
  authentication:
    superuser: {username: postgres, password: "$PGPASSWORD"}
    replication: {username: replicator, password: "$PGPASSWORD"}
  parameters: {unix_socket_directories: "$folder", shared_buffers: 16MB, max_connections: 50}
  pg_hba:
    - local all all scram-sha-256
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256
Y
}
start_node() { # NODE
    as_postgres patroni "$folder/$1.yml" >>"$folder/$1.log" 2>&1 </dev/null &
    patroni[$1]=$!
    disown
}
ctl() { (as_postgres patronictl -c "$folder/a.yml" "$@" 2>&1); }
switch_over() { ctl switchover platform --leader "$primary" --force >"$folder/said" || { cat "$folder/said"; return 1; }; }

# SQL on one node, or on the one of all that takes writes.
on() { # NODE SQL
    timeout 10 "$bin/psql" -XAtq -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${port[$1]}" -U postgres -d platform -c "$2"
}
sql() { timeout 10 "$bin/psql" -XAtq -v ON_ERROR_STOP=1 "$somewhere" -c "$1"; }
among() { # NODE...
    local each hosts='' ports=''
    for each in "$@"; do hosts+=,127.0.0.1 ports+=,${port[$each]}; done
    echo "host=${hosts:1} port=${ports:1} user=postgres dbname=platform target_session_attrs=read-write"
}
primary_of() {
    local found each
    found=$(sql "SELECT inet_server_port()") || return
    for each in "${nodes[@]}"; do [ "${port[$each]}" != "$found" ] || echo "$each"; done
}
# Two replicas stream, and one of them is synchronous for the server and for Patroni.
is_whole() {
    [ "$(on "$primary" "SELECT count(*) FILTER (WHERE state = 'streaming'), count(*) FILTER (WHERE sync_state = 'sync') FROM pg_stat_replication")" = '2|1' ] &&
        ctl list | grep -q 'Sync Standby'
}

# A save is a number that only grows: the microseconds of the server's clock. PostgreSQL tells it when the save is committed on a
# synchronous replica, and the writer notes it.
saved() { echo "UPDATE agents SET name = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text WHERE slug = '$1' RETURNING slug, name;"; }
# One writer connects for each save, and the other keeps its session for as long as it lasts.
write_over_new_sessions() {
    local each
    while [ -e "$folder/writing" ]; do
        for each in 1 2 3 4 5; do
            timeout 5 "$bin/psql" -XAtq "$somewhere" -c "$(saved "new-$each")" >>"$folder/acknowledged" 2>>"$folder/errors" || true
            sleep 0.1
        done
    done
}
write_over_one_session() {
    local each
    while [ -e "$folder/writing" ]; do
        while [ -e "$folder/writing" ]; do
            for each in 1 2 3 4 5; do saved "kept-$each"; done
            sleep 0.3
        done 2>/dev/null | "$bin/psql" -XAtq -v ON_ERROR_STOP=1 "$somewhere" >>"$folder/acknowledged" 2>>"$folder/errors" || true
        sleep 0.2
    done
}
begin_writing() {
    touch "$folder/writing"
    write_over_new_sessions &
    writers=($!)
    write_over_one_session &
    writers+=($!)
}
end_writing() {
    rm "$folder/writing"
    wait "${writers[@]}"
}

logged() { grep -cF -- "$1" "$folder/daemon.log" || true; }
daemon_lives() { kill -0 "$daemon" && ! grep -q '^State:.[ZX]' "/proc/$daemon/status"; }
since() { awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $1 }"; }

# Waits for a primary among the nodes and for the configuration of the first save that it acknowledges; notes both times.
follows() { # WHAT SINCE NODE...
    local what=$1 begun=$2 answer='' outage taken accepted each among
    shift 2
    among=$(among "$@")
    until answer=$(timeout 5 "$bin/psql" -XAtq "$among" -c "$(saved fresh | sed 's/;$/, inet_server_port();/')" 2>/dev/null) && [ -n "$answer" ]; do
        outage=$(since "$begun")
        [ "${outage%.*}" -lt 90 ] || check "$what: another primary takes writes" false
        sleep 0.1
    done
    accepted=$EPOCHREALTIME outage=$(since "$begun")
    for each in "$@"; do [ "${port[$each]}" != "${answer##*|}" ] || primary=$each; done
    answer=${answer#*|}
    check "$what: $primary takes writes after $outage s" true
    until [ "$(on "$primary" "SELECT agent_name::bigint >= ${answer%|*} FROM agent_configurations WHERE agent_slug = 'fresh'" 2>/dev/null)" = t ]; do
        taken=$(since "$accepted")
        [ "${taken%.*}" -lt "$limit" ] || check "$what: the daemon follows within $limit s" false
        sleep 0.05
    done
    taken=$(since "$accepted")
    figures+=("$what: a primary after $outage s, the daemon $taken s later")
    check "$what: the daemon follows $taken s later" test "${taken%.*}" -lt "$limit"
}

digest() { on "$1" "SELECT md5(string_agg(c::text, E'\n' ORDER BY agent_slug)) FROM agent_configurations c"; }
same_everywhere() { local each; for each in "${nodes[@]}"; do [ "$(digest "$each")" = "$(digest "$primary")" ] || return 1; done; }
is_replica() { [ "$(on "$1" "SELECT pg_is_in_recovery() AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')")" = t ]; }
out_of_sync() { sql "SELECT slug, name, agent_name FROM agents JOIN agent_configurations ON agent_slug = slug WHERE name IS DISTINCT FROM agent_name"; }
in_sync() { [ -z "$(out_of_sync)" ]; }
# The last acknowledged number of each agent, and those of them that the table is behind.
lost() {
    sort -t '|' -k 1,1 -k 2,2n "$folder/acknowledged" | awk -F '|' 'NF == 2 { last[$1] = $2 } END { for (each in last) print each "|" last[each] }' | sort >"$folder/last"
    sql "SELECT slug, name FROM agents" | sort >"$folder/present"
    join -t '|' -a 1 "$folder/last" "$folder/present" | awk -F '|' 'NF != 3 || $3 + 0 < $2 + 0'
}
agent_sync() { (as_postgres DATABASE_URL="$url" "$folder/agent-sync" "$@" >"$folder/said" 2>&1) || { cat "$folder/said"; return 1; }; }

# The nodes but one.
others() { local each; for each in "${nodes[@]}"; do [ "$each" = "$1" ] || echo "$each"; done; }

# What holds after each event, once the former primary is back.
verify() { # WHAT FORMER
    local what=$1 former=$2
    eventually 90 "$what: $former is a replica of $primary" is_replica "$former"
    eventually 60 "$what: the cluster is whole" is_whole
    sleep 1
    end_writing
    eventually "$limit" "$what: every configuration is as its agent" in_sync
    lost >"$folder/lost"
    check "$what: none of $(grep -c '|' "$folder/acknowledged") acknowledged saves is lost" test ! -s "$folder/lost"
    check "$what: agent-sync check finds nothing" agent_sync check
    eventually 30 "$what: the configurations of every node are identical" same_everywhere
    check "$what: no configuration went back to an older value" went_back 0
    check "$what: the daemon runs" daemon_lives
    check "$what: its log tells of the outage and of its end" tells "$before"
    before=$(outages)
}
# An outage begins with one of two lines. A paused primary that wakes up is one for a moment, so there may be a second outage.
outages() { echo $(($(logged 'database unavailable; the daemon retries until it is back') + $(logged 'the daemon cannot work in the database; it retries until it can'))); }
tells() { # OUTAGES_BEFORE
    [ "$(outages)" -gt "$1" ] && [ "$(logged 'database available again, caught up')" = "$(outages)" ]
}
# How often the witness saw a number become smaller: by its table, and on servers whose history was dropped by their logs.
went_back() {
    [ "$(sql "SELECT count(*) FROM witness WHERE after < before")" = "$1" ] &&
        [ "$(cat "$folder"/?.log | grep -c 'LOG: .*a configuration went back')" = "$1" ]
}

step "three nodes of Patroni over etcd, and the daemon"
chmod 755 "$folder"
chown postgres: "$folder"
install -m 755 "$1" "$folder/agent-sync"
# shellcheck disable=SC2046 # Words.
set -- "$2" $(free_ports 8)
etcd_port=$2 etcd_peers=$3
port=([a]=$4 [b]=$5 [c]=$6) rest=([a]=$7 [b]=$8 [c]=$9)
somewhere=$(among "${nodes[@]}")
as_postgres "$1" --name etcd --enable-v2 --data-dir "$folder/etcd" --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$etcd_peers" --initial-advertise-peer-urls "http://127.0.0.1:$etcd_peers" \
    --initial-cluster "etcd=http://127.0.0.1:$etcd_peers" >"$folder/etcd.log" 2>&1 </dev/null &
etcd=$!
disown
for each in "${nodes[@]}"; do
    (umask 077 && settings_of "$each" >"$folder/$each.yml" && chown postgres: "$folder/$each.yml")
done
for each in "${nodes[@]}"; do start_node "$each"; done
takes_writes() { "$bin/psql" -XAtq "${somewhere/dbname=platform/dbname=postgres}" -c "$1"; }
eventually 90 "a primary takes writes" takes_writes "SELECT 1"
takes_writes "CREATE DATABASE platform"
primary=$(primary_of)
eventually 90 "the cluster is whole" is_whole
"$bin/psql" -XAtq -v ON_ERROR_STOP=1 "$somewhere" -f testbed/tables.sql
sql "INSERT INTO agents (slug, name, voice_settings)
         SELECT slug, '1', '{\"provider\": \"openai\", \"voice_id\": \"alloy\"}'
         FROM unnest('{new-1,new-2,new-3,new-4,new-5,kept-1,kept-2,kept-3,kept-4,kept-5,fresh}'::text[]) slug;
     INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents;
     CREATE TABLE witness (slug text, before bigint, after bigint, at timestamptz DEFAULT clock_timestamp());
     CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
         INSERT INTO public.witness VALUES (NEW.agent_slug, OLD.agent_name::bigint, NEW.agent_name::bigint);
         IF NEW.agent_name::bigint < OLD.agent_name::bigint THEN
             RAISE LOG 'a configuration went back: %, % to %', NEW.agent_slug, OLD.agent_name, NEW.agent_name;
         END IF;
         RETURN NULL;
     END \$\$;
     CREATE TRIGGER witness AFTER UPDATE ON agent_configurations FOR EACH ROW
         WHEN (OLD.agent_name IS DISTINCT FROM NEW.agent_name) EXECUTE FUNCTION witness()"
# By default a new attempt may come 30 s after the last, a silent host takes 10 s, one that falls silent within a statement 35 s, and the
# look for another server comes every 30 s.
export AGENT_SYNC__RECONNECT__MAX_DELAY=${AGENT_SYNC__RECONNECT__MAX_DELAY:-3s} AGENT_SYNC__SYNC__SWEEP_INTERVAL=${AGENT_SYNC__SYNC__SWEEP_INTERVAL:-3s}
export AGENT_SYNC__SYNC__STATEMENT_TIMEOUT=${AGENT_SYNC__SYNC__STATEMENT_TIMEOUT:-10s}
url="postgres://postgres:$PGPASSWORD@127.0.0.1:${port[a]},127.0.0.1:${port[b]},127.0.0.1:${port[c]}/platform?target_session_attrs=read-write&connect_timeout=${AGENT_SYNC_CONNECT_TIMEOUT:-2}"
check "agent-sync is installed" agent_sync install
as_postgres AGENT_SYNC__ADMIN__LISTEN=off AGENT_SYNC__LOG__FORMAT=json DATABASE_URL="$url" "$folder/agent-sync" run >"$folder/daemon.log" 2>&1 </dev/null &
daemon=$!
disown
eventually 15 "the daemon brings every agent in sync" in_sync
before=0

step "switchover"
begin_writing
sleep 2
former=$primary begun=$EPOCHREALTIME
check "patronictl switches over" switch_over
follows switchover "$begun" "${nodes[@]}"
check "the primary is another one" test "$primary" != "$former"
verify switchover "$former"

step "SIGKILL of the primary: Patroni and PostgreSQL"
begin_writing
sleep 2
former=$primary begun=$EPOCHREALTIME
mapfile -t successors < <(others "$former")
# shellcheck disable=SC2046 # Words.
kill -KILL $(processes "$former")
follows SIGKILL "$begun" "${successors[@]}"
start_node "$former"
verify SIGKILL "$former"

step "a paused primary: SIGSTOP of the whole node beyond its lease, then SIGCONT"
begin_writing
sleep 2
former=$primary begun=$EPOCHREALTIME
mapfile -t successors < <(others "$former")
kill -STOP "${patroni[$former]}" "$(postmaster "$former")"
# shellcheck disable=SC2046 # Words.
kill -STOP $(processes "$former")
follows "pause of the node" "$begun" "${successors[@]}"
# shellcheck disable=SC2046 # Words.
kill -CONT $(processes "$former")
follows "end of the pause" "$EPOCHREALTIME" "${successors[@]}"
verify "pause of the node" "$former"

step "a paused primary whose open sessions go on: SIGSTOP of Patroni and the postmaster alone, then SIGCONT"
begin_writing
sleep 2
former=$primary begun=$EPOCHREALTIME
mapfile -t successors < <(others "$former")
paused=("${patroni[$former]}" "$(postmaster "$former")")
kill -STOP "${paused[@]}"
follows "pause of Patroni" "$begun" "${successors[@]}"
kill -CONT "${paused[@]}"
follows "end of the pause of Patroni" "$EPOCHREALTIME" "${successors[@]}"
verify "pause of Patroni" "$former"

step "the evidence"
check "no save was acknowledged before a replica had it" sh -c "! grep -q 'canceling wait for synchronous replication' '$folder/errors'"
check "the witness saw $(sql "SELECT count(*) FROM witness") writes" test "$(sql "SELECT count(*) FROM witness")" -gt 200
sql "INSERT INTO agent_configurations (agent_slug, agent_name) VALUES ('planted', '2');
     UPDATE agent_configurations SET agent_name = '1' WHERE agent_slug = 'planted'"
check "and sees one that is planted" went_back 1
kill -TERM "$daemon"
eventually 10 "the daemon ends at SIGTERM" sh -c "! kill -0 $daemon"
printf '%s\n' "${figures[@]}"
done_with
