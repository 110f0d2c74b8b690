#!/bin/sh
# Creates target/validators, where the tests of the Kubernetes manifests find kubernetes-validate. A
# failed download is no error: the tests print the skipped parts.
set -eu
[ -x target/validators/bin/kubernetes-validate ] && exit 0
mkdir -p target
{ python3 -m venv target/validators && timeout 120 target/validators/bin/pip install --quiet kubernetes-validate; } >&2 || {
    echo "kubernetes-validate could not be installed; the Kubernetes manifests are not held to their schemas" >&2
    rm -rf target/validators
}
