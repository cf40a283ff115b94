#include "actor/supervise/ward.h"

#include <pthread.h>

#include "scheduler/base/id_table.h"

enum { WARDS_LIMIT = 1 << 24 };

typedef struct ward {
    pool_timer timer; /* first: the timer is the ward */
    uint64_t child, supervisor;
    bool armed, ended; /* ended: while the timer fired */
} ward;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static id_table wards; /* by child */

static void fire(worker *w, pool_timer *t)
{
    ward *it = (ward *)(void *)t;
    (void)w;
    pthread_mutex_lock(&lock);
    bool ended = it->ended;
    uint64_t child = it->child;
    it->armed = false;
    pthread_mutex_unlock(&lock); /* from here on its exit may free it */
    if (ended) base_free(it);
    else (void)manta_kill((manta_actor){child});
}

bool ward_add(uint64_t child, uint64_t supervisor)
{
    ward *it = base_alloc(sizeof *it);
    if (!it) return false;
    *it = (ward){.timer = {.fire = fire}, .child = child, .supervisor = supervisor};
    pthread_mutex_lock(&lock);
    bool ok = wards.count < WARDS_LIMIT && id_table_put(&wards, child, it);
    pthread_mutex_unlock(&lock);
    if (!ok) base_free(it);
    return ok;
}

void ward_left(worker *w, uint64_t child, uint64_t who)
{
    pthread_mutex_lock(&lock);
    ward *it = id_table_get(&wards, child);
    if (it && it->supervisor == who && !it->armed) {
        it->armed = true;
        pool_timer_start(w, &it->timer, pool_now_ns() + WARD_GRACE_MS * (uint64_t)OS_NS_PER_MS);
    }
    pthread_mutex_unlock(&lock);
}

void ward_end(uint64_t child)
{
    pthread_mutex_lock(&lock);
    ward *it = id_table_remove(&wards, child);
    if (it && it->armed && !pool_timer_cancel(&it->timer)) {
        it->ended = true;
        it = NULL;
    }
    if (!wards.count) id_table_fini(&wards);
    pthread_mutex_unlock(&lock);
    base_free(it);
}
