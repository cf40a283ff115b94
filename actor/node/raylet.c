/*
 * The raylet: one actor per daemon. Keeps the list of nodes (each raylet has all of it; the head brings them together) and of jobs, and fetches their programs; what runs where is MantaLeases' (leases.c).
 *
 * Handlers interleave where they wait, so what they found before a wait is looked up again after it.
 */
#include "actor/node/raylet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/node/groups.h"
#include "actor/node/jobs_store.h"
#include "actor/node/leases.h"
#include "actor/node/membership.h"
#include "actor/node/node.h"
#include "actor/node/node_store.h"
#include "actor/node/program.h"
#include "actor/node/report.h"
#include "actor/node/simulation.h"
#include "scheduler/os/os_file.h"

enum { JOBS_LIMIT = 256, ENDED_JOBS = 256, STATUS_BYTES = 64 << 10 };

typedef struct node_entry {
    manta_actor raylet;
    manta_actor leases;
    uint64_t id;
    char address[MANTA_ADDRESS_BYTES], host[64], total[RESOURCES_TEXT], labels[LABELS_TEXT];
    uint32_t pid;
} node_entry;
typedef struct job_entry {
    uint64_t id, hash, bytes; /* hash, bytes: of its program */
    manta_actor driver;
    bool is_own;                                       /* its driver asked this raylet */
    char name[64], refusal[MANTA_ADDRESS_BYTES + 300]; /* refusal: why this node cannot run it; "": it can */
} job_entry;

struct raylet {
    program_cache programs;
    manta_actor leases, placements;
    node_entry nodes[NODES_LIMIT]; /* the first is this one */
    job_entry jobs[JOBS_LIMIT];
    uint32_t n_nodes, n_jobs;
    uint64_t ended[ENDED_JOBS], n_ended; /* the last ones; what asks for work of theirs comes late */
};

static const raylet_options *starting; /* for init */
static program_cache starting_programs;

static void copy_text(char *to, size_t room, manta_str s) { snprintf(to, room, "%.*s", (int)s.size, s.data ? s.data : ""); }

static MantaNodeInfo info_of(const node_entry *n)
{
    return (MantaNodeInfo){n->raylet, n->leases, n->id, manta_str_of(n->address), manta_str_of(n->host), manta_str_of(n->total),
        manta_str_of(n->labels), n->pid};
}

/* ---- nodes ---- */

static node_entry *find_node(struct raylet *r, manta_actor who)
{
    for (uint32_t i = 0; i < r->n_nodes; i++)
        if (r->nodes[i].raylet.id == who.id) return &r->nodes[i];
    return NULL;
}

/* Who places work hears of every node that comes or goes. */
static void tell_node(struct raylet *r, const node_entry *n, bool is_up)
{
    MantaNodeInfo info = info_of(n);
    (void)MantaLeases_node_send(MantaLeases_ref_of(r->leases), info, is_up ? NODE_UP : NODE_GONE);
    placements_node(r->placements, &info, is_up);
}

static bool add_node(struct raylet *r, const MantaNodeInfo *info)
{
    if (find_node(r, info->raylet)) return false;
    if (r->n_nodes == NODES_LIMIT) return manta_fail(MANTA_ELIMIT, "at most %d nodes", NODES_LIMIT), false;
    node_entry *n = &r->nodes[r->n_nodes++];
    *n = (node_entry){.raylet = info->raylet, .leases = info->leases, .id = info->id, .pid = info->pid};
    copy_text(n->address, sizeof n->address, info->address);
    copy_text(n->host, sizeof n->host, info->host);
    copy_text(n->total, sizeof n->total, info->total);
    copy_text(n->labels, sizeof n->labels, info->labels);
    tell_node(r, n, true);
    return true;
}

static void remove_node(struct raylet *r, node_entry *n)
{
    tell_node(r, n, false);
    *n = r->nodes[--r->n_nodes];
}

MANTA_METHOD_DECLARE(MantaRaylet, init, void)
MANTA_METHOD_DECLARE(MantaRaylet, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))

/* All cores and all memory, and what the options say. */
static bool read_total(const raylet_options *o, resources *total, char *error, size_t room)
{
    *total = (resources){0};
    (void)resources_set(total, "cpus", (int64_t)o->cores * RESOURCE_UNIT);
    (void)resources_set(total, "memory", (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) * RESOURCE_UNIT);
    if (!o->resources || resources_parse(o->resources, strlen(o->resources), total, error, room)) return true;
    return false;
}

static manta_status check_options(const raylet_options *o)
{
    char error[160];
    resources total;
    if (!read_total(o, &total, error, sizeof error)) return error_set(MANTA_EINVAL, "resources: %s", error);
    if (o->labels && !labels_valid(o->labels, false))
        return error_set(MANTA_EINVAL, "labels: \"%s\" is not \"key=value,...\" of less than %d bytes", o->labels, LABELS_TEXT);
    return MANTA_OK;
}

static void describe_self(node_entry *n)
{
    char error[160];
    resources total;
    *n = (node_entry){.raylet = manta_self(), .id = the_node.process, .pid = os_process_id()};
    (void)read_total(starting, &total, error, sizeof error); /* checked */
    resources_format(&total, n->total, sizeof n->total);
    snprintf(n->labels, sizeof n->labels, "%s", starting->labels ? starting->labels : "");
    snprintf(n->address, sizeof n->address, "%s", manta_listen_address(0));
    if (gethostname(n->host, sizeof n->host - 1)) n->host[0] = 0;
}

MANTA_METHOD_DEFINE(MantaRaylet, init, void)
{
    struct raylet *r = base_calloc(1, sizeof *r);
    if (!(self->r = r)) {
        manta_fail(MANTA_ENOMEM, "no memory for a raylet");
        return;
    }
    r->programs = starting_programs;
    node_entry *n = &r->nodes[r->n_nodes++];
    describe_self(n);
    MantaNodeInfo info = info_of(n);
    n->leases = r->leases = leases_start(&info, starting);
    r->placements = placements_start();
    info.leases = n->leases;
    placements_node(r->placements, &info, true);
}

MANTA_METHOD_DEFINE(MantaRaylet, describe, MantaNodeInfo) { return info_of(&self->r->nodes[0]); }

MANTA_METHOD_DEFINE(MantaRaylet, meet, void, (MantaNodeInfo, node))
{
    if (add_node(self->r, &node)) (void)manta_monitor(node.raylet, MantaRaylet_on_down, NULL);
}

/* ---- jobs ---- */

static job_entry *find_job(struct raylet *r, uint64_t id)
{
    for (uint32_t i = 0; i < r->n_jobs; i++)
        if (r->jobs[i].id == id) return &r->jobs[i];
    return NULL;
}

static void end_job(struct raylet *r, job_entry *job)
{
    (void)MantaLeases_job_send(MantaLeases_ref_of(r->leases), (MantaJob){.id = job->id}, manta_str_of(""), 0, manta_str_of(""));
    *job = r->jobs[--r->n_jobs];
}

MANTA_METHOD_DEFINE(MantaRaylet, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    struct raylet *r = self->r;
    (void)status, (void)why;
    node_entry *n = find_node(r, who);
    if (n && n != r->nodes) remove_node(r, n);
    for (uint32_t i = 0; i < r->n_jobs; i++)
        if (r->jobs[i].driver.id == who.id) end_job(r, &r->jobs[i--]);
}

/* This node may have no link to the driver by which to hear of it. */
MANTA_METHOD_DEFINE(MantaRaylet, job_ended, void, (uint64_t, id))
{
    struct raylet *r = self->r;
    job_entry *j = find_job(r, id);
    r->ended[r->n_ended++ % ENDED_JOBS] = id;
    if (j && j->driver.id) end_job(r, j); /* else of a detached actor, which outlives it */
}

static bool has_ended(const struct raylet *r, const MantaJob *job)
{
    uint32_t i = 0;
    while (i < ENDED_JOBS && r->ended[i] != job->id) i++;
    return job->driver.id && i < ENDED_JOBS;
}

/* A node that cannot run it does not keep the others from it. */
static void tell_driver(const MantaJob *job, const char *why)
{
    (void)MantaDriver_output_send(MantaDriver_ref_of(job->driver), 0, true, manta_str_of(why));
}

MANTA_METHOD_DEFINE(MantaRaylet, start_job, void, (MantaJob, job))
{
    struct raylet *r = self->r;
    manta_void_future f[NODES_LIMIT];
    uint32_t n = r->n_nodes, failed = 0;
    for (uint32_t i = 0; i < n; i++) f[i] = MantaRaylet_begin_job(MantaRaylet_ref_of(r->nodes[i].raylet), job);
    for (uint32_t i = 0; i < n; i++) {
        if (manta_join(f[i]) == MANTA_OK) continue;
        tell_driver(&job, manta_last_error()->message);
        failed++;
    }
    job_entry *own = find_job(r, job.id);
    if (own) own->is_own = true;
    membership_watch(job.driver, &(membership_process){"", 0, job.id}); /* other nodes may only be cut off from it */
    if (failed == n) manta_fail(MANTA_EINIT, "no node runs %.*s: %s", (int)job.name.size, job.name.data, manta_last_error()->message);
}

static job_entry *add_job(struct raylet *r, const MantaJob *job)
{
    if (r->n_jobs == JOBS_LIMIT) return error_set(MANTA_ELIMIT, "at most %d jobs at a time", JOBS_LIMIT), NULL;
    job_entry *j = &r->jobs[r->n_jobs++];
    *j = (job_entry){.id = job->id, .hash = job->hash, .bytes = job->bytes, .driver = job->driver};
    copy_text(j->name, sizeof j->name, job->name);
    if (!job->driver.id) return j; /* of a detached actor that is started again: the program is all that is left of its job */
    (void)manta_monitor(job->driver, MantaRaylet_on_down, NULL);
    return j;
}

/* Remembers that this node cannot, so that its driver's end clears that too. */
static void refuse_job(struct raylet *r, const MantaJob *job)
{
    char why[sizeof r->jobs->refusal];
    snprintf(why, sizeof why, "%s: %s", r->nodes[0].address, manta_last_error()->message);
    job_entry *j = find_job(r, job->id) ? NULL : add_job(r, job);
    if (j) {
        memcpy(j->refusal, why, sizeof why);
        (void)manta_join(MantaLeases_job(MantaLeases_ref_of(r->leases), *job, manta_str_of(""), the_node.process, manta_str_of(why)));
    }
    manta_fail(MANTA_EINVAL, "%s", why);
}

/* Takes a while the first time: not on the daemon's only worker thread. */
static manta_status make_store(void)
{
    manta_blocking_begin();
    manta_status status = node_store_make();
    manta_blocking_end();
    return status;
}

MANTA_METHOD_DEFINE(MantaRaylet, need_store, manta_str)
{
    static char name[STORE_NAME_TEXT];
    const char *path;
    size_t objects;
    uint64_t bytes;
    if (make_store()) return manta_fail(manta_last_error()->status, "%s", manta_last_error()->message), manta_str_of("");
    (void)node_store_usage(&path, &objects, &bytes);
    store_name(path, name);
    return manta_str_of(name);
}

MANTA_METHOD_DEFINE(MantaRaylet, begin_job, void, (MantaJob, job))
{
    struct raylet *r = self->r;
    char path[PROGRAM_PATH];
    manta_actor others[NODES_LIMIT];
    uint32_t n = raylet_others(r, others);
    job_entry *j = find_job(r, job.id);
    if (j && j->refusal[0]) manta_fail(MANTA_EINVAL, "%s", j->refusal);
    if (j) return;
    if (has_ended(r, &job) || (!job.driver.id && !job.hash)) { /* asked for by a worker of a job that this node knows, or knew */
        manta_fail(MANTA_EDEAD, "%s: the job is over", r->nodes[0].address);
        return;
    }
    manta_status status = program_get(&r->programs, &job, others, n, path);
    if (!status) status = make_store();
    if (!status && !find_job(r, job.id)) {
        status = add_job(r, &job) ? manta_join(MantaLeases_job(MantaLeases_ref_of(r->leases), job, manta_str_of(path), 0, manta_str_of("")))
                                  : MANTA_ELIMIT;
        if (status) manta_fail(status, "%s: %s", r->nodes[0].address, manta_last_error()->message);
    } else if (status) refuse_job(r, &job);
}

MANTA_METHOD_DEFINE(MantaRaylet, program, MantaJob, (uint64_t, job))
{
    job_entry *j = find_job(self->r, job);
    if (!j) return manta_fail(MANTA_EDEAD, "the job is over"), (MantaJob){0};
    return (MantaJob){j->id, j->hash, j->bytes, manta_str_of(j->name), j->driver};
}

MANTA_METHOD_DEFINE(MantaRaylet, read_program, manta_bytes, (uint64_t, hash), (uint64_t, offset), (uint32_t, bytes))
{
    void *data = bytes && bytes <= CHUNK_BYTES ? manta_alloc(bytes) : NULL;
    int error = data ? program_read(&self->r->programs, hash, offset, data, bytes) : EINVAL;
    if (error)
        return manta_fail(MANTA_ENOTFOUND, "%s: no such piece of a program: %s", self->r->nodes[0].address, strerror(error)),
               (manta_bytes){0};
    return (manta_bytes){data, bytes};
}

MANTA_METHOD_DEFINE(MantaRaylet, placements, manta_actor) { return self->r->placements; }

static size_t describe_store(char *out, size_t room)
{
    const char *path;
    size_t objects = 0;
    uint64_t bytes = 0;
    if (!node_store_usage(&path, &objects, &bytes)) return 0;
    if (!*path) return (size_t)snprintf(out, room, "no object store yet: the first job makes it\n");
    return (size_t)snprintf(out, room, "object store %s: %zu objects, %llu bytes\n", path, objects, (unsigned long long)bytes);
}

MANTA_METHOD_DEFINE(MantaRaylet, status, manta_str)
{
    char store[500];
    manta_str parts[4] = {
        manta_await(MantaLeases_describe(MantaLeases_ref_of(self->r->leases), DESCRIBE_ALL)), {store, 0}, jobs_describe(), {NULL, 0}};
    (void)placements_describe(self->r->placements, &parts[3]);
    parts[1].size = describe_store(store, sizeof store);
    char *text = manta_alloc(parts[0].size + parts[1].size + parts[2].size + parts[3].size + 1);
    size_t n = 0;
    for (int i = 0; text && i < 4; i++) {
        if (parts[i].size) memcpy(text + n, parts[i].data, parts[i].size);
        n += parts[i].size;
    }
    return text ? (manta_str){text, n} : parts[0];
}

/* ---- what it knows, for ask.c ---- */

uint32_t raylet_others(const struct raylet *r, manta_actor out[NODES_LIMIT])
{
    for (uint32_t i = 1; i < r->n_nodes; i++) out[i - 1] = r->nodes[i].raylet;
    return r->n_nodes - 1;
}

static const char *role_of(const struct raylet *r, manta_process p)
{
    for (uint32_t i = 0; i < r->n_nodes; i++)
        if (r->nodes[i].id == p.id) return "node";
    for (uint32_t i = 0; i < r->n_jobs; i++)
        if (manta_process_of(r->jobs[i].driver).id == p.id) return "driver";
    return "worker";
}

/* This one, and who is connected to it and listens, which clients do not; other nodes are asked for themselves. */
uint32_t raylet_processes(const struct raylet *r, raylet_process *out, uint32_t room)
{
    size_t known = 0;
    uint32_t n = 1;
    manta_process_info *all = base_alloc(room * sizeof *all);
    out[0] = (raylet_process){manta_this_process(), "node"};
    if (all && manta_list_processes(all, room, &known) == MANTA_OK)
        for (size_t i = 0; i < known && i < room && n < room; i++) {
            const char *role = role_of(r, all[i].process);
            if (all[i].is_up && all[i].address[0] && strcmp(role, "node") != 0) out[n++] = (raylet_process){all[i].process, role};
        }
    base_free(all);
    return n;
}

const char *raylet_address(const struct raylet *r) { return r->nodes[0].address; }
manta_actor raylet_leases(const struct raylet *r) { return r->leases; }

uint32_t raylet_drivers(const struct raylet *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_jobs; i++) n += r->jobs[i].is_own;
    return n;
}

bool raylet_rows(const struct raylet *r, const char *kind, report *out)
{
    if (strcmp(kind, "jobs") == 0) return jobs_rows(out);
    for (uint32_t i = 0; i < r->n_nodes; i++) {
        report_text(out, "address", r->nodes[i].address);
        report_text(out, "host", r->nodes[i].host);
        report_text(out, "resources", r->nodes[i].total);
        report_text(out, "labels", r->nodes[i].labels);
        report_number(out, "pid", r->nodes[i].pid);
        report_row_end(out);
    }
    return true;
}

static void forget(void *self) { base_free(((MantaRaylet *)self)->r); }

/* ---- start ---- */

static manta_status join_cluster(const raylet_options *o, manta_actor me)
{
    char directory[512];
    snprintf(directory, sizeof directory, "%s", o->state);
    membership_options m = {.address = o->head, .directory = directory, .voters = o->voters, .cores = o->cores, .fence_ms = o->fence_ms};
    int error = os_directory_make(directory);
    return error ? error_set(MANTA_EIO, "%s: %s", directory, strerror(error)) : membership_start(&m, me);
}

MANTA_CLASS_WITH(MantaRaylet, (.concurrency = 64, .on_free = forget), init, on_down, describe, meet, start_job, begin_job, job_ended,
    program, read_program, need_store, placements, status, drain, end, ask)

manta_status raylet_start(const raylet_options *o, manta_actor *out)
{
    int error = program_cache_open(&starting_programs, o->directory, o->cache_bytes);
    if (error) return error_set(MANTA_EIO, "%s: %s", o->directory, strerror(error));
    if (check_options(o)) return manta_last_error()->status;
    starting = o;
    groups_off();
    MantaRaylet_ref me = MantaRaylet_spawn();
    MantaNodeInfo own;
    if (!me.actor.id) return manta_last_error()->status;
    manta_status status = manta_get(MantaRaylet_describe(me), &own);
    if (!status) status = children_start(own.leases);
    if (!status) status = manta_register("manta.leases", own.leases);
    if (!status) status = manta_register("manta.raylet", me.actor);
    if (!status) status = join_cluster(o, me.actor);
    manta_actor placements;
    if (!status) status = manta_get(MantaRaylet_placements(me), &placements);
    if (!status) status = placements_watch(placements);
    *out = me.actor;
    return status;
}
