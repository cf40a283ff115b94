#!/bin/sh
# bank.sh BUILD ROOT: transfers between durable accounts while worker processes, and a whole node, are killed at random: nothing is lost, and each transfer that was answered was done exactly once. MANTA_BANK_TRANSFERS, MANTA_BANK_SEED, MANTA_BANK_ROUNDS: how many; which; kills at most.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"
transfers=${MANTA_BANK_TRANSFERS:-4000}
seed=${MANTA_BANK_SEED:-$$}
own_port

# random BELOW: in $drawn
random() {
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    drawn=$((seed / 65536 % $1))
}
# kill_worker: of all nodes, one
kill_worker() {
    workers=
    for n in 1 2 3; do workers="$workers $(ps -o pid= --ppid "$(cat "$tmp/pid$n")" | tr '\n' ' ')"; done
    set -- $workers
    [ $# -gt 0 ] || return 0
    random $#
    shift "$drawn"
    kill -9 "$1" 2>/dev/null || return 0
    killed=$((killed + 1))
}

head="tcp://127.0.0.1:$((port + 1))"
begin_node 1 --head
begin_node 2 --address "$head"
begin_node 3 --address "$head"
wait_for "^3 nodes" "$build/manta" status --address "$head"
wait_for "voter.*$((port + 3))" "$build/manta" status --address "$head"
"$build/manta" run --address "$head" "$build/examples/bank_durable" "$transfers" >"$tmp/said" 2>"$tmp/err" &
bank=$!
killed=0
nodes_killed=0
round=0
while kill -0 $bank 2>/dev/null; do
    round=$((round + 1))
    random 10
    sleep "0.$((2 + drawn % 7))"
    kill_worker
    if [ $((round % 6)) -eq 3 ]; then
        random 2
        n=$((2 + drawn))
        [ ! -d "/proc/$(cat "$tmp/pid$n")" ] || kill_process "$(cat "$tmp/pid$n")" # one that got no time for too long has left by itself
        nodes_killed=$((nodes_killed + 1))
        sleep 0.3
        begin_node "$n" --address "$head"
    fi
    [ $round -lt "${MANTA_BANK_ROUNDS:-1200}" ] || { kill $bank; fail "it does not end: $(tail -5 "$tmp/err")"; }
done
wait $bank || fail "seed $seed, $killed workers and $nodes_killed nodes killed: $(cat "$tmp/said"; tail -20 "$tmp/err")"
cat "$tmp/said"
echo "$killed workers and $nodes_killed nodes were killed"
[ $killed -gt 0 ] || fail "nothing was killed"
