// Two processes with CAF's io module (BASP over TCP on loopback): messages one way to a remote actor, and calls to it. See ../../README.md.
//
// caf_dist serve: prints its port, serves until its input ends. caf_dist PORT MESSAGES TRIPS: prints one line of JSON.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <caf/all.hpp>
#include <caf/io/all.hpp>

using take_atom = caf::atom_constant<caf::atom("take")>;
using seen_atom = caf::atom_constant<caf::atom("seen")>;
using echo_atom = caf::atom_constant<caf::atom("echo")>;

struct sink_state {
    int64_t count = 0;
};

static caf::behavior sink(caf::stateful_actor<sink_state> *self)
{
    return {[=](take_atom, int64_t) { self->state.count++; }, [=](take_atom, const std::string &) { self->state.count++; },
        [=](seen_atom) {
            auto n = self->state.count;
            self->state.count = 0;
            return n;
        },
        [=](echo_atom, int64_t x) { return x; }};
}

using clock_type = std::chrono::steady_clock;
static double since(clock_type::time_point start) { return std::chrono::duration<double>(clock_type::now() - start).count(); }

static int64_t ask(caf::scoped_actor &self, const caf::actor &to, caf::message question)
{
    int64_t answer = -1;
    self->request(to, caf::infinite, std::move(question)).receive([&](int64_t x) { answer = x; }, [](const caf::error &) { std::exit(1); });
    return answer;
}

static double rate(caf::scoped_actor &self, const caf::actor &to, size_t size, int64_t count)
{
    std::string data(size, 'x');
    auto start = clock_type::now();
    for (int64_t i = 0; i < count; i++) {
        if (size == 8) self->send(to, take_atom::value, i << 32);
        else self->send(to, take_atom::value, data);
    }
    if (ask(self, to, caf::make_message(seen_atom::value)) != count) std::fprintf(stderr, "messages are missing\n");
    return double(count) / since(start);
}

static void measure(caf::actor_system &system, uint16_t port, int64_t messages, size_t trips)
{
    auto remote = system.middleman().remote_actor("127.0.0.1", port);
    if (!remote) {
        std::fprintf(stderr, "no connection\n");
        std::exit(1);
    }
    caf::scoped_actor self{system};
    double rates[3];
    const size_t sizes[3] = {8, 64, 1024};
    for (int s = 0; s < 3; s++) rates[s] = rate(self, *remote, sizes[s], sizes[s] < 1000 ? messages : messages / 8);
    std::vector<double> times(trips);
    for (size_t i = 0; i < trips; i++) {
        auto start = clock_type::now();
        ask(self, *remote, caf::make_message(echo_atom::value, int64_t(i)));
        times[i] = since(start) * 1e6;
    }
    std::sort(times.begin(), times.end());
    std::printf("{\"per_s_8\":%.0f,\"per_s_64\":%.0f,\"per_s_1024\":%.0f,\"p50_us\":%.2f,\"p99_us\":%.2f}\n", rates[0], rates[1], rates[2],
        times[trips / 2], times[trips * 99 / 100]);
    std::fflush(stdout);
}

int main(int argc, char **argv)
{
    caf::actor_system_config config;
    config.load<caf::io::middleman>();
    caf::actor_system system{config};
    if (argc == 2 && std::string(argv[1]) == "serve") {
        auto port = system.middleman().publish(system.spawn(sink), 0, "127.0.0.1");
        if (!port) return 1;
        std::printf("%d\n", int(*port));
        std::fflush(stdout);
        std::cin.get();
        std::_Exit(0);
    }
    if (argc != 4) return 2;
    measure(system, uint16_t(std::atoi(argv[1])), std::atoll(argv[2]), size_t(std::atoll(argv[3])));
    std::_Exit(0);
}
