/* fork_join_create, fork_join_create_actor, fib, skynet, chameneos, big, memory. */
#include <unistd.h>

#include "tools/benchmarks/bench.h"

/* ---- fork_join_create: n actors, each gets one message and ends ---- */

MANTA_ACTOR(Countdown, uint64_t left;)
MANTA_METHOD(Countdown, init, void, (uint64_t, n)) { self->left = n; }
MANTA_METHOD(Countdown, done, void, (uint64_t, count))
{
    self->left -= count;
    if (self->left == 0) manta_unstash();
}
MANTA_METHOD(Countdown, wait, void)
{
    if (self->left) manta_stash();
}
MANTA_CLASS(Countdown, init, done, wait)

MANTA_ACTOR(Mayfly, char unused;)
MANTA_METHOD(Mayfly, live, void, (Countdown_ref, gate))
{
    Countdown_done_send(gate, 1);
    manta_exit_normally();
}
MANTA_CLASS(Mayfly, live)

static void gate_wait(Countdown_ref gate)
{
    manta_await(Countdown_wait(gate));
    manta_stop(gate.actor);
}

BENCH(fork_join_create, "actor", n)
{
    Countdown_ref gate = Countdown_spawn(n);
    for (uint64_t i = 0; i < n; i++) Mayfly_live_send(Mayfly_spawn(), gate);
    gate_wait(gate);
    return n;
}

MANTA_ACTOR(Breeder, char unused;)
MANTA_METHOD(Breeder, breed, void, (Countdown_ref, gate), (uint64_t, n))
{
    for (uint64_t i = 0; i < n; i++) Mayfly_live_send(Mayfly_spawn(), gate);
}
MANTA_CLASS(Breeder, breed)

BENCH(fork_join_create_actor, "actor", n)
{
    Countdown_ref gate = Countdown_spawn(n);
    Breeder_ref breeder = Breeder_spawn();
    Breeder_breed_send(breeder, gate, n);
    gate_wait(gate);
    manta_stop(breeder.actor);
    return n;
}

/* ---- fib(k): one actor per call; results go to the parent as messages ---- */

MANTA_ACTOR(Fib, manta_actor parent; uint64_t sum; int answers; Countdown_ref gate;)
MANTA_METHOD_DECLARE(Fib, answer, void, (uint64_t, value))
MANTA_METHOD_DECLARE(Fib, init, void, (manta_actor, parent), (uint64_t, k), (Countdown_ref, gate))

static void fib_report(Fib *self, uint64_t value)
{
    if (self->parent.id) Fib_answer_send(Fib_ref_of(self->parent), value);
    else Countdown_done_send(self->gate, value);
    manta_exit_normally();
}
MANTA_METHOD_DEFINE(Fib, init, void, (manta_actor, parent), (uint64_t, k), (Countdown_ref, gate))
{
    self->parent = parent;
    self->gate = gate;
    if (k < 2) {
        fib_report(self, k);
        return;
    }
    Fib_spawn(manta_self(), k - 1, gate);
    Fib_spawn(manta_self(), k - 2, gate);
}
MANTA_METHOD_DEFINE(Fib, answer, void, (uint64_t, value))
{
    self->sum += value;
    if (++self->answers == 2) fib_report(self, self->sum);
}
MANTA_CLASS(Fib, init, answer)

static uint64_t fib_value(uint64_t k)
{
    uint64_t a = 0, b = 1;
    for (; k; k--) {
        uint64_t c = a + b;
        a = b;
        b = c;
    }
    return a;
}

BENCH(fib, "actor", k)
{
    Countdown_ref gate = Countdown_spawn(fib_value(k));
    Fib_spawn((manta_actor){0}, k, gate);
    gate_wait(gate);
    return 2 * fib_value(k + 1) - 1;
}

/* ---- skynet: a tree of 10 children each, n leaves (n a power of 10) ---- */

MANTA_ACTOR(Sky, manta_actor parent; uint64_t sum; int answers; Countdown_ref gate;)
MANTA_METHOD_DECLARE(Sky, answer, void, (uint64_t, value))
MANTA_METHOD_DECLARE(Sky, init, void, (manta_actor, parent), (uint64_t, first), (uint64_t, size), (Countdown_ref, gate))

static void sky_report(Sky *self, uint64_t value)
{
    if (self->parent.id) Sky_answer_send(Sky_ref_of(self->parent), value);
    else Countdown_done_send(self->gate, value);
    manta_exit_normally();
}
MANTA_METHOD_DEFINE(Sky, init, void, (manta_actor, parent), (uint64_t, first), (uint64_t, size), (Countdown_ref, gate))
{
    self->parent = parent;
    self->gate = gate;
    if (size == 1) {
        sky_report(self, first);
        return;
    }
    for (uint64_t i = 0; i < 10; i++) Sky_spawn(manta_self(), first + i * (size / 10), size / 10, gate);
}
MANTA_METHOD_DEFINE(Sky, answer, void, (uint64_t, value))
{
    self->sum += value;
    if (++self->answers == 10) sky_report(self, self->sum);
}
MANTA_CLASS(Sky, init, answer)

BENCH(skynet, "actor", n)
{
    uint64_t leaves = 1, actors = 1;
    while (leaves < n) {
        leaves *= 10;
        actors += leaves;
    }
    Countdown_ref gate = Countdown_spawn(leaves * (leaves - 1) / 2);
    Sky_spawn((manta_actor){0}, 0, leaves, gate);
    gate_wait(gate);
    return actors;
}

/* ---- chameneos: 100 creatures, n meetings, 1 mall ---- */

enum { CREATURES = 100 };
MANTA_ACTOR(Mall, uint64_t left; manta_actor waiting; int32_t color; uint64_t finished; uint64_t total; Countdown_ref gate;)
MANTA_METHOD(Mall, init, void, (uint64_t, n), (Countdown_ref, gate))
{
    self->left = n;
    self->gate = gate;
}
MANTA_METHOD_DECLARE(Mall, meet, void, (manta_actor, who), (int32_t, color))
MANTA_METHOD_DECLARE(Mall, count, void, (uint64_t, meetings))

MANTA_ACTOR(Creature, manta_actor mall; int32_t color; uint64_t meetings;)
MANTA_METHOD(Creature, init, void, (manta_actor, mall), (int32_t, color))
{
    self->mall = mall;
    self->color = color;
    Mall_meet_send(Mall_ref_of(mall), manta_self(), color);
}
static int32_t complement(int32_t a, int32_t b) { return a == b ? a : 3 - a - b; }
MANTA_METHOD_DECLARE(Creature, change, void, (int32_t, color))
/* The first of a pair learns the other's color and tells it its own new one. */
MANTA_METHOD(Creature, met, void, (manta_actor, other), (int32_t, color))
{
    self->color = complement(self->color, color);
    self->meetings++;
    Creature_change_send(Creature_ref_of(other), self->color);
    Mall_meet_send(Mall_ref_of(self->mall), manta_self(), self->color);
}
MANTA_METHOD_DEFINE(Creature, change, void, (int32_t, color))
{
    self->color = color;
    self->meetings++;
    Mall_meet_send(Mall_ref_of(self->mall), manta_self(), self->color);
}
MANTA_METHOD(Creature, finish, void)
{
    Mall_count_send(Mall_ref_of(self->mall), self->meetings);
    manta_exit_normally();
}
MANTA_CLASS(Creature, init, met, change, finish)

MANTA_METHOD_DEFINE(Mall, meet, void, (manta_actor, who), (int32_t, color))
{
    if (self->left == 0) Creature_finish_send(Creature_ref_of(who));
    else if (self->waiting.id == 0) {
        self->waiting = who;
        self->color = color;
    } else {
        self->left--;
        Creature_met_send(Creature_ref_of(self->waiting), who, color);
        self->waiting.id = 0;
    }
}
MANTA_METHOD_DEFINE(Mall, count, void, (uint64_t, meetings))
{
    self->total += meetings;
    if (++self->finished == CREATURES) Countdown_done_send(self->gate, self->total);
}
MANTA_CLASS(Mall, init, meet, count)

BENCH(chameneos, "msg", n)
{
    Countdown_ref gate = Countdown_spawn(2 * n);
    Mall_ref mall = Mall_spawn(n, gate);
    for (int i = 0; i < CREATURES; i++) Creature_spawn(mall.actor, i % 3);
    gate_wait(gate);
    manta_stop(mall.actor);
    return 4 * n;
}

/* ---- big: 120 actors, n pings each to random others, each answered by a pong ---- */

enum { BIG = 120 };
static manta_actor big_all[BIG];
MANTA_ACTOR(Big, uint64_t left; uint64_t random; Countdown_ref gate;)
MANTA_METHOD(Big, init, void, (uint64_t, n), (uint64_t, seed), (Countdown_ref, gate))
{
    self->left = n;
    self->random = seed;
    self->gate = gate;
}
MANTA_METHOD_DECLARE(Big, ping, void, (manta_actor, from))
MANTA_METHOD_DECLARE(Big, pong, void)
static void big_next(Big *self)
{
    if (self->left == 0) {
        Countdown_done_send(self->gate, 1);
        return;
    }
    self->left--;
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    Big_ping_send(Big_ref_of(big_all[self->random % BIG]), manta_self());
}
MANTA_METHOD_DEFINE(Big, ping, void, (manta_actor, from)) { Big_pong_send(Big_ref_of(from)); }
MANTA_METHOD_DEFINE(Big, pong, void) { big_next(self); }
MANTA_CLASS(Big, init, ping, pong)

BENCH(big, "msg", n)
{
    Countdown_ref gate = Countdown_spawn(BIG);
    for (uint64_t i = 0; i < BIG; i++) big_all[i] = Big_spawn(n, (i + 1) * 88172645463325252ull | 1, gate).actor;
    for (int i = 0; i < BIG; i++) Big_pong_send(Big_ref_of(big_all[i]));
    gate_wait(gate);
    for (int i = 0; i < BIG; i++) manta_stop(big_all[i]);
    return 2 * n * BIG;
}

/* ---- memory: n idle actors ---- */

MANTA_ACTOR(Idle, uint64_t value;)
MANTA_METHOD(Idle, init, void, (uint64_t, value)) { self->value = value; }
MANTA_METHOD(Idle, get, uint64_t) { return self->value; }
MANTA_CLASS(Idle, init, get)

static uint64_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

BENCH(memory, "byte", n)
{
    uint64_t before = resident_bytes(), sum = 0;
    manta_actor *all = calloc(n, sizeof *all);
    if (!all) return 0;
    for (uint64_t i = 0; i < n; i++) all[i] = Idle_spawn(i).actor;
    for (uint64_t i = 0; i < n; i += n / 10 ? n / 10 : 1) sum += manta_await(Idle_get(Idle_ref_of(all[i])));
    sum += manta_await(Idle_get(Idle_ref_of(all[n - 1])));
    uint64_t after = resident_bytes() - n * sizeof *all;
    free(all);
    return sum ? after - before : 0;
}
