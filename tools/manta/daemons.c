#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/manta/manta.h"

enum { DAEMONS = 256, PATH = 300 };

const char *manta_directory(void)
{
    static char path[PATH - 40];
    struct stat s;
    const char *given = getenv("MANTA_DIRECTORY");
    if (given && *given) snprintf(path, sizeof path, "%s", given);
    else snprintf(path, sizeof path, "/tmp/manta-%d", (int)getuid());
    if (mkdir(path, 0700) && errno != EEXIST) return NULL;
    return stat(path, &s) == 0 && s.st_uid == getuid() && S_ISDIR(s.st_mode) ? path : NULL; /* not one that somebody else has put there */
}

static bool file_of(int pid, char out[PATH])
{
    const char *directory = manta_directory();
    if (directory) snprintf(out, PATH, "%s/daemon-%d", directory, pid);
    return directory != NULL;
}

bool daemon_note(const char *address)
{
    char path[PATH];
    FILE *f = file_of((int)getpid(), path) ? fopen(path, "w") : NULL;
    if (!f) return false;
    fprintf(f, "%s\n", address);
    return fclose(f) == 0;
}

void daemon_forget(void)
{
    char path[PATH];
    if (file_of((int)getpid(), path)) unlink(path);
}

typedef struct found {
    int pid;
    struct timespec began;
} found;

static int newest_first(const void *a, const void *b)
{
    const struct timespec *x = &((const found *)a)->began, *y = &((const found *)b)->began;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? 1 : -1;
    return x->tv_nsec < y->tv_nsec ? 1 : x->tv_nsec > y->tv_nsec ? -1 : 0;
}

static bool is_alive(int pid)
{
    char path[64], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1) state = 'Z';
    if (f) fclose(f);
    return state != 'Z';
}

static int list(found *out)
{
    const char *directory = manta_directory();
    DIR *d = directory ? opendir(directory) : NULL;
    int n = 0, pid;
    for (struct dirent *e; d && n < DAEMONS && (e = readdir(d));) {
        char path[PATH];
        struct stat s;
        if (sscanf(e->d_name, "daemon-%d", &pid) != 1 || !file_of(pid, path) || stat(path, &s)) continue;
        if (!is_alive(pid)) unlink(path);
        else out[n++] = (found){pid, s.st_mtim};
    }
    if (d) closedir(d);
    return n;
}

void daemons_each(bool (*visit)(int pid, const char *address, void *context), void *context)
{
    found all[DAEMONS];
    int n = list(all);
    qsort(all, (size_t)n, sizeof *all, newest_first);
    for (int i = 0; i < n; i++) {
        char path[PATH], address[256] = "";
        FILE *f = file_of(all[i].pid, path) ? fopen(path, "r") : NULL;
        bool ok = f && fscanf(f, "%255s", address) == 1;
        if (f) fclose(f);
        if (ok && !visit(all[i].pid, address, context)) return;
    }
}

typedef struct wanted {
    char *out;
    size_t room;
    bool is_found;
} wanted;

static bool take_first(int pid, const char *address, void *context)
{
    wanted *w = context;
    (void)pid;
    snprintf(w->out, w->room, "%s", address);
    w->is_found = true;
    return false;
}

bool daemon_last(char *out_address, size_t room)
{
    wanted w = {out_address, room, false};
    daemons_each(take_first, &w);
    return w.is_found;
}
