/* A link through a proxy that cuts its connections again and again: nothing is lost, nothing comes twice, the order is kept, in both directions. */
#include <pthread.h>

#include "test/support/cut_proxy.h"
#include "test/support/link_end.h"

typedef struct flood {
    link_end *end;
    uint64_t to, count;
    size_t size;
    _Atomic int failed;
} flood;

static void *send_all(void *argument)
{
    flood *f = argument;
    for (uint64_t i = 0; i < f->count && !f->failed; i++)
        if (end_send(f->end, f->to, i, f->size)) f->failed = 1;
    return NULL;
}

static void through_cuts(uint64_t count, size_t size)
{
    link_end a, b;
    cut_proxy p;
    EXPECT_EQ(end_open(&a, 1, "tcp://127.0.0.1:0"), MANTA_OK);
    EXPECT(cut_proxy_start(&p, link_address(a.links, 0), 20, 120));
    EXPECT_EQ(end_open_with(&b, NULL, (link_options){.self = {2, 1}, .down_after_ms = 20000}), MANTA_OK);
    EXPECT_EQ(link_connect(b.links, p.address, 0), MANTA_OK);
    EXPECT(WAIT_FOR(a.ups == 1 && b.ups == 1, 20));
    flood there = {&b, 1, count, size, 0}, back = {&a, 2, count, size, 0};
    pthread_t threads[2];
    double start = test_now_s();
    EXPECT_EQ(pthread_create(&threads[0], NULL, send_all, &there), 0);
    EXPECT_EQ(pthread_create(&threads[1], NULL, send_all, &back), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    bool all = WAIT_FOR(a.received == count && b.received == count, 60);
    double seconds = test_now_s() - start;
    link_stats s;
    link_stats_get(b.links, &s);
    printf("     %llu messages of %zu bytes each way in %.1f s, %d cuts, %llu frames again, %llu duplicates dropped\n",
        (unsigned long long)count, size, seconds, p.cuts, (unsigned long long)s.frames_resent, (unsigned long long)s.duplicates);
    if (a.downs || b.downs) fprintf(stderr, "down: %s %s\n", a.reason, b.reason);
    EXPECT(all && !there.failed && !back.failed);
    EXPECT(!a.wrong && !b.wrong && a.ups == 1 && b.ups == 1 && !a.downs && !b.downs);
    cut_proxy_stop(&p);
    link_close(b.links, 0);
    link_close(a.links, 0);
}

/* Ten million small messages in all (MANTA_LINK_MESSAGES: another number each way). */
TEST(small_messages)
{
    const char *given = getenv("MANTA_LINK_MESSAGES");
    through_cuts(given ? strtoull(given, NULL, 0) : (uint64_t)test_scaled(5000000), 16);
}

/* Messages of 100 kB. */
TEST(large_messages) { through_cuts((uint64_t)test_scaled(3000), 100000); }
