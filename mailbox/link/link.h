/*
 * Links: ordered, reliable channels between incarnations of processes.
 *
 * A `links` is this process's end of all of them. A peer is a process, named by a 64-bit id that its owner chose, with an incarnation: the same id with another incarnation is another
 * process. Towards one incarnation every message that link_send accepted arrives exactly once and in order, over any number of broken connections, or on_down says that the peer is
 * gone; a message is opaque bytes. Behind the ops table are link_zmq (sockets, a thread of its own) and link_sim (a simulated network on a virtual clock, one thread).
 *
 * Threads: send, connect and close may be called from any thread. Callbacks run on the links' own thread (sim: in link_sim_step), one at a time; they may call link_send, link_connect and
 * link_drop, and must not wait.
 */
#ifndef MANTA_MAILBOX_LINK_H
#define MANTA_MAILBOX_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <manta/status.h>

typedef struct links links;
typedef struct link_frame link_frame; /* received memory that a message lies in */

typedef struct link_peer {
    uint64_t process, incarnation;
} link_peer;

typedef struct
    link_message { /* what was received; `data` is 8-byte aligned and valid during the callback, or until the frame is released */
    const void *data;
    size_t size_bytes;
    const void *body; /* NULL, or the rest of the message: a large body that link_send did not copy */
    size_t body_bytes;
    link_frame *frame;
} link_message;

typedef struct link_events {
    /* The first handshake with an incarnation. address: where it says that it can be reached, or ""; dialled: what link_connect was given, or NULL when the peer connected to us. */
    void (*on_up)(void *context, link_peer peer, const char *address, const char *dialled);
    void (*on_message)(void *context, link_peer peer, const link_message *m);
    /* The peer said goodbye, was replaced by another incarnation, refused us, or did not answer for down_after_ms: nothing more comes from it, and what was not acknowledged may or may not have
     * arrived. `reason` is a line of text. Once for each on_up. */
    void (*on_down)(void *context, link_peer peer, manta_status status, const char *reason);
    void (*on_no_connection)(void *context, const char *dialled, uint64_t expect, manta_status status,
        const char *reason);                        /* a link_connect that came to nothing */
    void (*on_room)(void *context, link_peer peer); /* link_send gave MANTA_ELIMIT, and would not now */
} link_events;

typedef struct link_options { /* 0 or NULL: the default */
    link_peer self;           /* process must not be 0; incarnation: must not repeat for a process id */
    const char *const
        *bind; /* "ipc://PATH", "tcp://HOST:PORT" (PORT 0 or *: any free one; link_address tells), NULL-terminated; none: only connects */
    const char *public_key, *secret_key; /* Z85, 40 characters; CURVE on tcp when set; ipc is plain with a socket file of mode 0600 */
    const char *const
        *allowed_keys; /* Z85 public keys that may connect, NULL-terminated; NULL: only public_key itself (one key for the whole cluster) */
    bool insecure;     /* allows a tcp address beyond loopback without keys; otherwise link_open gives MANTA_EINVAL */
    uint64_t credit_bytes;  /* unacknowledged and waiting per peer, at which link_send gives MANTA_ELIMIT; 64 MiB */
    uint32_t message_limit; /* bytes of one message; 64 MiB; a peer that sends more is dropped */
    uint32_t peers_limit;   /* 4096; more are refused */
    uint32_t heartbeat_ms;  /* of an idle link; 200 */
    uint32_t down_after_ms; /* silence, with reconnects going on, until on_down; 1800: a loss is known within 2 s */
    uint32_t spin_us;       /* how long the thread looks for work before it sleeps; 5 */
} link_options;

typedef struct link_stats {
    uint64_t messages_sent, messages_received, bytes_sent, bytes_received, frames_sent, frames_received, frames_resent, duplicates,
        reconnects, refused;
} link_stats;

/* MANTA_EINVAL (an option; the error text says which), MANTA_EEXIST (address in use), MANTA_ENOMEM, MANTA_EIO. link_error(): a line about this thread's last failed call. */
manta_status link_open(const link_options *options, const link_events *events, void *context, links **out);
/* Says goodbye to all peers after what was accepted before has been acknowledged, or after linger_ms; no callback runs afterwards (no on_down for it). NULL is fine. */
void link_close(links *l, uint32_t linger_ms);
/* The same in two steps: after link_stop nothing comes any more and link_send gives MANTA_ESHUTDOWN, but who is still in it may finish; link_free frees. */
void link_stop(links *l, uint32_t linger_ms);
void link_free(links *l);                        /* NULL is fine */
const char *link_address(const links *l, int n); /* the n-th bound address, with its real port; NULL: no more */
const char *link_error(void);

/* Begins to connect; on_up or on_no_connection follows, or nothing when that process is up already by another way. `expect` 0: whoever is there. An address that is being connected or up already: MANTA_OK, nothing happens. Retries with backoff until down_after_ms. */
manta_status link_connect(links *l, const char *address, uint64_t expect);
/* Gives the peer up: on_down follows with this status. */
void link_drop(links *l, uint64_t process, manta_status why);

/* Queues a message of the two parts, head then body (either may be empty; both are copied, but not a body of more than 32 KiB with body_free). body_free: called once with (body, hint) from any thread when the bytes are not needed any more, also on failure. MANTA_ENOTFOUND: no such peer is up; MANTA_ELIMIT: credit_bytes are out;
 * MANTA_ETOOLONG; MANTA_ENOMEM; MANTA_ESHUTDOWN. */
manta_status link_send(links *l, uint64_t process, const void *head, size_t head_bytes, const void *body, size_t body_bytes,
    void (*body_free)(void *body, void *hint), void *hint);
bool link_is_up(const links *l, uint64_t process, uint64_t *out_incarnation);

manta_status link_keygen(char public_key[41], char secret_key[41]); /* Z85 */

void link_frame_retain(link_frame *f); /* keeps all messages of the frame in memory: copy small ones instead */
void link_frame_release(link_frame *f);
void link_stats_get(const links *l, link_stats *out);

#endif
