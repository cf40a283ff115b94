#!/bin/sh
# check_format.sh ROOT: all C and C++ files are as clang-format writes them. Without clang-format: skipped (77), but a failure when CI=true.
set -u
cd "$1" || exit 1
if ! command -v clang-format >/dev/null; then
    echo "clang-format is not installed: tools/setup" >&2
    [ "${CI:-}" = true ] && exit 1
    exit 77
fi
[ -f .clang-format ] || { echo "no .clang-format in $1" >&2; exit 1; }
find . -path ./build -prune -o -path ./.git -prune -o \( -name '*.[ch]' -o -name '*.cpp' \) -print0 |
    xargs -0 -n 20 -P "$(nproc)" clang-format --dry-run -Werror
