/*
 * Groups and topics over processes: what actor/group and the other files of actor/node ask of groups.c.
 */
#ifndef MANTA_NODE_GROUPS_H
#define MANTA_NODE_GROUPS_H

#include "actor/node/node.h"

enum { HELLO_GROUPS = 1 }; /* in the status of a WIRE_HELLO: the sender wants to know of members */

/* ---- for actor/group ---- */
/* Under groups_lock: WIRE_JOIN or WIRE_LEAVE of an actor here, to all who want to know. */
void groups_tell(uint8_t kind, bool is_topic, const char *name, const char *type, size_t type_bytes, uint64_t id);
void groups_ask(bool is_topic, const char *name); /* once: who has members? A load when nobody is connected */
/* To the subscribers of one process. Waits for room. False: it is gone, or the value cannot be packed. */
bool groups_publish(uint64_t process, const char *topic, const char *type, const void *value, void (*pack)(manta_writer *, const void *));

/* ---- for actor/node ---- */
void groups_off(void);       /* this process takes no part: a daemon, which many jobs share */
uint32_t groups_hello(void); /* for the status of our WIRE_HELLO */
void groups_start(void);
void groups_peer_hello(peer *p, uint32_t flags);
void groups_peer_room(peer *p);
void groups_peer_down(uint64_t process);
const char *groups_take(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes); /* not NULL: what is wrong with it */

#endif
