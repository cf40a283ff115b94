#!/bin/sh
# durable_partition.sh BUILD ROOT: the node of a durable actor is cut off while it is called from both sides. The other side has the actor again, in a greater epoch; from then on the cut off one acknowledges nothing, and after the cable is back no answer was given twice and no call is in the state twice. Skipped (77) where network namespaces may not be made.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"
app="$build/test_app_durable"
hub="mdp$$"
net="10.$((64 + $$ % 64)).$((1 + $$ / 64 % 250))"
[ "$(id -u)" = 0 ] && command -v ip >/dev/null && ip netns add "$hub" 2>/dev/null || {
    echo "network namespaces are not allowed here"
    exit 77
}

inside() {
    space="$hub-$1"
    shift
    ip netns exec "$space" "$@"
}
clean() {
    timeout 30 "$build/manta" stop >/dev/null 2>&1 || true
    for n in 1 2 3; do ip netns del "$hub-$n" 2>/dev/null || true; done
    ip netns del "$hub"
    rm -rf "$tmp"
}
trap clean EXIT
# plug N: its cable, at the bridge's end; the carrier stays when it is pulled
plug() { ip -n "$hub" link set "v$1" master net; }
unplug() { ip -n "$hub" link set "v$1" nomaster; }
# begin_node N OPTION...: its pid in $tmp/pidN
begin_node() {
    n=$1
    shift
    ip netns add "$hub-$n"
    ip -n "$hub" link add "v$n" type veth peer name eth netns "$hub-$n"
    plug "$n"
    ip -n "$hub" link set "v$n" up
    ip -n "$hub-$n" link set lo up
    ip -n "$hub-$n" addr add "$net.$n/24" dev eth
    ip -n "$hub-$n" link set eth up
    inside "$n" timeout 60 "$build/manta" start --listen "tcp://$net.$n:7000" --insecure --state "$tmp/state$n" --cores 2 --store-bytes 0 --fence-ms 60000 "$@" >"$tmp/node$n" 2>&1 || fail "node $n does not start: $(cat "$tmp/node$n")"
    sed -n 's/^node daemon \([0-9]*\) .*/\1/p' "$tmp/node$n" >"$tmp/pid$n"
}
# on NODE ARGUMENT...: the program as a job of that node
on() {
    n=$1
    shift
    inside "$n" timeout "${patience:-60}" "$build/manta" run --address "tcp://$net.$n:7000" "$app" "$@"
}
now_ms() { date +%s%3N; }

ip -n "$hub" link set lo up
ip -n "$hub" link add net type bridge
ip -n "$hub" link set net up
export MANTA_NAMESPACE=shop MANTA_INSECURE=1
head="tcp://$net.1:7000"
begin_node 1 --head
begin_node 2 --address "$head" --labels zone=b
begin_node 3 --address "$head" --labels zone=b
wait_for "^3 nodes" ip netns exec "$hub-1" "$build/manta" status --address "$head"
wait_for "voter.*$net.3" ip netns exec "$hub-1" "$build/manta" status --address "$head"
wait_for "voter.*$net.2" ip netns exec "$hub-1" "$build/manta" status --address "$head"
on 1 detached acct 1 zone=b >"$tmp/said" 2>&1 || fail "$(cat "$tmp/said")"
on 1 where acct >"$tmp/said"
worker=$(sed -n 's/^acct is in \([0-9]*\)$/\1/p' "$tmp/said")
home=2
[ "$(cat "$tmp/pid2")" = "$(ps -o ppid= -p "$worker" | tr -d ' ')" ] || home=3

on 1 steady acct 12000 >"$tmp/here" 2>"$tmp/here.err" &
here=$!
patience=22 on "$home" steady acct 12000 >"$tmp/there" 2>"$tmp/there.err" &
there=$!
for file in here there; do
    for _ in $(seq 400); do
        [ "$(wc -l <"$tmp/$file")" -lt 20 ] || break
        sleep 0.05
    done
    [ "$(wc -l <"$tmp/$file")" -ge 20 ] || fail "no calls from $file: $(cat "$tmp/$file" "$tmp/$file.err")"
done
unplug "$home"
cut=$(now_ms)
again=
for _ in $(seq 400); do # the first answer of the new place
    again=$(awk -v cut="$cut" '$1 > cut + 1000 && NF == 2 && $1 + 0 > 0 { print $1; exit }' "$tmp/here")
    [ -z "$again" ] || break
    sleep 0.05
done
[ -n "$again" ] || fail "no answer from a new place in 20 s: $(tail -3 "$tmp/here") $(cat "$tmp/here.err")"
sleep 1
late=$(awk -v again="$again" '$1 > again && NF == 2 && $1 + 0 > 0' "$tmp/there" | wc -l)
[ "$late" = 0 ] || fail "the cut off actor acknowledged $late calls after the new one had begun"
plug "$home"
wait $here || fail "the job here: $(tail -3 "$tmp/here") $(cat "$tmp/here.err")"
wait $there || true # its node is dead by then
! grep error "$tmp/here" || fail "a call failed here"
awk 'NF == 2 && $1 + 0 > 0 { print $2 }' "$tmp/here" "$tmp/there" | sort -n >"$tmp/values"
twice=$(uniq -d "$tmp/values" | head -3 | tr '\n' ' ')
[ -z "$twice" ] || fail "answers that were given twice: $twice"
answered=$(wc -l <"$tmp/values")
on 1 steady acct 0 >"$tmp/said"
count=$(sed -n 's/^count //p' "$tmp/said")
last=$(tail -1 "$tmp/values")
# all but the first call and at most one that `there` had no answer of
[ "$count" -ge $((answered + 1)) ] && [ "$count" -le $((answered + 2)) ] && [ "$count" -ge "$last" ] || fail "$answered answers, the last $last, and $count calls in the state"
echo "cut off: another place answered after $((again - cut)) ms; $answered answers, none twice, $count calls in the state"
