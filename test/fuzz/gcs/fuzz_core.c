/*
 * Any bytes to a core: as commands, as queries, as a snapshot (under a right checksum). Nothing crashes, every reply is one, malformed commands change nothing but the index, and two cores that are fed the same
 * agree in every reply and in their hash; what is saved can be loaded, and is the same then.
 *
 * The input is a row of pieces behind their size in two bytes; the top two bits of the size say what the piece is: 0, 1 a command; 2 a query; 3 a snapshot. A piece whose first byte is odd becomes a well-formed
 * command or query instead, filled from its bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "gcs/core/gcs_command.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

typedef struct bytes {
    unsigned char *at;
    size_t size, capacity;
} bytes;

static const gcs_limits limits = {
    .kv_bytes = 20000, .lineage_bytes = 20000, .table_bytes = 20000, .value_bytes = 1000, .client_ms = 1000, .client_replies = 4};

static void expect(bool ok)
{
    if (!ok) abort();
}

static bool keep(void *context, const void *from, size_t size)
{
    bytes *b = context;
    if (b->size + size > b->capacity) b->at = realloc(b->at, b->capacity = 2 * (b->size + size));
    expect(b->at);
    memcpy(b->at + b->size, from, size);
    b->size += size;
    return true;
}

static void seal(bytes *b)
{
    uint64_t h = 0, size = b->size - 16;
    memcpy(b->at + size, &size, 8);
    for (size_t at = 0; at < b->size - 8; at += 8) {
        uint64_t word = 0;
        memcpy(&word, b->at + at, b->size - 8 - at < 8 ? b->size - 8 - at : 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    memcpy(b->at + b->size - 8, &h, 8);
}

static void watch(void *context, const gcs_event *e)
{
    uint64_t *sum = context;
    *sum += e->revision + e->table + e->key.size + e->value.size;
    for (size_t i = 0; i < e->value.size; i++) *sum = *sum * 31 + ((const unsigned char *)e->value.data)[i];
}

typedef struct pair {
    gcs_core *a, *b;
    uint64_t index;
} pair;

static void check_reply(const manta_writer *w)
{
    gcs_reply reply;
    expect(!w->status && !gcs_reply_read(w->start, manta_writer_size(w), &reply));
}

static void apply(pair *p, const unsigned char *command, size_t size)
{
    manta_writer x, y;
    uint64_t seen[2] = {0, 0};
    manta_writer_init_growing(&x);
    manta_writer_init_growing(&y);
    p->index++;
    expect(!gcs_core_apply(p->a, p->index, command, size, watch, &seen[0], &x) &&
           !gcs_core_apply(p->b, p->index, command, size, watch, &seen[1], &y));
    check_reply(&x);
    expect(seen[0] == seen[1] && manta_writer_size(&x) == manta_writer_size(&y) && memcmp(x.start, y.start, manta_writer_size(&x)) == 0);
    manta_writer_fini(&x);
    manta_writer_fini(&y);
}

static void query(const pair *p, const unsigned char *command, size_t size)
{
    manta_writer w;
    manta_writer_init_growing(&w);
    expect(!gcs_core_query(p->a, command, size, &w));
    check_reply(&w);
    manta_writer_fini(&w);
}

static void load(pair *p, const unsigned char *piece, size_t size)
{
    static const unsigned char head[16] = {'M', 'A', 'N', 'T', 'A', 'G', 'C', 'S', 1};
    static const unsigned char trailer[16];
    char text[256];
    bytes b = {0};
    keep(&b, head, sizeof head);
    keep(&b, piece, size);
    keep(&b, trailer, sizeof trailer);
    seal(&b);
    manta_status one = gcs_core_load(p->a, b.at, b.size, text), two = gcs_core_load(p->b, b.at, b.size, text);
    expect(one == two && (!one || one == MANTA_EDECODE));
    free(b.at);
}

static void check_equal(pair *p)
{
    char text[256];
    bytes b = {0};
    uint64_t hash = gcs_core_hash(p->a);
    expect(hash == gcs_core_hash(p->b) && !gcs_core_save(p->a, keep, &b));
    expect(!gcs_core_load(p->b, b.at, b.size, text) && gcs_core_hash(p->b) == hash);
    free(b.at);
}

/* The bytes that are left of a piece; zeros when there are none. */
typedef struct source {
    const unsigned char *at, *end;
} source;

static unsigned char next(source *s) { return s->at < s->end ? *s->at++ : 0; }

static void pack_view(manta_writer *w, source *s, gcs_type type)
{
    static const char *const texts[] = {"a", "b", "c", "", "dd", "e", "f", "long"};
    manta_str text = manta_str_of(texts[next(s) % 8]);
    size_t size = type == GCS_str ? 0 : next(s), left = (size_t)(s->end - s->at);
    if (size > left) size = left;
    if (type == GCS_str) manta_pack_manta_str(w, &text);
    else if (type == GCS_bytes) manta_pack_manta_bytes(w, &(manta_bytes){s->at, size});
    else if (size) manta_pack_raw(w, s->at, size); /* one value, or not */
    else manta_pack_nil(w);
    s->at += size;
}

static void pack_field(manta_writer *w, source *s, gcs_type type)
{
    unsigned char byte = type <= GCS_flag ? next(s) : 0;
    uint64_t number = byte < 250 ? byte % 50 : UINT64_MAX - byte;
    int64_t count = byte % 8 - 2;
    bool flag = byte & 1;
    if (type == GCS_u64) manta_pack_uint64_t(w, &number);
    else if (type == GCS_i64) manta_pack_int64_t(w, &count);
    else if (type == GCS_flag) manta_pack_bool(w, &flag);
    else pack_view(w, s, type);
}

/* A command or query of the kind that the first byte says, its fields filled from the others. */
static void well_formed(pair *p, const unsigned char *piece, size_t size)
{
    static const gcs_kind kinds[] = {
#define KIND(name_, value_, struct_) GCS_##name_,
        GCS_KINDS(KIND)};
    source s = {piece + 1, piece + size};
    gcs_kind kind = kinds[piece[0] / 2 % (sizeof kinds / sizeof kinds[0])];
    unsigned char client = next(&s);
    gcs_head head = {.client = client % 4, .request = client / 4 % 16, .acknowledged = client / 64, .now_ms = p->index * 7};
    manta_writer w;
    manta_writer_init_growing(&w);
    gcs_write(&w, &head, GCS_TICK, &(gcs_tick){});
    w.at--; /* the empty array of TICK */
    w.start[2] = (unsigned char)kind;
    w.start[3] = (unsigned char)(kind >> 8);
    const gcs_schema *schema = gcs_kind_schema(kind);
    manta_pack_array(&w, schema->count);
    for (uint32_t i = 0; i < schema->count; i++) pack_field(&w, &s, schema->fields[i].type);
    expect(!w.status);
    if (kind >= GCS_FIRST_QUERY) query(p, w.start, manta_writer_size(&w));
    else apply(p, w.start, manta_writer_size(&w));
    manta_writer_fini(&w);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    pair p = {0};
    expect(!gcs_core_new(&limits, &p.a) && !gcs_core_new(&limits, &p.b));
    for (size_t at = 0; at + 2 <= size;) {
        unsigned what = data[at + 1] >> 6;
        size_t n = (size_t)(data[at] | (data[at + 1] & 0x3f) << 8);
        at += 2;
        if (n > size - at) n = size - at;
        if (what == 3) load(&p, data + at, n);
        else if (n && data[at] % 2) well_formed(&p, data + at, n);
        else if (what == 2) query(&p, data + at, n);
        else apply(&p, data + at, n);
        at += n;
    }
    check_equal(&p);
    gcs_core_free(p.a);
    gcs_core_free(p.b);
    return 0;
}
