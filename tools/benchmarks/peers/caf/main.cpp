// caf_bench NAME N [--threads K] [--policy stealing|sharing] [--throughput T]: runs one benchmark and prints one line of JSON.
//
// The clock runs around the benchmark, not around the start and the end of the actor system.
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>

#include "caf_bench.hpp"

namespace {

const benchmark *find(const char *name)
{
    for (auto list : {messages_benchmarks, actors_benchmarks})
        for (auto b = list; b->name; b++)
            if (std::strcmp(b->name, name) == 0) return b;
    return nullptr;
}

int usage()
{
    std::fprintf(stderr, "usage: caf_bench NAME N [--threads K] [--policy stealing|sharing] [--throughput T]\nbenchmarks:");
    for (auto list : {messages_benchmarks, actors_benchmarks})
        for (auto b = list; b->name; b++) std::fprintf(stderr, " %s", b->name);
    std::fprintf(stderr, "\n");
    return 2;
}

bool set(caf::actor_system_config &config, const std::string &option, const std::string &value)
{
    if (option == "--threads") config.set("scheduler.max-threads", static_cast<size_t>(std::stoul(value)));
    else if (option == "--throughput") config.set("scheduler.max-throughput", static_cast<size_t>(std::stoul(value)));
    else if (option == "--policy") config.set("scheduler.policy", caf::atom_from_string(value));
    else return false;
    return true;
}

// Freed memory stays in the process: without this glibc returns each backlog to the kernel and faults it in again.
void keep_memory()
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 16 << 20);
}

void print(const benchmark *b, uint64_t n, uint64_t units, double seconds)
{
    if (std::strcmp(b->unit, "byte") == 0)
        std::printf("{\"name\":\"%s\",\"n\":%" PRIu64 ",\"bytes_per_actor\":%.1f,\"seconds\":%.6f}\n", b->name, n,
            static_cast<double>(units) / static_cast<double>(n), seconds);
    else
        std::printf("{\"name\":\"%s\",\"n\":%" PRIu64 ",\"units\":%" PRIu64 ",\"unit\":\"%s\",\"seconds\":%.6f}\n", b->name, n, units,
            b->unit, seconds);
    std::fflush(stdout);
}

} // namespace

int main(int argc, char **argv)
{
    const benchmark *b = argc >= 3 ? find(argv[1]) : nullptr;
    uint64_t n = b ? std::strtoull(argv[2], nullptr, 10) : 0;
    if (n == 0) return usage();
    caf::actor_system_config config;
    for (int i = 3; i < argc; i += 2)
        if (i + 1 == argc || !set(config, argv[i], argv[i + 1])) return usage();
    if (std::strcmp(b->unit, "byte") != 0) keep_memory();
    caf::actor_system system{config};
    auto start = std::chrono::steady_clock::now();
    uint64_t units = b->run(system, n);
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    print(b, n, units, seconds);
    _exit(0); // the end of the actor system is not measured
}
