/*
 * Refs on the wire. Inside a store [word, word]; else [process, id there, id of the first object, size, owner].
 *
 * A message that names objects is kept by its sender until TAKEN. Who gets a name asks the named process to hold the object; when that is the sender, the request is ahead of TAKEN on the same
 * link, and there is nothing to wait for. When it is a third process, TAKEN waits for the answer: a flight.
 */
#include "actor/node/lineage.h"
#include "actor/transfer/internal.h"

enum { NAME_FIELDS = 7, TEMPORARY_FIRST = 8 };

typedef struct scratch {
    struct scratch *next;
    _Alignas(16) unsigned char bytes[];
} scratch;

typedef struct arrival { /* of the message that this thread unpacks */
    peer *from;          /* NULL: none */
    bool is_record;      /* of lineage: its names may be long out of date */
    flight *flight;
    manta_ref *held; /* a count each, until the message's own are there */
    uint32_t count, room;
    scratch *scratch; /* where values are until the message has its own */
} arrival;
static _Thread_local arrival now;
static _Thread_local const manta_writer *record; /* that this thread packs */

/* ---- flights ---- */

flight *flight_new(peer *to, uint64_t borrow, uint64_t release)
{
    flight *f = base_alloc(sizeof *f);
    if (f) *f = (flight){1, to, borrow, release};
    return f;
}

void flight_landed(flight *f)
{
    if (!f || sub_seq(&f->pending, 1) != 1) return;
    wire_head h = {.kind = f->borrow ? WIRE_TAKEN : WIRE_RELEASE, .call = f->borrow ? f->borrow : f->release, .status = !f->borrow};
    if (h.call) peer_say(f->to, &h, NULL, 0);
    base_free(f);
}

/* ---- arrivals ---- */

void arrival_begin(peer *from) { now = (arrival){.from = from, .is_record = !from}; }

void arrival_end(worker *w, uint64_t borrow)
{
    arrival a = now;
    now = (arrival){0};
    for (uint32_t i = 0; i < a.count; i++) (void)the_objects->count(w, a.held[i], -1, false);
    base_free(a.held);
    for (scratch *s = a.scratch, *next; s; s = next) {
        next = s->next;
        base_free(s);
    }
    wire_head h = {.kind = WIRE_TAKEN, .call = borrow};
    if (a.flight) {
        a.flight->borrow = borrow;
        flight_landed(a.flight);
    } else if (borrow) peer_say(a.from, &h, NULL, 0);
}

void *arrival_alloc(size_t bytes)
{
    size_t room = (sizeof(scratch) + bytes + 31) & ~(size_t)15;
    scratch *s = now.from ? base_aligned_alloc(16, room) : NULL;
    if (!s) return NULL;
    memset(s, 0, room);
    s->next = now.scratch;
    now.scratch = s;
    return s->bytes;
}

static bool hold_meanwhile(manta_ref ref)
{
    if (now.count == now.room) {
        uint32_t room = now.room ? now.room * 2 : TEMPORARY_FIRST;
        manta_ref *held = base_realloc(now.held, room * sizeof *held);
        if (!held) return false;
        now.held = held;
        now.room = room;
    }
    now.held[now.count++] = ref;
    return true;
}

static void take_name(manta_reader *r, manta_ref *out)
{
    object_name n;
    uint64_t *words[NAME_FIELDS] = {&n.process, &n.at.id[0], &n.at.id[1], &n.root.id[0], &n.root.id[1], &n.size, &n.owner};
    manta_unpack_tuple(r, NAME_FIELDS, "a ref");
    for (int i = 0; i < NAME_FIELDS; i++) manta_unpack_uint64_t(r, words[i]);
    if (r->status) return;
    if ((!now.from && !now.is_record) || !n.process) {
        manta_reader_fail(r, MANTA_EDECODE, "a ref of this process's store");
        return;
    }
    worker *w = worker_self();
    if (import_take(w, &n, now.from, &now.flight, out)) manta_reader_fail(r, manta_last_error()->status, "a ref that can be kept");
    else if (!hold_meanwhile(*out)) {
        (void)the_objects->count(w, *out, -1, false);
        manta_reader_fail(r, MANTA_ENOMEM, "a ref that can be kept");
    }
}

void manta_unpack_manta_ref(manta_reader *r, manta_ref *v)
{
    *v = (manta_ref){{0, 0}};
    if (manta_reader_left(r) && *r->at == 0x90 + NAME_FIELDS) {
        take_name(r, v);
        return;
    }
    manta_unpack_fields(r, 2);
    manta_unpack_uint64_t(r, &v->id[0]);
    manta_unpack_uint64_t(r, &v->id[1]);
}

/* ---- names ---- */

/* A process without an address can only be reached by those that it connected to. */
static bool can_be_reached(uint64_t process)
{
    peer *p = peer_get(process, false);
    if (!p) return false;
    pthread_mutex_lock(&p->lock);
    bool ok = load_relaxed(&p->has_address) && p->state != PEER_DOWN;
    pthread_mutex_unlock(&p->lock);
    return ok;
}

uint64_t known_size(manta_ref ref)
{
    manta_object o;
    if (the_objects->may_wait(ref) || the_objects->view(ref, &o, NULL)) return SIZE_UNKNOWN;
    the_objects->unpin(worker_self(), ref);
    return o.size;
}

object_name name_for(peer *target, manta_ref ref)
{
    object_name n = {the_node.process, ref, ref, SIZE_UNKNOWN, 0}, origin;
    import_state state;
    if (!import_name(ref, &origin, &state)) {
        n.size = known_size(ref);
        n.owner = lineage_travels(ref, target) ? the_node.process : 0;
        return n;
    }
    if (lineage_travels(origin.root, target)) origin.owner = the_node.process;
    if (state != IMPORT_HERE && ((target && origin.process == target->process) || can_be_reached(origin.process))) return origin;
    n.root = origin.root;
    n.owner = origin.owner;
    n.size = state == IMPORT_HERE ? known_size(ref) : origin.size;
    return n;
}

manta_ref transfer_root(manta_ref ref)
{
    object_name n;
    import_state state;
    return import_name(ref, &n, &state) ? n.root : ref;
}

void transfer_pack_record(const manta_writer *w) { record = w; }

static void pack_words(manta_writer *w, manta_ref ref)
{
    manta_pack_array(w, 2);
    manta_pack_uint64_t(w, &ref.id[0]);
    manta_pack_uint64_t(w, &ref.id[1]);
}

void manta_pack_manta_ref(manta_writer *w, const manta_ref *v)
{
    bool for_record = w == record;
    peer *to = pack_target(w);
    manta_ref ref = (to || for_record) && v->id[0] ? transfer_here(*v) : *v;
    if ((!to && !for_record) || (to && __atomic_load_n(&to->shares_store, __ATOMIC_ACQUIRE)) || !ref.id[0]) {
        if (to && ref.id[0]) transfer_need(ref, NEED_ARGUMENT); /* the other one of this store cannot pull it */
        pack_words(w, ref);
        return;
    }
    object_name n = name_for(to, ref);
    const uint64_t *words[NAME_FIELDS] = {&n.process, &n.at.id[0], &n.at.id[1], &n.root.id[0], &n.root.id[1], &n.size, &n.owner};
    manta_pack_array(w, NAME_FIELDS);
    for (int i = 0; i < NAME_FIELDS; i++) manta_pack_uint64_t(w, words[i]);
    if (n.process != the_node.process) pack_note_process(n.process);
    if (n.owner && n.owner != the_node.process) pack_note_process(n.owner);
}
