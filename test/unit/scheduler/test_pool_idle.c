#include <ctype.h>
#include <dirent.h>

#include "scheduler/pool/pool.h"
#include "test/support/test.h"

/* 0 for threads that are not the library's: the main one, which is the one that looks, and a sanitizer's. */
static long switches_of(const char *tid)
{
    char path[300], line[200];
    long n = 0;
    bool ours = false;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "Name:\tmanta-", 12) == 0) ours = true;
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1) break;
    }
    fclose(f);
    return ours ? n : 0;
}

static long voluntary_switches(void)
{
    long sum = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d));)
        if (isdigit((unsigned char)e->d_name[0])) sum += switches_of(e->d_name);
    if (d) closedir(d);
    return sum;
}

static _Atomic int done;

static void run_count(worker *w, runnable *r)
{
    (void)w;
    (void)r;
    done++;
}

static bool quiet_for(double seconds, double deadline_s)
{
    long seen = voluntary_switches();
    double since = test_now_s(), end = since + deadline_s;
    while (test_now_s() < end) {
        long now = voluntary_switches();
        if (now != seen) since = test_now_s();
        seen = now;
        if (test_now_s() - since >= seconds) return true;
    }
    return false;
}

/* A pool with nothing to do soon makes no context switch at all for a second; it works at once when something comes. */
TEST(idle_pool_sleeps)
{
    static runnable r;
    done = 0;
    EXPECT(pool_start(&(pool_options){.workers = 4, .run = run_count}));
    worker_ready(worker_self(), &r);
    EXPECT(WAIT_FOR(done == 1, 30));
    EXPECT(voluntary_switches() > 0);
    EXPECT(quiet_for(1.0, 8.0));
    worker_ready(worker_self(), &r);
    EXPECT(WAIT_FOR(done == 2, 30));
    pool_stop();
}
