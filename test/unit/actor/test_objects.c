/* Objects, refs in messages, generators, calls by name. */
#include "actor/object/object_ops.h"
#include "test/support/actors.h"

MANTA_STRUCT(Point, (double, x), (double, y))
MANTA_STRUCT(Line, (Point, from), (Point, to), (manta_str, name))

MANTA_ACTOR(Keeper, manta_ref kept; int64_t sum;)
MANTA_METHOD(Keeper, keep, int32_t, (manta_ref, r))
{
    self->kept = r;
    return (int32_t)manta_retain(r);
}
MANTA_METHOD(Keeper, forget, int32_t) { return (int32_t)manta_release(self->kept); }
MANTA_METHOD(Keeper, measure, uint64_t, (manta_object, o)) { return o.size ? ((const unsigned char *)o.data)[0] + o.size : 0; }
MANTA_METHOD(Keeper, give, manta_ref) { return self->kept; }
MANTA_METHOD(Keeper, draw, Line, (Line, l), (bool, flip)) { return flip ? (Line){l.to, l.from, l.name} : l; }
MANTA_METHOD(Keeper, slow, int64_t, (int64_t, ms))
{
    (void)manta_sleep((uint64_t)ms);
    return ms;
}
MANTA_METHOD(Keeper, wait, void) { (void)manta_sleep(50); }
MANTA_CLASS(Keeper, keep, forget, measure, give, draw, slow, wait)

MANTA_ACTOR(Bag, bool open;)
MANTA_METHOD(Bag, open, void)
{
    self->open = true;
    (void)manta_unstash();
}
MANTA_METHOD(Bag, weigh, uint64_t, (manta_object, o))
{
    if (!self->open && manta_stash() == MANTA_OK) return 0;
    return o.size;
}
MANTA_CLASS(Bag, open, weigh)

MANTA_TASK(size_of, uint64_t, (manta_object, o)) { return o.size; }
MANTA_TASK(bad, int64_t) { return manta_fail(MANTA_EIO, "bad task"), 0; }
MANTA_GENERATOR(count_to, int64_t, (int64_t, n))
{
    for (int64_t i = 0; i < n; i++)
        if (manta_yield(int64_t, i)) return;
}
MANTA_GENERATOR(words, manta_str, (int64_t, n))
{
    for (int64_t i = 0; i < n; i++) {
        char text[32];
        int size = snprintf(text, sizeof text, "word-%lld", (long long)i);
        manta_str s = {text, (size_t)size};
        if (manta_yield(manta_str, s)) return;
    }
    manta_fail(MANTA_EIO, "out of words");
}

/* put, get, release; releasing too often is MANTA_ESTALE and harmless. */
IN_BOTH_MODES(put_get_release)
{
    manta_ref r, empty;
    manta_object view;
    EXPECT_EQ(manta_put("hello", 6, &r), MANTA_OK);
    EXPECT_EQ(manta_put(NULL, 0, &empty), MANTA_OK);
    EXPECT_EQ(manta_put(NULL, 3, &empty), MANTA_EINVAL);
    EXPECT_EQ(manta_object_get(r, 0, &view), MANTA_OK);
    EXPECT(view.size == 6 && strcmp(view.data, "hello") == 0);
    EXPECT(manta_object_contains(r));
    EXPECT_EQ(manta_retain(r), MANTA_OK);
    EXPECT_EQ(manta_release(r), MANTA_OK);
    EXPECT_EQ(manta_release(r), MANTA_OK);
    EXPECT(!manta_object_contains(r));
    EXPECT_EQ(manta_release(r), MANTA_ESTALE);
    EXPECT_EQ(manta_retain(r), MANTA_ESTALE);
    EXPECT_EQ(manta_object_get(r, 0, &view), MANTA_ESTALE);
    EXPECT_EQ(manta_object_get((manta_ref){{1, 2}}, 0, &view), MANTA_ESTALE);
}

/* A ref in a message keeps its object alive, and a retaining actor keeps it on. */
IN_BOTH_MODES(refs_travel)
{
    Keeper_ref k = Keeper_spawn();
    manta_ref r, back;
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_put("abc", 4, &r), MANTA_OK);
    EXPECT_EQ(manta_await(Keeper_measure(k, manta_object_of(r))), 'a' + 4);
    EXPECT_EQ(manta_await(size_of_submit(manta_object_of(r))), 4);
    EXPECT_EQ(manta_await(Keeper_keep(k, r)), MANTA_OK);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT(manta_object_contains(r));
    back = manta_await(Keeper_give(k));
    EXPECT(back.id[1] == r.id[1]);
    EXPECT_EQ(manta_await(Keeper_forget(k)), MANTA_OK);
    EXPECT_EQ(manta_await(Keeper_forget(k)), MANTA_ESTALE);
}

static size_t objects_now(void)
{
    size_t objects;
    uint64_t bytes;
    the_objects->usage(&objects, &bytes);
    return objects;
}

/* What holds no ref any more frees the object: results read or dropped, calls cancelled, refused, retried, stashed and sent to nobody. */
IN_BOTH_MODES(counts_end)
{
    Keeper_ref k = Keeper_spawn(), other = Keeper_spawn();
    Bag_ref bag = Bag_spawn();
    manta_ref r;
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_put("abc", 4, &r), MANTA_OK);
    EXPECT_EQ(manta_await(Keeper_keep(k, r)), MANTA_OK);
    for (int i = 0; i < 3; i++) EXPECT_EQ(manta_await(Keeper_give(k)).id[1], r.id[1]);
    EXPECT_EQ(manta_join(Keeper_give(k)), MANTA_OK);
    manta_manta_ref_future unread = Keeper_give(k);
    EXPECT_EQ(manta_wait(&unread, 1, 1, 10000, NULL), MANTA_OK);
    manta_ref back;
    EXPECT_EQ(manta_get(Keeper_give_with(MANTA_OPTIONS(.timeout_ms = 10000), k), &back), MANTA_OK);
    EXPECT_EQ(manta_join(Keeper_keep(Keeper_ref_of(bag.actor), r)), MANTA_ENOMETHOD);
    manta_void_future slow = Keeper_wait(other);
    manta_int32_t_future late = Keeper_keep(other, r);
    EXPECT_EQ(manta_cancel(late.future), MANTA_OK);
    EXPECT_EQ(manta_join(slow), MANTA_OK);
    EXPECT_EQ(manta_join(late), MANTA_ECANCELLED);
    manta_uint64_t_future stashed = Bag_weigh(bag, manta_object_of(r));
    EXPECT_EQ(manta_join(Bag_open(bag)), MANTA_OK);
    EXPECT_EQ(manta_await(stashed), 4);
    EXPECT_EQ(manta_kill(other.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(other.actor, 10000, NULL), MANTA_OK);
    EXPECT_EQ(manta_join(Keeper_keep(other, r)), MANTA_EDEAD);
    EXPECT_EQ(manta_await(Keeper_forget(k)), MANTA_OK);
    EXPECT(manta_object_contains(r));
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT_EQ(manta_join(Bag_open(bag)), MANTA_OK); /* the handlers' scopes end after their answers */
    EXPECT_EQ(manta_await(Keeper_forget(k)), MANTA_ESTALE);
    EXPECT_EQ(objects_now(), 0);
}

/* A ref that stands for an answer resolves when the answer is there, and carries its error. */
IN_BOTH_MODES(answers_as_refs)
{
    Keeper_ref k = Keeper_spawn(), other = Keeper_spawn();
    manta_ref r, f;
    manta_object view;
    EXPECT_EQ(manta_future_to_ref(Keeper_slow(k, 20).future, &r), MANTA_OK);
    EXPECT_EQ(manta_object_get(r, 1, &view), MANTA_ETIMEDOUT);
    EXPECT(manta_await(Keeper_measure(other, manta_object_of(r))) == 20 + 1); /* 20 is one byte of MessagePack */
    bool ready[1];
    EXPECT_EQ(manta_object_wait(&r, 1, 1, 1000, ready), MANTA_OK);
    EXPECT(ready[0]);
    EXPECT_EQ(manta_future_to_ref(bad_submit().future, &f), MANTA_OK);
    EXPECT_EQ(manta_object_get(f, 10000, &view), MANTA_EIO);
    EXPECT_EQ(manta_join(Keeper_measure(other, manta_object_of(f))), MANTA_EIO);
}

/* A generator's values come in order, with back-pressure; its error comes last. */
IN_BOTH_MODES(generators)
{
    int64_t v, expected = 0;
    manta_int64_t_stream s = count_to_start_with(MANTA_OPTIONS(.stream_limit = 3), 1000);
    while (manta_next(s, &v) == MANTA_OK) EXPECT_EQ(v, expected++);
    EXPECT_EQ(manta_last_error()->status, MANTA_EEND);
    EXPECT_EQ(expected, 1000);
    EXPECT_EQ(manta_stream_release(s.stream), MANTA_OK);
    EXPECT_EQ(manta_stream_release(s.stream), MANTA_ESTALE);
    manta_manta_str_stream w = words_start(3);
    manta_str word;
    for (int i = 0; i < 3; i++) {
        char text[32];
        snprintf(text, sizeof text, "word-%d", i);
        EXPECT_EQ(manta_next(w, &word), MANTA_OK);
        EXPECT_STR(word.data, text);
    }
    EXPECT_EQ(manta_next(w, &word), MANTA_EIO);
    EXPECT_EQ(manta_stream_release(w.stream), MANTA_OK);
    s = count_to_start(INT64_MAX); /* endless for all that matters: the release ends it */
    EXPECT_EQ(manta_next(s, &v), MANTA_OK);
    EXPECT_EQ(manta_stream_release(s.stream), MANTA_OK);
    EXPECT_EQ(manta_next(s, &v), MANTA_ESTALE);
}

/* Calls by name take and give MessagePack; bad input names the method and the place. */
IN_BOTH_MODES(dynamic_calls)
{
    manta_actor k = manta_spawn("Keeper", (manta_bytes){"", 0}, NULL);
    EXPECT(k.id != 0);
    EXPECT_EQ(manta_spawn("Nobody", (manta_bytes){"", 0}, NULL).id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_ENOTFOUND);
    unsigned char request[256];
    manta_writer w;
    manta_writer_init(&w, request, sizeof request);
    Line line = {{1, 2}, {3, 4}, manta_str_of("edge")};
    bool flip = true;
    manta_pack_array(&w, 2);
    manta_pack_Line(&w, &line);
    manta_pack_bool(&w, &flip);
    EXPECT_EQ(w.status, MANTA_OK);
    manta_bytes answer;
    manta_future f = manta_call(k, "draw", (manta_bytes){request, manta_writer_size(&w)});
    EXPECT_EQ(manta_get_value(f, &answer, sizeof answer, MANTA_FOREVER), MANTA_OK);
    manta_reader r;
    Line back;
    manta_reader_init(&r, answer.data, answer.size);
    manta_unpack_Line(&r, &back);
    EXPECT_EQ(r.status, MANTA_OK);
    EXPECT(back.from.x == 3 && back.to.y == 2 && back.name.size == 4 && memcmp(back.name.data, "edge", 4) == 0);
    EXPECT_EQ(manta_call(k, "draw", (manta_bytes){request, 3}).id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_EDECODE);
    EXPECT(strstr(manta_last_error()->message, "Keeper.draw: byte") != NULL);
    EXPECT_EQ(manta_call(k, "nothing", (manta_bytes){request, 1}).id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_ENOMETHOD);
}
