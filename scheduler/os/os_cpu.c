/*
 * How many processors, and how many mappings, this process may use: the affinity mask, the cgroup files, /proc.
 *
 * A quota binds a group and everything below it, so the smallest one on the way from our group to the root counts. Inside a
 * container /proc/self/cgroup may name directories that are not mounted here; what cannot be read is no limit, and the walk
 * still ends at the root of the mount, which then is the container's own group.
 */
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/os/os.h"

enum { PATH_BYTES = 4096, AFFINITY_MAX_CORES = 1 << 20 };

static int affinity_cores(void)
{
    /* The kernel refuses a mask smaller than its own. */
    for (size_t cores = 1024; cores <= AFFINITY_MAX_CORES; cores *= 4) {
        cpu_set_t *set = CPU_ALLOC(cores);
        if (!set) break;
        size_t size = CPU_ALLOC_SIZE(cores);
        int found = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (found > 0) return found;
    }
    return 1;
}

/* Reads the first line of directory/name. */
static bool read_line(const char *directory, const char *name, char *line, int size)
{
    char path[PATH_BYTES + 64];
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) return false;
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool ok = fgets(line, size, f) != NULL;
    fclose(f);
    return ok;
}

static int quota_cores(long long quota_us, long long period_us)
{
    if (quota_us <= 0 || period_us <= 0) return INT_MAX; /* -1 is "no quota" in version 1 */
    long long cores = quota_us / period_us + (quota_us % period_us != 0);
    return cores < INT_MAX ? (int)cores : INT_MAX;
}

static int directory_cores_v2(const char *directory)
{
    char line[64];
    long long quota, period;
    if (!read_line(directory, "cpu.max", line, sizeof line)) return INT_MAX;
    return sscanf(line, "%lld %lld", &quota, &period) == 2 ? quota_cores(quota, period) : INT_MAX; /* "max 100000": no number */
}

static int directory_cores_v1(const char *directory)
{
    char quota[32], period[32];
    if (!read_line(directory, "cpu.cfs_quota_us", quota, sizeof quota)) return INT_MAX;
    if (!read_line(directory, "cpu.cfs_period_us", period, sizeof period)) return INT_MAX;
    return quota_cores(atoll(quota), atoll(period));
}

/* The smallest limit of mount/group and of every directory between it and the mount, which is included. */
static int smallest_up_to(const char *mount, const char *group, int (*directory_cores)(const char *))
{
    char path[PATH_BYTES];
    size_t mount_length = strlen(mount);
    if (snprintf(path, sizeof path, "%s%s", mount, group) >= (int)sizeof path) return INT_MAX;
    int cores = INT_MAX;
    for (;;) {
        int here = directory_cores(path);
        if (here < cores) cores = here;
        char *slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < mount_length) return cores;
        *slash = 0;
    }
}

static int group_cores(const char *root, const char *mount, const char *group, int (*directory_cores)(const char *))
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/sys/fs/cgroup%s", root, mount) >= (int)sizeof path) return INT_MAX;
    return smallest_up_to(path, group, directory_cores);
}

static int smaller(int a, int b) { return a < b ? a : b; }

static bool has_cpu_controller(const char *list)
{
    for (; *list; list += *list == ',') {
        size_t length = strcspn(list, ",");
        if (length == 3 && memcmp(list, "cpu", 3) == 0) return true;
        list += length;
    }
    return false;
}

/* One line of /proc/self/cgroup, "hierarchy:controllers:group"; version 2 is hierarchy 0 and names no controllers. */
static int line_cores(const char *root, char *line)
{
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return INT_MAX;
    *controllers++ = 0;
    *group++ = 0;
    if (!*controllers)
        return smaller(group_cores(root, "", group, directory_cores_v2), group_cores(root, "/unified", group, directory_cores_v2));
    if (!has_cpu_controller(controllers)) return INT_MAX;
    return smaller(group_cores(root, "/cpu", group, directory_cores_v1), group_cores(root, "/cpu,cpuacct", group, directory_cores_v1));
}

int os_cgroup_cores(const char *root)
{
    char path[PATH_BYTES], line[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/proc/self/cgroup", root) >= (int)sizeof path) return INT_MAX;
    FILE *f = fopen(path, "re");
    if (!f) return INT_MAX;
    int cores = INT_MAX;
    while (fgets(line, sizeof line, f)) cores = smaller(cores, line_cores(root, line));
    fclose(f);
    return cores;
}

int os_usable_cores(void) { return smaller(affinity_cores(), os_cgroup_cores("")); }

long os_max_map_count(void)
{
    char line[32];
    long count = read_line("/proc/sys/vm", "max_map_count", line, sizeof line) ? atol(line) : 0;
    return count > 0 ? count : 65530;
}
