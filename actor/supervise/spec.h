/*
 * Child specifications: how to start one child, again and again.
 *
 * A spec owns copies of everything in it. A spec of a nested supervisor holds that supervisor's options and child specs instead of arguments.
 */
#ifndef MANTA_SUPERVISE_SPEC_H
#define MANTA_SUPERVISE_SPEC_H

#include "actor/runtime/internal.h"

enum { CHILD_LIMIT = 1 << 20 };

typedef struct sup_template {
    manta_supervisor_options options; /* name: owned */
    size_t count;
    struct manta_child_spec_data **specs;
} sup_template;

typedef struct manta_child_spec_data {
    manta_class *cls;
    char id[NAME_LIMIT + 1]; /* "": none was given */
    manta_restart restart;
    uint32_t shutdown_ms;
    manta_options spawn;  /* name: owned */
    sup_template *nested; /* NULL: an ordinary child */
    size_t extra_bytes;
    _Alignas(16) unsigned char arguments[];
} spec_data;

spec_data *spec_clone(const spec_data *s); /* NULL: out of memory */
void spec_free(spec_data *s);
sup_template *template_new(
    const manta_supervisor_options *options, manta_child_spec *specs, size_t count); /* takes the specs, also when it fails */
sup_template *template_clone(const sup_template *t);
void template_free(sup_template *t);

#endif
