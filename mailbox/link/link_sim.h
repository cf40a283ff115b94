/*
 * Links on a simulated network: the protocol is the real one, connections and the clock are not.
 *
 * One thread, a virtual clock that only moves in link_sim_step, and a seed: the same calls with the same seed run the same, and link_sim_hash says so. A connection keeps order, as TCP does; a connection that is cut
 * loses the end of what was under way; a blocked path holds it back. Callbacks run in link_sim_step; they must not open, close or crash an end. link_close and link_stop step the network meanwhile.
 *
 * Faults are told by process ids, so that they outlive an incarnation. Addresses are names ("tcp://ANYTHING"); keys and `insecure` are ignored.
 */
#ifndef MANTA_MAILBOX_LINK_SIM_H
#define MANTA_MAILBOX_LINK_SIM_H

#include "mailbox/link/link.h"

enum { LINK_SIM_ENDS = 512 }; /* processes in one network, also those that are gone */

typedef struct link_sim link_sim;

typedef struct link_sim_path { /* one direction between two processes */
    uint64_t delay_min_ns, delay_max_ns;
    uint64_t bytes_per_s; /* 0: no limit */
    uint32_t twice_ppm;   /* DATA and ACK frames in a million that arrive once more, at once or later on the same connection */
    uint32_t refuse_ppm;  /* connections in a million that fail */
    bool is_blocked;      /* nothing arrives until it is not */
} link_sim_path;

link_sim *link_sim_new(uint64_t seed); /* NULL: out of memory */
void link_sim_free(link_sim *s);       /* all ends are closed; NULL is fine */
/* As link_open. MANTA_EEXIST: an address is bound, or the process is open; MANTA_ELIMIT: more than LINK_SIM_ENDS processes. */
manta_status link_sim_open(link_sim *s, const link_options *options, const link_events *events, void *context, links **out);

uint64_t link_sim_now_ns(const link_sim *s);
/* Moves the clock to the next event, at most to until_ns, and lets it happen. False: there was none. */
bool link_sim_step(link_sim *s, uint64_t until_ns);
void link_sim_run_until(link_sim *s, uint64_t ns);
/* `enter` is called before each callback of an end, with that end's process, and in link_stop also afterwards, with the stopping one. For systems that share an address space and take turns in it. Before any
 * end is open. */
void link_sim_set_enter(link_sim *s, void (*enter)(void *context, uint64_t process), void *context);
uint64_t link_sim_hash(const link_sim *s); /* of everything that happened so far */

/* ---- faults ---- */
link_sim_path *link_sim_path_of(link_sim *s, uint64_t from, uint64_t to);      /* to be changed; NULL: such processes were never open */
void link_sim_partition(link_sim *s, uint64_t a, uint64_t b, bool is_blocked); /* both directions */
void link_sim_cut(link_sim *s, uint64_t a, uint64_t b);                        /* their connections break now */
void link_sim_pause(link_sim *s, uint64_t process, uint64_t ns);               /* it does nothing for so long */
/* The process is gone without a word; its callbacks do not run any more. silent: its machine too, so nobody is told that connections broke. */
void link_sim_crash(links *l, bool silent);

#endif
