/*
 * The control store of a running cluster, as programs use it: manta_kv_put and manta_kv_get from a process of its own.
 *
 *     manta_control_bench ADDRESS [SECONDS]      ADDRESS: of any node daemon
 *
 * One line of JSON for each row: 1 and 64 calls at a time, puts of 64 B and gets; calls per second, and how long a call took, p50 and p99.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <manta/manta.h>

#include "actor/node/gcs.h"

enum { CALLERS = 64, SAMPLES = 1 << 20 };

static uint32_t samples[SAMPLES]; /* µs */
static _Atomic uint32_t n_samples;
static _Atomic bool over;

MANTA_ACTOR(Caller, uint64_t number;)
MANTA_METHOD(Caller, init, void, (uint64_t, n)) { self->number = n; }
MANTA_METHOD(Caller, work, uint64_t, (bool, is_put))
{
    char key[32], value[64] = "";
    uint64_t done = 0;
    snprintf(key, sizeof key, "key%d", (int)self->number);
    while (!over) {
        uint64_t began = manta_now_ns();
        manta_bytes got;
        (void)manta_scope_begin();
        manta_status status =
            is_put ? manta_kv_put("bench", key, value, sizeof value, MANTA_REVISION_ANY, NULL) : manta_kv_get("bench", key, &got, NULL);
        (void)manta_scope_end();
        if (status) return manta_fail(status, "%s", manta_last_error()->message), done;
        uint32_t i = n_samples++;
        if (i < SAMPLES) samples[i] = (uint32_t)((manta_now_ns() - began) / 1000);
        done++;
    }
    return done;
}
MANTA_CLASS(Caller, init, work)

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool run(const Caller_ref *callers, int count, bool is_put, uint64_t seconds)
{
    manta_uint64_t_future done[CALLERS];
    uint64_t each[CALLERS], sum = 0, began = manta_now_ns();
    over = false;
    n_samples = 0;
    for (int i = 0; i < count; i++) done[i] = Caller_work(callers[i], is_put);
    (void)manta_sleep(seconds * 1000);
    over = true;
    if (manta_get_all(done, each, (size_t)count)) return fprintf(stderr, "manta_control_bench: %s\n", manta_last_error()->message), false;
    double took = (double)(manta_now_ns() - began) / 1e9;
    for (int i = 0; i < count; i++) sum += each[i];
    uint32_t n = n_samples < SAMPLES ? n_samples : SAMPLES;
    qsort(samples, n, sizeof *samples, by_size);
    printf("{\"call\": \"%s\", \"outstanding\": %d, \"per_s\": %.0f, \"p50_us\": %u, \"p99_us\": %u}\n", is_put ? "put" : "get", count,
        (double)sum / took, n ? samples[n / 2] : 0, n ? samples[n - 1 - n / 100] : 0);
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    manta_process p;
    manta_actor gcs;
    Caller_ref callers[CALLERS];
    uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 3;
    if (argc < 2 || !seconds || seconds > 600) return fprintf(stderr, "usage: manta_control_bench ADDRESS [SECONDS]\n"), 2;
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1, .join = argv[1]});
    if (!m) return 1;
    if (process_at(argv[1], 5000, &p) || manta_lookup_in(p, "manta.gcs", &gcs))
        return fprintf(stderr, "manta_control_bench: %s\n", manta_last_error()->message), 1;
    gcs_know(gcs);
    for (uint64_t i = 0; i < CALLERS; i++) callers[i] = Caller_spawn(i);
    bool ok = run(callers, CALLERS, true, 1); /* warm */
    for (int count = 1; ok && count <= CALLERS; count *= CALLERS)
        ok = run(callers, count, true, seconds) && run(callers, count, false, seconds);
    return manta_shutdown(m) == MANTA_OK && ok ? 0 : 1;
}
