#!/bin/sh
# cluster_drain.sh BUILD ROOT: every node of a cluster is drained and replaced, one after the other, while tasks that may not be tried twice run: none fails, nothing of the control store is lost. A node that keeps an actor
# waits for it, and says so.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

drain() { timeout 60 "$build/manta" drain "$@" >"$tmp/drained" 2>&1 || fail "manta drain $*: $(cat "$tmp/drained")"; }
# kept TEXT ARGUMENT...: the drain is late, and says what is still there
kept() {
    text=$1
    code=0
    shift
    timeout 60 "$build/manta" drain "$@" >"$tmp/drained" 2>&1 || code=$?
    [ $code = 1 ] && grep -q "$text" "$tmp/drained" || fail "manta drain $*: $code $(cat "$tmp/drained")"
}
addresses() { "$build/manta" list nodes --address "$1" | sed -n 's/^\(tcp:[^ ]*\).*/\1/p'; }

voters() { "$build/manta" status --address "$head" | grep -c "^  voter"; }
wait_for_voters() {
    for _ in $(seq 200); do
        [ "$(voters)" != "$1" ] || return 0
        sleep 0.05
    done
    fail "not $1 voters: $("$build/manta" status --address "$head")"
}

start_nodes 3
code=0
timeout 20 "$build/manta" drain --address "$head" --timeout x >"$tmp/out" 2>&1 || code=$?
[ $code = 2 ] && grep -q "not x" "$tmp/out" || fail "a time-out of x: $code $(cat "$tmp/out")"
"$build/manta" kv put drained key value >/dev/null || fail "kv put"
others=$(addresses "$head" | grep -vxF "$head")

# A node with an actor waits for it.
touch "$tmp/stays"
one=$(echo "$others" | head -n 1)
timeout 100 "$build/manta" run --address "$head" "$build/test_app_drain" keep "$one" "$tmp/stays" >"$tmp/keep" 2>&1 &
keep=$!
wait_for "^kept on $one: 1" cat "$tmp/keep"
kept "after 1 s there was still: worker [0-9]*, which keeps actors or objects" --address "$one" --timeout 1 --stay
rm "$tmp/stays"
wait "$keep" || fail "$(cat "$tmp/keep")"
grep -q "^it counted" "$tmp/keep" && ! grep -q failed "$tmp/keep" || fail "$(cat "$tmp/keep")"

# All nodes are replaced under load, that of the driver after it.
touch "$tmp/goes_on"
timeout 200 "$build/manta" run --address "$head" "$build/test_app_drain" steady "$tmp/goes_on" >"$tmp/steady" 2>&1 &
steady=$!
wait_for twice "$build/manta" summary tasks --address "$head"
for node in $others; do
    drain --address "$node"
    grep -qx "drained $node" "$tmp/drained" || fail "$(cat "$tmp/drained")"
    timeout 60 "$build/manta" start --address "$head" --cores 1 --store-bytes 67108864 >"$tmp/node" || fail "a node does not start again"
    wait_for "^3 nodes" "$build/manta" status --address "$head"
    wait_for_voters 3
done
kept "still: 1 driver" --address "$head" --timeout 1 --stay
rm "$tmp/goes_on"
wait "$steady" || fail "the driver: $(cat "$tmp/steady")"
grep -q "^[0-9]* tasks, 0 failed" "$tmp/steady" || fail "$(cat "$tmp/steady")"
drain --address "$head"
head=$(sed -n 's/.* at //p' "$tmp/node")
wait_for "^2 nodes" "$build/manta" status --address "$head"
[ "$("$build/manta" kv get drained key)" = value ] || fail "the control store has lost a key"
timeout 60 "$build/manta" run --address "$head" "$build/examples/quickstart" >"$tmp/out" 2>&1 && grep -q "^81$" "$tmp/out" || fail "$(cat "$tmp/out")"
