#!/usr/bin/env bash
# make system-test: the package under a real systemd, the image in a real container engine, and the daemon beside a Patroni cluster. Each
# part that cannot be tried here says why and is skipped; so does all of it where the user is not root.
#
#     tests/system/run.sh [PART...]     PART: package-bookworm, package-trixie, image, patroni; all of them if none is named
#
# A box is a Debian that debootstrap makes once ($AGENT_SYNC_BOXES, about 2 minutes and 1 GB each), booted by systemd-nspawn as the lower
# half of an overlay, so that whatever happens in it is gone afterwards. What is missing is installed with apt-get.
set -euo pipefail
cd "$(dirname "$0")/../.."
boxes=${AGENT_SYNC_BOXES:-${TMPDIR:-/var/tmp}/agent-sync-boxes}
mirror=${AGENT_SYNC_MIRROR:-}
passed=0 failed=0 skipped=0 scratch=

# At any exit, nothing is left mounted or behind.
clean_up() {
    [ -n "$scratch" ] || return 0
    umount --quiet "$scratch/root" || true
    rm -rf --one-file-system "$scratch"
    scratch=
}
trap clean_up EXIT

skip() { # PART WHY
    echo "skipped: $1: $2"
    skipped=$((skipped + 1))
}

# Installs a program's package if it is missing; prints the missing package on failure.
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null && return
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"; } >/dev/null 2>&1
    command -v "$1" >/dev/null || {
        echo "$1 is missing, and apt-get install $2 does not bring it"
        return 1
    }
}

# The packages of a box beyond a minimal Debian.
packages() { # SUITE
    local common=systemd,systemd-sysv,dbus,ca-certificates,postgresql,man-db,bash-completion,libpam-systemd,iproute2
    case $1 in
    trixie) echo "$common,podman,crun,netavark,aardvark-dns,catatonit,passt,nftables,podman-docker,docker-compose" ;;
    *) echo "$common" ;;
    esac
}

# Creates the template of a suite, unless it exists.
template() { # SUITE
    local root=$boxes/$1 wanted
    wanted=$(packages "$1")
    [ "$(cat "$root/.made-of" 2>/dev/null)" = "$wanted" ] && return
    echo "making a box of Debian $1 ..."
    rm -rf "$root"
    mkdir -p "$boxes"
    # shellcheck disable=SC2086 # No mirror is no argument.
    debootstrap --variant=minbase --include="$wanted" "$1" "$root" $mirror >"$boxes/$1.log" 2>&1 || {
        tail -3 "$boxes/$1.log"
        return 1
    }
    rm -f "$root"/etc/systemd/system/getty.target.wants/*
    ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
    cat >"$root/etc/systemd/system/box.service" <<'U'
[Unit]
Description=the script in the box
After=postgresql.service network-online.target
[Service]
WorkingDirectory=/box
ExecStart=/bin/bash -c './script >>out 2>&1; echo $? >code; systemctl poweroff --no-block'
U
    ln -sf ../box.service "$root/etc/systemd/system/multi-user.target.wants/box.service"
    echo "$wanted" >"$root/.made-of"
}

# Boots a box, runs a script in it, prints its output, and returns its exit code.
box() { # SUITE SCRIPT FILE...
    local suite=$1 script=$2 code
    shift 2
    scratch=$(mktemp -d "$boxes/run.XXXXXX")
    mkdir "$scratch/upper" "$scratch/work" "$scratch/root" "$scratch/containers"
    mkdir "$scratch/upper/box"
    cp "$script" "$scratch/upper/box/script"
    cp -r tests/system/check.sh "$@" "$scratch/upper/box/"
    chmod +x "$scratch/upper/box/script"
    mount -t overlay box -o "lowerdir=$boxes/$suite,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
    # Containers keep their layers beside the overlay: one cannot stand on another. 133 is a reboot, after which it is booted again.
    code=133
    while [ "$code" = 133 ]; do
        code=0
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout --kill-after=10 "${AGENT_SYNC_BOX_TIMEOUT:-900}" systemd-nspawn --quiet --directory="$scratch/root" --register=no \
            --keep-unit --private-network --boot --capability=all --system-call-filter='add_key keyctl bpf' \
            --bind="$scratch/containers:/var/lib/containers" >"$scratch/console" 2>&1 </dev/null || code=$?
    done
    cat "$scratch/root/box/out" 2>/dev/null || tail -20 "$scratch/console"
    code=$(cat "$scratch/root/box/code" 2>/dev/null || echo 125)
    clean_up
    return "$code"
}

# Runs a part and counts it.
part() { # NAME COMMAND...
    local name=$1
    shift
    echo "-- $name"
    if "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}

package() { # SUITE
    box "$1" tests/system/package.sh testbed/tables.sql docs/deploy-debian.md target/debian/agent-sync_*.deb
}

try_package() { # SUITE
    local why
    command -v cargo-deb >/dev/null || { skip "package-$1" "cargo-deb is missing: cargo install --locked cargo-deb"; return; }
    why=$(need debootstrap debootstrap && need systemd-nspawn systemd-container && need dpkg-shlibdeps dpkg-dev) ||
        { skip "package-$1" "$why"; return; }
    why=$(template "$1") || { skip "package-$1" "no box of Debian $1 can be made: $why"; return; }
    rm -f target/debian/agent-sync_*.deb
    scripts/deb.sh --quiet
    part "package-$1" package "$1"
}

# etcd's package starts a server, so it is unpacked and not installed.
find_etcd() {
    local folder=$boxes/etcd
    type -P etcd && return
    [ -x "$folder/usr/bin/etcd" ] || {
        rm -rf "$folder"
        mkdir -p "$folder"
        { apt-get update -qq && (cd "$folder" && apt-get download -qq etcd-server && dpkg-deb --extract etcd-server_*.deb .); } >/dev/null 2>&1
        rm -f "$folder"/*.deb
    }
    if [ -x "$folder/usr/bin/etcd" ]; then echo "$folder/usr/bin/etcd"; else
        echo "etcd is missing, and apt-get download etcd-server does not bring it"
        return 1
    fi
}

# $AGENT_SYNC_BINARY is a program that is built already.
try_patroni() {
    local why etcd
    why=$(sh scripts/postgres.sh 2>&1) || { skip patroni "$why"; return; }
    compgen -G "${PG_BINDIR:-/usr/lib/postgresql/*/bin}/pg_rewind" >/dev/null && getent passwd postgres >/dev/null ||
        { skip patroni "the server programs or the user postgres of Debian's PostgreSQL are missing"; return; }
    why=$(need pgrep procps && need patroni patroni) || { skip patroni "$why"; return; }
    # Patroni only recommends the library of its store.
    /usr/bin/python3 -c 'import etcd' 2>/dev/null || apt-get install -y -qq --no-install-recommends python3-etcd >/dev/null 2>&1 ||
        { skip patroni "apt-get install python3-etcd fails"; return; }
    etcd=$(find_etcd) || { skip patroni "$etcd"; return; }
    [ -n "${AGENT_SYNC_BINARY:-}" ] || cargo build --quiet --locked --bin agent-sync
    part patroni tests/system/patroni.sh "${AGENT_SYNC_BINARY:-${CARGO_TARGET_DIR:-target}/debug/agent-sync}" "$etcd"
}

main() {
    if [ "$(id -u)" != 0 ]; then
        echo "skipped: the system tests boot machines and run containers, for which one has to be root"
        exit 0
    fi
    [ $# -gt 0 ] || set -- package-bookworm package-trixie image patroni
    local each
    for each in "$@"; do
        case $each in
        package-*) try_package "${each#package-}" ;;
        image) . tests/system/image.sh && try_image ;;
        patroni) try_patroni ;;
        *) echo "unknown part: $each" >&2; exit 64 ;;
        esac
    done
    echo "system tests: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
main "$@"
