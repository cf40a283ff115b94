#!/bin/sh
# cluster_lost_node.sh BUILD: a node with the only copies is lost as a whole; what tasks made comes back, the rest fails with its reason, and when all is released nothing is left anywhere.
set -eu
build=$1
. "$(dirname "$0")/cluster_lib.sh"
# node NAME ZONE
node() {
    timeout 60 "$build/manta" start --address "$head" --cores 2 --labels "zone=$2" --store-bytes 134217728 >"$tmp/$1" || fail "a node does not start"
}
daemon_of() { sed -n 's/^node daemon \([0-9]*\) .*/\1/p' "$tmp/$1"; }

start_nodes 1
node keep keep
node other other
node lost grid
wait_for "^4 nodes" "$build/manta" status --address "$head"
timeout 300 "$build/manta" run --address "$head" "$build/test_app_lineage" lost_node "$tmp" >"$tmp/run" 2>"$tmp/err" &
driver=$!
wait_for "^built$" cat "$tmp/run"
node spare grid
wait_for "^5 nodes" "$build/manta" status --address "$head"
lost=$(daemon_of lost)
kill -9 "$lost" $(ps -o pid= --ppid "$lost")
: >"$tmp/killed"
for _ in $(seq 1200); do
    grep -q "^released$" "$tmp/run" && break
    kill -0 "$driver" 2>/dev/null || fail "lost_node: $(cat "$tmp/run" "$tmp/err" "$tmp/log")"
    sleep 0.05
done
cat "$tmp/run"

# objects, records, leases, workers
none_left() {
    "$build/manta" list objects --address "$head" --json >"$tmp/objects"
    ! grep -q '"objects":[1-9]' "$tmp/objects" || return 1
    for at in "$head" $(sed -n 's/.* at //p' "$tmp/keep" "$tmp/other" "$tmp/spare"); do
        "$build/manta" status --address "$at" >"$tmp/status"
        grep -q ' 0 workers, 0 leases and 0 waiting' "$tmp/status" || return 1
    done
    "$build/manta" status --address "$head" | grep -q 'lineage: 0 records'
}
for _ in $(seq 200); do
    ! none_left || break
    sleep 0.1
done
none_left || fail "left over: $(cat "$tmp/objects" "$tmp/status" "$tmp/run"; "$build/manta" status --address "$head"; "$build/manta" memory --address "$head")"
: >"$tmp/checked"
wait "$driver" || fail "lost_node: $(cat "$tmp/run" "$tmp/err")"
grep 'tasks ran again' "$tmp/run"
