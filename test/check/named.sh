#!/bin/sh
# named.sh BUILD ROOT: names of actors on a cluster, within a job, a namespace and over jobs; detached actors outlive their driver; the list of jobs says how each ended.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"
app="$build/test_app_named"

# begin OUTPUT ARGUMENT...: the program in the background, its input a pipe that stays open; pid in $driver
begin() {
    output=$1
    shift
    "$build/manta" run --address "$head" "$app" "$@" <"$tmp/pipe" >"$output" 2>"$tmp/err" &
    driver=$!
}
state_is() {
    wait_for "$2" "$build/manta" list jobs --address "$head" --where "state=$1"
}

mkfifo "$tmp/pipe"
exec 9<>"$tmp/pipe"
start_nodes 3 --resources slot=0
timeout 60 "$build/manta" start --address "$head" --cores 1 --store-bytes 0 --resources slot=1 >"$tmp/node" || fail "a node with a slot does not start"
wait_for "^4 nodes" "$build/manta" status --address "$head"

run names
for line in "spawn: MANTA_OK" "the name again: MANTA_EEXIST" "found by a task: 10" "got the one that exists: 11" "of another class: MANTA_EEXIST" "after its end: MANTA_ENOTFOUND"; do says "$line"; done
run again
says "used again 20 times"
run race
says "8 of 8 got the same actor, which counted 8"

# Two jobs with the same name: each in its own namespace, then both in one.
run space
says "namespace job-[0-9a-f]*"
begin "$tmp/first" hold "x"
wait_for "spawn: MANTA_OK" cat "$tmp/first"
run names
run use x
says "lookup: MANTA_ENOTFOUND"
echo >&9
wait "$driver" || fail "the first job fails: $(cat "$tmp/err")"
export MANTA_NAMESPACE=shop
begin "$tmp/first" hold "x"
wait_for "spawn: MANTA_OK" cat "$tmp/first"
run use x
says "worker [0-9]* counts 1"
echo | timeout 60 "$build/manta" run --address "$head" "$app" hold x >"$tmp/said" 2>&1 || fail "hold: $(cat "$tmp/said")"
says "spawn: MANTA_EEXIST"
run --manta-namespace=other use x
says "lookup: MANTA_ENOTFOUND"
echo >&9
wait "$driver" || fail "the first job fails: $(cat "$tmp/err")"
run use x
says "lookup: MANTA_ENOTFOUND"

# A detached actor: its driver is killed, another job finds it with its state; its resources are its own until it ends.
begin "$tmp/first" detach counter
wait_for "counts 7" cat "$tmp/first"
grep -q "^detached without a name: MANTA_EINVAL$" "$tmp/first" || fail "a detached actor without a name: $(cat "$tmp/first")"
worker=$(sed -n 's/^worker \([0-9]*\) .*/\1/p' "$tmp/first")
state_is running test_app_named
kill -9 "$driver"
wait "$driver" 2>/dev/null || true
state_is failed test_app_named
kill -0 "$worker" || fail "the detached actor's process went with its driver"
run use counter
says "worker $worker counts 8"
run taken
says "slot: MANTA_ETIMEDOUT"
run end counter
says "worker $worker counts 9"
says "after its end: MANTA_ENOTFOUND"
run slot
says "slot: MANTA_OK"
for _ in $(seq 200); do
    kill -0 "$worker" 2>/dev/null || break
    sleep 0.05
done
! kill -0 "$worker" 2>/dev/null || fail "the detached actor's process is still there"

# One whose process is killed frees its name, too.
begin "$tmp/first" detach counter
wait_for "counts 7" cat "$tmp/first"
worker=$(sed -n 's/^worker \([0-9]*\) .*/\1/p' "$tmp/first")
echo >&9
wait "$driver" || fail "the job fails: $(cat "$tmp/err")"
run use counter
says "worker $worker counts 8"
kill -9 "$worker"
wait_for "MANTA_ENOTFOUND" "$build/manta" run --address "$head" "$app" use counter

wait_for "no such job is running" sh -c "timeout 20 $build/manta list jobs --address $head --where state=running | grep -q test_app || echo no such job is running"
# Every daemon tells of all jobs, those that have ended, too.
for daemon in $(sed -n 's/.* at //p' "$tmp/head" "$tmp/node"); do
    timeout 20 "$build/manta" status --address "$daemon" >"$tmp/said" || fail "status"
    grep -q "^jobs of the cluster: 0 running, [0-9]* succeeded, 1 failed$" "$tmp/said" || fail "status of $daemon: $(cat "$tmp/said")"
    timeout 20 "$build/manta" list jobs --address "$daemon" --where state=succeeded --where namespace=shop >"$tmp/said" || fail "list jobs"
    grep -q "test_app_named" "$tmp/said" || fail "list jobs of $daemon: $(cat "$tmp/said")"
done
