#!/bin/sh
# cluster_leader.sh BUILD ROOT: the daemon that leads the control store is killed in the middle of wordcount and of parameter_server: both end with what they print alone, and another leads within a second.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# find_leader ADDRESS...: in $leader, by the first that names one which is not $gone
find_leader() {
    for a in "$@"; do
        leader=$(timeout 5 "$build/manta" status --address "$a" 2>/dev/null | sed -n 's/^  voter  *\([^ ]*\) .*(leads)$/\1/p')
        [ -z "$leader" ] || [ "$leader" = "$gone" ] || return 0
    done
    return 1
}

# add_node OPTION...: its address in $node, its pid in $pid_of_PORT
add_node() {
    timeout 60 "$build/manta" start "$@" --cores 1 --store-bytes 67108864 >"$tmp/node" || fail "a node does not start"
    node=$(sed -n 's/.* at //p' "$tmp/node")
    eval "pid_of_${node##*:}=$(sed -n 's/node daemon \([0-9]*\) .*/\1/p' "$tmp/node")"
}

three_voters() {
    for _ in $(seq 200); do
        [ "$(timeout 5 "$build/manta" status --address "$1" 2>/dev/null | grep -c '^  voter ')" -lt 3 ] || return 0
        sleep 0.05
    done
    fail "there are no three voters"
}

# kill_leader WHAT AFTER COMMAND...: runs it on three new daemons, by one that does not lead; kills the leader when it has run for AFTER seconds
kill_leader() {
    what=$1
    after=$2
    shift 2
    timeout 60 "$@" >"$tmp/alone" 2>"$tmp/err" || fail "$what alone: $(cat "$tmp/err")"
    add_node --head
    first=$node
    add_node --address "$first"
    second=$node
    add_node --address "$first"
    third=$node
    three_voters "$third"
    gone=
    find_leader "$first" "$second" "$third" || fail "nobody leads"
    gone=$leader
    others=$(printf '%s\n' "$first" "$second" "$third" | grep -v "^$gone\$")
    set -- "$build/manta" run --address "$(echo "$others" | head -1)" "$@"
    timeout 60 "$@" >"$tmp/out" 2>"$tmp/err" &
    job=$!
    sleep "$after"
    kill -0 $job 2>/dev/null || fail "$what has ended before the leader could be killed"
    eval "kill -9 \$pid_of_${gone##*:}"
    killed=$(now_ms)
    until find_leader $others; do [ $(($(now_ms) - killed)) -lt 5000 ] || fail "no new leader in 5 s"; done
    took=$(($(now_ms) - killed))
    wait $job || fail "$what with a killed leader: $(cat "$tmp/err")"
    cmp -s "$tmp/alone" "$tmp/out" || fail "$what prints with a killed leader: $(head -c 500 "$tmp/out") and alone: $(head -c 500 "$tmp/alone")"
    ! grep -q "no majority" "$tmp"/manta/*.log || fail "a node that could reach the others has left"
    echo "$what: the same with a killed leader; another led after $took ms"
    [ $took -lt 3000 ] || fail "it took $took ms until another led"
    timeout 60 "$build/manta" stop >/dev/null || fail "stop"
}

# A text that takes some seconds, when none has been fetched (tools/fetch-data text).
large=${MANTA_DATA:-$HOME/.cache/manta-data}/text
if [ -f "$large" ] && [ -z "${MANTA_TEST_SCALE:-}" ]; then head -c 250000000 "$large" >"$tmp/text"; else
    awk 'BEGIN { for (n = 1; n < 20000; n++) { w = ""; for (i = n; i; i = int(i / 26)) w = w sprintf("%c", 97 + i % 26); print w, w "s the" } }' >"$tmp/words"
    for _ in $(seq "${MANTA_TEST_COPIES:-400}"); do cat "$tmp/words"; done >"$tmp/text"
fi
digits=$("$root/tools/fetch-data" digits 2>/dev/null) || digits=
kill_leader wordcount 0.3 "$build/examples/wordcount" --all "$tmp/text"
kill_leader parameter_server 1.2 "$build/examples/parameter_server" --rounds 3000 $digits
