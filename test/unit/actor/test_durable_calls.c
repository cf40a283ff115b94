/* The books of a durable actor's keeper: calls by caller and number, answers until the caller has them, as bytes and back. */
#include <string.h>

#include "actor/durable/calls.h"
#include "scheduler/base/alloc.h"
#include "test/support/test.h"

static durable_call *answered(durable_calls *c, uint64_t caller, uint64_t number, uint64_t position)
{
    durable_caller *r = calls_caller(c, caller);
    durable_call *x = r ? calls_add(r, number) : NULL;
    if (!x || !call_keep(x, "answer", 6)) return NULL;
    x->position = position;
    x->state = CALL_DONE;
    return x;
}

/* A call is found until its caller says that it has the answer; one that is under way stays. */
TEST(until_the_answer_is_there)
{
    durable_calls c = {0};
    durable_caller *r = calls_caller(&c, 5);
    for (uint64_t n = 1; n <= 10; n++) EXPECT(answered(&c, 5, n, n));
    durable_call *under_way = calls_add(r, 3 + 20);
    EXPECT(under_way && calls_find(r, 23) == under_way && calls_find(r, 7)->number == 7);
    calls_done(r, 7);
    EXPECT(!calls_find(r, 7) && calls_find(r, 8) && r->n_calls == 4);
    calls_done(r, 30);
    EXPECT(calls_find(r, 23) == under_way && r->n_calls == 1 && r->done == 30);
    calls_remove(r, under_way);
    EXPECT_EQ(r->n_calls, 0);
    calls_fini(&c);
}

/* Of too many callers the one goes that was not heard of for longest; never one that has a call under way. */
TEST(callers_are_bounded)
{
    durable_calls c = {0};
    durable_caller *busy = calls_caller(&c, 1);
    EXPECT(calls_add(busy, 1));
    for (uint64_t i = 2; i <= CALLERS_LIMIT; i++) EXPECT(answered(&c, i, 1, 1));
    EXPECT(calls_caller(&c, 2) && c.forgotten == 0);
    EXPECT(calls_caller(&c, CALLERS_LIMIT + 1));
    EXPECT(calls_has(&c, 1) && calls_has(&c, 2) && !calls_has(&c, 3) && c.forgotten == 1);
    calls_fini(&c);
}

/* What is packed are the answers up to a position, and every caller; it comes back as it was. */
TEST(bytes_and_back)
{
    durable_calls c = {0}, d = {0};
    manta_writer w;
    manta_reader r;
    for (uint64_t caller = 1; caller <= 50; caller++)
        for (uint64_t n = 1; n <= caller; n++) EXPECT(answered(&c, caller, n, n));
    calls_caller(&c, 50)->done = 9;
    c.forgotten = 4;
    manta_writer_init_growing(&w);
    calls_pack(&w, &c, 20);
    manta_reader_init(&r, w.start, manta_writer_size(&w));
    EXPECT(calls_unpack(&r, &d) && !manta_reader_left(&r));
    EXPECT(d.forgotten == 4 && d.callers.count == 50 && calls_caller(&d, 50)->done == 9);
    EXPECT(calls_find(calls_caller(&d, 30), 20) && !calls_find(calls_caller(&d, 30), 21));
    durable_call *x = calls_find(calls_caller(&d, 30), 20);
    EXPECT(x->state == CALL_DONE && x->bytes.size == 6 && memcmp(x->bytes.data, "answer", 6) == 0);
    manta_writer_fini(&w);
    calls_fini(&c);
    calls_fini(&d);
}

/* Cut anywhere, the bytes are refused; nothing is leaked. */
TEST(cut_bytes)
{
    durable_calls c = {0};
    manta_writer w;
    manta_writer_init_growing(&w);
    for (uint64_t n = 1; n <= 3; n++) EXPECT(answered(&c, n, n, n));
    calls_pack(&w, &c, 3);
    for (size_t n = 0; n < manta_writer_size(&w); n++) {
        durable_calls d = {0};
        manta_reader r;
        manta_reader_init(&r, w.start, n);
        EXPECT(!calls_unpack(&r, &d));
        calls_fini(&d);
    }
    manta_writer_fini(&w);
    calls_fini(&c);
}

/* With the n-th allocation failing, for all n: refused, and nothing is leaked. */
TEST(out_of_memory)
{
    durable_calls c = {0};
    manta_writer w;
    manta_writer_init_growing(&w);
    for (uint64_t n = 1; n <= 40; n++) EXPECT(answered(&c, n, n, n));
    calls_pack(&w, &c, 40);
    bool ok = false;
    for (int fail = 1; !ok; fail++) {
        durable_calls d = {0};
        manta_reader r;
        manta_reader_init(&r, w.start, manta_writer_size(&w));
        base_alloc_fail_at((uint64_t)fail);
        ok = calls_unpack(&r, &d);
        base_alloc_fail_at(0);
        calls_fini(&d);
        EXPECT(fail < 10000);
    }
    manta_writer_fini(&w);
    calls_fini(&c);
}
