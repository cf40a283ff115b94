/*
 * Proxies: the handles of actors elsewhere, and how handles travel: on the wire an actor is [process, id there].
 *
 * A proxy's record is written before its handle is given away and changes only when its process goes down: then the generation moves on, so readers check it before and after.
 */
#include <string.h>

#include "actor/node/moving.h"

enum { PROXY_LIMIT = 1 << 22, PEERS_LIMIT = 16384, FORGET_S = 60 };

typedef struct record {
    _Atomic uint32_t generation; /* odd: in use */
    uint32_t next_free;          /* + 1 */
    _Atomic uint64_t process, id;
    _Atomic(peer *) peer;
} record;

static record *records;
static uint32_t n_records, free_head; /* under the_node.lock */
static id_table by_place; /* hash of {process, id}: the first record of a chain is enough, since a mixed id rarely meets another */

bool proxies_start(void)
{
    records = os_map(PROXY_LIMIT * sizeof *records, OS_MAP_NORESERVE);
    return records != NULL;
}

void proxies_stop(void)
{
    if (records) os_unmap(records, PROXY_LIMIT * sizeof *records);
    records = NULL;
    n_records = free_head = 0;
    id_table_fini(&by_place);
}

static uint64_t place_key(uint64_t process, uint64_t id)
{
    uint64_t x = (process ^ id * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    x ^= x >> 29;
    return x ? x : 1;
}

static uint64_t handle_of(const record *r)
{
    return (uint64_t)(r - records) | REMOTE_BIT | (uint64_t)load_relaxed(&((record *)r)->generation) << 32;
}

static bool is_forgettable(const peer *p, uint64_t now)
{
    return p->state == PEER_DOWN && now - p->down_ns > FORGET_S * (uint64_t)OS_NS_PER_S && !p->calls.count && !p->serving.count &&
           !p->borrowed.count && !p->n_relations && !p->first && !p->senders && !load_relaxed(&p->under_way);
}

/* Under the lock, when there are too many: the record of one that has long been down and that nothing leads to any more. */
static peer *peer_recycle(void)
{
    size_t cursor = 0;
    uint64_t now = os_monotonic_ns();
    for (peer *p; (p = id_table_next(&the_node.peers, &cursor, NULL));) {
        pthread_mutex_lock(&p->lock);
        bool ok = is_forgettable(p, now);
        if (ok) {
            id_table_fini(&p->introduced);
            p->address[0] = p->reason[0] = 0;
            p->has_hello = p->shares_store = false;
            p->sent = p->next_borrow = 0;
            store_relaxed(&p->received, 0);
        }
        pthread_mutex_unlock(&p->lock);
        if (ok) return id_table_remove(&the_node.peers, p->process);
    }
    return NULL;
}

static peer *peer_new(void)
{
    peer *p = the_node.peers.count < PEERS_LIMIT ? base_calloc(1, sizeof *p) : peer_recycle();
    if (p && !p->process) pthread_mutex_init(&p->lock, NULL);
    return p;
}

/* Under the lock: the peer, made on demand. */
static peer *peer_get_locked(uint64_t process, bool make)
{
    peer *p = id_table_get(&the_node.peers, process);
    if (p || !make || !process) return p;
    if (!(p = peer_new())) return NULL;
    p->process = process;
    p->state = PEER_CONNECTING;
    if (id_table_put(&the_node.peers, process, p)) return p;
    pthread_mutex_destroy(&p->lock);
    base_free(p);
    return NULL;
}

peer *peer_get(uint64_t process, bool make)
{
    pthread_mutex_lock(&the_node.lock);
    peer *p = peer_get_locked(process, make);
    pthread_mutex_unlock(&the_node.lock);
    return p;
}

static record *take_record(void)
{
    if (!free_head) return n_records < PROXY_LIMIT ? &records[n_records++] : NULL;
    record *r = &records[free_head - 1];
    free_head = r->next_free;
    return r;
}

static uint64_t make_proxy(uint64_t process, uint64_t id, uint64_t key)
{
    bool moves = process_is_moving(process);
    peer *p = moves ? NULL : peer_get_locked(process, true);
    record *r = p || moves ? take_record() : NULL;
    if (!r) return 0;
    store_relaxed(&r->process, process);
    store_relaxed(&r->id, id);
    store_relaxed(&r->peer, p);
    if (!id_table_put(&by_place, key, r)) {
        r->next_free = free_head;
        free_head = (uint32_t)(r - records) + 1;
        return 0;
    }
    store_release(&r->generation, load_relaxed(&r->generation) + 1);
    return handle_of(r);
}

uint64_t proxy_of(uint64_t process, uint64_t id)
{
    if (process == the_node.process || process == 0) return id ? id : the_node.service;
    if (!the_node.is_on) return 0;
    if (process_is_moving(process)) id = 0;
    uint64_t key = place_key(process, id);
    pthread_mutex_lock(&the_node.lock);
    record *r = id_table_get(&by_place, key);
    uint64_t handle = 0;
    if (r && load_relaxed(&r->process) == process && load_relaxed(&r->id) == id) handle = handle_of(r);
    else handle = make_proxy(process, id, key);
    pthread_mutex_unlock(&the_node.lock);
    return handle;
}

bool proxy_get(uint64_t handle, proxy *out)
{
    uint32_t index = (uint32_t)handle & ~REMOTE_BIT;
    if (!is_remote(handle) || !records || index >= PROXY_LIMIT) return false;
    record *r = &records[index];
    if (load_acquire(&r->generation) != (uint32_t)(handle >> 32)) return false;
    *out = (proxy){load_relaxed(&r->process), load_relaxed(&r->id), load_relaxed(&r->peer)};
    atomic_thread_fence(memory_order_acquire);
    return load_relaxed(&r->generation) == (uint32_t)(handle >> 32);
}

void proxies_retire(uint64_t process)
{
    pthread_mutex_lock(&the_node.lock);
    for (uint32_t i = 0; i < n_records; i++) {
        record *r = &records[i];
        if (!(load_relaxed(&r->generation) & 1) || load_relaxed(&r->process) != process) continue;
        uint64_t key = place_key(process, load_relaxed(&r->id));
        if (id_table_get(&by_place, key) == r) id_table_remove(&by_place, key);
        store_release(&r->generation, load_relaxed(&r->generation) + 1);
        r->next_free = free_head;
        free_head = i + 1;
    }
    pthread_mutex_unlock(&the_node.lock);
}

/* ---- on the wire ---- */

void manta_pack_manta_actor(manta_writer *w, const manta_actor *v)
{
    proxy p = {v->id ? the_node.process : 0, v->id, NULL};                                          /* none is none everywhere */
    if (is_remote(v->id) && !proxy_get(v->id, &p)) p = (proxy){the_node.process, UINT64_MAX, NULL}; /* stale: dead for everybody */
    manta_pack_array(w, 2);
    manta_pack_uint64_t(w, &p.process);
    manta_pack_uint64_t(w, &p.id);
    if (p.peer) pack_note_process(p.process);
}

void manta_unpack_manta_actor(manta_reader *r, manta_actor *v)
{
    uint64_t process = 0, id = 0;
    manta_unpack_fields(r, 2);
    manta_unpack_uint64_t(r, &process);
    manta_unpack_uint64_t(r, &id);
    v->id = 0;
    if (r->status || (!process && !id)) return;
    v->id = id == 0 && process == the_node.process ? 0 : proxy_of(process, id);
    if (is_remote(id)) v->id = 0; /* an id of the sender's own table means nothing here */
}

manta_process manta_process_of(manta_actor who)
{
    proxy p;
    if (!who.id) return (manta_process){0};
    if (!is_remote(who.id)) return (manta_process){the_node.process};
    if (!proxy_get(who.id, &p)) return (manta_process){0};
    return (manta_process){process_is_moving(p.process) ? moving_place(p.process) : p.process};
}
