# shellcheck shell=bash
# Common functions of the scripts in the box: checks that print their subject, and evidence when one
# fails. Sourced by bash.

passed=0
trap 'echo "FAILED in line $LINENO: $BASH_COMMAND"; evidence || true' ERR

# Prints the subject of the next checks.
step() { echo "== $*"; }

# Fails the script unless the command succeeds.
check() { # WHAT COMMAND...
    local what=$1
    shift
    if ! "$@"; then
        echo "FAILED: $what"
        evidence || true
        echo "$passed passed, 1 failed"
        exit 1
    fi
    passed=$((passed + 1))
    echo "ok: $what"
}

# Fails the script unless the command succeeds within this number of seconds.
eventually() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what="$2"
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$end" ]; then
            check "$what" "$@"
            return
        fi
        sleep 0.2
    done
    check "$what" true
}

# The commands of a page: the content of its ```sh blocks, in order.
commands_of() { sed -n '/^```sh$/,/^```$/p' "$1" | grep -v '^```'; }

done_with() { echo "$passed passed, 0 failed"; }
