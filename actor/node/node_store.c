#include "actor/node/node_store.h"

#include <stdio.h>

#include "objstore/store.h"

static struct {
    pthread_mutex_t lock; /* making, closing */
    char path[400], spill[400];
    store_options options; /* path NULL: none is planned */
    store *_Atomic open;
} node_store = {.lock = PTHREAD_MUTEX_INITIALIZER};

void node_store_plan(const char *path, uint64_t capacity_bytes, const char *spill_path, uint64_t spill_bytes)
{
    snprintf(node_store.path, sizeof node_store.path, "%s", path);
    snprintf(node_store.spill, sizeof node_store.spill, "%s", spill_path ? spill_path : "");
    node_store.options = (store_options){.mode = STORE_CREATE,
        .path = node_store.path,
        .name = "node",
        .capacity_bytes = capacity_bytes,
        .spill_path = node_store.spill[0] ? node_store.spill : NULL,
        .spill_bytes = spill_bytes,
        .no_prefault = true,
        .grows = true};
}

manta_status node_store_make(void)
{
    if (!node_store.options.path || load_acquire(&node_store.open)) return MANTA_OK;
    store *made = NULL;
    pthread_mutex_lock(&node_store.lock);
    manta_status status = load_acquire(&node_store.open) ? MANTA_OK : store_open(&node_store.options, &made);
    if (made) store_release(&node_store.open, made);
    pthread_mutex_unlock(&node_store.lock);
    return status ? error_set(status, "the node's object store: %s", store_error()) : MANTA_OK;
}

void node_store_close(void)
{
    pthread_mutex_lock(&node_store.lock);
    store *s = load_acquire(&node_store.open);
    store_release(&node_store.open, NULL);
    store_close(s);
    if (s) (void)store_destroy(node_store.path);
    node_store.options.path = NULL;
    pthread_mutex_unlock(&node_store.lock);
}

bool node_store_usage(const char **path, size_t *objects, uint64_t *bytes)
{
    store *s = load_acquire(&node_store.open);
    store_info *info = s ? base_alloc(sizeof *info) : NULL;
    *path = s ? node_store.path : "";
    if (info && store_stat(s, info) == MANTA_OK) {
        *objects = info->objects;
        *bytes = info->object_bytes;
    }
    base_free(info);
    return node_store.options.path != NULL;
}
