/*
 * Processes that talk over the simulated network while it cuts, blocks, repeats, delays and they crash, stop and restart, from a seed.
 *
 * Oracle: what an incarnation receives from another during one link (up to down) is numbered 0, 1, 2 ... without a gap or a repeat; on_up and on_down alternate; and when the network is whole again, everything that was
 * sent on links that neither side saw go down has arrived.
 */
#include "mailbox/link/link_internal.h"
#include "mailbox/link/link_sim.h"
#include "scheduler/base/rng.h"
#include "test/support/test.h"

enum { ENDS_MIN = 2, ENDS = 5, SECONDS = 12, MESSAGE_LIMIT = 40000 };

typedef struct side { /* of one end towards another */
    bool is_up;
    uint64_t incarnation, round, sent, received; /* round: how many links there were; sent, received: in this one */
    uint64_t peers_round;                        /* as its messages say */
} side;

typedef struct end {
    struct world *world;
    links *links;
    uint64_t process, incarnation;
    side sides[ENDS + 1];
} end;

typedef struct world {
    link_sim *sim;
    rng random;
    int n;
    end ends[ENDS + 1]; /* by process */
    enum link_sabotage sabotage;
    uint64_t messages, downs;
    const char *wrong;
} world;

typedef struct payload {
    uint64_t number, round, incarnation; /* of the sender */
} payload;

static void complain(world *w, const char *text)
{
    if (!w->wrong) w->wrong = text;
}

static void on_up(void *context, link_peer peer, const char *address, const char *dialled)
{
    end *e = context;
    side *s = &e->sides[peer.process];
    (void)address, (void)dialled;
    if (s->is_up) complain(e->world, "up twice");
    if (peer.incarnation < s->incarnation) complain(e->world, "an older incarnation came up");
    *s = (side){.is_up = true, .incarnation = peer.incarnation, .round = s->round + 1};
}

static void on_down(void *context, link_peer peer, manta_status status, const char *reason)
{
    end *e = context;
    side *s = &e->sides[peer.process];
    if (!s->is_up || s->incarnation != peer.incarnation) complain(e->world, "down without up");
    if (status == MANTA_EDECODE) complain(e->world, reason);
    s->is_up = false;
    e->world->downs++;
}

static void on_message(void *context, link_peer peer, const link_message *m)
{
    end *e = context;
    side *s = &e->sides[peer.process];
    payload p;
    memcpy(&p, m->data, sizeof p);
    if (!s->is_up) complain(e->world, "a message without a link");
    if (s->received == 0) s->peers_round = p.round;
    if (p.incarnation != s->incarnation) complain(e->world, "a message of another incarnation");
    if (p.round != s->peers_round) complain(e->world, "a message of another link");
    if (p.number != s->received) complain(e->world, p.number < s->received ? "a message twice" : "a message is missing");
    s->received++;
    e->world->messages++;
}

static void on_no_connection(void *context, const char *dialled, uint64_t expect, manta_status status, const char *reason)
{
    (void)context, (void)dialled, (void)expect, (void)status, (void)reason;
}

static const char *address_of(uint64_t process)
{
    static const char *const names[ENDS + 1] = {"", "tcp://one:1", "tcp://two:1", "tcp://three:1", "tcp://four:1", "tcp://five:1"};
    return names[process];
}

static void open_end(world *w, uint64_t process)
{
    static const link_events events = {on_up, on_message, on_down, on_no_connection, NULL};
    end *e = &w->ends[process];
    const char *bind[2] = {address_of(process), NULL};
    link_options o = {.self = {process, e->incarnation + 1}, .bind = bind};
    *e = (end){.world = w, .process = process, .incarnation = o.self.incarnation};
    if (link_sim_open(w->sim, &o, &events, e, &e->links)) complain(w, link_error());
    else e->links->sabotage = w->sabotage;
}

static uint64_t some_end(world *w) { return 1 + rng_below(&w->random, (uint64_t)w->n); }

static void talk(world *w, uint64_t from, uint64_t to, uint64_t count)
{
    static unsigned char bytes[MESSAGE_LIMIT];
    end *e = &w->ends[from];
    side *s = &e->sides[to];
    for (uint64_t i = 0; i < count && s->is_up; i++) {
        payload p = {s->sent, s->round, e->incarnation};
        size_t more = rng_below(&w->random, 20) ? rng_below(&w->random, 100) : rng_below(&w->random, MESSAGE_LIMIT);
        manta_status status = link_send(e->links, to, &p, sizeof p, bytes, more, NULL, NULL);
        if (status == MANTA_OK) s->sent++;
        else if (status != MANTA_ELIMIT && status != MANTA_ENOTFOUND) complain(w, "a send failed");
        if (status) return;
    }
}

static void crash(world *w, uint64_t process, bool silent)
{
    end *e = &w->ends[process];
    if (rng_below(&w->random, 4)) link_sim_crash(e->links, silent);
    else link_close(e->links, (uint32_t)rng_below(&w->random, 50));
    e->links = NULL;
    open_end(w, process);
}

static void heal(world *w)
{
    for (int a = 1; a <= w->n; a++)
        for (int b = 1; b <= w->n; b++) {
            link_sim_path *p = link_sim_path_of(w->sim, (uint64_t)a, (uint64_t)b);
            *p = (link_sim_path){.delay_min_ns = 50000, .delay_max_ns = 1000000};
        }
}

static void harm_path(world *w, uint64_t a, uint64_t b)
{
    link_sim_path *p = link_sim_path_of(w->sim, a, b);
    switch (rng_below(&w->random, 5)) {
    case 0: p->is_blocked = !p->is_blocked; break;
    case 1: p->twice_ppm = (uint32_t)rng_below(&w->random, 300000); break;
    case 2: p->delay_max_ns = p->delay_min_ns + rng_below(&w->random, 200000000); break;
    case 3: p->bytes_per_s = 100000 + rng_below(&w->random, 10000000); break;
    default: p->refuse_ppm = (uint32_t)rng_below(&w->random, 500000); break;
    }
}

static void harm(world *w)
{
    uint64_t a = some_end(w), b = some_end(w);
    if (a == b) return;
    switch (rng_below(&w->random, 12)) {
    case 0:
    case 1:
    case 2: link_sim_cut(w->sim, a, b); break;
    case 3:
    case 4: harm_path(w, a, b); break;
    case 5: link_sim_partition(w->sim, a, b, rng_below(&w->random, 2)); break;
    case 6: link_sim_pause(w->sim, a, rng_below(&w->random, 3 * (uint64_t)OS_NS_PER_S)); break;
    case 7: heal(w); break;
    case 8: link_drop(w->ends[a].links, b, MANTA_EINVAL); break;
    case 9:
        if (!rng_below(&w->random, 4)) crash(w, a, rng_below(&w->random, 2));
        break;
    default: (void)link_connect(w->ends[a].links, address_of(b), rng_below(&w->random, 2) ? b : 0); break;
    }
}

/* Links that both sides are in: everything has arrived. */
static void check_all_arrived(world *w)
{
    for (int a = 1; a <= w->n; a++)
        for (int b = 1; b <= w->n; b++) {
            const end *from = &w->ends[a], *to = &w->ends[b];
            const side *there = &from->sides[b], *here = &to->sides[a];
            if (a == b || !there->is_up) continue;
            if (!here->is_up || here->incarnation != from->incarnation) complain(w, "only one side is up");
            else if (there->sent != here->received) complain(w, "a message has not arrived");
            else if (there->sent && here->peers_round != there->round) complain(w, "sides of two links");
        }
}

static void settle(world *w)
{
    heal(w);
    link_sim_run_until(w->sim, link_sim_now_ns(w->sim) + 10 * (uint64_t)OS_NS_PER_S);
    for (int a = 1; a <= w->n; a++)
        for (int b = 1; b <= w->n; b++) talk(w, (uint64_t)a, (uint64_t)b, 10);
    link_sim_run_until(w->sim, link_sim_now_ns(w->sim) + 10 * (uint64_t)OS_NS_PER_S);
    check_all_arrived(w);
}

static const char *run(uint64_t seed, enum link_sabotage sabotage, uint64_t *out_hash, world *out)
{
    static world w;
    w = (world){.sim = link_sim_new(seed), .sabotage = sabotage};
    rng_init(&w.random, seed ^ 0x5eed);
    w.n = ENDS_MIN + (int)rng_below(&w.random, ENDS - ENDS_MIN + 1);
    for (int i = 1; i <= w.n; i++) open_end(&w, (uint64_t)i);
    for (int i = 2; i <= w.n; i++) (void)link_connect(w.ends[i].links, address_of(1), 0);
    uint64_t stop = link_sim_now_ns(w.sim) + SECONDS * (uint64_t)OS_NS_PER_S;
    while (link_sim_now_ns(w.sim) < stop && !w.wrong) {
        link_sim_run_until(w.sim, link_sim_now_ns(w.sim) + rng_below(&w.random, 60) * OS_NS_PER_MS);
        if (!rng_below(&w.random, 3)) harm(&w);
        talk(&w, some_end(&w), some_end(&w), rng_below(&w.random, 30));
    }
    if (!w.wrong) settle(&w);
    *out_hash = link_sim_hash(w.sim);
    for (int i = 1; i <= w.n; i++)
        if (w.ends[i].links) link_sim_crash(w.ends[i].links, true);
    link_sim_free(w.sim);
    *out = w;
    return w.wrong;
}

/* Whatever the network and the processes do: each link delivers once and in order, and ends for both. MANTA_LINK_SEEDS: how many. */
TEST(seeds)
{
    const char *given = getenv("MANTA_LINK_SEEDS"), *first = getenv("MANTA_LINK_FIRST_SEED");
    int64_t n = given ? atoll(given) : test_scaled(1000);
    uint64_t messages = 0, downs = 0, start = first ? strtoull(first, NULL, 0) : 1;
    world w;
    for (uint64_t seed = start; seed < start + (uint64_t)n; seed++) {
        uint64_t hash;
        const char *wrong = run(seed, LINK_SABOTAGE_NONE, &hash, &w);
        if (wrong) fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, wrong);
        EXPECT(!wrong);
        messages += w.messages;
        downs += w.downs;
    }
    printf("     %lld seeds, %llu messages, %llu links that went down\n", (long long)n, (unsigned long long)messages,
        (unsigned long long)downs);
    EXPECT(messages > (uint64_t)n * 100 && downs > (uint64_t)n);
}

/* The same seed runs the same; another one does not. */
TEST(replay)
{
    world w;
    uint64_t first, again, other;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run(seed, LINK_SABOTAGE_NONE, &first, &w);
        run(seed, LINK_SABOTAGE_NONE, &again, &w);
        run(seed + 1, LINK_SABOTAGE_NONE, &other, &w);
        EXPECT(first == again && first != other);
    }
}

static int seeds_until_noticed(enum link_sabotage what)
{
    world w;
    uint64_t hash;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        const char *wrong = run(seed, what, &hash, &w);
        if (wrong) return printf("     noticed by seed %llu: %s\n", (unsigned long long)seed, wrong), (int)seed;
    }
    return 0;
}

/* A build that does not resend, takes old frames again, or confuses incarnations is caught within 500 seeds. */
TEST(lost_resend) { EXPECT(seeds_until_noticed(LINK_SABOTAGE_RESEND)); }
TEST(lost_deduplication) { EXPECT(seeds_until_noticed(LINK_SABOTAGE_DUPLICATES)); }
TEST(lost_incarnation) { EXPECT(seeds_until_noticed(LINK_SABOTAGE_INCARNATION)); }
