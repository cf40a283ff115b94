/*
 * Links, inside: the records of the protocol, and the seam below it.
 *
 * The protocol (links.c, connect.c, session.c) is one; what carries its frames is behind link_ops: sockets with a thread (link_zmq.c), or a simulated network (link_sim.c). One connection carries both directions
 * of a pair; when both sides begin one, that of the smaller process id stays. A connection is never mended: who began it opens another, and the session resumes.
 *
 * Out: senders copy messages into the frame that is being built, under the session's lock; the owner (the thread, or the simulation) takes what there is, gives frames their numbers and keeps them until they are
 * acknowledged. A zmq_msg_t is only counted memory here: it needs no socket.
 */
#ifndef MANTA_MAILBOX_LINK_INTERNAL_H
#define MANTA_MAILBOX_LINK_INTERNAL_H

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
    SEND_FRAMES = 64 /* that a connection takes before it is full */
};

typedef struct out_frame {
    struct out_frame *next;
    uint64_t sequence; /* 0: not sent yet */
    uint32_t count;
    size_t bytes, credit;  /* credit: of its messages */
    unsigned char *memory; /* until it is a message */
    zmq_msg_t message;
    void *body; /* the rest of its only message, somebody else's memory; NULL: none */
    size_t body_bytes;
    void (*body_free)(void *body, void *hint); /* until it is a message */
    void *body_hint;
    zmq_msg_t body_message;
} out_frame;

typedef struct frame_list {
    out_frame *first, *last;
} frame_list;

typedef struct dial { /* a connection that we began */
    struct dial *next;
    struct links *links;
    char address[FRAME_ADDRESS_LIMIT + 1];
    uint64_t expect, began_ns, epoch_ns, retry_ns; /* retry_ns: when the next DEALER is to be opened; 0: one is open */
    uint32_t tries;
    void *connection, *monitor;           /* of link_ops; NULL: none is open */
    struct session *session;              /* after WELCOME */
    bool is_reached, is_welcome, is_over; /* the first two: on this epoch */
    bool is_quiet;                        /* link_ops': nothing to receive, and not used since that was seen */
    int item, items;                      /* link_ops': where it is polled */
} dial;

/* What carries frames. It reports a connection that we began by dial_connected, dial_broken or dial_end, and frames by take_dial_frame and take_route_frame, always on the owner's thread. */
typedef struct link_ops {
    bool (*dial_open)(dial *d); /* sets d->connection; false: errno says why */
    void (*dial_close)(dial *d, bool after_goodbye);
    /* body: NULL, or the frame's second part. 0: both are taken; else errno: EAGAIN, or the connection is gone. */
    int (*dial_send)(dial *d, zmq_msg_t *m, zmq_msg_t *body);
    int (*route_send)(struct links *l, uint32_t route, zmq_msg_t *m, zmq_msg_t *body);
    void (*wake)(struct links *l); /* any thread: there is work, and `parked` is set, or a new dial */
    void (*work)(struct links *l); /* any thread, without locks: there is something to send, and `parked` was set; sends it, or wakes */
    void (*stop)(struct links *l, uint64_t linger_ns);
    void (*free)(struct links *l); /* connections are closed already */
} link_ops;

typedef struct link_counts {
    _Atomic uint64_t messages_sent, messages_received, bytes_sent, bytes_received, frames_sent, frames_received, frames_resent, duplicates,
        reconnects, refused;
} link_counts;

typedef struct session {
    struct links *links;
    uint64_t process, incarnation, number;
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

enum link_sabotage { /* deliberate faults, for tests that must notice them */
    LINK_SABOTAGE_NONE,
    LINK_SABOTAGE_RESEND,     /* a new connection does not resend what was lost with the old one */
    LINK_SABOTAGE_DUPLICATES, /* a frame that was there already is taken again */
    LINK_SABOTAGE_INCARNATION /* another incarnation goes on where the old one stopped */
};

struct links {
    link_peer self;
    link_events events;
    void *context;
    const link_ops *ops;
    void *net; /* of link_ops */
    uint64_t credit_bytes, heartbeat_ns, down_after_ns, spin_ns;
    uint32_t message_limit, peers_limit;
    char addresses[LINK_ADDRESSES][FRAME_ADDRESS_LIMIT + 1];
    int n_addresses;
    enum link_sabotage sabotage;
    bool copies_bodies; /* large ones too */
    uint8_t lowest_version, highest_version;
    pthread_mutex_t lock; /* sessions (changed by the owner alone), new_dials */
    id_table sessions;
    dial *new_dials;
    _Atomic(session *) dirty;
    _Atomic uint32_t parked, closing;
    uint64_t close_ns; /* when to stop waiting for acknowledgements */
    /* the owner's: */
    id_table graves; /* by process: its sessions that are over */
    id_table routes; /* connections that others began, by number */
    dial *dials;
    uint64_t now_ns, ticked_ns, beat_ns; /* beat: the next time for signs of life */
    link_counts counts;                  /* read by others */
};

/* ---- links.c ---- */
manta_status link_fail(manta_status status, const char *format, ...) __attribute__((format(printf, 2, 3))); /* sets link_error */

links *links_new(const link_options *o, const link_events *events, void *context, const link_ops *ops); /* NULL: link_error says why */
void links_free(links *l);                                                                              /* and its net, by its ops */
bool address_is_valid(const char *address);                                                             /* else link_error says why */
bool links_take_dirty(links *l);                                                                        /* sends what senders left */
bool links_tick(links *l);                           /* acknowledgements, signs of life, silent peers. True: somebody waits for room */
uint64_t links_due(const links *l, bool is_blocked); /* when to tick again at the latest */
bool links_has_new_dials(links *l);
bool links_is_done(links *l); /* of closing ones: everything is acknowledged, or it is late */
void links_say_goodbye(links *l);

/* ---- session.c ---- */
session *session_find(links *l, uint64_t process);
uint64_t session_last(const links *l, uint64_t process, uint64_t incarnation); /* number of the last one that is over; 0: none */
void session_bury(session *s, uint64_t number);                                /* all up to it are over */
void session_graves_free(links *l);
session *session_new(links *l, const frame_hello *hello, uint64_t number); /* NULL: out of memory, or too many */
void session_down(session *s, manta_status status, const char *reason, bool tell);
void session_pull(session *s);                                                        /* what senders have left */
void session_pump(session *s);                                                        /* sends what can be sent */
void session_resume(session *s, uint64_t expected);                                   /* on a new connection: again from there */
void session_say(session *s, uint8_t kind);                                           /* ACK or BYE */
void session_receive(session *s, zmq_msg_t *m, zmq_msg_t *body, const frame_head *h); /* DATA; takes their content */
void session_acked(session *s, uint64_t expected);
void session_mark(session *s); /* dirty: any thread */

/* ---- connect.c ---- */
void dial_reached(links *l, dial *d);                                      /* somebody listens there */
void dial_connected(links *l, dial *d);                                    /* says HELLO */
void dial_broken(links *l, dial *d, const char *why);                      /* tries again, or gives up */
void dial_end(links *l, dial *d, manta_status status, const char *reason); /* is over; tells who waits */
void dials_tick(links *l);
void take_dial_frame(links *l, dial *d, zmq_msg_t *m, zmq_msg_t *body); /* body: NULL, or a second part */
void take_route_frame(links *l, uint32_t route, zmq_msg_t *m, zmq_msg_t *body);
static inline bool session_is_connected(const session *s) { return s->route || (s->dial && s->dial->is_welcome); }
int session_send(session *s, zmq_msg_t *m, zmq_msg_t *body); /* 0, or errno; they are consumed when 0 */

static inline void dial_close(dial *d, bool after_goodbye)
{
    if (d->connection) d->links->ops->dial_close(d, after_goodbye);
    d->connection = d->monitor = NULL;
    d->is_welcome = false;
}

#endif
