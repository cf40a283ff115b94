/*
 * Wards: the children of supervisors that live in this process. A ward ends with its supervisor. The exit signal tells it, like any link's; but that waits behind a handler that waits, and may be trapped: so who
 * has not ended WARD_GRACE_MS later is killed.
 *
 * Any thread. A ward's record is freed at its exit, or by its timer when that fires just then.
 */
#ifndef MANTA_SUPERVISE_WARD_H
#define MANTA_SUPERVISE_WARD_H

#include "actor/runtime/internal.h"

enum { WARD_GRACE_MS = 5000 };

bool ward_add(uint64_t child, uint64_t supervisor); /* before it is published; false: no memory */
void ward_left(
    worker *w, uint64_t child, uint64_t who); /* the exit of `who` is on its way to it; nothing when that is not its supervisor */
void ward_end(uint64_t child);                /* at its exit */

#endif
