#!/bin/sh
# cluster_supervise.sh BUILD ROOT: supervisors with children in other processes and on other nodes, whose workers and nodes are killed with SIGKILL: each strategy, trees, order of stopping, names, places that are gone, and nothing that is left.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"
app="$build/test_app_supervise"

# begin_node LABELS: its pid in $pid
begin_node() {
    timeout 60 "$build/manta" start --address "$head" --cores 2 --store-bytes 67108864 --labels "$1" >"$tmp/node" || fail "a node does not start: $(cat "$tmp/node")"
    pid=$(sed -n 's/^node daemon \([0-9]*\) .*/\1/p' "$tmp/node")
}
# run_all COMMAND LINE...: the program, whose output has these lines
run_all() {
    command=$1
    shift
    run "$command" "$tmp"
    for line in "$@"; do says "$line"; done
    sed -n '/^(/!p' "$tmp/err"
}

start_nodes 1
for _ in 1 2 3; do begin_node zone=work; done
wait_for "^4 nodes" "$build/manta" status --address "$head"

run_all strategies \
    "one_for_one: 1 same 2 new 3 same" "one_for_one: +1 +2 +3 +2 -3 -2 -1" \
    "one_for_all: 1 new 2 new 3 new" "one_for_all: +1 +2 +3 -3 -1 +1 +2 +3 -3 -2 -1" \
    "rest_for_one: 1 same 2 new 3 new" "rest_for_one: +1 +2 +3 -3 +2 +3 -3 -2 -1"
run_all kinds "transient: 3 children, 1 runs, 2 is away" "temporary: 2 children are left"
run_all dynamic "dynamic: 5 children run" "broken: refused: part -1 is broken"
run_all nested "nested: elsewhere" "a leaf dies: its supervisor starts it again" "from afar: 3 children, the last is more of class Part" \
    "its supervisor is killed: the leaf ends" "and the tree is there again: yes"
run_all death "the supervisor's process is killed: 3 of 3 children end"
run_all shutdown "stopped in the time that the hanging one has" "order: +1 +2 +3 +4 -2 -1" "its process ends"
run_all bound "bound: in that process" "its process is gone: MANTA_ERESTARTS" "no such process: refused: it is named"
run_all names "by name from a task: the new one"
run_all cut-off "out of reach: started elsewhere; the old one ends"
run_all times

# While the job still runs, nothing of what was stopped is left in its workers.
"$build/manta" run --address "$head" "$app" leaks "$tmp" >"$tmp/said" 2>"$tmp/err" &
driver=$!
for _ in $(seq 1200); do ! grep -q "^all stopped$" "$tmp/said" || break; sleep 0.05; done
wait_for "^all stopped$" cat "$tmp/said"
for class in Part Supervisor Host; do
    for _ in $(seq 100); do
        left=$(timeout 20 "$build/manta" list actors --address "$head" --where "class=$class" | grep -c " $class ") || break
        sleep 0.05
    done
    [ "$left" = 0 ] || fail "$left actors of class $class are left: $(timeout 20 "$build/manta" list actors --address "$head")"
done
touch "$tmp/go"
wait "$driver" || fail "leaks: $(cat "$tmp/said" "$tmp/err")"

# A node dies: elsewhere. No node fits: the others are not held up, and when one comes the child is back.
run_all node "the node dies: on another node" "the old one: gone"
begin_node zone=lone
wait_for "^4 nodes" "$build/manta" status --address "$head"
"$build/manta" run --address "$head" "$app" unfit "$tmp" >"$tmp/said" 2>"$tmp/err" &
driver=$!
for _ in $(seq 600); do ! grep -q "^without a node" "$tmp/said" || break; sleep 0.05; done
wait_for "^without a node: MANTA_ENOTREADY$" cat "$tmp/said"
begin_node zone=lone
wait "$driver" || fail "unfit: $(cat "$tmp/said" "$tmp/err")"
says "with a node again: it runs"
[ "$(grep -c '^the other is back soon$' "$tmp/said")" = 3 ] || fail "the others are held up: $(cat "$tmp/said" "$tmp/err")"
sed -n '/^the other/p' "$tmp/err"
