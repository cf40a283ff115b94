/*
 * Where the object store of a node is: in a directory in /dev/shm that is named after the daemon. Those of daemons that are gone are removed by the next one that starts.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "objstore/store.h"
#include "tools/manta/manta.h"

enum { FREE_PERCENT = 30, DIRECTORIES = 256 };
#define PLACE "/dev/shm"
static const uint64_t most_bytes = 1ull << 30, least_bytes = 4ull << 20; /* a daemon takes no more by itself */

void node_store_path(int pid, char *out, size_t room) { snprintf(out, room, PLACE "/manta-%d-%d", (int)getuid(), pid); }

static uint64_t free_memory(void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && !kib && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) != 1) kib = 0;
    if (f) fclose(f);
    return (uint64_t)kib << 10;
}

uint64_t node_store_bytes(void)
{
    struct statvfs v;
    uint64_t room = statvfs(PLACE, &v) ? 0 : (uint64_t)v.f_bavail * v.f_frsize, memory = free_memory();
    uint64_t bytes = (memory < room ? memory : room) / 100 * FREE_PERCENT;
    return bytes > most_bytes ? most_bytes : bytes < least_bytes ? 0 : bytes;
}

static bool is_dead(int pid) { return kill(pid, 0) && errno == ESRCH; }

void node_stores_clean(void)
{
    static char stale[DIRECTORIES][64];
    int n = 0, pid;
    unsigned uid;
    DIR *d = opendir(PLACE);
    for (struct dirent *e; d && n < DIRECTORIES && (e = readdir(d));) {
        char rest;
        if (sscanf(e->d_name, "manta-%u-%d%c", &uid, &pid, &rest) != 2 || uid != getuid() || !is_dead(pid)) continue;
        node_store_path(pid, stale[n++], sizeof stale[0]);
    }
    if (d) closedir(d);
    for (int i = 0; i < n; i++) (void)store_destroy(stale[i]); /* not one that a process uses */
}
