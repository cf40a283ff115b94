#include "gcs/core/gcs_command.h"

#include <string.h>

#define DEFINE_KIND(name_, value_, struct_) GCS_SCHEMA(struct_, GCS_FIELDS_##name_)
GCS_KINDS(DEFINE_KIND)
#define DEFINE_RESULT(name_, struct_) GCS_SCHEMA(struct_, GCS_FIELDS_##name_)
GCS_RESULTS(DEFINE_RESULT)
#define DEFINE_ROW(name_, value_, row_, fields_) GCS_SCHEMA(row_, fields_)
GCS_TABLES(DEFINE_ROW)

static const struct {
    const char *name;
    const gcs_schema *schema;
} tables[GCS_TABLE_END] = {
#define DEFINE_TABLE(name_, value_, row_, fields_) [value_] = {#name_, &gcs_schema_##row_},
    GCS_TABLES(DEFINE_TABLE)};

const gcs_schema *gcs_row_schema(uint32_t table) { return table < GCS_TABLE_END ? tables[table].schema : NULL; }
const char *gcs_table_name(uint32_t table) { return table < GCS_TABLE_END && tables[table].name ? tables[table].name : "?"; }

const gcs_schema *gcs_kind_schema(uint32_t kind)
{
    switch (kind) {
#define SCHEMA_CASE(name_, value_, struct_) \
    case value_: return &gcs_schema_##struct_;
        GCS_KINDS(SCHEMA_CASE)
    default: return NULL;
    }
}

const char *gcs_kind_name(uint32_t kind)
{
    switch (kind) {
#define NAME_CASE(name_, value_, struct_) \
    case value_: return #name_;
        GCS_KINDS(NAME_CASE)
    default: return "?";
    }
}

/* ---- heads: little-endian numbers ---- */

static unsigned char *put(unsigned char *p, uint64_t v, unsigned width)
{
    for (unsigned i = 0; i < width; i++, v >>= 8) *p++ = (unsigned char)v;
    return p;
}

static uint64_t take(const unsigned char **p, unsigned width)
{
    uint64_t v = 0;
    for (unsigned i = width; i-- > 0;) v = v << 8 | (*p)[i];
    *p += width;
    return v;
}

enum { STAMP_AT = 32 };

static void write_head(manta_writer *w, const gcs_head *head, gcs_kind kind)
{
    gcs_head h = head ? *head : (gcs_head){0};
    unsigned char bytes[sizeof(gcs_head)];
    unsigned char *p = put(put(put(bytes, 1, 2), kind, 2), 0, 4);
    put(put(put(put(p, h.client, 8), h.request, 8), h.acknowledged, 8), h.now_ms, 8);
    manta_pack_raw(w, bytes, sizeof bytes);
}

bool gcs_read_head(const void *command, size_t size, gcs_head *out)
{
    if (size < sizeof *out) return false;
    const unsigned char *p = command;
    out->version = (uint16_t)take(&p, 2);
    out->kind = (uint16_t)take(&p, 2);
    out->zero = (uint32_t)take(&p, 4);
    out->client = take(&p, 8);
    out->request = take(&p, 8);
    out->acknowledged = take(&p, 8);
    out->now_ms = take(&p, 8);
    return true;
}

void gcs_stamp(void *command, uint64_t now_ms) { put((unsigned char *)command + STAMP_AT, now_ms, 8); }

void gcs_write(manta_writer *w, const gcs_head *head, gcs_kind kind, const void *fields)
{
    write_head(w, head, kind);
    gcs_pack(w, gcs_kind_schema(kind), fields);
}

void gcs_write_batch_of(manta_writer *w, const gcs_head *head, const manta_bytes *commands, uint32_t count)
{
    write_head(w, head, GCS_BATCH);
    manta_pack_array(w, 1);
    manta_pack_array(w, count);
    for (uint32_t i = 0; i < count; i++) manta_pack_manta_bytes(w, &commands[i]);
}

/* ---- replies ---- */

manta_status gcs_reply_read(const void *bytes, size_t size, gcs_reply *out)
{
    manta_reader r;
    uint32_t status;
    manta_reader_init(&r, bytes, size);
    manta_unpack_tuple(&r, 4, "a reply of status, text, revision and result");
    manta_unpack_uint32_t(&r, &status);
    out->status = (manta_status)status;
    manta_unpack_manta_str(&r, &out->text);
    manta_unpack_uint64_t(&r, &out->revision);
    manta_reader_take(&r, &out->result);
    return r.status || manta_reader_left(&r) ? MANTA_EDECODE : MANTA_OK;
}

manta_reader gcs_reply_reader(const gcs_reply *reply)
{
    manta_reader r;
    manta_reader_init(&r, reply->result.data, reply->result.size);
    return r;
}
