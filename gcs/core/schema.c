#include "gcs/core/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(manta_str) == sizeof(manta_bytes) && offsetof(manta_str, size) == offsetof(manta_bytes, size), "both are a view");

static inline bool is_variable(gcs_type t) { return t >= GCS_str; }
static inline size_t width_of(gcs_type t) { return is_variable(t) ? 16 : 8; }

static void pack_field(manta_writer *w, gcs_type type, const void *at, bool brief)
{
    static const manta_bytes none = {NULL, 0};
    const manta_bytes *view = at;
    switch (type) {
    case GCS_u64: manta_pack_uint64_t(w, at); break;
    case GCS_i64: manta_pack_int64_t(w, at); break;
    case GCS_flag: manta_pack_bool(w, at); break;
    case GCS_str: manta_pack_manta_str(w, at); break;
    case GCS_bytes: manta_pack_manta_bytes(w, brief ? &none : view); break;
    case GCS_raw:
    case GCS_list:
        if (view->size) manta_pack_raw(w, view->data, view->size);
        else manta_pack_nil(w);
        break;
    }
}

static void pack_all(manta_writer *w, const gcs_schema *s, const void *fields, bool brief)
{
    const unsigned char *at = fields;
    manta_pack_array(w, s->count);
    for (uint32_t i = 0; i < s->count; at += width_of(s->fields[i++].type)) pack_field(w, s->fields[i].type, at, brief);
}

void gcs_pack(manta_writer *w, const gcs_schema *s, const void *fields) { pack_all(w, s, fields, false); }
void gcs_pack_brief(manta_writer *w, const gcs_schema *s, const void *fields) { pack_all(w, s, fields, true); }

static void unpack_field(manta_reader *r, gcs_type type, void *at)
{
    switch (type) {
    case GCS_u64: manta_unpack_uint64_t(r, at); break;
    case GCS_i64: manta_unpack_int64_t(r, at); break;
    case GCS_flag: manta_unpack_bool(r, at); break;
    case GCS_str: manta_unpack_manta_str(r, at); break;
    case GCS_bytes: manta_unpack_manta_bytes(r, at); break;
    case GCS_raw:
    case GCS_list: manta_reader_take(r, at); break;
    }
}

void gcs_unpack(manta_reader *r, const gcs_schema *s, void *fields)
{
    unsigned char *at = fields;
    memset(fields, 0, s->size);
    manta_unpack_tuple(r, s->count, "an array of as many fields as this kind has");
    for (uint32_t i = 0; i < s->count; at += width_of(s->fields[i++].type)) unpack_field(r, s->fields[i].type, at);
}

static manta_status check_view(
    const gcs_schema *s, const gcs_field *f, const manta_bytes *view, uint64_t value_bytes, char *text, size_t text_size)
{
    uint64_t limit = f->type == GCS_str ? GCS_STRING_BYTES : f->type == GCS_list ? UINT64_MAX : value_bytes;
    if (view->size > limit) {
        snprintf(text, text_size, "%s: %s has %zu bytes, at most %" PRIu64 " are allowed", s->name, f->name, view->size, limit);
        return MANTA_ETOOLONG;
    }
    if (f->type != GCS_str || !view->size || !memchr(view->data, 0, view->size)) return MANTA_OK;
    snprintf(text, text_size, "%s: %s contains a NUL", s->name, f->name);
    return MANTA_EINVAL;
}

manta_status gcs_check_fields(const gcs_schema *s, const void *fields, uint64_t value_bytes, char *text, size_t text_size)
{
    const unsigned char *at = fields;
    manta_status status = MANTA_OK;
    for (uint32_t i = 0; i < s->count && !status; at += width_of(s->fields[i++].type)) {
        if (is_variable(s->fields[i].type)) status = check_view(s, &s->fields[i], (const manta_bytes *)at, value_bytes, text, text_size);
    }
    return status;
}

size_t gcs_variable_bytes(const gcs_schema *s, const void *fields)
{
    const unsigned char *at = fields;
    size_t size = 0;
    for (uint32_t i = 0; i < s->count; at += width_of(s->fields[i++].type))
        if (is_variable(s->fields[i].type)) size += ((const manta_bytes *)at)->size;
    return size;
}

void gcs_copy_fields(const gcs_schema *s, void *to, const void *from, void *variable)
{
    unsigned char *at = to, *end = variable;
    memcpy(to, from, s->size);
    for (uint32_t i = 0; i < s->count; at += width_of(s->fields[i++].type)) {
        manta_bytes *view = (manta_bytes *)at;
        if (!is_variable(s->fields[i].type)) continue;
        if (view->size) memcpy(end, view->data, view->size);
        view->data = end;
        end += view->size;
    }
}

const void *gcs_member(const gcs_schema *s, const void *fields, const char *name, gcs_type type)
{
    const unsigned char *at = fields;
    for (uint32_t i = 0; i < s->count; at += width_of(s->fields[i++].type))
        if (s->fields[i].type == type && strcmp(s->fields[i].name, name) == 0) return at;
    return NULL;
}
