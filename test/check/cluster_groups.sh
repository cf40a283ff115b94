#!/bin/sh
# cluster_groups.sh BUILD ROOT: placement groups outlive the cluster's first daemon, which leads its control store, when that is killed: groups are made, used and removed all the while, what was reserved
# there is placed again, and nothing stays reserved when the job has ended, or was killed.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

# start OPTIONS...: a node; its process in $node, its address in $address
start() {
    timeout 60 "$build/manta" start --cores 2 --store-bytes 67108864 "$@" >"$tmp/node" || fail "a node does not start"
    node=$(sed -n 's/node daemon \([0-9]*\) .*/\1/p' "$tmp/node")
    address=$(sed -n 's/.* at //p' "$tmp/node")
}
all_free() { # N: of that many nodes
    for _ in $(seq 200); do
        timeout 20 "$build/manta" status --address "$address" >"$tmp/out" 2>&1 || true
        [ "$(grep -c "available: cpus=2" "$tmp/out")" != "$1" ] || return 0
        sleep 0.05
    done
    fail "not all cpus of $1 nodes are free: $(cat "$tmp/out")"
}

start --head
founder=$node
head=$address
start --address "$head"
start --address "$head"
wait_for "^3 nodes" "$build/manta" status --address "$address"
wait_for "voter .*(leads)" "$build/manta" status --address "$address"
for _ in $(seq 200); do
    [ "$(timeout 5 "$build/manta" status --address "$address" | grep -c '^  voter ')" -lt 3 ] || break
    sleep 0.05
done

timeout 90 "$build/manta" run --address "$address" "$build/test_app_place" group_outlives "$tmp" >"$tmp/run" 2>"$tmp/err" &
job=$!
wait_for "^ready$" cat "$tmp/run"
wait_for "kept .*3 bundles: ready" "$build/manta" status --address "$head"
kill -9 "$founder"
start --address "$address"
wait $job || fail "group_outlives: $(cat "$tmp/run" "$tmp/err")"
grep -q "^whole again$" "$tmp/run" || fail "the group was not placed again: $(cat "$tmp/run" "$tmp/err")"
all_free 3
grep -q "^0 placement groups" "$tmp/out" || fail "groups are left: $(cat "$tmp/out")"

# A driver that is killed leaves nothing reserved.
timeout 90 "$build/manta" run --address "$address" "$build/test_app_place" group_survives "$tmp" >"$tmp/run" 2>"$tmp/err" &
wait_for "^ready$" cat "$tmp/run"
wait_for "spread .*3 bundles: ready" "$build/manta" status --address "$address"
timeout 30 "$build/manta" list processes --address "$address" --json >"$tmp/out" || fail "list processes"
driver=$(python3 -c "import json; print([r['pid'] for r in json.load(open('$tmp/out'))['rows'] if r['role'] == 'driver'][0])")
kill -9 "$driver"
all_free 3
wait_for "^0 placement groups" "$build/manta" status --address "$address"
