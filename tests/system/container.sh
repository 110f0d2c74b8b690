#!/usr/bin/env bash
# Runs in the box: the image by itself, then as docs/deploy-quadlet.md, docs/deploy-systemd-container.md and docs/deploy-compose.md say,
# word for word.
set -Eeuo pipefail
cd "$(dirname "$0")"
. ./check.sh

evidence() {
    local each
    podman ps --all
    for each in $(podman ps --all --quiet); do podman logs --tail=10 "$each" 2>&1 | sed "s/^/$each: /"; done
    systemctl --no-pager --lines=0 status agent-sync
    journalctl --no-pager -n 60
}
sql() { runuser -u postgres -- psql -XAtq -d platform -c "$1"; }
save() { # SLUG VOICE
    sql "INSERT INTO agents (slug, name, voice_settings) VALUES ('$1', '$1', '{\"provider\": \"openai\", \"voice_id\": \"$2\"}')
         ON CONFLICT (slug) DO UPDATE SET voice_settings = excluded.voice_settings"
}
has_voice() { [ "$(sql "SELECT provider_config #>> '{tts,voice}' FROM agent_configurations WHERE agent_slug = '$1'")" = "$2" ]; }
is() { [ "$(systemctl show -P "$1" agent-sync)" = "$2" ]; }
fails() { ! "$@"; }
logged() { journalctl -q -o cat --no-pager "${@:2}" | grep -F -q -- "$1"; }
# What podman knows of the container: its state, its health, the process.
of_container() { [ "$(podman inspect --format "$1" agent-sync)" = "$2" ]; }
pid() { podman inspect --format '{{.State.Pid}}' agent-sync; }
another_process_than() { [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ]; }
image() { podman image inspect --format "$1" localhost/agent-sync:latest; }

# A page, with the image that is here instead of one that is built here.
follow() {
    commands_of "$1" | sed -E 's/^(podman|docker) build .*/true/' >page.sh
    bash -eu page.sh >page.out 2>&1 || {
        cat page.out
        evidence
        exit 1
    }
}

# Some machines give a box no controllers; then there is nothing to set limits with.
if ! grep -q pids /sys/fs/cgroup/cgroup.controllers; then
    echo "this machine gives no cgroup controllers, so the limits of processes and memory are left out"
    mkdir -p /etc/containers
    printf '[containers]\npids_limit = 0\n' >/etc/containers/containers.conf
    sed -i '/^PidsLimit=/d; /^PodmanArgs=--memory/d; s/ --pids-limit=64 --memory=512m//' packaging/agent-sync*
    sed -i '/ pids_limit:/d; / mem_limit:/d' packaging/compose.yaml
fi

step "the platform and the image"
eventually 30 "PostgreSQL is there" runuser -u postgres -- psql -XAtqc "SELECT 1"
runuser -u postgres -- createdb platform
runuser -u postgres -- psql -Xq -d platform -f - <tables.sql
sql "INSERT INTO agent_configurations (agent_slug) VALUES ('reception')"
podman load --quiet --input agent-sync.tar >/dev/null
check "it runs as a user without a name" test "$(image '{{.Config.User}}')" = 65532:65532
check "it has labels" test "$(image '{{index .Config.Labels "org.opencontainers.image.title"}}')" = agent-sync
check "it says which commit it is" sh -c "podman run --rm --network=none localhost/agent-sync:latest --version | grep -Eq '^agent-sync [0-9.]+ \([0-9a-f]{12}\)$'"
check "it has no shell" fails podman run --rm --network=none --entrypoint /bin/sh localhost/agent-sync:latest -c true 2>/dev/null
echo "its size: $(image '{{.Size}}') bytes"

step "the image by itself, with a read-only root"
runuser -u postgres -- psql -Xqc "CREATE ROLE container LOGIN SUPERUSER PASSWORD 'container'"
printf 'postgres://container:container@localhost/platform' >url
chmod 644 url
run=(podman run --network=host --read-only --read-only-tmpfs=false --cap-drop=all --security-opt=no-new-privileges
    --volume="$PWD/url:/run/secrets/url:ro" --env=AGENT_SYNC__DATABASES__PLATFORM__URL_FILE=/run/secrets/url)
"${run[@]}" --rm localhost/agent-sync:latest install
"${run[@]}" --detach --name=agent-sync --health-interval=1s localhost/agent-sync:latest >/dev/null
save reception alloy
eventually 15 "a save is synced" has_voice reception alloy
eventually 15 "its health check turns healthy" of_container '{{.State.Health.Status}}' healthy
begun=$SECONDS
podman stop --time=20 agent-sync >/dev/null
check "SIGTERM ends it within 5 s" test $((SECONDS - begun)) -le 5
check "with exit code 0" of_container '{{.State.ExitCode}}' 0
podman rm agent-sync >/dev/null
podman run --network=none --name=agent-sync localhost/agent-sync:latest >said 2>&1 || true
check "without settings it says so" grep -q "no database is configured" said
check "and ends with 64" of_container '{{.State.ExitCode}}' 64
podman rm agent-sync >/dev/null
"${run[@]}" --rm localhost/agent-sync:latest uninstall --yes

# What holds of the service, whichever unit runs it.
try_service() {
    eventually 15 "the service is up" is ActiveState active
    save reception echo
    eventually 10 "a save is synced" has_voice reception echo
    eventually 30 "its health check turns healthy" of_container '{{.State.Health.Status}}' healthy
    check "the health check asks at the socket" sh -c '[ "$(podman exec agent-sync agent-sync probe live 2>&1)" = ok ]'
    check "its root is read-only" of_container '{{.HostConfig.ReadonlyRootfs}}' true
    save lonely alloy
    eventually 10 "its lines are in the journal with their priority" logged "no configuration has this slug" -p warning -u agent-sync
    check "and remarks are remarks" fails logged "caught up" -p warning -u agent-sync
    sql "DELETE FROM agents WHERE slug = 'lonely'"
    systemctl reload agent-sync
    eventually 10 "a reload is taken over" logged "settings reloaded" -u agent-sync
    echo 'nonsense = 1' >/etc/agent-sync/databases.d/zz.toml
    check "a reload of bad settings fails" fails systemctl reload agent-sync 2>/dev/null
    rm /etc/agent-sync/databases.d/zz.toml
    local before
    before=$(pid)
    kill -KILL "$before"
    eventually 30 "killed, it is started again" another_process_than "$before"
    eventually 30 "and is up" is ActiveState active
    before=$(pid)
    kill -STOP "$before"
    save reception fable
    eventually 90 "when it hangs, the health check has it started again" another_process_than "$before"
    eventually 30 "and what was saved meanwhile is in sync" has_voice reception fable
    local begun=$SECONDS
    systemctl stop agent-sync
    check "it stops within 5 s" test $((SECONDS - begun)) -le 5
    check "with success" is Result success
    check "and leaves no container behind" fails podman container exists agent-sync
}

step "docs/deploy-quadlet.md, word for word"
mkdir -p /etc/agent-sync/databases.d
/usr/lib/systemd/system-generators/podman-system-generator --dryrun >/dev/null 2>dry || true
follow deploy-quadlet.md
check "podman's generator takes the unit" sh -c "/usr/lib/systemd/system-generators/podman-system-generator --dryrun 2>&1 | grep -q -- '--sdnotify=container'"
check "and systemd what it makes of it" is LoadState loaded
check "it is started at boot" test -e /run/systemd/generator/multi-user.target.wants/agent-sync.service
try_service
rm /etc/containers/systemd/agent-sync.container
podman secret rm agent-sync-platform-url >/dev/null
systemctl daemon-reload

step "docs/deploy-systemd-container.md, word for word"
follow deploy-systemd-container.md
try_service

# There is no registry here: what Compose asks for as PostgreSQL's image is made of this box's own PostgreSQL.
make_postgres_image() {
    install postgres-image.sh /usr/local/bin/postgres-image
    tar --create --one-file-system --directory=/ --exclude='usr/share/[dlm]*' --exclude='usr/lib/*/libLLVM*' --exclude=usr/lib/podman \
        --exclude=usr/libexec --exclude='usr/bin/*podman' --exclude='usr/bin/docker*' bin sbin lib lib64 usr etc |
        podman import --quiet --change='ENTRYPOINT ["/usr/local/bin/postgres-image"]' - docker.io/library/postgres:17
}
# Without the progress that Compose tells on standard error.
compose() { docker compose --file packaging/compose.yaml "$@" 2>/dev/null; }
compose_sql() { compose exec -T postgres psql -XAtq -U postgres -d platform -c "$1"; }
compose_has_voice() { [ "$(compose_sql "SELECT provider_config #>> '{tts,voice}' FROM agent_configurations WHERE agent_slug = '$1'")" = "$2" ]; }
compose_save() { # VOICE
    compose_sql "INSERT INTO agents (slug, name, voice_settings) VALUES ('reception', 'reception', '{\"provider\": \"openai\", \"voice_id\": \"$1\"}')
                 ON CONFLICT (slug) DO UPDATE SET voice_settings = excluded.voice_settings"
}
of_service() { [ "$(podman inspect --format "$2" "agent-sync-$1-1")" = "$3" ]; }

step "docs/deploy-compose.md, word for word"
make_postgres_image >/dev/null
systemctl start podman.socket
mkdir -p testbed
cp tables.sql testbed/
follow deploy-compose.md
check "its daemon is healthy when the page ends" of_service agent-sync '{{.State.Health.Status}}' healthy
compose_sql "INSERT INTO agent_configurations (agent_slug) VALUES ('reception')"
compose_save alloy
eventually 10 "a save is synced" compose_has_voice reception alloy
check "its root is read-only" of_service agent-sync '{{.HostConfig.ReadonlyRootfs}}' true
check "no port of it is published" of_service agent-sync '{{len .HostConfig.PortBindings}}' 0
compose restart postgres
eventually 30 "the database is back after a restart" compose_save echo
eventually 30 "and what was saved after it is in sync" compose_has_voice reception echo
check "the capture goes into a database that has it, too" sh -c "docker compose --file packaging/compose.yaml run --rm install 2>/dev/null | grep -q 'nothing to change'"
begun=$SECONDS
compose stop agent-sync
check "it stops within 5 s" test $((SECONDS - begun)) -le 5
check "with exit code 0" of_service agent-sync '{{.State.ExitCode}}' 0
compose_save fable
compose up --detach --wait agent-sync
eventually 10 "what was saved without it is in sync once it is up" compose_has_voice reception fable
check "the profile with Prometheus and Grafana is taken" compose --profile metrics --profile install config --quiet
check "it goes without a trace" compose down --volumes
check "no container of it is left" test -z "$(podman ps --all --quiet)"
done_with
