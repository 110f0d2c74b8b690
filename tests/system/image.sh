# shellcheck shell=bash
# The image: built of the Dockerfile as it is, and tried in the box of Debian 13, whose podman knows Quadlet. Sourced by run.sh.

# Builds the image and saves it as an archive.
build_image() {
    local commit
    commit=$(git rev-parse HEAD)
    mkdir -p target/image
    rm -f target/image/agent-sync.tar
    # A health check is part of Docker's format, not of OCI's.
    buildah bud --quiet --layers --format docker --network host --build-arg COMMIT="$commit" ${AGENT_SYNC_BUILD_OPTIONS:-} \
        --tag localhost/agent-sync:latest . >target/image/build.log 2>&1 || {
        tail -5 target/image/build.log
        return 1
    }
    buildah push --quiet localhost/agent-sync:latest docker-archive:target/image/agent-sync.tar:localhost/agent-sync:latest
}

image() {
    build_image || return
    ls -l target/image/agent-sync.tar
    box trixie tests/system/container.sh tests/system/postgres-image.sh testbed/tables.sql docs/deploy-quadlet.md \
        docs/deploy-systemd-container.md docs/deploy-compose.md packaging target/image/agent-sync.tar
}

try_image() {
    local base why
    why=$(need buildah buildah && need debootstrap debootstrap && need systemd-nspawn systemd-container) || { skip image "$why"; return; }
    for base in $(sed -n 's/^ARG [A-Z]*_IMAGE=//p' Dockerfile); do
        buildah inspect "$base" >/dev/null 2>&1 || timeout 120 buildah pull --quiet "$base" >/dev/null 2>&1 || {
            skip image "the base image $base is not here and cannot be pulled"
            return
        }
    done
    why=$(template trixie) || { skip image "no box of Debian trixie can be made: $why"; return; }
    part image image
}
