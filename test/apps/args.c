/*
 * Drivers for test/check/cluster_args.sh: objects as arguments of constructors and as values of generators in other processes. Each names a behaviour, runs it on the cluster that it is
 * started on, and at the end finds no object left on any node.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <manta/manta.h>

enum { SMALL = 1000, LARGE = 600000, PATIENCE_S = 20 };

static int failed;
#define CHECK(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "args.c:%d: %s: %s\n", __LINE__, #x, manta_last_error()->message); \
            failed = 1; \
        } \
    } while (0)

static bool is_made(const void *data, size_t size, unsigned seed)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < size; i++)
        if (at[i] != (unsigned char)(i * 31 + seed)) return false;
    return true;
}

static manta_ref made(size_t size, unsigned seed)
{
    manta_ref ref = {{0, 0}};
    unsigned char *data;
    if (manta_create(size, &ref, (void **)&data)) return ref;
    for (size_t i = 0; i < size; i++) data[i] = (unsigned char)(i * 31 + seed);
    (void)manta_seal(ref);
    return ref;
}

static bool is_there(manta_ref ref, size_t size, unsigned seed)
{
    manta_object o;
    return manta_object_get(ref, 20000, &o) == MANTA_OK && o.size == size && is_made(o.data, o.size, seed);
}

static manta_node_info nodes[16];
static size_t n_nodes;

/* ---- actors ---- */

MANTA_ACTOR(Witness, int64_t heard;)
MANTA_METHOD(Witness, hear, void) { self->heard++; }
MANTA_METHOD(Witness, heard, int64_t) { return self->heard; }
MANTA_CLASS(Witness, hear, heard)

MANTA_STRUCT(Luggage, (manta_ref, ref), (Witness_ref, witness), (manta_object, view), (manta_str, label))

/* What its constructor was given: an object that is there when it runs, and a ref and a handle in a struct. */
MANTA_ACTOR(Traveller, manta_ref kept; bool saw_view;)
MANTA_METHOD(Traveller, init, void, (uint32_t, seed), (manta_object, view), (Luggage, luggage), (manta_ref, ref))
{
    self->saw_view = view.size == LARGE && is_made(view.data, view.size, seed) && luggage.view.size == SMALL &&
                     is_made(luggage.view.data, SMALL, seed) && luggage.label.size == 5 && memcmp(luggage.label.data, "label", 5) == 0;
    self->kept = ref;
    (void)manta_retain(ref);
    if (!is_there(luggage.ref, SMALL, seed)) self->saw_view = false;
    (void)Witness_hear_send(luggage.witness);
}
MANTA_METHOD(Traveller, saw, bool, (uint32_t, seed)) { return self->saw_view && is_there(self->kept, LARGE, seed); }
MANTA_METHOD(Traveller, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_METHOD(Traveller, drop, void) { (void)manta_release(self->kept); }
MANTA_CLASS(Traveller, init, saw, pid, drop)

static Traveller_ref travel(const manta_options *o, unsigned seed, Witness_ref witness)
{
    manta_ref large = made(LARGE, seed), small = made(SMALL, seed);
    Luggage l = {small, witness, manta_object_of(small), manta_str_of("label")};
    return Traveller_spawn_with(o, seed, manta_object_of(large), l, large);
}

/* Fails, dies or lives with what it was given. */
MANTA_ACTOR(Doomed, int unused;)
MANTA_METHOD(Doomed, init, void, (int32_t, how), (manta_object, view), (manta_ref, ref))
{
    (void)self;
    if (how == 1) manta_fail(MANTA_EINVAL, "not with an object of %zu bytes", view.size);
    if (how == 2) kill(getpid(), SIGKILL);
    if (how == 3 && (view.size != LARGE || !is_there(ref, LARGE, 9))) manta_fail(MANTA_ESTALE, "the object is gone");
    if (how == 0 && manta_retain(ref)) manta_fail(MANTA_ESTALE, "the ref is gone");
}
MANTA_METHOD(Doomed, poke, int32_t) { return (void)self, 1; }
MANTA_METHOD(Doomed, die, void) { (void)self, kill(getpid(), SIGKILL); }
MANTA_CLASS(Doomed, init, poke, die)

/* Waits for a place with an object that somebody else lets go of meanwhile. */
MANTA_ACTOR(Sender, manta_ref ref;)
MANTA_METHOD(Sender, take, void, (manta_ref, ref))
{
    self->ref = ref;
    (void)manta_retain(ref);
}
MANTA_METHOD(Sender, drop, void) { (void)manta_release(self->ref); }
MANTA_METHOD(Sender, place, manta_actor)
{
    Doomed_ref d = Doomed_spawn_with(MANTA_OPTIONS(.resources = "db=1", .timeout_ms = 60000), 3, manta_object_of(self->ref), self->ref);
    if (!d.actor.id) manta_fail(manta_last_error()->status, "%s", manta_last_error()->message);
    return d.actor;
}
MANTA_CLASS_WITH(Sender, (.concurrency = 4), take, drop, place)

/* ---- tasks ---- */

MANTA_TASK(left_here, uint64_t)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 999 : s.objects + s.held + s.replicas;
}

MANTA_GENERATOR(refs_of, manta_ref, (uint32_t, n), (uint32_t, dies_at))
{
    for (uint32_t i = 0; i < n; i++) {
        if (i + 1 == dies_at) kill(getpid(), SIGKILL);
        if (manta_scope_begin()) return;
        manta_ref ref = made(i % 3 ? SMALL : LARGE, i);
        manta_status status = manta_yield(manta_ref, ref);
        (void)manta_scope_end(); /* only the value has it now */
        if (status) return;
    }
    if (n == 7) manta_fail(MANTA_EFAILED, "seven");
}

MANTA_STRUCT(Piece, (uint32_t, seed), (manta_object, data))
MANTA_GENERATOR(pieces_of, Piece, (manta_ref, given), (uint32_t, n))
{
    for (uint32_t i = 0; i < n; i++) {
        Piece p = {i, manta_object_of(i ? made(LARGE, i) : given)};
        if (manta_yield(Piece, p)) return;
    }
}

/* ---- what is checked ---- */

static void wait_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

static uint64_t left_on(size_t i)
{
    uint64_t left = 999;
    if (manta_get(left_here_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = nodes[i].node)), &left)) return 999;
    return left;
}

/* No object, no replica and no hold on any node, nor here. */
static void nothing_left(void)
{
    manta_object_stats s = {.objects = 999};
    for (size_t i = 0; i < n_nodes; i++) {
        uint64_t left = 999;
        for (int k = 0; k < PATIENCE_S * 20 && (left = left_on(i)); k++) wait_ms(50);
        if (left) fprintf(stderr, "args.c: %" PRIu64 " left on %s\n", left, nodes[i].address), failed = 1;
    }
    for (int k = 0; k < PATIENCE_S * 20 && !manta_read_object_stats(&s) && s.objects + s.held + s.replicas; k++) wait_ms(50);
    if (s.objects + s.held + s.replicas) {
        fprintf(stderr, "args.c: %" PRIu64 " objects, %" PRIu64 " held, %" PRIu64 " replicas left\n", s.objects, s.held, s.replicas);
        failed = 1;
    }
}

/* Classes with objects in their constructors are spread like others, see what they were given when the constructor runs, and keep it after the spawner has let go. */
static void spawns(void)
{
    enum { N = 6 };
    Traveller_ref t[N];
    int64_t pids[N];
    int different = 0;
    Witness_ref witness = Witness_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE));
    CHECK(manta_scope_begin() == MANTA_OK);
    for (int i = 0; i < N; i++) t[i] = travel(NULL, (unsigned)i, witness);
    CHECK(manta_scope_end() == MANTA_OK);
    for (int i = 0; i < N; i++) {
        CHECK(t[i].actor.id && manta_await(Traveller_saw(t[i], (uint32_t)i)));
        pids[i] = manta_await(Traveller_pid(t[i]));
        bool fresh = pids[i] != (int64_t)getpid();
        for (int k = 0; k < i; k++) fresh = fresh && pids[k] != pids[i];
        different += fresh;
    }
    CHECK(different == N);
    CHECK(manta_await(Witness_heard(witness)) == N);
    for (size_t i = 0; i < n_nodes; i++) { /* a node that is named */
        Traveller_ref at = travel(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = nodes[i].node), 40, witness);
        CHECK(at.actor.id && manta_await(Traveller_saw(at, 40)) && manta_await(Traveller_pid(at)) != (int64_t)getpid());
        CHECK(!manta_join(Traveller_drop(at)) && manta_stop(at.actor) == MANTA_OK);
    }
    Traveller_ref named = travel(MANTA_OPTIONS(.name = "traveller"), 50, witness);
    CHECK(named.actor.id && manta_await(Traveller_saw(named, 50)));
    Traveller_ref again = travel(MANTA_OPTIONS(.name = "traveller"), 51, witness);
    CHECK(!again.actor.id && manta_last_error()->status == MANTA_EEXIST);
    CHECK(!manta_join(Traveller_drop(named)) && manta_stop(named.actor) == MANTA_OK);
    Traveller_ref detached = travel(MANTA_OPTIONS(.name = "apart", .lifetime = MANTA_LIFETIME_DETACHED), 60, witness);
    CHECK(detached.actor.id && manta_await(Traveller_saw(detached, 60)));
    CHECK(!manta_join(Traveller_drop(detached)) && manta_stop(detached.actor) == MANTA_OK);
    for (int i = 0; i < N; i++) CHECK(!manta_join(Traveller_drop(t[i])) && manta_stop(t[i].actor) == MANTA_OK);
}

/* A spawn that comes to nothing, in the constructor, for want of a place, or with its worker, gives everything back. */
static void failures(void)
{
    int32_t v;
    for (int i = 0; i < 4; i++) {
        CHECK(manta_scope_begin() == MANTA_OK);
        manta_ref ref = made(LARGE, 1);
        Doomed_ref d = Doomed_spawn(1, manta_object_of(ref), ref);
        CHECK(!d.actor.id || manta_get(Doomed_poke(d), &v) == MANTA_EEXIT || manta_last_error()->status == MANTA_EDEAD);
        d = Doomed_spawn_with(MANTA_OPTIONS(.resources = "unobtainium=1", .timeout_ms = 100), 0, manta_object_of(ref), ref);
        CHECK(!d.actor.id && manta_last_error()->status == MANTA_ETIMEDOUT);
        d = Doomed_spawn_with(MANTA_OPTIONS(.isolated = true), 2, manta_object_of(ref), ref);
        CHECK(!d.actor.id || manta_get(Doomed_poke(d), &v) != MANTA_OK);
        d = Doomed_spawn_with(MANTA_OPTIONS(.isolated = true), 0, manta_object_of(ref), ref);
        CHECK(d.actor.id && manta_await(Doomed_poke(d)) == 1);
        CHECK(manta_join(Doomed_die(d)) == MANTA_EUNKNOWN);
        CHECK(manta_scope_end() == MANTA_OK);
    }
}

/* A spawn under way, which waits, with an object that nobody else has any more. */
static manta_manta_actor_future spawn_late(Sender_ref s)
{
    CHECK(manta_scope_begin() == MANTA_OK);
    CHECK(manta_join(Sender_take(s, made(LARGE, 9))) == MANTA_OK);
    CHECK(manta_scope_end() == MANTA_OK);
    manta_manta_actor_future f = Sender_place(s);
    wait_ms(100);
    CHECK(manta_join(Sender_drop(s)) == MANTA_OK);
    return f;
}

/* While a spawn waits for a place it keeps its objects, whoever lets go of them, and gives them back when it is killed in that wait. */
static void waiting(void)
{
    manta_actor late = {0};
    Doomed_ref has[16];
    for (size_t i = 0; i < n_nodes; i++) {
        has[i] = Doomed_spawn_with(MANTA_OPTIONS(.resources = "db=1"), 4, (manta_object){.size = 0}, (manta_ref){{0, 0}});
        CHECK(has[i].actor.id);
    }
    Sender_ref s = Sender_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE));
    manta_manta_actor_future f = spawn_late(s);
    CHECK(manta_stop(has[0].actor) == MANTA_OK);
    CHECK(manta_get(f, &late) == MANTA_OK && manta_await(Doomed_poke((Doomed_ref){.actor = late})) == 1);
    f = spawn_late(s);
    CHECK(manta_kill(s.actor) == MANTA_OK);
    CHECK(manta_get(f, &(manta_actor){0}) != MANTA_OK);
    CHECK(manta_stop(late) == MANTA_OK);
}

/* Refs and objects that generators elsewhere yield arrive whole; those of readers that give up and of workers that die leave nothing. */
static void generators(void)
{
    manta_ref ref;
    Piece p;
    CHECK(manta_scope_begin() == MANTA_OK);
    manta_manta_ref_stream s = refs_of_start_with(MANTA_OPTIONS(.stream_limit = 4), 30, 0);
    for (uint32_t i = 0; i < 30; i++) CHECK(manta_next(s, &ref) == MANTA_OK && is_there(ref, i % 3 ? SMALL : LARGE, i));
    CHECK(manta_next(s, &ref) == MANTA_EEND);
    s = refs_of_start(7, 0);
    for (uint32_t i = 0; i < 7; i++) CHECK(manta_next(s, &ref) == MANTA_OK && is_there(ref, i % 3 ? SMALL : LARGE, i));
    CHECK(manta_next(s, &ref) == MANTA_EFAILED);
    for (size_t i = 0; i < n_nodes; i++) {
        manta_Piece_stream all = pieces_of_start_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = nodes[i].node), made(LARGE, 0), 5);
        for (uint32_t k = 0; k < 5; k++)
            CHECK(manta_next(all, &p) == MANTA_OK && p.seed == k && p.data.size == LARGE && is_made(p.data.data, LARGE, k));
        CHECK(manta_next(all, &p) == MANTA_EEND);
    }
    s = refs_of_start_with(MANTA_OPTIONS(.stream_limit = 8), 1000, 0);
    CHECK(manta_next(s, &ref) == MANTA_OK && manta_stream_release(s.stream) == MANTA_OK);
    s = refs_of_start_with(MANTA_OPTIONS(.stream_limit = 2), 1000, 5);
    manta_status status = MANTA_OK;
    for (int i = 0; i < 1000 && !status; i++) status = manta_next(s, &ref);
    CHECK(status == MANTA_EUNKNOWN);
    CHECK(manta_scope_end() == MANTA_OK);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {{"spawns", spawns}, {"failures", failures}, {"waiting", waiting}, {"generators", generators}};
    manta_t *m = manta_init(&argc, &argv);
    if (!m || argc < 2) return 2;
    failed = manta_list_nodes(nodes, 16, &n_nodes) != MANTA_OK;
    CHECK(manta_scope_begin() == MANTA_OK);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, argv[1]) == 0) all[i].run();
    CHECK(manta_scope_end() == MANTA_OK);
    nothing_left();
    if (manta_shutdown(m)) failed = 1;
    return failed;
}
