/*
 * One end of links for tests: counts what comes, checks that numbered messages come in order, and tells what happened last.
 */
#ifndef MANTA_TEST_LINK_END_H
#define MANTA_TEST_LINK_END_H

#include <stdatomic.h>

#include "mailbox/link/link.h"
#include "test/support/test.h"

typedef struct link_end {
    links *links;
    _Atomic int ups, downs, rooms, failures;
    _Atomic int status; /* of the last down or failure */
    _Atomic uint64_t received, bytes, wrong;
    _Atomic uint64_t next; /* number that the next message should begin with */
    _Atomic uint64_t peer;
    char reason[512];
} link_end;

static inline void end_up(void *context, link_peer peer, const char *address, const char *dialled)
{
    link_end *e = context;
    (void)address, (void)dialled;
    e->peer = peer.process;
    e->ups++;
}

/* Messages are 8 bytes of number, then bytes that follow from it. */
static inline void end_message(void *context, link_peer peer, const link_message *m)
{
    link_end *e = context;
    uint64_t number = 0;
    (void)peer;
    if (m->size_bytes >= 8) {
        memcpy(&number, m->data, 8);
        bool whole = (uintptr_t)m->data % 8 == 0;
        const unsigned char *p = m->data;
        for (size_t i = 8; i < m->size_bytes && whole; i++) whole = p[i] == (unsigned char)(number + i);
        e->wrong += number != e->next || !whole;
        e->next = number + 1;
    }
    e->bytes += m->size_bytes;
    e->received++;
}

static inline void end_down(void *context, link_peer peer, manta_status status, const char *reason)
{
    link_end *e = context;
    (void)peer;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    e->status = (int)status;
    e->downs++;
}

static inline void end_failed(void *context, const char *dialled, uint64_t expect, manta_status status, const char *reason)
{
    link_end *e = context;
    (void)dialled, (void)expect;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    e->status = (int)status;
    e->failures++;
}

static inline void end_room(void *context, link_peer peer)
{
    (void)peer;
    ((link_end *)context)->rooms++;
}

static const link_events end_events = {end_up, end_message, end_down, end_failed, end_room};

/* process 1, 2, ...; bind may be NULL. */
static inline manta_status end_open_with(link_end *e, const char *bind, link_options o)
{
    const char *addresses[2] = {bind, NULL};
    memset(e, 0, sizeof *e);
    if (!o.self.incarnation) o.self.incarnation = 1;
    o.bind = addresses;
    return link_open(&o, &end_events, e, &e->links);
}

static inline manta_status end_open(link_end *e, uint64_t process, const char *bind)
{
    return end_open_with(e, bind, (link_options){.self = {process, 1}});
}

/* Message `number` of `size` bytes. */
static inline manta_status end_try_send(link_end *e, uint64_t to, uint64_t number, size_t size)
{
    static _Thread_local unsigned char data[4 << 20];
    memcpy(data, &number, 8);
    for (size_t i = 8; i < size; i++) data[i] = (unsigned char)(number + i);
    return link_send(e->links, to, data, size < 8 ? size : 8, data + 8, size < 8 ? 0 : size - 8, NULL, NULL);
}

/* Waits for room. */
static inline manta_status end_send(link_end *e, uint64_t to, uint64_t number, size_t size)
{
    for (double end = test_now_s() + 60; test_now_s() < end;) {
        manta_status status = end_try_send(e, to, number, size);
        if (status != MANTA_ELIMIT) return status;
        sched_yield();
    }
    return MANTA_ETIMEDOUT;
}

#endif
