#!/bin/sh
# python.sh SERVE ROOT: the server of examples/serve.c, called from Python, gives what test/examples/python.expected holds.
set -eu
/usr/bin/python3 -c 'import zmq, msgpack' || exit 77 # tools/setup installs them
tmp=$(mktemp -d)
mkfifo "$tmp/input"
"$1" <"$tmp/input" >"$tmp/address" &
server=$!
exec 9>"$tmp/input"
trap 'exec 9>&-; wait $server || true; rm -rf "$tmp"' EXIT
tries=0
until [ -s "$tmp/address" ]; do
    tries=$((tries + 1))
    [ $tries -lt 2000 ] || { echo "the server does not start" >&2; exit 1; }
    sleep 0.01
done
output=$(PYTHONDONTWRITEBYTECODE=1 timeout 60 /usr/bin/python3 "$2/examples/python/call_counter.py" "$(cat "$tmp/address")")
exec 9>&-
wait $server || { echo "the server failed" >&2; exit 1; }
trap 'rm -rf "$tmp"' EXIT
[ "$output" = "$(cat "$2/test/examples/python.expected")" ] || {
    printf 'output differs:\n%s\n' "$output" >&2
    exit 1
}
