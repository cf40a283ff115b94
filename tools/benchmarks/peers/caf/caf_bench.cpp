// The local benchmarks in CAF 0.17, as its documentation teaches: event-based actors, atoms as tags, values in messages.
//
// caf_bench NAME N [THREADS]: prints one line of JSON, see ../../README.md. The clock runs around the benchmark, not around the actor system's start.
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "caf/all.hpp"

using namespace caf;
using ball = atom_constant<atom("ball")>;
using done = atom_constant<atom("done")>;
using inc = atom_constant<atom("inc")>;
using total = atom_constant<atom("total")>;
using ask = atom_constant<atom("ask")>;
using go = atom_constant<atom("go")>;
using meet = atom_constant<atom("meet")>;
using met = atom_constant<atom("met")>;
using change = atom_constant<atom("change")>;
using finish = atom_constant<atom("finish")>;
using ping = atom_constant<atom("ping")>;
using pong = atom_constant<atom("pong")>;
using answer = atom_constant<atom("answer")>;

namespace {

// Where main waits for the end.
class gate {
  public:
    void open(uint64_t value)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        value_ = value;
        open_ = true;
        condition_.notify_one();
    }
    uint64_t wait()
    {
        std::unique_lock<std::mutex> lock(mutex_);
        condition_.wait(lock, [this] { return open_; });
        return value_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable condition_;
    uint64_t value_ = 0;
    bool open_ = false;
};

uint64_t pingpong(actor_system &system, uint64_t n)
{
    gate end;
    auto player = [&end](event_based_actor *self) -> behavior {
        return {[self, &end](ball, const actor &from, uint64_t left) {
            if (left) self->send(from, ball::value, actor{self}, left - 1);
            else end.open(1);
        }};
    };
    auto a = system.spawn(player), b = system.spawn(player);
    anon_send(b, ball::value, a, 2 * n - 1);
    end.wait();
    anon_send_exit(a, exit_reason::user_shutdown);
    anon_send_exit(b, exit_reason::user_shutdown);
    return 2 * n;
}

struct ring_state {
    actor next;
};

uint64_t thread_ring(actor_system &system, uint64_t n)
{
    gate end;
    auto node = [&end](stateful_actor<ring_state> *self) -> behavior {
        return {[self](const actor &next) { self->state.next = next; },
            [self, &end](ball, uint64_t left) {
                if (left) self->send(self->state.next, ball::value, left - 1);
                else end.open(1);
            }};
    };
    std::vector<actor> ring;
    for (int i = 0; i < 100; i++) ring.push_back(system.spawn(node));
    for (int i = 0; i < 100; i++) anon_send(ring[i], ring[(i + 1) % 100]);
    anon_send(ring[0], ball::value, n - 1);
    end.wait();
    for (auto &a : ring) anon_send_exit(a, exit_reason::user_shutdown);
    return n;
}

struct tally_state {
    uint64_t count = 0;
};

actor spawn_tally(actor_system &system, uint64_t expected, gate *end)
{
    return system.spawn([expected, end](stateful_actor<tally_state> *self) -> behavior {
        return {[self, expected, end](inc) {
                    if (++self->state.count == expected && end) end->open(self->state.count);
                },
            [self](total) { return self->state.count; }};
    });
}

uint64_t counting(actor_system &system, uint64_t n)
{
    gate end;
    auto tally = spawn_tally(system, 0, nullptr);
    auto producer = system.spawn([&end, tally, n](event_based_actor *self) -> behavior {
        return {[=, &end](go) {
            for (uint64_t i = 0; i < n; i++) self->send(tally, inc::value);
            self->request(tally, infinite, total::value).then([&end](uint64_t count) { end.open(count); });
        }};
    });
    anon_send(producer, go::value);
    if (end.wait() != n) std::abort();
    anon_send_exit(tally, exit_reason::user_shutdown);
    anon_send_exit(producer, exit_reason::user_shutdown);
    return n;
}

uint64_t fork_join_throughput(actor_system &system, uint64_t n)
{
    constexpr int forks = 60;
    gate ends[forks];
    std::vector<actor> workers;
    for (int i = 0; i < forks; i++) workers.push_back(spawn_tally(system, n, &ends[i]));
    auto forker = system.spawn([workers, n](event_based_actor *self) -> behavior {
        return {[=](go) {
            for (uint64_t i = 0; i < n; i++)
                for (auto &w : workers) self->send(w, inc::value);
        }};
    });
    anon_send(forker, go::value);
    for (auto &e : ends) e.wait();
    for (auto &w : workers) anon_send_exit(w, exit_reason::user_shutdown);
    anon_send_exit(forker, exit_reason::user_shutdown);
    return n * forks;
}

struct countdown_state {
    uint64_t left = 0;
};

actor spawn_countdown(actor_system &system, uint64_t n, gate &end)
{
    return system.spawn([n, &end](stateful_actor<countdown_state> *self) -> behavior {
        self->state.left = n;
        return {[self, &end](done, uint64_t count) {
            self->state.left -= count;
            if (self->state.left == 0) {
                end.open(1);
                self->quit();
            }
        }};
    });
}

behavior mayfly(event_based_actor *self)
{
    return {[self](go, const actor &gate) {
        self->send(gate, done::value, uint64_t{1});
        self->quit();
    }};
}

uint64_t fork_join_create(actor_system &system, uint64_t n)
{
    gate end;
    auto countdown = spawn_countdown(system, n, end);
    for (uint64_t i = 0; i < n; i++) anon_send(system.spawn(mayfly), go::value, countdown);
    end.wait();
    return n;
}

uint64_t fork_join_create_actor(actor_system &system, uint64_t n)
{
    gate end;
    auto countdown = spawn_countdown(system, n, end);
    auto breeder = system.spawn([n, countdown](event_based_actor *self) -> behavior {
        return {[=](go) {
            for (uint64_t i = 0; i < n; i++) self->send(self->spawn(mayfly), go::value, countdown);
            self->quit();
        }};
    });
    anon_send(breeder, go::value);
    end.wait();
    return n;
}

struct fib_state {
    uint64_t sum = 0;
    int answers = 0;
};

behavior fib_actor(stateful_actor<fib_state> *self, actor parent, uint64_t k)
{
    if (k < 2) {
        self->send(parent, answer::value, k);
        return {};
    }
    self->spawn(fib_actor, actor{self}, k - 1);
    self->spawn(fib_actor, actor{self}, k - 2);
    return {[self, parent](answer, uint64_t value) {
        self->state.sum += value;
        if (++self->state.answers < 2) return;
        self->send(parent, answer::value, self->state.sum);
        self->quit();
    }};
}

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

actor spawn_receiver(actor_system &system, gate &end)
{
    return system.spawn([&end](event_based_actor *self) -> behavior {
        return {[self, &end](answer, uint64_t value) {
            end.open(value);
            self->quit();
        }};
    });
}

uint64_t fib(actor_system &system, uint64_t k)
{
    gate end;
    system.spawn(fib_actor, spawn_receiver(system, end), k);
    if (end.wait() != fib_value(k)) std::abort();
    return 2 * fib_value(k + 1) - 1;
}

behavior sky_actor(stateful_actor<fib_state> *self, actor parent, uint64_t first, uint64_t size)
{
    if (size == 1) {
        self->send(parent, answer::value, first);
        return {};
    }
    for (uint64_t i = 0; i < 10; i++) self->spawn(sky_actor, actor{self}, first + i * (size / 10), size / 10);
    return {[self, parent](answer, uint64_t value) {
        self->state.sum += value;
        if (++self->state.answers < 10) return;
        self->send(parent, answer::value, self->state.sum);
        self->quit();
    }};
}

uint64_t skynet(actor_system &system, uint64_t n)
{
    uint64_t leaves = 1, actors = 1;
    while (leaves < n) {
        leaves *= 10;
        actors += leaves;
    }
    gate end;
    system.spawn(sky_actor, spawn_receiver(system, end), uint64_t{0}, leaves);
    if (end.wait() != leaves * (leaves - 1) / 2) std::abort();
    return actors;
}

struct mall_state {
    uint64_t left = 0, total = 0;
    actor waiting;
    int color = 0, finished = 0;
};
struct creature_state {
    int color = 0;
    uint64_t meetings = 0;
};

int complement(int a, int b) { return a == b ? a : 3 - a - b; }

behavior creature(stateful_actor<creature_state> *self, actor mall, int color)
{
    self->state.color = color;
    self->send(mall, meet::value, actor{self}, color);
    return {[=](met, const actor &other, int color2) {
                self->state.color = complement(self->state.color, color2);
                self->state.meetings++;
                self->send(other, change::value, self->state.color);
                self->send(mall, meet::value, actor{self}, self->state.color);
            },
        [=](change, int color2) {
            self->state.color = color2;
            self->state.meetings++;
            self->send(mall, meet::value, actor{self}, color2);
        },
        [=](finish) {
            self->send(mall, total::value, self->state.meetings);
            self->quit();
        }};
}

uint64_t chameneos(actor_system &system, uint64_t n)
{
    gate end;
    auto mall = system.spawn([&end, n](stateful_actor<mall_state> *self) -> behavior {
        self->state.left = n;
        return {[self](meet, const actor &who, int color) {
                    auto &s = self->state;
                    if (s.left == 0) self->send(who, finish::value);
                    else if (!s.waiting) {
                        s.waiting = who;
                        s.color = color;
                    } else {
                        s.left--;
                        self->send(s.waiting, met::value, who, color);
                        s.waiting = nullptr;
                    }
                },
            [self, &end](total, uint64_t meetings) {
                self->state.total += meetings;
                if (++self->state.finished == 100) end.open(self->state.total);
            }};
    });
    for (int i = 0; i < 100; i++) system.spawn(creature, mall, i % 3);
    if (end.wait() != 2 * n) std::abort();
    anon_send_exit(mall, exit_reason::user_shutdown);
    return 4 * n;
}

struct big_state {
    uint64_t left = 0, random = 0;
};
std::vector<actor> big_all;

uint64_t big(actor_system &system, uint64_t n)
{
    gate end;
    auto countdown = spawn_countdown(system, 120, end);
    for (uint64_t i = 0; i < 120; i++)
        big_all.push_back(system.spawn([=](stateful_actor<big_state> *self) -> behavior {
            self->state.left = n;
            self->state.random = (i + 1) * 88172645463325252ull | 1;
            return {[self](ping, const actor &from) { self->send(from, pong::value); },
                [self, countdown](pong) {
                    auto &s = self->state;
                    if (s.left == 0) {
                        self->send(countdown, done::value, uint64_t{1});
                        return;
                    }
                    s.left--;
                    s.random ^= s.random << 13;
                    s.random ^= s.random >> 7;
                    s.random ^= s.random << 17;
                    self->send(big_all[s.random % 120], ping::value, actor{self});
                }};
        }));
    for (auto &a : big_all) anon_send(a, pong::value);
    end.wait();
    for (auto &a : big_all) anon_send_exit(a, exit_reason::user_shutdown);
    big_all.clear();
    return 2 * n * 120;
}

behavior server(event_based_actor *)
{
    return {[](ask, uint64_t x) { return x + 1; }};
}

struct client_state {
    uint64_t left = 0, pending = 0;
};

void next_request(stateful_actor<client_state> *self, const actor &to, gate &end)
{
    if (self->state.left-- == 0) {
        end.open(1);
        return;
    }
    self->request(to, infinite, ask::value, self->state.left).await([self, to, &end](uint64_t) { next_request(self, to, end); });
}

uint64_t request_response(actor_system &system, uint64_t n)
{
    gate end;
    auto to = system.spawn(server);
    auto client = system.spawn([&end, n, to](stateful_actor<client_state> *self) -> behavior {
        return {[=, &end](go) {
            self->state.left = n;
            next_request(self, to, end);
        }};
    });
    anon_send(client, go::value);
    end.wait();
    anon_send_exit(to, exit_reason::user_shutdown);
    anon_send_exit(client, exit_reason::user_shutdown);
    return 2 * n;
}

void next_batch(stateful_actor<client_state> *self, const actor &to, gate &end)
{
    if (self->state.left == 0) {
        end.open(1);
        return;
    }
    self->state.pending = 1000;
    self->state.left -= 1000;
    for (uint64_t i = 0; i < 1000; i++)
        self->request(to, infinite, ask::value, i).then([self, to, &end](uint64_t) {
            if (--self->state.pending == 0) next_batch(self, to, end);
        });
}

uint64_t request_pipelined(actor_system &system, uint64_t n)
{
    gate end;
    uint64_t rounded = (n + 999) / 1000 * 1000;
    auto to = system.spawn(server);
    auto client = system.spawn([&end, rounded, to](stateful_actor<client_state> *self) -> behavior {
        return {[=, &end](go) {
            self->state.left = rounded;
            next_batch(self, to, end);
        }};
    });
    anon_send(client, go::value);
    end.wait();
    anon_send_exit(to, exit_reason::user_shutdown);
    anon_send_exit(client, exit_reason::user_shutdown);
    return 2 * rounded;
}

uint64_t mailbox_n_to_1(actor_system &system, uint64_t n)
{
    gate end;
    auto tally = spawn_tally(system, n * 100, &end);
    for (int i = 0; i < 100; i++) {
        auto sender = system.spawn([tally, n](event_based_actor *self) -> behavior {
            return {[=](go) {
                for (uint64_t k = 0; k < n; k++) self->send(tally, inc::value);
                self->quit();
            }};
        });
        anon_send(sender, go::value);
    }
    end.wait();
    anon_send_exit(tally, exit_reason::user_shutdown);
    return n * 100;
}

uint64_t resident_bytes()
{
    unsigned long size = 0, resident = 0;
    FILE *f = std::fopen("/proc/self/statm", "r");
    if (!f || std::fscanf(f, "%lu %lu", &size, &resident) != 2) resident = 0;
    if (f) std::fclose(f);
    return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t memory(actor_system &system, uint64_t n)
{
    std::vector<actor> all;
    all.reserve(n);
    uint64_t before = resident_bytes();
    for (uint64_t i = 0; i < n; i++) all.push_back(system.spawn([i](event_based_actor *) -> behavior { return {[i](ask) { return i; }}; }));
    scoped_actor self{system};
    for (uint64_t i = 0; i < n; i += n / 10)
        self->request(all[i], infinite, ask::value).receive([](uint64_t) {}, [](error &) { std::abort(); });
    uint64_t used = resident_bytes() - before - n * sizeof(actor);
    for (auto &a : all) anon_send_exit(a, exit_reason::user_shutdown);
    return used;
}

const std::map<std::string, std::pair<uint64_t (*)(actor_system &, uint64_t), const char *>> benches = {{"pingpong", {pingpong, "msg"}},
    {"thread_ring", {thread_ring, "msg"}}, {"counting", {counting, "msg"}}, {"fork_join_throughput", {fork_join_throughput, "msg"}},
    {"fork_join_create", {fork_join_create, "actor"}}, {"fork_join_create_actor", {fork_join_create_actor, "actor"}},
    {"fib", {fib, "actor"}}, {"skynet", {skynet, "actor"}}, {"chameneos", {chameneos, "msg"}}, {"big", {big, "msg"}},
    {"request_response", {request_response, "msg"}}, {"request_pipelined", {request_pipelined, "msg"}},
    {"mailbox_n_to_1", {mailbox_n_to_1, "msg"}}, {"memory", {memory, "byte"}}};

} // namespace

int main(int argc, char **argv)
{
    auto found = argc >= 3 ? benches.find(argv[1]) : benches.end();
    if (found == benches.end()) {
        std::fprintf(stderr, "usage: caf_bench NAME N [THREADS]\n");
        return 2;
    }
    uint64_t n = std::strtoull(argv[2], nullptr, 10);
    actor_system_config config;
    if (argc > 3) config.set("scheduler.max-threads", static_cast<size_t>(std::atoi(argv[3])));
    actor_system system{config};
    auto start = std::chrono::steady_clock::now();
    uint64_t units = found->second.first(system, n);
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (std::strcmp(found->second.second, "byte") == 0)
        std::printf("{\"name\":\"%s\",\"n\":%lu,\"bytes_per_actor\":%.1f,\"seconds\":%.6f}\n", argv[1], n,
            static_cast<double>(units) / static_cast<double>(n), seconds);
    else
        std::printf("{\"name\":\"%s\",\"n\":%lu,\"units\":%lu,\"unit\":\"%s\",\"seconds\":%.6f}\n", argv[1], n, units, found->second.second,
            seconds);
    std::fflush(stdout);
    _exit(0); // the system's tear-down is not measured
}
