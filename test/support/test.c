#include "test/support/test.h"

test_case *test_cases;
int test_failed;

void test_register(test_case *c)
{
    test_case **link = &test_cases;
    while (*link) link = &(*link)->next;
    *link = c;
}

static test_role *test_roles;

void test_register_role(test_role *r)
{
    r->next = test_roles;
    test_roles = r;
}

/* Does not return when this program is a child in a role. */
static void run_role(void)
{
    const char *role = getenv("MANTA_TEST_ROLE");
    if (!role) return;
    for (test_role *r = test_roles; r; r = r->next)
        if (strcmp(r->name, role) == 0) r->run(getenv("MANTA_TEST_ARGUMENT"), TEST_CHILD_FD);
    exit(0);
}

void test_report(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: expected %s\n", file, line, what);
    test_failed = 1;
}

double test_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t test_seed(void)
{
    static uint64_t seed;
    if (seed) return seed;
    const char *text = getenv("MANTA_TEST_SEED");
    if (text) seed = strtoull(text, NULL, 0);
    else {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        seed = (uint64_t)t.tv_nsec * 2654435761u ^ (uint64_t)t.tv_sec;
    }
    if (!seed) seed = 1;
    return seed;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    run_role();
    for (test_case *c = test_cases; c; c = c->next) {
        if (argc > 1 && !strstr(c->name, argv[1])) continue;
        test_failed = 0;
        double start = test_now_s();
        c->run();
        printf("%s %s (%.2f s)\n", test_failed ? "FAIL" : "ok  ", c->name, test_now_s() - start);
        fflush(stdout);
        if (test_failed) {
            failed++;
            fprintf(stderr, "  replay with MANTA_TEST_SEED=%" PRIu64 "\n", test_seed());
        } else passed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
