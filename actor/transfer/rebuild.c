/*
 * Replicas whose sources are gone.
 *
 *   named process gone --> who told us --> the owner, by root --> drifts: named by nobody --needed--> a copy elsewhere? --> made again (actor/node/lineage.h), or lost
 *
 * One that nobody needs stays adrift and costs nothing. The owner's own replica goes the same way, so all who need a lost object meet at its owner, and the task runs once. All of this is the transfer thread's, but for
 * import_drift.
 */
#include "actor/node/lineage.h"
#include "actor/transfer/internal.h"

typedef struct rebuilding {
    rebuild asked; /* first */
    job job;
    uint64_t number;
    manta_error *error;
} rebuilding;

void import_drift(import *i)
{
    if (i->name.process && i->name.process != the_node.process) i->lost_with = i->name.process;
    i->name.process = 0;
    i->via = 0;
    i->is_held = true;
}

/* Under the lock. */
static bool ask_owner(import *i)
{
    uint64_t owner = i->name.owner;
    if (!owner || owner == the_node.process || i->asked_owner || !peer_get(owner, false)) return false;
    if (i->name.process != owner) i->lost_with = i->name.process;
    i->asked_owner = true;
    i->name.process = owner;
    i->name.at = i->name.root;
    i->is_held = false;
    return import_ask(i, i->name.root, HOLD_ANSWER);
}

enum { OTHERS = 64 };

static void find_others(import *i)
{
    size_t cursor = 0;
    if (!(i->others = base_alloc(OTHERS * sizeof *i->others))) return;
    pthread_mutex_lock(&the_node.lock);
    for (peer *p; i->n_others < OTHERS && (p = id_table_next(&the_node.peers, &cursor, NULL));)
        if (__atomic_load_n(&p->has_hello, __ATOMIC_ACQUIRE) && p->process != i->lost_with) i->others[i->n_others++] = p->process;
    pthread_mutex_unlock(&the_node.lock);
}

/* Under the lock: some process that is known here may have a copy. Each is asked once. */
static bool ask_others(import *i)
{
    if (!i->others) find_others(i);
    while (i->n_others) {
        i->name.process = i->others[--i->n_others];
        i->name.at = i->name.root;
        i->is_held = false;
        if (import_ask(i, i->name.root, HOLD_ANSWER | HOLD_COMPLETE)) return true;
    }
    return false;
}

bool import_recover(worker *w, import *i)
{
    flight_link *landed = NULL;
    if (!lineage_is_on() || i->rebuilds) return false;
    pull_drop(w, i);
    imports_enter();
    import_tell(i, WIRE_RELEASE);
    bool asked = ask_owner(i), is_needed = i->state == IMPORT_NEEDED;
    if (!asked) {
        import_drift(i);
        landed = import_flights(i);
    }
    imports_leave();
    flights_land(landed);
    if (!asked && is_needed) (void)import_rebuild(w, i);
    return true;
}

static rebuilding *rebuilding_new(worker *w, const import *i)
{
    rebuilding *r = base_calloc(1, sizeof *r);
    if (!r) return NULL;
    r->asked = (rebuild){.root = i->name.root,
        .local = i->local,
        .owner = i->name.owner,
        .lost_with = i->lost_with,
        .owner_refused = i->owner_refused,
        .since_ns = os_monotonic_ns()};
    r->number = i->number;
    r->job = (job){.kind = JOB_REBUILT, .owner = r};
    if (the_objects->count(w, i->local, 1, false) == MANTA_OK) return r;
    base_free(r);
    return NULL;
}

bool import_rebuild(worker *w, import *i)
{
    if (i->name.process) return false;
    imports_enter();
    bool asked = !i->rebuilds && (ask_owner(i) || ask_others(i));
    if (!asked) import_drift(i);
    imports_leave();
    rebuilding *r = asked || i->rebuilds ? NULL : rebuilding_new(w, i);
    if (!r) return true; /* without memory the sweep tries again */
    i->rebuilds = true;
    lineage_rebuild(w, &r->asked);
    return true;
}

void transfer_rebuilt(rebuild *asked, manta_error *error)
{
    rebuilding *r = (rebuilding *)(void *)asked;
    r->error = error;
    job_post(&r->job);
}

static bool redirect(import *i, uint64_t process, uint64_t owner)
{
    imports_enter();
    i->name.owner = owner;
    i->rebuilds = false;
    i->is_redirected = true;
    i->name.process = process;
    i->name.at = i->name.root;
    i->is_held = false;
    bool ok = import_ask(i, i->name.root, HOLD_ANSWER);
    if (!ok) import_drift(i);
    imports_leave();
    return ok;
}

void rebuild_is_done(worker *w, void *done)
{
    rebuilding *r = done;
    import *i = import_get(r->number);
    if (i && r->asked.redirect) (void)redirect(i, r->asked.redirect, r->asked.owner);
    else if (i && r->error) import_end(w, i, r->error);
    else if (i) import_complete(w, i, NULL);
    else error_free(r->error);
    (void)the_objects->count(w, r->asked.local, -1, false);
    base_free(r);
    serve_more(w);
}
