#include "gcs/host/disk.h"

#include <string.h>

#include "gcs/host/host_text.h"
#include "scheduler/base/alloc.h"
#include "scheduler/os/os.h"
#include "scheduler/pool/sim.h"

enum { TRANSACTION_BYTES = 32 << 20 }; /* of entries; one write always fits */

/* ---- deterministic mode ---- */

static struct {
    raft_disk *disks;
    uint64_t least_ns, most_ns;
} simulated = {NULL, 50 * OS_NS_PER_US, OS_NS_PER_MS};

void raft_disks_set_delay(uint64_t least_ns, uint64_t most_ns)
{
    simulated.least_ns = least_ns;
    simulated.most_ns = most_ns > least_ns ? most_ns : least_ns;
}

static void arm(raft_disk *d)
{
    uint64_t delay = simulated.least_ns + os_random_u64() % (simulated.most_ns - simulated.least_ns + 1);
    if (d->is_armed) return;
    d->is_armed = true;
    pool_timer_start(worker_self(), &d->timer, pool_now_ns() + delay);
}

void raft_disks_crash(void)
{
    for (; simulated.disks; simulated.disks = simulated.disks->next_simulated) raft_store_close(&simulated.disks->store);
}

/* ---- writes ---- */

disk_write *disk_write_new(const raft_write *w)
{
    disk_write *d = base_alloc(sizeof *d + (size_t)w->count * sizeof *d->entries);
    if (!d) return NULL;
    *d = (disk_write){.w = *w};
    if (w->snapshot) d->snapshot = *w->snapshot;
    if (w->count) memcpy(d->entries, w->entries, (size_t)w->count * sizeof *d->entries);
    for (uint64_t i = 0; i < w->count; i++) raft_buffer_retain(d->entries[i].buffer);
    d->w.entries = d->entries;
    d->w.snapshot = w->snapshot ? &d->snapshot : NULL;
    return d;
}

void disk_write_free(disk_write *d)
{
    for (uint64_t i = 0; i < d->w.count; i++) raft_buffer_release(d->entries[i].buffer);
    raft_image_release(d->image);
    base_free(d);
}

static void signal_more(raft_disk *d)
{
    if (d->is_simulated) arm(d);
    else pthread_cond_signal(&d->more);
}

void raft_disk_push(raft_disk *d, disk_write *w)
{
    w->next = NULL;
    pthread_mutex_lock(&d->lock);
    *d->end = w;
    d->end = &w->next;
    pthread_mutex_unlock(&d->lock);
    signal_more(d);
}

manta_status raft_disk_begin_job(raft_disk *d, const raft_snapshot *about, raft_image *image, char *text)
{
    store_relaxed(&d->job_done, false);
    manta_status status = file_job_begin(&d->job, d->store.directory, !d->store.no_sync, about, image, text);
    if (status) {
        file_job_end(&d->job);
        return status;
    }
    pthread_mutex_lock(&d->lock);
    d->job_is_new = true;
    pthread_mutex_unlock(&d->lock);
    signal_more(d);
    return MANTA_OK;
}

/* ---- the thread ---- */

typedef struct turn { /* what the thread has in hands */
    disk_write *first;
    bool has_job;
} turn;

/* Under the lock. */
static void take_work(raft_disk *d, turn *t)
{
    t->first = d->first;
    t->has_job |= d->job_is_new;
    d->job_is_new = false;
    d->first = NULL;
    d->end = &d->first;
}

/* False: stop. */
static bool wait_for_work(raft_disk *d, turn *t)
{
    pthread_mutex_lock(&d->lock);
    while (!d->first && !d->job_is_new && !t->has_job && !d->stop) pthread_cond_wait(&d->more, &d->lock);
    take_work(d, t);
    bool stop = d->stop;
    pthread_mutex_unlock(&d->lock);
    return t->first || !stop;
}

static void free_writes(disk_write *first)
{
    while (first) {
        disk_write *next = first->next;
        disk_write_free(first);
        first = next;
    }
}

/* A received snapshot's file, in front of the write that makes it count. */
static manta_status write_image(raft_disk *d, const disk_write *w)
{
    file_job j;
    bool done = false;
    manta_status status = file_job_begin(&j, d->store.directory, !d->store.no_sync, &w->snapshot, w->image, d->text);
    while (!status && !done) status = file_job_step(&j, &done, d->text);
    file_job_end(&j);
    return status;
}

/* Where the transaction that begins with `first` ends. */
static manta_status gather(raft_disk *d, disk_write *first, disk_write **out_end, uint64_t *out_number)
{
    uint64_t bytes = 0, count = 0;
    disk_write *w = first;
    manta_status status = MANTA_OK;
    for (; w && (w == first || bytes < TRANSACTION_BYTES) && !status; w = w->next) {
        for (uint64_t i = 0; i < w->w.count; i++) bytes += w->w.entries[i].size;
        count += w->w.count;
        *out_number = w->w.number;
        if (w->image) status = write_image(d, w);
    }
    *out_end = w;
    count_up(&d->entries, count);
    count_up(&d->bytes, bytes);
    return status;
}

static manta_status write_all(raft_disk *d, disk_write *first)
{
    manta_status status = MANTA_OK;
    for (disk_write *end; first && !status; first = end) {
        uint64_t number = 0;
        status = gather(d, first, &end, &number);
        if (!status) status = raft_store_write(&d->store, first, end, d->text);
        if (status) return status;
        count_up(&d->group_commits, 1);
        store_release(&d->durable, number);
        d->wake(d->context);
    }
    return status;
}

static manta_status step_job(raft_disk *d, turn *t)
{
    bool done = false;
    manta_status status = file_job_step(&d->job, &done, d->text);
    if (status || !done) return status;
    t->has_job = false;
    store_release(&d->job_done, true);
    d->wake(d->context);
    return MANTA_OK;
}

/* False: it failed, and nothing more is written. */
static bool work(raft_disk *d, turn *t)
{
    manta_status status = write_all(d, t->first);
    if (!status && t->has_job) status = step_job(d, t);
    free_writes(t->first);
    if (!status) return true;
    store_release(&d->failed, true);
    d->wake(d->context);
    return false;
}

static void *run(void *argument)
{
    raft_disk *d = argument;
    turn t = {0};
    while (wait_for_work(d, &t) && work(d, &t)) continue;
    return NULL;
}

static void work_in_simulation(worker *w, pool_timer *timer)
{
    raft_disk *d = (raft_disk *)(void *)((char *)timer - offsetof(raft_disk, timer));
    turn t = {.has_job = d->has_job};
    (void)w;
    d->is_armed = false;
    take_work(d, &t);
    if (load_relaxed(&d->failed)) free_writes(t.first);
    else if (work(d, &t) && (d->has_job = t.has_job)) arm(d);
}

static void start_in_simulation(raft_disk *d)
{
    d->timer = (pool_timer){.fire = work_in_simulation};
    d->is_simulated = d->is_started = true;
    d->next_simulated = simulated.disks;
    simulated.disks = d;
}

static void stop_in_simulation(raft_disk *d)
{
    raft_disk **at = &simulated.disks;
    if (d->is_armed && pool_timer_cancel(&d->timer)) work_in_simulation(NULL, &d->timer);
    if (d->is_armed) (void)pool_timer_cancel(&d->timer);
    while (*at && *at != d) at = &(*at)->next_simulated;
    if (*at) *at = d->next_simulated;
}

static void stop_thread(raft_disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_mutex_unlock(&d->lock);
    pthread_cond_signal(&d->more);
    pthread_join(d->thread, NULL);
}

manta_status raft_disk_start(raft_disk *d, void (*wake)(void *context), void *context, char *text)
{
    d->wake = wake;
    d->context = context;
    d->end = &d->first;
    d->job.fd = -1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->more, NULL);
    if (sim_is_on()) {
        start_in_simulation(d);
        return MANTA_OK;
    }
    int error = os_thread_start(&d->thread, "raft-disk", run, d);
    d->is_started = !error;
    return error ? host_say(text, MANTA_ENOMEM, "the disk's thread: %s", strerror(error)) : MANTA_OK;
}

void raft_disk_stop(raft_disk *d)
{
    if (d->is_started) {
        if (d->is_simulated) stop_in_simulation(d);
        else stop_thread(d);
        free_writes(d->first);
        file_job_end(&d->job);
    }
    raft_store_close(&d->store);
}
