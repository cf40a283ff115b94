#!/bin/sh
# durable_fence.sh BUILD ROOT: the process of a durable actor stands still, with calls in it that are not logged yet, until another place has the actor; then it goes on. Nothing that it writes now counts: what the new place answers is there after the next restart, and nothing of the old one's.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"
app="$build/test_app_durable"
own_port

# begin_node N OPTION...: its pid in $tmp/pidN
begin_node() {
    n=$1
    shift
    timeout 60 "$build/manta" start --listen "tcp://127.0.0.1:$((port + n))" --state "$tmp/state$n" --directory "$tmp/programs$n" --cores 1 --store-bytes 0 "$@" >"$tmp/node$n" || fail "node $n does not start: $(cat "$tmp/node$n")"
    sed -n 's/^node daemon \([0-9]*\) .*/\1/p' "$tmp/node$n" >"$tmp/pid$n"
}
# account_pids: of the processes that have it
account_pids() {
    timeout 20 "$build/manta" list actors --address "$head" 2>/dev/null | awk '$2 == "Account" { print $NF }'
}
value_of() { sed -n "s/^acct: MANTA_OK //p" "$tmp/said"; }

export MANTA_NAMESPACE=shop
head="tcp://127.0.0.1:$((port + 1))"
begin_node 1 --head
begin_node 2 --address "$head" --labels zone=b
begin_node 3 --address "$head" --labels zone=b
wait_for "^3 nodes" "$build/manta" status --address "$head"
wait_for "voter.*$((port + 2))" "$build/manta" status --address "$head"
wait_for "voter.*$((port + 3))" "$build/manta" status --address "$head"
run detached acct 1 zone=b
old=$(account_pids)
home=2
[ "$(cat "$tmp/pid2")" = "$(ps -o ppid= -p "$old" | tr -d ' ')" ] || home=3

timeout 60 "$build/manta" run --address "$head" "$app" flood acct >"$tmp/flood" 2>&1 &
wait_for "under way" cat "$tmp/flood"
flood=$(sed -n 's/^pid //p' "$tmp/flood")
kill -STOP "$old"
trap 'kill -CONT "$old" "$(cat "$tmp/pid$home")" 2>/dev/null || true; timeout 30 "$build/manta" stop >/dev/null 2>&1 || true; rm -rf "$tmp"' EXIT
kill -STOP "$(cat "$tmp/pid$home")" # or it would end its workers when it hears that it is dead
kill -9 "$flood"
wait || true
new=
for _ in $(seq 200); do
    new=$(account_pids | grep -v "^$old$" | head -1) || true
    [ -z "$new" ] || break
    sleep 0.1
done
[ -n "$new" ] || fail "no other place has the actor"
sleep 0.3
kill -CONT "$old"
sleep 2 # time for it to do harm
run detached acct 1
one=$(value_of)
kill -9 "$new"
run detached acct 1
two=$(value_of)
[ "$two" = $((one + 1)) ] || fail "answered $one; after the next restart $((two - 1)): the old place wrote to the log"
echo "the old place has written nothing: $one, and after a restart $two"
