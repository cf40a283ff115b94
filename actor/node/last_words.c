/*
 * What a dying worker says about the handler that ran on the thread: "class", "method" and "actor" lines. Runs in a signal handler, on records that may be broken: everything is copied by the kernel first.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "actor/node/crash.h"
#include "scheduler/os/os_crash.h"

static void put_name(const char *what, const char *name)
{
    char text[NAME_LIMIT + 1];
    os_crash_copy_text(text, sizeof text, name);
    os_crash_put(what);
    os_crash_put(text);
    os_crash_put("\n");
}

static void put_actor(const actor *at, const actor *copy)
{
    uint64_t index = ((uint64_t)(uintptr_t)at - (uint64_t)(uintptr_t)actor_slab.base) / sizeof(actor);
    os_crash_put("actor ");
    os_crash_put_hex(the_node.process);
    os_crash_put(":");
    os_crash_put_hex(index | (uint64_t)load_relaxed(&((actor *)(uintptr_t)copy)->generation) << 32);
    os_crash_put("\n");
}

static void describe(void)
{
    static activation act;
    static actor a;
    static manta_method method;
    static manta_class cls;
    fiber *on = NULL;
    const worker *w = worker_tls;
    if (!w || !os_crash_copy(&on, &w->fiber, sizeof on) || !on || !os_crash_copy(&act, on->user, sizeof act)) return;
    if (!act.actor || !os_crash_copy(&a, act.actor, sizeof a)) return;
    if (act.method && os_crash_copy(&method, act.method, sizeof method)) put_name("method ", method.name);
    if (!a.cls) os_crash_put("class task\n");
    else if (os_crash_copy(&cls, a.cls, sizeof cls)) put_name("class ", cls.name);
    put_actor(act.actor, &a);
}

void last_words_prepare(void)
{
    const char *given = getenv("MANTA_WORKER_CRASH");
    if (!given || !getenv("MANTA_WORKER")) return;
    int fd = atoi(given), kept = fcntl(fd, F_DUPFD_CLOEXEC, 64); /* out of the way of the program */
    if (kept < 0) return;
    close(fd);
    unsetenv("MANTA_WORKER_CRASH");
    if (os_crash_start(kept, describe)) close(kept);
}
