/*
 * Attaching a second process to a node's store, and taking over a store whose processes died.
 */
#include <signal.h>
#include <unistd.h>

#include "objstore/store.h"
#include "tools/benchmarks/store/crew.h"

enum { ATTACHES = 20, SMALL = 64, A_MILLION = 1000000 };

static store *open_as(const settings *s, store_mode mode)
{
    char path[PATH_BYTES];
    store *opened = NULL;
    path_in(s, "store", path);
    store_options options = {.mode = mode, .path = path, .name = "bench", .capacity_bytes = s->memory, .max_objects = MAX_OBJECTS};
    if (store_open(&options, &opened) != MANTA_OK) complain("%s: %s", path, store_error());
    return opened;
}

/* ---- attach ---- */

static bool node_with_object(crew *c, const settings *s, int me)
{
    static unsigned char bytes[MIB];
    store_id id;
    store *opened = open_as(s, STORE_OPEN);
    if (!opened || store_put(opened, bytes, sizeof bytes, &id) != MANTA_OK) return false;
    memcpy(c->words, id.word, sizeof id.word);
    sem_post(&c->ready[me]);
    bool fine = crew_wait(&c->go[me], "the node");
    store_close(opened);
    return fine;
}

static bool attach(crew *c, const settings *s, int me)
{
    store_id id = {{c->words[0], c->words[1]}};
    store_view view;
    uint64_t start = os_monotonic_ns();
    store *opened = open_as(s, STORE_ATTACH);
    uint64_t attached = os_monotonic_ns();
    if (!opened || store_pin(opened, id, &view) != MANTA_OK) return false;
    (void)*(const volatile unsigned char *)view.data;
    c->words[3] = os_monotonic_ns() - start;
    c->words[2] = attached - start;
    (void)me;
    store_unpin(opened, id);
    store_close(opened);
    return true;
}

static bool attach_times(crew *c, const settings *s)
{
    for (int i = 0; i < ATTACHES; i++) {
        if (!crew_end(crew_start(c, s, 1, attach))) return complain("a process could not attach");
        printf("{\"case\":\"attach\",\"target\":\"manta\",\"round\":%d,\"capacity\":%" PRIu64 ",\"ns\":%" PRIu64
               ",\"with_first_get_ns\":%" PRIu64 "}\n",
            i, s->memory, c->words[2], c->words[3]);
    }
    return true;
}

bool case_attach(const settings *s)
{
    crew *c = crew_new();
    if (!c) return false;
    pid_t node = crew_start(c, s, 0, node_with_object);
    bool fine = crew_wait(&c->ready[0], "the node") && attach_times(c, s);
    sem_post(&c->go[0]);
    fine = crew_end(node) && fine;
    crew_free(c);
    return fine;
}

/* ---- restart ---- */

static bool put_a_million(store *s)
{
    static const unsigned char bytes[SMALL];
    store_id id;
    for (int i = 0; i < A_MILLION; i++)
        if (store_put(s, bytes, sizeof bytes, &id) != MANTA_OK) return complain("object %d: %s", i, store_error());
    return true;
}

/* They live as long as somebody holds them: the node, which dies (0), or another process, which stays (1). */
static bool holder(crew *c, const settings *s, int me)
{
    store *opened = open_as(s, me == 0 ? STORE_CREATE : STORE_ATTACH);
    if (!opened || (c->words[0] == (uint64_t)me && !put_a_million(opened))) return false;
    sem_post(&c->ready[me]);
    bool fine = crew_wait(&c->go[me], "a holder of a million objects");
    store_close(opened);
    return fine;
}

static bool next_node(crew *c, const settings *s, int me)
{
    store_info info;
    uint64_t start = os_monotonic_ns();
    store *opened = open_as(s, STORE_CREATE);
    c->words[2] = os_monotonic_ns() - start;
    (void)me;
    if (!opened || store_stat(opened, &info) != MANTA_OK) return false;
    c->words[3] = info.objects;
    store_close(opened);
    return true;
}

static bool restart(crew *c, const settings *s, bool kept, int round)
{
    pid_t other = 0, node;
    c->words[0] = kept;
    node = crew_start(c, s, 0, holder);
    bool fine = crew_wait(&c->ready[0], "the node");
    if (fine && kept) {
        other = crew_start(c, s, 1, holder);
        fine = crew_wait(&c->ready[1], "a second process");
    }
    crew_kill(node);
    fine = fine && crew_end(crew_start(c, s, 0, next_node));
    if (fine)
        printf("{\"case\":\"restart\",\"target\":\"manta\",\"kept\":%s,\"round\":%d,\"put\":%d,\"left\":%" PRIu64 ",\"ns\":%" PRIu64 "}\n",
            kept ? "true" : "false", round, A_MILLION, c->words[3], c->words[2]);
    if (kept) sem_post(&c->go[1]);
    return (!kept || crew_end(other)) && fine;
}

bool case_restart(const settings *s)
{
    crew *c = crew_new();
    if (!c) return false;
    bool fine = true;
    for (int round = 0; round < s->rounds && fine; round++) fine = restart(c, s, false, round) && restart(c, s, true, round);
    crew_free(c);
    return fine;
}
