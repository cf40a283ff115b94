/*
 * Names of actors in the cluster: rows of the control store's table of actors. A name ends with its actor (an actor here watches it), with its process or its node (which the store is told by the node's daemon).
 */
#include "actor/node/control.h"

#include <stdio.h>
#include <string.h>

#include "actor/durable/alone.h"
#include "actor/node/moving.h"
#include "actor/node/named.h"
#include "actor/node/node.h"
#include "actor/node/raylet.h"

enum { SPACE_LIMIT = NAME_LIMIT, STARTING_MS = 20, REACH_MS = 1000 };

typedef struct named {
    uint64_t actor, uid, epoch; /* epoch: of a row that may have gone on to another place; else UINT64_MAX */
} named;

MANTA_ACTOR(MantaNames, named *items; uint32_t count, room;)
static MantaNames_ref keeper; /* under names_lock */
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool has_let_go;

/* Ids of processes are not 0 in the store; a system alone has none. */
static uint64_t own_process(void) { return the_node.process ? the_node.process : 1; }

static void end_at(uint64_t uid, uint64_t epoch, const char *why)
{
    manta_writer w;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    gcs_write_actor_dead(&w, NULL, &(gcs_actor_dead){uid, epoch, manta_str_of(why)});
    (void)control_call("the end of a named actor", false, &w, GCS_TIMEOUT_MS, &reply);
}

/* A constructor that fails when the actor is started again is tried again: its state, and whoever has its handle, wait for it. */
static void restart_at(uint64_t uid, uint64_t epoch, const char *why)
{
    manta_writer w;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    gcs_write_actor_restarting(&w, NULL, &(gcs_actor_restarting){uid, epoch, manta_str_of(why)});
    (void)control_call("an actor's restart", false, &w, GCS_TIMEOUT_MS, &reply);
}

void names_let_go(bool yes) { store_seq(&has_let_go, yes); }

/* Of one that moves. One that was started again and could not begin (MANTA_EINIT; MANTA_EDEAD: before this actor had watched it) has not ended: its state is there. Alone nobody makes it again before the next start, so who calls it is told. */
static void moving_ended(uint64_t uid, uint64_t epoch, manta_status status, const char *why)
{
    bool again = epoch > 1 && (status == MANTA_EINIT || status == MANTA_EDEAD);
    if (load_seq(&has_let_go)) return;
    if (again && load_seq(&alone_is_on)) moving_give_up_here(uid, why);
    else if (again) restart_at(uid, epoch, why);
    else end_at(uid, epoch, why);
}

void name_end(uint64_t uid, const char *why) { end_at(uid, UINT64_MAX, why); }

MANTA_METHOD_DECLARE(MantaNames, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
MANTA_METHOD_DEFINE(MantaNames, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    char text[200];
    if (status == MANTA_ENOMEM && manta_is_alive(who)) { /* there was no memory to watch it */
        (void)manta_monitor(who, MantaNames_on_down, NULL);
        return;
    }
    snprintf(text, sizeof text, "%s%s%.*s", manta_status_name((manta_status)status), why.size ? ": " : "",
        (int)(why.size < 100 ? why.size : 100), why.size ? why.data : "");
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->items[i].actor != who.id) continue;
        uint64_t uid = self->items[i].uid, epoch = self->items[i].epoch;
        self->items[i--] = self->items[--self->count];
        if (uid_is_moving(uid)) moving_ended(uid, epoch, (manta_status)status, text);
        else end_at(uid, epoch, text);
    }
}

MANTA_METHOD_DECLARE(MantaNames, keep, void, (manta_actor, who), (uint64_t, uid), (uint64_t, epoch))
MANTA_METHOD_DEFINE(MantaNames, keep, void, (manta_actor, who), (uint64_t, uid), (uint64_t, epoch))
{
    if (self->count == self->room) {
        uint32_t room = self->room ? self->room * 2 : 64;
        named *items = base_realloc(self->items, room * sizeof *items);
        if (!items) {
            manta_fail(MANTA_ENOMEM, "no memory for a name");
            return;
        }
        self->items = items;
        self->room = room;
    }
    self->items[self->count++] = (named){who.id, uid, epoch};
    (void)manta_monitor(who, MantaNames_on_down, NULL);
}

static void free_items(void *self) { base_free(((MantaNames *)self)->items); }
MANTA_CLASS_WITH(MantaNames, (.on_free = free_items), on_down, keep)

static MantaNames_ref names_keeper(void)
{
    pthread_mutex_lock(&names_lock);
    if (!manta_is_alive(keeper.actor)) keeper = MantaNames_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE));
    MantaNames_ref k = keeper;
    pthread_mutex_unlock(&names_lock);
    return k;
}

uint32_t name_keepers(void)
{
    pthread_mutex_lock(&names_lock);
    bool is_there = manta_is_alive(keeper.actor);
    pthread_mutex_unlock(&names_lock);
    return is_there + moving_keepers();
}

static manta_status place(uint64_t uid, uint64_t epoch, manta_actor who)
{
    manta_writer w;
    gcs_reply reply;
    const char *address = manta_listen_address(0);
    manta_writer_init_growing(&w);
    gcs_actor_placed row = {uid, epoch, manta_process_of(job_raylet).id, own_process(), who.id, manta_str_of(address ? address : "")};
    gcs_write_actor_placed(&w, NULL, &row);
    return control_call("a named actor", false, &w, GCS_TIMEOUT_MS, &reply);
}

manta_status name_adopt(uint64_t uid, uint64_t epoch, manta_actor who)
{
    manta_status status = place(uid, epoch, who);
    return status ? status : manta_join(MantaNames_keep(names_keeper(), who, uid, uid_is_moving(uid) ? epoch : UINT64_MAX));
}

static const char *class_of(manta_actor who)
{
    const actor *a = actor_slot(who.id);
    return actor_is(a, who.id) && a->cls ? a->cls->name : "";
}

manta_status manta_register_in_cluster(const char *name_space, const char *name, manta_actor who)
{
    manta_writer w;
    gcs_reply reply;
    manta_status status = control_check("manta_register_in_cluster", "name", name, NAME_LIMIT);
    if (!status) status = control_check("manta_register_in_cluster", "namespace", name_space, SPACE_LIMIT);
    if (!status && (is_remote(who.id) || !manta_is_alive(who)))
        status = error_set(MANTA_EDEAD, "manta_register_in_cluster: \"%s\": the actor does not live in this process", name);
    if (!status) status = control_begin("manta_register_in_cluster");
    if (status) return status;
    uint64_t uid = os_random_u64() >> 8 | 1; /* of those that do not move, see moving.h */
    gcs_actor_register row = {.uid = uid,
        .class_name = manta_str_of(class_of(who)),
        .space = manta_str_of(name_space),
        .name = manta_str_of(name),
        .owner = own_process()};
    manta_writer_init_growing(&w);
    gcs_write_actor_register(&w, NULL, &row);
    if ((status = control_call("manta_register_in_cluster", false, &w, GCS_TIMEOUT_MS, &reply))) return status;
    status = name_adopt(uid, 1, who);
    if (status) name_end(uid, "could not be placed");
    return status;
}

/* The handle of the actor that a row places. MANTA_ENOTREADY: it is being started, or its process does not answer: the row will say soon whether it has ended. */
static manta_status handle_of(const gcs_actor_row *row, manta_actor *out)
{
    char address[MANTA_ADDRESS_BYTES];
    manta_process p;
    if (uid_is_moving(row->uid) && row->state != GCS_ACTOR_STATE_PENDING) {
        *out = moving_handle(row->uid);
        return out->id ? MANTA_OK : error_set(MANTA_ENOMEM, "manta_lookup_in_cluster: no memory for a handle");
    }
    if (row->state != GCS_ACTOR_STATE_ALIVE) return error_set(MANTA_ENOTREADY, "it is being started");
    if (row->process == own_process()) {
        out->id = row->local;
        return MANTA_OK;
    }
    if (row->address.size >= sizeof address || !row->address.size)
        return error_set(MANTA_EUNKNOWN, "manta_lookup_in_cluster: its process cannot be reached: it has no address");
    snprintf(address, sizeof address, "%.*s", (int)row->address.size, row->address.data);
    if (process_at(address, REACH_MS, &p))
        return error_set(MANTA_ENOTREADY, "its process cannot be reached: %s", manta_last_error()->message);
    if (p.id != row->process) return error_set(MANTA_ENOTFOUND, "manta_lookup_in_cluster: its process has ended");
    out->id = proxy_of(row->process, row->local);
    return out->id ? MANTA_OK : error_set(MANTA_ENOMEM, "manta_lookup_in_cluster: no memory for a handle");
}

static manta_status find_row(const char *name_space, const char *name, manta_actor *out)
{
    manta_writer w;
    gcs_reply reply;
    gcs_actor_row row;
    manta_writer_init_growing(&w);
    gcs_write_actor_find(&w, NULL, &(gcs_actor_find){manta_str_of(name_space), manta_str_of(name)});
    manta_status status = control_call("manta_lookup_in_cluster", true, &w, GCS_TIMEOUT_MS, &reply);
    if (status) return status;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_actor_row(&r, &row);
    return r.status ? error_set(MANTA_EDECODE, "manta_lookup_in_cluster: a malformed answer") : handle_of(&row, out);
}

manta_status manta_lookup_in_cluster(const char *name_space, const char *name, manta_actor *out)
{
    manta_status status = control_check("manta_lookup_in_cluster", "name", name, NAME_LIMIT);
    if (!status) status = control_check("manta_lookup_in_cluster", "namespace", name_space, SPACE_LIMIT);
    if (!status) status = control_begin("manta_lookup_in_cluster");
    uint64_t deadline = deadline_after_ms(GCS_TIMEOUT_MS);
    while (!status) {
        status = find_row(name_space, name, out);
        if (status != MANTA_ENOTREADY) return status;
        if (manta_now_ns() >= deadline) {
            char why[200];
            snprintf(why, sizeof why, "%s", manta_last_error()->message);
            return error_set(MANTA_ETIMEDOUT, "manta_lookup_in_cluster: \"%s\": %s", name, why);
        }
        status = manta_sleep(STARTING_MS);
    }
    return status;
}
