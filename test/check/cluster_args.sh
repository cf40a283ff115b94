#!/bin/sh
# cluster_args.sh BUILD ROOT: on three node daemons, objects are arguments of constructors and values of generators in other processes, and nothing is left of them, whoever fails or dies.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

start_nodes 3 --resources db=1 --cores 2
for what in ${only:-spawns failures waiting generators}; do
    timeout 100 "$build/manta" run --address "$head" "$build/test_app_args" "$what" >"$tmp/run" 2>&1 || fail "$what: $(cat "$tmp/run")"
done
timeout 30 "$build/manta" stop >"$tmp/out" || fail "stop: $(cat "$tmp/out")"
