// pingpong, thread_ring, counting, fork_join_throughput, request_response, request_pipelined, mailbox_n_to_1.
#include <vector>

#include "caf_bench.hpp"

using namespace caf;

namespace {

// ---- pingpong ----

class player : public event_based_actor {
public:
    player(actor_config &config, gate *end) : event_based_actor(config), end_(end) {}
    behavior make_behavior() override
    {
        return {[this](ball_atom, uint64_t left) {
            if (left) send_from(this, current_sender(), ball_atom::value, left - 1);
            else end_->open(1);
        }};
    }

private:
    gate *end_;
};

uint64_t pingpong(actor_system &system, uint64_t n)
{
    gate end;
    auto a = system.spawn<player>(&end), b = system.spawn<player>(&end);
    send_as(a, b, ball_atom::value, 2 * n - 1);
    end.wait();
    stop(a);
    stop(b);
    return 2 * n;
}

// ---- thread_ring ----

class ring_node : public event_based_actor {
public:
    ring_node(actor_config &config, gate *end) : event_based_actor(config), end_(end) {}
    behavior make_behavior() override
    {
        return {[this](uint64_t left) {
                    if (left) send_anonymous(this, next_, left - 1);
                    else end_->open(1);
                },
            [this](actor &next) { next_ = std::move(next); }};
    }
    void on_exit() override { next_ = nullptr; }

private:
    gate *end_;
    actor next_;
};

uint64_t thread_ring(actor_system &system, uint64_t n)
{
    gate end;
    std::vector<actor> ring;
    for (int i = 0; i < 100; i++) ring.push_back(system.spawn<ring_node>(&end));
    for (int i = 0; i < 100; i++) anon_send(ring[i], ring[(i + 1) % 100]);
    anon_send(ring[0], n - 1);
    end.wait();
    for (auto &a : ring) stop(a);
    return n;
}

// ---- counting, fork_join_throughput, mailbox_n_to_1 ----

class tally : public event_based_actor {
public:
    tally(actor_config &config, uint64_t expected, actor report_to)
        : event_based_actor(config), expected_(expected), report_to_(std::move(report_to))
    {
    }
    behavior make_behavior() override
    {
        return {[this](inc_atom) {
                    if (++count_ == expected_) send_anonymous(this, report_to_, done_atom::value, count_);
                },
            [this](total_atom) { return count_; }};
    }

private:
    uint64_t count_ = 0, expected_;
    actor report_to_;
};

uint64_t counting(actor_system &system, uint64_t n)
{
    gate end;
    auto counter = system.spawn<tally>(0, actor{});
    in_chunks(system, n, 1000, [counter, &end, left = n](event_based_actor *self) mutable {
        send_anonymous(self, counter, inc_atom::value);
        if (--left == 0) self->request(counter, infinite, total_atom::value).then([&end](uint64_t count) { end.open(count); });
    });
    end.wait_for(n);
    stop(counter);
    return n;
}

uint64_t fork_join_throughput(actor_system &system, uint64_t n)
{
    constexpr int forks = 60;
    gate end;
    auto sink = system.spawn<countdown>(forks, &end);
    std::vector<actor> workers;
    for (int i = 0; i < forks; i++) workers.push_back(system.spawn<tally>(n, sink));
    in_chunks(system, n, 50, [&workers](event_based_actor *self) {
        for (auto &worker : workers) send_anonymous(self, worker, inc_atom::value);
    });
    end.wait_for(n * forks);
    for (auto &worker : workers) stop(worker);
    return n * forks;
}

uint64_t mailbox_n_to_1(actor_system &system, uint64_t n)
{
    constexpr int senders = 100;
    gate end;
    auto receiver = system.spawn<tally>(n * senders, system.spawn<countdown>(1, &end));
    for (int i = 0; i < senders; i++)
        in_chunks(system, n, 200, [receiver](event_based_actor *self) { send_anonymous(self, receiver, inc_atom::value); });
    end.wait_for(n * senders);
    stop(receiver);
    return n * senders;
}

// ---- request_response: CAF's own requests ----

behavior server()
{
    return {[](ask_atom, uint64_t x) { return x + 1; }};
}

class client : public event_based_actor {
public:
    client(actor_config &config, actor to, uint64_t n, gate *end) : event_based_actor(config), to_(std::move(to)), left_(n), end_(end) {}
    behavior make_behavior() override
    {
        next();
        return {};
    }

private:
    void next()
    {
        if (left_ == 0) {
            end_->open(sum_);
            return;
        }
        left_--;
        request(to_, infinite, ask_atom::value, left_).await([this](uint64_t answer) {
            sum_ += answer - left_;
            next();
        });
    }

    actor to_;
    uint64_t left_, sum_ = 0;
    gate *end_;
};

uint64_t request_response(actor_system &system, uint64_t n)
{
    gate end;
    auto to = system.spawn(server);
    system.spawn<client>(to, n, &end);
    end.wait_for(n);
    stop(to);
    return 2 * n;
}

// ---- request_pipelined: plain messages that carry the request's number, as 1000 open requests make request().then() search long ----

behavior plain_server(event_based_actor *self)
{
    return {[self](ask_atom, uint64_t number, uint64_t x) {
        send_anonymous(self, self->current_sender(), answer_atom::value, number, x + 1);
    }};
}

class pipelined_client : public event_based_actor {
public:
    pipelined_client(actor_config &config, actor to, uint64_t rounds, gate *end)
        : event_based_actor(config), to_(std::move(to)), rounds_(rounds), end_(end)
    {
    }
    behavior make_behavior() override
    {
        next();
        return {[this](answer_atom, uint64_t number, uint64_t x) {
            sum_ += x - number;
            if (--open_ == 0) next();
        }};
    }

private:
    void next()
    {
        if (rounds_-- == 0) {
            end_->open(sum_);
            quit();
            return;
        }
        open_ = 1000;
        for (uint64_t i = 0; i < 1000; i++) send_from(this, to_, ask_atom::value, i, i);
    }

    actor to_;
    uint64_t rounds_, open_ = 0, sum_ = 0;
    gate *end_;
};

uint64_t request_pipelined(actor_system &system, uint64_t n)
{
    gate end;
    uint64_t rounds = (n + 999) / 1000;
    auto to = system.spawn(plain_server);
    system.spawn<pipelined_client>(to, rounds, &end);
    end.wait_for(rounds * 1000);
    stop(to);
    return 2 * rounds * 1000;
}

} // namespace

const benchmark messages_benchmarks[] = {{"pingpong", "msg", pingpong}, {"thread_ring", "msg", thread_ring},
    {"counting", "msg", counting}, {"fork_join_throughput", "msg", fork_join_throughput}, {"mailbox_n_to_1", "msg", mailbox_n_to_1},
    {"request_response", "msg", request_response}, {"request_pipelined", "msg", request_pipelined}, {nullptr, nullptr, nullptr}};
