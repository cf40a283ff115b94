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
MANTA_LINEAGE_BYTES=8192 MANTA_LINEAGE_AFTER_MS=4294967295 app budget

# The driver is killed: its workers and their objects go; two detached actors that have the refs, and another job, still get every one.
for zone in keep second; do
    timeout 60 "$build/manta" start --address "$head" --cores 1 --labels "zone=$zone" --store-bytes 134217728 >"$tmp/node" || fail "a node does not start"
done
wait_for "^5 nodes" "$build/manta" status --address "$head"
# orphans AFTER_MS HOW: what another job does then
orphans() {
    rm -f "$tmp/log" "$tmp/go"
    MANTA_NAMESPACE=lineage MANTA_LINEAGE_AFTER_MS=$1 "$build/manta" run --address "$head" "$build/test_app_lineage" orphans "$tmp" >"$tmp/first" 2>"$tmp/err" &
    driver=$!
    wait_for "^ready$" cat "$tmp/first"
    kill -9 "$driver"
    wait "$driver" 2>/dev/null || true
    wait_for test_app_lineage "$build/manta" list jobs --address "$head" --where state=failed
    for pid in $(cut -d' ' -f2 "$tmp/log" | sort -u); do
        for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
    done
    MANTA_NAMESPACE=lineage timeout 120 "$build/manta" run --address "$head" "$build/test_app_lineage" "$2" "$tmp" >"$tmp/run" 2>"$tmp/err" || fail "$2: $(cat "$tmp/run" "$tmp/err")"
    grep -q "all there" "$tmp/run" || fail "$2: $(cat "$tmp/run" "$tmp/err")"
    echo "orphans ($1), $2: $(cat "$tmp/run")"
}
orphans 200 collect # the records are in the control store
orphans 4294967295 collect # they have come along with the refs
orphans 200 inherit # the actor dies too
