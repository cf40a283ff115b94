#include "actor/node/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scheduler/os/os_file.h"

enum { FILE_BYTES = 16384 };

/* The beginning of a file of the kernel's; false: it is not there. */
static bool read_text(const char *path, char text[FILE_BYTES])
{
    int fd = -1;
    memset(text, 0, FILE_BYTES);
    if (os_file_open(path, OS_READ, &fd)) return false;
    (void)os_file_read(fd, text, FILE_BYTES - 1, 0); /* the file is shorter */
    os_file_close(fd);
    return true;
}

/* The number behind `key` at the beginning of a line; `otherwise` when there is none. */
static uint64_t number_of(const char *text, const char *key, uint64_t otherwise)
{
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL)
        if (strncmp(line, key, strlen(key)) == 0) return strtoull(line + strlen(key), NULL, 10);
    return otherwise;
}

uint64_t memory_of_process(uint32_t pid)
{
    char path[40], text[FILE_BYTES];
    uint64_t resident = 0, shared = 0;
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/statm", pid);
    if (!read_text(path, text) || sscanf(text, "%*u %" SCNu64 " %" SCNu64, &resident, &shared) != 2 || shared > resident) return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Of the cgroup (version 2): its limit less what it uses and cannot give back at once. */
static uint64_t cgroup_available(void)
{
    char text[FILE_BYTES], path[FILE_BYTES / 2], group[512] = "";
    const char *at = read_text("/proc/self/cgroup", text) ? strstr(text, "0::") : NULL;
    if (!at || sscanf(at, "0::%511[^\n]", group) != 1) return UINT64_MAX;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
    if (!read_text(path, text) || strncmp(text, "max", 3) == 0) return UINT64_MAX;
    uint64_t limit = strtoull(text, NULL, 10);
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.current", group);
    uint64_t used = read_text(path, text) ? strtoull(text, NULL, 10) : 0;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.stat", group);
    uint64_t cache = read_text(path, text) ? number_of(text, "inactive_file ", 0) : 0;
    used -= cache < used ? cache : used;
    return limit > used ? limit - used : 0;
}

uint64_t memory_available(void)
{
    char text[FILE_BYTES];
    uint64_t kib = read_text("/proc/meminfo", text) ? number_of(text, "MemAvailable:", UINT64_MAX) : UINT64_MAX;
    uint64_t machine = kib == UINT64_MAX ? kib : kib * 1024, group = cgroup_available();
    return machine < group ? machine : group;
}

uint64_t memory_oom_kills(void)
{
    char text[FILE_BYTES];
    return read_text("/proc/vmstat", text) ? number_of(text, "oom_kill ", 0) : 0;
}

void memory_text(uint64_t bytes, char *out, size_t room)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double amount = (double)bytes / 1024;
    int unit = 0;
    while (amount >= 1024 && unit < 3) amount /= 1024, unit++;
    snprintf(out, room, "%.1f %s", amount, units[unit]);
}
