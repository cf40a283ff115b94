/*
 * Amounts of named resources: "cpus", "gpus", "memory" (bytes), and any other name. Amounts are integers of 1/10000, so fractions add up exactly. Pure values: no memory, no threads.
 *
 * As text: "cpus=1.5,db=2", sorted by name when the library writes it. A resource that is not named is 0. A need of {} fits everywhere.
 */
#ifndef MANTA_POLICY_RESOURCES_H
#define MANTA_POLICY_RESOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RESOURCE_UNIT = 10000, RESOURCES_MAX = 12, RESOURCE_NAME = 24, RESOURCES_TEXT = 512, LABELS_TEXT = 256 };
#define RESOURCE_MOST (INT64_MAX / RESOURCE_UNIT / 1024) /* of one resource, in whole units: sums of a thousand cannot overflow */

typedef struct resource {
    char name[RESOURCE_NAME];
    int64_t amount;
} resource;
typedef struct resources { /* all zero: nothing; sorted by name, no amount is 0 */
    uint32_t n;
    resource items[RESOURCES_MAX];
} resources;

/* "name=number,..." added to *out, a name that is there replaced. False: error says what is wrong; *out is undefined. Numbers: at most 4 decimals, 0 or more. */
bool resources_parse(const char *text, size_t bytes, resources *out, char *error, size_t room);
size_t resources_format(const resources *r, char *out, size_t room); /* NUL-terminated, cut to room; what it wanted to write */
int64_t resources_get(const resources *r, const char *name);
bool resources_set(resources *r, const char *name, int64_t amount); /* false: no room for another name */
bool resources_fit(const resources *need, const resources *have);
void resources_take(resources *have, const resources *need); /* may go below 0 */
bool resources_give(resources *have, const resources *back); /* false: no room for another name; unchanged for that one */
bool resources_equal(const resources *a, const resources *b);

/* Whether "k=v,k=v" and "k!=v" all hold of the labels "k=v,...". Empty or NULL: yes. */
bool labels_match(const char *wanted, const char *have);
bool labels_valid(const char *text, bool wanted); /* wanted: "!=" is allowed */

#endif
