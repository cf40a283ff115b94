/*
 * put, get, release and create + seal of objects of one size, for sizes from 16 bytes to 1 GiB; and get with 100,000 larger objects.
 *
 * A sample: so many objects as fit a window are put, one after the other; then looked at in random order; then released in the order they were made; then made again without
 * bytes. So each round finds the memory of the round before, which is how the yardstick uses its memory, too. The first round is not counted.
 */
#include "tools/benchmarks/store/store_bench.h"

enum { GETS = 100000, CHECK_EVERY = 32 };
#define WINDOW (512 * MIB)
#define MANY_BYTES (24 * KIB)

typedef struct sample { /* of one target, one size */
    const target *t;
    const settings *s;
    uint64_t size, count, made; /* count: objects wanted */
    int round;                  /* -1: not counted */
    handle *objects;
    const void *source;
    uint32_t *order;
} sample;

static void emit(const sample *x, const char *op, uint64_t n, uint64_t ns)
{
    if (x->round < 0 || !n) return;
    printf("{\"case\":\"sizes\",\"target\":\"%s\",\"op\":\"%s\",\"size\":%" PRIu64 ",\"round\":%d,\"n\":%" PRIu64 ",\"objects\":%" PRIu64
           ",\"ns\":%.2f}\n",
        x->t->name, op, x->size, x->round, n, x->count, (double)ns / (double)n);
    fflush(stdout);
}

static bool wrong(const sample *x, const char *op, outcome o)
{
    return complain("%s: %s of %" PRIu64 " bytes, number %" PRIu64 ": %s", x->t->name, op, x->size, x->made,
        o == FULL ? "there is no room" : "it failed");
}

/* ---- the operations; each is timed until the limit of the settings ---- */

typedef outcome operation(sample *x, uint64_t i);

static outcome put_one(sample *x, uint64_t i) { return x->t->put(x->source, x->size, &x->objects[i]); }
static outcome release_one(sample *x, uint64_t i) { return x->t->release(x->objects[i]); }

static outcome create_one(sample *x, uint64_t i)
{
    void *data;
    outcome o = x->t->create(x->size, &x->objects[i], &data);
    return o ? o : x->t->seal(x->objects[i]);
}

static outcome get_one(sample *x, uint64_t i)
{
    handle h = x->objects[x->order[i % x->made]];
    const volatile unsigned char *data;
    outcome o = x->t->get(&h, &data);
    if (o) return o;
    (void)*data;
    x->t->unget(&h);
    return DONE;
}

/* Runs and reports until `count` or the limit; *out_n: how many. */
static inline __attribute__((always_inline)) bool timed(sample *x, const char *op, operation *one, uint64_t count, uint64_t *out_n)
{
    uint64_t i = 0, start = os_monotonic_ns(), limit = os_ticks() + x->s->limit_ns / OS_NS_PER_US * os_ticks_per_us();
    outcome o = DONE;
    while (i < count && !(o = one(x, i)) && (++i % CHECK_EVERY || os_ticks() < limit)) {}
    uint64_t ns = os_monotonic_ns() - start;
    *out_n = i;
    if (o) return wrong(x, op, o);
    emit(x, op, i, ns);
    return true;
}

/* ---- a sample ---- */

static bool clear(sample *x, uint64_t from)
{
    outcome o = DONE;
    if (x->t->clear) o = x->t->clear();
    else
        for (uint64_t i = from; i < x->made && !o; i++) o = x->t->release(x->objects[i]);
    x->made = 0;
    return o ? wrong(x, "clearing away", o) : true;
}

static bool fill_up(sample *x)
{
    outcome o = DONE;
    if (x->made < x->count && x->t->fill) o = x->t->fill(x->source, x->size, x->objects + x->made, x->count - x->made);
    else
        for (uint64_t i = x->made; i < x->count && !o; i++) o = put_one(x, i);
    if (o) return wrong(x, "filling up", o);
    x->made = x->count;
    return true;
}

static bool read_and_release(sample *x)
{
    uint64_t n = 0;
    if (!x->t->get) return true;
    return fill_up(x) && timed(x, "get", get_one, x->count > GETS ? x->count : GETS, &n) && timed(x, "delete", release_one, x->made, &n) &&
           clear(x, n);
}

static bool take_sample(sample *x)
{
    if (x->t->rewind) x->t->rewind(0);
    if (!timed(x, "put", put_one, x->count, &x->made) || !read_and_release(x)) return false;
    if (!x->t->get) return true;
    return timed(x, "create", create_one, x->count, &x->made) && clear(x, 0);
}

/* ---- all sizes ---- */

static const uint64_t sizes[] = {16, 128, 512, 4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, GIB};
enum { SIZES = sizeof sizes / sizeof *sizes };

static bool fits(const settings *s, uint64_t size) { return size <= s->memory / 4; }

static uint64_t largest(const settings *s)
{
    uint64_t size = 0;
    for (int i = 0; i < SIZES; i++)
        if (fits(s, sizes[i])) size = sizes[i];
    return size;
}

static uint64_t count_for(const settings *s, uint64_t size)
{
    uint64_t window = s->memory / 4 < WINDOW ? s->memory / 4 : WINDOW, n = window / size;
    return n < 1 ? 1 : n > MANY ? MANY : n;
}

static void report_skipped(const settings *s)
{
    for (int i = 0; i < SIZES; i++)
        if (!fits(s, sizes[i]))
            printf("{\"case\":\"sizes\",\"skipped\":%" PRIu64 ",\"why\":\"more than a quarter of %" PRIu64 " MiB\"}\n", sizes[i],
                s->memory / MIB);
}

static void shuffle(uint32_t *order, uint64_t n)
{
    uint64_t state = n;
    for (uint32_t i = 0; i < n; i++) order[i] = i;
    for (uint64_t i = n; i > 1; i--) {
        uint64_t j = random_next(&state) % i;
        uint32_t was = order[i - 1];
        order[i - 1] = order[j];
        order[j] = was;
    }
}

/* All targets one after the other, so that what the machine does meanwhile meets all. */
static bool size_round(const settings *s, const target_list *list, sample *x, uint64_t size, int round)
{
    x->size = size;
    x->count = count_for(s, size);
    x->round = round;
    shuffle(x->order, x->count);
    for (int i = 0; i < list->count; i++) {
        x->t = list->item[i];
        if (!take_sample(x)) return false;
    }
    return true;
}

static bool all_rounds(const settings *s, const target_list *list, sample *x)
{
    for (int i = 0; i < SIZES; i++)
        for (int round = -1; round < s->rounds && fits(s, sizes[i]); round++)
            if (!size_round(s, list, x, sizes[i], round)) return false;
    return true;
}

static bool sample_init(sample *x, const settings *s, uint64_t source_bytes)
{
    *x = (sample){.s = s, .source = source_new(source_bytes)};
    x->objects = base_calloc(MANY, sizeof *x->objects);
    x->order = base_calloc(MANY, sizeof *x->order);
    return (x->source && x->objects && x->order) || complain("no memory");
}

static void sample_fini(sample *x, uint64_t source_bytes)
{
    base_free(x->objects);
    base_free(x->order);
    if (x->source) os_unmap((void *)(uintptr_t)x->source, source_bytes);
}

bool case_sizes(const settings *s)
{
    sample x;
    target_list list = targets_named(s->targets);
    report_skipped(s);
    bool fine = sample_init(&x, s, largest(s)) && targets_open(&list, s, true) && all_rounds(s, &list, &x);
    if (fine) targets_close(&list);
    sample_fini(&x, largest(s));
    return fine;
}

/* ---- get with many larger objects ---- */

static bool get_rounds(const settings *s, const target_list *list, sample *x)
{
    handle *of_target[MAX_TARGETS] = {NULL};
    bool fine = true;
    for (int round = -2; round < s->rounds && fine; round++)
        for (int i = 0; i < list->count && fine; i++) {
            uint64_t n;
            x->t = list->item[i];
            x->round = round;
            if (!of_target[i]) of_target[i] = base_calloc(MANY, sizeof *x->objects);
            x->objects = of_target[i];
            x->made = round == -2 ? 0 : x->count;
            if (!x->t->get || !x->objects) continue;
            fine = round == -2 ? fill_up(x) : timed(x, "get", get_one, GETS, &n);
        }
    for (int i = 0; i < list->count; i++) base_free(of_target[i]);
    x->objects = NULL;
    return fine;
}

bool case_get(const settings *s)
{
    sample x;
    target_list list = targets_named(s->targets);
    uint64_t size = s->memory / 100 * 60 / MANY < MANY_BYTES ? s->memory / 100 * 60 / MANY / KIB * KIB : MANY_BYTES;
    bool fine = sample_init(&x, s, MIB) && targets_open(&list, s, true);
    base_free(x.objects);
    x.size = size;
    x.count = MANY;
    shuffle(x.order, MANY);
    fine = fine && get_rounds(s, &list, &x);
    if (fine) targets_close(&list);
    sample_fini(&x, MIB);
    return fine;
}
