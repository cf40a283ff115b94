/*
 * Counts the words of files: map, shuffle, reduce. The same on one machine and on a cluster (manta run ./wordcount FILE...).
 *
 *     wordcount FILE...          the number of words, and the 10 most frequent
 *     wordcount --all FILE...    all of them, as "count word", sorted by word
 *
 * A word is a run of letters (at most 1 MiB of them). Each map task gets a piece of text and counts it into one table per reducer (by the word's hash); each reduce task adds up the tables of its words.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <manta/manta.h>

enum { PIECE = 1 << 20, REDUCERS = 8, WINDOW = 32 };

/* ---- tables: "word" and its count, packed one after the other ---- */

typedef struct entry {
    char *word;
    uint64_t count;
} entry;
typedef struct table {
    entry *entries;
    size_t room, used;
} table;

static uint64_t hash_of(const char *word, size_t n)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)word[i]) * 1099511628211u;
    return h ^ h >> 31;
}

static void grow(table *t);

static bool is_word(const char *known, const char *word, size_t n) { return strncmp(known, word, n) == 0 && !known[n]; }

static void add(table *t, const char *word, size_t n, uint64_t count)
{
    if (t->used * 2 >= t->room) grow(t);
    size_t i = hash_of(word, n) & (t->room - 1);
    while (t->entries[i].word && !is_word(t->entries[i].word, word, n)) i = (i + 1) & (t->room - 1);
    if (!t->entries[i].word) {
        t->entries[i].word = strndup(word, n);
        t->used++;
    }
    t->entries[i].count += count;
}

static void clear(table *t)
{
    for (size_t i = 0; i < t->room; i++) free(t->entries[i].word);
    free(t->entries);
    *t = (table){NULL, 0, 0};
}

static void grow(table *t)
{
    table bigger = {calloc(t->room ? t->room * 2 : 1024, sizeof(entry)), t->room ? t->room * 2 : 1024, 0};
    for (size_t i = 0; i < t->room; i++)
        if (t->entries[i].word) add(&bigger, t->entries[i].word, strlen(t->entries[i].word), t->entries[i].count);
    clear(t);
    *t = bigger;
}

/* In memory that lives until the task ends. reducer REDUCERS: all words. */
static manta_bytes pack(const table *t, unsigned reducer)
{
    size_t bytes = 0;
    for (size_t i = 0; i < t->room; i++)
        if (t->entries[i].word) bytes += strlen(t->entries[i].word) + 1 + 8;
    unsigned char *data = manta_alloc(bytes ? bytes : 1), *at = data;
    for (size_t i = 0; data && i < t->room; i++) {
        const entry *e = &t->entries[i];
        size_t n = e->word ? strlen(e->word) + 1 : 0;
        if (!n || (reducer < REDUCERS && hash_of(e->word, n - 1) % 61 % REDUCERS != reducer)) continue;
        memcpy(at, e->word, n);
        memcpy(at + n, &e->count, 8);
        at += n + 8;
    }
    return (manta_bytes){data, data ? (size_t)(at - data) : 0};
}

static void unpack(table *t, manta_bytes packed)
{
    if (!packed.size) return;
    for (const char *at = packed.data, *end = at + packed.size; at < end;) {
        size_t n = strnlen(at, (size_t)(end - at)) + 1;
        uint64_t count;
        if (n + 8 > (size_t)(end - at)) return;
        memcpy(&count, at + n, 8);
        add(t, at, n - 1, count);
        at += n + 8;
    }
}

/* ---- tasks ---- */

MANTA_STRUCT(Counted, (manta_bytes, a), (manta_bytes, b), (manta_bytes, c), (manta_bytes, d), (manta_bytes, e), (manta_bytes, f),
    (manta_bytes, g), (manta_bytes, h))

static void count_text(table *t, const char *text, size_t size)
{
    for (size_t begin = 0, end; begin < size; begin = end + 1) {
        for (end = begin; end < size && isalpha((unsigned char)text[end]);) end++;
        if (end > begin) add(t, text + begin, end - begin, 1);
    }
}

MANTA_TASK(count_words, Counted, (manta_bytes, text))
{
    table t = {NULL, 0, 0};
    count_text(&t, text.data, text.size);
    Counted c = {pack(&t, 0), pack(&t, 1), pack(&t, 2), pack(&t, 3), pack(&t, 4), pack(&t, 5), pack(&t, 6), pack(&t, 7)};
    clear(&t);
    return c;
}

MANTA_TASK(add_up, manta_bytes, (manta_bytes, tables))
{
    table t = {NULL, 0, 0};
    unpack(&t, tables);
    manta_bytes sum = pack(&t, REDUCERS);
    clear(&t);
    return sum;
}

/* ---- the driver ---- */

typedef struct pile { /* what one reducer gets */
    unsigned char *data;
    size_t size, room;
} pile;
static pile piles[REDUCERS];
static manta_Counted_future running[WINDOW];
static size_t n_running, next_running;

static void put_on(pile *p, manta_bytes b)
{
    if (!b.size) return;
    while (p->size + b.size > p->room) p->data = realloc(p->data, p->room = p->room ? p->room * 2 : 1 << 20);
    memcpy(p->data + p->size, b.data, b.size);
    p->size += b.size;
}

/* Tables that are large already are added up before more comes. */
static void shuffle(Counted c)
{
    const manta_bytes parts[REDUCERS] = {c.a, c.b, c.c, c.d, c.e, c.f, c.g, c.h};
    for (int i = 0; i < REDUCERS; i++) {
        put_on(&piles[i], parts[i]);
        if (piles[i].size < 16 << 20) continue;
        manta_bytes sum = manta_await(add_up_submit((manta_bytes){piles[i].data, piles[i].size}));
        piles[i].size = 0;
        put_on(&piles[i], sum);
    }
}

static void take_one(void)
{
    shuffle(manta_await(running[next_running % WINDOW]));
    next_running++;
    n_running--;
}

static void submit(const char *text, size_t size)
{
    if (n_running == WINDOW) {
        take_one();
        (void)manta_scope_end(); /* gives back what the answers held; those under way were kept */
        (void)manta_scope_begin();
    }
    manta_Counted_future f = count_words_submit((manta_bytes){text, size});
    (void)manta_future_keep(f.future);
    running[(next_running + n_running++) % WINDOW] = f;
}

/* Pieces end between words, so that none is cut. */
static bool read_file(const char *path)
{
    static char text[PIECE];
    FILE *f = fopen(path, "r");
    size_t held = 0, n;
    if (!f) return perror(path), false;
    while ((n = fread(text + held, 1, PIECE - held, f)) > 0) {
        size_t size = held + n, cut = size;
        while (cut && isalpha((unsigned char)text[cut - 1])) cut--;
        if (!cut) cut = size;
        submit(text, cut);
        memmove(text, text + cut, size - cut);
        held = size - cut;
    }
    if (held) submit(text, held);
    fclose(f);
    return true;
}

static int by_word(const void *a, const void *b) { return strcmp(((const entry *)a)->word, ((const entry *)b)->word); }
static int by_count(const void *a, const void *b)
{
    uint64_t x = ((const entry *)a)->count, y = ((const entry *)b)->count;
    return x != y ? (x < y ? 1 : -1) : by_word(a, b);
}

static void print(table *t, bool all)
{
    uint64_t total = 0;
    entry *list = calloc(t->used + 1, sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < t->room; i++)
        if (t->entries[i].word) list[n++] = t->entries[i];
    qsort(list, n, sizeof *list, all ? by_word : by_count);
    for (size_t i = 0; i < n; i++) total += list[i].count;
    if (!all) printf("%llu words, %zu different\n", (unsigned long long)total, n);
    for (size_t i = 0; i < n && (all || i < 10); i++) printf("%llu %s\n", (unsigned long long)list[i].count, list[i].word);
    free(list);
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    bool all = argc > 1 && strcmp(argv[1], "--all") == 0, ok = true;
    (void)manta_scope_begin();
    for (int i = all ? 2 : 1; i < argc; i++) ok = read_file(argv[i]) && ok;
    while (n_running) take_one();
    manta_manta_bytes_future sums[REDUCERS];
    table t = {NULL, 0, 0};
    for (int i = 0; i < REDUCERS; i++) sums[i] = add_up_submit((manta_bytes){piles[i].data, piles[i].size});
    for (int i = 0; i < REDUCERS; i++) unpack(&t, manta_await(sums[i]));
    print(&t, all);
    clear(&t);
    for (int i = 0; i < REDUCERS; i++) free(piles[i].data);
    (void)manta_scope_end();
    return manta_shutdown(m) == MANTA_OK && ok ? 0 : 1;
}
