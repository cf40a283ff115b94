/*
 * Futures and streams: waiting for the answer of a call, a task or a generator.
 *
 * A future belongs to the handler or thread that made the call. It is consumed by the first await or get that finds it complete; using
 * it again gives MANTA_ESTALE. What a handler has not consumed when it returns is released, unless manta_future_keep was called.
 * Inside a handler a wait suspends the handler, never the worker thread; on any other thread it blocks that thread.
 * A result's strings, bytes and refs live in the waiter's scope (until the handler returns, see manta_scope_begin).
 * A wait ends early with MANTA_ECANCELLED when the handler's own call was cancelled.
 */
#ifndef MANTA_FUTURE_H
#define MANTA_FUTURE_H

#include <manta/values.h>

#ifdef __cplusplus
extern "C" {
#define MANTA_STATIC_ASSERT(x, text) static_assert(x, text)
#define MANTA_SAME_TYPE(a, b) __is_same(a, b)
#else
#define MANTA_STATIC_ASSERT(x, text) _Static_assert(x, text)
#define MANTA_SAME_TYPE(a, b) __builtin_types_compatible_p(a, b)
#endif

#define MANTA_FOREVER UINT64_MAX /* no time limit, in milliseconds */

/*
 * T manta_await(manta_T_future f): waits without limit and gives the value. When the call failed: inside a handler the handler fails
 * with that error chained (its body is left at once; C++ destructors do not run), elsewhere the error is printed and the process exits with status 1.
 */
#define manta_await(f) \
    ({ \
        __typeof__(f) await_ = (f); \
        __typeof__(await_.type[0]) await_value_; \
        manta_await_value(await_.future, &await_value_, sizeof await_value_); \
        await_value_; \
    })

/* manta_status manta_get(manta_T_future f, T *out): waits without limit; on failure *out is untouched and manta_last_error() tells more. */
#define manta_get(f, out) manta_get_timeout(f, out, MANTA_FOREVER)

/* The same, for at most timeout_ms; MANTA_ETIMEDOUT leaves the future as it was: it can be waited for again. */
#define manta_get_timeout(f, out, timeout_ms) \
    ({ \
        __typeof__(f) get_ = (f); \
        MANTA_STATIC_ASSERT( \
            MANTA_SAME_TYPE(__typeof__(get_.type[0]), __typeof__(*(out))), "the type of the variable is not the result type of the call"); \
        manta_get_value(get_.future, (out), sizeof *(out), (timeout_ms)); \
    })

/* manta_status manta_join(f): waits for any typed future and drops the value: success or the error. */
#define manta_join(f) manta_get_value((f).future, NULL, 0, MANTA_FOREVER)

/* manta_status manta_get_all(futures, values, n): waits for n futures of one type; every one is consumed; the first error by index, or MANTA_OK. */
#define manta_get_all(futures, values, n) \
    ({ \
        MANTA_STATIC_ASSERT(MANTA_SAME_TYPE(__typeof__((futures)[0].type[0]), __typeof__((values)[0])), \
            "the type of the array is not the result type of the calls"); \
        manta_get_values(&(futures)[0].future, (values), sizeof(values)[0], (n)); \
    })

/* manta_status manta_wait(futures, n, k, timeout_ms, ready): waits until at least k of n futures (of one type) are complete, value or error; marks
 * ready[i] (bool, may be NULL). MANTA_ETIMEDOUT when there were fewer in time (ready is filled in all the same). Consumes none. */
#define manta_wait(futures, n, k, timeout_ms, ready) manta_wait_futures(&(futures)[0].future, (n), (k), (timeout_ms), (ready))

/* manta_status manta_next(stream, &value): the next value of a generator; MANTA_EEND after the last. */
#define manta_next(s, out) \
    ({ \
        __typeof__(s) next_ = (s); \
        MANTA_STATIC_ASSERT( \
            MANTA_SAME_TYPE(__typeof__(next_.type[0]), __typeof__(*(out))), "the type of the variable is not the type of the generator"); \
        manta_next_value(next_.stream, (out), sizeof *(out)); \
    })

/* The functions behind the macros. size_bytes must be the result's size; NULL and 0 drop the value. */
MANTA_EXPORT void manta_await_value(manta_future f, void *out, size_t size_bytes);
MANTA_EXPORT manta_status manta_get_value(manta_future f, void *out, size_t size_bytes, uint64_t timeout_ms);
MANTA_EXPORT manta_status manta_get_values(const manta_future *futures, void *out, size_t size_bytes, size_t count);
MANTA_EXPORT manta_status manta_wait_futures(
    const manta_future *futures, size_t count, size_t needed, uint64_t timeout_ms, bool *out_ready);
MANTA_EXPORT manta_status manta_next_value(manta_stream s, void *out, size_t size_bytes);

/* True when the future is complete (value or error): a get would not wait. False for a stale one. Any thread. */
MANTA_EXPORT bool manta_future_is_ready(manta_future f);

/* Takes the future out of the handler's scope: it must be consumed or released by hand, in any later handler of the same actor or thread. */
MANTA_EXPORT manta_status manta_future_keep(manta_future f);

/* Drops a future that nobody will wait for; the call itself goes on. MANTA_ESTALE when it was consumed or released before. */
MANTA_EXPORT manta_status manta_future_release(manta_future f);

/* Asks for the call or task behind a future to be given up: still queued, it never runs; running, its next wait fails with MANTA_ECANCELLED and
 * manta_is_cancelled() is true. The future completes either way. MANTA_ESTALE when it was consumed or released before. */
MANTA_EXPORT manta_status manta_cancel(manta_future f);
/* The same, and a task that runs in a worker process of a cluster ends with that process if it does not end by itself at once; tasks that waited behind it there run elsewhere. Does not wait. */
MANTA_EXPORT manta_status manta_cancel_force(manta_future f);

/* Calls done(context) once, on some worker thread, when the future is complete; done must not block and may not wait, but may read it with
 * manta_get_value. The future must be kept or belong to a plain thread. A future carries one notification: a second is MANTA_EEXIST. */
MANTA_EXPORT manta_status manta_future_on_ready(manta_future f, void (*done)(manta_future f, void *context), void *context);

/* Adds 1 to an eventfd(2) when the future is complete, so that it can be waited for in any event loop. The caller owns the descriptor. */
MANTA_EXPORT manta_status manta_future_eventfd(manta_future f, int event_fd);

/* Stops a generator from the reader's side and drops what was not read: it is cancelled (see manta_cancel) and its next manta_yield fails. A stream is released by the
 * end of the scope it was made in, read to its end or not; one that was kept, or that a plain thread made outside a scope, wants this (shutdown releases the rest).
 * MANTA_ESTALE when it was released before. */
MANTA_EXPORT manta_status manta_stream_release(manta_stream s);
/* Takes the stream out of the handler's scope: it can be read in later handlers, and wants manta_stream_release. */
MANTA_EXPORT manta_status manta_stream_keep(manta_stream s);

/* For MANTA_GENERATOR bodies, through manta_yield. */
MANTA_EXPORT manta_status manta_yield_value(const char *type_name, const void *value, size_t size_bytes, size_t extra_bytes);

#ifdef __cplusplus
}
#endif
#endif
