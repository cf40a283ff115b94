#!/bin/sh
# durable_program.sh BUILD ROOT: a detached durable actor comes back on a node that was not there when its job ran: the program is fetched from a node that keeps it.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"
app="$build/test_app_durable"
own_port

export MANTA_NAMESPACE=shop
head="tcp://127.0.0.1:$((port + 1))"
begin_node 1 --head
begin_node 2 --address "$head" --labels zone=b
wait_for "^2 nodes" "$build/manta" status --address "$head"
run detached acct 5 zone=b
says "acct: MANTA_OK 5"
begin_node 3 --address "$head" --labels zone=b
wait_for "^3 nodes" "$build/manta" status --address "$head"
wait_for "voter.*$((port + 3))" "$build/manta" status --address "$head"
[ -z "$(ls "$tmp/programs3")" ] || fail "node 3 has a program before it needs one"
kill_process "$(cat "$tmp/pid2")"
for _ in $(seq 300); do
    [ -z "$(ls "$tmp/programs3")" ] || break
    sleep 0.05
done
[ -n "$(ls "$tmp/programs3")" ] || fail "node 3 has not fetched the program: $("$build/manta" list actors --address "$head")"
run detached acct 5 zone=b
says "acct: MANTA_OK 10"
echo "it came back on a node that fetched its program from another"
