#!/bin/sh
# check_selftest.sh ROOT: each check passes on a small good tree and fails on the same tree with one thing made bad.
set -u
root=$(cd "$1" && pwd) || exit 1
check=$root/test/check
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
tree=$tmp/tree
failures=0

good_tree() {
    rm -rf "$tree"
    mkdir -p "$tree/scheduler/include/manta" "$tree/scheduler/base" "$tree/mailbox/local" "$tree/gcs" "$tree/objstore" "$tree/actor" \
        "$tree/examples" "$tree/test/check" "$tree/test/fail"
    cp "$root/.clang-format" "$tree"
    printf 'function_median 15\nfunction_90_percent 40\nfunction_max 70\ntest_median 15\ntest_90_percent 40\ntest_max 70\nfile_lines 800\nheader_lines 250\nundocumented_prototypes 0\n' \
        >"$tree/test/check/style_ratchet.txt"
    printf '#ifndef MANTA_A_H\n#define MANTA_A_H\n\n#define MANTA_EXPORT\n\n/* One more. */\nMANTA_EXPORT int manta_more(int a);\n\n#endif\n' \
        >"$tree/scheduler/include/manta/a.h"
    printf '#ifndef MAILBOX_H\n#define MAILBOX_H\n\n#include <manta/a.h>\n\nint mailbox_count(void);\n\n#endif\n' >"$tree/mailbox/local/mailbox.h"
    printf '#include <manta/a.h>\n\nint manta_more(int a)\n{\n    a += 1;\n    return a;\n}\n' >"$tree/scheduler/base/a.c"
    printf '// EXPECT: incompatible|makes integer\n#ifdef CASE\nint x = "a";\n#endif\n' >"$tree/test/fail/case.c"
}

# expect pass|fail WHAT COMMAND...: runs COMMAND in the present tree.
expect() {
    wanted=$1 what=$2
    shift 2
    "$@" >"$tmp/output" 2>&1
    status=$?
    case $wanted:$status in
    *:77) echo "skipped: $what" ;;
    pass:0) echo "ok: $what passes" ;;
    fail:0)
        echo "FAILED: $what should fail and passes"
        failures=$((failures + 1))
        ;;
    fail:*) echo "ok: $what fails" ;;
    *)
        echo "FAILED: $what should pass and says:"
        cat "$tmp/output"
        failures=$((failures + 1))
        ;;
    esac
}

# bad WHAT FILE TEXT COMMAND...: COMMAND fails once TEXT stands at the end of FILE in the good tree.
bad() {
    what=$1 file=$2 text=$3
    shift 3
    good_tree
    printf '%b\n' "$text" >>"$tree/$file"
    expect fail "$what" "$@"
}

layers() { python3 "$check/check_layers.py" "$tree"; }
headers() { sh "$check/check_headers.sh" "$tree"; }
format() { sh "$check/check_format.sh" "$tree"; }
style() { python3 "$check/check_style.py" "$tree"; }
must_not_compile() { sh "$check/must_not_compile.sh" "${CC:-gcc}" "$tree" "$tree/test/fail/case.c"; }
example() { sh "$check/example.sh" "$tmp/program" "$tmp/expected"; }
lines() { awk -v n="$1" -v text="$2" 'BEGIN { while (n-- > 0) printf "%s\\n", text }'; }

good_tree
for good in layers headers format style must_not_compile; do
    expect pass "$good on the good tree" $good
done

bad "layers: include of a higher folder" scheduler/base/a.c '#include "mailbox/local/mailbox.h"' layers
bad "layers: public header of a higher folder" scheduler/base/a.c '#include <manta/missing.h>' layers
good_tree
: >"$tree/gcs/g.h"
printf '#include "gcs/g.h"\n' >"$tree/objstore/o.c"
expect fail "layers: objstore includes gcs" layers
good_tree
printf '#include "scheduler/base/y.h"\n' >"$tree/scheduler/base/x.h"
printf '#include "scheduler/base/x.h"\n' >"$tree/scheduler/base/y.h"
expect fail "layers: a circle" layers
good_tree
: >"$tree/scheduler/base/x.h"
printf '#include "scheduler/base/x.h"\n' >"$tree/examples/e.c"
expect fail "layers: an example includes an internal header" layers

bad "headers: one that needs another" mailbox/local/mailbox.h 'int mailbox_put(uint64_t x);' headers
bad "headers: a public one that is not C++" scheduler/include/manta/a.h 'int manta_new(int class, int new);' headers
bad "headers: one without a guard" mailbox/local/mailbox.h 'struct mailbox { int x; };' headers
bad "format: indentation of three" scheduler/base/a.c 'int three(void)\n{\n   return 3;\n}' format
bad "style: a function of 71 lines" scheduler/base/a.c "int f(int a)\n{\n$(lines 68 '    a++;')}" style
bad "style: a file of 801 lines" scheduler/base/a.c "$(lines 794 'int x;')" style
bad "style: a header of 251 lines" mailbox/local/mailbox.h "$(lines 242 'int x;')" style
bad "style: a prototype without a comment" scheduler/include/manta/a.h '\nMANTA_EXPORT int manta_less(int a);' style
good_tree
printf '// EXPECT: incompatible\nint x;\n' >"$tree/test/fail/case.c"
expect fail "must_not_compile: a case that compiles" must_not_compile
good_tree
printf '// EXPECT: no such message\n#ifdef CASE\nint x = "a";\n#endif\n' >"$tree/test/fail/case.c"
expect fail "must_not_compile: another message" must_not_compile
bad "must_not_compile: a case that is broken anyhow" test/fail/case.c 'int y = ;' must_not_compile

printf '#!/bin/sh\necho one\nexit 0\n' >"$tmp/program"
chmod +x "$tmp/program"
echo one >"$tmp/expected"
expect pass "example: what is expected" example
echo two >"$tmp/expected"
expect fail "example: other output" example
rm "$tmp/expected"
printf '#!/bin/sh\nexit 3\n' >"$tmp/program"
expect fail "example: exit status 3" example

[ $failures = 0 ]
