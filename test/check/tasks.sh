#!/bin/sh
# tasks.sh BUILD ROOT: tasks, actors and placement groups on three node daemons: resources are never lent twice, strategies place where they say, what waits, moves or is lost is served in the end.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

# start OPTIONS...: a node; its process in $node
start() {
    timeout 60 "$build/manta" start "$@" >"$tmp/node" || fail "a node does not start"
    node=$(sed -n 's/node daemon \([0-9]*\) .*/\1/p' "$tmp/node")
}
app() { timeout 60 "$build/manta" run --address "$head" "$build/test_app_place" "$@"; }

! "$build/manta" start --head --resources gpus=x 2>"$tmp/err" || fail "it takes resources that are none"
grep -q 'gpus=x' "$tmp/err" || fail "the refusal does not name the resource: $(cat "$tmp/err")"
start --head --cores 2 --labels zone=even --resources one=1 --idle-ms 300
head=$(sed -n 's/.* at //p' "$tmp/node")
start --address "$head" --cores 2 --labels zone=odd --resources db=1 --idle-ms 300
start --address "$head" --cores 2 --labels zone=even --resources gpus=4 --idle-ms 300
third=$node
wait_for "^3 nodes" "$build/manta" status --address "$head"

for what in resources strategies locality gpus actors stealing nested cancel streams retries priorities groups; do
    rm -f "$tmp/log"
    app "$what" "$tmp" >"$tmp/run" 2>&1 || fail "$what: $(cat "$tmp/run")"
done
wait_for "0 workers, 0 leases and 0 waiting" "$build/manta" status --address "$head"

# Worker processes end when there has been no work for a while, though their job goes on.
app idle "$tmp" >"$tmp/run" 2>"$tmp/err" &
driver=$!
wait_for "^idle$" cat "$tmp/run"
wait_for "1 jobs, 0 workers" "$build/manta" status --address "$head"
rm "$tmp/log"
wait $driver || fail "idle: $(cat "$tmp/run" "$tmp/err")"

# What no node has is told at once, is seen in the status, and is served when a node with it comes.
app infeasible "$tmp" >"$tmp/run" 2>"$tmp/err" &
driver=$!
wait_for "infeasible: .*rare=1" cat "$tmp/err"
wait_for "infeasible: cpus=1,rare=1" "$build/manta" status --address "$head"
start --address "$head" --cores 1 --resources rare=1 --labels zone=rare
wait $driver || fail "infeasible: $(cat "$tmp/run" "$tmp/err")"
grep -q '^served$' "$tmp/run" || fail "the task was not served by the node that came"

# A placement group that loses a node is placed again as a whole.
app group_survives "$tmp" >"$tmp/run" 2>"$tmp/err" &
driver=$!
wait_for "^ready$" cat "$tmp/run"
wait_for "spread .*3 bundles: ready" "$build/manta" status --address "$head"
kill -9 "$third"
wait $driver || fail "group_survives: $(cat "$tmp/run" "$tmp/err")"
grep -q '^whole again$' "$tmp/run" || fail "the group was not placed again"
wait_for "^0 placement groups" "$build/manta" status --address "$head"
wait_for "^3 nodes" "$build/manta" status --address "$head"
timeout 60 "$build/manta" stop >"$tmp/out" || fail "stop: $(cat "$tmp/out")"

# Two jobs on one cpu get half of it each; one alone gets all.
start --head --cores 1
head=$(sed -n 's/.* at //p' "$tmp/node")
app share "$tmp" >"$tmp/a" 2>&1 &
first=$!
app share "$tmp" >"$tmp/b" 2>&1 &
second=$!
wait $first || fail "share: $(cat "$tmp/a")"
wait $second || fail "share: $(cat "$tmp/b")"
a=$(sed -n 's/done //p' "$tmp/a")
b=$(sed -n 's/done //p' "$tmp/b")
[ "$((a * 4))" -gt "$b" ] && [ "$((b * 4))" -gt "$a" ] || fail "unfair: $a and $b tasks"
