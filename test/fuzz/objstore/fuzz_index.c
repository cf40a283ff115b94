/*
 * Any change to the pages of an index: looking in and taking over end with a status, and LMDB never sees a page that leads it astray, neither when it reads nor when it writes.
 *
 * The input is a list of changes: u32 place, u8 value. They are applied to the index of a dead store with trees of some height, lists of free pages of several lengths and spilled
 * objects. When it still passes, it is inspected, then taken over and worked on. The mutator knows LMDB's pages and mostly changes whole fields of them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "objstore/internal.h"
#include "objstore/spill_index.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
size_t LLVMFuzzerCustomMutator(unsigned char *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(unsigned char *data, size_t size, size_t max_size);

enum { CHILD_FD = 60, CHANGES = 256, CHANGE_BYTES = 5, MEGABYTE = 1 << 20, PAGE = 4096, PAGE_HEADER = 16, META = 8, LEAF = 2, BRANCH = 1 };
typedef struct image { /* of a file of the store, as it was made */
    char path[128];
    unsigned char *bytes;
    size_t size;
} image;
static char directory[64];
static image index_image, control_image;

/* ---- the store ---- */

static void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command)) perror(command);
}

static bool allocate(store *s, uint64_t bytes, uint64_t sequence, uint64_t *out_offset)
{
    intent *in = intent_take(s);
    manta_status status = extent_alloc(s, bytes, (extent){.kind = EXTENT_LARGE, .sequence = sequence, .slot = 1}, in, out_offset);
    intent_drop(s, in);
    return status == MANTA_OK;
}

/* Extents enough for branch pages in each table, with holes between. */
static void add_extents(store *s)
{
    enum { EXTENTS = 1500 };
    static uint64_t offsets[EXTENTS];
    for (uint64_t i = 0; i < EXTENTS; i++)
        if (!allocate(s, PAGE + i % 2 * PAGE, i + 1000, &offsets[i])) _exit(2);
    for (uint64_t i = 0; i < EXTENTS; i += 3) (void)extent_release(s, offsets[i], i + 1000);
    for (uint32_t file = 1; file < 4; file++) {
        if (spill_index_new_file(s, file)) _exit(3);
        for (uint64_t i = 0; i < 50; i++) {
            spilled_record r = {.offset = 64 + i * 1000, .size_bytes = 900, .file_id = file, .slot = (uint32_t)i};
            if (spill_index_add(s, file * 100 + i, &r, 948, 64 + (i + 1) * 1000)) _exit(4);
        }
    }
}

/* One transaction that frees so many pages that their list has pages of its own. */
static void free_many_pages(store *s)
{
    enum { ENTRIES = 540, BYTES = 1800 };
    static char bytes[BYTES];
    MDB_txn *t;
    MDB_dbi table;
    int e = mdb_txn_begin(s->env, NULL, 0, &t);
    if (!e) e = mdb_dbi_open(t, "scratch", MDB_CREATE | MDB_INTEGERKEY, &table);
    for (uint64_t i = 0; i < ENTRIES && !e; i++) {
        MDB_val k = {8, &i}, v = {BYTES, bytes};
        e = mdb_put(t, table, &k, &v, 0);
    }
    if (!e) e = mdb_txn_commit(t);
    if (!e) e = mdb_txn_begin(s->env, NULL, 0, &t);
    if (!e) e = mdb_drop(t, table, 1);
    if (e || mdb_txn_commit(t)) _exit(5);
}

/* Dies with its objects, so that they stay. */
static void fill_store(void)
{
    static char bytes[100000];
    store *s;
    store_id id;
    store_options o = {.mode = STORE_CREATE,
        .path = directory,
        .capacity_bytes = 16 * MEGABYTE,
        .max_objects = 256,
        .no_prefault = true,
        .no_keeper = true};
    if (store_open(&o, &s)) _exit(1);
    for (uint64_t i = 0; i < 100; i++)
        if (store_put(s, bytes, i % 2 ? 70000 + i : i, &id)) _exit(6);
    add_extents(s);
    free_many_pages(s);
    store_info info;
    _exit(store_stat(s, &info) || write(CHILD_FD, &info.index_bytes, 8) != 8);
}

static image load(const char *name, size_t size)
{
    image x = {.size = size};
    snprintf(x.path, sizeof x.path, "%s/%s", directory, name);
    int fd = open(x.path, O_RDONLY | O_CLOEXEC);
    if (!x.size) x.size = (size_t)lseek(fd, 0, SEEK_END);
    if (!(x.bytes = malloc(x.size)) || pread(fd, x.bytes, x.size, 0) != (ssize_t)x.size) abort();
    close(fd);
    return x;
}

static void put_back(const image *x)
{
    int fd = open(x->path, O_WRONLY | O_CLOEXEC);
    if (pwrite(fd, x->bytes, x->size, 0) != (ssize_t)x->size) abort();
    close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int ends[2], status;
    uint64_t bytes;
    (void)argc, (void)argv;
    snprintf(directory, sizeof directory, "/dev/shm/manta-fuzz-index-%d", (int)getpid());
    if (pipe(ends)) abort();
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], CHILD_FD);
        fill_store();
    }
    atexit(clean_up);
    if (waitpid(child, &status, 0) != child || status || read(ends[0], &bytes, 8) != 8) abort();
    index_image = load("index", bytes);
    control_image = load("control", 0);
    return 0;
}

/* ---- an input ---- */

static void look_in(void)
{
    store *s;
    store_info info;
    if (store_open(&(store_options){.mode = STORE_INSPECT, .path = directory}, &s)) return;
    (void)store_stat(s, &info);
    (void)store_audit(s, false, NULL, NULL);
    store_close(s);
}

/* Pages are split, merged, freed and taken from the lists. */
static void work(store *s)
{
    enum { N = 200 };
    uint64_t offsets[N], sequence = 1ull << 40;
    for (uint64_t i = 0; i < N; i++)
        if (!allocate(s, PAGE * (1 + i % 5), sequence + i, &offsets[i])) offsets[i] = NO_OFFSET;
    for (uint64_t i = 0; i < N; i += 2)
        if (offsets[i] != NO_OFFSET) (void)extent_release(s, offsets[i], sequence + i);
    for (uint64_t i = 0; i < 50; i++) (void)spilled_forget(s, 100 + i);
    for (uint64_t i = 0; i < 400; i++) (void)extent_release(s, i * PAGE * 3, 1000 + i); /* some are there */
}

static void take_over(void)
{
    store *s;
    if (store_open(&(store_options){.mode = STORE_ATTACH, .path = directory, .no_prefault = true, .no_keeper = true}, &s)) return;
    work(s);
    if (index_read_checked(s, NULL)) {
        fprintf(stderr, "LMDB made of a good index a bad one: %s\n", store_error());
        abort();
    }
    (void)store_audit(s, false, NULL, NULL);
    store_close(s);
}

static manta_status probe(void)
{
    static control c;
    static store s = {.control = &c};
    memcpy(&c, control_image.bytes, sizeof c);
    snprintf(s.path, sizeof s.path, "%s", directory);
    return index_check(&s, 0);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size > CHANGES * CHANGE_BYTES) return 0;
    int fd = open(index_image.path, O_RDWR | O_CLOEXEC);
    size_t n = size / CHANGE_BYTES;
    for (size_t i = 0; i < n; i++) {
        uint32_t place;
        memcpy(&place, data + i * CHANGE_BYTES, 4);
        if (pwrite(fd, data + i * CHANGE_BYTES + 4, 1, (off_t)(place % index_image.size)) != 1) abort();
    }
    manta_status status = probe();
    if (!status || n % 16 == 0) look_in();
    if (!status) {
        take_over();
        put_back(&index_image);
        put_back(&control_image);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t place;
        memcpy(&place, data + i * CHANGE_BYTES, 4);
        place %= (uint32_t)index_image.size;
        if (pwrite(fd, index_image.bytes + place, 1, (off_t)place) != 1) abort();
    }
    close(fd);
    return 0;
}

/* ---- the mutator ---- */

typedef struct field {
    size_t place, bytes;
} field;

static unsigned random_state;
static size_t pick(size_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return below ? (random_state >> 8) % below : 0;
}

static uint64_t get(size_t place, size_t bytes)
{
    uint64_t x = 0;
    memcpy(&x, index_image.bytes + place, bytes);
    return x;
}

static field field_of_meta(size_t page)
{
    return pick(2) ? (field){page + PAGE_HEADER + pick(17) * 8, 8} : (field){page + pick(76) * 2, 2};
}

static field field_of_header(size_t page)
{
    static const field fields[] = {{0, 8}, {10, 2}, {12, 2}, {14, 2}, {12, 4}};
    field f = fields[pick(sizeof fields / sizeof *fields)];
    return (field){page + f.place, f.bytes};
}

/* Of a leaf or branch: the place of a node, its sizes and flags, its key, its value. */
static field field_of_node(size_t page)
{
    size_t count = (get(page + 12, 2) - PAGE_HEADER) / 2, i = pick(8) ? pick(count) : pick(2) * (count - 1);
    size_t node = page + get(page + PAGE_HEADER + 2 * i, 2), key_bytes = get(node + 6, 2), value_bytes = get(node, 4);
    if (get(page + 10, 2) == BRANCH || value_bytes > PAGE) value_bytes = 8;
    switch (pick(5)) {
    case 0: return (field){page + PAGE_HEADER + 2 * i, 2};
    case 1: return (field){node + 2 * pick(4), 2};
    case 2: return (field){node + 8 + pick(key_bytes), 1};
    case 3: return (field){node + 8 + key_bytes + pick(value_bytes / 2) * 2, 2};
    default: return (field){node + 8 + key_bytes + pick(value_bytes / 8) * 8, 8};
    }
}

static field pick_field(void)
{
    size_t page = (pick(4) ? pick(index_image.size / PAGE) : pick(2)) * PAGE, kind = get(page + 10, 2);
    field f;
    if (kind == META) f = field_of_meta(page);
    else if (pick(3) == 0) f = field_of_header(page);
    else if (kind == LEAF || kind == BRANCH) f = field_of_node(page);
    else f = (field){page + PAGE_HEADER + pick(100) * 8, 8};
    if (f.place + f.bytes > index_image.size) f = (field){0, 1};
    return f;
}

static uint64_t new_value(field f)
{
    static const uint64_t often[] = {
        0, 1, 2, 3, 4, 8, 16, 255, 511, 512, 2030, 2038, 4080, 4096, 0x7fff, 0xffff, UINT32_MAX, UINT64_MAX >> 1, UINT64_MAX};
    uint64_t old = get(f.place, f.bytes);
    switch (pick(7)) {
    case 0: return old + 1;
    case 1: return old - 1;
    case 2: return old ^ 1ull << pick(f.bytes * 8);
    case 3: return often[pick(sizeof often / sizeof *often)];
    case 4: return pick(index_image.size / PAGE);
    case 5: return get(pick_field().place / 8 * 8, 8); /* what is valid elsewhere */
    default: return old + (pick(2) ? 2 : (uint64_t)-2) * pick(64);
    }
}

/* Room for the changes of one field, at the end or in place of earlier ones. */
static size_t add_field(unsigned char *data, size_t size, size_t limit)
{
    field f = pick_field();
    uint64_t value = new_value(f);
    size_t at = size / CHANGE_BYTES;
    if ((at + f.bytes) * CHANGE_BYTES > limit || (at && pick(4) == 0)) at = pick(at);
    for (size_t i = 0; i < f.bytes && (at + 1) * CHANGE_BYTES <= limit; i++, at++) {
        uint32_t place = (uint32_t)(f.place + i);
        memcpy(data + at * CHANGE_BYTES, &place, 4);
        data[at * CHANGE_BYTES + 4] = (unsigned char)(value >> 8 * i);
    }
    return at * CHANGE_BYTES > size ? at * CHANGE_BYTES : size;
}

size_t LLVMFuzzerCustomMutator(unsigned char *data, size_t size, size_t max_size, unsigned seed)
{
    size_t limit = max_size < CHANGES * CHANGE_BYTES ? max_size : CHANGES * CHANGE_BYTES;
    random_state = seed;
    if (pick(8) == 0) return LLVMFuzzerMutate(data, size, max_size);
    if (pick(4) == 0) size = 0; /* long lists of changes are refused for the first that is bad */
    for (size_t n = 1 + pick(3); n > 0; n--) size = add_field(data, size, limit);
    return size;
}
