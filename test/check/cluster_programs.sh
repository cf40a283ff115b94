#!/bin/sh
# cluster_programs.sh BUILD ROOT [PREFIX]: programs and modules that are compiled on their own run on the cluster; what a node cannot run, it refuses with the reason; it keeps a bounded number.
# With PREFIX: against the library that is installed there, by pkg-config, and with its command manta.
set -eu
build=$1
root=$2
if [ $# -gt 2 ]; then
    build=$3/bin
    config=$(find "$3" -name manta.pc)
    flags=$(PKG_CONFIG_PATH=${config%/*} pkg-config --cflags --libs manta)
    library=${config%/pkgconfig/*}
else
    flags="-I$root/actor/include -I$root/mailbox/include -I$root/objstore/include -I$root/scheduler/include -L$build -lmanta"
    library=$build
fi
! nm -D "$build"/libmanta.so 2>/dev/null | grep -qE '__[at]san_' || exit 77 # programs that are not sanitized cannot be linked with it
. "$root/test/check/cluster_lib.sh"

# compile SOURCE OUT [OPTION...]
compile() {
    source=$1
    out=$2
    shift 2
    # shellcheck disable=SC2086
    "${CC:-cc}" -std=gnu17 "$source" -o "$out" "$@" $flags -Wl,-rpath,"$library" || fail "$source does not compile"
}

cat >"$tmp/own.c" <<'END'
#include <manta/manta.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

MANTA_TASK(square, int64_t, (int64_t, x)) { return x * x; }
MANTA_TASK(where, int64_t) { return (int64_t)getpid(); }
MANTA_TASK(shout, int64_t, (int64_t, letter))
{
    char line[501];
    memset(line, (int)letter, 500);
    line[500] = 0;
    for (int i = 0; i < 40; i++) printf("%s\n", line);
    fflush(stdout);
    return 0;
}

int START(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    manta_int64_t_future f[8];
    if (!m) return 1;
    for (int i = 0; i < 8; i++) f[i] = square_submit(i + 7);
    for (int i = 0; i < 8; i++) printf("%d\n", (int)manta_await(f[i]));
    if (argc > 1 && strcmp(argv[1], "where") == 0) printf("%s\n", manta_await(where_submit()) == getpid() ? "here" : "elsewhere");
    if (argc > 1 && strcmp(argv[1], "shout") == 0) {
        for (int i = 0; i < 8; i++) f[i] = shout_submit('a' + i);
        for (int i = 0; i < 8; i++) (void)manta_await(f[i]);
        manta_sleep(300);
    }
    fflush(stdout);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
END
echo 'int needed(void) { return 1; }' >"$tmp/needed.c"
mkdir "$tmp/lib" "$tmp/programs"
"${CC:-cc}" -shared -fPIC "$tmp/needed.c" -o "$tmp/lib/libneeded.so"
compile "$tmp/own.c" "$tmp/own" -DSTART=main
compile "$tmp/own.c" "$tmp/libown.so" -DSTART=manta_main -shared -fPIC
compile "$tmp/own.c" "$tmp/needy" -DSTART=main -L"$tmp/lib" -Wl,--no-as-needed -lneeded
compile "$tmp/own.c" "$tmp/libneedy.so" -DSTART=manta_main -shared -fPIC -L"$tmp/lib" -Wl,--no-as-needed -lneeded
for i in 7 8 9 10 11 12 13 14; do echo $((i * i)); done >"$tmp/squares"

start_nodes 2 --directory "$tmp/programs" --cache 1
run() { timeout 60 "$build/manta" run --address "$head" "$@"; }
for program in "$tmp/own" "$tmp/libown.so"; do
    run "$program" >"$tmp/out" 2>"$tmp/err" || fail "$program: $(cat "$tmp/err")"
    cmp -s "$tmp/out" "$tmp/squares" || fail "$program prints $(cat "$tmp/out")"
    run "$program" where >"$tmp/out" || fail "$program where"
    grep -q '^elsewhere$' "$tmp/out" || fail "$program does not run on the cluster"
    [ "$(find "$tmp/programs" -type f | wc -l)" = 1 ] || fail "more programs are kept than --cache allows: $(ls -l "$tmp/programs")"
done
(cd "$tmp" && run libown.so >"$tmp/out") || fail "a module by its bare name"
timeout 60 "$build/manta" module "$tmp/libown.so" where >"$tmp/out" || fail "a module alone"
grep -q '^here$' "$tmp/out" || fail "a module alone prints $(cat "$tmp/out")"

# Lines of workers that print at once stay whole.
run "$tmp/own" shout >"$tmp/out" || fail "own shout"
grep '^(worker' "$tmp/out" | sed 's/^(worker [0-9]*) //' | sort -u | awk '{ print length($0), substr($0, 1, 1) }' >"$tmp/lines"
[ "$(cat "$tmp/lines")" = "$(for letter in a b c d e f g h; do echo "500 $letter"; done)" ] || fail "lines are mixed: $(cat "$tmp/lines")"
[ "$(grep -c '^(worker' "$tmp/out")" = 320 ] || fail "$(grep -c '^(worker' "$tmp/out") lines of 320 arrive"

# Refusals.
for program in needy libneedy.so; do
    ! LD_LIBRARY_PATH="$tmp/lib" run "$tmp/$program" >"$tmp/out" 2>"$tmp/err" || fail "$program runs without its library"
    grep -q "no node runs $program: tcp.*not there: libneeded.so" "$tmp/err" || fail "the refusal of $program does not name library and node: $(cat "$tmp/err")"
done
LD_LIBRARY_PATH="$tmp/lib" timeout 60 "$build/manta" start --address "$head" --cores 1 >"$tmp/node" || fail "a third node"
wait_for "^3 nodes" "$build/manta" status --address "$head"
LD_LIBRARY_PATH="$tmp/lib" run "$tmp/needy" where >"$tmp/out" 2>"$tmp/err" || fail "needy where one node has its library: $(cat "$tmp/err")"
head -8 "$tmp/out" | cmp -s - "$tmp/squares" || fail "needy prints $(cat "$tmp/out")"
grep -q '^elsewhere$' "$tmp/out" || fail "needy does not run on the node that has its library: $(cat "$tmp/out")"
[ "$(grep -c "^(cluster) tcp.*not there: libneeded.so" "$tmp/err")" = 2 ] || fail "the nodes without the library are not named: $(cat "$tmp/err")"

cp "$tmp/own" "$tmp/foreign"
printf '\226\000' | dd of="$tmp/foreign" bs=1 seek=18 conv=notrunc 2>/dev/null # e_machine of something else
head -c 100 "$tmp/own" >"$tmp/cut"
echo "#!/bin/sh" >"$tmp/script"
for case in "foreign:another kind of machine: ELF machine 150" "script:no ELF file" "cut:cut short"; do
    ! MANTA_MODULE="$tmp/${case%%:*}" MANTA_CLUSTER="$head" timeout 60 "$tmp/own" >"$tmp/out" 2>"$tmp/err" || fail "${case%%:*} runs"
    grep -q "no node runs ${case%%:*}: tcp.*${case#*:}" "$tmp/err" || fail "the refusal of ${case%%:*}: $(cat "$tmp/err")"
done
! run "$tmp/nothing" 2>"$tmp/err" || fail "a program that is not there"
grep -q "nothing: No such file" "$tmp/err" || fail "the refusal of a program that is not there: $(cat "$tmp/err")"
! timeout 20 "$build/manta" module "$tmp/lib/libneeded.so" 2>"$tmp/err" || fail "a module without manta_main"
grep -q "has no function manta_main" "$tmp/err" || fail "the refusal of a module without manta_main: $(cat "$tmp/err")"
timeout 60 "$build/manta" stop >/dev/null || fail "stop"
