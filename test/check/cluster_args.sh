#!/bin/sh
# cluster_args.sh BUILD ROOT: on three node daemons, objects are arguments of constructors and values of generators in other processes, and nothing is left of them, whoever fails or dies. The processes of
# a node have its store, and pull a foreign object once.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

start_nodes 3 --resources db=1 --cores 4
for what in spawns failures waiting generators; do
    timeout 100 "$build/manta" run --address "$head" "$build/test_app_args" "$what" >"$tmp/run" 2>&1 || fail "$what: $(cat "$tmp/run")"
done

timeout 100 "$build/manta" run --address "$head" "$build/test_app_node" replicas >"$tmp/run" 2>&1 || fail "replicas: $(cat "$tmp/run")"
grep -q '^5 processes pulled 1 times the size$' "$tmp/run" || fail "replicas: $(cat "$tmp/run")"

# A driver has the store of its node, whoever starts it.
timeout 100 "$build/manta" run --address "$head" "$build/test_app_node" store >"$tmp/run" 2>&1 || fail "store: $(cat "$tmp/run")"
grep -q '^no bytes came from the worker$' "$tmp/run" || fail "manta run: $(cat "$tmp/run")"
MANTA_CLUSTER=$head timeout 100 "$build/test_app_node" store >"$tmp/run" 2>&1 || fail "store: $(cat "$tmp/run")"
grep -q '^no bytes came from the worker$' "$tmp/run" || fail "MANTA_CLUSTER: $(cat "$tmp/run")"
timeout 30 "$build/manta" stop >"$tmp/out" || fail "stop: $(cat "$tmp/out")"
