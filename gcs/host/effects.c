/*
 * One step and its effects, in an order that is that of raft.h but for one thing: what a leader sent as a snapshot is checked, and the machine replaced by it, before the write that makes it count
 * is queued; so a bad one never counts.
 *
 * Invariant: `commands` holds exactly the entries that this server appended in its present leadership and did not apply yet, in order. It ends with the leadership.
 */
#include "gcs/host/host_internal.h"

static void do_write(raft_host *h, const raft_effects *x)
{
    h->queued = x->write.number;
    if (h->in_memory) return;
    disk_write *w = disk_write_new(&x->write);
    if (!w) {
        host_fail(h, "no memory for a write of %llu entries", (unsigned long long)x->write.count);
        return;
    }
    if (x->restore) {
        w->image = raft_image_retain(h->image);
        h->image_write = x->write.number;
    }
    raft_disk_push(&h->disk, w);
}

static manta_status apply_one(raft_host *h, uint64_t index, const raft_entry *e)
{
    uint64_t token = raft_tokens_take(&h->commands, index);
    if (e->kind != RAFT_ENTRY_COMMAND) return MANTA_OK;
    h->stats.commits++;
    return h->calls.apply(h->calls.context, index, e->data, e->size, token);
}

static void do_apply(raft_host *h, const raft_effects *x)
{
    for (uint64_t i = x->apply_first; i && i <= x->apply_last && !h->is_failed; i++) {
        const raft_entry *e = raft_entry_at(h->core, i);
        h->applied_term = e->term;
        h->applied = i;
        manta_status status = apply_one(h, i, e);
        if (status) host_fail(h, "applying entry %llu: %s", (unsigned long long)i, manta_status_text(status));
    }
}

static void do_ends(raft_host *h, const raft_effects *x)
{
    uint64_t token;
    for (uint32_t i = 0; i < x->read_count; i++) { /* they end in the order in which they began */
        (void)raft_tokens_pop(&h->reads, &token);
        h->calls.read_ended(h->calls.context, x->reads[i].token, x->reads[i].result);
    }
    if (!x->change.ended) return;
    h->change = 0;
    h->calls.change_ended(h->calls.context, x->change.token, x->change.result);
}

static void lose_commands(raft_host *h, raft_result why)
{
    for (uint64_t token; raft_tokens_pop(&h->commands, &token);) h->calls.lost(h->calls.context, token, why);
}

static void do_snapshots(raft_host *h, const raft_effects *x)
{
    if (x->chunk.size || x->chunk.last) host_take_chunk(h, x);
    if (x->restore && !h->is_failed) host_restore(h, x->restore);
}

static raft_result do_step(raft_host *h, const raft_event *e, bool *out_take)
{
    const raft_effects *x = raft_step(h->core, e);
    raft_result result = x->result;
    bool take = x->take_snapshot, led_on = raft_status_of(h->core).state == RAFT_LEADER;
    do_snapshots(h, x);
    if (x->write.number && !h->is_failed) do_write(h, x);
    host_send_all(h, x->messages, x->message_count);
    do_apply(h, x);
    if (h->is_failed) return result;
    do_ends(h, x);
    if (!led_on) lose_commands(h, RAFT_LEADERSHIP_LOST);
    if (x->state_changed) h->calls.state_changed(h->calls.context);
    *out_take = take;
    return result;
}

/* The effects are the core's, until its next step: entered once more from a call that waits, the outer step would do the inner one's again. */
raft_result host_step(raft_host *h, const raft_event *event)
{
    raft_event e = *event;
    bool take = false;
    e.now_ns = h->now;
    if (h->is_stepping) {
        host_fail(h, "entered while a step is under way: what it calls must not wait");
        return RAFT_STOPPED;
    }
    h->is_stepping = true;
    raft_result result = do_step(h, &e, &take);
    h->is_stepping = false;
    if (take) host_save(h);
    return result;
}

void host_settle(raft_host *h)
{
    for (;;) {
        if (h->is_failed) return;
        if (h->in_memory && h->durable < h->queued) {
            h->durable = h->queued;
            (void)host_step(h, &(raft_event){.kind = RAFT_PERSISTED, .persisted = h->durable});
        } else if (h->is_saving && load_acquire(&h->disk.job_done)) host_saved(h);
        else return;
    }
}
