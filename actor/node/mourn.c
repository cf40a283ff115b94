/*
 * Calls to a process of the job that is gone fail with what its daemon says about its end. That word usually comes first, and ends the link, which would otherwise try for two seconds to connect again. When the link
 * ends first, calls wait a moment for the word, which never comes when the daemon has gone too.
 *
 * Whoever has cancelled the timer of a `mourning`, or else the timer, takes it out of the list and completes what is in it, once. Nothing waits on the link's thread.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/crash.h"
#include "actor/node/owner.h"

enum { WORDS = 64 };

typedef struct mourning {
    struct mourning *next;
    pool_timer timer;
    peer *peer;
    id_table calls;
    relation_record *relations;
    uint32_t n_relations;
    char reason[256];
} mourning;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mourning *mournings;
static struct {
    uint64_t process;
    char text[CRASH_TEXT];
} words[WORDS]; /* the last ones: the word may come first */
static uint32_t words_at;

/* Under the lock. */
static const char *word_about(uint64_t process)
{
    for (int i = 0; i < WORDS; i++)
        if (words[i].process == process) return words[i].text;
    return NULL;
}

/* ---- the end of one ---- */

static void fail_calls(worker *w, mourning *x, const char *text)
{
    size_t cursor = 0;
    for (future *f; (f = id_table_next(&x->calls, &cursor, NULL));) {
        if (f->packed == FUTURE_LEASED) f->packed = 0;
        if (f->method || f->packed == FUTURE_PACKED)
            future_fail_status(w, f, load_relaxed(&f->cancelled) ? MANTA_ECANCELLED : MANTA_EUNKNOWN, "%s", text);
        else complete_watch(w, f, MANTA_EDEAD);
    }
    id_table_fini(&x->calls);
}

/* word NULL: there is none. */
static void finish(worker *w, mourning *x, const char *word)
{
    char text[CRASH_TEXT];
    if (word) snprintf(text, sizeof text, "%s", word);
    else snprintf(text, sizeof text, "process %016llx: %s", (unsigned long long)x->peer->process, x->reason);
    fail_calls(w, x, text);
    relations_end(w, x->relations, x->n_relations, word ? text : x->reason);
    peer *p = x->peer;
    pthread_mutex_lock(&p->lock);
    if (word && p->state == PEER_DOWN) snprintf(p->reason, sizeof p->reason, "%.*s", (int)sizeof p->reason - 1, text);
    pthread_mutex_unlock(&p->lock);
}

/* Out of the list; false: somebody else has it. The word is copied. */
static bool take(const mourning *wanted, char word[CRASH_TEXT])
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (mourning **at = &mournings; *at && !found; at = &(*at)->next)
        if (*at == wanted) {
            const char *told = word_about(wanted->peer->process);
            snprintf(word, CRASH_TEXT, "%s", told ? told : "");
            *at = wanted->next;
            found = true;
            break;
        }
    pthread_mutex_unlock(&lock);
    return found;
}

static void waited(worker *w, pool_timer *t)
{
    char word[CRASH_TEXT];
    mourning *x = (mourning *)(void *)((char *)t - offsetof(mourning, timer));
    if (!take(x, word)) return;
    finish(w, x, *word ? word : NULL);
    base_free(x);
}

/* ---- what happens ---- */

static void take_from(peer *p, const char *reason, mourning *x)
{
    *x = (mourning){.peer = p, .timer = {.fire = waited}};
    snprintf(x->reason, sizeof x->reason, "%s", reason);
    pthread_mutex_lock(&p->lock);
    x->calls = p->calls;
    p->calls = (id_table){0};
    x->n_relations = relations_take(p, &x->relations);
    pthread_mutex_unlock(&p->lock);
}

/* Processes whose daemon may have something to say: not daemons, not the driver. */
static bool may_be_explained(const peer *p)
{
    return load_seq(&owner_is_on) && the_job.id && p->process != manta_process_of(job_leases).id &&
           p->process != manta_process_of(the_job.driver).id;
}

void mourn(worker *w, peer *p, const char *reason)
{
    char word[CRASH_TEXT] = "";
    mourning now, *later;
    take_from(p, reason, &now);
    bool wait = (now.calls.count || now.n_relations) && may_be_explained(p);
    pthread_mutex_lock(&lock);
    const char *told = word_about(p->process);
    if (told) snprintf(word, sizeof word, "%s", told);
    else if (wait && (later = base_alloc(sizeof *later))) {
        *later = now;
        later->next = mournings;
        mournings = later;
        pool_timer_start(w, &later->timer, pool_now_ns() + MOURN_MS * (uint64_t)OS_NS_PER_MS);
        now = (mourning){.peer = p};
    }
    pthread_mutex_unlock(&lock);
    finish(w, &now, told ? word : NULL);
}

void mourn_told(worker *w, uint64_t process, const char *text)
{
    mourning *x;
    char word[CRASH_TEXT];
    pthread_mutex_lock(&lock);
    bool known = word_about(process) != NULL;
    if (!known) {
        words[words_at % WORDS].process = process;
        snprintf(words[words_at++ % WORDS].text, CRASH_TEXT, "%s", text);
    }
    for (x = mournings; x && x->peer->process != process;) x = x->next;
    if (x && !pool_timer_cancel(&x->timer)) x = NULL; /* it fires now, and finds the word */
    pthread_mutex_unlock(&lock);
    link_drop(the_node.links, process, MANTA_EDEAD); /* which would try to reconnect for a while */
    if (!x || !take(x, word)) return;
    finish(w, x, word);
    base_free(x);
}

void mourn_stop(worker *w)
{
    for (mourning *x = NULL;; x = NULL) {
        pthread_mutex_lock(&lock);
        bool more = mournings != NULL;
        if (more && pool_timer_cancel(&mournings->timer)) {
            x = mournings;
            mournings = x->next;
        }
        pthread_mutex_unlock(&lock);
        if (!more) break;
        if (x) finish(w, x, NULL);
        else spin_pause(); /* it fires now */
        base_free(x);
    }
    memset(words, 0, sizeof words);
    words_at = 0;
}
