#include "test/support/linear.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what an operation does to a register or lock ---- */

typedef struct
    state { /* of a register: value. Of a lock: value is the token that holds, 0: free; UNKNOWN_TOKEN: somebody's whose answer was lost */
    uint64_t value, holder, last_token;
} state;

#define UNKNOWN_TOKEN UINT64_MAX

static bool is_unknown(const linear_op *op) { return op->return_ns == LINEAR_UNKNOWN; }

static bool step_register(state *s, const linear_op *op)
{
    bool hits = s->value == op->expected;
    switch (op->kind) {
    case LINEAR_READ: return is_unknown(op) || s->value == op->result;
    case LINEAR_WRITE: s->value = op->argument; return true;
    default:
        if (!is_unknown(op) && hits != (op->result == 1)) return false;
        if (hits) s->value = op->argument;
        return true;
    }
}

static bool step_acquire(state *s, const linear_op *op, bool leases_end)
{
    bool is_free = !s->value, is_mine = s->value && s->holder == op->client;
    if (is_unknown(op)) { /* it took effect, else the search leaves it out */
        if (!is_free && !leases_end) return false;
        *s = (state){UNKNOWN_TOKEN, op->client, s->last_token};
        return true;
    }
    if (!op->result) return !is_free && !is_mine;
    if (is_mine && s->value == op->result) return true;
    if (!is_free && !leases_end && !(is_mine && s->value == UNKNOWN_TOKEN)) return false;
    if (op->result <= s->last_token) return false;
    *s = (state){op->result, op->client, op->result};
    return true;
}

static bool step_release(state *s, const linear_op *op, bool leases_end)
{
    bool hits = s->value && s->value == op->argument, is_late = hits && !op->result && leases_end;
    if (!is_unknown(op) && !is_late && hits != (op->result == 1)) return false;
    if (hits) s->value = s->holder = 0;
    return true;
}

static bool step(state *s, const linear_op *op, bool leases_end)
{
    if (op->kind == LINEAR_ACQUIRE) return step_acquire(s, op, leases_end);
    return op->kind == LINEAR_RELEASE ? step_release(s, op, leases_end) : step_register(s, op);
}

/* ---- the search of one key ---- */

typedef struct entry {                     /* a call or a return, in a list ordered by time */
    struct entry *previous, *next, *match; /* match: of a call, its return (NULL: unknown); of a return: NULL */
    const struct entry *twin;              /* of an unknown one: the one before that does the same; it goes first */
    const linear_op *op;
    uint64_t time_ns;
    uint32_t number; /* of the operation within its key */
    bool is_return;
} entry;

typedef struct frame {
    entry *call;
    state before;
} frame;

typedef struct search {
    bool leases_end;
    size_t count, known_left, words; /* operations; those that must still take effect; size of a bitset */
    entry *entries, head;
    frame *stack;
    size_t depth;
    state now;
    uint64_t *done; /* bitset of operations that took effect */
    unsigned char **seen;
    size_t seen_mask, seen_count, seen_limit;
    bool gave_up;
    const linear_op *blocked; /* of the deepest attempt */
    size_t blocked_depth;
} search;

static size_t configuration_bytes(const search *s) { return sizeof(state) + s->words * 8; }

static uint64_t hash(const unsigned char *bytes, size_t size)
{
    uint64_t h = 0x243f6a8885a308d3u;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h;
}

static size_t place_of(const search *s, const unsigned char *configuration)
{
    size_t size = configuration_bytes(s), i = (size_t)hash(configuration, size) & s->seen_mask;
    while (s->seen[i] && memcmp(s->seen[i], configuration, size) != 0) i = (i + 1) & s->seen_mask;
    return i;
}

static bool grow_seen(search *s)
{
    size_t size = s->seen ? s->seen_mask + 1 : 0, grown = size ? size * 2 : 1024;
    unsigned char **old = s->seen;
    if (s->seen && (s->seen_count + 1) * 2 <= size) return true;
    s->seen = calloc(grown, sizeof *s->seen);
    if (!s->seen) {
        s->seen = old;
        return false;
    }
    s->seen_mask = grown - 1;
    for (size_t i = 0; i < size; i++)
        if (old[i]) s->seen[place_of(s, old[i])] = old[i];
    free(old);
    return true;
}

/* True when this state with these operations done was not looked at before; it is from now on. */
static bool is_news(search *s, const state *now)
{
    unsigned char *configuration = malloc(configuration_bytes(s));
    if (!configuration || s->seen_count >= s->seen_limit || !grow_seen(s)) {
        free(configuration);
        s->gave_up = true;
        return false;
    }
    memcpy(configuration, now, sizeof *now);
    memcpy(configuration + sizeof *now, s->done, s->words * 8);
    size_t i = place_of(s, configuration);
    if (s->seen[i]) {
        free(configuration);
        return false;
    }
    s->seen[i] = configuration;
    s->seen_count++;
    return true;
}

static void unlink_entry(entry *e)
{
    e->previous->next = e->next;
    if (e->next) e->next->previous = e->previous;
}

static void relink_entry(entry *e)
{
    e->previous->next = e;
    if (e->next) e->next->previous = e;
}

static void flip(search *s, const entry *call) { s->done[call->number / 64] ^= UINT64_C(1) << call->number % 64; }

static bool is_done(const search *s, const entry *call) { return s->done[call->number / 64] >> call->number % 64 & 1; }

/* True when taking effect now leads nowhere that is not reached without: an unanswered one before its twin, or a write over what only an unanswered one wrote. */
static bool is_futile(const search *s, const entry *call)
{
    if (!call->match && call->twin && !is_done(s, call->twin)) return true;
    return call->op->kind == LINEAR_WRITE && s->depth && !s->stack[s->depth - 1].call->match;
}

/* Lets the operation take effect now, if it can and that leads to something new. */
static bool try_call(search *s, entry *call)
{
    state after = s->now;
    if (is_futile(s, call) || !step(&after, call->op, s->leases_end)) return false;
    if (!call->match && memcmp(&after, &s->now, sizeof after) == 0) return false; /* as if it never did */
    flip(s, call);
    if (!is_news(s, &after)) {
        flip(s, call);
        return false;
    }
    s->stack[s->depth++] = (frame){call, s->now};
    s->now = after;
    unlink_entry(call);
    if (call->match) unlink_entry(call->match);
    s->known_left -= call->match != NULL;
    return true;
}

/* Takes the last effect back; where to go on, or NULL when there is none. */
static entry *undo(search *s)
{
    if (!s->depth) return NULL;
    frame *f = &s->stack[--s->depth];
    s->now = f->before;
    if (f->call->match) relink_entry(f->call->match);
    relink_entry(f->call);
    flip(s, f->call);
    s->known_left += f->call->match != NULL;
    return f->call;
}

static void note_blocked(search *s, const entry *e)
{
    if (e && (!s->blocked || s->depth > s->blocked_depth)) {
        s->blocked = e->op;
        s->blocked_depth = s->depth;
    }
}

static linear_verdict run(search *s)
{
    entry *e = s->head.next;
    while (s->known_left) {
        if (e && !e->is_return) {
            e = try_call(s, e) ? s->head.next : e->next;
            if (s->gave_up) return LINEAR_GAVE_UP;
            continue;
        }
        note_blocked(s, e); /* its operation must take effect before here, and nothing that may go first helps */
        entry *call = undo(s);
        if (!call) return LINEAR_NO;
        e = call->next;
    }
    return LINEAR_YES;
}

/* ---- setting up ---- */

static int by_time(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->time_ns != y->time_ns) return x->time_ns < y->time_ns ? -1 : 1;
    if (x->is_return != y->is_return) return x->is_return ? 1 : -1; /* at the same time: they overlap */
    return (x->number > y->number) - (x->number < y->number);
}

static void link_entries(search *s, size_t n, entry **calls)
{
    entry *last = &s->head;
    for (size_t i = 0; i < n; i++) {
        entry *e = &s->entries[i];
        e->previous = last;
        last = last->next = e;
        if (e->is_return) calls[e->number]->match = e;
        else calls[e->number] = e;
    }
    last->next = NULL;
}

static bool is_twin(const linear_op *a, const linear_op *b)
{
    return is_unknown(a) && a->kind == b->kind && a->argument == b->argument && a->expected == b->expected &&
           (a->kind != LINEAR_ACQUIRE || a->client == b->client);
}

static void link_twins(entry *first)
{
    for (entry *e = first; e; e = e->next) {
        if (e->is_return || e->match) continue;
        for (entry *before = e->previous; before->op && !e->twin; before = before->previous)
            if (!before->is_return && !before->match && is_twin(before->op, e->op)) e->twin = before;
    }
}

static void add_entries(search *s, const linear_op *ops)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (is_unknown(&ops[i]) && ops[i].kind == LINEAR_READ) continue; /* says nothing */
        s->entries[n++] = (entry){.op = &ops[i], .time_ns = ops[i].call_ns, .number = (uint32_t)i};
        if (is_unknown(&ops[i])) continue;
        s->entries[n++] = (entry){.op = &ops[i], .time_ns = ops[i].return_ns, .number = (uint32_t)i, .is_return = true};
        s->known_left++;
    }
    qsort(s->entries, n, sizeof *s->entries, by_time);
    entry **calls = calloc(s->count, sizeof *calls);
    if (calls) link_entries(s, n, calls);
    else s->gave_up = true;
    link_twins(s->head.next);
    free(calls);
}

static void search_fini(search *s)
{
    for (size_t i = 0; s->seen && i <= s->seen_mask; i++) free(s->seen[i]);
    free(s->seen);
    free(s->entries);
    free(s->stack);
    free(s->done);
}

static void describe(const linear_op *op, char *text, size_t text_size)
{
    static const char *const names[] = {"read", "write", "cas", "acquire", "release"};
    snprintf(text, text_size,
        "key %" PRIu64 ": client %" PRIu64 "'s %s (argument %" PRIu64 ", expected %" PRIu64 ", result %" PRIu64 ", %" PRIu64 " to %" PRIu64
        " ns) fits nowhere",
        op->key, op->client, names[op->kind], op->argument, op->expected, op->result, op->call_ns, op->return_ns);
}

static linear_verdict check_key(const linear_op *ops, size_t count, const linear_options *options, char *text, size_t text_size)
{
    search s = {.leases_end = options->leases_end,
        .count = count,
        .words = (count + 63) / 64,
        .seen_limit = options->configurations ? options->configurations : 4000000};
    s.entries = calloc(2 * count, sizeof *s.entries);
    s.stack = calloc(count, sizeof *s.stack);
    s.done = calloc(s.words, sizeof *s.done);
    s.gave_up = !s.entries || !s.stack || !s.done;
    if (!s.gave_up) add_entries(&s, ops);
    linear_verdict v = s.gave_up ? LINEAR_GAVE_UP : run(&s);
    if (v == LINEAR_NO && text) describe(s.blocked, text, text_size);
    if (v == LINEAR_GAVE_UP && text)
        snprintf(text, text_size, "key %" PRIu64 ": gave up after %zu configurations of %zu operations", ops->key, s.seen_count, count);
    search_fini(&s);
    return v;
}

static int by_key(const void *a, const void *b)
{
    const linear_op *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->call_ns > y->call_ns) - (x->call_ns < y->call_ns);
}

linear_verdict linear_check(const linear_op *ops, size_t count, const linear_options *options, char *text, size_t text_size)
{
    linear_verdict v = LINEAR_YES;
    linear_op *sorted = malloc((count + 1) * sizeof *sorted);
    if (!sorted) return LINEAR_GAVE_UP;
    if (count) memcpy(sorted, ops, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_key);
    for (size_t at = 0, n; at < count && v == LINEAR_YES; at += n) {
        for (n = 1; at + n < count && sorted[at + n].key == sorted[at].key; n++) {}
        v = check_key(sorted + at, n, options, text, text_size);
    }
    free(sorted);
    return v;
}
