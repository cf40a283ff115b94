/*
 * The yardstick: memcpy into warm tmpfs memory of this process, one place after the other, round and round.
 */
#include <unistd.h>

#include "tools/benchmarks/store/store_bench.h"

static unsigned char *arena;
static uint64_t arena_bytes, window_bytes, at;

static void yardstick_rewind(uint64_t window)
{
    window_bytes = window && window < arena_bytes ? window : arena_bytes;
    at = 0;
}

static bool yardstick_open(const settings *s, bool first)
{
    char name[64], path[PATH_BYTES];
    void *memory;
    (void)first; /* each process has its own */
    snprintf(name, sizeof name, "memcpy.%d", (int)getpid());
    path_in(s, name, path);
    arena_bytes = s->memory / 4;
    if (!map_file(path, arena_bytes, true, &memory)) return false;
    (void)os_file_remove(path);
    arena = memory;
    yardstick_rewind(0);
    return true;
}

static void yardstick_close(void) { os_file_unmap(arena, arena_bytes); }

static outcome yardstick_create(uint64_t size, handle *out, void **data)
{
    if (size > window_bytes) return FULL;
    if (at + size > window_bytes) at = 0;
    *data = arena + at;
    *out = (handle){at, 0};
    at += (size + 63) & ~63ull;
    return DONE;
}

static outcome yardstick_put(const void *data, uint64_t size, handle *out)
{
    void *to;
    if (yardstick_create(size, out, &to)) return FULL;
    memcpy(to, data, size);
    return DONE;
}

static outcome nothing(handle h)
{
    (void)h;
    return DONE;
}

static usage yardstick_use(void) { return (usage){arena_bytes, 0}; }

const target target_memcpy = {
    .name = "memcpy",
    .open = yardstick_open,
    .close = yardstick_close,
    .rewind = yardstick_rewind,
    .put = yardstick_put,
    .create = yardstick_create,
    .seal = nothing,
    .release = nothing,
    .use = yardstick_use,
};
