/*
 * Links over ZeroMQ: the state of the thread that owns all sockets: a ROUTER that others connect to, and a DEALER for each connection that we began. ZeroMQ never reconnects a DEALER: it would lose frames silently.
 */
#ifndef MANTA_MAILBOX_LINK_ZMQ_H
#define MANTA_MAILBOX_LINK_ZMQ_H

#include <poll.h>

#include "mailbox/link/link_internal.h"

typedef struct link_zmq {
    char public_key[41], secret_key[41];
    char (*allowed)[41];
    int n_allowed;
    void *zmq, *router, *zap;
    int wake_fd;
    pthread_t thread;
    pthread_mutex_t turn; /* held by who may use the sockets: the thread, but while it sleeps, a sender */
    uint64_t sent_ns;     /* when a sender last used them */
    bool is_quiet;        /* the router: nothing to receive, and not used since that was seen */
    int passes;           /* to come, over those that are not quiet */
    struct pollfd *items;
    int items_room;
} link_zmq;

static inline link_zmq *zmq_of(const links *l) { return l->net; }

/* ---- curve.c ---- */
bool curve_set(link_zmq *z, void *socket, bool is_server);
bool curve_start(link_zmq *z);
void curve_answer(links *l); /* a request of ZeroMQ's authentication */

#endif
