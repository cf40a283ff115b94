/*
 * Calls to the control store from anywhere in this process.
 *
 * The client keeps the actor that led last. When that one does not lead any more, or does not answer, all that are known are asked at once who leads: the servers that were heard of, and the actor of this node's daemon;
 * the first that says that it leads is asked from then on, so one that died costs no wait. One look serves all calls that wait. All tries of one command carry the same client and request numbers, so it is applied once
 * however often it arrives. A command that had no answer by its deadline may have been applied: MANTA_EUNKNOWN.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/gcs.h"
#include "actor/node/node.h"
#include "actor/node/service.h"
#include "gcs/raft/raft_types.h"

enum {
    IDENTITIES = 16,
    OUTSTANDING = 1000,
    TRY_MS = 300,
    TRY_MAX_MS = 2000,
    PAUSE_MS = 10,
    ALONE_PAUSE_MS = 2,
    PAUSE_MAX_MS = 40,
    ANSWER_MS = 200,
    CONNECT_MS = 300,
    SERVERS = 8
};

typedef struct identity { /* a client of the store's; one remembers that many replies */
    uint64_t client, next;
    uint32_t count;
    uint64_t outstanding[OUTSTANDING];
} identity;

static struct {
    pthread_mutex_t lock;
    manta_actor leader, home; /* {0}: unknown */
    char servers[GCS_ADDRESSES];
    struct {
        uint64_t process;
        manta_actor actor;
    } found[SERVERS]; /* the control store's actors in processes where one was looked up */
    uint32_t n_found;
    bool is_introduced, is_looking;
    uint64_t looked_ns; /* when a look that found the leader began */
    uint64_t doubted;   /* an actor that did not answer a watcher */
    identity *identities[IDENTITIES];
} client = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- request numbers ---- */

typedef struct request {
    identity *identity;
    uint32_t at;
} request;

/* All below it have been answered. */
static uint64_t least_outstanding(const identity *x)
{
    uint64_t least = x->next + 1;
    for (uint32_t i = 0; i < x->count; i++)
        if (x->outstanding[i] < least) least = x->outstanding[i];
    return least;
}

/* One call that takes long keeps the replies of all after it in the store, so the numbers under way span no more than what is remembered. */
static identity *identity_with_room(void)
{
    for (int i = 0; i < IDENTITIES; i++) {
        identity *x = client.identities[i];
        if (!x && (x = client.identities[i] = base_calloc(1, sizeof *x))) x->client = os_random_u64() | 1;
        if (x && x->next + 1 - least_outstanding(x) < OUTSTANDING) return x;
    }
    return NULL;
}

static bool request_begin(request *r, gcs_head *h)
{
    pthread_mutex_lock(&client.lock);
    identity *x = identity_with_room();
    if (x) {
        x->outstanding[x->count++] = ++x->next;
        h->client = x->client;
        h->request = x->next;
        h->acknowledged = least_outstanding(x) - 1;
    }
    pthread_mutex_unlock(&client.lock);
    r->identity = x;
    return x != NULL;
}

static void request_end(const request *r, uint64_t number)
{
    identity *x = r->identity;
    if (!x) return;
    pthread_mutex_lock(&client.lock);
    for (uint32_t i = 0; i < x->count; i++)
        if (x->outstanding[i] == number) {
            x->outstanding[i] = x->outstanding[--x->count];
            break;
        }
    pthread_mutex_unlock(&client.lock);
}

/* ---- whom to ask ---- */

void gcs_know(manta_actor server)
{
    pthread_mutex_lock(&client.lock);
    client.home = server;
    if (!client.leader.id) client.leader = server;
    pthread_mutex_unlock(&client.lock);
}

bool gcs_is_known(void)
{
    pthread_mutex_lock(&client.lock);
    bool known = client.home.id != 0;
    pthread_mutex_unlock(&client.lock);
    return known;
}

static bool is_up_at(const char *address, manta_process *out)
{
    size_t cursor = 0;
    bool found = false;
    pthread_mutex_lock(&the_node.lock);
    for (peer *p; !found && (p = id_table_next(&the_node.peers, &cursor, NULL));) {
        pthread_mutex_lock(&p->lock);
        if ((found = p->state == PEER_UP && strcmp(p->address, address) == 0)) out->id = p->process;
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&the_node.lock);
    return found;
}

/* Nobody tells who dials that the process has come up by the other's dialling, so it is looked at now and then. */
manta_status process_at(const char *address, uint64_t timeout_ms, manta_process *out)
{
    enum { LOOK_MS = 100 };
    const char *own = manta_listen_address(0);
    if (own && strcmp(own, address) == 0) return *out = manta_this_process(), MANTA_OK;
    manta_status status = MANTA_ETIMEDOUT;
    for (uint64_t left = timeout_ms; status == MANTA_ETIMEDOUT; left -= LOOK_MS) {
        if (is_up_at(address, out)) return MANTA_OK;
        status = manta_connect(address, left < LOOK_MS ? left : LOOK_MS, out);
        if (left <= LOOK_MS) return status;
    }
    return status;
}

/* Takes over the list of somebody who serves, or any list when there was none. True: it serves. */
static bool take_servers(const MantaGcsPlace *place)
{
    pthread_mutex_lock(&client.lock);
    if (place->servers.size && (place->server || !client.servers[0]))
        snprintf(client.servers, sizeof client.servers, "%.*s", (int)place->servers.size, place->servers.data);
    pthread_mutex_unlock(&client.lock);
    return place->server != 0;
}

static bool learn_servers(manta_actor from)
{
    MantaGcsPlace place;
    return from.id && manta_get_timeout(MantaGcs_place(MantaGcs_ref_of(from)), &place, CONNECT_MS) == MANTA_OK && take_servers(&place);
}

void gcs_refresh(void)
{
    pthread_mutex_lock(&client.lock);
    manta_actor leader = client.leader, home = client.home;
    pthread_mutex_unlock(&client.lock);
    if (!learn_servers(home)) (void)learn_servers(leader);
}

size_t gcs_servers(char *out, size_t room)
{
    pthread_mutex_lock(&client.lock);
    int n = snprintf(out, room, "%s", client.servers);
    pthread_mutex_unlock(&client.lock);
    return n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

void gcs_suspect(uint64_t node)
{
    pthread_mutex_lock(&client.lock);
    manta_actor a = client.leader;
    pthread_mutex_unlock(&client.lock);
    if (a.id) (void)MantaGcs_suspect_send(MantaGcs_ref_of(a), node, the_node.process);
}

/* ---- who leads ---- */

typedef struct look { /* whoever is asked */
    manta_actor actors[SERVERS + 1];
    manta_MantaGcsPlace_future answers[SERVERS + 1];
    uint32_t n;
} look;

static void look_at(look *l, manta_actor a)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->actors[i].id == a.id) return;
    if (!a.id || l->n == SERVERS + 1) return;
    l->actors[l->n] = a;
    l->answers[l->n] = MantaGcs_place(MantaGcs_ref_of(a));
    l->n += l->answers[l->n].future.id != 0;
}

static manta_actor found_in(uint64_t process)
{
    manta_actor a = {0};
    pthread_mutex_lock(&client.lock);
    for (uint32_t i = 0; i < client.n_found; i++)
        if (client.found[i].process == process) a = client.found[i].actor;
    pthread_mutex_unlock(&client.lock);
    return a;
}

static void keep_found(uint64_t process, manta_actor a)
{
    pthread_mutex_lock(&client.lock);
    uint32_t i = client.n_found++ % SERVERS;
    if (client.n_found > SERVERS) client.n_found = SERVERS;
    client.found[i].process = process;
    client.found[i].actor = a;
    pthread_mutex_unlock(&client.lock);
}

/* Looks up the actors of servers that are new, all at once; one that is not connected is dialled and asked the next time. */
static void look_at_servers(look *l)
{
    char list[GCS_ADDRESSES], *rest = NULL;
    manta_manta_actor_future lookups[SERVERS];
    manta_process processes[SERVERS], p;
    uint32_t n = 0;
    (void)gcs_servers(list, sizeof list);
    for (char *address = strtok_r(list, ",", &rest); address && n < SERVERS; address = strtok_r(NULL, ",", &rest)) {
        const char *own = manta_listen_address(0);
        if (own && strcmp(own, address) == 0) continue; /* home */
        if (!is_up_at(address, &p)) (void)link_connect(the_node.links, address, 0);
        else if (found_in(p.id).id) look_at(l, found_in(p.id));
        else {
            lookups[n] = node_lookup(p, "manta.gcs");
            processes[n++] = p;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        manta_actor a;
        if (manta_get_timeout(lookups[i], &a, ANSWER_MS) == MANTA_OK) {
            keep_found(processes[i].id, a);
            look_at(l, a);
        } else if (manta_last_error()->status == MANTA_ETIMEDOUT) (void)manta_future_release(lookups[i].future);
    }
}

/* Takes one that is ready out of the look. True: it leads. */
static bool take_answer(look *l, uint32_t i, manta_actor *out_leader)
{
    MantaGcsPlace place;
    manta_actor a = l->actors[i];
    manta_MantaGcsPlace_future answer = l->answers[i];
    l->actors[i] = l->actors[--l->n];
    l->answers[i] = l->answers[l->n];
    if (manta_get(answer, &place)) return false;
    (void)take_servers(&place);
    if (place.leads) *out_leader = a;
    return place.leads;
}

/* The first that leads; {0}: none that answers in time. */
static manta_actor first_that_leads(look *l)
{
    bool ready[SERVERS + 1];
    manta_actor leader = {0};
    uint64_t end = manta_now_ns() + ANSWER_MS * OS_NS_PER_MS, now;
    while (l->n && !leader.id && (now = manta_now_ns()) < end) {
        if (manta_wait(l->answers, l->n, 1, (end - now) / OS_NS_PER_MS + 1, ready)) break;
        uint32_t i = 0;
        while (i < l->n && !ready[i]) i++;
        (void)take_answer(l, i, &leader);
    }
    while (l->n) (void)manta_future_release(l->answers[--l->n].future);
    return leader;
}

/* After a try that came to nothing at `since_ns`. False: nobody is known to lead, or another call looks. */
static bool find_leader(uint64_t since_ns)
{
    look l = {.n = 0};
    uint64_t began = manta_now_ns();
    pthread_mutex_lock(&client.lock);
    bool found = client.looked_ns > since_ns, busy = client.is_looking;
    manta_actor home = client.home, last = client.leader;
    client.is_looking = busy || !found;
    pthread_mutex_unlock(&client.lock);
    if (found || busy) return found;
    look_at(&l, home);
    look_at(&l, last); /* one that was joining itself when it was asked knows more by now */
    look_at_servers(&l);
    manta_actor leader = first_that_leads(&l);
    pthread_mutex_lock(&client.lock);
    client.is_looking = false;
    if (leader.id) {
        client.leader = leader;
        client.looked_ns = began;
    }
    pthread_mutex_unlock(&client.lock);
    return leader.id != 0;
}

static manta_actor leader_now(void)
{
    pthread_mutex_lock(&client.lock);
    manta_actor a = client.leader.id ? client.leader : client.home;
    bool is_new = a.id && !client.is_introduced;
    client.is_introduced = client.is_introduced || is_new;
    pthread_mutex_unlock(&client.lock);
    if (!is_new) return a;
    (void)learn_servers(a);
    (void)find_leader(manta_now_ns()); /* the others are known before the leader is lost */
    pthread_mutex_lock(&client.lock);
    a = client.leader;
    pthread_mutex_unlock(&client.lock);
    return a;
}

bool gcs_is_there(manta_actor server, uint64_t patience_ms)
{
    MantaGcsPlace place = {0};
    manta_MantaGcsPlace_future f = MantaGcs_place(MantaGcs_ref_of(server));
    manta_status status = manta_get_timeout(f, &place, patience_ms);
    if (status == MANTA_ETIMEDOUT) (void)manta_future_release(f.future);
    return status == MANTA_OK && place.server;
}

/* One that did not answer is not asked again until another is found to lead. */
manta_actor gcs_some_server(void)
{
    manta_actor a = leader_now();
    pthread_mutex_lock(&client.lock);
    bool is_doubted = a.id && client.doubted == a.id;
    pthread_mutex_unlock(&client.lock);
    if (!a.id || (!is_doubted && gcs_is_there(a, ANSWER_MS))) return a;
    bool found = find_leader(manta_now_ns());
    pthread_mutex_lock(&client.lock);
    client.doubted = found ? 0 : a.id;
    a = found ? client.leader : (manta_actor){0};
    pthread_mutex_unlock(&client.lock);
    return a;
}

/* ---- a call ---- */

/* Whether another try may help; all but the first of these may have been applied. */
static bool is_worth_a_try(manta_status status)
{
    return status == MANTA_ENOTLEADER || status == MANTA_EUNKNOWN || status == MANTA_EDEAD || status == MANTA_EEXIT ||
           status == MANTA_ETIMEDOUT || status == MANTA_ENOTREADY || status == MANTA_EIO;
}

/* The server of this process is the only one: what it cannot do nobody can. */
static bool is_alone(void)
{
    pthread_mutex_lock(&client.lock);
    bool alone = client.home.id && !is_remote(client.home.id) && !client.servers[0];
    pthread_mutex_unlock(&client.lock);
    return alone;
}

/* Until somebody leads. False: the deadline has passed, or this call is cancelled. */
static bool wait_for_leader(uint64_t deadline_ns)
{
    uint64_t since = manta_now_ns();
    if (is_alone()) return manta_sleep(ALONE_PAUSE_MS) == MANTA_OK; /* and then it does, or has failed */
    for (uint64_t pause = PAUSE_MS; !find_leader(since); pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS)
        if (manta_now_ns() >= deadline_ns || manta_sleep(pause)) return false;
    return true;
}

static manta_status one_try(bool is_query, manta_bytes bytes, uint64_t timeout_ms, manta_bytes *out)
{
    manta_actor a = leader_now();
    if (!a.id) return error_set(MANTA_EDEAD, "no server of the control store is known");
    MantaGcs_ref server = MantaGcs_ref_of(a);
    manta_manta_bytes_future f = is_query ? MantaGcs_query(server, bytes) : MantaGcs_submit(server, bytes);
    manta_status status = manta_get_timeout(f, out, timeout_ms);
    if (status == MANTA_ETIMEDOUT) (void)manta_future_release(f.future);
    return status;
}

static manta_status call_until(bool is_query, manta_bytes bytes, uint64_t deadline_ns, manta_bytes *out)
{
    uint64_t patience = TRY_MS; /* a server that is only slow gets more of it each time */
    bool unsure = false, again = false;
    char last[256] = "nobody leads it";
    for (;; patience = patience * 2 < TRY_MAX_MS ? patience * 2 : TRY_MAX_MS) {
        uint64_t now = manta_now_ns(), left_ms = deadline_ns > now ? (deadline_ns - now) / OS_NS_PER_MS + 1 : 0;
        if (!left_ms) break;
        if (load_relaxed(&the_runtime.running) != 1) return error_set(MANTA_ESHUTDOWN, "the system stops");
        manta_status status = one_try(is_query, bytes, left_ms < patience ? left_ms : patience, out);
        if (!status || !is_worth_a_try(status) || (status == MANTA_EIO && is_alone())) return status;
        snprintf(last, sizeof last, "%s", manta_last_error()->message);
        unsure = unsure || status != MANTA_ENOTLEADER;
        if (again && manta_sleep(PAUSE_MS)) return manta_last_error()->status; /* one that has just been found is asked at once */
        again = true;
        if (!wait_for_leader(deadline_ns) && manta_now_ns() < deadline_ns) return manta_last_error()->status;
    }
    return error_set(is_query || !unsure ? MANTA_ETIMEDOUT : MANTA_EUNKNOWN, "the control store does not answer: %s", last);
}

static manta_status take_result(manta_bytes reply, gcs_reply *out)
{
    manta_status status = gcs_reply_read(reply.data, reply.size, out);
    if (status) return error_set(status, "a malformed reply of the control store");
    return out->status ? error_set(out->status, "%.*s", (int)out->text.size, out->text.data) : MANTA_OK;
}

manta_status gcs_call(bool is_query, void *bytes, size_t size, uint64_t timeout_ms, gcs_reply *out)
{
    gcs_head h;
    request r = {NULL, 0};
    manta_bytes reply, command = {bytes, size};
    memset(out, 0, sizeof *out);
    memcpy(&h, bytes, sizeof h);
    if (!is_query && !request_begin(&r, &h))
        return error_set(MANTA_ELIMIT, "%d calls of the control store are under way", IDENTITIES * OUTSTANDING);
    memcpy(bytes, &h, sizeof h);
    uint64_t deadline = timeout_ms == MANTA_FOREVER ? UINT64_MAX : manta_now_ns() + timeout_ms * OS_NS_PER_MS;
    manta_status status = call_until(is_query, command, deadline, &reply);
    request_end(&r, h.request);
    return status ? status : take_result(reply, out);
}

void gcs_client_stop(void)
{
    for (int i = 0; i < IDENTITIES; i++) base_free(client.identities[i]);
    memset(client.identities, 0, sizeof client.identities);
    client.leader = client.home = (manta_actor){0};
    client.servers[0] = 0;
    client.n_found = 0;
    client.is_introduced = client.is_looking = false;
    client.looked_ns = client.doubted = 0;
}
