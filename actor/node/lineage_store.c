/*
 * Lineage and the control store: records go there in batches, and are searched there when their owner is gone.
 *
 * The refs of an owner that is gone are *adopted* by one process that has some of them: whoever gets the lease "manta.lineage/OWNER" first, of those who hear of the end or need an object. It runs what is to be run, the
 * others ask it, so a task still runs once; when it ends, the lease does, and another takes over. All of them connect to it, which is how it finds the copies that they have. While refs are left it tells the control store
 * to keep the records.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actor/node/control.h"
#include "actor/node/lineage_internal.h"
#include "actor/node/raylet.h"

enum {
    ADOPTED = 64,
    LEASE_MS = 2000, /* a process that is silent for so long is lost */
    WATCH_MS = LEASE_MS / 3,
    KEEP_EVERY_MS = 60000,
    TRIES = 40,
    TRY_MS = 250,
    DROPS = 2048,
    SHIP_TIMEOUT_MS = 5000,
    WORKERS_END_MS = 500 /* the workers of a driver that is gone have ended by then, and do not adopt */
};

MANTA_ACTOR(MantaLineage, bool is_shipping;)
MANTA_METHOD_DECLARE(MantaLineage, ship, void)
MANTA_METHOD_DECLARE(MantaLineage, watch, void, (uint64_t, owner))

static struct {
    pthread_mutex_t lock;
    MantaLineage_ref actor;
    manta_writer sending; /* a command of the one that ships; the system may stop while it waits for the answer */
    struct {
        uint64_t owner, job, kept_ns; /* owner 0: free; job 0: not known yet */
    } adopted[ADOPTED];
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static MantaLineage_ref new_actor(void);

static MantaLineage_ref actor_get(void)
{
    pthread_mutex_lock(&store.lock);
    if (!store.actor.actor.id && lineage_is_on()) store.actor = new_actor();
    MantaLineage_ref a = store.actor;
    pthread_mutex_unlock(&store.lock);
    return a;
}

uint32_t lineage_actors(void)
{
    pthread_mutex_lock(&store.lock);
    uint32_t n = store.actor.actor.id != 0;
    pthread_mutex_unlock(&store.lock);
    return n;
}

void lineage_store_stop(void)
{
    pthread_mutex_lock(&store.lock);
    store.actor = (MantaLineage_ref){{0}};
    manta_writer_fini(&store.sending);
    memset(store.adopted, 0, sizeof store.adopted);
    pthread_mutex_unlock(&store.lock);
}

/* ---- shipping ---- */

static manta_status send_records(lineage_batch *b)
{
    manta_writer list;
    gcs_reply reply;
    manta_writer_init_growing(&list);
    manta_pack_array(&list, b->n_records);
    manta_pack_raw(&list, b->records.start, manta_writer_size(&b->records));
    manta_writer_init_growing(&store.sending);
    gcs_write_lineage_add(&store.sending, NULL, &(gcs_lineage_add){b->job, {list.start, manta_writer_size(&list)}});
    manta_writer_fini(&list);
    manta_writer_fini(&b->records);
    return control_call("lineage", false, &store.sending, SHIP_TIMEOUT_MS, &reply);
}

static void send_drops(void)
{
    static const manta_writer empty;
    manta_ref *roots = manta_alloc(DROPS * sizeof *roots);
    for (uint32_t n; roots && (n = lineage_drops_take(roots, DROPS));) {
        manta_writer list = empty;
        gcs_reply reply;
        manta_writer_init_growing(&list);
        manta_pack_array(&list, 2 * n);
        for (uint32_t i = 0; i < n; i++) {
            manta_pack_uint64_t(&list, &roots[i].id[0]);
            manta_pack_uint64_t(&list, &roots[i].id[1]);
        }
        manta_writer_init_growing(&store.sending);
        gcs_write_lineage_drop(&store.sending, NULL, &(gcs_lineage_drop){{list.start, manta_writer_size(&list)}});
        manta_writer_fini(&list);
        (void)control_call("lineage", false, &store.sending, SHIP_TIMEOUT_MS, &reply);
    }
}

MANTA_METHOD_DEFINE(MantaLineage, ship, void)
{
    lineage_batch *b = manta_alloc(sizeof *b);
    manta_status status = MANTA_OK;
    if (self->is_shipping || !b) return;
    self->is_shipping = true;
    while (!status) {
        bool some = lineage_batch_take(b);
        if (some) status = send_records(b);
        lineage_batch_end(b, some && !status);
        if (!some) break;
    }
    send_drops();
    self->is_shipping = false;
}

void lineage_ship(void)
{
    MantaLineage_ref a = actor_get();
    if (a.actor.id) (void)MantaLineage_ship_send(a);
}

void *lineage_fetch(manta_ref root, size_t *out_bytes, manta_lost_reason *out_reason)
{
    manta_writer w;
    gcs_reply reply = {0};
    gcs_lineage_row row = {0};
    manta_writer_init_growing(&w);
    gcs_write_lineage_get(&w, NULL, &(gcs_lineage_get){root.id[0], root.id[1]});
    manta_status status = control_call("lineage", true, &w, GCS_TIMEOUT_MS, &reply);
    manta_reader r = gcs_reply_reader(&reply);
    uint64_t why = 0;
    if (status == MANTA_ENOTFOUND && reply.result.size) manta_unpack_uint64_t(&r, &why);
    *out_reason = why == GCS_LINEAGE_OVER_BUDGET ? MANTA_LOST_OVER_BUDGET : MANTA_LOST_NO_RECORD;
    if (status) return NULL;
    gcs_read_lineage_row(&r, &row);
    void *copy = r.status ? NULL : base_alloc(row.spec.size + 1);
    if (copy) memcpy(copy, row.spec.data, row.spec.size);
    *out_bytes = row.spec.size;
    return copy;
}

/* ---- adopting ---- */

/* Under the lock. */
static int adopted_at(uint64_t owner)
{
    int i = 0;
    while (i < ADOPTED && store.adopted[i].owner != owner) i++;
    return i < ADOPTED ? i : -1;
}

bool lineage_may_make(manta_ref root)
{
    bool adopts = false;
    pthread_mutex_lock(&store.lock);
    for (int i = 0; i < ADOPTED && !adopts; i++) adopts = store.adopted[i].owner != 0;
    pthread_mutex_unlock(&store.lock);
    return adopts || lineage_is_known(root);
}

/* True: it is watched from now on. */
static bool adopted_add(uint64_t owner)
{
    pthread_mutex_lock(&store.lock);
    int at = adopted_at(owner) < 0 ? adopted_at(0) : -1;
    if (at >= 0) store.adopted[at].owner = owner;
    pthread_mutex_unlock(&store.lock);
    return at >= 0;
}

static void adopted_remove(uint64_t owner)
{
    pthread_mutex_lock(&store.lock);
    int at = adopted_at(owner);
    if (at >= 0) memset(&store.adopted[at], 0, sizeof store.adopted[at]);
    pthread_mutex_unlock(&store.lock);
}

/* Who has, or now gets, the lease; who has it gets it for longer. */
static manta_status adopt(uint64_t owner, manta_process *out)
{
    char name[64], holder[MANTA_ADDRESS_BYTES + 32], address[MANTA_ADDRESS_BYTES] = "";
    const char *own = manta_listen_address(0);
    manta_writer w;
    gcs_reply reply;
    gcs_lock_result result = {0};
    snprintf(name, sizeof name, "manta.lineage/%016" PRIx64, owner);
    snprintf(holder, sizeof holder, "%016" PRIx64 " %s", the_node.process, own ? own : "");
    manta_writer_init_growing(&w);
    gcs_write_lock_acquire(&w, NULL, &(gcs_lock_acquire){manta_str_of(name), manta_str_of(holder), LEASE_MS, false});
    manta_status status = control_call("the lease of a lost owner's refs", false, &w, GCS_TIMEOUT_MS, &reply);
    if (status) return status;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_lock_result(&r, &result);
    if (r.status) return error_set(MANTA_EDECODE, "the lease of a lost owner's refs: a malformed answer");
    *out = manta_this_process();
    if (result.granted) return MANTA_OK;
    snprintf(holder, sizeof holder, "%.*s", (int)result.holder.size, result.holder.data);
    if (sscanf(holder, "%*x %255s", address) != 1) return error_set(MANTA_EDECODE, "the lease of a lost owner's refs has no address");
    return process_at(address, TRY_MS, out);
}

/* The records stay as long as this process says so. */
static void keep(uint64_t owner, manta_ref root)
{
    uint64_t job = 0, now = manta_now_ns(), kept = 0;
    MantaRecord record;
    manta_writer w;
    gcs_reply reply;
    pthread_mutex_lock(&store.lock);
    int at = adopted_at(owner);
    if (at >= 0) {
        job = store.adopted[at].job;
        kept = store.adopted[at].kept_ns;
    }
    pthread_mutex_unlock(&store.lock);
    if (at < 0 || (job && now - kept < KEEP_EVERY_MS * (uint64_t)OS_NS_PER_MS)) return;
    if (!job) {
        size_t bytes = 0;
        manta_lost_reason reason;
        void *copy = lineage_fetch(root, &bytes, &reason);
        if (copy && record_read(copy, bytes, &record)) job = record.job;
        base_free(copy);
    }
    if (!job) return;
    manta_writer_init_growing(&w);
    gcs_write_lineage_keep(&w, NULL, &(gcs_lineage_keep){job});
    (void)control_call("lineage", false, &w, GCS_TIMEOUT_MS, &reply);
    pthread_mutex_lock(&store.lock);
    if ((at = adopted_at(owner)) >= 0) {
        store.adopted[at].job = job;
        store.adopted[at].kept_ns = now;
    }
    pthread_mutex_unlock(&store.lock);
}

MANTA_METHOD_DEFINE(MantaLineage, watch, void, (uint64_t, owner))
{
    manta_ref root;
    manta_process adopter = {0};
    (void)self;
    if (!transfer_has_of(owner, &root) || !lineage_is_on()) {
        adopted_remove(owner);
        return;
    }
    if (adopt(owner, &adopter) == MANTA_OK && adopter.id == the_node.process) keep(owner, root);
    (void)MantaLineage_watch_after(WATCH_MS, MantaLineage_ref_of(manta_self()), owner);
}
MANTA_CLASS_WITH(MantaLineage, (.concurrency = 64), ship, watch)
static MantaLineage_ref new_actor(void) { return MantaLineage_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE)); }

void lineage_orphaned(uint64_t owner)
{
    MantaLineage_ref a = actor_get();
    if (a.actor.id && adopted_add(owner)) (void)MantaLineage_watch_after(WORKERS_END_MS, a, owner);
}

/* ---- searching ---- */

/* Takes the record of `root` in, when it is to be had. */
static manta_lost_reason take_record(manta_ref root)
{
    size_t bytes = 0;
    uint64_t owner;
    manta_lost_reason reason = MANTA_LOST_NONE;
    void *record = lineage_record_owner(root, &owner) ? NULL : lineage_fetch(root, &bytes, &reason);
    if (record) reason = lineage_take_in(worker_self(), record, bytes, false) ? MANTA_LOST_NO_RECORD : MANTA_LOST_NONE;
    base_free(record);
    return reason;
}

/* For a ref that came from a process that was not the owner. */
static manta_lost_reason find_owner(manta_ref root, uint64_t *out)
{
    size_t bytes = 0;
    MantaRecord record;
    manta_lost_reason reason;
    if (lineage_record_owner(root, out)) return MANTA_LOST_NONE;
    void *copy = lineage_fetch(root, &bytes, &reason);
    if (!copy) return lineage_was_evicted(root) ? MANTA_LOST_OVER_BUDGET : reason;
    bool ok = record_read(copy, bytes, &record);
    if (ok) *out = record.owner;
    base_free(copy);
    return ok ? MANTA_LOST_NONE : MANTA_LOST_NO_RECORD;
}

/* Then nobody stands for it, whatever has come in between. One that nobody connects to is not waited for any longer than this. */
static bool owner_lives(uint64_t owner)
{
    enum { LOOKS = 40, LOOK_MS = 50 };
    for (int i = 0; i < LOOKS; i++) {
        peer *p = peer_get(owner, false);
        if (!p) return false;
        pthread_mutex_lock(&p->lock);
        peer_state state = p->state;
        pthread_mutex_unlock(&p->lock);
        if (state != PEER_CONNECTING) return state == PEER_UP;
        (void)manta_sleep(LOOK_MS);
    }
    return false;
}

typedef struct found { /* who is to make it */
    uint64_t owner;
    manta_process maker; /* 0: this process */
    manta_lost_reason reason;
    const char *detail;
} found;

static void settle(manta_ref root, const found *f)
{
    peer *maker = f->maker.id ? peer_get(f->maker.id, true) : NULL;
    if (maker) lineage_carry(root, maker);
    for (rebuild *r; (r = lineage_searching_take(root));) {
        r->owner = f->owner;
        r->redirect = f->maker.id;
        if (f->reason) transfer_rebuilt(r, lost_error(r, f->reason, f->detail));
        else if (r->redirect) transfer_rebuilt(r, NULL);
        else lineage_attach(worker_self(), r, false);
    }
}

static void find_adopter(manta_ref root, found *f)
{
    manta_status status = MANTA_ETIMEDOUT;
    for (int i = 0; i < TRIES && status; i++) { /* of one that has just ended the lease goes on for a while */
        if (i) (void)manta_sleep(TRY_MS);
        status = adopt(f->owner, &f->maker);
    }
    if (status) *f = (found){f->owner, {0}, MANTA_LOST_NO_RECORD, manta_last_error()->message};
    else if (f->maker.id == the_node.process) *f = (found){f->owner, {0}, take_record(root), NULL};
}

MANTA_TASK(MantaSearch, void, (uint64_t, high), (uint64_t, low), (uint64_t, owner), (bool, owner_refused))
{
    manta_ref root = {{high, low}};
    found f = {.owner = owner};
    if (!owner) f.reason = find_owner(root, &f.owner);
    bool lives = !f.reason && owner_lives(f.owner);
    if (lives && owner_refused) f.reason = MANTA_LOST_NO_RECORD;
    else if (lives) f.maker = (manta_process){f.owner};
    else if (!f.reason) find_adopter(root, &f);
    settle(root, &f);
}

bool lineage_search_start(manta_ref root, uint64_t owner, bool owner_refused)
{
    manta_void_future f = MantaSearch_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE), root.id[0], root.id[1], owner, owner_refused);
    return manta_future_release(f.future) == MANTA_OK;
}
