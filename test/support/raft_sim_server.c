/*
 * A host as it should be: one ordered disk queue with group commit, messages gated by the write that they wait for, snapshots taken in the background.
 *
 * A crash keeps a random prefix of the queued writes, and of the first that is lost perhaps a prefix of its entries.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/base/alloc.h"
#include "test/support/raft_sim_internal.h"

/* ---- copies ---- */

static raft_entry *copy_entries(const raft_entry *entries, uint64_t count)
{
    if (!count) return NULL;
    raft_entry *copy = malloc((size_t)count * sizeof *copy);
    for (uint64_t i = 0; i < count; i++) {
        copy[i] = entries[i];
        raft_buffer_retain(copy[i].buffer);
    }
    return copy;
}

static void free_entries(raft_entry *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) raft_buffer_release(entries[i].buffer);
    free(entries);
}

sim_message *sim_message_copy(const raft_message *m)
{
    sim_message *copy = malloc(sizeof *copy);
    copy->next = NULL;
    copy->m = *m;
    copy->entries = NULL;
    copy->snapshot = NULL;
    if (m->kind == RAFT_APPEND) copy->m.append.entries = copy->entries = copy_entries(m->append.entries, m->append.count);
    if (m->kind != RAFT_CHUNK) return copy;
    copy->snapshot = malloc(sizeof *copy->snapshot);
    *copy->snapshot = *m->chunk.snapshot;
    copy->m.chunk.snapshot = copy->snapshot;
    if (m->chunk.bytes) memcpy(copy->bytes, m->chunk.bytes, m->chunk.size);
    copy->m.chunk.bytes = copy->bytes;
    return copy;
}

void sim_message_free(sim_message *m)
{
    if (m->entries) free_entries(m->entries, m->m.append.count);
    free(m->snapshot);
    free(m);
}

/* ---- images ---- */

static unsigned char image_byte(const sim_image *image, uint64_t at)
{
    if (at < 8) return (unsigned char)(image->hash >> 8 * at);
    return (unsigned char)(rng_mix(image->hash ^ at) >> 7);
}

static void image_bytes(const sim_image *image, uint64_t offset, uint32_t size, unsigned char *out)
{
    for (uint32_t i = 0; i < size; i++) out[i] = image_byte(image, offset + i);
}

static bool read_image(const unsigned char *bytes, const raft_snapshot *about, sim_image *out)
{
    out->about = *about;
    out->hash = 0;
    for (int i = 8; i-- > 0;) out->hash = out->hash << 8 | bytes[i];
    for (uint64_t i = 0; i < about->size_bytes; i++)
        if (bytes[i] != image_byte(out, i)) return false;
    return out->hash == about->identity;
}

/* ---- disk ---- */

static void disk_truncate(sim_disk *d, uint64_t from)
{
    while (d->count && d->first + d->count > from) raft_buffer_release(d->entries[--d->count].buffer);
}

static void disk_trim(sim_disk *d, uint64_t first)
{
    uint64_t n = first > d->first ? first - d->first : 0;
    if (n > d->count) n = d->count;
    for (uint64_t i = 0; i < n; i++) raft_buffer_release(d->entries[i].buffer);
    memmove(d->entries, d->entries + n, (size_t)(d->count - n) * sizeof *d->entries);
    d->count -= n;
    d->first += n;
}

static bool disk_append(sim_disk *d, const raft_write *w, const raft_entry *entries, uint64_t count)
{
    if (!count) return true;
    if (!d->count) d->first = w->append_first;
    if (d->first + d->count != w->append_first || d->count + count > SIM_ENTRIES) return false;
    for (uint64_t i = 0; i < count; i++) {
        d->entries[d->count++] = entries[i];
        raft_buffer_retain(entries[i].buffer);
    }
    return true;
}

/* `count`: of the entries; fewer than there are in a crash. */
static void disk_do(sim_world *w, sim_server *s, const sim_write *p, uint64_t count)
{
    sim_disk *d = &s->disk;
    if (p->w.has_term) {
        d->term = p->w.term;
        d->vote = p->w.vote;
    }
    if (p->w.snapshot) d->image = p->image;
    if (p->w.truncate_from) disk_truncate(d, p->w.truncate_from);
    if (!disk_append(d, &p->w, p->entries, count))
        sim_fail(w, "server %" PRIu64 " leaves a gap on its disk at %" PRIu64, s->id, p->w.append_first);
    if (p->w.trim_before) disk_trim(d, p->w.trim_before);
}

static void drop_writes(sim_server *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) free_entries(s->writes[i].entries, s->writes[i].w.count);
    s->write_count -= n;
    if (n) memmove(s->writes, s->writes + n, s->write_count * sizeof *s->writes);
}

static void disk_kick(sim_world *w, sim_server *s)
{
    if (s->writing || !s->write_count) return;
    s->writing = rng_below(&w->random, 4) ? s->write_count : 1 + (uint32_t)rng_below(&w->random, s->write_count);
    uint64_t delay = 1 + rng_below(&w->random, 2 * w->disk_delay) * (w->now < s->slow_until ? 40 : 1);
    sim_schedule(w, (sim_event){.at = w->now + delay, .kind = SIM_DISK, .server = sim_at(s->id), .life = s->life});
}

static void queue_write(sim_world *w, sim_server *s, const raft_write *write)
{
    if (s->write_count == s->write_capacity) {
        s->write_capacity = s->write_capacity ? 2 * s->write_capacity : 16;
        s->writes = realloc(s->writes, s->write_capacity * sizeof *s->writes);
    }
    sim_write *p = &s->writes[s->write_count++];
    p->w = *write;
    p->entries = copy_entries(write->entries, write->count);
    if (write->snapshot) p->image = s->image;
    disk_kick(w, s);
}

static void open_gate(sim_world *w, sim_server *s)
{
    sim_message *m = s->gated;
    s->gated = NULL;
    s->gated_end = &s->gated;
    while (m) {
        sim_message *next = m->next;
        m->next = NULL;
        if (m->m.after_write <= s->durable_write) sim_send(w, m);
        else {
            *s->gated_end = m;
            s->gated_end = &m->next;
        }
        m = next;
    }
}

void sim_server_snapshot_taken(sim_world *w, sim_server *s, const sim_image *image)
{
    if (image->about.index > s->image.about.index) s->image = *image;
    w->report->snapshots++;
    sim_server_step(
        w, s, &(raft_event){.kind = RAFT_SNAPSHOT_TAKEN, .snapshot = {image->about.index, image->about.identity, image->about.size_bytes}});
}

void sim_server_written(sim_world *w, sim_server *s)
{
    uint32_t n = s->writing;
    for (uint32_t i = 0; i < n; i++) disk_do(w, s, &s->writes[i], s->writes[i].w.count);
    s->durable_write = s->writes[n - 1].w.number;
    drop_writes(s, n);
    s->writing = 0;
    disk_kick(w, s);
    open_gate(w, s);
    sim_server_step(w, s, &(raft_event){.kind = RAFT_PERSISTED, .persisted = s->durable_write});
}

/* ---- life ---- */

void sim_server_found(sim_server *s, const raft_entry *bootstrap)
{
    s->disk.term = 1;
    (void)disk_append(&s->disk, &(raft_write){.append_first = 1}, bootstrap, 1);
}

bool sim_server_start(sim_world *w, sim_server *s)
{
    char text[RAFT_TEXT_LIMIT];
    sim_disk *d = &s->disk;
    raft_settings settings = w->settings;
    settings.id = s->id;
    settings.seed = rng_next(&w->random);
    raft_start start = {d->term, d->vote, d->image.about.index ? &d->image.about : NULL, d->first, d->entries, d->count};
    s->image = d->image;
    s->applied = s->commit = d->image.about.index;
    s->hash = d->image.hash;
    s->durable_write = 0;
    s->gated_end = &s->gated;
    s->life++;
    manta_status status = raft_new(&settings, &start, w->now, &s->core, text);
    if (status) sim_fail(w, "server %" PRIu64 " does not start: %s", s->id, text);
    else s->timeout = raft_next_timeout(s->core);
    return !status;
}

static void free_gated(sim_server *s)
{
    for (sim_message *m = s->gated, *next; m; m = next) {
        next = m->next;
        sim_message_free(m);
    }
    s->gated = NULL;
    s->gated_end = &s->gated;
}

void sim_server_crash(sim_world *w, sim_server *s)
{
    uint32_t kept = s->write_count ? (uint32_t)rng_below(&w->random, s->write_count + 1) : 0;
    for (uint32_t i = 0; i < kept; i++) disk_do(w, s, &s->writes[i], s->writes[i].w.count);
    if (kept < s->write_count && s->writes[kept].w.count && rng_below(&w->random, 2)) {
        sim_write half = s->writes[kept];
        half.w.trim_before = 0;
        disk_do(w, s, &half, rng_below(&w->random, half.w.count + 1));
    }
    drop_writes(s, s->write_count);
    free_gated(s);
    raft_free(s->core);
    s->core = NULL;
    s->writing = 0;
    s->life++;
    s->paused_until = 0;
    w->report->crashes++;
}

void sim_server_fini(sim_server *s)
{
    raft_free(s->core);
    drop_writes(s, s->write_count);
    free_gated(s);
    disk_truncate(&s->disk, 0);
    free(s->writes);
    free(s->disk.entries);
}

/* ---- a step and its effects ---- */

static void take_snapshot(sim_world *w, sim_server *s)
{
    sim_event e = {.kind = SIM_SNAPSHOT, .server = sim_at(s->id), .life = s->life};
    if (!raft_describe_snapshot(s->core, s->applied, &e.image.about)) {
        sim_fail(w, "server %" PRIu64 " cannot describe the snapshot that it asks for", s->id);
        return;
    }
    e.image.hash = e.image.about.identity = s->hash;
    e.image.about.size_bytes = 8 + s->applied % 200;
    e.at = w->now + rng_below(&w->random, 10 * w->disk_delay + 1);
    sim_schedule(w, e);
}

static void do_chunk(sim_world *w, sim_server *s, const raft_effects *x)
{
    if (x->chunk.size) memcpy(s->incoming + x->chunk.offset, x->chunk.bytes, x->chunk.size);
    if (!x->restore) return;
    if (!read_image(s->incoming, x->restore, &s->image)) sim_fail(w, "server %" PRIu64 " received a broken snapshot", s->id);
    s->applied = x->restore->index;
    s->hash = s->image.hash;
    w->report->installs++;
    sim_oracle_restored(w, s);
}

static void do_apply(sim_world *w, sim_server *s, const raft_effects *x)
{
    if (x->apply_first && x->apply_first != s->applied + 1)
        sim_fail(w, "server %" PRIu64 " applies %" PRIu64 " after %" PRIu64, s->id, x->apply_first, s->applied);
    for (uint64_t i = x->apply_first; i && i <= x->apply_last; i++) {
        const raft_entry *e = raft_entry_at(s->core, i);
        if (!e) {
            sim_fail(w, "server %" PRIu64 " is to apply %" PRIu64 " and does not have it", s->id, i);
            return;
        }
        sim_oracle_applied(w, s, i, e);
        s->applied = i;
        w->report->applied++;
    }
}

static void do_messages(sim_world *w, sim_server *s, const raft_effects *x)
{
    for (uint32_t i = 0; i < x->message_count; i++) {
        sim_message *m = sim_message_copy(&x->messages[i]);
        if (m->m.kind == RAFT_CHUNK) image_bytes(&s->image, m->m.chunk.offset, m->m.chunk.size, m->bytes);
        uint64_t index = m->m.kind == RAFT_APPEND ? m->m.append.previous_index : 0; /* other kinds have pointers there */
        w->report->hash = sim_mix(w->report->hash, (uint64_t)m->m.kind << 32 ^ m->m.to << 40 ^ m->m.term ^ index << 8);
        if (m->m.after_write > s->durable_write) {
            *s->gated_end = m;
            s->gated_end = &m->next;
        } else sim_send(w, m);
    }
}

static void trace(const sim_world *w, const sim_server *s, const raft_event *e, const raft_effects *x)
{
    static const char *const events[] = {"tick", "receive", "submit", "persisted", "taken", "failed", "read", "transfer", "change"};
    raft_status now = raft_status_of(s->core);
    fprintf(stderr, "%9.3f ms  %" PRIu64 " %-9s", (double)w->now / 1e6, s->id, events[e->kind]);
    if (e->kind == RAFT_RECEIVE)
        fprintf(stderr, " kind %d from %" PRIu64 " term %" PRIu64, (int)e->message->kind, e->message->from, e->message->term);
    fprintf(stderr, "  -> %s term %" PRIu64 " log %" PRIu64 "..%" PRIu64 " commit %" PRIu64 " durable %" PRIu64 " leader %" PRIu64,
        raft_state_name(now.state), now.term, now.first, now.last, now.commit, now.durable, now.leader);
    if (x->result) fprintf(stderr, "  (%s)", raft_result_text(x->result));
    for (uint32_t i = 0; i < x->message_count; i++) fprintf(stderr, " [%d>%" PRIu64 "]", (int)x->messages[i].kind, x->messages[i].to);
    fputc('\n', stderr);
}

void sim_server_step(sim_world *w, sim_server *s, const raft_event *event)
{
    raft_event e = *event;
    e.now_ns = w->now;
    bool led = raft_status_of(s->core).state == RAFT_LEADER;
    if (w->chaos && w->is_short_of_memory) base_alloc_fail_at(rng_below(&w->random, 3));
    const raft_effects *x = raft_step(s->core, &e);
    if (w->is_short_of_memory) base_alloc_fail_at(0);
    w->report->steps++;
    w->report->refused_memory += x->result == RAFT_NO_MEMORY;
    if (sim_trace()) trace(w, s, &e, x);
    w->report->hash = sim_mix(w->report->hash, x->apply_last ^ x->write.number << 20 ^ (uint64_t)x->result << 50);
    do_chunk(w, s, x); /* before the write, which takes the image along */
    if (x->write.number) {
        queue_write(w, s, &x->write);
        sim_oracle_appended(w, s, &x->write);
    }
    do_messages(w, s, x);
    do_apply(w, s, x);
    sim_oracle_stepped(w, s, x, led);
    for (uint32_t i = 0; i < x->read_count; i++)
        if (x->reads[i].result == RAFT_OK) sim_oracle_read_ended(w, s, x->reads[i].token);
    if (x->change.ended && x->change.result == RAFT_OK) w->report->changes++;
    if (x->take_snapshot) take_snapshot(w, s);
    s->timeout = raft_next_timeout(s->core);
}
