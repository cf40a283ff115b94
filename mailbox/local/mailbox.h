/*
 * The mailbox of an actor: an exchange-only MPSC list (Vyukov) with its stub inside and an "unscheduled" bit in the head, and an own lane:
 * a plain list for whoever has the owner's rights anyway while it sends (a worker that found the mailbox at rest, or holds its actor).
 *
 * Any thread pushes; one owner at a time pops. The owner gives the mailbox up with mailbox_try_rest; the push that finds it at rest (bit 0 of head set) gets
 * true and must schedule the owner. An idle mailbox holds no message node.
 * 1. From tail over next every message is reached, except past a push in flight (exchange done, link not yet): then pop says NULL and try_rest says no.
 * 2. After try_rest said yes the caller owns nothing of the mailbox any more.
 * 3. The message that pop returned is freed by the next pop or try_rest: it serves as the list's stub meanwhile. One of the own lane is held
 *    and passed already, so that its handler, or message_done, frees it.
 * 4. The own lane comes before the list, and takes a message only while the list is empty: what one sender pushed to both stays in order.
 */
#ifndef MANTA_MAILBOX_H
#define MANTA_MAILBOX_H

#include "mailbox/local/message.h"

typedef struct mailbox {
    _Alignas(16) _Atomic(message *) stub; /* looks like the `next` of a message */
    _Atomic uintptr_t head;               /* last pushed; bit 0: at rest. Senders write */
} mailbox;

/* The consumer's end lives apart from the senders' line. */
typedef struct mailbox_end {
    message *tail;
    message *own_first, *own_last; /* own_last: valid while own_first is set */
} mailbox_end;

static inline message *mailbox_stub(mailbox *b) { return (message *)(void *)&b->stub; }

/* An empty mailbox at rest. */
static inline void mailbox_init(mailbox *b, mailbox_end *e)
{
    store_relaxed(&b->stub, NULL);
    e->tail = mailbox_stub(b);
    e->own_first = e->own_last = NULL;
    store_relaxed(&b->head, (uintptr_t)mailbox_stub(b) | 1);
}

/* True: it was at rest, the caller must schedule its owner. */
static inline bool mailbox_push(mailbox *b, message *m)
{
    store_relaxed(&m->next, NULL);
    uintptr_t before = exchange_acq_rel(&b->head, (uintptr_t)m);
    message *last = (message *)(before & ~(uintptr_t)1);
    store_release(&last->next, m); /* pairs with mailbox_pop's load */
    return before & 1;
}

/* Owner: a push without an atomic operation. False: the list holds something that must come first. */
static inline bool mailbox_push_own(mailbox *b, mailbox_end *e, message *m)
{
    if (load_relaxed(&b->head) != (uintptr_t)e->tail) return false;
    store_relaxed(&m->next, NULL);
    m->flags |= MESSAGE_HELD | MESSAGE_PASSED;
    if (e->own_first) store_relaxed(&e->own_last->next, m);
    else e->own_first = m;
    e->own_last = m;
    return true;
}

/* The next message, or NULL: empty or a push is in flight. Frees the one before. */
static inline message *mailbox_pop(worker *w, mailbox *b, mailbox_end *e)
{
    message *own = e->own_first;
    if (own) {
        e->own_first = load_relaxed(&own->next);
        return own;
    }
    message *tail = e->tail, *next = load_acquire(&tail->next);
    if (!next) return NULL;
    e->tail = next;
    if (tail != mailbox_stub(b)) message_free(w, tail);
    return next;
}

/* Owner, after pop said NULL: gives the mailbox up. False: something arrived, go on. */
static inline bool mailbox_try_rest(worker *w, mailbox *b, mailbox_end *e)
{
    message *tail = e->tail;
    uintptr_t expected = (uintptr_t)tail;
    if (load_relaxed(&b->head) != expected || e->own_first) return false;
    if (tail == mailbox_stub(b)) return cas_seq(&b->head, &expected, expected | 1);
    bool held = tail->flags & MESSAGE_HELD;
    if (unlikely(held)) tail->flags |= MESSAGE_PASSED;
    store_relaxed(&b->stub, NULL);
    e->tail = mailbox_stub(b); /* all before the exchange: after it neither the mailbox nor a held message is ours */
    if (cas_seq(&b->head, &expected, (uintptr_t)mailbox_stub(b) | 1)) {
        if (likely(!held)) message_free(w, tail);
        return true;
    }
    if (unlikely(held)) tail->flags &= (uint8_t)~MESSAGE_PASSED;
    e->tail = tail;
    return false;
}

/* Takes a mailbox at rest: true: the caller is its owner now. */
static inline bool mailbox_take(mailbox *b)
{
    uintptr_t expected = (uintptr_t)mailbox_stub(b) | 1;
    return load_seq(&b->head) == expected && cas_seq(&b->head, &expected, (uintptr_t)mailbox_stub(b));
}

static inline bool mailbox_is_at_rest(mailbox *b) { return load_relaxed(&b->head) & 1; }

/* Messages not yet popped, at most `most`, counted by anybody: exact while the owner does not pop meanwhile (nodes are type-stable). */
size_t mailbox_count(mailbox *b, const mailbox_end *e, size_t most);

#endif
