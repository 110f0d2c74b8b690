#!/bin/sh
# Checks every shell script with shellcheck, and is silent about their style. Without shellcheck,
# prints how to install it, which is no failure.
set -eu
cd "$(dirname "$0")/.."
command -v shellcheck >/dev/null || {
    echo "shellcheck is not installed, so no script is checked: sudo apt-get install shellcheck" >&2
    exit 0
}
shellcheck --severity=warning .ci/run scripts/*.sh tests/system/*.sh packaging/debian/post*
# The scripts of an RPM have no first line of their own.
shellcheck --severity=warning --shell=sh packaging/rpm/*.sh
