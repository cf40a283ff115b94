#!/bin/sh
# check_aarch64.sh ROOT: the scheduler compiles for aarch64 without warnings, and its fibers and suspensions work there (emulated). Skipped (77) without a cross compiler.
set -u
cd "$1" || exit 1
cc=aarch64-linux-gnu-gcc
for program in $cc qemu-aarch64; do
    command -v $program >/dev/null 2>&1 || { echo "there is no $program (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"; exit 77; }
done
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
ulimit -c 0 # the guard page's test lets a child crash

flags="-std=gnu17 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -I. -Ischeduler/include"
find scheduler test/support/test.c -name '*.c' >"$tmp/sources"
while read -r source; do
    # shellcheck disable=SC2086
    $cc $flags -c -o "$tmp/$(echo "$source" | tr / _).o" "$source" || exit 1
done <"$tmp/sources"
for subject in fiber pool; do
    # shellcheck disable=SC2086
    $cc $flags -static -o "$tmp/$subject" test/unit/scheduler/test_$subject.c "$tmp"/*.o -lpthread 2>"$tmp/linker" || { cat "$tmp/linker"; exit 1; }
done
qemu-aarch64 "$tmp/fiber" && qemu-aarch64 "$tmp/pool" suspend && qemu-aarch64 "$tmp/pool" abandon && qemu-aarch64 "$tmp/pool" blocking
