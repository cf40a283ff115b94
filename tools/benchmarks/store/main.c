/*
 * manta_store_bench CASE ...: runs one case for all targets, round by round, and prints a line of JSON for each sample; tools/bench makes tables of them.
 */
#include <getopt.h>

#include "tools/benchmarks/store/store_bench.h"

static const struct named_case {
    const char *name;
    bool (*run)(const settings *s);
} cases[] = {{"sizes", case_sizes}, {"get", case_get}, {"churn_a", case_churn_a}, {"churn_b", case_churn_b}, {"writers", case_writers},
    {"attach", case_attach}, {"restart", case_restart}};
enum { CASES = sizeof cases / sizeof *cases };

static int usage_text(FILE *out)
{
    fprintf(out,
        "usage: manta_store_bench CASE --dir PATH [--memory BYTES] [--rounds N] [--turnovers N] [--limit MS] [--targets NAME,...]\n"
        "  --dir PATH         an empty directory on tmpfs\n"
        "  --memory BYTES     room of each target's objects (1073741824)\n"
        "  --rounds N         samples of each (5)\n"
        "  --turnovers N      of the churn (10)\n"
        "  --limit MS         most time of a sample of small operations (200)\n"
        "  --targets NAME,... memcpy,manta,lmdb,plasma\n"
        "cases:");
    for (int i = 0; i < CASES; i++) fprintf(out, " %s", cases[i].name);
    fprintf(out, "\n");
    return out == stdout ? 0 : 2;
}

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end || *text == '-' || value < least || value > most)
        return complain("\"%s\" is no number from %" PRIu64 " to %" PRIu64, text, least, most);
    *out = value;
    return true;
}

static bool take(int option, settings *s)
{
    uint64_t n = 0;
    if (option == 'd') s->directory = optarg;
    else if (option == 't') s->targets = optarg;
    else if (option == 'm') return number(optarg, 64 * MIB, GIB << 10, &s->memory);
    else if (option == 'r' && number(optarg, 1, 100, &n)) s->rounds = (int)n;
    else if (option == 'o' && number(optarg, 1, 1000, &n)) s->turnovers = (int)n;
    else if (option == 'l' && number(optarg, 1, 100000, &n)) s->limit_ns = n * OS_NS_PER_MS;
    else return false;
    return true;
}

static bool options(int argc, char **argv, settings *s)
{
    static const struct option known[] = {{"dir", 1, NULL, 'd'}, {"targets", 1, NULL, 't'}, {"memory", 1, NULL, 'm'},
        {"rounds", 1, NULL, 'r'}, {"turnovers", 1, NULL, 'o'}, {"limit", 1, NULL, 'l'}, {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;)
        if (!take(option, s)) return false;
    s->memory &= ~(2 * MIB - 1);
    if (!s->directory || !os_path_is_tmpfs(s->directory)) return complain("--dir must name a directory on tmpfs");
    if (strlen(s->directory) > PATH_BYTES - 32) return complain("--dir is too long");
    return optind == argc - 1;
}

int main(int argc, char **argv)
{
    settings s = {.targets = "memcpy,manta,lmdb,plasma", .memory = GIB, .limit_ns = 200 * OS_NS_PER_MS, .rounds = 5, .turnovers = 10};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage_text(stdout);
    if (!options(argc, argv, &s)) return usage_text(stderr);
    for (int i = 0; i < CASES; i++)
        if (strcmp(cases[i].name, argv[optind]) == 0) return cases[i].run(&s) ? 0 : 1;
    complain("there is no case \"%s\"", argv[optind]);
    return usage_text(stderr);
}
