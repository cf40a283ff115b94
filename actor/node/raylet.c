/*
 * The raylet: one actor per daemon. Keeps the list of nodes (each raylet has all of it; the head brings them together), and starts, watches and ends the workers of jobs on its node.
 *
 * Handlers interleave where they wait, so what they found before a wait is looked up again after it.
 */
#include "actor/node/raylet.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor/node/groups.h"
#include "actor/node/membership.h"
#include "actor/node/node.h"
#include "scheduler/os/os_file.h"

enum { JOBS_LIMIT = 256, STATUS_BYTES = 64 << 10, PATH_BYTES = 600 };

typedef struct node_entry {
    manta_actor raylet;
    char address[MANTA_ADDRESS_BYTES], host[64];
    uint32_t cores, pid;
} node_entry;
typedef struct job_entry {
    uint64_t id;
    manta_actor driver;
    char name[64];
} job_entry;
typedef struct worker_entry {
    uint32_t pid;
    bool is_ready;
    uint64_t job;
} worker_entry;

struct raylet {
    bool is_head;
    uint32_t cores;
    char directory[400];
    node_entry nodes[NODES_LIMIT]; /* the first is this one */
    job_entry jobs[JOBS_LIMIT];
    worker_entry workers[WORKERS_LIMIT];
    uint32_t n_nodes, n_jobs, n_workers;
};

static const raylet_options *starting; /* for init */

static void copy_text(char *to, size_t room, manta_str s) { snprintf(to, room, "%.*s", (int)s.size, s.data ? s.data : ""); }

static MantaNodeInfo info_of(const node_entry *n)
{
    return (MantaNodeInfo){n->raylet, manta_str_of(n->address), manta_str_of(n->host), n->cores, n->pid};
}

/* ---- nodes ---- */

static node_entry *find_node(struct raylet *r, manta_actor who)
{
    for (uint32_t i = 0; i < r->n_nodes; i++)
        if (r->nodes[i].raylet.id == who.id) return &r->nodes[i];
    return NULL;
}

static bool add_node(struct raylet *r, const MantaNodeInfo *info)
{
    if (find_node(r, info->raylet)) return false;
    if (r->n_nodes == NODES_LIMIT) return manta_fail(MANTA_ELIMIT, "at most %d nodes", NODES_LIMIT), false;
    node_entry *n = &r->nodes[r->n_nodes++];
    *n = (node_entry){.raylet = info->raylet, .cores = info->cores, .pid = info->pid};
    copy_text(n->address, sizeof n->address, info->address);
    copy_text(n->host, sizeof n->host, info->host);
    return true;
}

MANTA_METHOD_DECLARE(MantaRaylet, init, void)
MANTA_METHOD_DECLARE(MantaRaylet, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))

MANTA_METHOD_DEFINE(MantaRaylet, init, void)
{
    struct raylet *r = base_calloc(1, sizeof *r);
    if (!(self->r = r)) {
        manta_fail(MANTA_ENOMEM, "no memory for a raylet");
        return;
    }
    r->is_head = !starting->head;
    r->cores = starting->cores;
    snprintf(r->directory, sizeof r->directory, "%s", starting->directory);
    node_entry *n = &r->nodes[r->n_nodes++];
    *n = (node_entry){.raylet = manta_self(), .cores = r->cores, .pid = (uint32_t)getpid()};
    snprintf(n->address, sizeof n->address, "%s", manta_listen_address(0));
    if (gethostname(n->host, sizeof n->host - 1)) n->host[0] = 0;
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

static worker_entry *find_worker(struct raylet *r, uint32_t pid)
{
    for (uint32_t i = 0; i < r->n_workers; i++)
        if (r->workers[i].pid == pid) return &r->workers[i];
    return NULL;
}

static void end_job(struct raylet *r, job_entry *job)
{
    for (uint32_t i = 0; i < r->n_workers; i++)
        if (r->workers[i].job == job->id) child_kill(r->workers[i].pid);
    *job = r->jobs[--r->n_jobs];
}

MANTA_METHOD_DEFINE(MantaRaylet, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    struct raylet *r = self->r;
    (void)status, (void)why;
    node_entry *n = find_node(r, who);
    if (n && n != r->nodes) *n = r->nodes[--r->n_nodes];
    for (uint32_t i = 0; i < r->n_jobs; i++)
        if (r->jobs[i].driver.id == who.id) end_job(r, &r->jobs[i--]);
}

MANTA_METHOD_DEFINE(MantaRaylet, start_job, uint32_t, (MantaJob, job))
{
    struct raylet *r = self->r;
    manta_uint32_t_future f[NODES_LIMIT];
    uint32_t n = r->n_nodes, total = 0;
    for (uint32_t i = 0; i < n; i++) f[i] = MantaRaylet_run_workers(MantaRaylet_ref_of(r->nodes[i].raylet), job);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t some = 0;
        if (manta_get(f[i], &some) == MANTA_OK) total += some;
        else if (i == 0) manta_fail(manta_last_error()->status, "%s", manta_last_error()->message); /* another node may just have died */
    }
    return total;
}

/* ---- programs ---- */

static uint64_t hash_more(uint64_t h, const void *data, size_t bytes) { return (h ^ hash_bytes(data, bytes)) * 0x9e3779b97f4a7c15u; }

uint64_t program_hash(int fd, uint64_t bytes)
{
    unsigned char *piece = base_alloc(CHUNK_BYTES);
    uint64_t h = bytes | 1;
    for (uint64_t at = 0; piece && at < bytes; at += CHUNK_BYTES) {
        size_t n = bytes - at < CHUNK_BYTES ? (size_t)(bytes - at) : CHUNK_BYTES;
        if (os_file_read(fd, piece, n, at)) h = 0;
        h = hash_more(h, piece, n);
    }
    base_free(piece);
    return piece ? h : 0;
}

static uint16_t machine_of(int fd)
{
    Elf64_Ehdr e;
    return os_file_read(fd, &e, sizeof e, 0) || memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 ? 0 : e.e_machine;
}

static manta_status fetch_into(int fd, const MantaJob *job)
{
    MantaDriver_ref driver = MantaDriver_ref_of(job->driver);
    for (uint64_t at = 0; at < job->bytes;) {
        manta_bytes piece;
        uint32_t n = job->bytes - at < CHUNK_BYTES ? (uint32_t)(job->bytes - at) : CHUNK_BYTES;
        (void)manta_scope_begin(); /* so that a large program is never all in memory */
        manta_status status = manta_get(MantaDriver_read(driver, at, n), &piece);
        int error = status || piece.size != n ? EIO : os_file_write(fd, piece.data, piece.size, at);
        (void)manta_scope_end();
        if (status || error) return status ? status : MANTA_EIO;
        at += n;
    }
    return MANTA_OK;
}

/* The program's file on this node: of its hash's name, whole, executable. */
static manta_status get_program(struct raylet *r, const MantaJob *job, char *path)
{
    char partial[PATH_BYTES + 32];
    int fd = -1, own = -1;
    snprintf(path, PATH_BYTES, "%s/%016llx", r->directory, (unsigned long long)job->hash);
    if (access(path, X_OK) == 0) return MANTA_OK;
    if (!job->bytes || job->bytes > PROGRAM_LIMIT)
        return error_set(MANTA_EINVAL, "a program of %llu bytes", (unsigned long long)job->bytes);
    snprintf(partial, sizeof partial, "%s.%llx", path, (unsigned long long)os_random_u64());
    int error = os_file_open(partial, OS_WRITE | OS_CREATE, &fd);
    if (error) return error_set(MANTA_EIO, "%s: %s", partial, strerror(error));
    manta_status status = fetch_into(fd, job);
    if (!status && program_hash(fd, job->bytes) != job->hash) status = error_set(MANTA_EIO, "the program changed while it was fetched");
    if (!status && os_file_open("/proc/self/exe", OS_READ, &own) == 0 && machine_of(fd) != machine_of(own))
        status = error_set(
            MANTA_EINVAL, "the program is for another kind of machine (ELF machine %u, this node is %u)", machine_of(fd), machine_of(own));
    os_file_close(own);
    os_file_close(fd);
    if (!status && (chmod(partial, 0700) || rename(partial, path))) status = error_set(MANTA_EIO, "%s: %s", path, strerror(errno));
    if (status) (void)os_file_remove(partial);
    return status;
}

static manta_status run_some(struct raylet *r, const MantaJob *job, const char *path, uint32_t *out_count)
{
    for (uint32_t i = 0; i < r->cores; i++) {
        uint32_t pid = 0;
        char name[64];
        copy_text(name, sizeof name, job->name);
        if (r->n_workers == WORKERS_LIMIT) return error_set(MANTA_ELIMIT, "at most %d workers on a node", WORKERS_LIMIT);
        manta_status status = child_run(path, name, job->id, r->nodes[0].address, &pid);
        if (status) return status;
        r->workers[r->n_workers++] = (worker_entry){pid, false, job->id};
        ++*out_count;
    }
    return MANTA_OK;
}

MANTA_METHOD_DEFINE(MantaRaylet, run_workers, uint32_t, (MantaJob, job))
{
    struct raylet *r = self->r;
    char path[PATH_BYTES];
    uint32_t count = 0;
    manta_status status = get_program(r, &job, path);
    if (!status && r->n_jobs == JOBS_LIMIT) status = error_set(MANTA_ELIMIT, "at most %d jobs at a time", JOBS_LIMIT);
    if (!status) {
        job_entry *j = &r->jobs[r->n_jobs++];
        *j = (job_entry){.id = job.id, .driver = job.driver};
        copy_text(j->name, sizeof j->name, job.name);
        (void)manta_monitor(job.driver, MantaRaylet_on_down, NULL);
        membership_watch(job.driver);
        status = run_some(r, &job, path, &count);
    }
    if (status && !count) manta_fail(status, "%s: %s", r->nodes[0].address, manta_last_error()->message);
    return count;
}

/* ---- workers ---- */

MANTA_METHOD_DEFINE(MantaRaylet, ready, void, (uint64_t, job), (manta_actor, process), (uint32_t, pid))
{
    worker_entry *w = find_worker(self->r, pid);
    job_entry *j = find_job(self->r, job);
    if (!w || !j) {
        manta_fail(MANTA_ESTALE, "the job is over");
        return;
    }
    w->is_ready = true;
    membership_watch(process);
    (void)MantaDriver_worker_up_send(MantaDriver_ref_of(j->driver), process, pid);
}

MANTA_METHOD_DEFINE(MantaRaylet, ended, void, (uint32_t, pid), (manta_str, how))
{
    struct raylet *r = self->r;
    worker_entry *w = find_worker(r, pid);
    job_entry *j = w ? find_job(r, w->job) : NULL;
    if (j) (void)MantaDriver_worker_gone_send(MantaDriver_ref_of(j->driver), pid, how);
    if (w) *w = r->workers[--r->n_workers];
}

MANTA_METHOD_DEFINE(MantaRaylet, said, void, (uint32_t, pid), (bool, is_error), (manta_str, text))
{
    worker_entry *w = find_worker(self->r, pid);
    job_entry *j = w ? find_job(self->r, w->job) : NULL;
    if (j) (void)MantaDriver_output_send(MantaDriver_ref_of(j->driver), pid, is_error, text);
}

MANTA_METHOD_DEFINE(MantaRaylet, status, manta_str)
{
    struct raylet *r = self->r;
    char *text = manta_alloc(STATUS_BYTES);
    size_t n = 0;
    if (!text) return manta_fail(MANTA_ENOMEM, "no memory for a status"), manta_str_of("");
    n += (size_t)snprintf(text, STATUS_BYTES, "%u nodes\n", r->n_nodes);
    for (uint32_t i = 0; i < r->n_nodes && n < STATUS_BYTES - 512; i++)
        n += (size_t)snprintf(text + n, STATUS_BYTES - n, "  %-28s %-16s %2u cores  pid %u%s\n", r->nodes[i].address, r->nodes[i].host,
            r->nodes[i].cores, r->nodes[i].pid, i ? "" : "  (asked)");
    n += (size_t)snprintf(text + n, STATUS_BYTES - n, "%u jobs, %u workers on the node that was asked\n", r->n_jobs, r->n_workers);
    for (uint32_t i = 0; i < r->n_jobs && n < STATUS_BYTES - 512; i++)
        n += (size_t)snprintf(text + n, STATUS_BYTES - n, "  job %016llx %s\n", (unsigned long long)r->jobs[i].id, r->jobs[i].name);
    return (manta_str){text, n};
}

static void forget(void *self) { base_free(((MantaRaylet *)self)->r); }

MANTA_CLASS_WITH(
    MantaRaylet, (.concurrency = 64, .on_free = forget), init, on_down, describe, meet, start_job, run_workers, ready, ended, said, status)

/* ---- start ---- */

static manta_status join_cluster(const raylet_options *o, manta_actor me)
{
    char directory[512];
    snprintf(directory, sizeof directory, "%s", o->state);
    membership_options m = {.address = o->head, .directory = directory, .voters = o->voters, .cores = o->cores, .fence_ms = o->fence_ms};
    int error = os_directory_make(directory);
    return error ? error_set(MANTA_EIO, "%s: %s", directory, strerror(error)) : membership_start(&m, me);
}

manta_status raylet_start(const raylet_options *o, manta_actor *out)
{
    int error = os_directory_make(o->directory);
    if (error) return error_set(MANTA_EIO, "%s: %s", o->directory, strerror(error));
    starting = o;
    groups_off();
    MantaRaylet_ref me = MantaRaylet_spawn();
    manta_status status = me.actor.id ? children_start(me.actor) : manta_last_error()->status;
    if (!status) status = manta_register("manta.raylet", me.actor);
    if (!status) status = join_cluster(o, me.actor);
    *out = me.actor;
    return status;
}
