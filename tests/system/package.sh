#!/usr/bin/env bash
# Runs in the box: the Debian package under a real systemd beside a real PostgreSQL. First what docs/deploy-debian.md says, word for word;
# then everything that an operator meets at night. A reboot is part of it, so it is run twice: `stage` says where it is.
set -Eeuo pipefail
cd "$(dirname "$0")"
. ./check.sh

evidence() {
    systemctl --no-pager --lines=0 status agent-sync
    journalctl --no-pager -u agent-sync -n 60
}
sql() { runuser -u postgres -- psql -XAtq -d platform -c "$1"; }
save() { # SLUG VOICE
    sql "INSERT INTO agents (slug, name, voice_settings) VALUES ('$1', '$1', '{\"provider\": \"openai\", \"voice_id\": \"$2\"}')
         ON CONFLICT (slug) DO UPDATE SET voice_settings = excluded.voice_settings"
}
configure() { sql "INSERT INTO agent_configurations (agent_slug) VALUES ('$1')"; }
has_voice() { [ "$(sql "SELECT provider_config #>> '{tts,voice}' FROM agent_configurations WHERE agent_slug = '$1'")" = "$2" ]; }
property() { systemctl show -P "$1" agent-sync; }
is() { [ "$(property "$1")" = "$2" ]; }
logged() { journalctl -q -u agent-sync -o cat --no-pager "${@:2}" | grep -F -q -- "$1"; }
journal() { journalctl -q -u agent-sync -o cat --no-pager "$@"; }
fails() { ! "$@"; }
another_process_than() { [ "$(property MainPID)" != 0 ] && ! is MainPID "$1"; }
no_status_of_failed_units() { ! systemctl --failed --plain --no-legend | grep -q agent-sync; }

before_reboot() {
    mkdir -p target/debian
    mv agent-sync_*.deb target/debian/
    step "the platform"
    eventually 30 "PostgreSQL is there" runuser -u postgres -- psql -XAtqc "SELECT 1"
    runuser -u postgres -- createdb platform
    runuser -u postgres -- psql -Xq -d platform -f - <tables.sql
    configure reception
    save reception alloy

    step "an install without settings"
    apt-get install -y ./target/debian/agent-sync_*.deb >installed 2>&1 || { cat installed; exit 1; }
    check "the install says that nothing is configured" grep -q "no database is configured" installed
    check "the service is enabled" systemctl --quiet is-enabled agent-sync
    check "no unit has failed" no_status_of_failed_units
    check "the version says which commit it is" sh -c "agent-sync --version | grep -Eq '^agent-sync [0-9.]+( \([0-9a-f]{12}\))?$'"
    check "the manual page is there" sh -c "man -w agent-sync >/dev/null"
    check "and that of a command" sh -c "man -w agent-sync-check >/dev/null"
    check "and that of the settings" sh -c "man -w 5 agent-sync.toml >/dev/null"
    check "the documents link to what is there" test -s /usr/share/doc/agent-sync/docs/operating.md
    check "the completions are there" test -s /usr/share/bash-completion/completions/agent-sync
    check "a start without settings fails" fails systemctl start agent-sync 2>/dev/null
    check "it says what is missing, as an error" logged "no database is configured" -p err
    sleep 3
    check "it is not started again and again" is NRestarts 0
    systemctl reset-failed agent-sync

    step "docs/deploy-debian.md, word for word"
    commands_of deploy-debian.md >page.sh
    bash -eu page.sh >page.out 2>&1 || { cat page.out; evidence; exit 1; }
    eventually 10 "what was saved before the install is in sync" has_voice reception alloy
    check "it is ready when it is in sync" is ActiveState active
    check "systemctl status says how it is" sh -c "systemctl --no-pager status agent-sync | grep -q '1 of 1 database served'"
    save reception echo
    eventually 5 "a save is synced" has_voice reception echo
    check "the secret is root's alone" sh -c '[ "$(stat -c %a%U /etc/agent-sync/secrets/platform.url)" = 600root ]'
    check "no secret is in the journal" sh -c '! journalctl -q -u agent-sync | grep -qF "$(sed "s/.*daemon:\(.*\)@.*/\1/" /etc/agent-sync/secrets/platform.url)"'
    check "probe asks at the socket" sh -c '[ "$(agent-sync probe live 2>&1)" = ok ]'
    check "the daemon runs as a user that is made for it" sh -c '[ "$(stat -c %u "/proc/$(systemctl show -P MainPID agent-sync)")" -ge 61184 ]'

    step "the unit"
    check "systemd-analyze verify" sh -c '[ -z "$(systemd-analyze verify agent-sync.service 2>&1 | grep agent-sync)" ]'
    systemd-analyze --no-pager security agent-sync.service >security || true
    tail -1 security
    check "systemd-analyze security: exposure of at most 1.5" \
        sh -c "systemd-analyze --no-pager security --threshold=15 agent-sync.service >/dev/null"

    step "priorities in the journal"
    save lonely alloy
    eventually 5 "a warning is a warning" logged "no configuration has this slug" -p warning
    check "and no remark is one" fails logged "caught up" -p warning
    check "a remark is a remark" logged "caught up" -p info
    eventually 5 "the status counts what is not in sync" sh -c "systemctl show -P StatusText agent-sync | grep -q '1 agent not in sync'"
    sql "DELETE FROM agents WHERE slug = 'lonely'"

    step "reload"
    local pid
    pid=$(property MainPID)
    echo '[sync]
batch_size = 7' >/etc/agent-sync/databases.d/zz-sync.toml
    systemctl reload agent-sync
    eventually 5 "a reload is taken over" logged "settings reloaded"
    check "by the same process" is MainPID "$pid"
    echo '[sync]
batch_size = 0' >/etc/agent-sync/databases.d/zz-sync.toml
    check "a reload of bad settings fails" fails systemctl reload agent-sync 2>/dev/null
    check "and says why, as an error" logged "sync.batch_size" -p err
    check "and leaves the daemon as it was" is ActiveState active
    rm /etc/agent-sync/databases.d/zz-sync.toml
    save reception nova
    eventually 5 "which goes on syncing" has_voice reception nova

    step "kill -9"
    pid=$(property MainPID)
    kill -KILL "$pid"
    save reception fable
    eventually 15 "it is started again" another_process_than "$pid"
    eventually 10 "and what was saved meanwhile is in sync" has_voice reception fable

    step "a process that hangs"
    mkdir -p /run/systemd/system/agent-sync.service.d
    printf '[Service]\nWatchdogSec=5\n' >/run/systemd/system/agent-sync.service.d/watchdog.conf
    systemctl daemon-reload
    systemctl restart agent-sync
    pid=$(property MainPID)
    kill -STOP "$pid"
    save reception onyx
    eventually 30 "the watchdog notices" logged "Watchdog timeout"
    eventually 30 "it is started again" another_process_than "$pid"
    eventually 10 "and what was saved meanwhile is in sync" has_voice reception onyx

    step "the database is away for ${OUTAGE:=60} seconds"
    systemctl stop postgresql
    pid=$(property MainPID)
    eventually 20 "it says so" sh -c "systemctl show -P StatusText agent-sync | grep -q 'database unavailable'"
    sleep "$OUTAGE"
    check "an outage is no reason to restart" is MainPID "$pid"
    check "nor to flood the journal" sh -c '[ "$(journalctl -q -u agent-sync -o cat | grep -c "database unavailable; trying")" -le 2 ]'
    systemctl start postgresql
    eventually 10 "the database is back" sql "SELECT 1"
    save reception shimmer
    eventually 45 "it is in sync" has_voice reception shimmer

    step "a start before the database"
    systemctl stop agent-sync postgresql
    check "a start does not wait for the database" timeout 15 systemctl start agent-sync
    systemctl start postgresql
    eventually 10 "the database is there" sql "SELECT 1"
    save reception alloy
    eventually 45 "it is in sync" has_voice reception alloy

    step "stop"
    local begun=$SECONDS
    systemctl stop agent-sync
    check "it stops within 5 s" test $((SECONDS - begun)) -le 5
    check "with exit code 0" is ExecMainStatus 0
    check "and success" is Result success
    systemctl start agent-sync

    step "an upgrade"
    pid=$(property MainPID)
    apt-get install -y --reinstall ./target/debian/agent-sync_*.deb >installed 2>&1 || { cat installed; exit 1; }
    eventually 10 "a running service is restarted" another_process_than "$pid"
    check "the settings stay" test -e /etc/agent-sync/databases.d/platform.toml
    systemctl stop agent-sync
    apt-get install -y --reinstall ./target/debian/agent-sync_*.deb >installed 2>&1 || { cat installed; exit 1; }
    check "a service that an administrator has stopped stays so" is ActiveState inactive

    # At the next boot, the database comes later than the daemon.
    systemctl disable --quiet postgresql
}

after_reboot() {
    step "a boot without the database"
    eventually 20 "the daemon runs" is ActiveState active
    check "and says what it waits for" logged "database unavailable" -b -p warning
    systemctl enable --quiet postgresql
    systemctl start postgresql
    eventually 10 "the database is there" sql "SELECT 1"
    save reception verse
    eventually 45 "it is in sync" has_voice reception verse

    step "remove and purge"
    # The page has made the file of the owner.
    AGENT_SYNC__DATABASES__PLATFORM__URL_FILE=/var/lib/postgresql/agent-sync.url \
        runuser -u postgres -- agent-sync uninstall --database platform --yes >/dev/null
    apt-get remove -y agent-sync >/dev/null 2>&1
    check "removed, it does not run" fails systemctl --quiet is-active agent-sync
    check "and its settings stay" test -e /etc/agent-sync/secrets/platform.url
    apt-get purge -y agent-sync >/dev/null 2>&1
    check "purged, nothing of it is left" fails test -e /etc/agent-sync
    check "nor its user" fails getent passwd agent-sync
    check "nor anything in the database" fails sql "SELECT 1 FROM agent_sync.install" 2>/dev/null
    check "and no unit has failed" no_status_of_failed_units
}

if [ ! -e stage ]; then
    before_reboot
    echo "$passed" >stage
    systemctl reboot
    # Until that ends this script.
    sleep 600
fi
passed=$(cat stage)
after_reboot
done_with
