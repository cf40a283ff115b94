/*
 * The log and the last state of a durable actor: rows of KV. A write counts only in the epoch that the actor is in, so what a former incarnation still writes changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gcs/core/core_internal.h"

void gcs_actor_key(char out[GCS_ACTOR_KEY], uint64_t uid, uint64_t number)
{
    snprintf(out, GCS_ACTOR_KEY, "%016" PRIx64 "/%016" PRIx64, uid, number);
}

static void key_of(key *k, uint64_t uid, uint64_t number)
{
    char text[GCS_ACTOR_KEY];
    gcs_actor_key(text, uid, number);
    key_of_pair(k, manta_str_of(GCS_ACTOR_SPACE), manta_str_of(text));
}

static bool is_current(gcs_run *x, uint64_t uid, uint64_t epoch, uint64_t number)
{
    const gcs_actor_row *a = table_get_number(x->c, GCS_TABLE_ACTOR, uid);
    if (!number) return gcs_refuse(x, MANTA_EINVAL, "number is 0");
    if (!a) return gcs_refuse(x, MANTA_ENOTFOUND, "no actor %" PRIu64, uid);
    if (a->state == GCS_ACTOR_STATE_DEAD) return gcs_refuse(x, MANTA_EDEAD, "actor %" PRIu64 " is dead", uid);
    if (a->epoch == epoch && a->state == GCS_ACTOR_STATE_ALIVE) return true;
    return gcs_refuse_with(x, a->epoch, MANTA_ESTALE, "actor %" PRIu64 " is in epoch %" PRIu64 "%s, this is %" PRIu64, uid, a->epoch,
        a->state == GCS_ACTOR_STATE_ALIVE ? "" : " and has lost its place", epoch);
}

static bool put(gcs_run *x, uint64_t uid, uint64_t number, manta_bytes value)
{
    char text[GCS_ACTOR_KEY];
    gcs_actor_key(text, uid, number);
    gcs_kv_row row = {.space = manta_str_of(GCS_ACTOR_SPACE), .key = manta_str_of(text), .value = value};
    return table_put(x, GCS_TABLE_KV, &row);
}

/* The state's number; 0: there is none. */
static uint64_t saved_number(gcs_run *x, uint64_t uid)
{
    key k;
    key_of(&k, uid, 0);
    const gcs_kv_row *row = table_get(x->c, GCS_TABLE_KV, &k);
    return row && row->value.size >= 8 ? manta_load_be64(row->value.data) : 0;
}

/* Rows of the actor in order of their numbers, up to and with the last one. */
static void remove_rows(gcs_run *x, uint64_t uid, uint64_t first, uint64_t last)
{
    key from, to;
    key_of(&from, uid, first);
    key_of(&to, uid, last);
    const ordered_map *rows = &x->c->tables[GCS_TABLE_KV].rows;
    for (ordered_node *n; !x->fatal && (n = ordered_seek(rows, from.bytes, from.size));) {
        if (n->size != to.size || memcmp(ordered_key(n), to.bytes, to.size) > 0 || !table_remove(x, GCS_TABLE_KV, row_fields(n))) return;
    }
}

void actor_log_forget(gcs_run *x, uint64_t uid) { remove_rows(x, uid, 0, UINT64_MAX); }

void handle_actor_log(gcs_run *x, const gcs_actor_log *f)
{
    key k;
    if (!is_current(x, f->uid, f->epoch, f->number)) return;
    key_of(&k, f->uid, f->number);
    if (f->number <= saved_number(x, f->uid) || table_get(x->c, GCS_TABLE_KV, &k)) return; /* of this epoch, which has one writer */
    (void)put(x, f->uid, f->number, f->record);
}

void handle_actor_save(gcs_run *x, const gcs_actor_save *f)
{
    if (!is_current(x, f->uid, f->epoch, f->number)) return;
    uint64_t before = saved_number(x, f->uid);
    if (f->number < before) {
        gcs_refuse_with(x, f->epoch, MANTA_ESTALE, "the state after record %" PRIu64 " is there, this is %" PRIu64, before, f->number);
        return;
    }
    if (f->state.size < 8 || manta_load_be64(f->state.data) != f->number) {
        gcs_refuse(x, MANTA_EINVAL, "a state that does not begin with its number");
        return;
    }
    if (put(x, f->uid, 0, f->state)) remove_rows(x, f->uid, 1, f->number);
}
