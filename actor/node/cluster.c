/*
 * Start and stop of the part that talks to other processes, and peers coming and going.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/durable/alone.h"
#include "actor/node/crash.h"
#include "actor/node/groups.h"
#include "actor/node/lineage.h"
#include "actor/node/owner.h"
#include "actor/node/simulation.h"
#include "actor/transfer/transfer.h"
#include "scheduler/os/os_file.h"

enum { ADDRESSES = 8, JOIN_TIMEOUT_MS = 10000, LINGER_MS = 1000 };

node_simulation the_simulation;
node_state the_node = {.lock = PTHREAD_MUTEX_INITIALIZER, .store_lock = PTHREAD_MUTEX_INITIALIZER};

typedef struct dial { /* a manta_connect under way */
    struct dial *next;
    const char *address;
    future *done;
    uint64_t process;
    manta_status status;
    char reason[256];
} dial;
static dial *dials; /* under the_node.lock */

/* ---- dialling ---- */

static dial *dial_of(const char *address) /* under the lock */
{
    for (dial *d = dials; d; d = d->next)
        if (strcmp(d->address, address) == 0 && d->done) return d;
    return NULL;
}

static void dial_end(worker *w, const char *address, uint64_t process, manta_status status, const char *reason)
{
    pthread_mutex_lock(&the_node.lock);
    dial *d = dial_of(address);
    future *done = d ? d->done : NULL;
    if (done) {
        d->done = NULL;
        d->process = process;
        d->status = status;
        snprintf(d->reason, sizeof d->reason, "%s", reason ? reason : "");
    }
    pthread_mutex_unlock(&the_node.lock);
    if (done) future_complete(w, done, NULL, NULL, 0);
}

static void dial_remove(dial *gone)
{
    pthread_mutex_lock(&the_node.lock);
    for (dial **at = &dials; *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            break;
        }
    pthread_mutex_unlock(&the_node.lock);
}

manta_status manta_connect(const char *address, uint64_t timeout_ms, manta_process *out)
{
    if (!the_node.links)
        return error_set(
            MANTA_EUNSUPPORTED, "manta_connect: this system has no links (manta_config.listen or .join; not in deterministic mode)");
    if (!address || strlen(address) >= MANTA_ADDRESS_BYTES)
        return error_set(MANTA_EINVAL, "manta_connect: an address of 1 to %d bytes", MANTA_ADDRESS_BYTES - 1);
    future *f = future_new(worker_self());
    if (!f) return error_set(MANTA_ENOMEM, "manta_connect: no memory");
    dial d = {.address = address, .done = f};
    pthread_mutex_lock(&the_node.lock);
    d.next = dials;
    dials = &d;
    pthread_mutex_unlock(&the_node.lock);
    manta_status status = link_connect(the_node.links, address, 0);
    if (status) error_set(status, "manta_connect: %s: %s", address, link_error());
    else if ((status = event_await(f, timeout_ms == MANTA_FOREVER ? OS_FOREVER : deadline_after_ms(timeout_ms), "a connection")))
        error_set(status, "manta_connect: %s: %s", address, manta_status_text(status));
    dial_remove(&d);
    if (!status && d.status) status = error_set(d.status, "manta_connect: %s: %s", address, d.reason);
    if (!status && out) out->id = d.process;
    future_drop(worker_self(), f);
    return status;
}

/* ---- peers coming and going: on the link's thread ---- */

static void say_hello(peer *p)
{
    wire_head h = {.kind = WIRE_HELLO, .status = groups_hello()};
    char name[STORE_NAME_TEXT];
    pthread_mutex_lock(&the_node.store_lock);
    memcpy(name, the_node.store_name, sizeof name);
    pthread_mutex_unlock(&the_node.store_lock);
    (void)link_send(the_node.links, p->process, &h, sizeof h, name, strlen(name), NULL, NULL);
}

void on_peer_up(void *context, link_peer who, const char *address, const char *dialled)
{
    (void)context;
    peer *p = peer_get(who.process, true);
    worker *w = worker_self();
    if (!p || !w) {
        link_drop(the_node.links, who.process, MANTA_ENOMEM);
        return;
    }
    pthread_mutex_lock(&p->lock);
    if (address && *address) snprintf(p->address, sizeof p->address, "%s", address);
    store_relaxed(&p->has_address, p->address[0] != 0);
    say_hello(p);
    p->state = PEER_UP;
    peer_flush(p);
    pthread_mutex_unlock(&p->lock);
    peer_wake_senders(w, p);
    if (dialled) dial_end(w, dialled, who.process, MANTA_OK, NULL);
}

void on_no_connection(void *context, const char *dialled, uint64_t expect, manta_status status, const char *reason)
{
    if (expect) on_peer_down(context, (link_peer){expect, 0}, status, reason);
    else if (worker_self()) dial_end(worker_self(), dialled, 0, status, reason);
}

static void drop_waiting(peer *p)
{
    while (p->first) {
        waiting *x = p->first;
        p->first = x->next;
        base_free(x);
    }
    p->last = NULL;
    p->waiting_bytes = 0;
}

void on_peer_down(void *context, link_peer who, manta_status status, const char *reason)
{
    (void)context;
    worker *w = worker_self();
    peer *p = peer_get(who.process, false);
    if (w && p) {
        pthread_mutex_lock(&p->lock);
        p->state = PEER_DOWN;
        add_seq(&p->downs, 1);
        p->down_ns = os_monotonic_ns();
        p->said_goodbye = status == MANTA_ESHUTDOWN;
        snprintf(p->reason, sizeof p->reason, "%s", reason);
        drop_waiting(p);
        pthread_mutex_unlock(&p->lock);
        groups_peer_down(who.process);
        proxies_retire(who.process);
        owner_peer_down(w, who.process);
        mourn(w, p, reason);
        serve_cancel_all(w, p);
        borrowed_return_all(w, p);
        peer_wake_senders(w, p);
        lineage_peer_down(who.process);
        transfer_peer_down(w, p);
    }
}

void on_peer_room(void *context, link_peer who)
{
    (void)context;
    peer *p = peer_get(who.process, false);
    worker *w = worker_self();
    if (!p || !w) return;
    pthread_mutex_lock(&p->lock);
    peer_flush(p);
    pthread_mutex_unlock(&p->lock);
    peer_wake_senders(w, p);
    transfer_peer_room();
    groups_peer_room(p);
}

/* ---- start and stop ---- */

/* Cuts "a,b,c" into at most ADDRESSES pieces; false: more. */
static bool cut(char *text, const char **out)
{
    int n = 0;
    char *rest = NULL;
    for (char *at = strtok_r(text, ", ", &rest); at; at = strtok_r(NULL, ", ", &rest)) {
        if (n == ADDRESSES) return false;
        out[n++] = at;
    }
    out[n] = NULL;
    return true;
}

/* ---- the object store ---- */

void store_name(const char *path, char out[STORE_NAME_TEXT])
{
    char real[PATH_MAX], boot[40] = "";
    (void)os_boot_id(boot);
    bool there = *path && realpath(path, real);
    if (!there || snprintf(out, STORE_NAME_TEXT, "%s %s", boot, real) >= STORE_NAME_TEXT) out[0] = 0;
}

bool store_is_named(const void *name, size_t bytes)
{
    pthread_mutex_lock(&the_node.store_lock);
    bool yes = bytes && bytes == strlen(the_node.store_name) && memcmp(name, the_node.store_name, bytes) == 0;
    pthread_mutex_unlock(&the_node.store_lock);
    return yes;
}

static void name_store(const char *path)
{
    pthread_mutex_lock(&the_node.store_lock);
    store_name(path, the_node.store_name);
    pthread_mutex_unlock(&the_node.store_lock);
}

void store_use(manta_str given)
{
    char name[STORE_NAME_TEXT], same[STORE_NAME_TEXT];
    const char *path = given.size < sizeof name ? memchr(given.data, ' ', given.size) : NULL;
    if (!path || the_runtime.config.store) return;
    snprintf(name, sizeof name, "%.*s", (int)given.size, given.data);
    path = strchr(name, ' ') + 1;
    store_name(path, same);
    if (strcmp(same, name) != 0 || !objects_move(path)) return; /* of another machine, or user */
    name_store(path);
}

/* The daemon that this driver or worker belongs to; NULL: it is neither. */
static const char *job_address(const manta_config *c)
{
    static char address[MANTA_ADDRESS_BYTES];
    const char *given = getenv("MANTA_WORKER");
    if (given && sscanf(given, "%255s", address) == 1) return address;
    return c->cluster && *c->cluster ? c->cluster : NULL;
}

/* An address of this process's own, by which those who can reach the daemon can reach it too. */
static void listen_like(const char *daemon, char *out, size_t room)
{
    char host[MANTA_ADDRESS_BYTES] = "";
    if (!daemon) return;
    if (strncmp(daemon, "ipc://", 6) == 0)
        snprintf(out, room, "ipc:///tmp/manta-%d-%016llx", (int)getpid(), (unsigned long long)the_node.process);
    else if (os_own_address(daemon + strlen("tcp://"), host, sizeof host)) snprintf(out, room, "tcp://%s:*", host);
}

/* "public KEY" and "secret KEY", a line each; others must not be able to read it. */
static manta_status read_keys(const char *path, char public_key[41], char secret_key[41])
{
    char text[256] = "";
    uint64_t bytes = 0;
    int fd = -1, error = os_file_open(path, OS_READ, &fd);
    if (!error) error = os_file_size(fd, &bytes);
    if (!error && bytes < sizeof text) error = os_file_read(fd, text, (size_t)bytes, 0);
    bool is_open = !error && os_file_is_private(fd) == false;
    os_file_close(fd);
    if (error) return error_set(MANTA_EIO, "keys: %s: %s", path, strerror(error));
    if (is_open) return error_set(MANTA_EINVAL, "keys: %s can be read by others: chmod 600 it", path);
    const char *public_at = strstr(text, "public "), *secret_at = strstr(text, "secret ");
    bool ok =
        public_at && secret_at && sscanf(public_at, "public %40s", public_key) == 1 && sscanf(secret_at, "secret %40s", secret_key) == 1;
    if (!ok || strlen(public_key) != 40 || strlen(secret_key) != 40)
        return error_set(
            MANTA_EINVAL, "keys: %s has no lines \"public KEY\" and \"secret KEY\" with 40 characters each (manta keygen)", path);
    return MANTA_OK;
}

static manta_status open_links(const manta_config *c)
{
    char listen[4 * MANTA_ADDRESS_BYTES];
    const char *addresses[ADDRESSES + 1];
    snprintf(listen, sizeof listen, "%s", c->listen ? c->listen : "");
    if (!listen[0]) listen_like(job_address(c), listen, sizeof listen);
    if (!cut(listen, addresses)) return error_set(MANTA_EINVAL, "listen: at most %d addresses", ADDRESSES);
    link_events events = {on_peer_up, on_peer_message, on_peer_down, on_no_connection, on_peer_room};
    char public_key[41] = "", secret_key[41] = "";
    bool has_keys = c->keys && *c->keys;
    manta_status status = has_keys ? read_keys(c->keys, public_key, secret_key) : MANTA_OK;
    if (status) return status;
    link_options o = {.self = {the_node.process, os_realtime_ns()},
        .bind = addresses,
        .insecure = c->insecure,
        .public_key = has_keys ? public_key : NULL,
        .secret_key = has_keys ? secret_key : NULL};
    link_sim *net = the_simulation.net;
    status = net ? link_sim_open(net, &o, &events, NULL, &the_node.links) : link_open(&o, &events, NULL, &the_node.links);
    return status ? error_set(status, "listen: %s", link_error()) : MANTA_OK;
}

static manta_status join(const manta_config *c)
{
    char text[4 * MANTA_ADDRESS_BYTES];
    const char *addresses[ADDRESSES + 1];
    snprintf(text, sizeof text, "%s", c->join ? c->join : "");
    if (!cut(text, addresses)) return error_set(MANTA_EINVAL, "join: at most %d addresses", ADDRESSES);
    for (int i = 0; addresses[i]; i++) {
        manta_status status = manta_connect(addresses[i], JOIN_TIMEOUT_MS, NULL);
        if (status) return status;
    }
    return MANTA_OK;
}

/* Names this process, with the tables that handles of other places are in. */
static manta_status start_tables(void)
{
    do the_node.process = os_random_u64() >> 1;
    while (!the_node.process);
    if (!proxies_start() || !methods_start()) return error_set(MANTA_ENOMEM, "no memory for the tables of other processes");
    the_node.is_on = true;
    return MANTA_OK;
}

/* No links, no daemon: at most durable actors. */
static manta_status start_unlinked(const manta_config *c)
{
    if (!c->durable || !*c->durable) return MANTA_OK;
    manta_status status = start_tables();
    if (!status && !(the_node.service = service_start())) status = manta_last_error()->status;
    return status ? status : alone_start(c);
}

manta_status node_start(const manta_config *c)
{
    bool is_worker = getenv("MANTA_WORKER") != NULL, is_job = is_worker || (c->cluster && *c->cluster);
    if (!is_job && !(c->listen && *c->listen) && !(c->join && *c->join)) return start_unlinked(c);
    if (c->seed && !the_simulation.net) return error_set(MANTA_EUNSUPPORTED, "listen, join: not in deterministic mode");
    if (start_tables()) return manta_last_error()->status;
    bool shared = the_objects == &object_store_table && strcmp(c->store, "private") != 0;
    name_store(shared ? c->store : "");
    lineage_start(c->lineage_bytes, c->lineage_after_ms);
    manta_status status = (the_node.service = service_start()) ? transfer_start(c) : manta_last_error()->status;
    if (!status) status = open_links(c);
    if (!status) status = join(c);
    if (!status && !the_simulation.net) status = job_start(c); /* a simulated process does that in a handler */
    return status || is_job || !c->durable || !*c->durable ? status : alone_start(c);
}

void node_stop(void)
{
    if (!the_node.is_on) return;
    job_stop();
    if (the_node.links) link_stop(the_node.links, LINGER_MS);
    mourn_stop(worker_self());
    lineage_stop(worker_self());
    transfer_stop();
    size_t cursor = 0;
    worker *w = worker_self();
    for (peer *p; (p = id_table_next(&the_node.peers, &cursor, NULL));) {
        borrowed_return_all(w, p);
        groups_peer_down(p->process);
    }
    groups_start();
}

static void peer_free(peer *p)
{
    drop_waiting(p);
    id_table_fini(&p->calls);
    id_table_fini(&p->serving);
    id_table_fini(&p->introduced);
    id_table_fini(&p->borrowed);
    base_free(p->relations);
    pthread_mutex_destroy(&p->lock);
    base_free(p);
}

void node_free(void)
{
    size_t cursor = 0;
    if (!the_node.is_on) return;
    link_free(the_node.links);
    transfer_free();
    job_free();
    the_node.links = NULL;
    the_node.is_on = false;
    for (peer *p; (p = id_table_next(&the_node.peers, &cursor, NULL));) peer_free(p);
    id_table_fini(&the_node.peers);
    proxies_stop();
    methods_stop();
    the_node.process = the_node.service = 0;
}

/* ---- questions ---- */

uint32_t node_pid(void) { return the_simulation.net ? the_simulation.pid : (uint32_t)getpid(); }

manta_process manta_this_process(void) { return (manta_process){the_node.process}; }

const char *manta_listen_address(int n) { return the_node.links ? link_address(the_node.links, n) : NULL; }

manta_status manta_list_processes(manta_process_info *out, size_t capacity, size_t *out_count)
{
    size_t cursor = 0, n = 0;
    pthread_mutex_lock(&the_node.lock);
    for (peer *p; (p = id_table_next(&the_node.peers, &cursor, NULL)); n++) {
        if (n >= capacity) continue;
        pthread_mutex_lock(&p->lock);
        out[n] = (manta_process_info){.process = {p->process},
            .is_up = p->state == PEER_UP,
            .messages_sent = p->sent,
            .messages_received = load_relaxed(&p->received)};
        memcpy(out[n].address, p->address, sizeof out[n].address);
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&the_node.lock);
    *out_count = n;
    return MANTA_OK;
}
