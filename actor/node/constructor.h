/*
 * A class and the arguments of its constructor as one value of a message: so that what they name travels, is held and is given up like what any message names.
 */
#ifndef MANTA_NODE_CONSTRUCTOR_H
#define MANTA_NODE_CONSTRUCTOR_H

#include <manta/manta.h>

typedef struct MantaConstructor {
    manta_str class_name;
    manta_class *cls; /* NULL: the process has none of that name */
    void *values;     /* the argument struct of its init; NULL: it has no init. The caller's, the message's, or the arrival's */
} MantaConstructor;

MantaConstructor constructor_of(manta_class *cls, const void *arguments);
size_t constructor_extra(const MantaConstructor *v); /* bytes that the values' strings point to */

/* The functions of a type, for MANTA_STRUCT; unpacking is for messages of other processes alone. Views are hidden from visitors: the objects are wanted when the constructor runs, not before. */
enum { MANTA_HAS_MantaConstructor = 3 };
void manta_pack_MantaConstructor(manta_writer *w, const MantaConstructor *v);
void manta_unpack_MantaConstructor(manta_reader *r, MantaConstructor *v);
size_t manta_extra_MantaConstructor(const MantaConstructor *v);
void manta_relocate_MantaConstructor(MantaConstructor *v, unsigned char **at);
void manta_refs_MantaConstructor(MantaConstructor *v, manta_ref_visitor visit, void *context);

#endif
