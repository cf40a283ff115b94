/*
 * Groups and topics: two tables of named member lists under one lock, as the runtime (the first part) and actor/node/groups.c, which brings in the members of other processes, see them.
 */
#ifndef MANTA_GROUP_GROUP_H
#define MANTA_GROUP_GROUP_H

#include <manta/types.h>

#include <pthread.h>

#include "scheduler/base/hash.h"

void groups_forget(uint64_t id); /* the actor has exited: leaves every group and topic; one relaxed load when there are none */
void groups_stop(void);
void topics_stop(void);

/* ---- for other processes' members ---- */

typedef struct member {
    uint64_t process, id;       /* process 0: here; else id is of that process */
    const manta_method *method; /* of a subscriber here */
    char *type;                 /* of a subscriber elsewhere: what its method takes; owned */
} member;

typedef struct place { /* another process that has members, or asks who has */
    uint64_t process;
    uint32_t members;
    bool asks;
} place;

typedef struct group {
    uint32_t count, capacity, n_places, room_places;
    member *members;
    place *places;
    bool is_asked; /* here: the other processes have been asked for it */
} group;

extern pthread_mutex_t groups_lock;   /* all of it */
extern string_table groups_tables[2]; /* groups, topics */
extern uint32_t groups_remote_members;

group *group_get(bool is_topic, const char *name); /* made on demand; NULL: out of memory */
void group_free(group *g);
static inline bool group_is_unused(const group *g) { return !g->count && !g->n_places && !g->is_asked; }
bool group_add(group *g, member item);
void group_remove_at(group *g, uint32_t i);
int group_index(const group *g, uint64_t process, uint64_t id);
place *group_place(group *g, uint64_t process, bool make); /* NULL: there is none, or out of memory */
/* The type of a method's only argument: "void(Price p,)" -> "Price"; NULL: not one argument. */
const char *method_only_argument(const manta_method *method, size_t *out_bytes);

#endif
