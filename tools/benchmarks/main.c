/*
 * manta_bench NAME N: runs one benchmark and prints one line of JSON.
 */
#include <time.h>

#include "tools/benchmarks/bench.h"

static bench *benches;

void bench_register(bench *b)
{
    b->next = benches;
    benches = b;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int usage(FILE *out)
{
    fprintf(out, "usage: manta_bench NAME N [--manta-workers=K]\nbenchmarks:");
    for (bench *b = benches; b; b = b->next) fprintf(out, " %s", b->name);
    fprintf(out, "\n");
    return out == stdout ? 0 : 2;
}

static int run(const bench *b, uint64_t n)
{
    double start = now_s();
    uint64_t units = b->run(n);
    double seconds = now_s() - start;
    if (strcmp(b->unit, "byte") == 0)
        printf("{\"name\":\"%s\",\"n\":%" PRIu64 ",\"bytes_per_actor\":%.1f,\"seconds\":%.6f}\n", b->name, n, (double)units / (double)n,
            seconds);
    else
        printf("{\"name\":\"%s\",\"n\":%" PRIu64 ",\"units\":%" PRIu64 ",\"unit\":\"%s\",\"seconds\":%.6f}\n", b->name, n, units, b->unit,
            seconds);
    return 0;
}

int main(int argc, char **argv)
{
    manta_t *system = manta_init(&argc, &argv);
    if (!system) return 1;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout);
    char *end = argc == 3 ? argv[2] : NULL;
    uint64_t n = argc == 3 ? strtoull(argv[2], &end, 10) : 0;
    if (argc != 3 || n == 0 || *end) return usage(stderr);
    for (bench *b = benches; b; b = b->next)
        if (strcmp(b->name, argv[1]) == 0) {
            int status = run(b, n);
            return manta_shutdown(system) == MANTA_OK ? status : 1;
        }
    fprintf(stderr, "manta_bench: no benchmark is named \"%s\"\n", argv[1]);
    return usage(stderr);
}
