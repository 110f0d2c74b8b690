#!/bin/sh
# Runs a part of the suite with foreign names first in the search path of the program
# (tests/support/shadow.rs), in databases in which every role may create in the schema public. One
# process runs it, so the schema of these names is created once.
#
#     scripts/shadow.sh                # capture cli install outage sync chaos::storm
#     scripts/shadow.sh sync           # some of them
#
# $PG_BINDIR names the server programs; `make test-shadow VERSION=14` uses those of another version
# (scripts/matrix.sh).
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- capture cli install outage sync chaos::storm
AGENT_SYNC_TEST_SHADOW=1
export AGENT_SYNC_TEST_SHADOW
for module; do
    shift
    set -- "$@" "$module::"
done
# The first of these tests has its own session under the search path of the database; the second
# counts the transaction numbers of the cluster, which the tests of this process share.
cargo test --locked --test it -- --test-threads "$(($(nproc) + 2))" "$@" \
    --skip c4_writers_need_no_grants_and_cannot_hijack_the_capture \
    --skip c5_a_bulk_statement_is_one_wake_up_and_few_subtransactions
