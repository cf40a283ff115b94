/*
 * Names that spawns give in a job on a cluster: unique in the job's namespace, over all nodes, by a row of the control store's table of actors.
 *
 * The spawning process registers the name (PENDING), then the actor is made, where its options say; the process that it is in says so (ALIVE) and watches it from then on. Until then the row belongs to the spawning
 * process and goes with it; afterwards it goes with the actor, its process, its node or its job, unless it is detached.
 */
#ifndef MANTA_NODE_NAMED_H
#define MANTA_NODE_NAMED_H

#include "actor/runtime/internal.h"

/* Options of an older program are shorter than this library's. */
#define options_have(o, field) (!(o)->size || (o)->size >= offsetof(manta_options, field) + sizeof((o)->field))
static inline manta_lifetime options_lifetime(const manta_options *o)
{
    return o && options_have(o, lifetime) ? o->lifetime : MANTA_LIFETIME_OWNER;
}
static inline bool options_get_if_exists(const manta_options *o) { return o && options_have(o, get_if_exists) && o->get_if_exists; }

static inline manta_durability options_durability(const manta_options *o)
{
    return o && options_have(o, durability) ? o->durability : MANTA_VOLATILE;
}

/* A spawn with a name, or of one that moves (moving.h), in a process of a job; waits. {0}: error_set says why not. */
manta_actor named_spawn(const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes);
manta_status named_lookup(const char *name, manta_actor *out);

/* ---- control_names.c ---- */
/* The registered row is that actor of this process, whose end ends it. Waits. */
manta_status name_adopt(uint64_t uid, uint64_t epoch, manta_actor who);
void name_end(uint64_t uid, const char *why); /* of a row; waits */
void names_let_go(bool yes);                  /* from now on the end of an actor that moves is not that of its row */
uint32_t name_keepers(void);                  /* actors of the library's own that this needs here */

#endif
