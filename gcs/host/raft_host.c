/*
 * The owner's calls. Each begins with host_enter and ends with host_leave, which does what follows at once (in memory: durability) and, after a failure, ends all that waits.
 */
#include "gcs/host/raft_host.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gcs/host/host_internal.h"
#include "scheduler/base/alloc.h"

/* ---- around every call ---- */

void host_fail(raft_host *h, const char *format, ...)
{
    va_list arguments;
    if (h->is_failed) return;
    h->is_failed = true;
    va_start(arguments, format);
    vsnprintf(h->text, sizeof h->text, format, arguments);
    va_end(arguments);
}

bool host_enter(raft_host *h, uint64_t now_ns)
{
    h->now = now_ns;
    if (!h->is_failed && !h->is_begun) {
        h->is_begun = true;
        (void)host_step(h, &(raft_event){.kind = RAFT_TICK});
    }
    return !h->is_failed;
}

static void end_all(raft_host *h)
{
    uint64_t token, change = h->change;
    h->change = 0;
    while (raft_tokens_pop(&h->commands, &token)) h->calls.lost(h->calls.context, token, RAFT_STOPPED);
    while (raft_tokens_pop(&h->reads, &token)) h->calls.read_ended(h->calls.context, token, RAFT_STOPPED);
    if (change) h->calls.change_ended(h->calls.context, change, RAFT_STOPPED);
}

void host_leave(raft_host *h)
{
    host_settle(h);
    if (!h->is_failed) return;
    end_all(h);
    host_drop_gated(h);
}

/* ---- open, close ---- */

static manta_status load(const raft_host_options *o, raft_host *h, stored *out, char *text)
{
    if (h->in_memory) {
        manta_status status = raft_store_choose_ids(o, &h->disk.store.id, &h->disk.store.cluster, text);
        if (status || !o->found) return status;
        out->entries = base_calloc(1, sizeof *out->entries);
        if (!out->entries) return host_say(text, MANTA_ENOMEM, "no memory for the first entry");
        status = raft_bootstrap(o->found, out->entries, text);
        out->term = out->count = !status;
        return status;
    }
    manta_status status = raft_store_open(o, &h->disk.store, text);
    return status ? status : raft_store_load(&h->disk.store, out, text);
}

static manta_status restore(raft_host *h, char *text)
{
    const raft_snapshot *about = &h->disk.store.snapshot;
    raft_image *image = NULL;
    if (!about->index) return MANTA_OK;
    manta_status status = raft_image_read(h->disk.store.directory, about, &image, text);
    if (status) return status;
    status = h->calls.restore(h->calls.context, image->bytes, (size_t)image->size);
    raft_image_release(image);
    if (status) return host_say(text, status, "restoring the snapshot %" PRIu64 ": %s", about->index, manta_status_text(status));
    h->applied = about->index;
    h->applied_term = about->term;
    return MANTA_OK;
}

static manta_status make_core(raft_host *h, const raft_host_options *o, const stored *l, uint64_t now_ns, char *text)
{
    char problem[RAFT_TEXT_LIMIT];
    const raft_store *s = &h->disk.store;
    raft_settings settings = o->raft;
    settings.id = s->id;
    raft_start start = {l->term, l->vote, s->snapshot.index ? &s->snapshot : NULL, h->in_memory ? 1 : s->first, l->entries, l->count};
    manta_status status = raft_new(&settings, &start, now_ns, &h->core, problem);
    if (!status || h->in_memory) return status ? host_say(text, status, "%s", problem) : MANTA_OK;
    return host_say(text, status, "%s: %s", o->directory, problem);
}

static manta_status open_all(raft_host *h, const raft_host_options *o, uint64_t now_ns, char *text)
{
    stored loaded = {0};
    manta_status status = load(o, h, &loaded, text);
    h->cluster = h->disk.store.cluster;
    if (!status) status = make_core(h, o, &loaded, now_ns, text);
    stored_fini(&loaded);
    if (!status) status = restore(h, text);
    if (!status && !h->in_memory) status = raft_disk_start(&h->disk, h->calls.wake, h->calls.context, text);
    return status;
}

static void free_host(raft_host *h)
{
    raft_disk_stop(&h->disk);
    host_drop_gated(h);
    host_snapshots_fini(h);
    raft_tokens_fini(&h->commands);
    raft_tokens_fini(&h->reads);
    raft_free(h->core);
    base_free(h->entries);
    base_free(h);
}

manta_status raft_host_open(const raft_host_options *options, const raft_host_calls *calls, uint64_t now_ns, raft_host **out, char *text)
{
    raft_host *h = base_calloc(1, sizeof *h);
    if (!h) return host_say(text, MANTA_ENOMEM, "no memory for a Raft server");
    h->calls = *calls;
    h->now = now_ns;
    h->in_memory = !options->directory;
    h->file = h->disk.store.lock_fd = h->disk.job.fd = -1;
    h->gated_end = &h->gated;
    manta_status status = open_all(h, options, now_ns, text);
    if (status) free_host(h);
    else *out = h;
    return status;
}

void raft_host_close(raft_host *h)
{
    if (!h) return;
    end_all(h);
    free_host(h);
}

/* ---- time and disk ---- */

static void release_written_image(raft_host *h)
{
    if (!h->image_write || h->durable < h->image_write) return;
    raft_image_release(h->image);
    h->image = NULL;
    h->image_write = 0;
}

static void hear_disk(raft_host *h)
{
    uint64_t durable = load_acquire(&h->disk.durable);
    if (load_acquire(&h->disk.failed)) host_fail(h, "%s", h->disk.text);
    if (h->is_failed || durable == h->durable) return;
    h->durable = durable;
    release_written_image(h);
    host_open_gate(h);
    (void)host_step(h, &(raft_event){.kind = RAFT_PERSISTED, .persisted = durable});
}

void raft_host_run(raft_host *h, uint64_t now_ns)
{
    if (!host_enter(h, now_ns)) return;
    if (!h->in_memory) hear_disk(h);
    if (!h->is_failed && now_ns >= raft_next_timeout(h->core)) (void)host_step(h, &(raft_event){.kind = RAFT_TICK});
    host_leave(h);
}

uint64_t raft_host_next_timeout(const raft_host *h)
{
    if (h->is_failed) return UINT64_MAX;
    return h->is_begun ? raft_next_timeout(h->core) : h->now;
}

/* ---- requests ---- */

static void refuse_all(raft_host *h, const raft_command *commands, uint32_t count, raft_result why)
{
    for (uint32_t i = 0; i < count; i++) h->calls.lost(h->calls.context, commands[i].token, why);
}

static bool reserve_submit(raft_host *h, uint32_t count)
{
    if (!raft_tokens_reserve(&h->commands, count)) return false;
    if (count <= h->entries_room) return true;
    raft_entry *entries = base_realloc(h->entries, (size_t)count * sizeof *entries);
    if (!entries) return false;
    h->entries = entries;
    h->entries_room = count;
    return true;
}

static raft_result submit(raft_host *h, const raft_command *commands, uint32_t count)
{
    if (!reserve_submit(h, count)) return RAFT_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        h->entries[i] = (raft_entry){.buffer = commands[i].buffer, .data = commands[i].data, .size = commands[i].size};
    uint64_t first = raft_status_of(h->core).last + 1;
    raft_result result = host_step(h, &(raft_event){.kind = RAFT_SUBMIT, .submit = {h->entries, count}});
    for (uint32_t i = 0; !result && i < count; i++) raft_tokens_push(&h->commands, first + i, commands[i].token);
    return result;
}

void raft_host_submit(raft_host *h, const raft_command *commands, uint32_t count, uint64_t now_ns)
{
    if (!host_enter(h, now_ns)) {
        refuse_all(h, commands, count, RAFT_STOPPED);
        return;
    }
    raft_result result = count ? submit(h, commands, count) : RAFT_OK;
    if (result) refuse_all(h, commands, count, result);
    else h->stats.commands += count;
    host_leave(h);
}

static raft_result read_begin(raft_host *h, uint64_t token)
{
    if (!raft_tokens_reserve(&h->reads, 1)) return RAFT_NO_MEMORY;
    raft_tokens_push(&h->reads, 0, token);
    raft_result result = host_step(h, &(raft_event){.kind = RAFT_READ, .token = token});
    if (result) h->reads.count--; /* it was the last */
    return result;
}

void raft_host_read(raft_host *h, uint64_t token, uint64_t now_ns)
{
    raft_result result = host_enter(h, now_ns) ? read_begin(h, token) : RAFT_STOPPED;
    if (result) h->calls.read_ended(h->calls.context, token, result);
    host_leave(h);
}

static raft_result change_begin(raft_host *h, const raft_event *e)
{
    if (h->change) return RAFT_BUSY;
    h->change = e->change.token;
    raft_result result = host_step(h, e);
    if (result) h->change = 0;
    return result;
}

void raft_host_change(raft_host *h, raft_change_kind kind, uint64_t id, const char *address, uint64_t token, uint64_t now_ns)
{
    raft_event e = {.kind = RAFT_CHANGE, .change = {kind, id, token, address}};
    raft_result result = host_enter(h, now_ns) ? change_begin(h, &e) : RAFT_STOPPED;
    if (result) h->calls.change_ended(h->calls.context, token, result);
    host_leave(h);
}

void raft_host_transfer(raft_host *h, uint64_t to, uint64_t now_ns)
{
    if (!host_enter(h, now_ns)) return;
    (void)host_step(h, &(raft_event){.kind = RAFT_TRANSFER, .transfer = to});
    host_leave(h);
}

/* ---- questions ---- */

raft_host_status raft_host_status_of(const raft_host *h)
{
    raft_host_status s = {.raft = raft_status_of(h->core), .cluster = h->cluster, .applied = h->applied};
    s.is_ready = s.raft.state == RAFT_LEADER && h->applied_term == s.raft.term && !h->is_failed;
    const raft_server *leader = raft_configuration_find(raft_current_configuration(h->core), s.raft.leader);
    if (leader) memcpy(s.leader_address, leader->address, sizeof s.leader_address);
    return s;
}

const raft_configuration *raft_host_configuration(const raft_host *h) { return raft_current_configuration(h->core); }
const char *raft_host_failure(const raft_host *h) { return h->is_failed ? h->text : NULL; }

raft_host_stats raft_host_stats_of(const raft_host *h)
{
    raft_host_stats s = h->stats;
    s.group_commits = load_relaxed(&h->disk.group_commits);
    s.entries_written = load_relaxed(&h->disk.entries);
    s.bytes_written = load_relaxed(&h->disk.bytes);
    return s;
}
