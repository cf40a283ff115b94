/*
 * The parts of an actor's turn that live in other files: stash, concurrent handlers, tasks, the end of an actor.
 */
#ifndef MANTA_RUNTIME_TURN_H
#define MANTA_RUNTIME_TURN_H

#include "actor/runtime/internal.h"

/* handler.c */
message *unstash_next(actor_extra *x); /* NULL: none left */
void run_on_stop(actor *a, activation *act, const manta_error *reason);
activation *resumed_pop(actor *a);        /* a suspended handler whose wait is over; owner */
void wake_cancelled(worker *w, actor *a); /* interrupts the suspended handlers whose call was cancelled */
void suspended_add(actor *a, activation *act);
void suspended_abandon_all(worker *w, actor *a); /* at the actor's end */

/* task.c */
void task_turn(worker *w, actor *a);
void task_end(worker *w, actor *a);

/* dynamic.c: completes a future that wants its value as MessagePack */
void dynamic_complete(worker *w, future *f, const manta_layout *layout, const void *value);

#endif
