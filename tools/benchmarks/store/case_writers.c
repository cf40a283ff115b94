/*
 * One and two writer processes: each puts objects of one size into the same room and releases its oldest, for a fixed time. Both processes open all targets once, and are told
 * what to do next; the yardstick is memcpy in as many processes, each in memory of its own.
 */
#include "tools/benchmarks/store/crew.h"

enum { RUN_MS = 150, RING_MOST = 4096, RING_LEAST = 4 };
#define RING_BYTES (128 * MIB)
static const uint64_t sizes[] = {64 * KIB, MIB, 16 * MIB};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- a writer ---- */

typedef struct ring {
    handle objects[RING_MOST];
    uint64_t count, made, released;
} ring;

static uint64_t ring_count(const settings *s, uint64_t size)
{
    uint64_t bytes = s->memory / 8 < RING_BYTES ? s->memory / 8 : RING_BYTES, n = bytes / size;
    return n < RING_LEAST ? RING_LEAST : n > RING_MOST ? RING_MOST : n;
}

static outcome put_next(const target *t, ring *r, const void *source, uint64_t size)
{
    outcome o = DONE;
    if (r->made - r->released == r->count) o = t->release(r->objects[r->released++ % r->count]);
    if (!o) o = t->put(source, size, &r->objects[r->made % r->count]);
    if (!o) r->made++;
    return o;
}

static outcome drain(const target *t, ring *r)
{
    outcome o = DONE;
    while (!o && r->released < r->made) o = t->release(r->objects[r->released++ % r->count]);
    return o;
}

static void start_together(crew *c)
{
    add_seq(&c->running, 1);
    for (uint64_t end = os_monotonic_ns() + OS_NS_PER_S; load_seq(&c->running) < (uint32_t)c->writers && os_monotonic_ns() < end;)
        spin_pause();
}

/* One ring without the clock first: the peers' page tables and the store's own lists are then as they will stay. */
static outcome write_objects(crew *c, const settings *s, const target *t, ring *r, const void *source, int me)
{
    outcome o = DONE;
    *r = (ring){.count = ring_count(s, c->size)};
    if (t->rewind) t->rewind(r->count * c->size);
    while (!o && r->made < r->count) o = put_next(t, r, source, c->size);
    start_together(c);
    uint64_t before = r->made, start = os_monotonic_ns(), end = start + RUN_MS * OS_NS_PER_MS;
    while (!o && os_monotonic_ns() < end) o = put_next(t, r, source, c->size);
    c->ns[me] = os_monotonic_ns() - start;
    c->bytes[me] = (r->made - before) * c->size;
    return o ? o : drain(t, r);
}

static bool obey(crew *c, const settings *s, const target_list *list, const void *source, int me)
{
    static ring r;
    while (crew_wait(&c->go[me], "a writer") && !c->quit) {
        const target *t = list->item[c->target];
        outcome o = write_objects(c, s, t, &r, source, me);
        if (o) return complain("%s: a writer of %" PRIu64 " bytes %s", t->name, c->size, o == FULL ? "finds no room" : "failed");
        sem_post(&c->ready[me]);
    }
    return c->quit;
}

static bool writer(crew *c, const settings *s, int me)
{
    target_list list = targets_named(s->targets);
    void *source = source_new(sizes[SIZES - 1]);
    if (!source || !crew_wait(&c->go[me], "a writer") || !targets_open(&list, s, me == 0)) return false;
    sem_post(&c->ready[me]);
    bool fine = obey(c, s, &list, source, me);
    targets_close(&list);
    return fine;
}

/* ---- the one who tells them ---- */

static bool run(crew *c, const char *name, int round)
{
    uint64_t bytes = 0, ns = 1;
    store_seq(&c->running, 0);
    for (int i = 0; i < c->writers; i++) sem_post(&c->go[i]);
    for (int i = 0; i < c->writers; i++) {
        if (!crew_wait(&c->ready[i], "a writer")) return false;
        bytes += c->bytes[i];
        if (c->ns[i] > ns) ns = c->ns[i];
    }
    if (round >= 0)
        printf("{\"case\":\"writers\",\"target\":\"%s\",\"writers\":%d,\"size\":%" PRIu64 ",\"round\":%d,\"gib_s\":%.4f}\n", name,
            c->writers, c->size, round, (double)bytes / (double)GIB / ((double)ns * 1e-9));
    fflush(stdout);
    return true;
}

static bool one_round(crew *c, const target_list *list, int round)
{
    for (int i = 0; i < SIZES; i++)
        for (c->target = 0; c->target < list->count; c->target++)
            for (c->writers = 1; c->writers <= CREW; c->writers++) {
                c->size = sizes[i];
                if (!run(c, list->item[c->target]->name, round)) return false;
            }
    return true;
}

static bool open_all(crew *c)
{
    for (int i = 0; i < CREW; i++) {
        sem_post(&c->go[i]);
        if (!crew_wait(&c->ready[i], "a writer that opens")) return false;
    }
    return true;
}

bool case_writers(const settings *s)
{
    target_list list = targets_named(s->targets);
    pid_t children[CREW];
    crew *c = crew_new();
    if (!c) return false;
    for (int i = 0; i < CREW; i++) children[i] = crew_start(c, s, i, writer);
    bool fine = open_all(c);
    for (int round = -1; round < s->rounds && fine; round++) fine = one_round(c, &list, round);
    c->quit = true;
    for (int i = 0; i < CREW; i++) {
        sem_post(&c->go[i]);
        if (!fine) crew_kill(children[i]);
        else fine = crew_end(children[i]);
    }
    crew_free(c);
    return fine;
}
