/*
 * Links over ZeroMQ: the records of the I/O thread, and what its files offer each other.
 *
 * One thread owns all sockets: a ROUTER that others connect to, and a DEALER for each connection that we began. One connection carries both directions of a pair; when both sides begin one, that of the
 * smaller process id stays. A DEALER is one connection epoch: ZeroMQ never reconnects it (it would lose frames silently), we open another and resume.
 *
 * Out: senders copy messages into the frame that is being built, under the session's lock; the thread takes what there is, gives frames their numbers and keeps them until they are acknowledged.
 */
#ifndef MANTA_MAILBOX_LINK_ZMQ_H
#define MANTA_MAILBOX_LINK_ZMQ_H

#include <pthread.h>
#include <zmq.h>

#include "mailbox/link/frame.h"
#include "mailbox/link/link.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/atomics.h"
#include "scheduler/base/id_table.h"
#include "scheduler/os/os.h"

enum {
    LINK_ADDRESSES = 8,
    FRAME_BYTES = 64 << 10,
    FRAME_FIRST_BYTES = 4 << 10,
    LARGE_BYTES = 32 << 10,
    ACK_FRAMES = 16,
    ACK_MS = 5,
    ROUTE_BYTES = 5
};

typedef struct out_frame {
    struct out_frame *next;
    uint64_t sequence; /* 0: not sent yet */
    uint32_t count;
    size_t bytes, credit;  /* credit: of its messages */
    unsigned char *memory; /* until it is a message */
    zmq_msg_t message;
} out_frame;

typedef struct frame_list {
    out_frame *first, *last;
} frame_list;

typedef struct dial { /* a connection that we began */
    struct dial *next;
    char address[FRAME_ADDRESS_LIMIT + 1];
    uint64_t expect, began_ns, epoch_ns, retry_ns; /* retry_ns: when the next DEALER is to be opened; 0: one is open */
    uint32_t tries;
    void *dealer, *monitor;
    struct session *session;  /* after WELCOME */
    bool is_welcome, is_over; /* is_welcome: on this epoch */
} dial;

typedef struct link_counts {
    _Atomic uint64_t messages_sent, messages_received, bytes_sent, bytes_received, frames_sent, frames_received, frames_resent, duplicates,
        reconnects, refused;
} link_counts;

typedef struct session {
    struct links *links;
    uint64_t process, incarnation;
    char address[FRAME_ADDRESS_LIMIT + 1];
    _Atomic uint32_t is_dirty;
    struct session *dirty_next;
    pthread_mutex_t lock; /* down to is_starved */
    out_frame *building;
    size_t room;
    frame_list sealed;
    uint64_t credit_used;
    bool is_starved;
    _Atomic uint32_t drop; /* status + 1 of link_drop */
    /* the thread's: */
    bool is_dead, is_blocked;
    frame_list unsent, unacked;
    uint64_t next_sequence, expected, acked, heard_ns, said_ns, ack_due_ns;
    uint32_t to_ack;
    dial *dial;
    uint32_t route; /* of the ROUTER; 0: none */
} session;

struct links {
    link_peer self;
    link_events events;
    void *context;
    uint64_t credit_bytes, heartbeat_ns, down_after_ns, spin_ns;
    uint32_t message_limit, peers_limit;
    char public_key[41], secret_key[41];
    char (*allowed)[41];
    int n_allowed;
    char addresses[LINK_ADDRESSES][FRAME_ADDRESS_LIMIT + 1];
    int n_addresses;
    void *zmq, *router, *zap;
    int wake_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* sessions (changed by the thread alone), new_dials */
    id_table sessions;
    dial *new_dials;
    _Atomic(session *) dirty;
    _Atomic uint32_t parked, closing;
    uint64_t close_ns; /* when to stop waiting for acknowledgements */
    /* the thread's: */
    id_table routes; /* of the ROUTER, by number */
    dial *dials;
    zmq_pollitem_t *items;
    int items_room;
    uint64_t now_ns;
    link_counts counts; /* read by others */
};

manta_status link_fail(manta_status status, const char *format, ...) __attribute__((format(printf, 2, 3))); /* sets link_error */

/* ---- session.c ---- */
session *session_find(links *l, uint64_t process);
session *session_new(links *l, const frame_hello *hello); /* NULL: out of memory, or too many */
void session_down(session *s, manta_status status, const char *reason, bool tell);
void session_pull(session *s);                                       /* what senders have left */
void session_pump(session *s);                                       /* sends what can be sent */
void session_resume(session *s, uint64_t expected);                  /* on a new connection: again from there */
void session_say(session *s, uint8_t kind);                          /* ACK or BYE */
void session_receive(session *s, zmq_msg_t *m, const frame_head *h); /* DATA; takes m's content */
void session_acked(session *s, uint64_t expected);
void session_mark(session *s); /* dirty: any thread */

/* ---- connect.c ---- */
void *socket_new(links *l, int kind);
bool dial_open(links *l, dial *d);
void dial_close(dial *d);
void dial_broken(links *l, dial *d, const char *why);                      /* tries again, or gives up */
void dial_end(links *l, dial *d, manta_status status, const char *reason); /* is over; tells who waits */
void dials_tick(links *l);
void take_dial_frame(links *l, dial *d, zmq_msg_t *m);
void take_router_frame(links *l, uint32_t route, zmq_msg_t *m);
static inline bool session_is_connected(const session *s) { return s->route || (s->dial && s->dial->is_welcome); }
int session_send(session *s, zmq_msg_t *m); /* 0, or errno; m is consumed when 0 */

/* ---- curve.c ---- */
bool curve_set(links *l, void *socket, bool is_server);
bool curve_start(links *l);
void curve_answer(links *l); /* a request of ZeroMQ's authentication */

#endif
