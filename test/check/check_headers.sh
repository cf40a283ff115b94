#!/bin/sh
# check_headers.sh ROOT: each header compiles alone, twice in a row, as C; each public one as C++ too.
set -u
cd "$1" || exit 1
export CC="${CC:-gcc}" CXX="${CXX:-g++}"
export FLAGS="-D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -I. -Ischeduler/include -Imailbox/include -Iactor/include"

folders=$(for layer in scheduler mailbox objstore gcs actor test/support tools; do [ ! -d $layer ] || echo $layer; done)
[ -n "$folders" ] || { echo "no folder of the project in $1" >&2; exit 1; }
# shellcheck disable=SC2086,SC2016
find $folders -name '*.h' | sort | xargs -P "$(nproc)" -I '{}' sh -c '
    header="$1"
    twice() { printf "#include \"%s\"\n#include \"%s\"\n" "$header" "$header"; }
    twice | $CC -std=gnu17 $FLAGS -x c - || { echo "$header does not compile alone in C" >&2; exit 1; }
    case "$header" in
    */include/manta/*) twice | $CXX -std=gnu++17 $FLAGS -x c++ - || { echo "$header does not compile alone in C++" >&2; exit 1; } ;;
    esac' sh '{}'
