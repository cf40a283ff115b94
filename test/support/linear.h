/*
 * Is a history linearizable? A checker for registers and locks, key by key (linearizability is compositional: Herlihy and Wing 1990).
 *
 * The algorithm is Wing and Gong's search (1993) as Lowe made it ("Testing for linearizability", 2017): take effect as late as possible, undo, and never look twice at the same set of operations done with the same
 * state. Configurations are compared whole, so an answer is never wrong by a collision of hashes.
 *
 * A history is a set of operations with the times of their call and return on one clock; those whose intervals overlap may have taken effect in either order. return_ns LINEAR_UNKNOWN: no answer came, so it may
 * have taken effect at any time after its call, or never. Registers hold numbers, 0 at first (0 also stands for "absent").
 *
 * Locks give fencing tokens. Rules: a grant needs a free lock and a token above all before; the holder that acquires again may be given its token once more; a refused acquire needs a lock that another
 * holds; release takes effect for the token that holds, and is refused for another. With leases_end, a grant may also come while another holds, and a release be refused, since a lease may have ended; nothing else is weaker.
 */
#ifndef MANTA_TEST_LINEAR_H
#define MANTA_TEST_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINEAR_UNKNOWN UINT64_MAX

typedef enum linear_kind {
    LINEAR_READ,    /* result: the value */
    LINEAR_WRITE,   /* argument: the value */
    LINEAR_CAS,     /* argument for expected; result: 1 done, 0 refused */
    LINEAR_ACQUIRE, /* result: the token; 0: refused */
    LINEAR_RELEASE  /* argument: the token; result: 1 done, 0 refused */
} linear_kind;

typedef struct linear_op {
    uint64_t key, client;
    linear_kind kind;
    uint64_t argument, expected, result;
    uint64_t call_ns, return_ns;
} linear_op;

typedef enum linear_verdict { LINEAR_YES, LINEAR_NO, LINEAR_GAVE_UP /* too many configurations, or no memory */ } linear_verdict;

typedef struct linear_options {
    bool leases_end;
    uint64_t configurations; /* at most this many for a key; 0: 4 million */
} linear_options;

/* text (may be NULL): LINEAR_NO: the operation of the deepest attempt that could not take effect in time; LINEAR_GAVE_UP: why. */
linear_verdict linear_check(const linear_op *ops, size_t count, const linear_options *options, char *text, size_t text_size);

#endif
