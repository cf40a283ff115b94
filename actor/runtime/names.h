/*
 * Registered names of actors: one table under a lock. A name is gone when its actor is.
 */
#ifndef MANTA_RUNTIME_NAMES_H
#define MANTA_RUNTIME_NAMES_H

#include "actor/runtime/internal.h"

/* MANTA_OK, MANTA_EEXIST, MANTA_EINVAL (empty), MANTA_ETOOLONG, MANTA_ENOMEM; sets last_error. */
manta_status names_claim(const char *name, uint64_t id);
manta_status names_get(const char *name, manta_actor *out); /* as manta_lookup, of this process only */
void names_release(const char *name, uint64_t id);          /* only when it is that actor's */
bool names_find(uint64_t id, char out[NAME_LIMIT + 1]);     /* the actor's name; "" and false: none */
void names_forget(uint64_t id);                             /* all names of an actor that has gone */
void names_stop(void);

/* Shared by names, groups and topics: MANTA_OK, MANTA_EINVAL or MANTA_ETOOLONG with a text naming `what`. */
manta_status name_check(const char *what, const char *name);

#endif
