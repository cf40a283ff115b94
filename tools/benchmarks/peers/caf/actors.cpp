// fork_join_create, fork_join_create_actor, fib, skynet, chameneos, big, memory.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <vector>

#include "caf_bench.hpp"

using namespace caf;
using meet_atom = atom_constant<atom("meet")>;
using met_atom = atom_constant<atom("met")>;
using change_atom = atom_constant<atom("change")>;
using finish_atom = atom_constant<atom("finish")>;
using ping_atom = atom_constant<atom("ping")>;
using pong_atom = atom_constant<atom("pong")>;

namespace {

// ---- fork_join_create: lazy_init, as the first message follows at once ----

class mayfly : public event_based_actor {
public:
    using event_based_actor::event_based_actor;
    behavior make_behavior() override
    {
        return {[this](go_atom, const actor &sink) {
            send_anonymous(this, sink, done_atom::value, uint64_t{1});
            quit();
        }};
    }
};

uint64_t fork_join_create(actor_system &system, uint64_t n)
{
    gate end;
    auto sink = system.spawn<countdown>(n, &end);
    for (uint64_t i = 0; i < n; i++) anon_send(system.spawn<mayfly, hidden + lazy_init>(), go_atom::value, sink);
    end.wait_for(n);
    return n;
}

uint64_t fork_join_create_actor(actor_system &system, uint64_t n)
{
    gate end;
    auto sink = system.spawn<countdown>(n, &end);
    in_chunks(system, n, 256, [sink](event_based_actor *self) {
        send_anonymous(self, self->spawn<mayfly, hidden + lazy_init>(), go_atom::value, sink);
    });
    end.wait_for(n);
    return n;
}

// ---- fib, skynet ----

class fib_actor : public event_based_actor {
public:
    fib_actor(actor_config &config, actor parent, uint64_t k) : event_based_actor(config), parent_(std::move(parent)), k_(k) {}
    behavior make_behavior() override
    {
        if (k_ < 2) {
            send_anonymous(this, parent_, answer_atom::value, k_);
            return {};
        }
        spawn<fib_actor, hidden>(actor{this}, k_ - 1);
        spawn<fib_actor, hidden>(actor{this}, k_ - 2);
        return {[this](answer_atom, uint64_t value) {
            sum_ += value;
            if (++answers_ < 2) return;
            send_anonymous(this, parent_, answer_atom::value, sum_);
            quit();
        }};
    }

private:
    actor parent_;
    uint64_t k_, sum_ = 0;
    int answers_ = 0;
};

uint64_t fib_value(uint64_t k)
{
    uint64_t a = 0, b = 1;
    for (; k; k--) {
        uint64_t c = a + b;
        a = b;
        b = c;
    }
    return a;
}

behavior root(event_based_actor *self, gate *end)
{
    return {[self, end](answer_atom, uint64_t value) {
        end->open(value);
        self->quit();
    }};
}

uint64_t fib(actor_system &system, uint64_t k)
{
    gate end;
    system.spawn<fib_actor, hidden>(system.spawn(root, &end), k);
    end.wait_for(fib_value(k));
    return 2 * fib_value(k + 1) - 1;
}

class sky : public event_based_actor {
public:
    sky(actor_config &config, actor parent, uint64_t first, uint64_t size)
        : event_based_actor(config), parent_(std::move(parent)), first_(first), size_(size)
    {
    }
    behavior make_behavior() override
    {
        if (size_ == 1) {
            send_anonymous(this, parent_, answer_atom::value, first_);
            return {};
        }
        for (uint64_t i = 0; i < 10; i++) spawn<sky, hidden>(actor{this}, first_ + i * (size_ / 10), size_ / 10);
        return {[this](answer_atom, uint64_t value) {
            sum_ += value;
            if (++answers_ < 10) return;
            send_anonymous(this, parent_, answer_atom::value, sum_);
            quit();
        }};
    }

private:
    actor parent_;
    uint64_t first_, size_, sum_ = 0;
    int answers_ = 0;
};

uint64_t skynet(actor_system &system, uint64_t n)
{
    uint64_t leaves = 1, actors = 1;
    while (leaves < n) {
        leaves *= 10;
        actors += leaves;
    }
    gate end;
    system.spawn<sky, hidden>(system.spawn(root, &end), uint64_t{0}, leaves);
    end.wait_for(leaves * (leaves - 1) / 2);
    return actors;
}

// ---- chameneos ----

constexpr int creatures = 100;

int complement(int a, int b) { return a == b ? a : 3 - a - b; }

class creature : public event_based_actor {
public:
    creature(actor_config &config, actor mall, int color) : event_based_actor(config), mall_(std::move(mall)), color_(color) {}
    behavior make_behavior() override
    {
        send_from(this, mall_, meet_atom::value, color_);
        return {[this](met_atom, const strong_actor_ptr &other, int color) {
                    become_color(complement(color_, color));
                    send_anonymous(this, other, change_atom::value, color_);
                    send_from(this, mall_, meet_atom::value, color_);
                },
            [this](change_atom, int color) {
                become_color(color);
                send_from(this, mall_, meet_atom::value, color_);
            },
            [this](finish_atom) {
                send_anonymous(this, mall_, total_atom::value, meetings_);
                quit();
            }};
    }

private:
    void become_color(int color)
    {
        color_ = color;
        meetings_++;
    }

    actor mall_;
    int color_;
    uint64_t meetings_ = 0;
};

class mall : public event_based_actor {
public:
    mall(actor_config &config, uint64_t n, gate *end) : event_based_actor(config), left_(n), end_(end) {}
    behavior make_behavior() override
    {
        return {[this](meet_atom, int color) { meet(current_sender(), color); },
            [this](total_atom, uint64_t meetings) {
                total_ += meetings;
                if (++finished_ < creatures) return;
                end_->open(total_);
                quit();
            }};
    }

private:
    void meet(strong_actor_ptr &who, int color)
    {
        if (left_ == 0) send_anonymous(this, who, finish_atom::value);
        else if (!waiting_) {
            waiting_ = std::move(who);
            color_ = color;
        } else {
            left_--;
            strong_actor_ptr first = std::move(waiting_);
            send_anonymous(this, first, met_atom::value, std::move(who), color);
        }
    }

    uint64_t left_, total_ = 0;
    gate *end_;
    strong_actor_ptr waiting_;
    int color_ = 0, finished_ = 0;
};

uint64_t chameneos(actor_system &system, uint64_t n)
{
    gate end;
    auto place = system.spawn<mall>(n, &end);
    for (int i = 0; i < creatures; i++) system.spawn<creature>(place, i % 3);
    end.wait_for(2 * n);
    return 4 * n;
}

// ---- big ----

constexpr uint64_t big_actors = 120;
std::vector<actor> big_all;

class big_actor : public event_based_actor {
public:
    big_actor(actor_config &config, uint64_t n, uint64_t seed, actor sink)
        : event_based_actor(config), left_(n), random_(seed), sink_(std::move(sink))
    {
    }
    behavior make_behavior() override
    {
        return {[this](ping_atom) { send_anonymous(this, current_sender(), pong_atom::value); }, [this](pong_atom) { next(); }};
    }

private:
    void next()
    {
        if (left_ == 0) {
            send_anonymous(this, sink_, done_atom::value, uint64_t{1});
            return;
        }
        left_--;
        random_ ^= random_ << 13;
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        send_from(this, big_all[random_ % big_actors], ping_atom::value);
    }

    uint64_t left_, random_;
    actor sink_;
};

uint64_t big(actor_system &system, uint64_t n)
{
    gate end;
    auto sink = system.spawn<countdown>(big_actors, &end);
    for (uint64_t i = 0; i < big_actors; i++) big_all.push_back(system.spawn<big_actor>(n, (i + 1) * 88172645463325252ull | 1, sink));
    for (auto &a : big_all) anon_send(a, pong_atom::value);
    end.wait();
    for (auto &a : big_all) stop(a);
    return 2 * n * big_actors;
}

// ---- memory ----

std::atomic<uint64_t> idle_actors;

class idle : public event_based_actor {
public:
    idle(actor_config &config, uint64_t value) : event_based_actor(config), value_(value) {}
    behavior make_behavior() override
    {
        idle_actors++;
        return {[this](ask_atom) { return value_; }};
    }

private:
    uint64_t value_;
};

uint64_t resident_bytes()
{
    unsigned long size = 0, resident = 0;
    FILE *f = std::fopen("/proc/self/statm", "r");
    if (!f || std::fscanf(f, "%lu %lu", &size, &resident) != 2) std::abort();
    std::fclose(f);
    return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t ask_value(scoped_actor &self, const actor &who)
{
    uint64_t got = 0;
    self->request(who, infinite, ask_atom::value).receive([&got](uint64_t value) { got = value; }, [](error &) { std::abort(); });
    return got;
}

uint64_t memory(actor_system &system, uint64_t n)
{
    scoped_actor self{system};
    std::vector<actor> all;
    uint64_t before = resident_bytes();
    all.reserve(n);
    for (uint64_t i = 0; i < n; i++) all.push_back(system.spawn<idle, hidden>(i));
    while (idle_actors < n) usleep(1000);
    if (ask_value(self, all[n - 1]) != n - 1) std::abort();
    return resident_bytes() - before - n * sizeof(actor);
}

} // namespace

const benchmark actors_benchmarks[] = {{"fork_join_create", "actor", fork_join_create},
    {"fork_join_create_actor", "actor", fork_join_create_actor}, {"fib", "actor", fib}, {"skynet", "actor", skynet},
    {"chameneos", "msg", chameneos}, {"big", "msg", big}, {"memory", "byte", memory}, {nullptr, nullptr, nullptr}};
