/*
 * Structs that know their fields, so that one function packs, unpacks, copies and measures them all: commands, queries, results, the rows of the tables.
 *
 * GCS_STRUCT(gcs_kv_get, GCS_FIELDS_KV_GET), with #define GCS_FIELDS_KV_GET(F) F(str, space) F(str, key), makes
 *     typedef struct gcs_kv_get { manta_str space; manta_str key; } gcs_kv_get;
 * and GCS_SCHEMA(kv_get, GCS_FIELDS_KV_GET) in a source makes
 *     const gcs_schema gcs_schema_kv_get = {"kv_get", sizeof(gcs_kv_get), 2, {"space", GCS_str}, {"key", GCS_str}};
 * On the wire a struct is an array of its fields in this order. Every member is 8 or 16 bytes wide, so the types say where each is.
 */
#ifndef MANTA_GCS_SCHEMA_H
#define MANTA_GCS_SCHEMA_H

#include <manta/msgpack.h>

typedef uint64_t gcs_type_u64;
typedef int64_t gcs_type_i64;
typedef bool gcs_type_flag __attribute__((aligned(8)));
typedef manta_str gcs_type_str;     /* text without NUL, at most GCS_STRING_BYTES */
typedef manta_bytes gcs_type_bytes; /* MessagePack bin, at most gcs_limits.value_bytes */
typedef manta_bytes gcs_type_raw;   /* one MessagePack value of any kind, as its bytes; empty is packed as nil; at most value_bytes */
typedef manta_bytes gcs_type_list;  /* like raw, but only the entry's size limits it */

enum { GCS_STRING_BYTES = 1024 };
typedef enum gcs_type { GCS_u64, GCS_i64, GCS_flag, GCS_str, GCS_bytes, GCS_raw, GCS_list } gcs_type;

typedef struct gcs_field {
    const char *name;
    gcs_type type;
} gcs_field;

typedef struct gcs_schema {
    const char *name;
    uint32_t size, count;
    const gcs_field *fields;
} gcs_schema;

#define GCS_MEMBER(type_, name_) gcs_type_##type_ name_;
#define GCS_STRUCT(struct_, fields_) \
    typedef struct struct_ { \
        fields_(GCS_MEMBER) \
    } struct_

enum {
    GCS_WIDTH_u64 = 8,
    GCS_WIDTH_i64 = 8,
    GCS_WIDTH_flag = 8,
    GCS_WIDTH_str = 16,
    GCS_WIDTH_bytes = 16,
    GCS_WIDTH_raw = 16,
    GCS_WIDTH_list = 16
};
#define GCS_SCHEMA_FIELD(type_, name_) {#name_, GCS_##type_},
#define GCS_SCHEMA_WIDTH(type_, name_) +GCS_WIDTH_##type_
#define GCS_SCHEMA(struct_, fields_) \
    _Static_assert(sizeof(gcs_##struct_) == 0 fields_(GCS_SCHEMA_WIDTH), "the types say where each member is"); \
    static const gcs_field struct_##_fields[] = {fields_(GCS_SCHEMA_FIELD)}; \
    const gcs_schema gcs_schema_##struct_ = { \
        #struct_, sizeof(gcs_##struct_), sizeof struct_##_fields / sizeof(gcs_field), struct_##_fields};

void gcs_pack(manta_writer *w, const gcs_schema *s, const void *fields);
void gcs_pack_brief(manta_writer *w, const gcs_schema *s, const void *fields); /* bytes fields as empty ones */
void gcs_unpack(manta_reader *r, const gcs_schema *s, void *fields);           /* views into the reader's data */
/* Text too long or with a NUL, bytes too large: MANTA_EINVAL or MANTA_ETOOLONG, and which field in `text`. */
manta_status gcs_check_fields(const gcs_schema *s, const void *fields, uint64_t value_bytes, char *text, size_t text_size);
size_t gcs_variable_bytes(const gcs_schema *s, const void *fields);                    /* of all str, bytes and raw */
void gcs_copy_fields(const gcs_schema *s, void *to, const void *from, void *variable); /* what is variable goes there and is pointed to */
/* Where the field with this name and type is; NULL: there is none. */
const void *gcs_member(const gcs_schema *s, const void *fields, const char *name, gcs_type type);

#endif
