/*
 * Any change to the pages of an index: looking in ends with a status, and LMDB never sees a page that leads it astray.
 *
 * The input is a list of changes: u32 place, u8 value. They are applied to the index of a store with some objects and holes, which is then inspected.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "objstore/store.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { CHILD_FD = 60, CHANGES = 64, CHANGE_BYTES = 5, OBJECTS = 200, MEGABYTE = 1 << 20 };
static char directory[64], path[128];
static uint64_t pages_bytes;

static void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command)) perror(command);
}

/* Dies with its objects, so that they stay. */
static void fill_store(const store_options *o)
{
    static char bytes[100000];
    store *s;
    store_id ids[OBJECTS];
    if (store_open(o, &s)) _exit(1);
    for (int i = 0; i < OBJECTS; i++)
        if (store_put(s, bytes, (uint64_t)(i % 2 ? 70000 + i : i), &ids[i])) _exit(2);
    for (int i = 0; i < OBJECTS; i += 3) (void)store_drop(s, ids[i]);
    store_info info;
    _exit(store_stat(s, &info) || write(CHILD_FD, &info.index_bytes, 8) != 8);
}

static void make_store(void)
{
    int ends[2], status;
    snprintf(directory, sizeof directory, "/dev/shm/manta-fuzz-index-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/index", directory);
    store_options o = {.mode = STORE_CREATE, .path = directory, .capacity_bytes = 32 * MEGABYTE, .no_prefault = true, .no_keeper = true};
    if (pipe(ends)) abort();
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], CHILD_FD);
        fill_store(&o);
    }
    if (waitpid(child, &status, 0) != child || status || read(ends[0], &pages_bytes, 8) != 8) abort();
    atexit(clean_up);
}

static void look_in(void)
{
    store *s;
    store_options o = {.mode = STORE_INSPECT, .path = directory};
    if (store_open(&o, &s)) return;
    store_info info;
    (void)store_stat(s, &info);
    (void)store_audit(s, false, NULL, NULL);
    store_close(s);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (!directory[0]) make_store();
    if (size > CHANGES * CHANGE_BYTES) return 0;
    unsigned char before[CHANGES];
    uint32_t places[CHANGES];
    int n = 0, fd = open(path, O_RDWR | O_CLOEXEC);
    for (; (size_t)(n + 1) * CHANGE_BYTES <= size; n++) {
        memcpy(&places[n], data + n * CHANGE_BYTES, 4);
        places[n] = (uint32_t)(places[n] % pages_bytes);
        if (pread(fd, &before[n], 1, places[n]) != 1 || pwrite(fd, data + n * CHANGE_BYTES + 4, 1, places[n]) != 1) abort();
    }
    look_in();
    while (n-- > 0)
        if (pwrite(fd, &before[n], 1, places[n]) != 1) abort();
    close(fd);
    return 0;
}
