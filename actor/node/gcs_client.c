/*
 * Calls to the control store from anywhere in this process.
 *
 * The client keeps the actor that led last. When that one does not lead any more its answer names who does; when it cannot be reached the others are asked in turn: the servers that were heard of, and the actor of
 * this node's daemon. All tries of one command carry the same client and request numbers, so it is applied once however often it arrives. A command that had no answer by its deadline may have been applied:
 * MANTA_EUNKNOWN.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/gcs.h"
#include "actor/node/node.h"
#include "gcs/raft/raft_types.h"

enum {
    IDENTITIES = 16,
    OUTSTANDING = 1000,
    TRY_MS = 300,
    TRY_MAX_MS = 2000,
    PAUSE_MS = 10,
    PAUSE_MAX_MS = 100,
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
    uint32_t turn;
    identity *identities[IDENTITIES];
} client = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- request numbers ---- */

typedef struct request {
    identity *identity;
    uint32_t at;
} request;

static identity *identity_with_room(void)
{
    for (int i = 0; i < IDENTITIES; i++) {
        identity *x = client.identities[i];
        if (!x && (x = client.identities[i] = base_calloc(1, sizeof *x))) x->client = os_random_u64() | 1;
        if (x && x->count < OUTSTANDING) return x;
    }
    return NULL;
}

static bool request_begin(request *r, gcs_head *h)
{
    pthread_mutex_lock(&client.lock);
    identity *x = identity_with_room();
    if (x) {
        uint64_t least = x->next + 1;
        for (uint32_t i = 0; i < x->count; i++)
            if (x->outstanding[i] < least) least = x->outstanding[i];
        x->outstanding[x->count++] = ++x->next;
        h->client = x->client;
        h->request = x->next;
        h->acknowledged = least - 1;
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

static void set_leader(manta_actor a)
{
    pthread_mutex_lock(&client.lock);
    client.leader = a;
    pthread_mutex_unlock(&client.lock);
}

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

/* The actor at an address becomes the one to ask. */
static bool turn_to(const char *address)
{
    manta_process p;
    manta_actor a = {0};
    if (!*address || process_at(address, CONNECT_MS, &p) || manta_lookup_in(p, "manta.gcs", &a)) return false;
    set_leader(a);
    return true;
}

/* The n-th address of a list with commas between, modulo how many there are. */
static void pick_server(uint32_t n, char out[RAFT_ADDRESS_BYTES])
{
    const char *at[SERVERS];
    uint32_t count = 0;
    out[0] = 0;
    pthread_mutex_lock(&client.lock);
    for (const char *s = client.servers; *s && count < SERVERS; s += *s == ',') {
        at[count++] = s;
        s += strcspn(s, ",");
    }
    if (count) snprintf(out, RAFT_ADDRESS_BYTES, "%.*s", (int)strcspn(at[n % count], ","), at[n % count]);
    pthread_mutex_unlock(&client.lock);
}

/* Takes over the list of somebody who serves, or any list when there was none. True: it serves. */
static bool learn_servers(manta_actor from)
{
    MantaGcsPlace place;
    if (!from.id || manta_get_timeout(MantaGcs_place(MantaGcs_ref_of(from)), &place, CONNECT_MS) || !place.servers.size) return false;
    pthread_mutex_lock(&client.lock);
    if (place.server || !client.servers[0])
        snprintf(client.servers, sizeof client.servers, "%.*s", (int)place.servers.size, place.servers.data);
    pthread_mutex_unlock(&client.lock);
    return place.server != 0;
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

/* After a try that came to nothing: odd ones ask a server that was heard of, even ones the node's own actor. */
static void look_around(void)
{
    char address[RAFT_ADDRESS_BYTES];
    pthread_mutex_lock(&client.lock);
    uint32_t n = client.turn++;
    manta_actor home = client.home;
    pthread_mutex_unlock(&client.lock);
    pick_server(n / 2, address);
    if (n % 2 && turn_to(address)) return;
    if (home.id) set_leader(home);
}

static manta_actor leader_now(void)
{
    pthread_mutex_lock(&client.lock);
    manta_actor a = client.leader.id ? client.leader : client.home;
    bool wants_servers = a.id && !client.servers[0];
    pthread_mutex_unlock(&client.lock);
    if (wants_servers) (void)learn_servers(a);
    return a;
}

manta_actor gcs_some_server(void)
{
    MantaGcsPlace place = {0};
    manta_actor a = leader_now();
    if (!a.id) return a;
    if (manta_get_timeout(MantaGcs_place(MantaGcs_ref_of(a)), &place, CONNECT_MS) == MANTA_OK && place.server) return a;
    look_around();
    return (manta_actor){0};
}

/* ---- a call ---- */

typedef enum outcome { DONE, AGAIN, UNSURE } outcome; /* unsure: it may have been applied */

static outcome after_failure(manta_status status)
{
    const manta_error *e = manta_last_error();
    if (status == MANTA_ENOTLEADER) {
        if (!turn_to(e->message)) look_around();
        return AGAIN;
    }
    if (status == MANTA_EUNKNOWN || status == MANTA_EDEAD || status == MANTA_EEXIT || status == MANTA_ETIMEDOUT ||
        status == MANTA_ENOTREADY || status == MANTA_EIO) {
        look_around();
        return UNSURE;
    }
    return DONE;
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
    uint64_t pause = PAUSE_MS, patience = TRY_MS; /* a server that is only slow gets more of it each time */
    bool unsure = false;
    for (;; patience = patience * 2 < TRY_MAX_MS ? patience * 2 : TRY_MAX_MS) {
        uint64_t now = manta_now_ns(), left_ms = deadline_ns > now ? (deadline_ns - now) / OS_NS_PER_MS + 1 : 0;
        if (!left_ms) break;
        manta_status status = one_try(is_query, bytes, left_ms < patience ? left_ms : patience, out);
        if (!status) return MANTA_OK;
        outcome o = after_failure(status);
        if (o == DONE || status == MANTA_ECANCELLED) return status;
        unsure = unsure || o == UNSURE;
        if (o == AGAIN && pause == PAUSE_MS) pause++; /* the leader was named: at once, the first time */
        else if (manta_sleep(pause)) return manta_last_error()->status;
        else pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
    }
    char last[256];
    snprintf(last, sizeof last, "%s", manta_last_error()->message);
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
    client.turn = 0;
}
