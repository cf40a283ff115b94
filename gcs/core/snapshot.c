/*
 * Snapshots. Equal states give equal bytes. All numbers outside of MessagePack are little-endian.
 *
 *     8  "MANTAGCS"
 *     4  version, 1
 *     4  zero
 *     items, in this order: META, USAGE (of each table), rows of the tables 1 to 10 in order of table and key, LINEAGE (by job, the gone ones first, by age), CLIENT (by when it was last heard of), each
 *     followed by its REPLY items (by request)
 *         4  size of what follows the next four bytes
 *         1  what it is: the number of the table for a row; META, USAGE, REPLY
 *         3  zero
 *         .. its fields, as an array of MessagePack
 *     8  size of all before this
 *     8  checksum of all before this (of the size too): h = (h ^ word) * prime; h ^= h >> 32 for each word of 8 bytes, the last filled up with zeros
 *
 * The hash of the state is the checksum of its snapshot.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gcs/core/core_internal.h"

enum { VERSION = 1, HEADER = 16, TRAILER = 16, ITEM_HEADER = 8, BLOCK = 4096, ITEM_META = 64, ITEM_USAGE = 65, ITEM_REPLY = 66 };
static const char magic[8] = {'M', 'A', 'N', 'T', 'A', 'G', 'C', 'S'};

#define META_FIELDS(F) \
    F(u64, index) \
    F(u64, revision) \
    F(u64, now_ms) \
    F(u64, token) \
    F(u64, ticket) F(u64, kv_bytes) F(u64, lineage_bytes) F(u64, table_bytes) F(u64, value_bytes) F(u64, client_ms) F(u64, client_replies)
#define USAGE_FIELDS(F) F(u64, table) F(u64, refused) F(u64, dropped)
#define REPLY_FIELDS(F) F(u64, request) F(bytes, reply)
GCS_STRUCT(gcs_meta_item, META_FIELDS);
GCS_STRUCT(gcs_usage_item, USAGE_FIELDS);
GCS_STRUCT(gcs_reply_item, REPLY_FIELDS);
GCS_SCHEMA(meta_item, META_FIELDS)
GCS_SCHEMA(usage_item, USAGE_FIELDS)
GCS_SCHEMA(reply_item, REPLY_FIELDS)

static uint64_t hash_words(uint64_t h, const unsigned char *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + at, size - at < 8 ? size - at : 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    return h;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "hash_words and the numbers of the format");

/* ---- saving ---- */

typedef struct stream {
    gcs_save write; /* NULL: only the checksum is wanted */
    void *context;
    bool failed;
    uint64_t size, hash;
    size_t used;
    manta_writer item;
    unsigned char block[BLOCK];
} stream;

static void flush(stream *s)
{
    if (s->write && !s->failed && s->used) s->failed = !s->write(s->context, s->block, s->used);
    s->hash = hash_words(s->hash, s->block, s->used);
    s->used = 0;
}

static void put(stream *s, const void *bytes, size_t size)
{
    const unsigned char *from = bytes;
    s->size += size;
    while (size) {
        size_t n = size < BLOCK - s->used ? size : BLOCK - s->used;
        memcpy(s->block + s->used, from, n);
        s->used += n;
        from += n;
        size -= n;
        if (s->used == BLOCK) flush(s);
    }
}

static bool put_item(stream *s, uint8_t what, const gcs_schema *schema, const void *fields)
{
    unsigned char head[ITEM_HEADER] = {[4] = what};
    manta_writer_reset(&s->item);
    gcs_pack(&s->item, schema, fields);
    uint32_t size = (uint32_t)(manta_writer_size(&s->item) + ITEM_HEADER - 4);
    memcpy(head, &size, sizeof size);
    put(s, head, sizeof head);
    put(s, s->item.start, manta_writer_size(&s->item));
    s->failed = s->failed || s->item.status;
    return !s->failed;
}

static bool put_lineage(void *context, const gcs_lineage_row *row)
{
    return put_item(context, GCS_TABLE_LINEAGE, &gcs_schema_lineage_row, row);
}
static bool put_client(void *context, const gcs_client_row *row)
{
    return put_item(context, GCS_TABLE_CLIENT, &gcs_schema_client_row, row);
}

static bool put_reply(void *context, uint64_t request, manta_bytes reply)
{
    gcs_reply_item item = {.request = request, .reply = reply};
    return put_item(context, ITEM_REPLY, &gcs_schema_reply_item, &item);
}

static void put_meta(stream *s, const gcs_core *c)
{
    gcs_meta_item m = {.index = c->index,
        .revision = c->revision,
        .now_ms = c->now_ms,
        .token = c->token,
        .ticket = c->ticket,
        .kv_bytes = c->limits.kv_bytes,
        .lineage_bytes = c->limits.lineage_bytes,
        .table_bytes = c->limits.table_bytes,
        .value_bytes = c->limits.value_bytes,
        .client_ms = c->limits.client_ms,
        .client_replies = c->limits.client_replies};
    put_item(s, ITEM_META, &gcs_schema_meta_item, &m);
    for (uint32_t t = 1; t < GCS_TABLE_END; t++) {
        gcs_usage u = gcs_core_usage(c, t);
        gcs_usage_item item = {.table = t, .refused = u.refused, .dropped = u.dropped};
        put_item(s, ITEM_USAGE, &gcs_schema_usage_item, &item);
    }
}

static void put_all(stream *s, const gcs_core *c)
{
    uint32_t version[2] = {VERSION, 0};
    put(s, magic, sizeof magic);
    put(s, version, sizeof version);
    put_meta(s, c);
    for (uint32_t t = 1; t < GCS_TABLE_LINEAGE; t++)
        for (const ordered_node *n = c->tables[t].rows.first[0]; n && !s->failed; n = n->next[0])
            put_item(s, (uint8_t)t, gcs_row_schema(t), row_fields(n));
    clients_visitor v = {.context = s, .client = put_client, .reply = put_reply};
    if (!s->failed && lineage_walk(&c->lineage, put_lineage, s)) clients_walk(&c->clients, &v);
    uint64_t size = s->size;
    put(s, &size, sizeof size);
    flush(s);
}

/* Writes all but the checksum, and returns it. */
static uint64_t stream_all(const gcs_core *c, gcs_save write, void *context, bool *out_failed)
{
    stream s = {.write = write, .context = context};
    manta_writer_init_growing(&s.item);
    put_all(&s, c);
    manta_writer_fini(&s.item);
    *out_failed = s.failed;
    return s.hash;
}

manta_status gcs_core_save(const gcs_core *c, gcs_save write, void *context)
{
    bool failed;
    uint64_t hash = stream_all(c, write, context, &failed);
    return failed || !write(context, &hash, sizeof hash) ? MANTA_ENOMEM : MANTA_OK;
}

uint64_t gcs_core_hash(const gcs_core *c)
{
    bool failed;
    return stream_all(c, NULL, NULL, &failed);
}

/* ---- loading ---- */

enum { TEXT = 256 };

typedef struct loader {
    gcs_core *c;
    const unsigned char *bytes;
    size_t at, end; /* end: of the items */
    uint8_t last;   /* what the item before was */
    key last_key;   /* of the row before, in the same table */
    char *text;
} loader;

static manta_status complain(loader *l, const char *problem)
{
    snprintf(l->text, TEXT, "byte %zu: %s", l->at, problem);
    return MANTA_EDECODE;
}

static uint64_t number_at(const unsigned char *p, size_t size)
{
    uint64_t v = 0;
    memcpy(&v, p, size);
    return v;
}

static manta_status check_frame(loader *l, size_t size)
{
    if (size < HEADER + TRAILER) return complain(l, "shorter than the header and the trailer of a snapshot");
    if (memcmp(l->bytes, magic, sizeof magic) != 0) return complain(l, "not the beginning of a snapshot");
    l->at = sizeof magic;
    if (number_at(l->bytes + l->at, 8) != VERSION) return complain(l, "unknown version of the snapshot's format");
    l->end = size - TRAILER;
    l->at = l->end;
    if (number_at(l->bytes + l->at, 8) != l->end) return complain(l, "the size written there is not the size of what is before it");
    l->at += 8;
    if (number_at(l->bytes + l->at, 8) != hash_words(0, l->bytes, l->at)) return complain(l, "the checksum is wrong");
    l->at = HEADER;
    return MANTA_OK;
}

static manta_status load_meta(loader *l, const gcs_meta_item *m)
{
    gcs_core *c = l->c;
    if (m->value_bytes > 32u << 20 || m->client_ms > UINT32_MAX || m->client_replies > UINT32_MAX)
        return complain(l, "a limit is too large");
    if (!m->client_ms || m->now_ms > GCS_TIME_MAX) return complain(l, "a time that cannot be");
    c->index = m->index;
    c->revision = m->revision;
    c->now_ms = m->now_ms;
    c->token = m->token;
    c->ticket = m->ticket;
    c->limits =
        (gcs_limits){m->kv_bytes, m->lineage_bytes, m->table_bytes, m->value_bytes, (uint32_t)m->client_ms, (uint32_t)m->client_replies};
    return MANTA_OK;
}

static manta_status load_usage(loader *l, const gcs_usage_item *u)
{
    if (!u->table || u->table >= GCS_TABLE_END) return complain(l, "usage of an unknown table");
    gcs_usage *to = u->table == GCS_TABLE_LINEAGE  ? &l->c->lineage.usage
                    : u->table == GCS_TABLE_CLIENT ? &l->c->clients.usage
                                                   : &l->c->tables[u->table].usage;
    to->refused = u->refused;
    to->dropped = u->dropped;
    return MANTA_OK;
}

static bool key_grows(const key *a, const key *b)
{
    int order = memcmp(a->bytes, b->bytes, a->size < b->size ? a->size : b->size);
    return order ? order < 0 : a->size < b->size;
}

static manta_status load_row(loader *l, uint8_t table, const void *fields)
{
    key k;
    char why[200];
    if (gcs_check_fields(gcs_row_schema(table), fields, l->c->limits.value_bytes, why, sizeof why)) return complain(l, why);
    table_kinds[table].key(fields, &k);
    if (table == l->last && !key_grows(&l->last_key, &k)) return complain(l, "rows are not in the order of their keys");
    if (table_excludes(l->c, (gcs_table)table, fields)) return complain(l, "a row that another one excludes");
    l->last_key = k;
    return table_load(l->c, (gcs_table)table, fields) ? MANTA_OK : MANTA_ENOMEM;
}

static manta_status complain_if(loader *l, manta_status status, const char *problem)
{
    return status && status != MANTA_ENOMEM ? complain(l, problem) : status;
}

/* Room for the fields of any item. */
typedef union any_item {
    gcs_meta_item meta;
    gcs_usage_item usage;
    gcs_reply_item reply;
#define ITEM_MEMBER(name_, value_, row_, fields_) gcs_##row_ row_;
    GCS_TABLES(ITEM_MEMBER)
} any_item;

static const gcs_schema *item_schema(uint8_t what)
{
    switch (what) {
    case ITEM_META: return &gcs_schema_meta_item;
    case ITEM_USAGE: return &gcs_schema_usage_item;
    case ITEM_REPLY: return &gcs_schema_reply_item;
    default: return gcs_row_schema(what);
    }
}

static manta_status load_fields(loader *l, uint8_t what, const any_item *item)
{
    switch (what) {
    case ITEM_META: return load_meta(l, &item->meta);
    case ITEM_USAGE: return load_usage(l, &item->usage);
    case ITEM_REPLY:
        return complain_if(l, clients_load_reply(l->c, item->reply.request, item->reply.reply), "a reply that its client cannot have");
    case GCS_TABLE_LINEAGE: return complain_if(l, lineage_load(l->c, &item->lineage_row), "lineage of an object that has some already");
    case GCS_TABLE_CLIENT: return complain_if(l, clients_load(l->c, &item->client_row), "a client that is there already, or out of order");
    default: return load_row(l, what, item);
    }
}

/* META first; the tables in order. A USAGE is 65 and stands before them; a REPLY, 66, behind a client. */
static bool may_follow(uint8_t last, uint8_t what)
{
    if (!last || what == ITEM_META) return !last && what == ITEM_META;
    if (what == ITEM_USAGE) return last == ITEM_META || last == ITEM_USAGE;
    if (what == ITEM_REPLY || last == ITEM_REPLY)
        return last == GCS_TABLE_CLIENT || (last == ITEM_REPLY && (what == ITEM_REPLY || what == GCS_TABLE_CLIENT));
    return last >= ITEM_META || what >= last;
}

static manta_status load_item(loader *l)
{
    any_item item;
    manta_reader r;
    uint64_t size = l->end - l->at < ITEM_HEADER ? 0 : number_at(l->bytes + l->at, 4);
    if (size < ITEM_HEADER - 4 || size > l->end - l->at - 4) return complain(l, "an item's size is more than what is left, or too small");
    uint8_t what = l->bytes[l->at + 4];
    const gcs_schema *s = item_schema(what);
    if (!s || number_at(l->bytes + l->at + 5, 3) || !may_follow(l->last, what))
        return complain(l, "an item of an unknown kind, or out of order");
    manta_reader_init(&r, l->bytes + l->at + ITEM_HEADER, size + 4 - ITEM_HEADER);
    gcs_unpack(&r, s, &item);
    if (r.status || manta_reader_left(&r)) {
        l->at += ITEM_HEADER + (size_t)((r.status ? r.error_at : r.at) - r.start);
        return complain(l, r.status ? r.expected : "bytes behind the fields of an item");
    }
    manta_status status = load_fields(l, what, &item);
    if (status) return status;
    l->last = what;
    l->at += size + 4;
    return MANTA_OK;
}

manta_status gcs_core_load(gcs_core *c, const void *bytes, size_t size, char *text)
{
    loader l = {.c = c, .bytes = bytes, .text = text};
    gcs_limits limits = c->limits;
    gcs_core_clear(c);
    snprintf(text, TEXT, "out of memory");
    manta_status status = check_frame(&l, size);
    while (!status && l.at < l.end) status = load_item(&l);
    if (!status && !l.last) status = complain(&l, "the snapshot has no items");
    if (!status) return MANTA_OK;
    gcs_core_clear(c);
    c->limits = limits;
    return status;
}
