/*
 * A block is a tag of 16 bytes and its payload; blocks are multiples of 64 bytes and begin 16 bytes before a multiple of 64. A free block has the links of its list behind the
 * tag. The list of a block is found from the highest bit of its length (class) and the four below (step); a request looks from the next list up, where every block is long
 * enough. A tag of length 0, in use, stands at the end.
 */
#include "tools/benchmarks/store/plasma_heap.h"

#include <string.h>

enum { TAG = 16, UNIT = 64, USED = 1, STEP_BITS = 4 };

typedef struct block {
    uint64_t length;         /* | USED */
    uint64_t before;         /* where the block in front begins; 0: none */
    uint64_t next, previous; /* of the free list */
} block;

static block *block_at(unsigned char *memory, uint64_t at) { return (block *)(void *)(memory + at); }
static uint64_t length_of(const block *b) { return b->length & ~(uint64_t)USED; }

static void list_of(uint64_t length, unsigned *class, unsigned *step)
{
    *class = 63 - (unsigned)__builtin_clzll(length);
    *step = (unsigned)(length >> (*class - STEP_BITS)) & (HEAP_STEPS - 1);
}

static void link_free(plasma_heap *h, unsigned char *memory, uint64_t at)
{
    block *b = block_at(memory, at);
    unsigned class, step;
    list_of(b->length, &class, &step);
    b->next = h->first[class][step];
    b->previous = 0;
    if (b->next) block_at(memory, b->next)->previous = at;
    h->first[class][step] = at;
    h->steps_used[class] = (uint16_t)(h->steps_used[class] | 1u << step);
    h->classes_used |= 1ull << class;
}

static void unlink_free(plasma_heap *h, unsigned char *memory, uint64_t at)
{
    block *b = block_at(memory, at);
    unsigned class, step;
    list_of(b->length, &class, &step);
    if (b->next) block_at(memory, b->next)->previous = b->previous;
    if (b->previous) block_at(memory, b->previous)->next = b->next;
    else h->first[class][step] = b->next;
    if (h->first[class][step]) return;
    h->steps_used[class] = (uint16_t)(h->steps_used[class] & ~(1u << step));
    if (!h->steps_used[class]) h->classes_used &= ~(1ull << class);
}

void heap_init(plasma_heap *h, unsigned char *memory, uint64_t bytes)
{
    uint64_t at = UNIT - TAG, end = (bytes & ~(uint64_t)(UNIT - 1)) - TAG;
    memset(h, 0, sizeof *h);
    *block_at(memory, at) = (block){.length = end - at};
    block_at(memory, end)->length = USED;
    block_at(memory, end)->before = at;
    link_free(h, memory, at);
}

/* The first block of the lists that hold only blocks of at least `length`. */
static uint64_t find(const plasma_heap *h, uint64_t length)
{
    unsigned class, step;
    list_of(length, &class, &step);
    list_of(length + (1ull << (class - STEP_BITS)) - 1, &class, &step);
    unsigned steps = h->steps_used[class] & ~0u << step;
    if (!steps) {
        uint64_t classes = h->classes_used & ~1ull << class;
        if (!classes) return 0;
        class = (unsigned)__builtin_ctzll(classes);
        steps = h->steps_used[class];
    }
    return h->first[class][__builtin_ctz(steps)];
}

uint64_t heap_alloc(plasma_heap *h, unsigned char *memory, uint64_t bytes)
{
    uint64_t length = (bytes + TAG + UNIT - 1) & ~(uint64_t)(UNIT - 1), at = find(h, length);
    if (!at) return 0;
    block *b = block_at(memory, at);
    unlink_free(h, memory, at);
    uint64_t rest = b->length - length;
    if (rest) {
        block *r = block_at(memory, at + length);
        *r = (block){.length = rest, .before = at};
        block_at(memory, at + b->length)->before = at + length;
        link_free(h, memory, at + length);
    }
    b->length = length | USED;
    return at + TAG;
}

void heap_free(plasma_heap *h, unsigned char *memory, uint64_t offset)
{
    uint64_t at = offset - TAG, length = length_of(block_at(memory, at));
    block *after = block_at(memory, at + length);
    uint64_t before = block_at(memory, at)->before;
    if (!(after->length & USED)) {
        unlink_free(h, memory, at + length);
        length += after->length;
    }
    if (before && !(block_at(memory, before)->length & USED)) {
        unlink_free(h, memory, before);
        length += block_at(memory, before)->length;
        at = before;
    }
    block_at(memory, at)->length = length;
    block_at(memory, at + length)->before = at;
    link_free(h, memory, at);
}
