/*
 * The list of a store's objects, for inspect: sorted, cut to a limit, written as a table or as JSON. One thread.
 */
#ifndef MANTA_TOOLS_STORE_OBJECTS_H
#define MANTA_TOOLS_STORE_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "objstore/store.h"
#include "tools/manta_store/text.h"

typedef enum objects_order { OBJECTS_BY_SIZE, OBJECTS_BY_AGE, OBJECTS_BY_HOLDERS } objects_order; /* each: the most first */

typedef struct objects {
    store_object *row;
    size_t n, room;
    uint64_t seen; /* also those beyond the limit */
    objects_order order;
    uint64_t limit; /* 0: none */
} objects;

manta_status objects_read(store *s, objects *list); /* order and limit are set, the rest is 0. MANTA_ENOMEM */
void objects_free(objects *list);
void objects_print(const objects *list, const store_info *info);
void objects_json(const objects *list, json *j, const char *key);
const char *objects_process_name(
    const store_info *info, uint32_t index, char out[TEXT_PLAIN_BYTES]); /* worker#2; gone#2 when nobody is there */

#endif
