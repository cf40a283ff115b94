/* pingpong, thread_ring, counting, fork_join_throughput, request_response, request_pipelined, mailbox_n_to_1. */
#include "tools/benchmarks/bench.h"

/* A place where main waits for the end of a run. */
MANTA_ACTOR(Gate, uint64_t left; uint64_t total;)
MANTA_METHOD(Gate, init, void, (uint64_t, parties)) { self->left = parties; }
MANTA_METHOD(Gate, done, void, (uint64_t, count))
{
    self->total += count;
    self->left--;
    if (self->left == 0) manta_unstash();
}
MANTA_METHOD(Gate, wait, uint64_t)
{
    if (self->left) manta_stash();
    return self->total;
}
MANTA_CLASS(Gate, init, done, wait)

static uint64_t gate_wait(Gate_ref gate)
{
    uint64_t total = manta_await(Gate_wait(gate));
    manta_stop(gate.actor);
    return total;
}

/* ---- pingpong ---- */

MANTA_ACTOR(Player, manta_actor peer; Gate_ref gate; uint64_t received;)
MANTA_METHOD(Player, init, void, (manta_actor, peer), (Gate_ref, gate))
{
    self->peer = peer;
    self->gate = gate;
}
MANTA_METHOD_DECLARE(Player, ball, void, (manta_actor, from), (uint64_t, left))
MANTA_METHOD_DEFINE(Player, ball, void, (manta_actor, from), (uint64_t, left))
{
    self->received++;
    if (left) Player_ball_send(Player_ref_of(from), manta_self(), left - 1);
    else Gate_done_send(self->gate, self->received);
}
MANTA_CLASS(Player, init, ball)

BENCH(pingpong, "msg", n)
{
    Gate_ref gate = Gate_spawn(1);
    Player_ref a = Player_spawn((manta_actor){0}, gate), b = Player_spawn(a.actor, gate);
    Player_ball_send(b, a.actor, 2 * n - 1);
    gate_wait(gate);
    manta_stop(a.actor);
    manta_stop(b.actor);
    return 2 * n;
}

/* ---- thread_ring: 100 actors, one token, n hops ---- */

enum { RING_SIZE = 100 };
MANTA_ACTOR(Node, manta_actor next; Gate_ref gate;)
MANTA_METHOD(Node, init, void, (Gate_ref, gate)) { self->gate = gate; }
MANTA_METHOD(Node, follow, void, (manta_actor, next)) { self->next = next; }
MANTA_METHOD_DECLARE(Node, token, void, (uint64_t, left))
MANTA_METHOD_DEFINE(Node, token, void, (uint64_t, left))
{
    if (left) Node_token_send(Node_ref_of(self->next), left - 1);
    else Gate_done_send(self->gate, 1);
}
MANTA_CLASS(Node, init, follow, token)

BENCH(thread_ring, "msg", n)
{
    Gate_ref gate = Gate_spawn(1);
    Node_ref ring[RING_SIZE];
    for (int i = 0; i < RING_SIZE; i++) ring[i] = Node_spawn(gate);
    for (int i = 0; i < RING_SIZE; i++) Node_follow_send(ring[i], ring[(i + 1) % RING_SIZE].actor);
    Node_token_send(ring[0], n - 1);
    gate_wait(gate);
    for (int i = 0; i < RING_SIZE; i++) manta_stop(ring[i].actor);
    return n;
}

/* ---- counting: n increments, then the total ---- */

MANTA_ACTOR(Tally, uint64_t count; uint64_t expected; Gate_ref gate;)
MANTA_METHOD(Tally, init, void, (uint64_t, expected), (Gate_ref, gate))
{
    self->expected = expected;
    self->gate = gate;
}
MANTA_METHOD(Tally, increment, void, (uint64_t, by))
{
    self->count += by;
    if (self->count == self->expected) Gate_done_send(self->gate, self->count);
}
MANTA_METHOD(Tally, total, uint64_t) { return self->count; }
MANTA_CLASS(Tally, init, increment, total)

MANTA_ACTOR(Producer, char unused;)
MANTA_METHOD(Producer, produce, void, (Tally_ref, to), (uint64_t, n), (Gate_ref, gate))
{
    for (uint64_t i = 0; i < n; i++) Tally_increment_send(to, 1);
    Gate_done_send(gate, manta_await(Tally_total(to)));
}
MANTA_CLASS(Producer, produce)

BENCH(counting, "msg", n)
{
    Gate_ref gate = Gate_spawn(1);
    Tally_ref tally = Tally_spawn(0, gate);
    Producer_ref producer = Producer_spawn();
    Producer_produce_send(producer, tally, n, gate);
    if (gate_wait(gate) != n) abort();
    manta_stop(tally.actor);
    manta_stop(producer.actor);
    return n;
}

/* ---- fork_join_throughput: n messages to each of 60 actors, round robin ---- */

enum { FORKS = 60 };
MANTA_ACTOR(Forker, char unused;)
MANTA_METHOD(Forker, run, void, (uint64_t, n), (Gate_ref, gate))
{
    Tally_ref workers[FORKS];
    for (int i = 0; i < FORKS; i++) workers[i] = Tally_spawn(n, gate);
    for (uint64_t i = 0; i < n; i++)
        for (int k = 0; k < FORKS; k++) Tally_increment_send(workers[k], 1);
    for (int i = 0; i < FORKS; i++) manta_stop(workers[i].actor);
}
MANTA_CLASS(Forker, run)

BENCH(fork_join_throughput, "msg", n)
{
    Gate_ref gate = Gate_spawn(FORKS);
    Forker_ref forker = Forker_spawn();
    Forker_run_send(forker, n, gate);
    if (gate_wait(gate) != n * FORKS) abort();
    manta_stop(forker.actor);
    return n * FORKS;
}

/* ---- request_response, request_pipelined ---- */

MANTA_ACTOR(Server, uint64_t served;)
MANTA_METHOD(Server, ask, uint64_t, (uint64_t, x))
{
    self->served++;
    return x + 1;
}
MANTA_CLASS(Server, ask)

MANTA_ACTOR(Client, char unused;)
MANTA_METHOD(Client, ask_one_by_one, uint64_t, (Server_ref, server), (uint64_t, n))
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) sum += manta_await(Server_ask(server, i)) - i;
    return sum;
}
enum { PIPELINE = 1000 };
MANTA_METHOD(Client, ask_many, uint64_t, (Server_ref, server), (uint64_t, n))
{
    manta_uint64_t_future *f = manta_alloc(PIPELINE * sizeof *f);
    uint64_t sum = 0;
    for (uint64_t done = 0; done < n; done += PIPELINE) {
        for (uint64_t i = 0; i < PIPELINE; i++) f[i] = Server_ask(server, i);
        for (uint64_t i = 0; i < PIPELINE; i++) sum += manta_await(f[i]) - i;
    }
    return sum;
}
MANTA_CLASS(Client, ask_one_by_one, ask_many)

BENCH(request_response, "msg", n)
{
    Server_ref server = Server_spawn();
    Client_ref client = Client_spawn();
    if (manta_await(Client_ask_one_by_one(client, server, n)) != n) abort();
    manta_stop(server.actor);
    manta_stop(client.actor);
    return 2 * n;
}

BENCH(request_pipelined, "msg", n)
{
    Server_ref server = Server_spawn();
    Client_ref client = Client_spawn();
    uint64_t rounds = (n + PIPELINE - 1) / PIPELINE;
    if (manta_await(Client_ask_many(client, server, n)) != rounds * PIPELINE) abort();
    manta_stop(server.actor);
    manta_stop(client.actor);
    return 2 * rounds * PIPELINE;
}

/* ---- mailbox_n_to_1: 100 senders, n messages each, one receiver ---- */

enum { SENDERS = 100 };
MANTA_ACTOR(Sender, char unused;)
MANTA_METHOD(Sender, run, void, (Tally_ref, to), (uint64_t, n))
{
    for (uint64_t i = 0; i < n; i++) Tally_increment_send(to, 1);
}
MANTA_CLASS(Sender, run)

BENCH(mailbox_n_to_1, "msg", n)
{
    Gate_ref gate = Gate_spawn(1);
    Tally_ref tally = Tally_spawn(n * SENDERS, gate);
    Sender_ref senders[SENDERS];
    for (int i = 0; i < SENDERS; i++) senders[i] = Sender_spawn();
    for (int i = 0; i < SENDERS; i++) Sender_run_send(senders[i], tally, n);
    gate_wait(gate);
    for (int i = 0; i < SENDERS; i++) manta_stop(senders[i].actor);
    manta_stop(tally.actor);
    return n * SENDERS;
}
