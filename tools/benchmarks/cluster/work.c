/*
 * The driver of a job, for `manta run`: tasks through the cluster, and actors made on it. Prints a line of JSON.
 *
 *     manta_work_bench [TASKS [ACTORS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <manta/manta.h>

enum { TASKS_MAX = 1 << 20, ACTORS_MAX = 1 << 16 };

MANTA_TASK(bench_add, int64_t, (int64_t, x)) { return x + 1; }

MANTA_ACTOR(BenchIdle, int unused;)
MANTA_METHOD(BenchIdle, poke, void) { (void)self; }
MANTA_CLASS(BenchIdle, poke)

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool run_tasks(int n, double *out_accepted_s, double *out_done_s)
{
    manta_int64_t_future *f = calloc((size_t)n, sizeof *f);
    double start = now_s();
    int64_t sum = 0;
    if (!f) return false;
    (void)manta_scope_begin();
    for (int i = 0; i < n; i++) f[i] = bench_add_submit(i);
    *out_accepted_s = now_s() - start;
    for (int i = 0; i < n; i++) sum += manta_await(f[i]);
    *out_done_s = now_s() - start;
    (void)manta_scope_end();
    free(f);
    return sum == (int64_t)n * (n + 1) / 2;
}

static bool make_actors(int n, double *out_s)
{
    static BenchIdle_ref actors[ACTORS_MAX];
    double start = now_s();
    for (int i = 0; i < n; i++)
        if (!(actors[i] = BenchIdle_spawn()).actor.id) return false;
    for (int i = 0; i < n; i++)
        if (BenchIdle_poke_send(actors[i])) return false;
    if (manta_join(BenchIdle_poke(actors[n - 1]))) return false;
    *out_s = now_s() - start;
    return true;
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    int tasks = argc > 1 ? atoi(argv[1]) : 100000, actors = argc > 2 ? atoi(argv[2]) : 10000;
    double warm_s, accepted_s, done_s, made_s;
    if (!m) return 1;
    if (tasks < 100 || tasks > TASKS_MAX || actors < 1 || actors > ACTORS_MAX) return fprintf(stderr, "a number is out of range\n"), 2;
    if (!run_tasks(tasks / 10, &warm_s, &warm_s) || !run_tasks(tasks, &accepted_s, &done_s) || !make_actors(actors, &made_s)) {
        fprintf(stderr, "manta_work_bench: %s\n", manta_last_error()->message);
        return 1;
    }
    printf("{\"tasks\":%d,\"accepted_s\":%.4f,\"done_s\":%.4f,\"actors\":%d,\"made_s\":%.4f}\n", tasks, accepted_s, done_s, actors, made_s);
    fflush(stdout);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
