#!/bin/sh
# must_not_compile.sh COMPILER ROOT FILE: FILE compiles as it is, and with -DCASE fails with a message that matches its EXPECT line.
set -u
flags="-std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -I$2/scheduler/include -I$2/mailbox/include -I$2/actor/include -fsyntax-only"
expected=$(sed -n 's|^// EXPECT: ||p' "$3")
[ -n "$expected" ] || { echo "$3 has no EXPECT line" >&2; exit 1; }
# shellcheck disable=SC2086
$1 $flags "$3" || { echo "$3 does not compile even without -DCASE" >&2; exit 1; }
# shellcheck disable=SC2086
if output=$($1 $flags -DCASE "$3" 2>&1); then
    echo "$3 compiles with -DCASE" >&2
    exit 1
fi
printf '%s\n' "$output" | grep -Eq -- "$expected" || {
    printf 'the message does not match "%s":\n%s\n' "$expected" "$output" >&2
    exit 1
}
