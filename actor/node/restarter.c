#include "actor/node/restarter.h"

#include <stdio.h>
#include <string.h>

#include "actor/durable/alone.h"
#include "actor/node/control.h"
#include "actor/node/gcs_watch.h"
#include "actor/node/moving.h"
#include "actor/node/named.h"
#include "actor/node/owner.h"
#include "actor/node/service.h"

enum {
    LOST_LIMIT = 1 << 16,
    AT_A_TIME = 64,
    TICK_MS = 50,
    LIST_MS = 1000,
    LOOK_MS = 20,
    GRANT_MS = 60000,
    ASK_MS = 300,
    MAKE_MS = 30000,
    DELAY_MS = 100,
    DELAY_MAX_MS = 30000,
    CALM = 4 /* a restart is no series when the last one was longer ago than this many delays */
};

typedef struct lost_actor { /* a row that is RESTARTING, or was a while ago */
    struct lost_actor *next;
    uint64_t uid, last_ns, not_before_ns, delay_ms;
    uint64_t epoch, lease; /* the last one that its row was seen in; of the restart under way */
    bool is_lost, is_busy, lease_is_lost;
} lost_actor;

struct restarter {
    lost_actor *first;
    uint32_t count, busy;
    uint64_t listed_ns;
    bool is_listing;
    id_table by_uid, waiting; /* waiting: by request: a future */
    manta_actor leases, gcs;
};

static manta_actor the_restarter;

MANTA_METHOD_DECLARE(MantaRestarter, init, void, (manta_actor, leases), (manta_actor, gcs))
MANTA_METHOD_DECLARE(MantaRestarter, changed, void, (uint64_t, uid), (uint64_t, epoch), (bool, is_lost))
MANTA_METHOD_DECLARE(MantaRestarter, restart, void, (uint64_t, uid))
MANTA_METHOD_DECLARE(MantaRestarter, tick, void)

static MantaRestarter_ref me(void) { return MantaRestarter_ref_of(the_restarter); }

/* ---- what is lost ---- */

static void on_row(void *context, const gcs_event *e)
{
    gcs_actor_row row = {0};
    manta_reader r;
    (void)context;
    if (!e || e->key.size != 8) return;
    manta_reader_init(&r, e->value.data, e->value.size);
    if (!e->is_gone) gcs_read_actor_row(&r, &row);
    bool is_lost = !e->is_gone && !r.status && row.state == GCS_ACTOR_STATE_RESTARTING;
    (void)MantaRestarter_changed_send(me(), manta_load_be64(e->key.data), row.epoch, is_lost);
}

static lost_actor *note(struct restarter *r, uint64_t uid)
{
    lost_actor *x = id_table_get(&r->by_uid, uid);
    if (x) return x;
    if (r->count == LOST_LIMIT || !(x = base_calloc(1, sizeof *x))) return NULL;
    x->uid = uid;
    if (!id_table_put(&r->by_uid, uid, x)) return base_free(x), NULL;
    x->next = r->first;
    r->first = x;
    r->count++;
    return x;
}

static void begin(struct restarter *r, lost_actor *x)
{
    if (!x->is_lost || x->is_busy || r->busy == AT_A_TIME || manta_now_ns() < x->not_before_ns) return;
    x->is_busy = true;
    r->busy++;
    (void)MantaRestarter_restart_send(me(), x->uid);
}

MANTA_METHOD_DEFINE(MantaRestarter, changed, void, (uint64_t, uid), (uint64_t, epoch), (bool, is_lost))
{
    lost_actor *x = is_lost ? note(self->r, uid) : id_table_get(&self->r->by_uid, uid);
    if (is_lost && !x) runtime_report("more than %d actors wait to be started again, or no memory", LOST_LIMIT);
    if (!x) return;
    x->is_lost = is_lost;
    x->epoch = epoch;
    begin(self->r, x);
}

static bool leads(const struct restarter *r)
{
    MantaGcsPlace place = {0};
    return manta_get_timeout(MantaGcs_place(MantaGcs_ref_of(r->gcs)), &place, GCS_TIMEOUT_MS) == MANTA_OK && place.leads;
}

/* The rows themselves, now and then: a watch may be served by a server that is behind. */
static void list_lost(struct restarter *r)
{
    manta_writer w;
    gcs_reply reply;
    gcs_page page;
    uint32_t n = 0;
    static const unsigned char prefix[] = {MOVING_TAG};
    if (!leads(r)) return;
    manta_writer_init_growing(&w);
    gcs_write_list(&w, NULL,
        &(gcs_list){.table = GCS_TABLE_ACTOR, .prefix = {prefix, sizeof prefix}, .state = GCS_ACTOR_STATE_RESTARTING, .brief = true});
    if (control_call("actors to be started again", true, &w, GCS_TIMEOUT_MS, &reply)) return;
    manta_reader in = gcs_reply_reader(&reply), rows;
    gcs_read_page(&in, &page);
    if (in.status) return;
    manta_reader_init(&rows, page.rows.data, page.rows.size);
    manta_unpack_array(&rows, &n);
    for (uint32_t i = 0; i < n && !rows.status; i++) {
        gcs_actor_row row = {0};
        gcs_read_actor_row(&rows, &row);
        lost_actor *x = rows.status ? NULL : note(r, row.uid);
        if (x && !x->is_busy) x->is_lost = true;
    }
}

/* Those whose delay is over, or that another restarter has left undone; and what has long been well is forgotten. */
MANTA_METHOD_DEFINE(MantaRestarter, tick, void)
{
    struct restarter *r = self->r;
    uint64_t now = manta_now_ns();
    if (!r->is_listing && now - r->listed_ns > LIST_MS * OS_NS_PER_MS) {
        r->is_listing = true;
        list_lost(r);
        r->listed_ns = now = manta_now_ns();
        r->is_listing = false;
    }
    for (lost_actor **at = &r->first, *x; (x = *at);) {
        if (!x->is_lost && !x->is_busy && now - x->last_ns > 2 * (uint64_t)DELAY_MAX_MS * OS_NS_PER_MS) {
            *at = x->next;
            (void)id_table_remove(&r->by_uid, x->uid);
            base_free(x);
            r->count--;
            continue;
        }
        begin(r, x);
        at = &x->next;
    }
}

/* ---- a lease ---- */

static future *take_waiting(struct restarter *r, uint64_t request) { return id_table_remove(&r->waiting, request); }

MANTA_METHOD_DEFINE(MantaRestarter, granted, void, (MantaGrant, grant))
{
    future *f = take_waiting(self->r, grant.id);
    manta_layout layout = {.size = sizeof grant.process};
    if (f) future_complete(worker_self(), f, &layout, &grant.process, 0);
    else (void)MantaLeases_release_send(MantaLeases_ref_of(grant.leases), grant.id, false);
}

MANTA_METHOD_DEFINE(MantaRestarter, refused, void, (uint64_t, request), (int32_t, status), (manta_str, text))
{
    future *f = take_waiting(self->r, request);
    if (f) future_fail_status(worker_self(), f, (manta_status)status, "%.*s", (int)text.size, text.size ? text.data : "");
    for (lost_actor *x = self->r->first; x && !f; x = x->next)
        if (x->is_busy && x->lease == request) x->lease_is_lost = true; /* its worker has died */
}

static manta_status lease(struct restarter *r, const MantaRevival *v, uint64_t *out_lease, manta_actor *out_process)
{
    uint64_t id = os_random_u64() >> 1 | 1;
    future *f = future_new(worker_self());
    if (!f || !id_table_put(&r->waiting, id, f)) return error_set(MANTA_ENOMEM, "no memory for a request");
    MantaRequest what = {.id = id,
        .owner = manta_self(),
        .job = v->job,
        .need = v->need,
        .labels = v->labels,
        .strategy = v->strategy,
        .node = v->node,
        .bundle = -1,
        .is_actor = true,
        .apart = v->apart | REQUEST_REVIVAL};
    manta_status status;
    uint64_t end = deadline_after_ms(GRANT_MS);
    do { /* again, when the node that had the request is gone; a node that has it does not take it twice */
        (void)MantaLeases_request_send(MantaLeases_ref_of(r->leases), what);
        status = event_await(f, deadline_after_ms(ASK_MS), "a lease");
    } while (status == MANTA_ETIMEDOUT && manta_now_ns() < end);
    if (status) {
        (void)take_waiting(r, id);
        (void)MantaLeases_release_send(MantaLeases_ref_of(r->leases), id, false);
        future_drop(worker_self(), f);
        return error_set(status, "no node has room for it now");
    }
    *out_lease = id;
    return future_take(f, out_process, sizeof *out_process);
}

/* ---- a restart ---- */

static manta_status read_row(uint64_t uid, gcs_actor_row *out)
{
    manta_writer w;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    gcs_write_actor_get(&w, NULL, &(gcs_actor_get){uid});
    manta_status status = control_call("an actor to be started again", true, &w, GCS_TIMEOUT_MS, &reply);
    if (status) return status;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_actor_row(&r, out);
    return r.status ? error_set(MANTA_EDECODE, "a malformed row") : MANTA_OK;
}

static manta_status read_spec(const gcs_actor_row *row, MantaRevival *out)
{
    manta_reader r;
    manta_reader_init(&r, row->spec.data, row->spec.size);
    manta_unpack_MantaRevival(&r, out);
    return r.status ? error_set(MANTA_EDECODE, "a malformed spec") : MANTA_OK;
}

/* Waits until it is made, or its row says so, or its worker has died, which the link to that would notice much later. */
static manta_status wait_until_made(lost_actor *x, manta_manta_actor_future f, uint64_t epoch)
{
    manta_actor made;
    uint64_t end = deadline_after_ms(MAKE_MS);
    manta_status status;
    do status = manta_get_timeout(f, &made, LOOK_MS);
    while (status == MANTA_ETIMEDOUT && x->epoch < epoch && !x->lease_is_lost && manta_now_ns() < end);
    if (status != MANTA_ETIMEDOUT) return status;
    (void)manta_future_release(f.future);
    if (x->epoch >= epoch) return MANTA_OK;
    return error_set(MANTA_EUNKNOWN, x->lease_is_lost ? "its worker died" : "its worker does not answer");
}

static manta_status revive(struct restarter *r, lost_actor *x, const gcs_actor_row *row, MantaRevival *v)
{
    manta_actor process = {0};
    manta_status status = lease(r, v, &x->lease, &process);
    if (status) return status;
    x->lease_is_lost = false;
    uint64_t id = x->lease;
    status = wait_until_made(x, service_revive(manta_process_of(process), v->spawn, row->uid, row->epoch + 1, id), row->epoch + 1);
    if (status) (void)MantaLeases_release_send(MantaLeases_ref_of(r->leases), id, false);
    return status;
}

static uint64_t jittered(uint64_t ms) { return ms / 2 + manta_random() % (ms / 2 + 1); }

/* When it may be tried again: at once after a calm time, else with a delay that doubles. */
static void set_delay(lost_actor *x, const MantaRevival *v, bool failed)
{
    uint64_t least = v->delay_ms ? v->delay_ms : DELAY_MS, most = v->delay_max_ms ? v->delay_max_ms : DELAY_MAX_MS, now = manta_now_ns();
    bool calm = !failed && (!x->last_ns || now - x->last_ns > CALM * (x->delay_ms ? x->delay_ms : least) * OS_NS_PER_MS);
    x->delay_ms = calm || !x->delay_ms ? least : x->delay_ms * 2 < most ? x->delay_ms * 2 : most;
    x->last_ns = now;
    x->not_before_ns = now + jittered(x->delay_ms) * OS_NS_PER_MS;
}

static void attempt(struct restarter *r, lost_actor *x)
{
    gcs_actor_row row = {0};
    MantaRevival v = {0};
    if (!leads(r) || read_row(x->uid, &row)) return;
    x->is_lost = row.state == GCS_ACTOR_STATE_RESTARTING;
    if (!x->is_lost) return;
    x->is_lost = false; /* until its row says otherwise */
    x->epoch = row.epoch;
    manta_status status = read_spec(&row, &v);
    if (!status) status = revive(r, x, &row, &v);
    x->is_lost |= status != MANTA_OK;
    set_delay(x, &v, status != MANTA_OK);
    if (!status) return;
    char why[300];
    snprintf(why, sizeof why, "it could not be started again: %.200s", manta_last_error()->message);
    runtime_report("actor %016llx (%.*s): %s", (unsigned long long)x->uid, (int)row.class_name.size, row.class_name.data, why);
}

MANTA_METHOD_DEFINE(MantaRestarter, restart, void, (uint64_t, uid))
{
    struct restarter *r = self->r;
    lost_actor *x = id_table_get(&r->by_uid, uid);
    if (!x) return;
    attempt(r, x);
    x->is_busy = false;
    r->busy--;
}

/* ---- start ---- */

MANTA_METHOD_DEFINE(MantaRestarter, init, void, (manta_actor, leases), (manta_actor, gcs))
{
    struct restarter *r = self->r = base_calloc(1, sizeof *r);
    if (!r) {
        manta_fail(MANTA_ENOMEM, "no memory for a restarter");
        return;
    }
    r->leases = leases;
    r->gcs = gcs;
    (void)MantaRestarter_tick_every(TICK_MS, MantaRestarter_ref_of(manta_self()));
}

static void on_free(void *self)
{
    struct restarter *r = ((MantaRestarter *)self)->r;
    if (!r) return;
    for (lost_actor *x = r->first, *next; x; x = next) {
        next = x->next;
        base_free(x);
    }
    id_table_fini(&r->by_uid);
    id_table_fini(&r->waiting);
    base_free(r);
}

MANTA_CLASS_WITH(MantaRestarter, (.concurrency = 2 * AT_A_TIME, .on_free = on_free), init, changed, restart, tick, granted, refused)

manta_status restarter_start(manta_actor leases, manta_actor gcs)
{
    static const unsigned char prefix[] = {MOVING_TAG};
    the_restarter = MantaRestarter_spawn(leases, gcs).actor;
    if (!the_restarter.id) return manta_last_error()->status;
    return gcs_watch_start(GCS_TABLE_ACTOR, prefix, sizeof prefix, on_row, NULL, (manta_actor){0});
}

/* ---- specs ---- */

/* The program of this process's job, which its worker processes do not know: their node does. */
static manta_status describe_job(MantaJob *out)
{
    if (the_job.hash) return *out = the_job, MANTA_OK;
    return manta_get(MantaRaylet_program(MantaRaylet_ref_of(job_raylet), the_job.id), out);
}

static uint32_t pick(uint32_t option, uint32_t of_class) { return option ? option : of_class; }

/* Of a program alone, where there is nothing to choose. */
static manta_status pack_alone(manta_writer *out, const manta_options *o, manta_class *cls, const void *arguments, const manta_str *name)
{
    manta_writer spawn;
    MantaRevival v = {0};
    manta_writer_init_growing(&spawn);
    service_pack_spawn(&spawn, o, cls, arguments, name);
    v.spawn = (manta_bytes){spawn.start, manta_writer_size(&spawn)};
    if (!spawn.status) manta_pack_MantaRevival(out, &v);
    manta_status status = spawn.status ? spawn.status : out->status;
    manta_writer_fini(&spawn);
    return status ? error_set(status, "%s_spawn: its arguments cannot be kept", cls->name) : MANTA_OK;
}

manta_status revival_pack(manta_writer *out, const manta_options *o, manta_class *cls, const void *arguments, const manta_str *name)
{
    manta_writer spawn;
    MantaRevival v = {0};
    if (load_relaxed(&alone_is_on)) return pack_alone(out, o, cls, arguments, name);
    bool has = o && options_have(o, restart_delay_max_ms);
    demand *d = demand_of_actor(o, cls);
    manta_status status = d ? describe_job(&v.job) : manta_last_error()->status;
    if (status) return status;
    manta_writer_init_growing(&spawn);
    service_pack_spawn(&spawn, o, cls, arguments, name);
    v.need = manta_str_of(d->need_text);
    v.labels = manta_str_of(d->labels);
    v.strategy = (int32_t)(d->strategy == MANTA_WHERE_HERE ? MANTA_WHERE_DEFAULT : d->strategy);
    v.node = d->node;
    v.apart = (d->is_detached ? REQUEST_DETACHED : 0) | (d->isolated ? REQUEST_ISOLATED : 0);
    v.delay_ms = pick(has ? o->restart_delay_ms : 0, cls->options.restart_delay_ms);
    v.delay_max_ms = pick(has ? o->restart_delay_max_ms : 0, cls->options.restart_delay_max_ms);
    v.spawn = (manta_bytes){spawn.start, manta_writer_size(&spawn)};
    if (d->is_detached) v.job.driver = (manta_actor){0}; /* which it outlives */
    status = spawn.status;
    if (!status) manta_pack_MantaRevival(out, &v);
    if (!status) status = out->status;
    manta_writer_fini(&spawn);
    return status ? error_set(status, "%s_spawn: its arguments cannot be kept", cls->name) : MANTA_OK;
}
