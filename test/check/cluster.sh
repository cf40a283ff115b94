#!/bin/sh
# cluster.sh BUILD ROOT: three node daemons on this machine; programs run on them as they run alone; workers and daemons that die are noticed.
set -eu
build=$1
root=$2
. "$root/test/check/cluster_lib.sh"

MANTA_WORKERS=3 "$build/manta" config --manta-trace=1 >"$tmp/out" || fail "config"
grep -q '^workers  *3  *MANTA_WORKERS$' "$tmp/out" && grep -q '^trace  *1  *argument$' "$tmp/out" && grep -q '^listen  *-  *default$' "$tmp/out" || fail "config prints $(cat "$tmp/out")"
! "$build/manta" config --manta-nothing=1 2>/dev/null || fail "config takes any argument"
! "$build/manta" status >/dev/null 2>&1 || fail "status without a daemon"
! "$build/manta" start 2>/dev/null || fail "start without --head or --address"
! "$build/manta" start --head --listen tcp://0.0.0.0:0 2>"$tmp/err" || fail "it listens to everybody without keys"
grep -q insecure "$tmp/err" || fail "the refusal does not say why"
umask 077
"$build/manta" keygen >"$tmp/keys"
"$build/manta" keygen >"$tmp/other"
timeout 60 "$build/manta" start --head --cores 1 --keys "$tmp/keys" >"$tmp/head" || fail "the head with keys does not start"
head=$(sed -n 's/.* at //p' "$tmp/head")
for keys in "" "$tmp/other"; do
    ! MANTA_KEYS=$keys timeout 60 "$build/manta" status --address "$head" >/dev/null 2>&1 || fail "it answers without the right keys"
done
chmod 644 "$tmp/other"
! MANTA_KEYS="$tmp/other" "$build/manta" status --address "$head" 2>"$tmp/err" || fail "it takes keys that others can read"
grep -q "chmod 600" "$tmp/err" || fail "it does not say that others can read the keys"
MANTA_KEYS="$tmp/keys" timeout 60 "$build/manta" run --address "$head" "$build/examples/quickstart" >"$tmp/out" || fail "quickstart with keys"
cmp -s "$tmp/out" "$root/test/examples/quickstart.expected" || fail "quickstart prints something else with keys"
timeout 60 "$build/manta" stop >/dev/null || fail "stop"

timeout 60 "$build/manta" start --head --cores 1 >"$tmp/head" || fail "the head does not start"
head=$(sed -n 's/.* at //p' "$tmp/head")
for _ in 1 2; do timeout 60 "$build/manta" start --address "$head" --cores 1 >"$tmp/node" || fail "a node does not start"; done
wait_for "^3 nodes" "$build/manta" status --address "$head"

timeout 60 "$build/manta" run --address "$head" "$build/examples/quickstart" >"$tmp/out" || fail "quickstart"
cmp -s "$tmp/out" "$root/test/examples/quickstart.expected" || fail "quickstart prints something else on the cluster"
cat "$root"/docs/*.md >"$tmp/text"
timeout 60 "$build/manta" run --address "$head" "$build/examples/wordcount" --all "$tmp/text" >"$tmp/words" || fail "wordcount"
tr -cs 'A-Za-z' '\n' <"$tmp/text" | grep -v '^$' | sort | uniq -c | sed 's/^ *//' >"$tmp/expected"
cmp -s "$tmp/words" "$tmp/expected" || fail "wordcount counts something else than sort and uniq"

timeout 60 "$build/manta" run --address "$head" "$build/test_app_say" die "$tmp/died" >"$tmp/out" 2>"$tmp/err" || fail "say: $(cat "$tmp/err")"
for line in "12 of 12 tasks ran elsewhere" "the actor lives elsewhere" "the task that died: MANTA_EUNKNOWN" "died once: 5" "and then: 1"; do
    grep -q "^$line$" "$tmp/out" || fail "no line \"$line\" in: $(cat "$tmp/out")"
done
grep -q '^(worker [0-9]*) task 3$' "$tmp/out" || fail "what a worker prints does not arrive"
grep -q '^(worker [0-9]*) about to die$' "$tmp/err" || fail "a worker's last words do not arrive"
grep -q '^(worker [0-9]*) died by SIGABRT in task die (crash [0-9]* on tcp:.*)$' "$tmp/err" || fail "a worker's end is not told"

timeout 60 "$build/manta" run --address "$head" "$build/test_app_group" >"$tmp/out" 2>"$tmp/err" || fail "group: $(cat "$tmp/err")"
for line in "several processes, 6 members seen by the driver" "6 of 6 see all" "sent to 6 and 6" "6 of 6 heard all" "0 out of order"; do
    grep -q "^$line$" "$tmp/out" || fail "no line \"$line\" in: $(cat "$tmp/out")"
done

# The control store: values, and a lock that keeps two commands apart.
"$build/manta" kv put app greeting hello && [ "$("$build/manta" kv get app greeting)" = hello ] || fail "kv put and get"
printf world | "$build/manta" kv put app input - && [ "$("$build/manta" kv list app | cut -f1 | tr '\n' ' ')" = "greeting input " ] || fail "kv list"
"$build/manta" kv delete app input && ! "$build/manta" kv get app input 2>/dev/null || fail "kv delete"
"$build/manta" lock one sh -c "! timeout 20 '$build/manta' lock --timeout-ms 200 one true 2>/dev/null && echo \$MANTA_LOCK_TOKEN" >"$tmp/token" || fail "lock: $(cat "$tmp/token")"
[ "$(cat "$tmp/token")" -ge 1 ] && "$build/manta" lock one true || fail "a lock is not free again"
wait_for "(leads)" "$build/manta" status --address "$head"

node=$(sed -n 's/node daemon \([0-9]*\) .*/\1/p' "$tmp/node")
store=/dev/shm/manta-$(id -u)-$node
[ -d "$store" ] || fail "the node has no object store $store"
"$build/manta-store" inspect "$store" >"$tmp/out" && grep -q "^Store $store" "$tmp/out" || fail "manta-store inspect $store: $(cat "$tmp/out")"
kill -9 "$node"
wait_for "^2 nodes" "$build/manta" status --address "$head"
timeout 60 "$build/manta" run --address "$head" "$build/examples/quickstart" >"$tmp/out" || fail "quickstart with a node less"
cmp -s "$tmp/out" "$root/test/examples/quickstart.expected" || fail "quickstart prints something else with a node less"
timeout 60 "$build/manta" stop >"$tmp/out" || fail "stop: $(cat "$tmp/out")"
! "$build/manta" status >/dev/null 2>&1 || fail "a daemon is still there"

# The launchers: N nodes on this machine, and a list of hosts, with a stand-in for ssh that runs everything here.
MANTA="$build/manta" timeout 60 "$root/tools/local-cluster" 3 --cores 1 >"$tmp/head" || fail "local-cluster"
wait_for "^3 nodes" "$build/manta" status --address "$(cat "$tmp/head")"
[ ! -e "$store" ] || fail "the store of a killed daemon is still there"
stores=$(for pid in $(sed -n 's/.*pid \([0-9]*\).*/\1/p' "$tmp/out"); do echo "/dev/shm/manta-$(id -u)-$pid"; done)
for s in $stores; do [ ! -e "$s" ] || fail "an idle node has a store $s"; done
grep -q "^no object store yet" "$tmp/out" || fail "the status does not tell that there is no store: $(cat "$tmp/out")"
timeout 60 "$build/manta" run --address "$(cat "$tmp/head")" "$build/examples/quickstart" >"$tmp/out" || fail "quickstart on local-cluster"
for s in $stores; do [ -d "$s" ] || fail "a node has no store $s for a job"; done
"$build/manta" status --address "$(cat "$tmp/head")" | grep -q "^object store /dev/shm/manta-.* objects" || fail "the status does not tell of the store"
MANTA="$build/manta" timeout 60 "$root/tools/local-cluster" stop >/dev/null || fail "local-cluster stop"
for s in $stores; do [ ! -e "$s" ] || fail "$s is there after the stop"; done
printf '#!/bin/sh\nshift\nexec sh -c "$*"\n' >"$tmp/ssh"
chmod 700 "$tmp/ssh"
printf '127.0.0.1 # the head\n\n127.0.0.2\n' >"$tmp/hosts"
export MANTA="$build/manta" MANTA_SSH="$tmp/ssh" MANTA_PORT=0
! "$root/tools/launch/hosts" start "$tmp/nothing" 2>/dev/null || fail "hosts without a list"
MANTA_PORT=$((10000 + $$ % 20000)) # below those that the kernel gives away
timeout 60 "$root/tools/launch/hosts" start "$tmp/hosts" --cores 1 >"$tmp/out" 2>&1 || fail "hosts start: $(cat "$tmp/out")"
wait_for "^2 nodes" "$root/tools/launch/hosts" status "$tmp/hosts"
timeout 60 "$root/tools/launch/hosts" stop "$tmp/hosts" >/dev/null 2>&1 || true # one stand-in host stops all
! "$build/manta" status >/dev/null 2>&1 || fail "hosts stop left a daemon"
