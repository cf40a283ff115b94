/*
 * The actor that answers for its process: names and spawns. Every process knows it as actor 0 of that process.
 */
#include <stdio.h>
#include <string.h>

#include "actor/durable/keeper_internal.h"
#include "actor/node/constructor.h"
#include "actor/node/moving.h"
#include "actor/node/named.h"
#include "actor/node/owner.h"
#include "actor/node/report.h"
#include "actor/node/service.h"
#include "actor/runtime/names.h"

MANTA_STRUCT(MantaSpawn, (MantaConstructor, constructor), (manta_str, name), (uint32_t, mailbox_limit), (int32_t, overflow),
    (uint32_t, concurrency), (int32_t, on_failure), (bool, trap_exit), (uint64_t, lease), (uint64_t, uid), (bool, get_if_exists),
    (manta_actor, parent), (bool, supervised)) /* parent: it is linked to that one; supervised: and the answer waits for its init */

/* Of one that moves: what makes it again, also in a later incarnation of the cluster. */
MANTA_STRUCT(MantaMovingSpawn, (manta_str, class_name), (manta_bytes, arguments), (manta_str, name), (uint32_t, mailbox_limit),
    (int32_t, overflow), (uint32_t, concurrency), (int32_t, on_failure), (bool, trap_exit))

static const char *text_of(manta_str s, char *out, size_t room)
{
    snprintf(out, room, "%.*s", (int)s.size, s.data ? s.data : "");
    return out;
}

MANTA_METHOD(MantaNode, lookup, manta_actor, (manta_str, name))
{
    (void)self;
    char text[NAME_LIMIT + 2];
    manta_actor found = {0};
    manta_status status = names_get(text_of(name, text, sizeof text), &found);
    if (status) manta_fail(status, "%s", manta_last_error()->message);
    return found;
}

/* ---- actors that hold a lease until they exit ---- */

enum { LEASED_LIMIT = 1 << 20 };
static pthread_mutex_t leased_lock = PTHREAD_MUTEX_INITIALIZER;
static id_table leased; /* by actor: the lease */

MANTA_METHOD(MantaNode, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)self, (void)status, (void)why;
    pthread_mutex_lock(&leased_lock);
    uint64_t lease = (uintptr_t)id_table_remove(&leased, who.id);
    pthread_mutex_unlock(&leased_lock);
    if (lease) (void)MantaLeases_release_send(MantaLeases_ref_of(job_leases), lease, false);
}

/* A named one may be detached: its lease must be known to be held before anybody hears of it. */
static void hold_lease(manta_actor a, uint64_t lease, bool is_named)
{
    pthread_mutex_lock(&leased_lock);
    bool ok = leased.count < LEASED_LIMIT && id_table_put(&leased, a.id, (void *)(uintptr_t)lease);
    pthread_mutex_unlock(&leased_lock);
    if (!ok) manta_fail(MANTA_ENOMEM, "no memory for the lease of an actor");
    if (!is_named) (void)MantaLeases_hold_send(MantaLeases_ref_of(job_leases), lease);
    else if (manta_join(MantaLeases_hold(MantaLeases_ref_of(job_leases), lease)))
        manta_fail(manta_last_error()->status, "%s", manta_last_error()->message);
    (void)manta_monitor(a, MantaNode_on_down, NULL);
}

static manta_actor construct(const MantaConstructor *c, const manta_options *o, uint64_t uid, spawn_parent parent)
{
    if (c->cls && parent.id) return spawn_for(o, c->cls, c->values, constructor_extra(c), uid, parent);
    if (c->cls)
        return uid ? spawn_as(o, c->cls, c->values, constructor_extra(c), uid)
                   : manta_spawn_class(o, c->cls, c->values, constructor_extra(c));
    error_set(
        MANTA_ENOTFOUND, "manta_spawn: there is no class \"%.*s\"", (int)c->class_name.size, c->class_name.data ? c->class_name.data : "");
    return (manta_actor){0};
}

static manta_actor make(MantaSpawn what)
{
    char name[NAME_LIMIT + 2];
    manta_options o = {.size = sizeof o,
        .mailbox_limit = what.mailbox_limit,
        .overflow = (manta_overflow)what.overflow,
        .concurrency = what.concurrency,
        .on_failure = (manta_failure)what.on_failure,
        .trap_exit = what.trap_exit,
        .process = manta_this_process(),
        .get_if_exists = what.get_if_exists};
    if (what.name.size) o.name = text_of(what.name, name, sizeof name);
    if (what.supervised) spawn_watch_init();
    manta_actor a = construct(&what.constructor, &o, what.uid, (spawn_parent){what.parent.id, what.supervised});
    if (!a.id) manta_fail(manta_last_error()->status, "%s", manta_last_error()->message);
    else if (what.supervised && spawn_await_init(a)) { /* it has no lease yet, with which this process might go before the answer has */
        manta_fail(manta_last_error()->status, "a child did not start");
        a.id = 0;
    } else if (what.lease) hold_lease(a, what.lease, what.uid != 0);
    return a;
}

MANTA_METHOD(MantaNode, make, manta_actor, (MantaSpawn, what))
{
    (void)self;
    return make(what);
}

MANTA_METHOD(MantaNode, revive, manta_actor, (manta_bytes, spawn), (uint64_t, uid), (uint64_t, epoch), (uint64_t, lease))
{
    (void)self;
    MantaMovingSpawn m = {.mailbox_limit = 0};
    manta_reader r;
    manta_reader_init(&r, spawn.data, spawn.size);
    manta_unpack_MantaMovingSpawn(&r, &m);
    if (r.status) return manta_fail(MANTA_EDECODE, "a malformed spec of an actor"), (manta_actor){0};
    MantaSpawn what = {.constructor = {m.class_name, class_named(m.class_name), NULL},
        .name = m.name,
        .mailbox_limit = m.mailbox_limit,
        .overflow = m.overflow,
        .concurrency = m.concurrency,
        .on_failure = m.on_failure,
        .trap_exit = m.trap_exit,
        .lease = lease,
        .uid = uid};
    manta_class *cls = what.constructor.cls;
    if (cls && cls->init && !(what.constructor.values = keeper_unpack(cls->init, m.arguments)))
        return manta_fail(manta_last_error()->status, "%s", manta_last_error()->message), (manta_actor){0};
    manta_actor made = {0};
    if (moving_expect(uid, epoch)) made = make(what);
    else manta_fail(MANTA_ENOMEM, "no memory for an actor that comes back");
    base_free(what.constructor.values);
    return made;
}

/* For the command manta, see report.h. */
MANTA_METHOD_DEFINE(MantaNode, inspect, manta_bytes, (manta_str, kind), (manta_str, match), (uint32_t, limit))
{
    (void)self;
    manta_bytes out = report_of_process(kind, match, limit);
    if (!out.data) manta_fail(manta_last_error()->status, "%s", manta_last_error()->message);
    return out;
}

MANTA_METHOD_DEFINE(MantaNode, trace, manta_bytes, (uint32_t, what))
{
    (void)self;
    manta_bytes out = report_trace((report_recording)what);
    if (!out.data) manta_fail(manta_last_error()->status, "%s", manta_last_error()->message);
    return out;
}

MANTA_METHOD_DEFINE(MantaNode, kill, bool, (manta_str, who))
{
    (void)self;
    manta_actor a = report_actor_of(who);
    return a.id && a.id != the_node.service && manta_kill(a) == MANTA_OK;
}

MANTA_CLASS_WITH(MantaNode, (.concurrency = 1024), lookup, make, revive, inspect, trace, kill, on_down)

uint64_t service_start(void) { return MantaNode_spawn().actor.id; }

MantaNode_ref service_of(manta_process p)
{
    return MantaNode_ref_of((manta_actor){p.id == the_node.process ? the_node.service : proxy_of(p.id, 0)});
}

manta_manta_actor_future node_lookup(manta_process process, const char *name)
{
    return MantaNode_lookup(service_of(process), manta_str_of(name));
}

manta_status manta_lookup_in(manta_process process, const char *name, manta_actor *out)
{
    if (!the_node.is_on || process.id == the_node.process) return names_get(name, out);
    if (!peer_get(process.id, false))
        return error_set(MANTA_ENOTFOUND, "manta_lookup_in: process %016llx is not known here", (unsigned long long)process.id);
    return manta_get(MantaNode_lookup(service_of(process), manta_str_of(name)), out);
}

manta_actor node_spawn(uint64_t process, const manta_options *given, manta_class *cls, const void *arguments, uint64_t lease, uint64_t uid)
{
    manta_actor made = {0};
    static const manta_options none = {.size = sizeof none};
    const manta_options *o = given ? given : &none;
    if (process != the_node.process && !peer_get(process, false)) {
        error_set(MANTA_ENOTFOUND, "%s_spawn: process %016llx is not known here", cls->name, (unsigned long long)process);
        return made;
    }
    spawn_parent parent = spawn_parent_self(o);
    MantaSpawn what = {constructor_of(cls, arguments), manta_str_of(o->name ? o->name : ""), o->mailbox_limit, (int32_t)o->overflow,
        o->concurrency, (int32_t)o->on_failure, o->trap_exit, lease, uid, !uid && options_get_if_exists(o), {parent.id}, parent.supervised};
    if (manta_get(MantaNode_make(service_of((manta_process){process}), what), &made)) made.id = 0;
    return made;
}

/* ---- actors that move ---- */

void service_pack_spawn(manta_writer *w, const manta_options *given, const manta_class *cls, const void *arguments, const manta_str *name)
{
    manta_writer packed;
    static const manta_options none = {.size = sizeof none};
    const manta_options *o = given ? given : &none;
    manta_writer_init_growing(&packed);
    if (cls->init) cls->init->arguments.pack(&packed, arguments);
    MantaMovingSpawn what = {.class_name = manta_str_of(cls->name),
        .arguments = {packed.start, manta_writer_size(&packed)},
        .name = *name,
        .mailbox_limit = o->mailbox_limit,
        .overflow = (int32_t)o->overflow,
        .concurrency = o->concurrency,
        .on_failure = (int32_t)o->on_failure,
        .trap_exit = o->trap_exit};
    manta_pack_MantaMovingSpawn(w, &what);
    if (packed.status) manta_writer_fail(w, packed.status);
    manta_writer_fini(&packed);
}

manta_manta_actor_future service_revive(manta_process process, manta_bytes spawn, uint64_t uid, uint64_t epoch, uint64_t lease)
{
    return MantaNode_revive(service_of(process), spawn, uid, epoch, lease);
}
