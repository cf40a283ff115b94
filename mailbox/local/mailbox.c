#include "mailbox/local/mailbox.h"

__attribute__((no_sanitize("thread"))) static size_t own_count(const mailbox_end *e, size_t most)
{
    size_t n = 0;
    message *last = *(message *const volatile *)&e->own_last;
    for (message *m = *(message *const volatile *)&e->own_first; m && n < most; m = *(message *volatile *)&m->next) {
        n++;
        if (m == last) break;
    }
    return n;
}

/* tail is the last message popped (or the stub), so what follows it is what waits. A racing owner may free nodes under us; they stay mapped, and
 * the bound ends any wandering through a free list. Plain volatile reads: what sanitizers see of atomics cannot be switched off. */
__attribute__((no_sanitize("thread"))) size_t mailbox_count(mailbox *b, const mailbox_end *e, size_t most)
{
    size_t n = own_count(e, most);
    message *m = *(message *const volatile *)&e->tail, *last = (message *)(*(volatile uintptr_t *)&b->head & ~(uintptr_t)1);
    if (!m) return n;
    while (n < most && m != last && (m = *(message *volatile *)&m->next)) n++;
    return n;
}
