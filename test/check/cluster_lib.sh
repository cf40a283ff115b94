# Sourced by the scripts that run clusters on this machine, after `build` is set: a folder of their own ($tmp), with the daemons' notes in it, that goes with them.
tmp=$(mktemp -d)
export MANTA_DIRECTORY="$tmp/manta" LC_ALL=C
trap 'timeout 30 "$build/manta" stop >/dev/null 2>&1 || true; rm -rf "$tmp"' EXIT

fail() {
    echo "$(basename "$0"): $*" >&2
    cat "$tmp"/manta/*.log >&2 || true
    exit 1
}

# wait_for TEXT COMMAND...: until the command's output has the text
wait_for() {
    text=$1
    shift
    for _ in $(seq 200); do
        timeout 20 "$@" >"$tmp/out" 2>&1 || true
        ! grep -q "$text" "$tmp/out" || return 0
        sleep 0.05
    done
    cat "$tmp/out" >&2
    fail "no \"$text\" from $*"
}

# run ARGUMENT...: the program $app as a job; its output in $tmp/said
run() {
    timeout 90 "$build/manta" run --address "$head" "$app" "$@" >"$tmp/said" 2>"$tmp/err" || fail "$*: $(cat "$tmp/said" "$tmp/err")"
}
# says LINE: run's output had it
says() {
    grep -q "^$1$" "$tmp/said" || fail "no line \"$1\" in: $(cat "$tmp/said" "$tmp/err")"
}

# A port of which the three above are this script's too: below those that the kernel gives to who connects.
own_port() {
    port=$((20000 + $$ % 3000 * 4))
}
# After own_port, begin_node N OPTION...: a daemon that can be begun again on its port and its directories; its pid in $tmp/pidN
begin_node() {
    n=$1
    shift
    timeout 60 "$build/manta" start --listen "tcp://127.0.0.1:$((port + n))" --state "$tmp/state$n" --directory "$tmp/programs$n" --cores 1 --store-bytes 0 "$@" >"$tmp/node$n" || fail "node $n does not start: $(cat "$tmp/node$n")"
    sed -n 's/^node daemon \([0-9]*\) .*/\1/p' "$tmp/node$n" >"$tmp/pid$n"
}
# kill_process PID: until it is gone, with its sockets and locks; no child of this shell
kill_process() {
    kill -9 "$1"
    for _ in $(seq 400); do
        [ -d "/proc/$1" ] || return 0
        [ "$(ls "/proc/$1/task" 2>/dev/null)" != "$1" ] || ! grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null || return 0 # nobody reaps it
        sleep 0.05
    done
    fail "process $1 outlives SIGKILL by 20 s"
}

# start_nodes N [OPTION...]: N daemons; the head's address in $head
start_nodes() {
    nodes=$1
    shift
    timeout 60 "$build/manta" start --head --cores 1 --store-bytes 67108864 "$@" >"$tmp/head" || fail "the head does not start"
    head=$(sed -n 's/.* at //p' "$tmp/head")
    for _ in $(seq 2 "$nodes"); do timeout 60 "$build/manta" start --address "$head" --cores 1 --store-bytes 67108864 "$@" >"$tmp/node" || fail "a node does not start"; done
    wait_for "^$nodes nodes" "$build/manta" status --address "$head"
}
