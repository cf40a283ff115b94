/*
 * Opening, creating and leaving a store: the files of its directory, the stamp that they must carry, and this process's place in it.
 *
 *   arena     the bytes; given all its room at once, or as it is used (extents.c)
 *   control   see internal.h; given room for its fixed parts, the rest grows with use
 *   index     LMDB (and index-lock)                        locks     a byte per process, one for the node, one for whoever builds
 *
 * A store of another start of the kernel, of another version or with other sizes is nobody's, unless a live process holds one of the locks: then it is left alone.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objstore/internal.h"

enum { CAPACITY_MIN = 4 << 20, OBJECTS_MIN = 65536, OBJECTS_MAX = 4194304, BUILD_WAIT_MS = 10000 };
#define CAPACITY_DEFAULT (1ull << 30)
#define CAPACITY_MAX (1ull << 46)
static const char magic[8] = {'M', 'A', 'N', 'T', 'A', 'O', 'B', 'J'};

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static store *open_stores;

uint64_t store_now_ms(const store *s) { return (os_monotonic_ns() - s->control->created_ns) / OS_NS_PER_MS; }

/* ---- where the parts of the control file are ---- */

typedef struct parts {
    uint64_t chunk_owner, chunk_freed, sites, replicas, backed, slabs, tenants, slots, end;
} parts;

static uint64_t page_up(uint64_t bytes) { return (bytes + OS_PAGE - 1) & ~(uint64_t)(OS_PAGE - 1); }

static parts parts_of(uint64_t capacity, uint64_t max_objects)
{
    uint64_t granules = capacity / SLAB_GRANULE, chunks = max_objects / CHUNK_SLOTS;
    parts p;
    p.chunk_owner = page_up(HEADER_BYTES + (uint64_t)STORE_PROCESSES * PROCESS_BYTES);
    p.chunk_freed = p.chunk_owner + page_up(chunks);
    p.sites = p.chunk_freed + page_up(chunks * 2);
    p.replicas = p.sites + (uint64_t)SITES * STORE_SITE_BYTES;
    p.backed = p.replicas + page_up((uint64_t)REPLICA_SETS * REPLICA_WAYS * sizeof(replica));
    p.slabs = p.backed + page_up(capacity / OS_HUGE_PAGE);
    p.tenants = p.slabs + page_up(granules * sizeof(slab));
    p.slots = p.tenants + page_up(granules * SLAB_CELLS * sizeof(uint32_t));
    p.end = p.slots + page_up(max_objects * sizeof(slot));
    return p;
}

static void point(store *s, void *memory, uint64_t capacity, uint32_t max_objects)
{
    unsigned char *base = memory;
    parts p = parts_of(capacity, max_objects);
    s->control = memory;
    s->control_bytes = p.end;
    s->chunk_owner = (void *)(base + p.chunk_owner);
    s->chunk_freed = (void *)(base + p.chunk_freed);
    s->sites = (char *)(base + p.sites);
    s->replicas = (void *)(base + p.replicas);
    s->backed = (void *)(base + p.backed);
    s->slabs = (void *)(base + p.slabs);
    s->tenants = (void *)(base + p.tenants);
    s->slots = (void *)(base + p.slots);
}

static const char *file_path(const store *s, const char *name, char *out)
{
    snprintf(out, 600, "%s/%s", s->path, name);
    return out;
}

static manta_status file_failed(const store *s, const char *name, const char *what, int error)
{
    manta_status status = error == ENOSPC || error == EDQUOT ? MANTA_ESTOREFULL
                          : error == ENOENT                  ? MANTA_ENOTFOUND
                          : error == ENOMEM                  ? MANTA_ENOMEM
                                                             : MANTA_EIO;
    return store_fail_(status, "%s%s%s: cannot %s: %s", s->path, *name ? "/" : "", name, what, strerror(error));
}

/* ---- call sites ---- */

uint32_t site_row(store *s, const char *site)
{
    uint32_t n = load_acquire(&s->control->sites);
    for (uint32_t i = 1; i <= n && i < SITES; i++)
        if (strncmp(s->sites + (size_t)i * STORE_SITE_BYTES, site, STORE_SITE_BYTES - 1) == 0) return i;
    uint32_t row = add_seq(&s->control->sites, 1) + 1;
    if (row >= SITES) {
        store_seq(&s->control->sites, SITES - 1);
        return 0;
    }
    snprintf(s->sites + (size_t)row * STORE_SITE_BYTES, STORE_SITE_BYTES, "%s", site);
    return row;
}

/* ---- creating ---- */

static void mutex_init(pthread_mutex_t *m)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(m, &a);
    pthread_mutexattr_destroy(&a);
}

static int make_file(const store *s, const char *name, uint64_t allocated, uint64_t size, int *out_fd)
{
    char path[600];
    int error = os_file_open(file_path(s, name, path), OS_WRITE | OS_CREATE, out_fd);
    if (!error && allocated) error = os_file_allocate(*out_fd, 0, allocated);
    return error ? error : os_file_resize(*out_fd, size);
}

static void fill_stamp(store *s, const store_options *o)
{
    control *c = s->control;
    memcpy(c->magic, magic, sizeof magic);
    c->version = LAYOUT_VERSION;
    c->header_bytes = sizeof(control);
    c->slot_bytes = sizeof(slot);
    c->process_bytes = PROCESS_BYTES;
    c->slab_granule = SLAB_GRANULE;
    c->capacity = o->capacity_bytes;
    c->max_objects = o->max_objects;
    c->salt = (os_random_u64() & UINT32_MAX) | 1;
    c->spill_limit = o->spill_bytes;
    c->high_percent = o->high_percent;
    c->low_percent = o->low_percent;
    c->created_ns = os_monotonic_ns();
    c->file_next = 1;
    (void)os_boot_id(c->boot_id);
    mutex_init(&c->evicting);
    mutex_init(&c->inside);
    mutex_init(&c->reaping);
    mutex_init(&c->replicating);
}

static int wipe(const store *s)
{
    static const char *const names[] = {"control", "arena", "index", "index-lock"};
    char path[600];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int error = os_file_remove(file_path(s, names[i], path));
        if (error && error != ENOENT) return error;
    }
    return 0;
}

/* The arena first: what the tmpfs can never hold fails there at once. */
static manta_status make_files(store *s, const store_options *o)
{
    parts p = parts_of(o->capacity_bytes, o->max_objects);
    void *memory;
    int error = make_file(s, "arena", o->grows ? 0 : o->capacity_bytes, o->capacity_bytes, &s->arena_fd);
    if (error)
        return store_fail_(file_failed(s, "arena", "be made", error), "%s/arena: no room for %llu bytes: %s", s->path,
            (unsigned long long)o->capacity_bytes, strerror(error));
    error = make_file(s, "control", p.tenants, p.end, &s->control_fd);
    if (!error) error = os_file_map(s->control_fd, p.end, true, &memory);
    if (error) return file_failed(s, "control", "be made", error);
    point(s, memory, o->capacity_bytes, o->max_objects);
    fill_stamp(s, o);
    memset((void *)(uintptr_t)s->backed, !o->grows, o->capacity_bytes / OS_HUGE_PAGE);
    manta_status status = extents_open(s, true);
    if (!status) s->control->complete = 1;
    return status;
}

static void drop_files(store *s)
{
    extents_close(s);
    if (s->control) os_file_unmap(s->control, s->control_bytes);
    os_file_close(s->control_fd);
    os_file_close(s->arena_fd);
    s->control = NULL;
    s->control_fd = s->arena_fd = -1;
}

static manta_status create(store *s, const store_options *o)
{
    manta_status status = make_files(s, o);
    if (!status) return MANTA_OK;
    drop_files(s); /* a store that could not be made takes no room */
    (void)wipe(s);
    return status;
}

/* ---- taking over what is there ---- */

/* NULL: the stamp fits this library, and the file its stamp. */
static const char *misfit(const control *c, uint64_t file_bytes)
{
    char boot[40];
    if (memcmp(c->magic, magic, sizeof magic) != 0) return "it is no store of objects";
    if (c->version != LAYOUT_VERSION) return "it was made by another version";
    if (c->header_bytes != sizeof(control) || c->slot_bytes != sizeof(slot) || c->process_bytes != PROCESS_BYTES ||
        c->slab_granule != SLAB_GRANULE)
        return "it was made with other sizes of its records";
    if (!c->complete) return "its making was interrupted";
    if (c->capacity < CAPACITY_MIN || c->capacity > CAPACITY_MAX || c->capacity % OS_HUGE_PAGE || c->max_objects < CHUNK_SLOTS ||
        c->max_objects > OBJECTS_MAX || c->max_objects % CHUNK_SLOTS || parts_of(c->capacity, c->max_objects).end != file_bytes)
        return "its sizes contradict each other";
    return os_boot_id(boot) && strcmp(boot, c->boot_id) != 0 ? "it is of an earlier start of this machine" : NULL;
}

static manta_status check_stamp(store *s, uint64_t size)
{
    void *memory;
    if (size < HEADER_BYTES) return store_fail_(MANTA_ETYPE, "%s/control: it has only %llu bytes", s->path, (unsigned long long)size);
    int error = os_file_map(s->control_fd, HEADER_BYTES, false, &memory);
    if (error) return file_failed(s, "control", "be mapped", error);
    const char *why = misfit(memory, size);
    manta_status status = why ? store_fail_(MANTA_ETYPE, "%s/control: %s", s->path, why) : MANTA_OK;
    os_file_unmap(memory, HEADER_BYTES);
    return status;
}

static bool somebody_lives(const store *s)
{
    for (uint32_t i = 0; i < STORE_PROCESSES; i++)
        if (os_file_is_locked(s->lock_fd, i)) return true;
    return false;
}

static manta_status adopt(store *s)
{
    char path[600];
    uint64_t size = 0, arena = 0;
    void *memory;
    int access = s->inspect ? OS_READ : OS_WRITE, error = os_file_open(file_path(s, "control", path), access, &s->control_fd);
    if (!error) error = os_file_size(s->control_fd, &size);
    if (error) return file_failed(s, "control", "be opened", error);
    manta_status status = check_stamp(s, size);
    if (status) return status;
    if ((error = os_file_map(s->control_fd, size, !s->inspect, &memory))) return file_failed(s, "control", "be mapped", error);
    const control *c = memory;
    point(s, memory, c->capacity, c->max_objects);
    error = os_file_open(file_path(s, "arena", path), access, &s->arena_fd);
    if (!error) error = os_file_size(s->arena_fd, &arena);
    if (error) return file_failed(s, "arena", "be opened", error);
    if (arena != s->control->capacity)
        return store_fail_(MANTA_ETYPE, "%s/arena: %llu bytes, the control file says %llu", s->path, (unsigned long long)arena,
            (unsigned long long)s->control->capacity);
    bool is_used = somebody_lives(s);
    if ((status = index_check(s, is_used ? INDEX_IN_USE : 0))) return status;
    status = extents_open(s, false);
    return status || is_used || s->inspect ? status : extents_check(s);
}

static manta_status adopt_or_create(store *s, const store_options *o, const store_options *given)
{
    manta_status status = adopt(s);
    bool other = !status && s->is_node &&
                 ((given->capacity_bytes && o->capacity_bytes != s->control->capacity) ||
                     (given->max_objects && o->max_objects != s->control->max_objects));
    if (!status && !other) return MANTA_OK;
    if (o->mode == STORE_ATTACH || status == MANTA_ENOMEM) return status;
    if (somebody_lives(s))
        return other ? store_fail_(MANTA_EEXIST, "%s: processes use it with %llu bytes", s->path, (unsigned long long)s->control->capacity)
                     : status;
    drop_files(s);
    int error = wipe(s);
    return error ? file_failed(s, "", "be wiped", error) : create(s, o);
}

/* ---- this process's place ---- */

static manta_status claim(store *s, const store_options *o)
{
    for (uint32_t i = 0; i < STORE_PROCESSES; i++) {
        if (os_file_try_lock(s->lock_fd, i)) continue;
        process *p = process_of(s, i);
        s->me = i;
        s->bit = 1ull << i;
        if (load_seq(&p->pid)) reap_process(s, i);
        snprintf(p->name, sizeof p->name, "%s", o->name ? o->name : "");
        p->attached_ns = os_monotonic_ns();
        p->is_node = s->is_node;
        store_seq(&p->pid, (int)getpid());
        add_seq(&s->control->attached, 1);
        os_futex_wake_shared(&s->control->attached, INT_MAX);
        return MANTA_OK;
    }
    return store_fail_(MANTA_ELIMIT, "%s: %d processes are attached already", s->path, STORE_PROCESSES);
}

static manta_status map_arena(store *s)
{
    void *readable, *writable;
    int error = os_file_map(s->arena_fd, s->control->capacity, false, &readable);
    if (error) return file_failed(s, "arena", "be mapped", error);
    s->readable = readable;
    if ((error = os_file_map(s->arena_fd, s->control->capacity, true, &writable))) return file_failed(s, "arena", "be mapped", error);
    s->writable = writable;
    os_memory_advise_huge(readable, s->control->capacity);
    os_memory_advise_huge(writable, s->control->capacity);
    s->populated = base_calloc(s->control->capacity / OS_HUGE_PAGE, 1);
    s->local = os_map(s->control->max_objects * sizeof(local_count), OS_MAP_NORESERVE);
    return s->populated && s->local ? MANTA_OK : store_fail_(MANTA_ENOMEM, "%s: no memory to attach", s->path);
}

/* Fresh pages are ten times as dear as warm ones: touch them before they are needed. */
static void *prefault(void *argument)
{
    store *s = argument;
    uint64_t n = s->control->capacity / OS_HUGE_PAGE;
    for (uint64_t i = 0; i < n && !load_seq(&s->stopping); i++) {
        if (!load_relaxed(&s->populated[i])) (void)os_memory_populate(s->writable + i * OS_HUGE_PAGE, OS_HUGE_PAGE, true);
        store_relaxed(&s->populated[i], 1);
    }
    return NULL;
}

static manta_status lock_wait(store *s, uint64_t byte)
{
    for (int i = 0; i < BUILD_WAIT_MS; i++) {
        int error = os_file_try_lock(s->lock_fd, byte);
        if (!error) return MANTA_OK;
        if (error != EAGAIN) return file_failed(s, "locks", "be locked", error);
        usleep(1000);
    }
    return store_fail_(MANTA_ETIMEDOUT, "%s: another process is opening it for more than %d ms", s->path, BUILD_WAIT_MS);
}

static manta_status become_node(store *s, store_mode mode)
{
    if (mode == STORE_ATTACH) return MANTA_OK;
    int error = os_file_try_lock(s->lock_fd, LOCK_NODE);
    s->is_node = !error;
    if (error && error != EAGAIN) return file_failed(s, "locks", "be locked", error);
    if (error && mode == STORE_CREATE) return store_fail_(MANTA_EEXIST, "%s: a node serves it already", s->path);
    return MANTA_OK;
}

static manta_status spill_settings(store *s, const store_options *o)
{
    if (!s->is_node || !o->spill_path) return MANTA_OK;
    char parent[PATH_MAX];
    int error = os_directory_make(o->spill_path);
    if (!error && !realpath(o->spill_path, parent)) error = errno;
    if (!error && strlen(parent) > 400) error = ENAMETOOLONG;
    if (error) return store_fail_(MANTA_EIO, "%s: cannot be used: %s", o->spill_path, strerror(error));
    s->control->spill_limit = o->spill_bytes;
    return spill_adopt(s, parent);
}

/* Somebody may be removing the store: a lock file that has no name any more is nobody's. */
static manta_status open_locks(store *s, store_mode mode)
{
    enum { TRIES = 100 };
    char path[600];
    for (int i = 0; i < TRIES; i++) {
        int error = mode == STORE_ATTACH ? 0 : os_directory_make(s->path);
        if (!error) error = os_file_open(file_path(s, "locks", path), OS_WRITE | (mode == STORE_ATTACH ? 0 : OS_CREATE), &s->lock_fd);
        if (error == ENOENT && mode != STORE_ATTACH && i + 1 < TRIES && os_directory_make(s->path) == 0) continue;
        if (error) return file_failed(s, "", "be opened", error);
        manta_status status = lock_wait(s, LOCK_BUILD);
        if (status || os_file_is_at(s->lock_fd, path)) return status;
        os_file_close(s->lock_fd);
        s->lock_fd = -1;
    }
    return store_fail_(MANTA_EIO, "%s: it is removed again and again", s->path);
}

static manta_status open_shared(store *s, const store_options *o, const store_options *given)
{
    manta_status status = open_locks(s, o->mode);
    if (s->lock_fd < 0) return status;
    if (!status) status = become_node(s, o->mode);
    if (!status) status = adopt_or_create(s, o, given);
    if (!status) status = map_arena(s);
    if (!status) status = claim(s, o);
    if (!status) (void)reap_dead(s);
    if (!status) status = spill_settings(s, o);
    (void)os_file_unlock(s->lock_fd, LOCK_BUILD);
    return status;
}

/* ---- options ---- */

static manta_status fill_options(const store_options *given, store_options *o)
{
    *o = *given;
    if (!given->path || !*given->path || strlen(given->path) > 400)
        return store_fail_(MANTA_EINVAL, "a store needs a path of 1 to 400 bytes");
    if (!o->capacity_bytes) o->capacity_bytes = CAPACITY_DEFAULT;
    if (o->capacity_bytes < CAPACITY_MIN || o->capacity_bytes > CAPACITY_MAX)
        return store_fail_(MANTA_EINVAL, "%s: a capacity of %llu bytes; from %d bytes to 64 TiB", o->path,
            (unsigned long long)o->capacity_bytes, CAPACITY_MIN);
    o->capacity_bytes = (o->capacity_bytes + OS_HUGE_PAGE - 1) & ~(uint64_t)(OS_HUGE_PAGE - 1);
    uint64_t fitting = o->capacity_bytes / 4096;
    if (!o->max_objects) o->max_objects = (uint32_t)(fitting < OBJECTS_MIN ? OBJECTS_MIN : fitting > OBJECTS_MAX ? OBJECTS_MAX : fitting);
    if (o->max_objects > OBJECTS_MAX)
        return store_fail_(MANTA_EINVAL, "%s: max_objects %u; at most %d", o->path, o->max_objects, OBJECTS_MAX);
    o->max_objects = (o->max_objects + CHUNK_SLOTS - 1) / CHUNK_SLOTS * CHUNK_SLOTS;
    if (!o->high_percent) o->high_percent = 85;
    if (!o->low_percent) o->low_percent = o->high_percent > 10 ? o->high_percent - 10 : o->high_percent;
    if (o->high_percent > 100 || o->low_percent > o->high_percent)
        return store_fail_(MANTA_EINVAL, "%s: water marks of %u and %u percent", o->path, o->high_percent, o->low_percent);
    if (!o->full_wait_ms) o->full_wait_ms = 10000;
    return MANTA_OK;
}

static store *store_new(const store_options *o)
{
    store *s = base_calloc(1, sizeof *s);
    if (!s) return NULL;
    s->arena_fd = s->control_fd = s->lock_fd = s->spill_lock_fd = -1;
    s->me = UINT32_MAX;
    s->inspect = o->mode == STORE_INSPECT;
    s->full_wait_ns = o->full_wait_ms * OS_NS_PER_MS;
    s->call_sites = o->call_sites;
    if (!realpath(o->path, s->path)) snprintf(s->path, sizeof s->path, "%s", o->path);
    for (int i = 0; i < 64; i++) pthread_mutex_init(&s->shards[i], NULL);
    for (int i = 0; i < SLAB_CLASSES; i++) pthread_mutex_init(&s->classes[i].lock, NULL);
    pthread_mutex_init(&s->slots_lock, NULL);
    pthread_mutex_init(&s->watch_lock, NULL);
    return s;
}

static void store_free(store *s)
{
    if (s->control) {
        os_file_unmap(s->readable, s->control->capacity);
        os_file_unmap(s->writable, s->control->capacity);
        if (s->local) os_unmap(s->local, s->control->max_objects * sizeof(local_count));
    }
    drop_files(s);
    os_file_close(s->lock_fd);
    os_file_close(s->spill_lock_fd);
    base_free((void *)(uintptr_t)s->populated);
    base_free(s);
}

/* Then a second one is refused, also to look in: LMDB's locks are the process's, and closing one index would let go of the other's. */
static bool is_open_here(const char *path)
{
    for (store *s = open_stores; s; s = s->next)
        if (strcmp(s->path, path) == 0) return true;
    return false;
}

static manta_status open_inspect(store *s)
{
    char path[600];
    int error = os_file_open(file_path(s, "locks", path), OS_READ, &s->lock_fd);
    if (error) return file_failed(s, "", "be opened", error);
    manta_status status = adopt(s);
    void *readable;
    if (status || (error = os_file_map(s->arena_fd, s->control->capacity, false, &readable)))
        return status ? status : file_failed(s, "arena", "be mapped", error);
    s->readable = readable;
    return MANTA_OK;
}

static void start_threads(store *s, const store_options *o)
{
    s->has_prefault_thread = !o->no_prefault && s->is_node && os_thread_start(&s->prefault_thread, "store-prefault", prefault, s) == 0;
    if (!o->no_keeper) keeper_start(s);
}

manta_status store_open(const store_options *given, store **out)
{
    store_options o;
    manta_status status = fill_options(given, &o);
    store *s = status ? NULL : store_new(&o);
    if (!s) return status ? status : store_fail_(MANTA_ENOMEM, "%s: no memory", o.path);
    pthread_mutex_lock(&open_lock);
    if (is_open_here(s->path)) status = store_fail_(MANTA_EEXIST, "%s: this process has it open already", s->path);
    if (!status) status = s->inspect ? open_inspect(s) : open_shared(s, &o, given);
    if (!status) {
        (void)realpath(o.path, s->path);
        s->next = open_stores;
        open_stores = s;
        if (!s->inspect) start_threads(s, &o);
        *out = s;
    } else store_free(s);
    pthread_mutex_unlock(&open_lock);
    return status;
}

/* ---- leaving ---- */

static void leave_list(store *s)
{
    pthread_mutex_lock(&open_lock);
    for (store **link = &open_stores; *link; link = &(*link)->next)
        if (*link == s) {
            *link = s->next;
            break;
        }
    pthread_mutex_unlock(&open_lock);
}

void store_close(store *s)
{
    if (!s) return;
    if (!s->inspect) {
        store_seq(&s->stopping, 1);
        if (s->has_prefault_thread) pthread_join(s->prefault_thread, NULL);
        keeper_stop(s);
        store_unwatch_all(s);
        spill_stop(s);
        slab_trim(s, true);
        reap_process(s, s->me);
        slab_trim(s, false);
    }
    leave_list(s);
    store_free(s);
}

manta_status store_destroy(const char *path)
{
    store s = {.lock_fd = -1};
    char file[600];
    snprintf(s.path, sizeof s.path, "%s", path);
    int error = os_file_open(file_path(&s, "locks", file), OS_WRITE, &s.lock_fd);
    if (error == ENOENT) return MANTA_OK;
    if (error) return file_failed(&s, "locks", "be opened", error);
    if (os_file_try_lock(s.lock_fd, LOCK_BUILD) || somebody_lives(&s)) {
        os_file_close(s.lock_fd);
        return store_fail_(MANTA_EEXIST, "%s: processes use it", path);
    }
    spill_wipe(path);
    error = wipe(&s);
    if (!error) error = os_file_remove(file);
    if (!error) error = os_directory_remove(path);
    os_file_close(s.lock_fd);
    return error ? file_failed(&s, "", "be removed", error) : MANTA_OK;
}
