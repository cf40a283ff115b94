/*
 * Looks at every page of the index before LMDB does: LMDB trusts its pages, and a flipped pointer in one is a crash in the middle of it, or worse.
 *
 * LMDB 0.9's file (mdb.c, "MDB_page", "MDB_meta", "MDB_node"): pages of 4096 bytes; 0 and 1 are meta pages, of which the one with the larger transaction number holds.
 *   page   u64 number, u16 0, u16 kind, u16 lower, u16 upper (overflow pages: u32 count instead), then offsets of nodes up to `lower`; the nodes lie from `upper` to the end
 *   node   u16 low, u16 high, u16 flags, u16 key size, key, value. Branch: low, high, flags are the number of the page below. Leaf: low, high are the value's size
 *   meta   (behind the page's header) u32 magic, u32 version, u64 address, u64 map size, table of free pages, main table, u64 last page, u64 transaction
 *   table  u32 0, u16 flags, u16 depth, u64 branch pages, leaf pages, overflow pages, entries, root; the main table's values are tables
 * Each page may be reached once, or be free, never both; trees have the depth and the entries that their table says; keys ascend.
 */
#include <stdio.h>
#include <string.h>

#include "objstore/internal.h"

enum {
    PAGE = 4096,
    PAGE_HEADER = 16,
    NODE_HEADER = 8,
    BRANCH = 1,
    LEAF = 2,
    OVERFLOW = 4,
    META = 8,
    BIG_VALUE = 1,
    SUB_TABLE = 2,
    DEPTH_MAX = 16
};
#define MAGIC 0xBEEFC0DEu
#define NO_PAGE UINT64_MAX

typedef struct table {
    uint32_t page_bytes;
    uint16_t flags, depth;
    uint64_t branches, leaves, overflows, entries, root;
} table;
typedef struct meta {
    uint32_t magic, version;
    uint64_t address, map_bytes;
    table free, main;
    uint64_t last_page, transaction;
} meta;
_Static_assert(sizeof(table) == 48 && sizeof(meta) == 136, "LMDB's records");

typedef struct page_header {
    uint64_t number;
    uint16_t zero, kind, lower, upper;
} page_header;
typedef struct node {
    uint16_t low, high, flags, key_bytes;
} node;

typedef enum table_kind { FREE_PAGES, MAIN, NAMED } table_kind;
typedef struct check {
    const store *store;
    const unsigned char *file;
    uint64_t pages;
    unsigned char *seen; /* by page */
    table_kind kind;
    uint64_t entries;
    uint16_t flags, depth;
} check;

static manta_status bad(const check *c, uint64_t page, const char *what)
{
    return store_fail_(
        MANTA_EIO, "%s/index: page %llu (byte %llu): %s", c->store->path, (unsigned long long)page, (unsigned long long)page * PAGE, what);
}

static manta_status visit_once(check *c, uint64_t page, uint64_t count)
{
    if (page < 2 || page >= c->pages || count > c->pages - page) return bad(c, page, "it is pointed to, and outside of the tables");
    for (uint64_t i = 0; i < count; i++) {
        if (c->seen[page + i]) return bad(c, page + i, "it is used twice");
        c->seen[page + i] = 1;
    }
    return MANTA_OK;
}

/* ---- values ---- */

static manta_status check_tree(check *c, table t, table_kind kind);

static manta_status check_big(check *c, uint64_t page, const unsigned char *value, uint64_t bytes, const unsigned char **out)
{
    uint64_t first, count = (PAGE_HEADER - 1 + bytes) / PAGE + 1;
    page_header h;
    uint32_t stated;
    memcpy(&first, value, 8);
    manta_status status = visit_once(c, first, count);
    if (status) return status;
    memcpy(&h, c->file + first * PAGE, sizeof h);
    memcpy(&stated, c->file + first * PAGE + 12, 4);
    if (h.number != first || h.kind != OVERFLOW || stated != count) return bad(c, page, "a long value of it is none");
    *out = c->file + first * PAGE + PAGE_HEADER;
    return MANTA_OK;
}

/* A list of free pages: their number, then they, descending. */
static manta_status check_free(check *c, uint64_t page, const unsigned char *value, uint64_t bytes)
{
    uint64_t count, number;
    if (bytes < 8) return bad(c, page, "a list of free pages is too short");
    memcpy(&count, value, 8);
    if (count > (bytes - 8) / 8) return bad(c, page, "a list of free pages is longer than its value");
    for (uint64_t i = 0; i < count; i++) {
        memcpy(&number, value + 8 + i * 8, 8);
        manta_status status = visit_once(c, number, 1);
        if (status) return status;
    }
    return MANTA_OK;
}

static manta_status check_named(check *c, uint64_t page, const unsigned char *value, uint64_t bytes, unsigned flags)
{
    table t;
    check outer = *c;
    if (bytes != sizeof t || flags != SUB_TABLE) return bad(c, page, "a value that is no table");
    memcpy(&t, value, sizeof t);
    if (t.flags & ~(unsigned)MDB_INTEGERKEY) return bad(c, page, "a table has unknown flags");
    manta_status status = check_tree(c, t, NAMED);
    c->kind = outer.kind;
    c->entries = outer.entries;
    c->flags = outer.flags;
    c->depth = outer.depth;
    return status;
}

static manta_status check_value(check *c, uint64_t page, const node *n, const unsigned char *value)
{
    uint64_t bytes = n->low | (uint64_t)n->high << 16;
    if (n->flags & ~(unsigned)(BIG_VALUE | SUB_TABLE)) return bad(c, page, "a value has unknown flags");
    if (n->flags & BIG_VALUE) {
        manta_status status = check_big(c, page, value, bytes, &value);
        if (status) return status;
    }
    c->entries++;
    if (c->kind == FREE_PAGES) return check_free(c, page, value, bytes);
    if (c->kind == MAIN) return check_named(c, page, value, bytes, n->flags);
    return n->flags ? bad(c, page, "a value has flags of another table") : MANTA_OK;
}

/* ---- pages ---- */

static int compare_keys(const check *c, const unsigned char *a, unsigned a_bytes, const unsigned char *b, unsigned b_bytes)
{
    if (c->flags & MDB_INTEGERKEY) {
        uint64_t x, y;
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        return x < y ? -1 : x > y;
    }
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

/* The i-th node of a page: its place and sizes. A branch's first key does not count. */
static manta_status node_at(const check *c, uint64_t page, const page_header *h, unsigned i, node *out, const unsigned char **out_key)
{
    const unsigned char *p = c->file + page * PAGE;
    uint16_t at;
    memcpy(&at, p + PAGE_HEADER + 2 * i, 2);
    if (at < h->upper || at % 2 || at + NODE_HEADER > PAGE) return bad(c, page, "a node lies outside of it");
    memcpy(out, p + at, sizeof *out);
    uint64_t value = h->kind == BRANCH ? 0 : out->flags & BIG_VALUE ? 8 : out->low | (uint64_t)out->high << 16;
    if (at + NODE_HEADER + (uint64_t)out->key_bytes + value > PAGE) return bad(c, page, "a node is longer than the page");
    bool has_key = h->kind == LEAF || i > 0;
    if (has_key && (out->key_bytes == 0 || out->key_bytes > 511 || (c->flags & MDB_INTEGERKEY && out->key_bytes != 8)))
        return bad(c, page, "a key has a wrong size");
    *out_key = p + at + NODE_HEADER;
    return MANTA_OK;
}

static manta_status read_header(const check *c, uint64_t page, page_header *h)
{
    memcpy(h, c->file + page * PAGE, sizeof *h);
    if (h->number != page) return bad(c, page, "it says that it is another");
    if (h->kind != BRANCH && h->kind != LEAF) return bad(c, page, "it is of an unknown kind");
    if (h->lower < PAGE_HEADER || h->lower > h->upper || h->upper > PAGE || h->lower % 2) return bad(c, page, "its bounds are wrong");
    if (h->lower == PAGE_HEADER || (h->kind == BRANCH && h->lower < PAGE_HEADER + 4)) return bad(c, page, "it has too few nodes");
    return MANTA_OK;
}

static manta_status check_page(check *c, uint64_t page, unsigned depth);

static manta_status check_node(check *c, uint64_t page, const node *n, bool is_branch, const unsigned char *key, unsigned depth)
{
    if (!is_branch) return check_value(c, page, n, key + n->key_bytes);
    return check_page(c, n->low | (uint64_t)n->high << 16 | (uint64_t)n->flags << 32, depth + 1);
}

/* Recursion is as deep as the tree, which `depth` bounds. */
static manta_status check_page(check *c, uint64_t page, unsigned depth)
{
    page_header h;
    manta_status status = visit_once(c, page, 1);
    if (!status) status = read_header(c, page, &h);
    if (status) return status;
    if ((h.kind == LEAF) != (depth == c->depth)) return bad(c, page, "it stands at the wrong height");
    const unsigned char *before = NULL;
    unsigned before_bytes = 0, count = (h.lower - PAGE_HEADER) / 2u;
    for (unsigned i = 0; i < count; i++) {
        node n;
        const unsigned char *key = NULL;
        if ((status = node_at(c, page, &h, i, &n, &key))) return status;
        if (before && compare_keys(c, before, before_bytes, key, n.key_bytes) >= 0) return bad(c, page, "its keys do not ascend");
        before = h.kind == LEAF || i > 0 ? key : NULL;
        before_bytes = n.key_bytes;
        if ((status = check_node(c, page, &n, h.kind == BRANCH, key, depth))) return status;
    }
    return MANTA_OK;
}

static manta_status check_tree(check *c, table t, table_kind kind)
{
    c->kind = kind;
    c->entries = 0;
    c->flags = t.flags;
    c->depth = t.depth;
    if (t.depth > DEPTH_MAX || (t.root == NO_PAGE) != (t.depth == 0)) return bad(c, t.root, "a table's depth is wrong");
    manta_status status = t.depth ? check_page(c, t.root, 1) : MANTA_OK;
    if (!status && c->entries != t.entries) status = bad(c, t.root, "its table has another number of entries than it says");
    return status;
}

/* ---- the file ---- */

static bool is_meta(const check *c, uint64_t page, meta *out)
{
    page_header h;
    memcpy(&h, c->file + page * PAGE, sizeof h);
    memcpy(out, c->file + page * PAGE + PAGE_HEADER, sizeof *out);
    return h.number == page && h.kind == META && out->magic == MAGIC && out->version == 1 && out->free.page_bytes == PAGE &&
           out->free.flags == (MDB_INTEGERKEY | MDB_NOSUBDIR) && out->main.flags == 0 && out->address == 0;
}

/* The meta page that holds, or that of `transaction`. */
static manta_status find_meta(check *c, uint64_t transaction, meta *out)
{
    meta m[2];
    for (uint64_t i = 0; i < 2; i++)
        if (!is_meta(c, i, &m[i])) return bad(c, i, "it is no meta page of LMDB");
    uint64_t holds = transaction ? m[1].transaction == transaction : m[1].transaction > m[0].transaction;
    *out = m[holds];
    if (transaction && out->transaction != transaction) return MANTA_ENOTREADY; /* two transactions have ended meanwhile */
    if (out->transaction % 2 != holds) return bad(c, holds, "it has a transaction of the other meta page"); /* LMDB reads that one then */
    if (out->last_page < 1 || out->last_page >= c->pages) return bad(c, 0, "the last page lies behind the file's end");
    c->pages = out->last_page + 1;
    return MANTA_OK;
}

static manta_status check_file(check *c, uint64_t transaction)
{
    meta m = {0};
    manta_status status = find_meta(c, transaction, &m);
    if (status) return status;
    if (!(c->seen = base_calloc(c->pages, 1))) return store_fail_(MANTA_ENOMEM, "%s: no memory to check the index", c->store->path);
    status = check_tree(c, m.free, FREE_PAGES);
    if (!status) status = check_tree(c, m.main, MAIN);
    base_free(c->seen);
    return status;
}

manta_status index_check(const store *s, uint64_t transaction)
{
    char path[600];
    int fd = -1;
    uint64_t bytes = 0;
    void *memory = NULL;
    snprintf(path, sizeof path, "%s/index", s->path);
    int error = os_file_open(path, OS_READ, &fd);
    if (!error) error = os_file_size(fd, &bytes);
    if (!error && bytes < 2 * PAGE) {
        os_file_close(fd);
        return store_fail_(MANTA_EIO, "%s: it has only %llu bytes", path, (unsigned long long)bytes);
    }
    if (!error) error = os_file_map(fd, bytes, false, &memory);
    os_file_close(fd);
    if (error) return store_fail_(MANTA_EIO, "%s: cannot be read: %s", path, strerror(error));
    check c = {.store = s, .file = memory, .pages = bytes / PAGE};
    manta_status status = check_file(&c, transaction);
    os_file_unmap(memory, bytes);
    return status;
}
