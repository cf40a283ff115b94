// The benchmarks in CAF 0.17: what the sources share.
//
// The actors are classes (a function-based actor costs one more allocation), the most frequent message comes first in a behavior, and a
// message carries its sender only where somebody answers to it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <future>

#include "caf/all.hpp"

using ball_atom = caf::atom_constant<caf::atom("ball")>;
using done_atom = caf::atom_constant<caf::atom("done")>;
using inc_atom = caf::atom_constant<caf::atom("inc")>;
using total_atom = caf::atom_constant<caf::atom("total")>;
using ask_atom = caf::atom_constant<caf::atom("ask")>;
using answer_atom = caf::atom_constant<caf::atom("answer")>;
using go_atom = caf::atom_constant<caf::atom("go")>;

// Where main waits for the end of a run.
class gate {
public:
    void open(uint64_t value) { promise_.set_value(value); }
    uint64_t wait() { return promise_.get_future().get(); }
    void wait_for(uint64_t expected)
    {
        if (wait() != expected) std::abort();
    }

private:
    std::promise<uint64_t> promise_;
};

// What self->send does, for a handle of any kind and without making a copy of it.
template <class Handle, class... Ts> void send_from(caf::local_actor *self, const Handle &to, Ts &&...values)
{
    caf::actor_cast<caf::abstract_actor *>(to)->enqueue(
        caf::make_mailbox_element(self->ctrl(), caf::make_message_id(), {}, std::forward<Ts>(values)...), self->context());
}

// The same for a message that nobody answers to: it does not name its sender.
template <class Handle, class... Ts> void send_anonymous(caf::local_actor *self, const Handle &to, Ts &&...values)
{
    caf::actor_cast<caf::abstract_actor *>(to)->enqueue(
        caf::make_mailbox_element(nullptr, caf::make_message_id(), {}, std::forward<Ts>(values)...), self->context());
}

inline void stop(const caf::actor &who) { caf::anon_send_exit(who, caf::exit_reason::user_shutdown); }

// Answers `go` with `go`.
inline caf::behavior echo(caf::event_based_actor *self)
{
    return {[self](go_atom) { send_anonymous(self, self->current_sender(), go_atom::value); }};
}

// An actor that does n steps, `chunk` of them at a time.
template <class Step> class chunked : public caf::event_based_actor {
public:
    chunked(caf::actor_config &config, uint64_t n, uint64_t chunk, Step step)
        : caf::event_based_actor(config), left_(n), chunk_(chunk), step_(std::move(step))
    {
    }
    caf::behavior make_behavior() override
    {
        echo_ = spawn(echo);
        return {[this](go_atom) { next(); }};
    }
    void on_exit() override { stop(echo_); }

private:
    void next()
    {
        uint64_t now = std::min(left_, chunk_);
        for (uint64_t i = 0; i < now; i++) step_(this);
        left_ -= now;
        if (left_ == 0) unbecome(); // ends when no answer is awaited
        else send_from(this, echo_, go_atom::value);
    }

    uint64_t left_, chunk_;
    Step step_;
    caf::actor echo_;
};

template <class Step> void in_chunks(caf::actor_system &system, uint64_t n, uint64_t chunk, Step step)
{
    caf::anon_send(system.spawn<chunked<Step>>(n, chunk, std::move(step)), go_atom::value);
}

// Opens the gate with the sum when `parties` have reported.
class countdown : public caf::event_based_actor {
public:
    countdown(caf::actor_config &config, uint64_t parties, gate *end) : caf::event_based_actor(config), left_(parties), end_(end) {}
    caf::behavior make_behavior() override
    {
        return {[this](done_atom, uint64_t value) {
            sum_ += value;
            if (--left_ > 0) return;
            end_->open(sum_);
            quit();
        }};
    }

private:
    uint64_t left_, sum_ = 0;
    gate *end_;
};

struct benchmark {
    const char *name, *unit;
    uint64_t (*run)(caf::actor_system &, uint64_t n); // units done; bytes in all for the unit "byte"
};
extern const benchmark messages_benchmarks[], actors_benchmarks[]; // each ends with a name that is nullptr
