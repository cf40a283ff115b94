/*
 * Trains a network that reads handwritten digits, on several workers at once. The same on one machine and on a cluster (manta run ./parameter_server FILE).
 *
 *     parameter_server [--workers N] [--rounds N] [FILE]
 *
 * FILE has a digit a line: 64 grey values from 0 to 16, then which digit it is (tools/fetch-data digits); without it, digits are made up. Every fifth is held out for the test.
 *
 * The main program has the parameters. In each round it puts them into an object; every worker, an actor with its own share of the data, reads that object in place and answers with the
 * gradient of that round's batch; the main program adds up the answers in the order of the workers, so a run with N workers always gives the same result. A worker that is lost with its
 * machine is started again elsewhere, gets its share again, and does the round again: the result is still the same.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <manta/manta.h>

enum { IN = 64, HIDDEN = 32, OUT = 10, WORKERS_MAX = 64, ROWS_MAX = 100000, BATCH = 32 };

typedef struct network { /* also the shape of a gradient */
    float w1[HIDDEN][IN], b1[HIDDEN], w2[OUT][HIDDEN], b2[OUT];
} network;
enum { PARAMETERS = sizeof(network) / sizeof(float) };

typedef struct row {
    float x[IN];
    int32_t digit;
} row;

/* ---- the network: IN values, HIDDEN rectified sums, OUT probabilities ---- */

typedef struct activity {
    float hidden[HIDDEN], out[OUT];
} activity;

static void run(const network *n, const float *x, activity *a)
{
    float largest = -1e30f, total = 0;
    for (int h = 0; h < HIDDEN; h++) {
        float sum = n->b1[h];
        for (int i = 0; i < IN; i++) sum += n->w1[h][i] * x[i];
        a->hidden[h] = sum > 0 ? sum : 0;
    }
    for (int o = 0; o < OUT; o++) {
        float sum = n->b2[o];
        for (int h = 0; h < HIDDEN; h++) sum += n->w2[o][h] * a->hidden[h];
        a->out[o] = sum;
        if (sum > largest) largest = sum;
    }
    for (int o = 0; o < OUT; o++) total += a->out[o] = expf(a->out[o] - largest);
    for (int o = 0; o < OUT; o++) a->out[o] /= total;
}

/* Adds the gradient of the cross entropy at one row. */
static void learn(const network *n, const row *r, network *gradient)
{
    activity a;
    run(n, r->x, &a);
    a.out[r->digit] -= 1;
    for (int o = 0; o < OUT; o++) {
        gradient->b2[o] += a.out[o];
        for (int h = 0; h < HIDDEN; h++) gradient->w2[o][h] += a.out[o] * a.hidden[h];
    }
    for (int h = 0; h < HIDDEN; h++) {
        float back = 0;
        if (a.hidden[h] <= 0) continue;
        for (int o = 0; o < OUT; o++) back += a.out[o] * n->w2[o][h];
        gradient->b1[h] += back;
        for (int i = 0; i < IN; i++) gradient->w1[h][i] += back * r->x[i];
    }
}

static int answer(const network *n, const float *x)
{
    activity a;
    int best = 0;
    run(n, x, &a);
    for (int o = 1; o < OUT; o++)
        if (a.out[o] > a.out[best]) best = o;
    return best;
}

/* ---- a worker ---- */

MANTA_ACTOR(Worker, row *rows; size_t count;)

MANTA_METHOD(Worker, load, void, (manta_object, rows))
{
    free(self->rows); /* it may come twice */
    self->count = rows.size / sizeof(row);
    self->rows = malloc(rows.size);
    if (!self->rows || !self->count) {
        manta_fail(MANTA_ENOMEM, "no room for a share of %zu rows, or an empty one", self->count);
        return;
    }
    memcpy(self->rows, rows.data, rows.size);
}

MANTA_METHOD(Worker, gradient, manta_bytes, (uint32_t, round), (manta_object, parameters))
{
    network *sum = manta_alloc(sizeof *sum);
    if (!sum || !self->count || parameters.size != sizeof *sum)
        return manta_fail(MANTA_EINVAL, "no data, no memory, or parameters of %zu bytes", parameters.size), (manta_bytes){NULL, 0};
    memset(sum, 0, sizeof *sum);
    for (int i = 0; i < BATCH; i++) learn(parameters.data, &self->rows[((size_t)round * BATCH + (size_t)i) % self->count], sum);
    return (manta_bytes){sum, sizeof *sum};
}

static void forget(void *self) { free(((Worker *)self)->rows); }
MANTA_CLASS_WITH(Worker, (.on_free = forget), load, gradient)

/* ---- the data ---- */

static uint32_t dice = 12345;
static float random_between(float low, float high)
{
    dice = dice * 1664525u + 1013904223u;
    return low + (high - low) * (float)(dice >> 8) / (float)(1 << 24);
}

static size_t read_rows(const char *path, row *rows)
{
    FILE *f = fopen(path, "r");
    size_t n = 0;
    if (!f) return perror(path), 0;
    for (char line[1024]; n < ROWS_MAX && fgets(line, sizeof line, f); n++) {
        char *at = line;
        for (int i = 0; i < IN; i++, at += *at == ',') rows[n].x[i] = strtof(at, &at) / 16;
        rows[n].digit = (int32_t)strtol(at, &at, 10);
        if (*at == '\n' && at > line + 2 * IN && rows[n].digit >= 0 && rows[n].digit < OUT) continue;
        fprintf(stderr, "%s: line %zu is no digit: 64 values and 0 to 9, with commas between\n", path, n + 1);
        n = 0;
        break;
    }
    fclose(f);
    return n;
}

/* Each digit a pattern of its own, with noise. */
static size_t make_rows(row *rows)
{
    float pattern[OUT][IN];
    for (int i = 0; i < OUT * IN; i++) pattern[i / IN][i % IN] = random_between(0, 1);
    for (size_t n = 0; n < 600; n++) {
        rows[n].digit = (int32_t)random_between(0, OUT - 0.01f);
        for (int i = 0; i < IN; i++) rows[n].x[i] = pattern[rows[n].digit][i] + random_between(-0.6f, 0.6f);
    }
    return 600;
}

static bool is_held_out(size_t i) { return i % 5 == 4; }

static double accuracy(const network *n, const row *rows, size_t count)
{
    size_t right = 0, all = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_held_out(i)) continue;
        all++;
        right += answer(n, rows[i].x) == rows[i].digit;
    }
    return 100.0 * (double)right / (double)all;
}

/* ---- the server of parameters ---- */

typedef struct group { /* the workers, and what each one's share of the rows is */
    Worker_ref workers[WORKERS_MAX];
    manta_ref shares[WORKERS_MAX];
    size_t n;
} group;

static bool is_lost(manta_status status) { return status == MANTA_EUNKNOWN || status == MANTA_EDEAD || status == MANTA_EEXIT; }

/* A worker with its share; one that is lost on the way is started again. */
static manta_status start_worker(group *g, size_t w)
{
    enum { TRIES = 10 };
    manta_status status = MANTA_OK;
    for (int i = 0; i < TRIES; i++) {
        g->workers[w] = Worker_spawn();
        status =
            g->workers[w].actor.id ? manta_join(Worker_load(g->workers[w], manta_object_of(g->shares[w]))) : manta_last_error()->status;
        if (!is_lost(status)) return status;
    }
    return status;
}

/* Every worker's share: the rows that are not held out, dealt out one by one. */
static manta_status share_out(const row *rows, size_t count, group *g)
{
    row *share = malloc((count / g->n + g->n) * sizeof *share);
    manta_status status = share ? MANTA_OK : MANTA_ENOMEM;
    for (size_t w = 0; w < g->n && !status; w++) {
        size_t size = 0, dealt = 0;
        for (size_t i = 0; i < count; i++)
            if (!is_held_out(i) && dealt++ % g->n == w) share[size++] = rows[i];
        status = manta_put(share, size * sizeof *share, &g->shares[w]);
        if (!status) status = start_worker(g, w);
    }
    free(share);
    return status;
}

/* The answer of one worker, of another in its place if need be. */
static manta_status take(group *g, size_t w, int round, manta_ref parameters, manta_manta_bytes_future answer, manta_bytes *gradient)
{
    manta_status status = manta_get(answer, gradient);
    while (is_lost(status)) {
        fprintf(stderr, "parameter_server: worker %zu is lost in round %d, another takes its place\n", w + 1, round + 1);
        if ((status = start_worker(g, w))) return status;
        status = manta_get(Worker_gradient(g->workers[w], (uint32_t)round, manta_object_of(parameters)), gradient);
    }
    return status;
}

static manta_status one_round(const network *n, group *g, int round, float sum[PARAMETERS])
{
    manta_manta_bytes_future answers[WORKERS_MAX];
    manta_ref object;
    manta_status status = manta_put(n, sizeof *n, &object);
    for (size_t w = 0; w < g->n && !status; w++) answers[w] = Worker_gradient(g->workers[w], (uint32_t)round, manta_object_of(object));
    for (size_t w = 0; w < g->n && !status; w++) {
        manta_bytes gradient;
        status = take(g, w, round, object, answers[w], &gradient);
        for (int i = 0; i < PARAMETERS && !status; i++) sum[i] += ((const float *)gradient.data)[i];
    }
    return status;
}

static manta_status train(network *n, group *g, int rounds)
{
    static float speed[PARAMETERS];
    float *parameters = (float *)n;
    for (int round = 0; round < rounds; round++) {
        float sum[PARAMETERS] = {0};
        (void)manta_scope_begin(); /* the object and the answers of a round go with it */
        manta_status status = one_round(n, g, round, sum);
        (void)manta_scope_end();
        if (status) return status;
        for (int i = 0; i < PARAMETERS; i++) {
            speed[i] = 0.9f * speed[i] - 0.05f * sum[i] / (float)(g->n * BATCH);
            parameters[i] += speed[i];
        }
    }
    return MANTA_OK;
}

static manta_status work(const row *rows, size_t count, size_t n_workers, int rounds)
{
    static network n;
    group g = {.n = n_workers};
    for (int i = 0; i < HIDDEN * IN; i++) n.w1[i / IN][i % IN] = random_between(-0.2f, 0.2f);
    for (int i = 0; i < OUT * HIDDEN; i++) n.w2[i / HIDDEN][i % HIDDEN] = random_between(-0.3f, 0.3f);
    (void)manta_scope_begin(); /* the shares are kept until the end */
    manta_status status = share_out(rows, count, &g);
    if (!status) status = train(&n, &g, rounds);
    (void)manta_scope_end();
    if (!status)
        printf("%zu digits, %zu workers, %d rounds: %.2f %% of those held out are read right\n", count, n_workers, rounds,
            accuracy(&n, rows, count));
    return status;
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    row *rows = malloc(ROWS_MAX * sizeof *rows);
    int n_workers = 4, rounds = 600, at = 1;
    if (!m || !rows) return 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2)
        *(strcmp(argv[at], "--workers") == 0 ? &n_workers : &rounds) = atoi(argv[at + 1]);
    if (n_workers < 1 || n_workers > WORKERS_MAX || rounds < 1)
        return fprintf(stderr, "parameter_server: 1 to %d workers, at least 1 round\n", WORKERS_MAX), 2;
    size_t count = at < argc ? read_rows(argv[at], rows) : make_rows(rows);
    manta_status status = count ? work(rows, count, (size_t)n_workers, rounds) : MANTA_EINVAL;
    if (status && count) fprintf(stderr, "parameter_server: %s\n", manta_last_error()->message);
    free(rows);
    return manta_shutdown(m) == MANTA_OK && !status ? 0 : 1;
}
