#!/bin/sh
# discover.sh BUILD ROOT: on a network of two machines (network namespaces) a node joins, and commands find, a cluster by its name; other names, garbage and silence are errors that say so. Skipped without root.
set -eu
build=$1
root=$2
[ "$(id -u)" = 0 ] && command -v ip >/dev/null || exit 77
a=manta-a-$$
b=manta-b-$$
ip netns add "$a" 2>/dev/null || exit 77
. "$root/test/check/cluster_lib.sh"
trap 'MANTA_DIRECTORY=$tmp/b timeout 30 "$build/manta" stop >/dev/null 2>&1 || true; ip netns exec "$a" timeout 30 "$build/manta" stop >/dev/null 2>&1 || true; ip netns del "$a"; ip netns del "$b" 2>/dev/null; rm -rf "$tmp"' EXIT
ip netns add "$b"
ip -n "$a" link add eth type veth peer name eth netns "$b"
for n in 1 2; do
    space=$a
    [ $n = 1 ] || space=$b
    ip -n "$space" addr add "10.77.0.$n/24" broadcast 10.77.0.255 dev eth
    ip -n "$space" link set eth up
    ip -n "$space" link set lo up
done
in_a() { ip netns exec "$a" timeout 60 "$build/manta" "$@"; }
in_b() { MANTA_DIRECTORY=$tmp/b ip netns exec "$b" timeout 60 "$build/manta" "$@"; }
# refused CODE TEXT COMMAND...
refused() {
    wanted=$1
    text=$2
    shift 2
    code=0
    "$@" >"$tmp/out" 2>&1 || code=$?
    [ $code = "$wanted" ] && grep -q -e "$text" "$tmp/out" || fail "$*: $code $(cat "$tmp/out")"
}
node() { in_b start --discover "$1" --listen tcp://10.77.0.2:0 --insecure --cores 1 --store-bytes 67108864; }

refused 2 "other machines reach, not tcp://127.0.0.1:0" in_a start --head --discover one
refused 2 "a cluster's name" in_a start --head --discover "o ne" --listen tcp://10.77.0.1:0
refused 1 "no cluster called one announces itself" node one
in_a start --head --discover one --listen tcp://10.77.0.1:0 --insecure --cores 1 --store-bytes 67108864 >"$tmp/head" || fail "the head: $(cat "$tmp/head")"
ip netns exec "$a" python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for bad in (b'MANTA1', b'MANTA1one', b'MANTA1one\0', b'MANTA1one\0ipc:///x\0', b'MANTA1one\0' + b'tcp://' + b'x' * 300, bytes(255)):
    s.sendto(bad, ('10.77.0.255', 6379))" || fail "garbage is not sent"
node one >"$tmp/node" 2>&1 || fail "a node: $(cat "$tmp/node")"
for _ in $(seq 20); do
    in_b status --discover one >"$tmp/out" 2>&1 || fail "status: $(cat "$tmp/out")"
    ! grep -q "^2 nodes" "$tmp/out" || break
done
grep -q "^2 nodes" "$tmp/out" || fail "not two nodes: $(cat "$tmp/out")"
refused 1 "no cluster called two announces itself" in_b status --discover two
in_b stop >/dev/null || fail "the node does not stop"
in_a stop >/dev/null || fail "the head does not stop"
