/*
 * The two sides of a job's programs: the driver, which asks for workers and places work on them, and the worker, which serves until the job is over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/node/crash.h"
#include "actor/node/jobs_store.h"
#include "actor/node/moving.h"
#include "actor/node/owner.h"
#include "actor/node/program.h"
#include "actor/node/simulation.h"
#include "scheduler/os/os_file.h"

MantaJob the_job;
bool job_is_worker;
manta_actor job_leases, job_raylet;

/* ---- the driver's actor ---- */

MANTA_METHOD_DEFINE(MantaDriver, read, manta_bytes, (uint64_t, offset), (uint32_t, bytes))
{
    manta_bytes out = {NULL, 0};
    void *data = bytes && bytes <= CHUNK_BYTES ? manta_alloc(bytes) : NULL;
    int fd = -1, error = os_file_open(program_path(), OS_READ, &fd);
    (void)self;
    if (!error && data) error = os_file_read(fd, data, bytes, offset);
    os_file_close(fd);
    if (!data || error) manta_fail(MANTA_EIO, "the program cannot be read: %s", error ? strerror(error) : "a piece of that size");
    else out = (manta_bytes){data, bytes};
    return out;
}

MANTA_METHOD_DEFINE(MantaDriver, worker_gone, void, (uint32_t, pid), (manta_str, how), (uint64_t, process))
{
    char text[CRASH_TEXT], prefix[32];
    (void)self;
    snprintf(text, sizeof text, "%.*s", (int)how.size, how.data);
    size_t n = (size_t)snprintf(prefix, sizeof prefix, "worker %u ", pid);
    if (process) mourn_told(worker_self(), process, text);
    const char *rest = strncmp(text, prefix, n) == 0 ? text + n : text;
    if (the_simulation.net) runtime_report("(worker %u) %s", pid, rest);
    else fprintf(stderr, "(worker %u) %s\n", pid, rest);
}

/* Each line with the worker's number before it, in one call, so that others' lines do not come between. */
MANTA_METHOD_DEFINE(MantaDriver, output, void, (uint32_t, pid), (bool, is_error), (manta_str, text))
{
    (void)self;
    FILE *to = is_error ? stderr : stdout;
    if (the_simulation.net) runtime_report("(worker %u) %.*s", pid, (int)text.size, text.data);
    if (!text.size || the_simulation.net) return;
    for (const char *at = text.data, *end = at + text.size; at < end;) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((line ? line : end) - at);
        if (pid) fprintf(to, "(worker %u) %.*s\n", pid, (int)n, at);
        else fprintf(to, "(cluster) %.*s\n", (int)n, at);
        at += n + 1;
    }
    fflush(to);
}

MANTA_CLASS(MantaDriver, read, worker_gone, output)

/* ---- becoming a driver ---- */

static manta_status describe_program(MantaJob *job)
{
    if (the_simulation.net) return job->bytes = job->hash = 1, MANTA_OK;
    int fd = -1, error = os_file_open(program_path(), OS_READ, &fd);
    if (!error) error = os_file_size(fd, &job->bytes);
    if (!error && !(job->hash = program_hash(fd, job->bytes))) error = EIO;
    os_file_close(fd);
    return error ? error_set(MANTA_EIO, "this program cannot be read: %s", strerror(error)) : MANTA_OK;
}

/* Connects to this node's daemon. */
static manta_status find_daemon(const char *address)
{
    manta_process daemon;
    manta_status status = manta_connect(address, CLUSTER_TIMEOUT_MS, &daemon);
    manta_actor gcs;
    if (!status) status = manta_lookup_in(daemon, "manta.raylet", &job_raylet);
    if (!status) status = manta_lookup_in(daemon, "manta.gcs", &gcs);
    if (!status) gcs_know(gcs);
    return status ? status : manta_lookup_in(daemon, "manta.leases", &job_leases);
}

/* A node without a store, or one that cannot make it, says so when the job starts. */
static void use_node_store(void)
{
    manta_str name;
    if (the_runtime.config.store || manta_scope_begin()) return;
    if (manta_get(MantaRaylet_need_store(MantaRaylet_ref_of(job_raylet)), &name) == MANTA_OK) store_use(name);
    (void)manta_scope_end();
}

static manta_status become_driver(const char *address, const char *space)
{
    static char name[NAME_LIMIT + 1];
    snprintf(name, sizeof name, "%s", program_name());
    the_job = (MantaJob){.id = os_random_u64() >> 1 | 1, .name = manta_str_of(name)};
    manta_status status = describe_program(&the_job);
    if (!status) status = find_daemon(address);
    if (status) return status;
    use_node_store();
    the_job.driver = MantaDriver_spawn().actor;
    if (!the_job.driver.id || !owner_start() || !moving_start()) return manta_last_error()->status;
    status = manta_join(MantaRaylet_start_job(MantaRaylet_ref_of(job_raylet), the_job));
    return status ? status : job_record(space);
}

/* ---- the nodes ---- */

/* A field of a line of leases_list, up to a tab or the line's end; *at: behind it. */
static void take_field(const char **at, const char *end, char *out, size_t room)
{
    const char *from = *at, *to = from;
    while (to < end && *to != '\t' && *to != '\n') to++;
    snprintf(out, room, "%.*s", (int)(to - from), from);
    *at = to < end ? to + 1 : end;
}

static manta_node_info read_node(const char **at, const char *end)
{
    manta_node_info n = {.is_here = false};
    char number[32];
    take_field(at, end, number, sizeof number);
    n.node.id = strtoull(number, NULL, 16);
    take_field(at, end, n.address, sizeof n.address);
    take_field(at, end, n.labels, sizeof n.labels);
    take_field(at, end, n.total, sizeof n.total);
    take_field(at, end, n.available, sizeof n.available);
    take_field(at, end, number, sizeof number);
    n.queued = (uint32_t)strtoul(number, NULL, 10);
    return n;
}

manta_status manta_list_nodes(manta_node_info *out, size_t capacity, size_t *out_count)
{
    manta_str text;
    size_t n = 0;
    if (!the_job.id) return error_set(MANTA_EUNSUPPORTED, "manta_list_nodes: this process runs on no cluster (manta run)");
    manta_status status = manta_get(MantaLeases_describe(MantaLeases_ref_of(job_leases), DESCRIBE_NODES), &text);
    if (status) return status;
    for (const char *at = text.data, *end = at + text.size; at < end; n++) {
        manta_node_info info = read_node(&at, end);
        info.is_here = n == 0;
        if (n < capacity) out[n] = info;
    }
    *out_count = n;
    return MANTA_OK;
}

/* ---- being a worker ---- */

manta_status job_serve(const char *address, uint64_t job)
{
    manta_status status = find_daemon(address);
    the_job.id = job;
    job_is_worker = true;
    if (!status && (!owner_start() || !moving_start())) status = MANTA_ENOMEM;
    if (!status)
        status =
            manta_join(MantaLeases_ready(MantaLeases_ref_of(job_leases), job, (manta_actor){the_node.service}, owner_actor(), node_pid()));
    return status ? status : manta_wait_exit(job_raylet, MANTA_FOREVER, NULL);
}

static void serve(const char *address, uint64_t job)
{
    manta_status status = job_serve(address, job);
    if (status) fprintf(stderr, "manta: worker: %s\n", manta_last_error()->message);
    fflush(NULL);
    _exit(status ? 1 : 0);
}

manta_status job_drive(const char *address) { return become_driver(address, NULL); }

manta_status job_start(const manta_config *c)
{
    const char *given = getenv("MANTA_WORKER");
    char address[MANTA_ADDRESS_BYTES];
    unsigned long long job = 0;
    if (given && sscanf(given, "%255s %llx", address, &job) == 2) serve(address, job);
    return c->cluster && *c->cluster ? become_driver(c->cluster, c->name_space) : MANTA_OK;
}

void job_stop(void)
{
    moving_stop();
    owner_stop(worker_self());
    job_forget();
}

void job_free(void)
{
    moving_free();
    the_job = (MantaJob){.id = 0};
    job_leases.id = job_raylet.id = 0;
}
