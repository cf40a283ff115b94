#include "actor/node/named.h"

#include <stdio.h>
#include <string.h>

#include "actor/durable/alone.h"
#include "actor/node/control.h"
#include "actor/node/jobs_store.h"
#include "actor/node/moving.h"
#include "actor/node/owner.h"
#include "actor/node/restarter.h"
#include "actor/runtime/names.h"

enum { AGAIN_MS = 20 };

/* ---- spawns ---- */

static manta_status check_detached(const manta_options *o, const manta_class *cls)
{
    if (o && o->name && name_check("spawn", o->name)) return manta_last_error()->status;
    if (options_lifetime(o) != MANTA_LIFETIME_DETACHED) return MANTA_OK;
    if (o->process.id || o->link || o->where == MANTA_WHERE_HERE)
        return error_set(MANTA_EINVAL,
            "%s_spawn: a detached actor has a process of its own: options.process, options.link and MANTA_WHERE_HERE are not for it",
            cls->name);
    if (o->placement_group.id)
        return error_set(
            MANTA_EUNSUPPORTED, "%s_spawn: a detached actor cannot be in a placement group, which ends with its job", cls->name);
    return MANTA_OK;
}

static const char *name_of(const manta_options *o) { return o && o->name ? o->name : ""; }
static bool is_text(manta_str s, const char *text) { return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0; }

/* What the control store said: a new row, or that of the actor that has the name. */
static manta_status read_claim(const gcs_reply *reply, const manta_options *o, const manta_class *cls, bool *out_is_new)
{
    gcs_actor_result result;
    gcs_actor_row row = {0};
    manta_reader r = gcs_reply_reader(reply);
    gcs_read_actor_result(&r, &result);
    manta_reader inner;
    manta_reader_init(&inner, result.row.data, result.row.size);
    if (!r.status) gcs_read_actor_row(&inner, &row);
    if (r.status || inner.status) return error_set(MANTA_EDECODE, "%s_spawn: a malformed answer of the control store", cls->name);
    *out_is_new = result.is_new;
    if (!result.is_new && !is_text(row.class_name, cls->name))
        return error_set(MANTA_EEXIST, "%s_spawn: the name \"%s\" belongs to a %.*s", cls->name, name_of(o), (int)row.class_name.size,
            row.class_name.data);
    return MANTA_OK;
}

static bool process_is_down(uint64_t process)
{
    peer *p = peer_get(process, false);
    if (!p) return false;
    pthread_mutex_lock(&p->lock);
    bool yes = p->state == PEER_DOWN;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

/* Whether the actor that has the name has ended, as far as this process knows, and the control store is only about to hear of it. */
static bool holder_is_gone(const gcs_reply *refusal)
{
    manta_writer w;
    gcs_reply reply;
    uint64_t uid = 0;
    gcs_actor_row row = {0};
    manta_reader r = gcs_reply_reader(refusal);
    if (refusal->result.size) manta_unpack_uint64_t(&r, &uid);
    manta_writer_init_growing(&w);
    gcs_write_actor_get(&w, NULL, &(gcs_actor_get){uid});
    manta_status status = control_call("a named actor", true, &w, GCS_TIMEOUT_MS, &reply);
    if (status) return status == MANTA_ENOTFOUND;
    r = gcs_reply_reader(&reply);
    gcs_read_actor_row(&r, &row);
    if (r.status || row.state != GCS_ACTOR_STATE_ALIVE) return !r.status && row.state == GCS_ACTOR_STATE_DEAD;
    if (uid_is_moving(uid)) return false;
    if (row.process != the_node.process) return process_is_down(row.process);
    bool gone = !manta_is_alive((manta_actor){row.local});
    if (gone) name_end(uid, "it has exited");
    return gone;
}

/* What one that moves is registered with. */
static manta_status describe_moving(
    const manta_options *o, manta_class *cls, const void *arguments, manta_writer *spec, gcs_actor_register *row)
{
    uint32_t most = o && options_have(o, max_restarts) && o->max_restarts ? o->max_restarts : cls->options.max_restarts;
    manta_str name = row->name;
    manta_status status = revival_pack(spec, o, cls, arguments, &name);
    row->max_restarts = most && !load_relaxed(&alone_is_on) ? (int64_t)most : -1; /* a start of the program is none */
    row->spec = (manta_bytes){spec->start, manta_writer_size(spec)};
    return status;
}

/* MANTA_ENOTREADY: the name is about to be free. */
static manta_status claim(
    const manta_options *o, manta_class *cls, const void *arguments, const char *space, uint64_t uid, bool *out_is_new)
{
    manta_writer w, spec;
    gcs_reply reply;
    gcs_actor_register row = {.uid = uid,
        .class_name = manta_str_of(cls->name),
        .space = manta_str_of(space),
        .name = manta_str_of(name_of(o)),
        .job = the_job.id,
        .owner = the_node.process,
        .detached = options_lifetime(o) == MANTA_LIFETIME_DETACHED || (load_relaxed(&alone_is_on) && o && o->name),
        .get_if_exists = options_get_if_exists(o)};
    manta_writer_init_growing(&spec);
    manta_status status = uid_is_moving(uid) ? describe_moving(o, cls, arguments, &spec, &row) : MANTA_OK;
    manta_writer_init_growing(&w);
    if (!status) gcs_write_actor_register(&w, NULL, &row);
    manta_writer_fini(&spec);
    if (status) return manta_writer_fini(&w), status;
    status = control_call(cls->name, false, &w, GCS_TIMEOUT_MS, &reply);
    if (status == MANTA_EUNKNOWN) name_end(uid, "its spawn got no answer");
    if (status != MANTA_EEXIST) return status ? status : read_claim(&reply, o, cls, out_is_new);
    bool is_gone = holder_is_gone(&reply);
    error_set(status, "%s_spawn: another actor has the name \"%s\" in the namespace \"%s\"", cls->name, name_of(o), space);
    return is_gone ? MANTA_ENOTREADY : status;
}

static manta_actor spawn_claimed(const manta_options *o, manta_class *cls, const void *arguments, size_t extra_bytes, uint64_t uid)
{
    char why[512];
    manta_actor made = spawn_as(o, cls, arguments, extra_bytes, uid);
    if (made.id) return made;
    manta_status status = manta_last_error()->status;
    snprintf(why, sizeof why, "%s", manta_last_error()->message);
    name_end(uid, "it could not be spawned");
    error_set(status, "%s", why);
    return made;
}

/* The actor that has the name, when it is there and alive; else the name is claimed again. */
static bool find_existing(const char *space, const char *name, uint64_t deadline_ns, manta_actor *out)
{
    manta_status status = manta_lookup_in_cluster(space, name, out);
    if (!status && manta_is_alive(*out)) return true;
    bool is_over = !status && moving_is_given_up(*out);
    *out = (manta_actor){0};
    if (is_over) return true;
    bool again = !status || status == MANTA_ENOTFOUND || status == MANTA_EUNKNOWN || status == MANTA_EDEAD;
    return !again || manta_now_ns() >= deadline_ns || manta_sleep(AGAIN_MS);
}

manta_actor named_spawn(const manta_options *o, manta_class *cls, const void *arguments, size_t extra_bytes)
{
    const char *space;
    bool is_new = true, over;
    manta_actor found = {0};
    manta_durability durability = options_durability(o) ? options_durability(o) : cls->options.durability;
    if (check_detached(o, cls) || (durability && moving_check(o, cls, durability)) || control_begin(cls->name) || job_space(&space))
        return found;
    uint64_t deadline = deadline_after_ms(GCS_TIMEOUT_MS);
    do {
        uint64_t uid = durability ? moving_new_uid(durability) : os_random_u64() >> 8 | 1;
        manta_status status = claim(o, cls, arguments, space, uid, &is_new);
        if (!status && is_new) return spawn_claimed(o, cls, arguments, extra_bytes, uid);
        over = status == MANTA_ENOTREADY ? manta_now_ns() >= deadline || manta_sleep(AGAIN_MS)
                                         : status || find_existing(space, name_of(o), deadline, &found);
    } while (!over);
    return found;
}

/* ---- lookups ---- */

manta_status named_lookup(const char *name, manta_actor *out)
{
    const char *space;
    manta_status status = job_space(&space);
    if (!status) status = manta_lookup_in_cluster(space, name, out);
    if (status == MANTA_ENOTFOUND)
        return error_set(status, "manta_lookup: no actor is named \"%s\" in this process or in the namespace \"%s\"", name, space);
    return status;
}
