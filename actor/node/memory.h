/*
 * What a node's memory is used for, as the kernel tells it: of one process, of the machine or the cgroup. 0 where it cannot be known.
 */
#ifndef MANTA_NODE_MEMORY_H
#define MANTA_NODE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t memory_of_process(uint32_t pid); /* resident bytes that it does not share with others, such as the object store */
uint64_t memory_available(void); /* bytes that can still be had: on the machine, or in the cgroup when that is less; UINT64_MAX: unknown */
uint64_t memory_oom_kills(void); /* processes of the machine that its kernel has ended for lack of memory, since it started */
void memory_text(uint64_t bytes, char *out, size_t room); /* "2.1 GiB" */

#endif
