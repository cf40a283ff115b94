/*
 * Lists and descriptions of living actors, for programs and for people.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "actor/inspect/inspect.h"
#include "actor/runtime/names.h"

enum { COUNTED_MESSAGES = 100000 };

static uint64_t slots_used(void)
{
    uint64_t used = load_acquire(&actor_slab.used);
    return used < actor_slab.capacity ? used : actor_slab.capacity;
}

static uint64_t age_ns(const actor_view *v)
{
    if (v->state == MANTA_STATE_RUNNING) return watch_running_ns(v->worker, v->actor);
    uint64_t began = v->state == MANTA_STATE_WAITING && v->act ? load_relaxed(&((activation *)(uintptr_t)v->act)->began_ns) : 0;
    return began ? inspect_clock_age_ns(began) : 0;
}

static void describe(const actor_view *v, manta_actor_info *out)
{
    *out = (manta_actor_info){.actor = {v->id},
        .class_name = view_class(v),
        .state = v->state,
        .method = view_method(v),
        .handled = v->handled,
        .waits_for = v->wait_kind,
        .waits_for_actor = {v->wait_target}};
    if (!mailbox_is_at_rest(&v->actor->box)) out->queue_length = mailbox_count(&v->actor->box, &v->actor->end, COUNTED_MESSAGES);
    out->message_age_ns = age_ns(v);
    names_find(v->id, out->name);
}

void actors_each(void (*visit)(const manta_actor_info *a, void *context), void *context)
{
    if (!inspect_is_up()) return;
    for (uint64_t i = 0, used = slots_used(); i < used; i++) {
        actor_view v;
        manta_actor_info info;
        if (!actor_view_read(i, &v)) continue;
        describe(&v, &info);
        visit(&info, context);
    }
}

manta_status manta_list_actors(manta_actor_info *out, size_t capacity, size_t *out_count)
{
    if (!out_count || (!out && capacity)) return error_set(MANTA_EINVAL, "manta_list_actors: out or out_count is NULL");
    if (!inspect_is_up()) return error_set(MANTA_ESHUTDOWN, "manta_list_actors: no system runs");
    size_t count = 0;
    for (uint64_t i = 0, used = slots_used(); i < used; i++) {
        actor_view v;
        if (!actor_view_read(i, &v)) continue;
        if (count < capacity) describe(&v, &out[count]);
        count++;
    }
    *out_count = count;
    return MANTA_OK;
}

manta_status manta_actor_describe(manta_actor who, manta_actor_info *out)
{
    if (!out) return error_set(MANTA_EINVAL, "manta_actor_describe: out is NULL");
    actor *a = inspect_is_up() ? actor_slot(who.id) : NULL;
    actor_view v;
    if (!actor_is(a, who.id) || !actor_view_read((uint32_t)who.id, &v) || v.id != who.id)
        return error_set(MANTA_EDEAD, "manta_actor_describe: %s", manta_status_text(MANTA_EDEAD));
    describe(&v, out);
    return MANTA_OK;
}

static bool write_all(int fd, const char *text, size_t size_bytes)
{
    while (size_bytes > 0) {
        ssize_t n = write(fd, text, size_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        text += n;
        size_bytes -= (size_t)n;
    }
    return true;
}

static bool print_one(int fd, const manta_actor_info *a)
{
    static const char *const states[] = {"idle", "queued", "running", "waiting"};
    char line[512], target[32] = "", age[48] = "";
    if (a->waits_for_actor.id) snprintf(target, sizeof target, " of #%u", (uint32_t)a->waits_for_actor.id);
    if (a->message_age_ns) snprintf(age, sizeof age, " since %" PRIu64 " ms", a->message_age_ns / OS_NS_PER_MS);
    int n = snprintf(line, sizeof line, "%s#%u%s%s %s%s%s%s%s%s%s, %" PRIu64 " queued, %" PRIu64 " handled\n", a->class_name,
        (uint32_t)a->actor.id, a->name[0] ? " " : "", a->name, states[a->state], a->method[0] ? " in " : "", a->method,
        a->waits_for[0] ? " for " : "", a->waits_for, target, age, a->queue_length, a->handled);
    return write_all(fd, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

manta_status manta_print_actors(int file_descriptor)
{
    if (!inspect_is_up()) return error_set(MANTA_ESHUTDOWN, "manta_print_actors: no system runs");
    for (uint64_t i = 0, used = slots_used(); i < used; i++) {
        actor_view v;
        manta_actor_info info;
        if (!actor_view_read(i, &v)) continue;
        describe(&v, &info);
        if (!print_one(file_descriptor, &info)) return error_set(MANTA_EIO, "manta_print_actors: file descriptor %d: %m", file_descriptor);
    }
    return MANTA_OK;
}
