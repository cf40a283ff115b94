#!/bin/sh
# durable.sh BUILD ROOT: actors that are started again: after the death of their process, of their node, and of the whole cluster, whose daemons are started again on the same directories.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"
app="$build/test_app_durable"
own_port

begin_all() {
    begin_node 1 --head
    begin_node 2 --address "$head"
    begin_node 3 --address "$head"
    wait_for "^3 nodes" "$build/manta" status --address "$head"
}
kill_node() {
    kill_process "$(cat "$tmp/pid$1")"
}
three_voters() {
    for _ in $(seq 300); do
        [ "$(timeout 5 "$build/manta" status --address "$head" 2>/dev/null | grep -c '^  voter ')" -lt 3 ] || return 0
        sleep 0.05
    done
    fail "there are no three voters"
}
# worker_of NAME: the pid of the actor's process
worker_of() {
    run where "$1"
    sed -n "s/^$1 is in \([0-9]*\)$/\1/p" "$tmp/said"
}

head="tcp://127.0.0.1:$((port + 1))"
begin_all
three_voters

run restartable
for line in "first: 101" "under way: MANTA_EUNKNOWN" "again: MANTA_OK 101" "exit: MANTA_OK MANTA_EDEAD" "after: MANTA_EDEAD"; do says "$line"; done
sed -n '/restart took/p' "$tmp/err"
run limited
says "used up: MANTA_EDEAD: .*its restarts are used up.*"
run durable 600 5
says "durable: 600 600"

# A detached one: after its job; its process; its node; all nodes.
export MANTA_NAMESPACE=shop
run detached acct 5
says "acct: MANTA_OK 5"
worker=$(worker_of acct)
kill -9 "$worker"
run detached acct 5
says "acct: MANTA_OK 10"
worker=$(worker_of acct)
for n in 1 2 3; do
    [ "$(cat "$tmp/pid$n")" != "$(ps -o ppid= -p "$worker" | tr -d ' ')" ] || home=$n
done
head="tcp://127.0.0.1:$((port + 1 + home % 3))"
kill_node "$home"
run detached acct 5
says "acct: MANTA_OK 15"
begin_node "$home" --address "$head"
three_voters
timeout 20 "$build/manta" kv --address "$head" put shop key mine || fail "kv put"
for n in 1 2 3; do kill_node $n; done
head="tcp://127.0.0.1:$((port + 1))"
begin_node 1 --head &
begin_node 2 --address "$head" &
begin_node 3 --address "$head" &
wait
wait_for "^3 nodes" "$build/manta" status --address "$head"
run detached acct 5
says "acct: MANTA_OK 20"
[ "$(timeout 20 "$build/manta" kv --address "$head" get shop key)" = mine ] || fail "kv get after the restart of all nodes"
timeout 20 "$build/manta" list jobs --address "$head" --where state=succeeded >"$tmp/said"
grep -q test_app_durable "$tmp/said" || fail "the jobs after the restart of all nodes: $(cat "$tmp/said")"
echo "the same state after the death of its process, of its node and of all nodes"
