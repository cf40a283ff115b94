/* A peer that speaks the protocol of objects wrongly: its link is dropped, or its request refused; nobody else notices. */
#include <unistd.h>

#include "actor/transfer/internal.h"
#include "mailbox/link/link.h"
#include "scheduler/base/rng.h"
#include "test/support/actors.h"

MANTA_ACTOR(Holder, manta_ref ref;)
MANTA_METHOD(Holder, take, void, (manta_ref, ref))
{
    self->ref = ref;
    (void)manta_retain(ref);
}
MANTA_METHOD(Holder, size, uint64_t)
{
    manta_object o;
    manta_status status = manta_object_get(self->ref, 20000, &o);
    if (status) manta_fail(status, "%s", manta_last_error()->message);
    return status ? 0 : o.size;
}
MANTA_METHOD(Holder, drop, void) { (void)manta_release(self->ref); }
MANTA_CLASS(Holder, take, size, drop)

enum { CHUNKS = 3 };

/* ---- the peer ---- */

typedef struct stranger {
    links *links;
    uint64_t process, target;
    _Atomic int ups, downs;
    _Atomic int seen[64]; /* messages by kind */
    wire_head last[64];
} stranger;

static void on_up(void *context, link_peer p, const char *address, const char *dialled)
{
    stranger *s = context;
    (void)address, (void)dialled;
    s->target = p.process;
    s->ups++;
}

static void on_message(void *context, link_peer p, const link_message *m)
{
    stranger *s = context;
    wire_head h;
    (void)p;
    memcpy(&h, m->data, sizeof h);
    if (h.kind >= 64) return;
    s->last[h.kind] = h;
    s->seen[h.kind]++;
}

static void on_down(void *context, link_peer p, manta_status status, const char *reason)
{
    (void)p, (void)status, (void)reason;
    ((stranger *)context)->downs++;
}

static bool come(stranger *s)
{
    static uint64_t number = 1000;
    link_events events = {.on_up = on_up, .on_message = on_message, .on_down = on_down};
    memset(s, 0, sizeof *s);
    s->process = ++number;
    link_options o = {.self = {s->process, 1}};
    if (link_open(&o, &events, s, &s->links) || link_connect(s->links, manta_listen_address(0), 0)) return false;
    return WAIT_FOR(s->ups == 1, 20);
}

static void leave(stranger *s) { link_close(s->links, 0); }

static void say(stranger *s, wire_head h, const void *data, size_t bytes)
{
    (void)link_send(s->links, s->target, &h, sizeof h, data, bytes, NULL, NULL);
}

static manta_t *start(void)
{
    char address[64];
    static int n;
    snprintf(address, sizeof address, "ipc:///tmp/manta-test-hostile-%d-%d", (int)getpid(), n++);
    return manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1, .listen = address});
}

static void quiet(const char *line, void *context) { (void)line, (void)context; }

/* ---- as one who wants objects ---- */

static bool is_dropped(wire_head h, const void *data, size_t bytes)
{
    stranger s;
    bool ok = come(&s);
    say(&s, h, data, bytes);
    ok = ok && WAIT_FOR(s.downs == 1, 20);
    leave(&s);
    return ok;
}

/* Requests that no process of ours would send end the link. */
TEST(broken_requests)
{
    static const unsigned char bytes[64] = {0};
    manta_t *m = start();
    EXPECT(m);
    EXPECT(is_dropped((wire_head){.kind = WIRE_HOLD, .call = 1}, bytes, 15));
    EXPECT(is_dropped((wire_head){.kind = WIRE_HOLD}, bytes, 16));
    EXPECT(is_dropped((wire_head){.kind = WIRE_LOCATE, .call = 1}, bytes, 15));
    EXPECT(is_dropped((wire_head){.kind = WIRE_FETCH, .call = 1}, bytes, 31));
    EXPECT(is_dropped((wire_head){.kind = WIRE_FETCH, .call = 1}, bytes, 32)); /* no chunks */
    EXPECT(is_dropped((wire_head){.kind = WIRE_OBJECT, .call = 1}, bytes, 10));
    EXPECT(is_dropped((wire_head){.kind = WIRE_KINDS, .call = 1}, bytes, 10));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

static bool ranges_are_refused(stranger *s, manta_ref ref)
{
    static const struct {
        uint64_t first, count;
    } ranges[] = {{CHUNKS, 1}, {0, CHUNKS + 1}, {1ull << 26, 1}};
    bool ok = true;
    for (int i = 0; i < 3; i++) {
        fetch_payload what = {ref, ranges[i].first, ranges[i].count};
        int chunks = s->seen[WIRE_CHUNK];
        say(s, (wire_head){.kind = WIRE_FETCH, .call = 1}, &what, sizeof what);
        ok = ok && WAIT_FOR(s->seen[WIRE_REFUSED] == i + 1, 20) && s->last[WIRE_REFUSED].status == MANTA_EINVAL;
        ok = ok && s->seen[WIRE_CHUNK] == chunks;
    }
    return ok;
}

/* What is well formed and not to be had is refused, with the reason: unknown objects, unknown holds, chunks beyond the end. */
TEST(refused_requests)
{
    stranger s;
    manta_ref ref, wrong;
    void *data;
    manta_t *m = start();
    EXPECT(m && come(&s));
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_create(CHUNKS * CHUNK_SIZE - 7, &ref, &data), MANTA_OK);
    EXPECT_EQ(manta_seal(ref), MANTA_OK);
    wrong = (manta_ref){{ref.id[0], ref.id[1] + 1}};
    say(&s, (wire_head){.kind = WIRE_HOLD, .call = 1, .status = 1}, &wrong, sizeof wrong);
    EXPECT(WAIT_FOR(s.seen[WIRE_HELD] == 1, 20));
    EXPECT_EQ(s.last[WIRE_HELD].status, MANTA_ESTALE);
    locate_payload where = {.is_admitted = 1};
    say(&s, (wire_head){.kind = WIRE_LOCATE, .call = 1}, &where, sizeof where);
    EXPECT(WAIT_FOR(s.seen[WIRE_OBJECT] == 1, 20));
    EXPECT_EQ(s.last[WIRE_OBJECT].status, MANTA_ESTALE);
    EXPECT(ranges_are_refused(&s, ref));
    fetch_payload what = {wrong, 0, 1};
    say(&s, (wire_head){.kind = WIRE_FETCH, .call = 1}, &what, sizeof what);
    EXPECT(WAIT_FOR(s.seen[WIRE_REFUSED] == 4, 20));
    EXPECT_EQ(s.last[WIRE_REFUSED].status, MANTA_ESTALE);
    what.root = ref;
    say(&s, (wire_head){.kind = WIRE_FETCH, .call = 7}, &what, sizeof what);
    EXPECT(WAIT_FOR(s.seen[WIRE_CHUNK] == 1, 20)); /* and what there is comes */
    EXPECT_EQ(s.downs, 0);
    leave(&s);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* What a peer held and waited for goes with it. */
TEST(holds_go_with_the_link)
{
    stranger s;
    manta_ref ref;
    manta_object_stats stats;
    manta_t *m = start();
    EXPECT(m && come(&s));
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_put("abc", 3, &ref), MANTA_OK);
    for (uint64_t i = 1; i <= 100; i++) say(&s, (wire_head){.kind = WIRE_HOLD, .call = i, .status = 1}, &ref, sizeof ref);
    EXPECT(WAIT_FOR(s.seen[WIRE_HELD] == 100, 20));
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT(manta_read_object_stats(&stats) == MANTA_OK && stats.objects == 1 && stats.held == 100);
    leave(&s);
    EXPECT(WAIT_FOR(manta_read_object_stats(&stats) == MANTA_OK && stats.objects == 0 && stats.held == 0, 20));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* ---- as one who has objects ---- */

typedef struct answer_case {
    answer_head head;
    size_t more; /* bytes behind the head */
    uint64_t chunk;
    size_t chunk_size; /* not 0: the answer is fine, and this chunk comes */
} answer_case;

/* A call with the name of an object of that process. */
static void give_name(stranger *s, Holder_ref h, uint64_t process, uint64_t root)
{
    manta_writer w;
    manta_writer_init_growing(&w);
    manta_pack_array(&w, 1);
    manta_pack_array(&w, 7);
    const uint64_t name[7] = {process, 5, root, 5, root, SIZE_UNKNOWN, 0};
    for (int i = 0; i < 7; i++) manta_pack_uint64_t(&w, &name[i]);
    wire_head call = {.kind = WIRE_CALL, .to = h.actor.id, .call = 1, .method = method_hash(&Holder_take_method), .borrow = 1};
    say(s, call, w.start, manta_writer_size(&w));
    manta_writer_fini(&w);
}

/* The system has a ref to an object of the stranger, waits for it, and gets that answer. What the waiting handler gets. */
static manta_status answer_with(const answer_case *c)
{
    static unsigned char bytes[sizeof(answer_head) + (2 << 20)];
    stranger s;
    Holder_ref h = Holder_spawn();
    if (!come(&s)) return MANTA_EINIT;
    give_name(&s, h, s.process, s.process);
    bool ok = WAIT_FOR(s.seen[WIRE_TAKEN] == 1 && s.seen[WIRE_HOLD] == 1 && s.seen[WIRE_REPLY] == 1, 20);
    manta_uint64_t_future f = Holder_size(h);
    ok = ok && WAIT_FOR(s.seen[WIRE_LOCATE] == 1, 20);
    memcpy(bytes, &c->head, sizeof c->head);
    if (c->chunk_size) { /* first its size, then itself as the source */
        answer_head size = {.size = c->head.size, .kind = ANSWER_SIZE};
        say(&s, (wire_head){.kind = WIRE_OBJECT, .call = s.last[WIRE_LOCATE].call}, &size, sizeof size);
        ok = ok && WAIT_FOR(s.seen[WIRE_LOCATE] == 2, 20);
        object_source me = {s.process, 1};
        memcpy(bytes + sizeof c->head, &me, sizeof me);
    }
    say(&s, (wire_head){.kind = WIRE_OBJECT, .call = s.last[WIRE_LOCATE].call}, bytes, sizeof c->head + c->more);
    if (c->chunk_size) {
        ok = ok && WAIT_FOR(s.seen[WIRE_FETCH] == 1, 20);
        say(&s, (wire_head){.kind = WIRE_CHUNK, .call = s.last[WIRE_FETCH].call, .method = c->chunk}, bytes, c->chunk_size);
    }
    ok = ok && WAIT_FOR(s.downs == 1, 20);
    uint64_t size;
    manta_status status = manta_get_timeout(f, &size, 20000);
    (void)manta_join(Holder_drop(h));
    (void)manta_stop(h.actor);
    leave(&s);
    return ok ? status : MANTA_EINTERRUPTED;
}

/* Answers and chunks that do not fit end the link, and who waits for the object is told that it is lost. */
TEST(broken_answers)
{
    enum { BIG = CHUNK_SIZE + CHUNK_SIZE / 2 };
    static const answer_case cases[] = {
        {{.size = 10, .kind = ANSWER_BYTES}, 9, 0, 0},
        {{.size = 10, .kind = ANSWER_BYTES}, 11, 0, 0},
        {{.size = 10, .kind = 9}, 10, 0, 0},
        {{.size = 10, .kind = ANSWER_SIZE}, 0, 0, 0},
        {{.size = 1 << 20, .kind = ANSWER_BYTES}, 1 << 20, 0, 0},
        {{.size = 1 << 20, .kind = ANSWER_SOURCES, .n_sources = 1}, 16, 0, 0},
        {{.size = 10, .kind = ANSWER_BYTES, .n_inside = UINT32_MAX}, 10, 0, 0},
        {{.size = UINT64_MAX, .kind = ANSWER_SIZE}, 0, 0, 0},
        {{.size = BIG, .kind = ANSWER_SOURCES, .n_sources = 1}, 16, 2, CHUNK_SIZE},
        {{.size = BIG, .kind = ANSWER_SOURCES, .n_sources = 1}, 16, 0, CHUNK_SIZE - 1},
        {{.size = BIG, .kind = ANSWER_SOURCES, .n_sources = 1}, 16, 1, CHUNK_SIZE},
    };
    manta_t *m = manta_init_with(
        &(manta_config){.size = sizeof(manta_config), .workers = 1, .listen = "ipc:///tmp/manta-test-hostile-answers", .on_report = quiet});
    EXPECT(m);
    manta_object_stats stats;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        EXPECT_EQ(manta_scope_begin(), MANTA_OK);
        manta_status status = answer_with(&cases[i]);
        if (status != MANTA_EOBJECTLOST) fprintf(stderr, "case %zu\n", i);
        EXPECT_EQ(status, MANTA_EOBJECTLOST);
        EXPECT_EQ(manta_scope_end(), MANTA_OK);
        EXPECT(WAIT_FOR(manta_read_object_stats(&stats) == MANTA_OK && stats.objects == 0 && stats.replicas == 0, 20));
    }
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A name of an object that the process itself once had: whoever sent it, not knowing yet, is asked for the object. */
TEST(names_what_was_ours)
{
    stranger s;
    manta_object_stats stats;
    manta_t *m = start();
    EXPECT(m && come(&s));
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    Holder_ref h = Holder_spawn();
    give_name(&s, h, s.target, s.target);
    EXPECT(WAIT_FOR(s.seen[WIRE_HOLD] == 1, 20));
    say(&s, (wire_head){.kind = WIRE_HELD, .call = s.last[WIRE_HOLD].call}, NULL, 0);
    EXPECT(WAIT_FOR(s.seen[WIRE_TAKEN] == 1 && s.seen[WIRE_REPLY] == 1, 20));
    EXPECT_EQ(s.last[WIRE_REPLY].status, MANTA_OK);
    manta_uint64_t_future f = Holder_size(h);
    EXPECT(WAIT_FOR(s.seen[WIRE_LOCATE] == 1, 20));
    unsigned char answer[sizeof(answer_head) + 10] = {0};
    memcpy(answer, &(answer_head){.size = 10, .kind = ANSWER_BYTES}, sizeof(answer_head));
    say(&s, (wire_head){.kind = WIRE_OBJECT, .call = s.last[WIRE_LOCATE].call}, answer, sizeof answer);
    EXPECT_EQ(manta_await(f), 10);
    EXPECT_EQ(manta_join(Holder_drop(h)), MANTA_OK);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT(WAIT_FOR(manta_read_object_stats(&stats) == MANTA_OK && stats.objects == 0 && stats.replicas == 0, 20));
    leave(&s);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* Any messages at all: the process goes on, and has nothing left of them. */
TEST(random_messages)
{
    rng r;
    stranger s;
    unsigned char bytes[200];
    manta_object_stats stats;
    manta_ref ref;
    manta_t *m = manta_init_with(
        &(manta_config){.size = sizeof(manta_config), .workers = 1, .listen = "ipc:///tmp/manta-test-hostile-random", .on_report = quiet});
    rng_init(&r, test_seed());
    EXPECT(m && come(&s));
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_put("abc", 3, &ref), MANTA_OK);
    for (int64_t i = 0; i < test_scaled(20000); i++) {
        if (s.downs) {
            leave(&s);
            EXPECT(come(&s));
        }
        for (size_t k = 0; k < sizeof bytes; k++) bytes[k] = (unsigned char)(rng_next(&r) % 3 ? 0 : rng_next(&r));
        if (rng_next(&r) % 4) memcpy(bytes, &ref, sizeof ref);
        wire_head h = {.kind = (uint8_t)(WIRE_HOLD + rng_next(&r) % 9),
            .status = (uint32_t)(rng_next(&r) % 2),
            .call = rng_next(&r) % 50,
            .method = rng_next(&r) % 3};
        static const size_t lengths[] = {0, 16, 16, 16, 32, 24, 27, 72, 100};
        say(&s, h, bytes, lengths[rng_next(&r) % 9]);
    }
    leave(&s);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT(WAIT_FOR(manta_read_object_stats(&stats) == MANTA_OK && stats.objects == 0 && stats.held == 0, 20));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
