#!/bin/sh
# cluster_examples.sh BUILD ROOT: the examples that run embedded give the same on three node daemons.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

same() { # same WHAT COMMAND...: as it runs alone and on the cluster
    what=$1
    shift
    timeout 100 "$@" >"$tmp/alone" 2>"$tmp/err" || fail "$what alone: $(cat "$tmp/err")"
    timeout 100 "$build/manta" run --address "$head" "$@" >"$tmp/out" 2>"$tmp/err" || fail "$what on the cluster: $(cat "$tmp/err")"
    cmp -s "$tmp/alone" "$tmp/out" || fail "$what prints on the cluster: $(cat "$tmp/out") and alone: $(cat "$tmp/alone")"
}

start_nodes 3
same "parameter_server with made-up digits" "$build/examples/parameter_server" --rounds 60 --workers 3
if digits=$("$root/tools/fetch-data" digits 2>"$tmp/err"); then
    same "parameter_server" "$build/examples/parameter_server" "$digits"
    right=$(sed -n 's/.*: \([0-9]*\)[.].*/\1/p' "$tmp/out")
    [ "$right" -gt 90 ] || fail "parameter_server reads $right % only"
else
    echo "without real digits: $(cat "$tmp/err")"
fi
same "supervisor_cluster" "$build/examples/supervisor_cluster"
same "live_metrics of recorded samples" "$build/examples/live_metrics" --replay "$root/test/examples/live_metrics.samples"
timeout 60 "$build/manta" run --address "$head" "$build/examples/live_metrics" --samplers 3 --seconds 4 >"$tmp/out" || fail "live_metrics"
for counter in "cpu %" "memory MiB" "switches/s"; do
    [ "$(grep -c "$counter  *\(9\|10\|11\) .* late 0 lost 0$" "$tmp/out")" -ge 3 ] || fail "live_metrics has no three full windows of $counter: $(cat "$tmp/out")"
done
# Words of any length, and a large text when it has been fetched (tools/fetch-data text), as awk counts them.
{ cat "$root"/docs/*.md && head -c 5000 /dev/zero | tr '\0' a; } >"$tmp/text"
large=${MANTA_DATA:-$HOME/.cache/manta-data}/text
[ ! -f "$large" ] || [ -n "${MANTA_TEST_SCALE:-}" ] || ln -sf "$large" "$tmp/text"
same "wordcount" "$build/examples/wordcount" --all "$tmp/text"
tr -cs 'A-Za-z' '\n' <"$tmp/text" | awk 'length { n[$0]++ } END { for (w in n) print n[w], w }' | sort -k2,2 >"$tmp/expected"
cmp -s "$tmp/out" "$tmp/expected" || fail "wordcount counts something else than tr and awk"
timeout 60 "$build/manta" stop >/dev/null || fail "stop"
