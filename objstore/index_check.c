/*
 * Looks at every page of the index before LMDB does: LMDB trusts its pages, and a flipped pointer in one is a crash in the middle of it, or worse.
 *
 * LMDB 0.9's file (mdb.c, "MDB_page", "MDB_meta", "MDB_node"): pages of 4096 bytes; 0 and 1 are meta pages, of which the one with the larger transaction number holds.
 *   page   u64 number, u16 0, u16 kind, u16 lower, u16 upper (overflow pages: u32 count instead), then offsets of nodes up to `lower`; the nodes lie from `upper` to the end
 *   node   u16 low, u16 high, u16 flags, u16 key size, key, value. Branch: low, high, flags are the number of the page below. Leaf: low, high are the value's size
 *   meta   (behind the page's header) u32 magic, u32 version, u64 address, u64 map size, table of free pages, main table, u64 last page, u64 transaction
 *   table  u32 0, u16 flags, u16 depth, u64 branch pages, leaf pages, overflow pages, entries, root; the main table's values are tables
 *
 * What LMDB relies on, and so what holds when index_check says yes:
 *   - both meta pages have our page size and flags; the one that holds stands where its transaction's parity says; the file has the length that it was made with
 *   - each page is reached once, or is free, never both; numbers of pages are their places and lie below the last page
 *   - trees have the depth and the entries that their table says; a branch has two nodes at least, a leaf one
 *   - the nodes of a page fill it from `upper` to its end without overlap, since deleting one moves the others by its length
 *   - keys ascend from leaf to leaf, and a branch's keys part the leaves below
 *   - the main table has our tables and no other, with our flags; keys and values have the sizes of their table
 *   - lists of free pages descend, and are of transactions that have been
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
    DEPTH_MAX = 16,
    NODE_MAX = 2038, /* longer ones have their value in pages of its own */
    KEY_MAX = 511,
    ANY = 0xffff /* size of keys or values that differ */
};
#define MAGIC 0xBEEFC0DEu
#define NO_PAGE UINT64_MAX
#define TRANSACTION_MAX (UINT64_MAX >> 1)

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

typedef struct shape { /* of a table's entries */
    const char *name;
    uint16_t flags, key_bytes, value_bytes;
} shape;
static const shape free_shape = {"", MDB_INTEGERKEY, 8, ANY}, main_shape = {"", 0, ANY, sizeof(table)};
/* As LMDB sorts them. */
static const shape shapes[] = {
    {"by_offset", MDB_INTEGERKEY, 8, 8},
    {"by_size", 0, 16, 0},
    {"files", MDB_INTEGERKEY, 8, sizeof(file_record)},
    {"spilled", MDB_INTEGERKEY, 8, sizeof(spilled_record)},
    {"totals", MDB_INTEGERKEY, 8, 8},
    {"used", MDB_INTEGERKEY, 8, sizeof(extent)},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct check {
    const store *store;
    const unsigned char *file;
    uint64_t pages, transaction;
    unsigned char *seen; /* by page */
    unsigned tables;     /* that the main table has had */
} check;
typedef struct walk { /* of one tree */
    const shape *shape;
    uint64_t entries;
    unsigned depth;
    const unsigned char *before; /* the last key */
    unsigned before_bytes;
    bool before_parts; /* it stood in a branch: the next one may be the same */
} walk;

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

static manta_status check_tree(check *c, table t, const shape *x);

static manta_status check_big(check *c, uint64_t page, const unsigned char *value, uint64_t bytes, const unsigned char **out)
{
    uint64_t first, count = (PAGE_HEADER - 1 + bytes) / PAGE + 1;
    page_header h;
    uint32_t stated;
    memcpy(&first, value, 8);
    if (first < 2 || first >= c->pages) return bad(c, page, "a long value of it lies outside of the tables");
    memcpy(&h, c->file + first * PAGE, sizeof h);
    memcpy(&stated, c->file + first * PAGE + 12, 4);
    if (h.number != first || h.kind != OVERFLOW || stated < count)
        return bad(c, page, "a long value of it is none"); /* a value may have shrunk */
    *out = c->file + first * PAGE + PAGE_HEADER;
    return visit_once(c, first, stated);
}

/* A list of free pages: their number, then they, descending. */
static manta_status check_free(check *c, uint64_t page, const unsigned char *key, const unsigned char *value, uint64_t bytes)
{
    uint64_t count, number, before = NO_PAGE, since;
    memcpy(&since, key, 8);
    if (since < 1 || since > c->transaction) return bad(c, page, "a list of free pages is of no transaction");
    if (bytes < 8 || bytes % 8) return bad(c, page, "a list of free pages has a wrong size");
    memcpy(&count, value, 8);
    if (count > (bytes - 8) / 8) return bad(c, page, "a list of free pages is longer than its value");
    for (uint64_t i = 0; i < count; i++, before = number) {
        memcpy(&number, value + 8 + i * 8, 8);
        if (number >= before) return bad(c, page, "a list of free pages does not descend");
        manta_status status = visit_once(c, number, 1);
        if (status) return status;
    }
    return MANTA_OK;
}

static manta_status check_named(check *c, uint64_t page, const node *n, const unsigned char *key, const unsigned char *value)
{
    table t;
    const shape *x = &shapes[c->tables];
    if (c->tables == SHAPES || n->key_bytes != strlen(x->name) || memcmp(key, x->name, n->key_bytes) != 0)
        return bad(c, page, "a table has another name than those of an index");
    c->tables++;
    memcpy(&t, value, sizeof t);
    return check_tree(c, t, x);
}

static manta_status check_value(check *c, walk *w, uint64_t page, const node *n, const unsigned char *key)
{
    const unsigned char *value = key + n->key_bytes;
    uint64_t bytes = n->low | (uint64_t)n->high << 16;
    w->entries++;
    if (w->shape != &free_shape) {
        if (n->flags != (w->shape == &main_shape ? SUB_TABLE : 0)) return bad(c, page, "a value has wrong flags");
        if (bytes != w->shape->value_bytes) return bad(c, page, "a value has a wrong size");
        return w->shape == &main_shape ? check_named(c, page, n, key, value) : MANTA_OK;
    }
    if (n->flags & ~(unsigned)BIG_VALUE) return bad(c, page, "a list of free pages has unknown flags");
    manta_status status = n->flags ? check_big(c, page, value, bytes, &value) : MANTA_OK;
    return status ? status : check_free(c, page, key, value, bytes);
}

/* ---- pages ---- */

static int compare_keys(const shape *x, const unsigned char *a, unsigned a_bytes, const unsigned char *b, unsigned b_bytes)
{
    if (x->flags & MDB_INTEGERKEY) {
        uint64_t n, m;
        memcpy(&n, a, 8);
        memcpy(&m, b, 8);
        return n < m ? -1 : n > m;
    }
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static manta_status check_key(check *c, walk *w, uint64_t page, const unsigned char *key, unsigned bytes, bool parts)
{
    if (bytes == 0 || bytes > KEY_MAX || (w->shape->key_bytes != ANY && bytes != w->shape->key_bytes))
        return bad(c, page, "a key has a wrong size");
    int order = w->before ? compare_keys(w->shape, w->before, w->before_bytes, key, bytes) : -1;
    if (order > 0 || (order == 0 && !w->before_parts)) return bad(c, page, "the keys do not ascend");
    w->before = key;
    w->before_bytes = bytes;
    w->before_parts = parts;
    return MANTA_OK;
}

/* The i-th node of a page, and where it begins. */
static manta_status node_at(const check *c, uint64_t page, const page_header *h, unsigned i, node *out, uint16_t *out_at)
{
    const unsigned char *p = c->file + page * PAGE;
    uint16_t at;
    memcpy(&at, p + PAGE_HEADER + 2 * i, 2);
    if (at < h->upper || at % 2 || at + NODE_HEADER > PAGE) return bad(c, page, "a node lies outside of it");
    memcpy(out, p + at, sizeof *out);
    *out_at = at;
    return out->key_bytes > KEY_MAX ? bad(c, page, "a key is too long") : MANTA_OK;
}

static uint64_t node_bytes(const node *n, bool is_branch)
{
    uint64_t value = is_branch ? 0 : n->flags & BIG_VALUE ? 8 : n->low | (uint64_t)n->high << 16;
    return NODE_HEADER + n->key_bytes + value;
}

/* From `upper` on, each node begins where the one before ends, and all are met on the way. */
static manta_status check_packing(const check *c, uint64_t page, const page_header *h)
{
    uint16_t bytes_at[PAGE / 2] = {0};
    unsigned count = (h->lower - PAGE_HEADER) / 2u, met = 0, place;
    for (unsigned i = 0; i < count; i++) {
        node n;
        uint16_t at = 0;
        manta_status status = node_at(c, page, h, i, &n, &at);
        if (status) return status;
        uint64_t bytes = (node_bytes(&n, h->kind == BRANCH) + 1) & ~1ull;
        if (bytes > NODE_MAX) return bad(c, page, "a node is too long");
        bytes_at[at / 2] = (uint16_t)bytes;
    }
    for (place = h->upper; place < PAGE && bytes_at[place / 2]; place += bytes_at[place / 2]) met++;
    return place == PAGE && met == count ? MANTA_OK : bad(c, page, "its nodes overlap or leave a gap");
}

static manta_status read_header(const check *c, uint64_t page, page_header *h)
{
    memcpy(h, c->file + page * PAGE, sizeof *h);
    if (h->number != page) return bad(c, page, "it says that it is another");
    if (h->kind != BRANCH && h->kind != LEAF) return bad(c, page, "it is of an unknown kind");
    if (h->lower < PAGE_HEADER || h->lower > h->upper || h->upper > PAGE || h->lower % 2 || h->upper % 2)
        return bad(c, page, "its bounds are wrong");
    if (h->lower == PAGE_HEADER || (h->kind == BRANCH && h->lower < PAGE_HEADER + 4)) return bad(c, page, "it has too few nodes");
    return check_packing(c, page, h);
}

static manta_status check_page(check *c, walk *w, uint64_t page, unsigned depth);

/* The first key of a branch does not count. */
static manta_status check_node(check *c, walk *w, uint64_t page, const page_header *h, unsigned i, unsigned depth)
{
    node n;
    uint16_t at = 0;
    manta_status status = node_at(c, page, h, i, &n, &at);
    const unsigned char *key = c->file + page * PAGE + at + NODE_HEADER;
    bool is_branch = h->kind == BRANCH;
    if (!status && (!is_branch || i > 0)) status = check_key(c, w, page, key, n.key_bytes, is_branch);
    if (status) return status;
    if (!is_branch) return check_value(c, w, page, &n, key);
    return check_page(c, w, n.low | (uint64_t)n.high << 16 | (uint64_t)n.flags << 32, depth + 1);
}

/* Recursion is as deep as the tree, which `depth` bounds. */
static manta_status check_page(check *c, walk *w, uint64_t page, unsigned depth)
{
    page_header h = {0};
    manta_status status = visit_once(c, page, 1);
    if (!status) status = read_header(c, page, &h);
    if (status) return status;
    if ((h.kind == LEAF) != (depth == w->depth)) return bad(c, page, "it stands at the wrong height");
    unsigned count = (h.lower - PAGE_HEADER) / 2u;
    for (unsigned i = 0; i < count && !status; i++) status = check_node(c, w, page, &h, i, depth);
    return status;
}

static manta_status check_tree(check *c, table t, const shape *x)
{
    walk w = {.shape = x, .depth = t.depth};
    if (x != &free_shape && t.flags != x->flags) return bad(c, t.root, "a table has wrong flags");
    if (t.depth > DEPTH_MAX || (t.root == NO_PAGE) != (t.depth == 0)) return bad(c, t.root, "a table's depth is wrong");
    manta_status status = t.depth ? check_page(c, &w, t.root, 1) : MANTA_OK;
    if (!status && w.entries != t.entries) status = bad(c, t.root, "its table has another number of entries than it says");
    return status;
}

/* ---- the file ---- */

/* Whether it has what never changes in a meta page. */
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
    if (transaction == INDEX_IN_USE) return MANTA_OK;
    uint64_t holds = transaction ? m[1].transaction == transaction : m[1].transaction > m[0].transaction;
    *out = m[holds];
    if (transaction && out->transaction != transaction) return MANTA_ENOTREADY; /* two transactions have ended meanwhile */
    if (out->transaction % 2 != holds) return bad(c, holds, "it has a transaction of the other meta page"); /* LMDB reads that one then */
    if (out->transaction > TRANSACTION_MAX) return bad(c, holds, "its transaction has too large a number");
    if (out->last_page < 1 || out->last_page >= c->pages) return bad(c, holds, "the last page lies behind the file's end");
    c->pages = out->last_page + 1;
    c->transaction = out->transaction;
    return MANTA_OK;
}

static manta_status check_trees(check *c, const meta *m)
{
    if (!(c->seen = base_calloc(c->pages, 1))) return store_fail_(MANTA_ENOMEM, "%s: no memory to check the index", c->store->path);
    manta_status status = check_tree(c, m->free, &free_shape);
    if (!status) status = check_tree(c, m->main, &main_shape);
    if (!status && c->tables != SHAPES) status = bad(c, m->main.root, "a table is missing");
    base_free(c->seen);
    return status;
}

static manta_status check_file(check *c, uint64_t transaction)
{
    meta m = {0}, again;
    check whole = *c;
    manta_status status = find_meta(c, transaction, &m);
    if (status || transaction == INDEX_IN_USE) return status;
    status = check_trees(c, &m);
    /* LMDB may have begun to write that meta page anew while it was read: its transaction comes last. */
    if (status && transaction && find_meta(&whole, transaction, &again) == MANTA_ENOTREADY) return MANTA_ENOTREADY;
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
    uint64_t made = index_bytes(s->control->capacity, s->control->max_objects);
    if (!error && bytes != made) {
        os_file_close(fd);
        return store_fail_(MANTA_EIO, "%s: it has %llu bytes, not the %llu that it was made with", path, (unsigned long long)bytes,
            (unsigned long long)made);
    }
    if (!error) error = os_file_map(fd, bytes, false, &memory);
    os_file_close(fd);
    if (error) return store_fail_(MANTA_EIO, "%s: cannot be read: %s", path, strerror(error));
    check c = {.store = s, .file = memory, .pages = bytes / PAGE};
    manta_status status = check_file(&c, transaction);
    os_file_unmap(memory, bytes);
    return status;
}
