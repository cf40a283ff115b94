/*
 * Churn: the room is 80 % full of objects of mixed sizes; one picked at random goes, a new one comes, until the bytes have been turned over so many times.
 *
 * Placing an object is create and seal, without the copy between them. A target whose free room is in pieces refuses an object; then another one goes, and that is counted.
 */
#include "tools/benchmarks/store/store_bench.h"

enum { OCCUPANCY = 80, MOST_OBJECTS = 200000, REFUSALS = 10000, YARDSTICK_TURNOVERS = 2, PEER_LIMIT_S = 3, LIMIT_S = 60 };

typedef struct mix {
    const char *name;
    uint64_t small_percent, small_low, small_high, large_low, large_high;
} mix;

typedef struct live_object {
    handle h;
    uint64_t size;
} live_object;

typedef struct churn {
    const settings *s;
    const mix *m;
    const target *t;
    const void *source;
    live_object *live;
    uint64_t count, live_bytes, goal, random, placed, refused, put_bytes, samples;
    uint32_t *place_ns, *whole_ns; /* of each object: create and seal; with what was refused before */
} churn;

static uint64_t pick_size(churn *c)
{
    if (random_next(&c->random) % 100 < c->m->small_percent) return random_between(&c->random, c->m->small_low, c->m->small_high);
    return random_between(&c->random, c->m->large_low, c->m->large_high);
}

static outcome release_some(churn *c)
{
    if (!c->count) return FULL;
    uint64_t i = random_next(&c->random) % c->count;
    live_object gone = c->live[i];
    c->live[i] = c->live[--c->count];
    c->live_bytes -= gone.size;
    return c->t->release(gone.h);
}

static uint32_t short_ns(uint64_t ns) { return ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns; }

static void note(churn *c, uint64_t place, uint64_t refused)
{
    if (c->samples >= MOST_OBJECTS) return;
    c->place_ns[c->samples] = short_ns(place);
    c->whole_ns[c->samples++] = short_ns(place + refused);
}

/* *out_ns: of create and seal. Both may find no room: LMDB writes its lists at the commit. */
static outcome attempt(churn *c, uint64_t size, handle *h, uint64_t *out_ns)
{
    void *data;
    uint64_t start = os_monotonic_ns();
    outcome o = c->t->create(size, h, &data);
    *out_ns = os_monotonic_ns() - start;
    if (o) return o;
    memcpy(data, c->source, size);
    start = os_monotonic_ns();
    o = c->t->seal(*h);
    *out_ns += os_monotonic_ns() - start;
    return o;
}

/* Refused attempts are timed apart; letting others go for them is not. */
static outcome place(churn *c, uint64_t size)
{
    handle h;
    uint64_t ns = 0, refused_ns = 0;
    outcome o = attempt(c, size, &h, &ns);
    for (int i = 0; o == FULL && i < REFUSALS; i++) {
        refused_ns += ns;
        c->refused++;
        if ((o = release_some(c))) return o;
        o = attempt(c, size, &h, &ns);
    }
    if (o) return o;
    note(c, ns, refused_ns);
    c->live[c->count++] = (live_object){h, size};
    c->live_bytes += size;
    c->put_bytes += size;
    c->placed++;
    return DONE;
}

static outcome fill(churn *c)
{
    outcome o = DONE;
    for (uint64_t size = pick_size(c); !o && c->live_bytes + size <= c->goal && c->count < MOST_OBJECTS; size = pick_size(c))
        o = place(c, size);
    c->placed = c->refused = c->put_bytes = c->samples = 0;
    return o;
}

static outcome turn_over(churn *c, uint64_t bytes, uint64_t limit_ns)
{
    outcome o = DONE;
    uint64_t end = os_monotonic_ns() + limit_ns;
    while (!o && c->put_bytes < bytes && os_monotonic_ns() < end) {
        uint64_t size = pick_size(c);
        while (!o && c->live_bytes + size > c->goal) o = release_some(c);
        if (!o) o = place(c, size);
    }
    return o;
}

static outcome empty(churn *c)
{
    outcome o = DONE;
    while (!o && c->count) o = release_some(c);
    return o;
}

/* ---- results ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t percentile(const uint32_t *sorted, uint64_t n, double part) { return n ? sorted[(uint64_t)((double)(n - 1) * part)] : 0; }

static void emit(churn *c, int round, uint64_t ns, usage before, usage after)
{
    uint64_t n = c->samples;
    qsort(c->place_ns, n, sizeof *c->place_ns, by_value);
    qsort(c->whole_ns, n, sizeof *c->whole_ns, by_value);
    printf("{\"case\":\"churn_%s\",\"target\":\"%s\",\"round\":%d,\"gib_s\":%.4f,\"turnovers\":%.2f,\"placed\":%" PRIu64
           ",\"refused\":%" PRIu64 ",",
        c->m->name, c->t->name, round, (double)c->put_bytes / (double)GIB / ((double)ns * 1e-9), (double)c->put_bytes / (double)c->goal,
        c->placed, c->refused);
    printf("\"p50_ns\":%u,\"p99_ns\":%u,\"max_ns\":%u,\"whole_p99_ns\":%u,\"whole_max_ns\":%u,", percentile(c->place_ns, n, 0.5),
        percentile(c->place_ns, n, 0.99), percentile(c->place_ns, n, 1), percentile(c->whole_ns, n, 0.99), percentile(c->whole_ns, n, 1));
    printf("\"file_before\":%" PRIu64 ",\"file_after\":%" PRIu64 ",\"index_before\":%" PRIu64 ",\"index_after\":%" PRIu64 "}\n",
        before.file_bytes, after.file_bytes, before.index_bytes, after.index_bytes);
    fflush(stdout);
}

/* A peer that finds no room for an object when all others are gone, or none to release one, begins anew. */
static bool gave_up(churn *c, int round)
{
    printf("{\"case\":\"churn_%s\",\"target\":\"%s\",\"round\":%d,\"gave_up\":true,\"placed\":%" PRIu64 ",\"refused\":%" PRIu64 "}\n",
        c->m->name, c->t->name, round, c->placed, c->refused);
    fflush(stdout);
    c->t->close();
    return c->t->open(c->s, true);
}

static bool one_round(churn *c, int round)
{
    bool yardstick = c->t == &target_memcpy, peer = c->t != &target_manta;
    uint64_t turnovers = yardstick ? YARDSTICK_TURNOVERS : (uint64_t)c->s->turnovers;
    c->random = (uint64_t)round + 1; /* the same objects for all targets */
    c->count = c->live_bytes = c->samples = 0;
    if (c->t->rewind) c->t->rewind(0);
    outcome o = fill(c);
    usage before = c->t->use();
    uint64_t start = os_monotonic_ns();
    if (!o) o = turn_over(c, c->goal * turnovers, (uint64_t)(peer ? PEER_LIMIT_S : LIMIT_S) * OS_NS_PER_S);
    uint64_t ns = os_monotonic_ns() - start;
    if (!o) emit(c, round, ns, before, c->t->use());
    if (!o) o = c->t->clear ? c->t->clear() : empty(c);
    if (o == FULL && peer) return gave_up(c, round);
    return o ? complain("%s: churn: %s", c->t->name, o == FULL ? "there is no room" : "it failed") : true;
}

/* ---- running ---- */

static bool rounds(churn *c, const target_list *list)
{
    for (int round = 0; round < c->s->rounds; round++)
        for (int i = 0; i < list->count; i++) {
            c->t = list->item[i];
            if (!one_round(c, round)) return false;
        }
    return true;
}

static bool churn_all(const settings *s, const mix *m)
{
    churn c = {.s = s, .m = m, .goal = s->memory / 100 * OCCUPANCY, .source = source_new(m->large_high)};
    target_list list = targets_named(s->targets);
    c.live = base_calloc(MOST_OBJECTS, sizeof *c.live);
    c.place_ns = base_calloc(MOST_OBJECTS, sizeof *c.place_ns);
    c.whole_ns = base_calloc(MOST_OBJECTS, sizeof *c.whole_ns);
    bool fine = (c.source && c.live && c.place_ns && c.whole_ns) || complain("no memory");
    fine = fine && targets_open(&list, s, true) && rounds(&c, &list);
    if (fine) targets_close(&list);
    if (c.source) os_unmap((void *)(uintptr_t)c.source, m->large_high);
    base_free(c.live);
    base_free(c.place_ns);
    base_free(c.whole_ns);
    return fine;
}

/* Small memory: smaller objects, else so few are there that none of them can be placed. */
static uint64_t largest(const settings *s) { return s->memory / 32 < 64 * MIB ? s->memory / 32 : 64 * MIB; }

bool case_churn_a(const settings *s)
{
    mix m = {.name = "a", .large_low = MIB, .large_high = largest(s)};
    return churn_all(s, &m);
}

bool case_churn_b(const settings *s)
{
    mix m = {.name = "b", .small_percent = 90, .small_low = 2 * KIB, .small_high = 64 * KIB, .large_low = MIB, .large_high = largest(s)};
    return churn_all(s, &m);
}
