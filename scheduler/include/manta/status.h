/*
 * Status codes of Manta: one table makes the enum, the wire value, the name, the text and the answer to "may this be retried".
 *
 * A function that can fail returns manta_status; MANTA_OK is 0 and the values below never change (they travel between nodes).
 * Any thread may call the functions here.
 */
#ifndef MANTA_STATUS_H
#define MANTA_STATUS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MANTA_EXPORT __attribute__((visibility("default")))
#define MANTA_MUST_CHECK __attribute__((warn_unused_result))
#define MANTA_PRINTF(text_, first_) __attribute__((format(printf, text_, first_)))
#else
#error "manta needs a compiler with GNU C extensions (gcc or clang)"
#endif

/* X(name, wire value, text, may be retried) */
#define MANTA_STATUS_TABLE(X) \
    X(OK, 0, "success", false) \
    X(EINVAL, 1, "invalid argument", false) \
    X(ENOMEM, 2, "out of memory", true) \
    X(ETIMEDOUT, 3, "timed out", true) \
    X(ECANCELLED, 4, "cancelled", false) \
    X(EDEAD, 5, "the actor is dead or was never spawned", false) \
    X(ESTALE, 6, "the handle was already consumed or released", false) \
    X(ENOTFOUND, 7, "not found", false) \
    X(EEXIST, 8, "exists already", false) \
    X(ETYPE, 9, "wrong type", false) \
    X(ELIMIT, 10, "a limit was reached", true) \
    X(EMAILBOXFULL, 11, "the mailbox is full", true) \
    X(EDROPPED, 12, "the message was dropped by the mailbox's overflow policy", true) \
    X(ESHUTDOWN, 13, "the system is shutting down", false) \
    X(ECONTEXT, 14, "not allowed in this context", false) \
    X(EFAILED, 15, "the handler failed", false) \
    X(EINIT, 16, "the actor's init failed", false) \
    X(EEXIT, 17, "the actor exited before it answered", false) \
    X(EKILLED, 18, "killed", false) \
    X(ENOMETHOD, 19, "no such method", false) \
    X(EDECODE, 20, "malformed MessagePack", false) \
    X(ETOOLONG, 21, "too long", false) \
    X(ENOTREADY, 22, "not ready", true) \
    X(EEND, 23, "no more values", false) \
    X(EUNKNOWN, 24, "unknown outcome: the call may have run", false) \
    X(ESTOREFULL, 25, "the object store is full", true) \
    X(EIO, 26, "input or output failed", true) \
    X(EINTERRUPTED, 27, "the wait was interrupted", true) \
    X(ERESTARTS, 28, "a child restarted too often", false) \
    X(EUNSUPPORTED, 29, "not supported here", false) \
    X(EOBJECTLOST, 30, "the object is lost with the process that had it", false) \
    X(ENOTLEADER, 31, "this server does not lead", true)

typedef enum manta_status {
#define MANTA_STATUS_ENUM(name, value, text, retry) MANTA_##name = value,
    MANTA_STATUS_TABLE(MANTA_STATUS_ENUM)
#undef MANTA_STATUS_ENUM
} manta_status;

/* The name of a status as written in C ("MANTA_ETIMEDOUT"); "MANTA_?" for a value that is none. Static memory. */
MANTA_EXPORT const char *manta_status_name(manta_status status);

/* One line of English without a full stop; "unknown status" for a value that is none. Static memory. */
MANTA_EXPORT const char *manta_status_text(manta_status status);

/* True when the same request may succeed later without any change by the caller. */
MANTA_EXPORT bool manta_status_is_retryable(manta_status status);

#ifdef __cplusplus
}
#endif
#endif
