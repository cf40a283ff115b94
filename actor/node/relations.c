/*
 * Links and monitors that reach into another process: noted on both sides, so that each side can tell its actors when the other is gone.
 */
#include <string.h>

#include "actor/node/node.h"

enum { RELATIONS_LIMIT = 1 << 20 };

/* Monitors are numbered by the watcher's process: two that watch each other may have equal numbers, so it matters who watches. */
static bool same(const relation_record *r, uint64_t here, uint64_t there, uint64_t monitor_id, bool is_watcher)
{
    return r->here == here && r->there == there && r->monitor == monitor_id && r->is_watcher == is_watcher;
}

static void remove_at(peer *p, uint32_t i) { p->relations[i] = p->relations[--p->n_relations]; }

static bool make_room(peer *p)
{
    if (p->n_relations < p->room_relations) return true;
    uint32_t room = p->room_relations ? p->room_relations * 2 : 16;
    if (room > RELATIONS_LIMIT) return false;
    relation_record *items = base_realloc(p->relations, room * sizeof *items);
    if (!items) return false;
    p->relations = items;
    p->room_relations = room;
    return true;
}

bool relation_note(peer *p, relation_record r)
{
    pthread_mutex_lock(&p->lock);
    bool known = false;
    for (uint32_t i = 0; i < p->n_relations && !known; i++) known = same(&p->relations[i], r.here, r.there, r.monitor, r.is_watcher);
    bool ok = known || make_room(p);
    if (ok && !known) p->relations[p->n_relations++] = r;
    pthread_mutex_unlock(&p->lock);
    return ok;
}

void relation_forget(peer *p, uint64_t here, uint64_t there, uint64_t monitor_id, bool is_watcher)
{
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; i < p->n_relations; i++)
        if (same(&p->relations[i], here, there, monitor_id, is_watcher)) {
            remove_at(p, i);
            break;
        }
    pthread_mutex_unlock(&p->lock);
}

bool relation_take(peer *p, uint64_t monitor_id, relation_record *out)
{
    bool found = false;
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; i < p->n_relations && !found; i++)
        if (p->relations[i].monitor == monitor_id && p->relations[i].is_watcher) {
            *out = p->relations[i];
            remove_at(p, i);
            found = true;
        }
    pthread_mutex_unlock(&p->lock);
    return found;
}

uint32_t relations_take(peer *p, relation_record **out)
{
    uint32_t n = p->n_relations;
    *out = p->relations;
    p->relations = NULL;
    p->n_relations = p->room_relations = 0;
    return n;
}

void relations_end(worker *w, relation_record *items, uint32_t n, const char *reason)
{
    for (uint32_t i = 0; i < n; i++) {
        const relation_record *r = &items[i];
        if (!r->monitor) relation_signal(w, KIND_EXIT, r->here, r->there, 0, NULL, MANTA_EDEAD, reason);
        else if (r->is_watcher) relation_signal(w, KIND_DOWN, r->here, r->there, r->monitor, r->method, MANTA_EDEAD, reason);
    }
    base_free(items);
}
