#!/bin/sh
# cluster_commands.sh BUILD ROOT: what `manta` lists and does about a cluster is what is there: nodes, processes, jobs, actors, tasks, methods, memory, handlers, logs, traces; filtered, counted,
# as tables and as JSON; wrong questions get clear errors.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

ask() { timeout 30 "$build/manta" "$@" >"$tmp/out" 2>"$tmp/err" || fail "manta $*: $(cat "$tmp/out" "$tmp/err")"; }
# has TEXT: the last output has a line that matches; fails COMMAND... TEXT: it fails, and its errors match
has() { grep -q "$1" "$tmp/out" || fail "no \"$1\" in $(cat "$tmp/out")"; }
fails() {
    wanted=$1
    text=$2
    shift 2
    code=0
    timeout 30 "$build/manta" "$@" >"$tmp/out" 2>"$tmp/err" || code=$?
    [ $code = "$wanted" ] || fail "manta $* ends with $code: $(cat "$tmp/out" "$tmp/err")"
    grep -q "$text" "$tmp/err" || fail "manta $* does not say \"$text\" but $(cat "$tmp/err")"
}
json() { python3 -c "import json; d = json.load(open('$tmp/out')); rows = d['rows']; assert $1, d" || fail "not so: $1"; }

"$build/manta" --help >"$tmp/help" || fail "--help"
for command in $(sed -n 's/^  \([a-z]*\) .*/\1/p' "$tmp/help"); do
    ask "$command" --help
    has "^usage: manta $command"
    grep -q "^## .*\`manta $command\`" "$root/docs/manta.md" || fail "docs/manta.md does not tell of $command"
done
fails 1 "no daemon runs here" list actors
fails 2 "there is no command nothing" nothing

# Settings: file, environment, flags, each over the one before; and a cluster from a file.
printf 'workers = 3 # threads\ntrace = 1\nnode_cores = 2\nnode_listen = "tcp://127.0.0.1:0"\nlisten = ipc://%s/own\n' "$tmp" >"$tmp/zpl"
MANTA_CONFIG="$tmp/zpl" MANTA_TRACE=2 ask config --manta-seed=5
for line in "workers 3 $tmp/zpl:1" "trace 2 MANTA_TRACE" "node_cores 2 $tmp/zpl:3" "seed 5 argument" "stash_limit 1024 default"; do
    tr -s ' ' <"$tmp/out" | grep -qx "$line" || fail "no line \"$line\" in $(cat "$tmp/out")"
done
echo "colour = red" >"$tmp/bad"
fails 2 "$tmp/bad:1: there is no setting \"colour\"" config --manta-config="$tmp/bad"
fails 2 "$tmp/bad:1: there is no setting \"colour\"" start --head --config "$tmp/bad"
fails 2 "nowhere: No such file" start --head --config "$tmp/nowhere"
timeout 60 "$build/manta" start --head --config "$tmp/zpl" >"$tmp/head" || fail "a head with a file of settings"
MANTA_CONFIG="$tmp/zpl" ask list nodes --json
json "'cpus=2' in rows[0]['resources']"
MANTA_CONFIG="$tmp/zpl" ask run "$build/examples/quickstart"
has "^81$"
ask stop

start_nodes 2
mkfifo "$tmp/go"
timeout 100 "$build/manta" run --address "$head" "$build/test_app_look" "$tmp/go" >"$tmp/app" 2>&1 &
app=$!
wait_for "Patient *the-patient" "$build/manta" list actors --address "$head"
wait_for "waits_for\|sleep" "$build/manta" stack --where method=wait_long

ask list nodes
[ "$(grep -c tcp:// "$tmp/out")" = 2 ] || fail "not two nodes: $(cat "$tmp/out")"
ask list processes --json
json "{r['role'] for r in rows} == {'driver', 'node', 'worker'} and [r['role'] for r in rows].count('node') == 2 and d['errors'] == []"
json "all(r['resident_kib'] > 1000 and r['threads'] > 1 for r in rows)"
ask list jobs --json
json "len(rows) == 1 and rows[0]['program'] == 'test_app_look' and rows[0]['state'] == 'running'"
ask list actors --where class=Patient --json
json "d['matched'] == 20 and len(rows) == 20 and {r['state'] for r in rows} == {'idle', 'waiting'}"
ask list actors --where class=Patient --limit 7
[ "$(grep -c Patient "$tmp/out")" = 7 ] || fail "--limit 7 shows $(cat "$tmp/out")"
has "^13 more: --limit N"
ask list actors --where class=Patient --where name~patient --json
json "len(rows) == 1 and rows[0]['name'] == 'the-patient' and rows[0]['handled'] >= 1"
ask list actors --where class=Patient --where 'name!=the-patient' --json
json "d['matched'] == 19"
ask list tasks --json
json "[r['task'] for r in rows] == ['slow_task'] and rows[0]['waits_for'] == 'sleep'"
ask list objects --json
json "len(rows) >= 4 and all(r['objects'] == 0 and r['table'] for r in rows)"
ask summary actors --where class=Patient --json
json "len(rows) == 1 and rows[0]['idle'] == 19 and rows[0]['waiting'] == 1"
ask summary tasks --json
json "rows[0]['task'] == 'slow_task' and rows[0]['waiting'] == 1"
ask summary methods --where class=Patient --json
json "[r for r in rows if r['method'] == 'note'][0]['handled'] == 60 and [r for r in rows if r['method'] == 'refuse'][0]['failed'] == 1"
ask memory --json
json "len(rows) >= 4 and all(r['messages'] > 0 for r in rows)"
ask stack --where class=Patient
has "wait_long .*waiting .*sleep"
ask list processes --here --json
json "len([r for r in rows if r['role'] == 'node']) == 1"
ask get node "$head"
has "^address *$head$"
ask list actors --where name=the-patient --json
id=$(python3 -c "import json; print(json.load(open('$tmp/out'))['rows'][0]['id'])")
ask get actor "$id"
has "^class *Patient$"
has "^process .*worker of"

ask timeline --seconds 1 --out "$tmp/timeline.json"
has "events of [0-9]* processes"
python3 -c "
import json
events = json.load(open('$tmp/timeline.json'))['traceEvents']
assert len({e['pid'] for e in events}) >= 2 and any(e.get('name') == 'Patient.beat' and e['ph'] == 'B' for e in events), len(events)" || fail "the timeline has no beats"
beats() { ask timeline --out "$tmp/after.json" && grep -c '"Patient.beat"' "$tmp/after.json"; }
[ "$(beats)" = "$(beats)" ] || fail "beats are recorded after the time is over"

ask kill "$id"
fails 1 "there is no actor $id" kill "$id"
fails 1 "there is no actor $id" get actor "$id"
# A driver is asked by both of its nodes; each time one of them finds that the actor has gone already.
ask list actors --where class=Patient --json
json "d['matched'] == 19"
python3 -c "import json; print('\n'.join(r['id'] for r in json.load(open('$tmp/out'))['rows'] if r['state'] == 'idle'))" >"$tmp/idle"
for id in $(head -8 "$tmp/idle"); do ask kill "$id"; done
ask list actors --where class=Patient --json
json "d['matched'] == 11"

fails 1 "there is no field colour; there are: id, class, name" list actors --where colour=red
fails 1 "is no condition" list actors --where colour
fails 2 "list wants actors, tasks" list
fails 2 "got cats" list cats
fails 2 "limit is a number" list actors --limit many
fails 2 "wants a value" list actors --limit
fails 2 "get wants" get actor
fails 1 "there is no job 12" get job 12
fails 2 "timeline does not know" timeline --fast
echo go >"$tmp/go"
wait "$app" || fail "the program: $(cat "$tmp/app")"
ask logs --limit 5
has "said nothing"

# A node that does not answer is named, and the others are shown.
node=$(sed -n 's/node daemon \([0-9]*\) .*/\1/p' "$tmp/node")
kill -STOP "$node"
code=0
timeout 60 "$build/manta" list processes --address "$head" >"$tmp/out" 2>"$tmp/err" || code=$?
kill -CONT "$node"
[ $code = 1 ] && grep -q "^manta: node [0-9a-f]*: " "$tmp/err" && grep -q " node " "$tmp/out" || fail "a node that does not answer: $code $(cat "$tmp/out" "$tmp/err")"
timeout 60 "$build/manta" stop >/dev/null || fail "stop"
