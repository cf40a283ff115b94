#!/bin/sh
# cluster_crash.sh BUILD ROOT: a worker that dies by a fault, an abort, an exit, a kill or for its memory fails its own calls alone, with a text that says how and where; its end is listed, with a
# backtrace; tasks with retries run again; its neighbours are called all the time.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" # a handler that calls exit leaves everything as it is

has() { grep -q "$1" "$tmp/out" || fail "no \"$1\" in $(cat "$tmp/out" "$tmp/err")"; }
ask() { timeout 30 "$build/manta" "$@" >"$tmp/out" 2>"$tmp/err" || fail "manta $*: $(cat "$tmp/out" "$tmp/err")"; }
json() { python3 -c "import json; d = json.load(open('$tmp/out')); rows = d['rows']; assert $1, d" || fail "not so: $1"; }

start_nodes 2 --worker-memory 150000000
timeout 100 "$build/manta" run --address "$head" "$build/test_app_crash" "$tmp/once" segv abort exit kill fpe "kill -9" hog >"$tmp/out" 2>"$tmp/err" || fail "crash: $(cat "$tmp/out" "$tmp/err")"
cp "$tmp/out" "$tmp/run"
has "^isolated: yes$"
! grep "the neighbour failed" "$tmp/out" || fail "a neighbour's call failed"
where='(crash [0-9]* on tcp://[0-9.:]*: manta get crash [0-9]*)$'
has "^actor segv: MANTA_EUNKNOWN: worker [0-9]* died by SIGSEGV in Victim.fall $where"
has "^actor abort: MANTA_EUNKNOWN: worker [0-9]* died by SIGABRT in Victim.fall $where"
has "^actor fpe: MANTA_EUNKNOWN: worker [0-9]* died by SIGFPE in Victim.fall $where"
has "^actor exit: MANTA_EUNKNOWN: worker [0-9]* ended with exit code 3 $where"
has "^actor kill: MANTA_EUNKNOWN: worker [0-9]* died by SIGKILL $where"
has "^actor kill -9: MANTA_EUNKNOWN: worker [0-9]* died by SIGKILL $where"
has "^actor hog: MANTA_EUNKNOWN: worker [0-9]* died by SIGKILL: used [0-9.]* [MG]iB of 143.1 MiB $where"
has "^task segv: MANTA_EUNKNOWN: worker [0-9]* died by SIGSEGV in task fall $where"
has "^task hog: MANTA_EUNKNOWN: worker [0-9]* died by SIGKILL: used [0-9.]* [MG]iB of 143.1 MiB $where"
for how in segv abort exit kill fpe hog; do
    has "^again $how: 7$"
    has "^later $how: fails$"
done
has "^the neighbour: the same process$"
has "^the other: there$"
grep '^(worker [0-9]*) died by SIGSEGV in Victim.fall' "$tmp/err" >/dev/null || fail "the driver does not tell of the end: $(cat "$tmp/err")"
echo "longest call of a neighbour: $(sed -n 's/^[0-9].*the longest \(.*\) ms$/\1/p' "$tmp/run" | sort -n | tail -1) ms; at rest, of a second: $(sed -n 's/^at rest.*the longest //p' "$tmp/run")"

ask list crashes --address "$head" --json
json "d['matched'] == 19 and all(r['program'] == 'test_app_crash' for r in rows)"
json "{r['end'] for r in rows} == {'SIGSEGV', 'SIGABRT', 'SIGFPE', 'SIGKILL', 'exit'} and all(r['code'] == 3 for r in rows if r['end'] == 'exit')"
ask list crashes --address "$head" --where end=SIGSEGV --where class=Victim --json
json "len(rows) == 1 and rows[0]['method'] == 'fall' and ':' in rows[0]['actor']"
number=$(python3 -c "import json; print(json.load(open('$tmp/out'))['rows'][0]['id'])")
ask list crashes --address "$head"
has "SIGSEGV .*Victim *fall"
ask get crash "$number" --address "$head" --json
json "[r for r in rows if r['end'] == 'SIGSEGV' and r['class'] == 'Victim' and r['address'] == '0x40' and 'end_by+0x' in r['frame_0'] and any('Victim_fall' in str(v) for v in r.values())]"
ask get crash "$number" --address "$head"
has "^frame_0 *end_by+0x[0-9a-f]* in /.*+0x[0-9a-f]*$"
code=0
timeout 30 "$build/manta" get crash 999 --address "$head" >"$tmp/out" 2>"$tmp/err" || code=$?
[ $code = 1 ] && grep -q "there is no crash 999" "$tmp/err" || fail "get crash 999: $code $(cat "$tmp/out" "$tmp/err")"
ask stop

# A node whose memory is all reserved ends workers of tasks for it, and says why.
start_nodes 1 --memory-reserve 1000000000000
timeout 60 "$build/manta" run --address "$head" "$build/test_app_crash" "$tmp/reserve" hog >"$tmp/out" 2>"$tmp/err" || true
cat "$tmp/out" "$tmp/err" >"$tmp/all"
grep -q "when the node had .* left, less than its reserve of 931.3 GiB" "$tmp/all" || fail "no end for the reserve: $(cat "$tmp/all")"
timeout 60 "$build/manta" stop >/dev/null || fail "stop"
