#!/bin/sh
# cluster_lineage.sh BUILD: objects whose copies are gone come back, because their tasks run again.
set -eu
build=$1
. "$(dirname "$0")/cluster_lib.sh"
app() {
    rm -f "$tmp/log"
    timeout 120 "$build/manta" run --address "$head" "$build/test_app_lineage" "$@" "$tmp" >"$tmp/run" 2>"$tmp/err" || fail "$*: $(cat "$tmp/run" "$tmp/err")"
    grep 'ran again' "$tmp/run" | sed "s/^/$1: /" || true
}
start_nodes 1
timeout 60 "$build/manta" start --address "$head" --cores 2 --labels zone=work --store-bytes 134217728 >"$tmp/node" || fail "a node does not start"
timeout 60 "$build/manta" start --address "$head" --cores 1 --labels zone=work --store-bytes 134217728 >"$tmp/node" || fail "a node does not start"
wait_for "^3 nodes" "$build/manta" status --address "$head"

for what in chain diamond waiters reasons collected; do app "$what"; done
MANTA_LINEAGE_BYTES=8192 app budget
