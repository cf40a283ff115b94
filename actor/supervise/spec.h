/*
 * Child specifications: how to start one child, again and again; and plans, which are the specs of a supervisor as one value of a message.
 *
 * A spec is one block that owns copies of everything in it. The spec of a supervisor is like any other: its class is Supervisor, and the argument of its constructor is a plan. So specs of whole trees are copied, travel
 * and are given up as constructors are (actor/node/constructor.h).
 */
#ifndef MANTA_SUPERVISE_SPEC_H
#define MANTA_SUPERVISE_SPEC_H

#include "actor/runtime/internal.h"

enum { CHILD_LIMIT = 1 << 20, PLAN_DEPTH = 16 };

typedef struct manta_child_spec_data {
    manta_class *cls;
    char id[NAME_LIMIT + 1]; /* "": none was given */
    manta_restart restart;
    uint32_t shutdown_ms;
    manta_options spawn; /* of full size */
    void *arguments;     /* of the constructor; NULL: it has none */
} spec_data;

spec_data *spec_clone(const spec_data *s); /* NULL: out of memory */
void spec_free(spec_data *s);

typedef struct plan {
    manta_supervisor_options options;
    uint32_t depth; /* of supervisors: 1 without nested ones */
    uint32_t count;
    spec_data **specs;
} plan;

typedef struct MantaPlan {
    plan *plan; /* the caller's, the message's, or the arrival's */
} MantaPlan;

/* The functions of a type, for MANTA_METHOD; unpacking is for messages of other processes alone. */
enum { MANTA_HAS_MantaPlan = 3 };
void manta_pack_MantaPlan(manta_writer *w, const MantaPlan *v);
void manta_unpack_MantaPlan(manta_reader *r, MantaPlan *v);
size_t manta_extra_MantaPlan(const MantaPlan *v);
void manta_relocate_MantaPlan(MantaPlan *v, unsigned char **at);
void manta_refs_MantaPlan(MantaPlan *v, manta_ref_visitor visit, void *context);

extern manta_class Supervisor_class;

#endif
