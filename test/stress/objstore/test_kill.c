/* Writers, readers and reapers of one store are killed with SIGKILL at random points, a thousand times: no object is lost or changed, nothing leaks, nothing overlaps. */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "scheduler/base/crc32c.h"
#include "scheduler/os/os.h"
#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20, WORKERS = 3, KEPT = 64, OWN = 40, OBJECT_MAX = 3 * MIB, ROUNDS = 1000, CHECK_EVERY = 50 };

typedef struct parcel { /* what a worker tells its parent: take this object */
    store_id id;
    uint64_t size, seed;
} parcel;

static store_options options_of(const char *path, const char *spill, store_mode mode)
{
    return (store_options){.mode = mode,
        .path = path,
        .capacity_bytes = 64 * MIB,
        .name = mode == STORE_CREATE ? "node" : "worker",
        .full_wait_ms = 20,
        .spill_path = spill,
        .high_percent = 60,
        .low_percent = 40,
        .no_prefault = true};
}

/* ---- the worker ---- */

static parcel put_one(store *s, rng *r, unsigned char *data, const store_id *inside)
{
    parcel p = {.seed = rng_next(r)};
    p.size = rng_next(r) % (rng_next(r) % 4 ? 1ull << (6 + rng_next(r) % 11) : OBJECT_MAX);
    void *to;
    if (store_create(s, p.size, inside ? 1 : 0, &p.id, &to)) return (parcel){0};
    store_pattern(data, p.size, p.seed);
    if (p.size) memcpy(to, data, p.size);
    if (rng_next(r) % 16 == 0 || store_seal(s, p.id, inside)) {
        (void)store_abort(s, p.id);
        return (parcel){0};
    }
    return p;
}

static void read_one(store *s, const parcel *p)
{
    store_view v;
    manta_status status = store_pin(s, p->id, &v);
    if (status == MANTA_ESTOREFULL) return; /* spilled, and no room to bring it back */
    if (status || v.size_bytes != p->size || !store_pattern_is(v.data, v.size_bytes, p->seed)) {
        fprintf(stderr, "worker: object of %llu bytes: %s %s\n", (unsigned long long)p->size, manta_status_name(status),
            status ? store_error() : "changed");
        _exit(3);
    }
    store_unpin(s, p->id);
}

static void work(store *s, int to_parent)
{
    parcel own[OWN] = {0};
    unsigned char *data = malloc(OBJECT_MAX);
    rng r;
    rng_init(&r, os_random_u64());
    for (;;) {
        parcel *p = &own[rng_next(&r) % OWN];
        uint64_t what = rng_next(&r) % 16;
        if (!p->id.word[0]) *p = put_one(s, &r, data, what < 4 && own[0].id.word[0] && p != own ? &own[0].id : NULL);
        else if (what < 6) read_one(s, p);
        else if (what < 7) (void)store_tick(s, NULL);
        else if (what < 8 && rng_next(&r) % 32 == 0) store_spill_all(s);
        else if (what < 9) {
            char taken;
            if (write(to_parent, p, sizeof *p) != sizeof *p || read(to_parent, &taken, 1) != 1) _exit(4);
            (void)store_drop(s, p->id);
            p->id.word[0] = 0;
        } else {
            (void)store_drop(s, p->id);
            p->id.word[0] = 0;
        }
    }
}

__attribute__((constructor)) static void worker_main(void)
{
    const char *path = getenv("MANTA_KILL_WORKER"), *fd = getenv("MANTA_KILL_FD");
    if (!path || !fd) return;
    store *s;
    store_options o = options_of(path, NULL, STORE_ATTACH);
    if (store_open(&o, &s)) {
        fprintf(stderr, "worker: %s\n", store_error());
        _exit(5);
    }
    work(s, atoi(fd));
}

/* ---- the parent ---- */

typedef struct worker_process {
    pid_t pid;
    int fd;
} worker_process;

static bool worker_start(worker_process *w, const char *path)
{
    int ends[2];
    char fd[16];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) return false;
    snprintf(fd, sizeof fd, "%d", 50);
    w->pid = fork();
    if (w->pid == 0) {
        dup2(ends[1], 50);
        setenv("MANTA_KILL_WORKER", path, 1);
        setenv("MANTA_KILL_FD", fd, 1);
        execl("/proc/self/exe", "worker", (char *)NULL);
        _exit(6);
    }
    close(ends[1]);
    w->fd = ends[0];
    return w->pid > 0;
}

/* False: the worker ended by itself, so it found something wrong. */
static bool worker_kill(worker_process *w)
{
    int status = 0;
    if (w->pid <= 0) return true;
    kill(w->pid, SIGKILL);
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) continue;
    close(w->fd);
    w->pid = 0;
    if (!WIFSIGNALED(status)) fprintf(stderr, "a worker ended with %d\n", WEXITSTATUS(status));
    return WIFSIGNALED(status);
}

/* Takes objects that workers offer, in the place of older ones, until the time is over. */
static void take_parcels(store *s, worker_process *workers, parcel *kept, rng *r, uint64_t until_ns)
{
    while (os_monotonic_ns() < until_ns)
        for (int i = 0; i < WORKERS; i++) {
            parcel p;
            if (recv(workers[i].fd, &p, sizeof p, MSG_DONTWAIT) != sizeof p) continue;
            parcel *place = &kept[rng_next(r) % KEPT];
            if (store_hold(s, p.id) == MANTA_OK) {
                if (place->id.word[0]) (void)store_drop(s, place->id);
                *place = p;
            }
            (void)send(workers[i].fd, "", 1, MSG_NOSIGNAL);
        }
}

static bool kept_are_whole(store *s, const parcel *kept)
{
    for (int i = 0; i < KEPT; i++) {
        store_view v;
        if (!kept[i].id.word[0]) continue;
        manta_status status = store_pin(s, kept[i].id, &v);
        if (status == MANTA_ESTOREFULL) continue;
        if (status || v.size_bytes != kept[i].size || !store_pattern_is(v.data, v.size_bytes, kept[i].seed)) {
            fprintf(stderr, "kept object %llu of %llu bytes: %s\n", (unsigned long long)kept[i].id.word[1],
                (unsigned long long)kept[i].size, status ? store_error() : "changed");
            return false;
        }
        store_unpin(s, kept[i].id);
    }
    return true;
}

static bool pause_and_check(store *s, worker_process *workers, parcel *kept, const char *path)
{
    for (int i = 0; i < WORKERS; i++)
        if (!worker_kill(&workers[i])) return false;
    (void)store_tick(s, NULL);
    if (!kept_are_whole(s, kept) || store_check(s, true)) return false;
    for (int i = 0; i < WORKERS; i++)
        if (!worker_start(&workers[i], path)) return false;
    return true;
}

static int by_value(const void *a, const void *b)
{
    return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : *(const uint64_t *)a > *(const uint64_t *)b;
}

static uint64_t times_ns[ROUNDS];

static int rounds_wanted(void)
{
    const char *given = getenv("MANTA_KILL_ROUNDS"), *scale = getenv("MANTA_TEST_SCALE");
    int n = given ? atoi(given) : scale ? ROUNDS / atoi(scale) : ROUNDS;
    return n < 1 ? 1 : n > ROUNDS ? ROUNDS : n;
}

static bool run_rounds(store *s, worker_process *workers, parcel *kept, const char *path, int rounds)
{
    rng r;
    rng_init(&r, test_seed());
    for (int i = 0; i < rounds; i++) {
        take_parcels(s, workers, kept, &r, os_monotonic_ns() + rng_next(&r) % (4 * OS_NS_PER_MS));
        worker_process *victim = &workers[rng_next(&r) % WORKERS];
        if (!worker_kill(victim)) return false;
        uint64_t start = os_monotonic_ns();
        (void)store_tick(s, NULL);
        times_ns[i] = os_monotonic_ns() - start;
        if (!worker_start(victim, path)) return false;
        if (i % CHECK_EVERY == CHECK_EVERY - 1 && !pause_and_check(s, workers, kept, path)) {
            fprintf(stderr, "in round %d\n", i);
            return false;
        }
    }
    return true;
}

/* The promise of the first line; prints how long recovery took. */
TEST(killed_at_random_points)
{
    store_place place = store_place_new();
    store_options o = options_of(place.path, place.spill, STORE_CREATE);
    worker_process workers[WORKERS] = {0};
    static parcel kept[KEPT];
    store *s;
    EXPECT_EQ(store_open(&o, &s), MANTA_OK);
    for (int i = 0; i < WORKERS; i++) EXPECT(worker_start(&workers[i], place.path));
    int rounds = rounds_wanted();
    bool ok = run_rounds(s, workers, kept, place.path, rounds);
    for (int i = 0; i < WORKERS; i++) ok = worker_kill(&workers[i]) && ok;
    (void)store_tick(s, NULL);
    ok = kept_are_whole(s, kept) && store_check(s, true) == MANTA_OK && ok;
    store_info info;
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    store_close(s);
    (void)store_destroy(place.path);
    store_place_remove(&place);
    qsort(times_ns, (size_t)rounds, sizeof *times_ns, by_value);
    printf("%d kills: recovery median %.3f ms, worst %.3f ms; %llu processes reaped, %llu puts, %llu spills, %llu restores\n", rounds,
        (double)times_ns[rounds / 2] / 1e6, (double)times_ns[rounds - 1] / 1e6, (unsigned long long)info.reaped,
        (unsigned long long)info.puts, (unsigned long long)info.spills, (unsigned long long)info.restores);
    EXPECT(ok);
}
