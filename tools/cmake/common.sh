# Sourced by tools/quickstart, tools/test and .ci/run, which set `root` first.
jobs=$(nproc 2>/dev/null || echo 2)

# configure PRESET [OPTION...]: makes build/PRESET; with Ninja when it is there. An existing folder keeps its generator.
configure() {
    preset=$1
    shift
    if [ ! -f "$root/build/$preset/CMakeCache.txt" ] && command -v ninja >/dev/null; then
        set -- -G Ninja "$@"
    fi
    (cd "$root" && cmake --preset "$preset" "$@")
}

# build PRESET [TARGET]
build() { cmake --build "$root/build/$1" --parallel "$jobs" ${2:+--target "$2"}; }

# quietly COMMAND...: shows the output of COMMAND only if it fails.
quietly() {
    output=$(mktemp)
    if "$@" >"$output" 2>&1; then
        rm -f "$output"
    else
        status=$?
        cat "$output" >&2
        rm -f "$output"
        return $status
    fi
}
