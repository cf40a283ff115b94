/*
 * Any bytes to a core: as commands, as queries, as a snapshot (under a right checksum). Nothing crashes, every reply is one, malformed commands change nothing but the index, and two cores that are fed the same
 * agree in every reply and in their hash; what is saved can be loaded, and is the same then.
 *
 * The input is a row of pieces behind their size in two bytes; the top two bits of the size say what the piece is: 0, 1 a command; 2 a query; 3 a snapshot. A piece whose first byte is odd gets a good head, so
 * that fields are reached soon.
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

static void with_head(pair *p, const unsigned char *piece, size_t size, bool is_query)
{
    unsigned char command[sizeof(gcs_head) + 0x4000] = {1};
    uint16_t kind = (uint16_t)(is_query ? 1000 + piece[0] / 2 : piece[0] / 2);
    command[2] = (unsigned char)kind;
    command[3] = (unsigned char)(kind >> 8);
    command[8] = size > 1 ? piece[1] % 4 : 0;    /* client */
    command[16] = size > 1 ? piece[1] / 4 : 0;   /* request */
    command[32] = (unsigned char)(p->index * 7); /* time */
    size_t skip = size > 2 ? 2 : size;
    memcpy(command + sizeof(gcs_head), piece + skip, size - skip);
    if (is_query) query(p, command, sizeof(gcs_head) + size - skip);
    else apply(p, command, sizeof(gcs_head) + size - skip);
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
        else if (n && data[at] % 2) with_head(&p, data + at, n, what == 2);
        else if (what == 2) query(&p, data + at, n);
        else apply(&p, data + at, n);
        at += n;
    }
    check_equal(&p);
    gcs_core_free(p.a);
    gcs_core_free(p.b);
    return 0;
}
