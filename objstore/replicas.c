/*
 * Which object of this store is, or becomes, the replica of an object of another one: a table in the control file, so that of the processes that need the same object one fetches it.
 *
 * Nothing refers to the table, so an entry is never wrong for long: one whose object is gone, or has come to nothing, is overwritten when it is in the way. A full set forgets one.
 */
#include "objstore/internal.h"

static replica *set_of(const store *s, store_id root)
{
    uint64_t x = (root.word[0] ^ root.word[1] * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    return s->replicas + (x >> 32) % REPLICA_SETS * REPLICA_WAYS;
}

/* With a reference for the caller; NULL: gone, or an error. */
static slot *retain(store *s, store_id id)
{
    slot *x = id.word[1] ? slot_of(s, id) : NULL;
    return x && !(flags_of(x) & SLOT_FAILED) && !local_retain(s, x, id.word[1]) ? x : NULL;
}

static bool is_used(store *s, const replica *r)
{
    const slot *x = r->id.word[1] ? slot_of(s, r->id) : NULL;
    return x && !(flags_of(x) & SLOT_FAILED);
}

static replica *place_for(store *s, replica *set, store_id root)
{
    for (int i = 0; i < REPLICA_WAYS; i++)
        if (!is_used(s, &set[i])) return &set[i];
    return &set[root.word[1] % REPLICA_WAYS];
}

static replica *find(replica *set, store_id root)
{
    for (int i = 0; i < REPLICA_WAYS; i++)
        if (set[i].id.word[1] && set[i].root.word[0] == root.word[0] && set[i].root.word[1] == root.word[1]) return &set[i];
    return NULL;
}

/* Whoever dies in between leaves an entry that says nothing. */
static void put(replica *r, store_id root, store_id mine)
{
    __atomic_store_n(&r->id.word[1], 0, __ATOMIC_SEQ_CST);
    r->root = root;
    r->id.word[0] = mine.word[0];
    __atomic_store_n(&r->id.word[1], mine.word[1], __ATOMIC_SEQ_CST);
}

manta_status store_share(store *s, store_id root, store_id mine, store_id *out_other)
{
    manta_status status = MANTA_OK;
    replica *set = set_of(s, root);
    (void)mutex_lock_robust(&s->control->replicating);
    replica *r = find(set, root);
    if (!r) put(place_for(s, set, root), root, mine);
    else if (r->id.word[1] == mine.word[1]) status = MANTA_OK;
    else if (retain(s, r->id)) {
        *out_other = r->id;
        status = MANTA_EEXIST;
    } else put(r, root, mine);
    pthread_mutex_unlock(&s->control->replicating);
    return status;
}
