/*
 * The store, through its own functions.
 */
#include "objstore/store.h"
#include "tools/benchmarks/store/store_bench.h"

static store *opened;
static char path[PATH_BYTES];

static outcome outcome_of(manta_status status, const char *what)
{
    if (status == MANTA_OK) return DONE;
    if (status == MANTA_ESTOREFULL) return FULL;
    complain("%s: %s: %s", what, manta_status_name(status), store_error());
    return FAILED;
}

/* Making an object touches the pages under it: one of nearly all the room touches nearly all. The rest is where the store's own thread begins. */
static bool warm(uint64_t memory)
{
    for (uint64_t bytes = memory - 8 * MIB; bytes >= 8 * MIB; bytes -= bytes / 8) {
        store_id id;
        void *data;
        manta_status status = store_create(opened, bytes, 0, &id, &data);
        if (status == MANTA_ESTOREFULL) continue;
        return outcome_of(status ? status : store_abort(opened, id), "touching the arena") == DONE;
    }
    return complain("%s: no room to begin with", path);
}

static bool manta_open(const settings *s, bool first)
{
    (void)first;
    path_in(s, "store", path);
    store_options options = {.path = path, .name = "bench", .capacity_bytes = s->memory, .max_objects = MAX_OBJECTS, .full_wait_ms = 1};
    return outcome_of(store_open(&options, &opened), path) == DONE && warm(s->memory);
}

static void manta_close(void)
{
    store_close(opened);
    opened = NULL;
}

static store_id id_of(handle h) { return (store_id){{h.a, h.b}}; }

static outcome manta_put_(const void *data, uint64_t size, handle *out)
{
    store_id id;
    manta_status status = store_put(opened, data, size, &id);
    if (unlikely(status)) return outcome_of(status, "put");
    *out = (handle){id.word[0], id.word[1]};
    return DONE;
}

static outcome manta_create_(uint64_t size, handle *out, void **data)
{
    store_id id;
    manta_status status = store_create(opened, size, 0, &id, data);
    if (unlikely(status)) return outcome_of(status, "create");
    *out = (handle){id.word[0], id.word[1]};
    return DONE;
}

static outcome manta_seal_(handle h) { return outcome_of(store_seal(opened, id_of(h), NULL), "seal"); }

static outcome manta_get_(handle *h, const volatile unsigned char **data)
{
    store_view view;
    manta_status status = store_pin(opened, id_of(*h), &view);
    if (unlikely(status)) return outcome_of(status, "get");
    *data = view.data;
    return DONE;
}

static void manta_unget(handle *h) { store_unpin(opened, id_of(*h)); }
static outcome manta_release_(handle h) { return outcome_of(store_drop(opened, id_of(h)), "release"); }

static usage manta_use(void)
{
    store_info info;
    usage u = {file_room(path), 0};
    if (store_stat(opened, &info) == MANTA_OK) u.index_bytes = info.index_bytes;
    return u;
}

const target target_manta = {
    .name = "manta",
    .open = manta_open,
    .close = manta_close,
    .put = manta_put_,
    .create = manta_create_,
    .seal = manta_seal_,
    .get = manta_get_,
    .unget = manta_unget,
    .release = manta_release_,
    .use = manta_use,
};
