#!/bin/sh
# example.sh PROGRAM EXPECTED: the program ends well, and prints what EXPECTED holds if there is such a file.
set -eu
output=$(timeout 100 "$1")
[ ! -f "$2" ] || [ "$output" = "$(cat "$2")" ] || {
    printf 'output of %s differs from %s:\n%s\n' "$1" "$2" "$output" >&2
    exit 1
}
