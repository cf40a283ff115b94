#!/bin/sh
# chaos.sh BUILD ROOT: tools/chaos on small workloads: right answers under faults, exit codes, and that a wrong answer is noticed.
set -eu
build=$1
root=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail() {
    echo "chaos.sh: $*" >&2
    exit 1
}
chaos() { timeout 100 "$root/tools/chaos" --build "$build" --nodes 3 --seed 7 "$@" >"$tmp/out" 2>&1; }

chaos --workload wordcount --data "$root/docs/protocol.md" --times 200 --seconds 6 --every 0.7 || fail "wordcount: $(cat "$tmp/out")"
grep -q "runs, all right; .*kill" "$tmp/out" || fail "$(cat "$tmp/out")"
chaos --workload locks --seconds 5 --every 1 --faults kill,stop || fail "locks: $(cat "$tmp/out")"
[ "$(id -u)" != 0 ] || ! command -v ip >/dev/null || ! ip netns list >/dev/null 2>&1 || chaos --net --workload locks --seconds 5 --every 1 --faults cut,slow || fail "locks, cut off: $(cat "$tmp/out")"

printf '#!/bin/sh\ndate +%%N\n' >"$tmp/differs"
chmod +x "$tmp/differs"
code=0
chaos --workload "$tmp/differs" --seconds 1 || code=$?
[ $code = 1 ] && grep -q "another answer" "$tmp/out" || fail "a wrong answer: $code $(cat "$tmp/out")"
code=0
chaos --faults bite || code=$?
[ $code = 2 ] && grep -q "no fault bite" "$tmp/out" || fail "a wrong fault: $code $(cat "$tmp/out")"
