/*
 * What all cases need: lists of targets, random numbers, bytes to copy, files on tmpfs.
 */
#include <dirent.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "tools/benchmarks/store/store_bench.h"

bool complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "manta_store_bench: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    return false;
}

/* ---- targets ---- */

static bool is_named(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = strstr(names, name); at; at = strstr(at + 1, name))
        if ((at == names || at[-1] == ',') && (at[length] == ',' || !at[length])) return true;
    return false;
}

target_list targets_named(const char *names)
{
    static const target *const all[] = {&target_memcpy, &target_manta, &target_lmdb, &target_plasma};
    target_list list = {.count = 0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (is_named(names, all[i]->name)) list.item[list.count++] = all[i];
    return list;
}

bool targets_open(const target_list *list, const settings *s, bool first)
{
    for (int i = 0; i < list->count; i++)
        if (!list->item[i]->open(s, first)) return false;
    return true;
}

void targets_close(const target_list *list)
{
    for (int i = 0; i < list->count; i++) list->item[i]->close();
}

/* ---- numbers ---- */

uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

uint64_t random_between(uint64_t *state, uint64_t low, uint64_t high) { return low + random_next(state) % (high - low + 1); }

/* ---- memory and files ---- */

void *source_new(uint64_t bytes)
{
    unsigned char *data = os_map(bytes, 0);
    if (!data) {
        complain("no memory for %" PRIu64 " bytes to copy from", bytes);
        return NULL;
    }
    memset(data, 0x5a, bytes);
    return data;
}

void path_in(const settings *s, const char *name, char out[PATH_BYTES]) { snprintf(out, PATH_BYTES, "%s/%s", s->directory, name); }

static uint64_t blocks_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

typedef struct room_sum {
    const char *directory;
    uint64_t bytes;
} room_sum;

static bool add_room(const char *name, void *context)
{
    room_sum *sum = context;
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", sum->directory, name);
    sum->bytes += blocks_of(path);
    return true;
}

uint64_t file_room(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return 0;
    if (!S_ISDIR(st.st_mode)) return blocks_of(path);
    room_sum sum = {path, 0};
    (void)os_directory_list(path, add_room, &sum);
    return sum.bytes;
}

bool map_file(const char *path, uint64_t bytes, bool fresh, void **out)
{
    int fd = -1;
    if (fresh) (void)os_file_remove(path);
    int error = os_file_open(path, OS_WRITE | OS_CREATE, &fd);
    if (!error) error = os_file_allocate(fd, 0, bytes);
    if (!error) error = os_file_map(fd, bytes, true, out);
    os_file_close(fd);
    if (error) return complain("%s: %" PRIu64 " bytes: %s", path, bytes, strerror(error));
    os_memory_advise_huge(*out, bytes);
    error = os_memory_populate(*out, bytes, true);
    return error ? complain("%s: cannot be populated: %s", path, strerror(error)) : true;
}
