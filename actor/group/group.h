/*
 * Groups and topics, as the runtime sees them.
 */
#ifndef MANTA_GROUP_GROUP_H
#define MANTA_GROUP_GROUP_H

#include <stdint.h>

void groups_forget(uint64_t id); /* the actor has exited: leaves every group and topic; one relaxed load when there are none */
void groups_stop(void);
void topics_stop(void);

#endif
