#include "test/support/gcs_random.h"

#include <stdio.h>

static const gcs_kind kinds[] = {
#define KIND(name_, value_, struct_) GCS_##name_,
    GCS_COMMANDS(KIND)};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

void core_random_init(core_random *x, uint64_t seed)
{
    *x = (core_random){.now_ms = 1};
    rng_init(&x->r, seed);
    manta_writer_init_growing(&x->inner);
}

void core_random_fini(core_random *x) { manta_writer_fini(&x->inner); }

bool core_random_saw_all(core_random *x)
{
    core_random_fini(x);
    return x->kinds == (UINT64_C(1) << KINDS) - 1;
}

static const char bytes[2048] = "bytes";

/* A number that is right often: a small id, an epoch, a state, a token of a lock. */
static uint64_t random_number(core_random *x, const char *name)
{
    if (strcmp(name, "lease_ms") == 0) return rng_below(&x->r, 500);
    if (strcmp(name, "when") == 0) return rng_below(&x->r, 3);
    if (strcmp(name, "state") == 0) return 1 + rng_below(&x->r, 4);
    if (strcmp(name, "if_revision") == 0) return rng_below(&x->r, 3) ? 0 : rng_below(&x->r, 2000);
    if (strcmp(name, "epoch") == 0) return rng_below(&x->r, 30);
    if (strcmp(name, "token") == 0) return rng_below(&x->r, 300);
    return rng_below(&x->r, 12);
}

static manta_str random_text(core_random *x)
{
    static const char *const texts[] = {"a", "b", "c", "d", "dd", "", "a longer name"};
    return manta_str_of(texts[rng_below(&x->r, sizeof texts / sizeof texts[0])]);
}

/* Any of the forms that fields of the type raw may have, packed. */
static void pack_raw_field(core_random *x, manta_writer *w)
{
    uint64_t n = rng_below(&x->r, 40);
    if (n < 10) manta_pack_nil(w);
    else manta_pack_manta_bytes(w, &(manta_bytes){bytes, n});
}

static void pack_records(core_random *x, manta_writer *w)
{
    uint32_t n = (uint32_t)rng_below(&x->r, 20);
    manta_pack_array(w, n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t high = rng_below(&x->r, 3), low = rng_below(&x->r, 1000);
        manta_pack_array(w, 3);
        manta_pack_uint64_t(w, &high);
        manta_pack_uint64_t(w, &low);
        manta_pack_manta_bytes(w, &(manta_bytes){bytes, rng_below(&x->r, 200)});
    }
}

static void pack_ids(core_random *x, manta_writer *w)
{
    uint32_t n = (uint32_t)rng_below(&x->r, 10) * 2;
    manta_pack_array(w, n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t word = i % 2 ? rng_below(&x->r, 1000) : rng_below(&x->r, 3);
        manta_pack_uint64_t(w, &word);
    }
}

static void pack_field(core_random *x, manta_writer *w, const gcs_field *f)
{
    uint64_t number = random_number(x, f->name);
    int64_t restarts = (int64_t)rng_below(&x->r, 4) - 1;
    bool flag = rng_below(&x->r, 2);
    manta_str text = random_text(x);
    switch (f->type) {
    case GCS_u64: manta_pack_uint64_t(w, &number); break;
    case GCS_i64: manta_pack_int64_t(w, &restarts); break;
    case GCS_flag: manta_pack_bool(w, &flag); break;
    case GCS_str: manta_pack_manta_str(w, &text); break;
    case GCS_bytes: manta_pack_manta_bytes(w, &(manta_bytes){bytes, rng_below(&x->r, rng_below(&x->r, 8) ? 60 : 2040)}); break;
    case GCS_raw: pack_raw_field(x, w); break;
    case GCS_list: (strcmp(f->name, "ids") == 0 ? pack_ids : pack_records)(x, w); break;
    }
}

static gcs_head random_head(core_random *x)
{
    gcs_head h = {.now_ms = x->now_ms += rng_below(&x->r, 40)};
    uint64_t c = rng_below(&x->r, 8);
    if (c >= 4) return h;
    bool repeats = rng_below(&x->r, 5) == 0;
    h.client = c + 1;
    h.request = repeats ? x->requests[c] : ++x->requests[c];
    if (h.request && rng_below(&x->r, 3)) h.acknowledged = h.request - 1;
    return h;
}

static void write_fields(core_random *x, manta_writer *w, const gcs_head *head, gcs_kind kind)
{
    const gcs_schema *s = gcs_kind_schema(kind);
    manta_writer_reset(w);
    gcs_write(w, head, GCS_TICK, &(gcs_tick){});
    if (w->status) return;
    w->at--; /* the empty array of TICK */
    w->start[2] = (unsigned char)kind;
    w->start[3] = (unsigned char)(kind >> 8);
    manta_pack_array(w, s->count);
    for (uint32_t i = 0; i < s->count; i++) pack_field(x, w, &s->fields[i]);
}

static void one(core_random *x, manta_writer *w, bool in_batch)
{
    uint64_t i = rng_below(&x->r, KINDS);
    bool is_death = kinds[i] == GCS_NODE_DEAD || kinds[i] == GCS_PROCESS_DEAD || kinds[i] == GCS_JOB_END;
    if ((is_death && rng_below(&x->r, 4)) || (in_batch && kinds[i] == GCS_BATCH)) i = 2; /* else nothing lives long */
    gcs_head head = random_head(x);
    x->kinds |= UINT64_C(1) << i;
    if (kinds[i] != GCS_BATCH) {
        write_fields(x, w, &head, kinds[i]);
        return;
    }
    one(x, &x->inner, true);
    manta_bytes command = {x->inner.start, manta_writer_size(&x->inner)};
    manta_bytes commands[2] = {command, command};
    manta_writer_reset(w);
    gcs_write_batch_of(w, &head, commands, 2);
}

void core_random_command(core_random *x, manta_writer *w) { one(x, w, false); }
