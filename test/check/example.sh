#!/bin/sh
# example.sh PROGRAM EXPECTED: the program ends well, and prints what EXPECTED holds if there is such a file. Its arguments are in a file beside that one, named .args; it runs in their folder.
set -eu
arguments=${2%.expected}.args
[ ! -f "$arguments" ] || {
    cd "$(dirname "$2")"
    # shellcheck disable=SC2046
    set -- "$1" "$2" $(cat "$arguments")
}
program=$1
expected=$2
shift 2
output=$(timeout 100 "$program" "$@")
[ ! -f "$expected" ] || [ "$output" = "$(cat "$expected")" ] || {
    printf 'output of %s differs from %s:\n%s\n' "$program" "$expected" "$output" >&2
    exit 1
}
