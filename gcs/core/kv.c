/* Keys and values, and the configuration, which is keys and values without a space. */
#include <inttypes.h>

#include "gcs/core/core_internal.h"

/* Whether the condition holds for the row that is (NULL: none). */
static bool condition_holds(gcs_run *x, const gcs_kv_row *row, uint64_t when, uint64_t if_revision)
{
    uint64_t revision = row ? row->revision : 0;
    switch (when) {
    case GCS_ALWAYS: return true;
    case GCS_IF_ABSENT: return !row || gcs_refuse_with(x, revision, MANTA_EEXIST, "exists, with revision %" PRIu64, revision);
    case GCS_IF_REVISION:
        return revision == if_revision ||
               gcs_refuse_with(x, revision, MANTA_ESTALE, "has revision %" PRIu64 ", not %" PRIu64, revision, if_revision);
    default: return gcs_refuse(x, MANTA_EINVAL, "when is %" PRIu64 ", which is no condition", when);
    }
}

static bool is_named(gcs_run *x, manta_str text, const char *what) { return text.size || gcs_refuse(x, MANTA_EINVAL, "%s is empty", what); }
static bool is_key(gcs_run *x, manta_str space, manta_str name) { return is_named(x, space, "space") && is_named(x, name, "key"); }

void handle_kv_put(gcs_run *x, const gcs_kv_put *f)
{
    key k;
    gcs_kv_row row = {.space = f->space, .key = f->key, .value = f->value};
    key_of_pair(&k, f->space, f->key);
    if (!is_key(x, f->space, f->key) || !condition_holds(x, table_get(x->c, GCS_TABLE_KV, &k), f->when, f->if_revision)) return;
    if (table_put(x, GCS_TABLE_KV, &row)) gcs_pack_number(x, row.revision);
}

void handle_kv_delete(gcs_run *x, const gcs_kv_delete *f)
{
    key k;
    key_of_pair(&k, f->space, f->key);
    const gcs_kv_row *row = table_get(x->c, GCS_TABLE_KV, &k);
    if (!is_key(x, f->space, f->key) || !condition_holds(x, row, f->when, f->if_revision)) return;
    if (row) table_remove(x, GCS_TABLE_KV, row);
    else gcs_refuse(x, MANTA_ENOTFOUND, "no such key");
}

void handle_kv_get(gcs_run *x, const gcs_kv_get *f)
{
    key k;
    key_of_pair(&k, f->space, f->key);
    table_reply_key(x, GCS_TABLE_KV, &k, "key");
}

void handle_config_set(gcs_run *x, const gcs_config_set *f)
{
    key k;
    gcs_config_row row = {.key = f->key, .value = f->value};
    key_of_text(&k, f->key);
    if (!is_named(x, f->key, "key")) return;
    if (!f->remove) {
        table_put(x, GCS_TABLE_CONFIG, &row);
        return;
    }
    const gcs_config_row *old = table_get(x->c, GCS_TABLE_CONFIG, &k);
    if (old) table_remove(x, GCS_TABLE_CONFIG, old);
}

void handle_config_get(gcs_run *x, const gcs_config_get *f)
{
    key k;
    key_of_text(&k, f->key);
    table_reply_key(x, GCS_TABLE_CONFIG, &k, "setting");
}
