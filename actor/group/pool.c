/* Actor pools: a fixed list of actors and a way to choose. */
#include "actor/runtime/internal.h"

enum { POOL_LIMIT = 65536, QUEUE_LOOK = 1000 };

struct manta_pool {
    manta_pool_policy policy;
    size_t count;
    _Atomic uint64_t turn;
    manta_actor actors[];
};

manta_status manta_pool_new(const manta_actor *actors, size_t count, manta_pool_policy policy, manta_pool **out)
{
    if (!actors || count == 0 || count > POOL_LIMIT)
        return error_set(MANTA_EINVAL, "manta_pool_new: %zu actors, must be 1 to %d", count, POOL_LIMIT);
    if ((unsigned)policy > MANTA_POOL_LEAST_QUEUED) return error_set(MANTA_EINVAL, "manta_pool_new: policy %d", (int)policy);
    manta_pool *p = base_calloc(1, sizeof *p + count * sizeof *actors);
    if (!p) return error_set(MANTA_ENOMEM, "manta_pool_new: no memory");
    p->policy = policy;
    p->count = count;
    for (size_t i = 0; i < count; i++) p->actors[i] = actors[i];
    *out = p;
    return MANTA_OK;
}

static size_t queue_length(manta_actor who)
{
    actor *a = actor_slot(who.id);
    return actor_is(a, who.id) ? mailbox_count(&a->box, &a->end, QUEUE_LOOK) + !mailbox_is_at_rest(&a->box) : SIZE_MAX;
}

static size_t first_choice(manta_pool *p)
{
    if (p->policy == MANTA_POOL_ROUND_ROBIN) return add_relaxed(&p->turn, 1) % p->count;
    size_t a = manta_random() % p->count, b = manta_random() % p->count;
    if (p->policy == MANTA_POOL_RANDOM) return a;
    return queue_length(p->actors[b]) < queue_length(p->actors[a]) ? b : a;
}

manta_actor manta_pool_pick(manta_pool *p)
{
    size_t first = first_choice(p);
    for (size_t i = 0; i < p->count; i++) {
        manta_actor a = p->actors[(first + i) % p->count];
        if (manta_is_alive(a)) return a;
    }
    return (manta_actor){0};
}

manta_actor manta_pool_pick_key(manta_pool *p, uint64_t key)
{
    manta_actor best = {0};
    uint64_t best_weight = 0;
    for (size_t i = 0; i < p->count; i++) {
        uint64_t weight = rng_mix(key ^ rng_mix(i + 1));
        if ((!best.id || weight > best_weight) && manta_is_alive(p->actors[i])) {
            best = p->actors[i];
            best_weight = weight;
        }
    }
    return best;
}

manta_status manta_pool_stop(manta_pool *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (manta_stop(p->actors[i]) == MANTA_ENOMEM) return MANTA_ENOMEM;
    return MANTA_OK;
}

void manta_pool_free(manta_pool **p)
{
    if (!p) return;
    base_free(*p);
    *p = NULL;
}
