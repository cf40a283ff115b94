/*
 * Replicas: what stands here for objects of other processes.
 *
 * A record is found by its number (which the other process knows), by the replica's id here, and by the root of all copies. Until its bytes are here it holds one count of the replica; when that is the only
 * one left, nobody can need it, and the sweep gives it up. Afterwards the replica is counted by its users alone, and the record goes when the object is gone.
 *
 * Lock: imports.lock; inside it the_objects and peer_send may be called, never the other way round.
 */
#include "actor/node/lineage.h"
#include "actor/transfer/internal.h"

enum { IMPORTS_LIMIT = 1 << 20 };

static struct {
    pthread_mutex_t lock;
    id_table by_number, by_local, by_root;
    uint64_t last_number;
} imports = {.lock = PTHREAD_MUTEX_INITIALIZER};
_Atomic uint32_t imports_count;

void imports_enter(void) { pthread_mutex_lock(&imports.lock); }
void imports_leave(void) { pthread_mutex_unlock(&imports.lock); }

/* ---- the tables: under the lock ---- */

static import *find_local(manta_ref ref)
{
    import *i = id_table_get(&imports.by_local, ref_key(ref));
    return i && ref_is(i->local, ref) ? i : NULL;
}

static import *find_root(manta_ref root)
{
    import *i = id_table_get(&imports.by_root, ref_key(root));
    return i && ref_is(i->name.root, root) ? i : NULL;
}

static void import_free(import *i)
{
    base_free(i->others);
    base_free(i);
}

static void unlist(import *i)
{
    id_table_remove(&imports.by_number, i->number);
    if (find_local(i->local) == i) id_table_remove(&imports.by_local, ref_key(i->local));
    if (find_root(i->name.root) == i) id_table_remove(&imports.by_root, ref_key(i->name.root));
    store_relaxed(&imports_count, (uint32_t)imports.by_number.count);
}

static bool list(import *i)
{
    bool ok = imports.by_number.count < IMPORTS_LIMIT && id_table_put(&imports.by_number, i->number, i) &&
              id_table_put(&imports.by_local, ref_key(i->local), i) && id_table_put(&imports.by_root, ref_key(i->name.root), i);
    if (!ok) unlist(i);
    store_relaxed(&imports_count, (uint32_t)imports.by_number.count);
    if (imports.by_number.count == 1) sweep_wanted();
    return ok;
}

/* ---- taking a name ---- */

static bool wait_for_hold(import *i, peer *from, flight **f)
{
    if (i->is_held || !from) return true;
    flight_link *l = base_alloc(sizeof *l);
    if (!*f) *f = l ? flight_new(from, 0, 0) : NULL;
    if (!*f) {
        base_free(l);
        return false;
    }
    *l = (flight_link){i->flights, *f};
    i->flights = l;
    add_seq(&(*f)->pending, 1);
    return true;
}

bool import_ask(import *i, manta_ref id, hold_flags flags)
{
    wire_head h = {.kind = WIRE_HOLD, .call = i->number, .status = flags};
    peer *p = peer_get(i->name.process, !i->is_record);
    if (p) i->downs = load_seq(&p->downs);
    return p && peer_send(p, &h, &id, sizeof id, false) == MANTA_OK;
}

static void unmake(worker *w, import *i)
{
    unlist(i);
    (void)the_objects->count(w, i->local, -1, false);
    while (i->flights) { /* it was made for one arrival, which goes on */
        flight_link *l = i->flights;
        i->flights = l->next;
        flight_landed(l->flight);
        base_free(l);
    }
    base_free(i);
}

/* The owner keeps what it knows of how the object was made while somebody borrows it. */
static void tell_owner(const import *i, bool begins)
{
    uint64_t owner = i->name.owner;
    peer *p = owner && owner != the_node.process ? peer_get(owner, begins && !i->is_record) : NULL;
    wire_head h = {.kind = WIRE_BORROWED, .status = begins};
    if (p) (void)peer_send(p, &h, &i->name.root, sizeof i->name.root, false);
}

/* Its process is asked to hold it; one that cannot be asked is lost, or, when there is lineage, may be made again. */
static manta_status ask_first(import *i, manta_ref at)
{
    bool known = i->name.process != the_node.process && import_ask(i, at, i->via != 0 || i->is_record ? HOLD_ANSWER : HOLD_QUIET);
    if (known || (i->via && import_ask_via(i))) return MANTA_OK;
    if (!lineage_is_on()) return i->via ? MANTA_OK : MANTA_EUNKNOWN;
    import_drift(i);
    return MANTA_OK;
}

static manta_status make(worker *w, const object_name *name, peer *from, flight **f, import **out)
{
    import *i = base_calloc(1, sizeof *i);
    manta_status status = i ? the_objects->promise(&i->local) : MANTA_ENOMEM;
    if (status) {
        base_free(i);
        return status;
    }
    i->number = ++imports.last_number;
    i->name = *name;
    i->via = from && from->process != name->process ? from->process : 0;
    i->is_record = !from;
    i->is_held = from && !i->via;
    i->why = NEEDS;
    if (!list(i)) status = MANTA_ELIMIT;
    else if (!wait_for_hold(i, from, f)) status = MANTA_ENOMEM;
    else if (!(status = ask_first(i, name->at))) tell_owner(i, true);
    if (status) unmake(w, i);
    else *out = i;
    return status;
}

static manta_status take_locked(worker *w, const object_name *name, peer *from, flight **f, manta_ref *out)
{
    import *i = find_root(name->root);
    if (i && the_objects->count(w, i->local, 1, false) == MANTA_OK) {
        *out = i->local;
        if (wait_for_hold(i, from, f)) return MANTA_OK;
        (void)the_objects->count(w, i->local, -1, false);
        return MANTA_ENOMEM;
    }
    /* This process has let go of it, since who named it was cut off for a while, and does not know yet: it is asked, finds out, and has it made again. */
    bool may_ask = from && from->process != the_node.process;
    if (name->process == the_node.process && !may_ask && !lineage_may_make(name->root)) return MANTA_ESTALE;
    manta_status status = make(w, name, from, f, &i);
    if (status) return status;
    *out = i->local;
    return the_objects->count(w, i->local, 1, false);
}

manta_status import_take(worker *w, const object_name *name, peer *from, flight **f, manta_ref *out)
{
    const manta_ref *own = the_objects->knows(name->at) ? &name->at : the_objects->knows(name->root) ? &name->root : NULL;
    if (own && the_objects->count(w, *own, 1, false) == MANTA_OK) {
        *out = *own;
        return MANTA_OK;
    }
    pthread_mutex_lock(&imports.lock);
    manta_status status = take_locked(w, name, from, f, out);
    pthread_mutex_unlock(&imports.lock);
    return status ? error_set(
                        status, "a ref to an object of process %016llx: %s", (unsigned long long)name->process, manta_status_text(status))
                  : MANTA_OK;
}

/* For somebody who asks for an object that this process has not any more, but can have made again. */
manta_status import_revive(worker *w, manta_ref root, manta_ref *out)
{
    object_name name = {.process = the_node.process, .at = root, .root = root, .size = SIZE_UNKNOWN};
    if (!lineage_is_on() || !lineage_may_make(root)) return MANTA_ESTALE;
    return import_take(w, &name, NULL, NULL, out);
}

/* ---- questions ---- */

bool import_name(manta_ref here, object_name *out, import_state *out_state)
{
    if (!load_relaxed(&imports_count)) return false;
    pthread_mutex_lock(&imports.lock);
    const import *i = find_local(here);
    if (i) {
        *out = i->name;
        *out_state = i->state;
    }
    pthread_mutex_unlock(&imports.lock);
    return i != NULL;
}

manta_ref import_find_root(manta_ref root)
{
    pthread_mutex_lock(&imports.lock);
    const import *i = find_root(root);
    manta_ref here = i ? i->local : (manta_ref){{0, 0}};
    pthread_mutex_unlock(&imports.lock);
    return here;
}

manta_ref transfer_alias(manta_ref ref)
{
    if (the_objects->knows(ref)) return ref;
    manta_ref here = import_find_root(ref);
    return here.id[0] ? here : ref;
}

bool transfer_is_replica(manta_ref ref)
{
    object_name name;
    import_state state;
    return import_name(ref, &name, &state) && state != IMPORT_HERE;
}

void transfer_need_replica(manta_ref ref, need why)
{
    uint64_t number = 0;
    pthread_mutex_lock(&imports.lock);
    import *i = find_local(ref);
    if (i && i->state != IMPORT_HERE) {
        if (i->state == IMPORT_IDLE || why < i->why) number = i->number;
        i->state = IMPORT_NEEDED;
        if (why < i->why) i->why = why;
    }
    pthread_mutex_unlock(&imports.lock);
    if (number) job_post_need(number);
}

import *import_get(uint64_t number){pthread_mutex_lock(&imports.lock);
import *i = number ? id_table_get(&imports.by_number, number) : NULL;
pthread_mutex_unlock(&imports.lock);
return i;
}

import *import_of_root(manta_ref root){pthread_mutex_lock(&imports.lock);
import *i = find_root(root);
pthread_mutex_unlock(&imports.lock);
return i;
}

/* ---- how a record goes on: the transfer thread ---- */

void flights_land(flight_link *l)
{
    while (l) {
        flight_link *next = l->next;
        flight_landed(l->flight);
        base_free(l);
        l = next;
    }
}

flight_link *import_flights(import *i)
{
    flight_link *l = i->flights;
    i->flights = NULL;
    return l;
}

/* The named process may have let go of it while the name travelled, having a complete copy from us, or died: who told us still has it. */
bool import_ask_via(import *i)
{
    if (!i->via) return false;
    i->name.process = i->via;
    i->name.at = i->name.root;
    i->via = 0;
    return import_ask(i, i->name.root, HOLD_ANSWER);
}

bool import_held(worker *w, import *i, manta_status status)
{
    (void)w;
    flight_link *landed = NULL;
    pthread_mutex_lock(&imports.lock);
    bool asked = status && !i->is_held && import_ask_via(i), ok = !status || asked;
    if (!status) {
        i->is_held = true;
        landed = import_flights(i);
    }
    pthread_mutex_unlock(&imports.lock);
    flights_land(landed);
    return ok;
}

void import_tell(const import *i, uint8_t kind)
{
    peer *p = peer_get(i->name.process, false);
    wire_head h = {.kind = kind, .call = i->number};
    if (p) peer_say(p, &h, NULL, 0);
}

void import_complete(worker *w, import *i, flight *release)
{
    pthread_mutex_lock(&imports.lock);
    i->state = IMPORT_HERE;
    pthread_mutex_unlock(&imports.lock);
    (void)the_objects->count(w, i->local, -1, false);
    flight_landed(release);
}

static void forget(worker *w, import *i)
{
    pthread_mutex_lock(&imports.lock);
    unlist(i);
    flight_link *landed = import_flights(i);
    pthread_mutex_unlock(&imports.lock);
    flights_land(landed);
    pull_drop(w, i);
}

void import_end(worker *w, import *i, manta_error *error)
{
    forget(w, i);
    import_tell(i, WIRE_RELEASE);
    tell_owner(i, false);
    (void)the_objects->complete(w, i->local, NULL, 0, (object_refs){NULL, 0}, error);
    (void)the_objects->count(w, i->local, -1, false);
    import_free(i);
}

/* ---- all of them ---- */

bool transfer_has_of(uint64_t owner, manta_ref *out_root)
{
    size_t cursor = 0;
    pthread_mutex_lock(&imports.lock);
    import *i;
    while ((i = id_table_next(&imports.by_number, &cursor, NULL)) && i->name.owner != owner) continue;
    if (i) *out_root = i->name.root;
    pthread_mutex_unlock(&imports.lock);
    return i != NULL;
}

typedef struct some { /* numbers of records, gathered under the lock; the rest comes with the next round */
    uint64_t numbers[256];
    uint32_t count;
} some;

typedef bool (*import_test)(worker *w, const import *i, const void *context);

static void gather(worker *w, import_test is_meant, const void *context, some *out)
{
    size_t cursor = 0;
    out->count = 0;
    pthread_mutex_lock(&imports.lock);
    for (import *i; out->count < sizeof out->numbers / sizeof *out->numbers && (i = id_table_next(&imports.by_number, &cursor, NULL));)
        if (is_meant(w, i, context)) out->numbers[out->count++] = i->number;
    pthread_mutex_unlock(&imports.lock);
}

static bool is_of(worker *w, const import *i, const void *gone)
{
    const peer *p = gone;
    (void)w;
    return i->state != IMPORT_HERE && i->name.process == p->process && i->downs != p->downs_seen && !pull_is_running(i);
}

/* What is being pulled goes on with what sources there are: pull.c sees to it. */
void imports_peer_down(worker *w, peer *p)
{
    some s;
    manta_ref root;
    if (lineage_is_on() && transfer_has_of(p->process, &root)) lineage_orphaned(p->process);
    do {
        gather(w, is_of, p, &s);
        for (uint32_t k = 0; k < s.count; k++) {
            import *i = import_get(s.numbers[k]);
            if (!i || (!i->is_held && import_held(w, i, MANTA_EUNKNOWN)) || import_recover(w, i)) continue;
            import_end(w, i,
                error_new(MANTA_EOBJECTLOST, NULL, "object %016llx-%llu is lost with process %016llx: %s",
                    (unsigned long long)i->name.root.id[0], (unsigned long long)i->name.root.id[1], (unsigned long long)p->process,
                    p->reason));
        }
    } while (s.count);
}

/* No lock of the caller's: a replica of which the record has the only count can be counted again only by a lookup under the lock. */
static bool is_unused(worker *w, const import *i, const void *unused)
{
    (void)w, (void)unused;
    if (i->state == IMPORT_HERE) return the_objects->view(i->local, NULL, NULL) == MANTA_ESTALE;
    return i->is_held && !pull_is_running(i) && the_objects->is_last(i->local);
}

static void end_unused(worker *w, uint64_t number)
{
    pthread_mutex_lock(&imports.lock);
    import *i = id_table_get(&imports.by_number, number);
    bool unused = i && is_unused(w, i, NULL), here = i && i->state == IMPORT_HERE;
    if (unused) unlist(i);
    pthread_mutex_unlock(&imports.lock);
    if (!unused) return;
    pull_drop(w, i);
    import_tell(i, here ? WIRE_GONE : WIRE_RELEASE);
    tell_owner(i, false);
    if (!here) (void)the_objects->count(w, i->local, -1, false);
    import_free(i);
}

static bool is_waiting(worker *w, const import *i, const void *unused)
{
    (void)w, (void)unused;
    return i->state == IMPORT_NEEDED && i->is_held && !i->pull;
}

bool imports_sweep(worker *w)
{
    some s;
    do {
        gather(w, is_unused, NULL, &s);
        for (uint32_t k = 0; k < s.count; k++) end_unused(w, s.numbers[k]);
    } while (s.count);
    gather(w, is_waiting, NULL, &s);
    for (uint32_t k = 0; k < s.count; k++) pull_need(w, import_get(s.numbers[k]));
    return load_relaxed(&imports_count) > 0;
}

void imports_stop(worker *w)
{
    size_t cursor = 0;
    for (import *i; (i = id_table_next(&imports.by_number, &cursor, NULL));) {
        flights_land(import_flights(i));
        pull_drop(w, i);
        if (i->state != IMPORT_HERE) (void)the_objects->count(w, i->local, -1, false);
        import_free(i);
    }
    id_table_fini(&imports.by_number);
    id_table_fini(&imports.by_local);
    id_table_fini(&imports.by_root);
    store_relaxed(&imports_count, 0);
}
