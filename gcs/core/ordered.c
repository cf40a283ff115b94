#include "gcs/core/ordered.h"

#include <string.h>

#include "scheduler/base/alloc.h"
#include "scheduler/base/rng.h"

void ordered_fini(ordered_map *m)
{
    for (ordered_node *n = m->first[0], *next; n; n = next) {
        next = n->next[0];
        base_free(n);
    }
    *m = (ordered_map){0};
}

/* The first eight bytes as a big-endian number, zeros behind a short key: orders as the bytes do, but for equal ones. */
static uint64_t start_of(const void *key, size_t size)
{
    unsigned char bytes[8] = {0};
    uint64_t v;
    if (size >= 8) memcpy(bytes, key, 8);
    else if (size) memcpy(bytes, key, size);
    memcpy(&v, bytes, sizeof v);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(v) : v;
}

static int compare(const ordered_node *n, uint64_t start, const void *key, size_t size)
{
    if (n->start != start) return n->start < start ? -1 : 1;
    size_t common = n->size < size ? n->size : size;
    int order = common ? memcmp(ordered_key(n), key, common) : 0;
    return order ? order : (n->size > size) - (n->size < size);
}

/* The first node not less than the key. path (may be NULL): for each level the link that leads to the first such node there. */
static ordered_node *descend(const ordered_map *m, const void *key, size_t size, ordered_node ***path)
{
    uint64_t start = start_of(key, size);
    ordered_node **links = (ordered_node **)m->first;
    for (int level = ORDERED_HEIGHT - 1; level >= 0; level--) {
        while (links[level] && compare(links[level], start, key, size) < 0) links = links[level]->next;
        if (path) path[level] = &links[level];
    }
    return links[0];
}

ordered_node *ordered_seek(const ordered_map *m, const void *key, size_t size) { return descend(m, key, size, NULL); }

ordered_node *ordered_get(const ordered_map *m, const void *key, size_t size)
{
    ordered_node *n = descend(m, key, size, NULL);
    return n && n->size == size && (!size || memcmp(ordered_key(n), key, size) == 0) ? n : NULL;
}

static uint32_t random_height(ordered_map *m)
{
    uint64_t bits = rng_mix(++m->random);
    uint32_t height = 1;
    for (; height < ORDERED_HEIGHT && !(bits & 3); bits >>= 2) height++;
    return height;
}

bool ordered_put(ordered_map *m, const void *key, size_t size, void *value)
{
    ordered_node **path[ORDERED_HEIGHT];
    uint32_t height = random_height(m);
    ordered_node *n = base_alloc(sizeof *n + height * sizeof n->next[0] + size);
    if (!n) return false;
    descend(m, key, size, path);
    *n = (ordered_node){.start = start_of(key, size), .value = value, .size = (uint32_t)size, .height = height};
    if (size) memcpy((unsigned char *)ordered_key(n), key, size);
    for (uint32_t i = 0; i < height; i++) {
        n->next[i] = *path[i];
        *path[i] = n;
    }
    m->count++;
    return true;
}

bool ordered_remove(ordered_map *m, const void *key, size_t size)
{
    ordered_node **path[ORDERED_HEIGHT];
    ordered_node *n = descend(m, key, size, path);
    if (!n || n->size != size || (size && memcmp(ordered_key(n), key, size) != 0)) return false;
    for (uint32_t i = 0; i < n->height; i++) *path[i] = n->next[i];
    base_free(n);
    m->count--;
    return true;
}

bool ordered_has_prefix(const ordered_node *n, const void *prefix, size_t size)
{
    return n && n->size >= size && (!size || memcmp(ordered_key(n), prefix, size) == 0);
}
