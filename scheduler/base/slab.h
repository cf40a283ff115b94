/*
 * Slabs: type-stable pools of fixed-size records with per-thread magazines (Bonwick and Adams, USENIX 2001).
 *
 * A slab reserves one range of addresses and never gives it back while the process lives, so a record is named by an index and a stale pointer
 * to one may be read. Each thread works on a slab_cache of its own: two magazines of 64 records; full ones are exchanged through the
 * slab's depot under a lock. A free record's two words at LINK bytes from its start belong to the slab; all else is left as it was.
 */
#ifndef MANTA_BASE_SLAB_H
#define MANTA_BASE_SLAB_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/base/atomics.h"

enum { SLAB_MAGAZINE = 64 };

typedef struct slab {
    const char *name;
    size_t record_bytes, link;                  /* link: offset of the two words */
    uint64_t capacity;                          /* records that fit into the range */
    unsigned char *base;                        /* NULL before slab_init */
    void (*prepare)(void *record);              /* called once for each record, when it is first handed out; may be NULL */
    _Alignas(CACHE_PAIR) _Atomic uint64_t used; /* records ever handed out: indices below it have been prepared or will be at once */
    _Atomic uint64_t limit;                     /* most records that may be handed out; at most capacity */
    pthread_mutex_t lock;
    void *depot;   /* list of full magazines, under lock */
    void *partial; /* list of single records, of threads that ended, under lock */
    _Atomic uint32_t depot_size, partial_size;
} slab;

typedef struct slab_cache {
    void *active, *previous; /* magazines: lists by the first link word; previous is full or NULL */
    uint32_t count;          /* records in `active` */
} slab_cache;

/* Reserves the range for `capacity` records, or as much as the system allows (at least 2^16). A slab that is there already stays as it is. */
bool slab_init(slab *s, const char *name, size_t record_bytes, size_t link, uint64_t capacity, void (*prepare)(void *));

/* Gives a thread's records to the depot. */
void slab_cache_flush(slab *s, slab_cache *c);

/* Behind slab_get and slab_put: an empty and a full magazine. */
void *slab_refill(slab *s, slab_cache *c);
void slab_spill(slab *s, slab_cache *c);

static inline void **slab_link(void *record, size_t link) { return (void **)((unsigned char *)record + link); }
static inline void *slab_at(const slab *s, uint64_t index) { return s->base + index * s->record_bytes; }

/* A record, or NULL: the limit is reached or memory is out. `link` is a constant, the slab's. */
static inline void *slab_get(slab *s, slab_cache *c, size_t link)
{
    void *record = c->active;
    if (unlikely(!record) && !(record = slab_refill(s, c))) return NULL;
    c->active = *slab_link(record, link);
    c->count--;
    return record;
}

static inline void slab_put(slab *s, slab_cache *c, void *record, size_t link)
{
    if (unlikely(c->count == SLAB_MAGAZINE))
        slab_spill(s, c); /* before the push: get and put in turn at the border must not swap magazines */
    *slab_link(record, link) = c->active;
    c->active = record;
    c->count++;
}

#endif
