#include "actor/node/membership.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/node/control.h"
#include "actor/node/gcs_watch.h"
#include "actor/node/jobs_store.h"
#include "actor/node/leases.h"
#include "actor/node/node.h"
#include "actor/node/raylet.h"
#include "actor/node/restarter.h"
#include "actor/node/simulation.h"

enum {
    PULSE_MS = 1000,
    CALM_MS = 3000,
    FENCE_MS = 10000,
    REACH_MS = 3000,
    LEAVE_MS = 1000,
    STARTING_MS = 50,
    OTHERS = 1024,
    PROCESSES = 4096
};

typedef struct other { /* a node that lives, as far as the table says */
    uint64_t id, epoch;
    manta_actor raylet; /* {0}: not reached */
    bool is_reaching;
    uint64_t suspect_ns; /* not before: a new one gets time to be reached */
    char address[MANTA_ADDRESS_BYTES];
} other;

typedef struct members {
    manta_actor raylet;
    other others[OTHERS];
    uint32_t n_others, n_processes;
    struct {
        uint64_t actor, process, job;
    } processes[PROCESSES];
    uint64_t fence_ns, reached_ns;
    bool is_fenced;
} members;

MANTA_ACTOR(MantaMembers, members *m;)
static _Atomic uint64_t members_id; /* of the actor; 0: none */
static const membership_options *starting;
static manta_actor starting_raylet;

MANTA_METHOD_DECLARE(MantaMembers, init, void)
MANTA_METHOD_DECLARE(
    MantaMembers, changed, void, (uint64_t, id), (uint64_t, epoch), (uint64_t, state), (manta_str, address), (manta_str, reason))
MANTA_METHOD_DECLARE(MantaMembers, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
MANTA_METHOD_DECLARE(MantaMembers, reach, void, (uint64_t, id))
MANTA_METHOD_DECLARE(MantaMembers, pulse, void)
MANTA_METHOD_DECLARE(MantaMembers, watch, void, (manta_actor, of_process), (manta_str, role), (uint32_t, pid), (uint64_t, job))

static MantaMembers_ref me(void) { return MantaMembers_ref_of(manta_self()); }
static MantaMembers_ref the_members(void) { return MantaMembers_ref_of((manta_actor){load_seq(&members_id)}); }

static other *find_other(members *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->n_others; i++)
        if (m->others[i].id == id) return &m->others[i];
    return NULL;
}

/* ---- fencing ---- */

static void fence(members *m, const char *why)
{
    if (m->is_fenced) return;
    m->is_fenced = true;
    runtime_report("this node leaves the cluster and ends its workers: %s", why);
    if (the_simulation.net) {
        the_simulation.end(the_simulation.context, why);
        return;
    }
    children_stop();
    (void)kill(getpid(), SIGTERM);
}

/* ---- others ---- */

/* Connects to the node and introduces its raylet. */
MANTA_METHOD_DEFINE(MantaMembers, reach, void, (uint64_t, id))
{
    members *m = self->m;
    other *o = find_other(m, id);
    char address[MANTA_ADDRESS_BYTES];
    manta_process p;
    manta_actor raylet = {0};
    MantaNodeInfo info;
    if (!o || o->raylet.id || o->is_reaching) return;
    o->is_reaching = true;
    snprintf(address, sizeof address, "%s", o->address);
    manta_status status = process_at(address, REACH_MS, &p);
    if (!status) status = p.id == id ? manta_lookup_in(p, "manta.raylet", &raylet) : MANTA_ENOTFOUND;
    if (!status) status = manta_get_timeout(MantaRaylet_describe(MantaRaylet_ref_of(raylet)), &info, REACH_MS);
    if (!(o = find_other(m, id))) return;
    o->is_reaching = false;
    if (status) return;
    o->raylet = raylet;
    (void)manta_monitor(raylet, MantaMembers_on_down, NULL);
    (void)MantaRaylet_meet_send(MantaRaylet_ref_of(m->raylet), info);
}

static void remove_other(members *m, other *o)
{
    if (link_is_up(the_node.links, o->id, NULL)) link_drop(the_node.links, o->id, MANTA_EDEAD);
    *o = m->others[--m->n_others];
}

/* Who places work here. */
static void tell_leaving(uint64_t id)
{
    manta_actor leases;
    if (manta_lookup("manta.leases", &leases) == MANTA_OK)
        (void)MantaLeases_node_send(MantaLeases_ref_of(leases), (MantaNodeInfo){.id = id}, NODE_LEAVES);
}

MANTA_METHOD_DEFINE(
    MantaMembers, changed, void, (uint64_t, id), (uint64_t, epoch), (uint64_t, state), (manta_str, address), (manta_str, reason))
{
    members *m = self->m;
    other *o = find_other(m, id);
    if (id == the_node.process) {
        char why[200];
        snprintf(
            why, sizeof why, "it was declared dead: %.*s", (int)(reason.size < 100 ? reason.size : 100), reason.size ? reason.data : "");
        if (state == GCS_NODE_STATE_DEAD) fence(m, why);
        if (state == GCS_NODE_STATE_DRAINING) tell_leaving(id);
        return;
    }
    if (state == GCS_NODE_STATE_DRAINING) tell_leaving(id);
    if (state == GCS_NODE_STATE_DEAD || !state) {
        if (o) remove_other(m, o);
        return;
    }
    if (o || m->n_others == OTHERS || address.size >= MANTA_ADDRESS_BYTES) return;
    o = &m->others[m->n_others++];
    *o = (other){.id = id, .epoch = epoch, .suspect_ns = manta_now_ns() + (uint64_t)REACH_MS * OS_NS_PER_MS};
    snprintf(o->address, sizeof o->address, "%.*s", (int)address.size, address.size ? address.data : "");
    (void)MantaMembers_reach_send(me(), id);
}

static void tell_change(void *context, const gcs_event *e)
{
    gcs_node_row row = {0};
    manta_reader r;
    (void)context;
    if (!e || e->is_gone) return;
    manta_reader_init(&r, e->value.data, e->value.size);
    gcs_read_node_row(&r, &row);
    if (!r.status) (void)MantaMembers_changed_send(the_members(), row.id, row.epoch, row.state, row.address, row.reason);
}

static void tell_job(void *context, const gcs_event *e)
{
    gcs_job_row row = {0};
    manta_reader r;
    (void)context;
    if (!e || e->is_gone) return;
    manta_reader_init(&r, e->value.data, e->value.size);
    gcs_read_job_row(&r, &row);
    if (!r.status && row.state != GCS_JOB_STATE_RUNNING) (void)MantaRaylet_job_ended_send(MantaRaylet_ref_of(starting_raylet), row.id);
}

/* Not reached: tells the leader, and tries again. */
static void miss(const other *o)
{
    if (manta_now_ns() >= o->suspect_ns && !link_is_up(the_node.links, o->id, NULL)) gcs_suspect(o->id);
    (void)MantaMembers_reach_send(me(), o->id);
}

/* ---- processes of this node ---- */

static void process_ended(uint64_t process, manta_str why)
{
    manta_writer w;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    gcs_write_process_dead(&w, NULL, &(gcs_process_dead){process, why});
    (void)control_call("the end of a process", false, &w, GCS_TIMEOUT_MS, &reply);
}

static void process_started(uint64_t process, manta_str role, uint32_t pid)
{
    manta_writer w;
    gcs_reply reply;
    char address[MANTA_ADDRESS_BYTES] = "";
    peer *p = peer_get(process, false);
    if (p) {
        pthread_mutex_lock(&p->lock);
        snprintf(address, sizeof address, "%s", p->address);
        pthread_mutex_unlock(&p->lock);
    }
    manta_writer_init_growing(&w);
    gcs_write_process_start(&w, NULL, &(gcs_process_start){process, the_node.process, manta_str_of(address), pid, role});
    (void)control_call("the start of a process", false, &w, GCS_TIMEOUT_MS, &reply);
}

MANTA_METHOD_DEFINE(MantaMembers, watch, void, (manta_actor, of_process), (manta_str, role), (uint32_t, pid), (uint64_t, job))
{
    members *m = self->m;
    uint64_t process = manta_process_of(of_process).id;
    if (m->n_processes == PROCESSES) return;
    m->processes[m->n_processes].actor = of_process.id;
    m->processes[m->n_processes].job = job;
    m->processes[m->n_processes++].process = process;
    (void)manta_monitor(of_process, MantaMembers_on_down, NULL);
    if (role.size) process_started(process, role, pid);
}

/* Whether the driver has shut down, as against: is lost. */
static bool is_orderly(uint64_t process, manta_status status)
{
    peer *p = peer_get(process, false);
    if (status == MANTA_OK || !p) return status == MANTA_OK;
    pthread_mutex_lock(&p->lock);
    bool yes = p->said_goodbye;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

MANTA_METHOD_DEFINE(MantaMembers, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    members *m = self->m;
    for (uint32_t i = 0; i < m->n_others; i++) {
        if (m->others[i].raylet.id != who.id) continue;
        m->others[i].raylet.id = 0; /* its link was silent for long enough */
        m->others[i].suspect_ns = 0;
        miss(&m->others[i]);
    }
    for (uint32_t i = 0; i < m->n_processes; i++) {
        if (m->processes[i].actor != who.id) continue;
        uint64_t process = m->processes[i].process, job = m->processes[i].job;
        m->processes[i--] = m->processes[--m->n_processes];
        if (job && is_orderly(process, (manta_status)status)) job_succeeded(job);
        process_ended(process, why);
    }
}

/* ---- every second, or less often while all is well ---- */

/* Whether the control store still counts this node among the living; says nothing when it cannot be asked. */
static bool look_at_own_row(members *m)
{
    manta_writer w;
    gcs_reply reply;
    gcs_node_row row = {0};
    manta_writer_init_growing(&w);
    gcs_write_node_get(&w, NULL, &(gcs_node_get){the_node.process});
    if (control_call("a node's pulse", true, &w, PULSE_MS, &reply)) return false;
    m->reached_ns = manta_now_ns();
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_node_row(&r, &row);
    if (!r.status && row.state == GCS_NODE_STATE_DEAD) fence(m, "it was declared dead");
    return true;
}

MANTA_METHOD_DEFINE(MantaMembers, pulse, void)
{
    members *m = self->m;
    bool is_calm = true;
    if (m->is_fenced) return;
    for (uint32_t i = 0; i < m->n_others; i++) {
        if (m->others[i].raylet.id) continue;
        is_calm = false;
        miss(&m->others[i]);
    }
    is_calm = look_at_own_row(m) && is_calm;
    gcs_refresh();
    if (manta_now_ns() - m->reached_ns > m->fence_ns) fence(m, "no majority of the control store's servers can be reached");
    uint64_t calm_ms = m->fence_ns / OS_NS_PER_MS / 4;
    if (calm_ms > CALM_MS) calm_ms = CALM_MS;
    (void)MantaMembers_pulse_after(is_calm && calm_ms > PULSE_MS ? calm_ms : PULSE_MS, me());
}

/* ---- start and stop ---- */

MANTA_METHOD_DEFINE(MantaMembers, init, void)
{
    members *m = base_calloc(1, sizeof *m);
    if (!(self->m = m)) {
        manta_fail(MANTA_ENOMEM, "no memory for the members of a cluster");
        return;
    }
    m->raylet = starting_raylet;
    m->fence_ns = (uint64_t)(starting->fence_ms ? starting->fence_ms : FENCE_MS) * OS_NS_PER_MS;
    m->reached_ns = manta_now_ns();
}

static void let_go(void *self) { base_free(((MantaMembers *)self)->m); }
MANTA_CLASS_WITH(MantaMembers, (.concurrency = 256, .on_free = let_go), init, changed, on_down, reach, pulse, watch)

static manta_status join(const membership_options *o)
{
    manta_writer w;
    gcs_reply reply;
    char host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    gcs_node_join row = {.id = the_node.process,
        .epoch = 1,
        .address = manta_str_of(manta_listen_address(0)),
        .host = manta_str_of(host),
        .pid = os_process_id(),
        .cores = (uint64_t)o->cores * 10000};
    manta_writer_init_growing(&w);
    gcs_write_node_join(&w, NULL, &row);
    return control_call("joining the cluster", false, &w, CLUSTER_TIMEOUT_MS, &reply);
}

static manta_status know_servers(const char *address)
{
    manta_process p;
    manta_actor gcs;
    manta_status status;
    uint64_t end = manta_now_ns() + (uint64_t)CLUSTER_TIMEOUT_MS * OS_NS_PER_MS;
    do { /* it may be starting too */
        status = process_at(address, CLUSTER_TIMEOUT_MS, &p);
        if (!status) status = manta_lookup_in(p, "manta.gcs", &gcs);
    } while ((status == MANTA_ENOTFOUND || status == MANTA_EUNKNOWN) && manta_now_ns() < end && manta_sleep(STARTING_MS) == MANTA_OK);
    if (!status) gcs_know(gcs);
    return status;
}

static manta_status start_restarter(manta_actor raylet, manta_actor gcs)
{
    MantaNodeInfo info;
    manta_status status = manta_get(MantaRaylet_describe(MantaRaylet_ref_of(raylet)), &info);
    return status ? status : restarter_start(info.leases, gcs);
}

manta_status membership_start(const membership_options *o, manta_actor raylet)
{
    manta_actor own;
    char servers[8];
    gcs_options g = {.directory = o->directory, .address = manta_listen_address(0), .found = !o->address, .voters = o->voters};
    manta_status status = gcs_start(&g, &own);
    if (!status && o->address) status = know_servers(o->address);
    if (!status) gcs_know(own); /* this one is asked when nobody else is known: it may be a server one day */
    if (!status) status = join(o);
    if (status && !o->address && !gcs_servers(servers, sizeof servers))
        status = error_set(status, "the server in %s knows no other one: the address of a node of its cluster is needed", o->directory);
    if (status) return status;
    starting = o;
    starting_raylet = raylet;
    store_seq(&members_id, MantaMembers_spawn().actor.id);
    if (!load_seq(&members_id)) return manta_last_error()->status;
    status = gcs_watch_start(GCS_TABLE_NODE, NULL, 0, tell_change, NULL, (manta_actor){0});
    if (!status) status = gcs_watch_start(GCS_TABLE_JOB, NULL, 0, tell_job, NULL, (manta_actor){0});
    if (!status) status = MantaMembers_pulse_send(the_members());
    if (!status) status = start_restarter(raylet, own);
    return status;
}

void membership_watch(manta_actor of_process, const membership_process *what)
{
    if (load_seq(&members_id)) (void)MantaMembers_watch_send(the_members(), of_process, manta_str_of(what->role), what->pid, what->job);
}

manta_status membership_drain(const char *why)
{
    manta_writer w;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    gcs_write_node_drain(&w, NULL, &(gcs_node_drain){the_node.process, 1, manta_str_of(why)});
    return control_call("leaving the cluster", false, &w, GCS_TIMEOUT_MS, &reply);
}

void membership_leave(void)
{
    manta_writer w;
    gcs_reply reply;
    if (!atomic_exchange_explicit(&members_id, 0, memory_order_seq_cst)) return;
    manta_writer_init_growing(&w);
    gcs_write_node_dead(&w, NULL, &(gcs_node_dead){the_node.process, 1, manta_str_of("stopped")});
    (void)control_call("leaving the cluster", false, &w, LEAVE_MS, &reply);
}
