/*
 * Other processes: what the files of actor/node share, and what the runtime asks of them (the first part).
 *
 * Handles: an actor of another process is named by a handle whose low half has the bit REMOTE_BIT and an index into the table of proxies; so it is no local slot, and the runtime's slow
 * paths for dead actors lead here. A proxy says {process, id there}. Proxies of a process go stale when it is down.
 *
 * Messages to a proxy are packed by their sender's thread and leave by the link to its process, in order; what arrives is unpacked on the link's thread and posted like a local message. A call
 * is remembered by its number until its answer comes or the peer is down; whoever takes it out of the table completes its future.
 */
#ifndef MANTA_NODE_H
#define MANTA_NODE_H

#include <manta/cluster.h>

#include "actor/runtime/internal.h"
#include "mailbox/link/link.h"
#include "scheduler/base/id_table.h"

/* ---- for the runtime ---- */

#define REMOTE_BIT 0x80000000u
static inline bool is_remote(uint64_t id) { return id & REMOTE_BIT && id >> 32; }

/* Takes a message for a proxy. may_wait: until there is room on the link. Its reply is completed later, or at once with an error. */
uint32_t node_pid(void); /* of this process, also if it is simulated */
manta_status node_post(worker *w, uint64_t to, message *m, bool may_wait);
/* KIND_STOP and a kill. MANTA_EDEAD */
manta_status node_stop_actor(worker *w, uint64_t to, bool kill);
bool node_is_alive(uint64_t id); /* as far as is known here */
void node_cancel(worker *w, future *f, uint64_t target);
void node_leased(worker *w, uint64_t process, message *m);       /* the same for a task of a lease; does not wait */
void node_credit(const future *task, uint64_t call, uint32_t n); /* the reader of that generator has taken n values */
void node_recall(worker *w, uint64_t process);                   /* leased tasks that it has not begun come back, see owner_returned */
void node_task(worker *w, uint64_t process, message *m);         /* runs a task there; takes m, whose reply is completed in any case */
future *node_call_named(worker *w, uint64_t to, const char *name, manta_bytes payload); /* NULL: error_set says why */
/* Waits. lease: what the actor holds; 0: nothing. */
/* lease: that it is to hold; uid: its row in the control store; 0: none. */
manta_actor node_spawn(uint64_t process, const manta_options *o, manta_class *cls, const void *arguments, uint64_t lease, uint64_t uid);
manta_status node_start(const manta_config *config); /* error_set says why not */
void node_free(void);                                /* after the pool has stopped */
void node_stop(void);                                /* after the last actor, before the pool stops */

struct peer;
/* Generators between processes (actor/runtime/stream_remote.c). */
uint32_t stream_room(future *task);        /* of the reader; 0: it is no generator's future */
struct stream *stream_local(future *task); /* the generator is to run in this process after all; NULL: it is none */
bool stream_arrived(
    worker *w, future *task, uint64_t call, const void *value, size_t extra_bytes); /* false: more than was asked for, or no generator */
struct stream *stream_outgoing(const manta_method *method, struct peer *p, uint64_t call, uint32_t limit);
void stream_credit(worker *w, struct stream *s, uint32_t n);

/* ---- peers ---- */

typedef enum peer_state { PEER_CONNECTING, PEER_UP, PEER_DOWN } peer_state;

typedef struct relation_record { /* a link or monitor with an actor here */
    uint64_t here, there;        /* local id; proxy handle */
    uint64_t monitor;            /* 0: a link */
    const manta_method *method;  /* of a monitor whose watcher is here */
    bool is_watcher;             /* the watcher is here */
} relation_record;

typedef struct waiting { /* a packed message for a process that is being connected, or a sender that waits for room */
    struct waiting *next;
    future *room;
    size_t bytes;
    unsigned char data[];
} waiting;

typedef struct borrowed { /* a sent message, result or value of a generator, whose refs are held here until the peer has taken its own */
    message *message;
    future *result;
    struct item *value;
    const manta_method *generator;
} borrowed;

typedef struct peer {
    uint64_t process;
    char address[MANTA_ADDRESS_BYTES];
    pthread_mutex_t lock; /* all below */
    peer_state state;
    uint64_t down_ns;        /* since when it is down */
    bool said_goodbye;       /* it is down because it has shut down */
    char reason[256];        /* why */
    id_table calls, serving; /* by call number: futures of ours; inbound calls of theirs */
    id_table introduced;     /* processes it has been told of */
    id_table borrowed;       /* by number */
    uint64_t next_borrow;
    relation_record *relations;
    uint32_t n_relations, room_relations;
    waiting *first, *last; /* messages until it is up, or has room */
    size_t waiting_bytes;
    waiting *senders; /* who waits for room, or for its hello */
    bool has_hello, shares_store;
    _Atomic uint32_t downs;     /* how often it went down */
    uint32_t downs_seen;        /* by the transfer thread */
    uint64_t store_key;         /* the same for processes of one store */
    _Atomic bool has_address;   /* others can connect to it */
    _Atomic uint32_t under_way; /* calls to it */
    _Atomic uint32_t jobs;      /* of its messages, waiting for the transfer thread */
    _Atomic uint64_t bulk;      /* bytes of chunks on the way to it */
    uint64_t sent;
    _Atomic uint64_t received; /* by the link's thread */
} peer;

enum { STORE_NAME_TEXT = 640 };
typedef struct node_state {
    bool is_on;
    uint64_t process;
    links *links;
    pthread_mutex_t lock; /* peers, proxies being made */
    pthread_mutex_t store_lock;
    id_table peers;
    uint64_t service; /* local actor that answers for the process */
    char store_name
        [STORE_NAME_TEXT]; /* of the object store: the same text means the same store; "": none that is shared. Under store_lock */
    _Atomic uint64_t next_call;
} node_state;
extern node_state the_node;

/* ---- proxies.c ---- */
typedef struct proxy {
    uint64_t process, id;
    peer *peer;
} proxy;
bool proxies_start(void);
void proxies_stop(void);
uint64_t proxy_of(uint64_t process, uint64_t id); /* the handle; a local id for this process; 0: out of memory or table full */
bool proxy_get(uint64_t handle, proxy *out);      /* false: stale */
void proxies_retire(uint64_t process);
peer *peer_get(uint64_t process, bool make); /* NULL: unknown, or out of memory */

/* ---- methods.c ---- */
bool methods_start(void);
void methods_stop(void);
uint64_t method_hash(const manta_method *method);
const manta_method *method_find(uint64_t hash); /* NULL: unknown here */

/* ---- wire.c ---- */
enum {
    WIRE_CALL = 1, /* to, from, call (0: one way), method; arguments */
    WIRE_TASK,     /* from, call, method; arguments */
    WIRE_NAMED,    /* to, from, call; the method's name, then the arguments: for who does not know signatures */
    WIRE_REPLY,    /* call, status; the result, or the error */
    WIRE_CANCEL,   /* call */
    WIRE_STOP,
    WIRE_KILL,      /* to */
    WIRE_LINK,      /* to, from */
    WIRE_UNLINK,    /* to, from */
    WIRE_EXIT,      /* to, from, status; text */
    WIRE_MONITOR,   /* to, from, call: the monitor's id */
    WIRE_DEMONITOR, /* to, from, call */
    WIRE_DOWN,      /* to, from, call, status; text */
    WIRE_WATCH,     /* to, call: answered by a WIRE_REPLY with the exit status */
    WIRE_INTRODUCE, /* from: a process; its address */
    WIRE_HELLO,     /* the sender's facts; first message of a link */
    WIRE_TAKEN,     /* call: the number of a message with refs, which has arrived */
    WIRE_JOIN,      /* from: an actor; status 1: a topic; name, 0, and for a topic: type, 0 */
    WIRE_LEAVE,     /* as WIRE_JOIN, without a type; name "": all actors leave everything */
    WIRE_ASK,       /* status 1: a topic; name, 0: who has members of it? */
    WIRE_PUBLISH,   /* from: the publisher; topic, type, [value] */
    WIRE_HOLD,      /* call: my number for it, status 1: answer; an id: keep that object for me. actor/transfer has these */
    WIRE_HELD,      /* call, status: the answer */
    WIRE_RELEASE,   /* call: not any more; status 1: I have a copy */
    WIRE_GONE,      /* call: I have none any more */
    WIRE_LOCATE,    /* call: I need it */
    WIRE_OBJECT,    /* call, status: its bytes, its size, where to get it, or why there is none */
    WIRE_FETCH,     /* call: chunks of an object */
    WIRE_CHUNK,     /* call, method: which one; its bytes */
    WIRE_REFUSED,   /* call, status: no chunks */
    WIRE_LEASED,    /* as WIRE_TASK, to a worker that the sender has leased: such tasks begin one after the other */
    WIRE_RECALL,    /* the sender's leased tasks that have not begun are to be given back */
    WIRE_RETURNED,  /* call: such a task; its arguments */
    WIRE_YIELD,     /* call: a generator's; a value */
    WIRE_CREDIT,    /* call; to: so many values have been taken */
    WIRE_BORROWED,  /* status 1: I have a ref of this root, which you know how to make; 0: not any more */
    WIRE_RECORD,    /* how an object was made that a later message names: a record of lineage */
    WIRE_KINDS
};
typedef struct wire_head {
    uint8_t kind, zero[3];
    uint32_t status;
    uint64_t to, from, call, method;
    uint64_t borrow; /* not 0: the payload holds refs, and this is the number to be answered by WIRE_TAKEN */
} wire_head;
_Static_assert(sizeof(wire_head) == 48, "layout on the wire");

peer *pack_target(const manta_writer *w); /* the peer that this writer packs for; NULL: none */
/* This thread's writer, empty; packs for that peer until pack_end, which returns false when a value could not be packed (*out_status). NULL: no memory. */
manta_writer *pack_begin(peer *p);
void peer_introduce(peer *to, uint64_t process); /* tells it that process's address, once */
void pack_note_process(uint64_t process);        /* a handle of that process is being packed */
bool pack_end(manta_writer *w, manta_status *out_status);
/* Sends head and bytes. may_wait: until there is room, else it is kept for later. MANTA_EUNKNOWN: the peer is down. MANTA_ELIMIT: too much is kept. */
void peer_flush(peer *p); /* under its lock: what was kept */
manta_status peer_send(peer *p, const wire_head *h, const void *data, size_t bytes, bool may_wait);
void peer_introduce(peer *to, uint64_t process); /* its address, once */
void peer_say(peer *p, const wire_head *h, const void *data,
    size_t bytes); /* at once; somebody waits for it, so when it cannot be sent the link is dropped */
void pack_error(manta_writer *w, const manta_error *error);
manta_error *unpack_error(const void *data, size_t bytes, manta_status status);

/* ---- outbound.c ---- */
future *call_take(peer *p, uint64_t call); /* NULL: answered already */
uint64_t borrow(peer *p, borrowed what);   /* keeps it until borrowed_return; 0: no memory, or the peer is down */
void borrowed_return(worker *w, peer *p, uint64_t number);
void result_free(worker *w, future *f);
void borrowed_return_all(worker *w, peer *p);

/* ---- inbound.c ---- */
void on_peer_message(void *context, link_peer from, const link_message *m);
/* A one-way message for an actor here out of bytes; those that do not unpack are dropped. */
void inbound_post(worker *w, peer *p, const wire_head *h, uint64_t to, const manta_method *method, const void *data, size_t bytes);
void serve_cancel_all(worker *w, peer *p); /* nobody waits for these any more */

/* ---- relations.c ---- */
bool relation_note(peer *p, relation_record r);
void relation_forget(peer *p, uint64_t here, uint64_t there, uint64_t monitor_id, bool is_watcher); /* is_watcher: of a monitor */
bool relation_take(peer *p, uint64_t monitor_id, relation_record *out);                             /* of a watcher here */
uint32_t relations_take(peer *p, relation_record **out); /* all, under the peer's lock; for relations_end. How many */
void relations_end(worker *w, relation_record *items, uint32_t n, const char *reason); /* of a process that is gone; frees them */

void peer_wake_senders(worker *w, peer *p);                               /* for another try */
bool peer_wait(peer *p, bool (*is_over)(const peer *p), const char *why); /* until is_over; false: the wait was interrupted */

/* ---- service.c ---- */
uint64_t service_start(void); /* the actor; 0: error_set says why */

/* ---- cluster.c ---- */
void store_name(const char *path,
    char out[STORE_NAME_TEXT]); /* of a store that is there, on this start of this machine; "": none, or not to be found */
bool store_is_named(const void *name, size_t bytes); /* that is this process's store */
/* From now on objects are in the store of that name, when this process was given none of its own and can open it. No other process knows this one's objects yet. */
void store_use(manta_str name);
void on_peer_up(void *context, link_peer who, const char *address, const char *dialled);
void on_no_connection(void *context, const char *dialled, uint64_t expect, manta_status status, const char *reason);
void on_peer_down(void *context, link_peer who, manta_status status, const char *reason);
void on_peer_room(void *context, link_peer who);

#endif
