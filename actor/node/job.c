/*
 * The two sides of a job's programs: the driver, which asks for workers and places work on them, and the worker, which serves until the job is over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/node/node.h"
#include "actor/node/raylet.h"
#include "actor/transfer/transfer.h"
#include "scheduler/os/os_file.h"

enum { FIRST_WORKER_MS = 20000, PICKS = 16, ARGUMENT_REFS = 16 };

_Atomic uint32_t job_workers;
static _Atomic(peer *) peers[WORKERS_LIMIT];
static struct {
    uint32_t pid;
    uint64_t process;
} known[WORKERS_LIMIT];         /* of the driver actor, as `peers` */
static _Atomic uint32_t events; /* futex: bumped when a worker comes or goes */
static _Atomic uint32_t gone;
static char last_words[512];

/* ---- the driver's actor ---- */

MANTA_METHOD_DEFINE(MantaDriver, read, manta_bytes, (uint64_t, offset), (uint32_t, bytes))
{
    manta_bytes out = {NULL, 0};
    void *data = bytes && bytes <= CHUNK_BYTES ? manta_alloc(bytes) : NULL;
    int fd = -1, error = os_file_open("/proc/self/exe", OS_READ, &fd);
    (void)self;
    if (!error && data) error = os_file_read(fd, data, bytes, offset);
    os_file_close(fd);
    if (!data || error) manta_fail(MANTA_EIO, "the program cannot be read: %s", error ? strerror(error) : "a piece of that size");
    else out = (manta_bytes){data, bytes};
    return out;
}

static void tell(void)
{
    add_seq(&events, 1);
    os_futex_wake(&events, INT32_MAX);
}

MANTA_METHOD_DEFINE(MantaDriver, worker_up, void, (manta_actor, process), (uint32_t, pid))
{
    (void)self;
    uint64_t id = manta_process_of(process).id;
    uint32_t n = load_relaxed(&job_workers);
    peer *p = peer_get(id, false);
    if (!p || n == WORKERS_LIMIT) return;
    known[n].pid = pid;
    known[n].process = id;
    store_seq(&peers[n], p);
    store_seq(&job_workers, n + 1);
    tell();
}

MANTA_METHOD_DEFINE(MantaDriver, worker_gone, void, (uint32_t, pid), (manta_str, how))
{
    (void)self;
    uint32_t n = load_relaxed(&job_workers);
    fprintf(stderr, "(worker %u) %.*s\n", pid, (int)how.size, how.data);
    snprintf(last_words, sizeof last_words, "worker %u %.*s", pid, (int)how.size, how.data);
    for (uint32_t i = 0; i < n; i++) {
        if (known[i].pid != pid) continue;
        known[i] = known[n - 1];
        store_seq(&peers[i], load_relaxed(&peers[n - 1]));
        store_seq(&job_workers, n - 1);
        break;
    }
    add_seq(&gone, 1);
    tell();
}

/* Each line with the worker's number before it. */
MANTA_METHOD_DEFINE(MantaDriver, output, void, (uint32_t, pid), (bool, is_error), (manta_str, text))
{
    (void)self;
    FILE *to = is_error ? stderr : stdout;
    if (!text.size) return;
    for (const char *at = text.data, *end = at + text.size; at < end;) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((line ? line : end) - at);
        fprintf(to, "(worker %u) %.*s\n", pid, (int)n, at);
        at += n + 1;
    }
    fflush(to);
}

MANTA_CLASS(MantaDriver, read, worker_up, worker_gone, output)

/* ---- placing ---- */

typedef struct wanted { /* objects that are arguments */
    manta_ref refs[ARGUMENT_REFS];
    uint32_t count;
} wanted;

static void want(manta_ref *ref, manta_object *view, void *context)
{
    wanted *w = context;
    if (view && ref->id[0] && w->count < ARGUMENT_REFS) w->refs[w->count++] = *ref;
}

uint64_t job_pick(const manta_method *method, const void *arguments)
{
    static _Thread_local uint32_t turn;
    uint32_t n = load_seq(&job_workers), least = UINT32_MAX;
    uint64_t most = 0;
    peer *best = NULL;
    wanted w = {.count = 0};
    if (method && method->arguments.refs) method->arguments.refs((void *)(uintptr_t)arguments, want, &w);
    for (uint32_t i = 0; i < n && i < PICKS; i++) {
        peer *p = load_seq(&peers[(turn + i) % n]);
        uint64_t bytes = p && w.count ? transfer_bytes_at(p, w.refs, w.count) : 0;
        uint32_t busy = p ? load_relaxed(&p->under_way) : UINT32_MAX;
        if (!p || bytes < most || (bytes == most && busy >= least)) continue;
        best = p;
        least = busy;
        most = bytes;
    }
    turn++;
    return best ? best->process : 0;
}

/* ---- becoming a driver ---- */

static manta_status describe_program(MantaJob *job)
{
    int fd = -1, error = os_file_open("/proc/self/exe", OS_READ, &fd);
    if (!error) error = os_file_size(fd, &job->bytes);
    if (!error && !(job->hash = program_hash(fd, job->bytes))) error = EIO;
    os_file_close(fd);
    return error ? error_set(MANTA_EIO, "this program cannot be read: %s", strerror(error)) : MANTA_OK;
}

static manta_status wait_for_workers(uint32_t expected)
{
    uint64_t deadline = os_monotonic_ns() + (uint64_t)FIRST_WORKER_MS * OS_NS_PER_MS;
    for (;;) {
        uint32_t seen = load_seq(&events);
        uint64_t now = os_monotonic_ns();
        if (load_seq(&job_workers) + load_seq(&gone) >= expected || now >= deadline) break;
        os_futex_wait(&events, seen, deadline - now);
    }
    if (load_seq(&job_workers)) return MANTA_OK;
    return error_set(MANTA_EINIT, "no worker came up: %s", last_words[0] ? last_words : "there was no answer");
}

static manta_status become_driver(const char *address)
{
    manta_process daemon;
    manta_actor raylet;
    uint32_t expected = 0;
    MantaJob job = {.id = os_random_u64() >> 1, .name = manta_str_of(program_invocation_short_name)};
    manta_status status = describe_program(&job);
    if (!status) status = manta_connect(address, CLUSTER_TIMEOUT_MS, &daemon);
    if (!status) status = manta_lookup_in(daemon, "manta.raylet", &raylet);
    if (status) return status;
    MantaDriver_ref me = MantaDriver_spawn();
    job.driver = me.actor;
    if (!me.actor.id) return manta_last_error()->status;
    if ((status = manta_get(MantaRaylet_start_job(MantaRaylet_ref_of(raylet), job), &expected))) return status;
    return wait_for_workers(expected);
}

/* ---- being a worker ---- */

static void serve(const char *address, uint64_t job)
{
    manta_process daemon;
    manta_actor raylet;
    manta_status status = manta_connect(address, CLUSTER_TIMEOUT_MS, &daemon);
    if (!status) status = manta_lookup_in(daemon, "manta.raylet", &raylet);
    if (!status)
        status = manta_join(MantaRaylet_ready(MantaRaylet_ref_of(raylet), job, (manta_actor){the_node.service}, (uint32_t)getpid()));
    if (!status) (void)manta_wait_exit(raylet, MANTA_FOREVER, NULL);
    else fprintf(stderr, "manta: worker: %s\n", manta_last_error()->message);
    fflush(NULL);
    _exit(status ? 1 : 0);
}

manta_status job_start(const manta_config *c)
{
    const char *given = getenv("MANTA_WORKER");
    char address[MANTA_ADDRESS_BYTES];
    unsigned long long job = 0;
    if (given && sscanf(given, "%255s %llx", address, &job) == 2) serve(address, job);
    return c->cluster && *c->cluster ? become_driver(c->cluster) : MANTA_OK;
}

void job_stop(void)
{
    store_seq(&job_workers, 0);
    store_seq(&gone, 0);
    last_words[0] = 0;
}
