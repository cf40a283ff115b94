/* Three real daemons, each in a network namespace of its own, while cables are pulled. Skipped (77) where namespaces may not be made. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/node/gcs.h"
#include "scheduler/os/os.h"
#include "test/support/actors.h"
#include "test/support/child.h"
#include "test/support/linear.h"
#include "test/support/netns.h"

enum { MACHINES = 3, CLIENTS = 3, KEYS = 2, OPS = 60000, FENCE_MS = 3000 };

/* ---- daemons ---- */

typedef struct machine {
    child_process child;
    char address[64];
} machine;
static machine machines[MACHINES + 1];
static char directory[64];

/* argument: the machine's number. It becomes a daemon when its cable is there. */
CHILD(machine)
{
    char listen[64], seed[64], byte;
    int n = atoi(argument);
    snprintf(listen, sizeof listen, "tcp://" NETNS_ADDRESS ":7000", n);
    snprintf(seed, sizeof seed, "tcp://" NETNS_ADDRESS ":7000", 1);
    if (!netns_enter() || !child_say(parent) || !child_hear(parent, &byte, 1)) _exit(77);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) dup2(null, 1);
    if (n == 1)
        execl(MANTA_TOOL, MANTA_TOOL, "start", "--head", "--listen", listen, "--insecure", "--cores", "1", "--store-bytes", "0",
            "--fence-ms", "3000", "--foreground", NULL);
    else
        execl(MANTA_TOOL, MANTA_TOOL, "start", "--address", seed, "--listen", listen, "--insecure", "--cores", "1", "--store-bytes", "0",
            "--fence-ms", "3000", "--foreground", NULL);
    _exit(1);
}

static bool start_machine(int n)
{
    char text[8], byte;
    snprintf(text, sizeof text, "%d", n);
    snprintf(machines[n].address, sizeof machines[n].address, "tcp://" NETNS_ADDRESS ":7000", n);
    machines[n].child = child_start("machine", text);
    return child_hear(machines[n].child.fd, &byte, 1) && netns_attach(n, machines[n].child.pid) && child_say(machines[n].child.fd);
}

/* What a daemon's control store says of itself; false: it does not answer. */
static bool place_at(int n, MantaGcsPlace *out)
{
    manta_process p;
    manta_actor gcs;
    return process_at(machines[n].address, 300, &p) == MANTA_OK && manta_lookup_in(p, "manta.gcs", &gcs) == MANTA_OK &&
           manta_get_timeout(MantaGcs_place(MantaGcs_ref_of(gcs)), out, 500) == MANTA_OK;
}

static int leader_but(int gone)
{
    for (int n = 1; n <= MACHINES; n++) {
        MantaGcsPlace place;
        if (n != gone && place_at(n, &place) && place.leads) return n;
    }
    return 0;
}

static bool status_has(int n, const char *what, int times)
{
    manta_process p;
    manta_actor gcs;
    manta_str answer;
    char text[4096];
    int found = 0;
    if (process_at(machines[n].address, 300, &p) || manta_lookup_in(p, "manta.gcs", &gcs)) return false;
    if (manta_get_timeout(MantaGcs_status(MantaGcs_ref_of(gcs)), &answer, 500)) return false;
    snprintf(text, sizeof text, "%.*s", (int)answer.size, answer.data);
    for (const char *at = text; (at = strstr(at, what)); at++) found++;
    return found == times;
}

/* True: the table of nodes counts so many among the living. */
static bool living_are(int n, uint32_t count)
{
    char command[200];
    snprintf(command, sizeof command, "%s status --address %s 2>/dev/null | grep -q '^%u nodes'", MANTA_TOOL, machines[n].address, count);
    return system(command) == 0;
}

static manta_t *begin(void)
{
    manta_process p;
    manta_actor gcs;
    snprintf(directory, sizeof directory, "/tmp/manta-partition-%d", (int)getpid());
    setenv("MANTA_DIRECTORY", directory, 1);
    if (!netns_begin() || system("ip addr add 10.77.0.200/24 dev net")) {
        printf("     network namespaces are not allowed here: skipped\n");
        fflush(stdout);
        _exit(77);
    }
    if (!start_machine(1)) return NULL;
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 2, .join = machines[1].address});
    if (!m || !start_machine(2) || !start_machine(3)) return NULL;
    if (process_at(machines[2].address, 10000, &p) || !WAIT_FOR(!manta_lookup_in(p, "manta.gcs", &gcs), 10)) return NULL;
    gcs_know(gcs);
    return WAIT_FOR(status_has(1, "  voter ", MACHINES), 20) ? m : NULL;
}

static void end(void)
{
    char command[128];
    for (int n = 1; n <= MACHINES; n++)
        if (machines[n].child.pid) (void)child_end(&machines[n].child, SIGKILL);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command)) perror(command);
}

/* ---- clients ---- */

static linear_op history[OPS], lock_history[OPS];
static _Atomic size_t n_history, n_locks;
static _Atomic uint64_t next_value, slowest_ns;
static _Atomic bool over;

static void note(linear_op *ops, _Atomic size_t *count, linear_op op, bool is_known)
{
    size_t i = (*count)++;
    uint64_t now = os_monotonic_ns(), took = now - op.call_ns, before = slowest_ns;
    op.return_ns = is_known ? now : LINEAR_UNKNOWN;
    while (op.kind != LINEAR_ACQUIRE && took > before && !atomic_compare_exchange_weak(&slowest_ns, &before, took)) continue;
    if (i < OPS) ops[i] = op;
}

MANTA_ACTOR(Client, uint64_t number;)
MANTA_METHOD(Client, init, void, (uint64_t, n)) { self->number = n; }

static manta_status use_key(uint64_t client)
{
    char name[16];
    uint64_t value = ++next_value, seen = 0;
    manta_bytes found;
    bool reads = manta_random() % 2;
    linear_op op = {.key = manta_random() % KEYS, .client = client, .kind = reads ? LINEAR_READ : LINEAR_WRITE, .argument = value};
    snprintf(name, sizeof name, "key%d", (int)op.key);
    op.call_ns = os_monotonic_ns();
    manta_status status =
        reads ? manta_kv_get("test", name, &found, NULL) : manta_kv_put("test", name, &value, sizeof value, MANTA_REVISION_ANY, NULL);
    if (reads && status == MANTA_OK && found.size == sizeof seen) memcpy(&seen, found.data, sizeof seen);
    op.result = reads ? seen : 1;
    if (reads && status == MANTA_ENOTFOUND) status = MANTA_OK;
    if (!status) note(history, &n_history, op, true);
    return status;
}

static manta_status use_lock(uint64_t client)
{
    manta_lock lock;
    linear_op op = {.client = client, .kind = LINEAR_ACQUIRE, .call_ns = os_monotonic_ns()};
    manta_status status = manta_lock_acquire("lock", 0, 30000, &lock);
    if (status) return status;
    op.result = lock.token;
    note(lock_history, &n_locks, op, true);
    op = (linear_op){.client = client, .kind = LINEAR_RELEASE, .argument = lock.token, .call_ns = os_monotonic_ns()};
    status = manta_lock_release(&lock);
    op.result = status == MANTA_OK;
    if (!status || status == MANTA_ESTALE) note(lock_history, &n_locks, op, true);
    return status == MANTA_ESTALE ? MANTA_OK : status;
}

MANTA_METHOD(Client, work, bool)
{
    while (!over && n_history < OPS) {
        (void)manta_scope_begin();
        manta_status status = manta_random() % 4 ? use_key(self->number) : use_lock(self->number);
        (void)manta_scope_end();
        if (status) return manta_fail(status, "%s", manta_last_error()->message), false;
    }
    return true;
}
MANTA_CLASS(Client, init, work)

static bool is_linear(const linear_op *ops, size_t count, bool leases_end)
{
    char text[256] = "";
    linear_verdict verdict = linear_check(ops, count < OPS ? count : OPS, &(linear_options){.leases_end = leases_end}, text, sizeof text);
    if (verdict != LINEAR_YES) fprintf(stderr, "%s\n", text);
    return verdict == LINEAR_YES;
}

static bool made_progress(size_t by)
{
    size_t from = n_history;
    return WAIT_FOR(n_history >= from + by || n_history >= OPS, 20);
}

static bool has_ended(int n) { return waitpid(machines[n].child.pid, NULL, WNOHANG) == machines[n].child.pid; }

/* A leader that is cut off for a second stays a node; one that is cut off for good is replaced, ends itself, and is declared dead. Clients of the others notice neither, and saw one store. */
TEST(leader_cut_off)
{
    manta_bool_future done[CLIENTS];
    bool fine[CLIENTS];
    manta_t *m = begin();
    EXPECT(m);
    for (uint64_t i = 0; i < CLIENTS; i++) done[i] = Client_work(Client_spawn(i + 1));
    EXPECT(made_progress(50));
    int first = leader_but(0);
    EXPECT(first);
    netns_cut(first, true);
    for (double until = test_now_s() + 1; test_now_s() < until;) (void)manta_sleep(10);
    netns_cut(first, false);
    EXPECT(made_progress(100) && WAIT_FOR(leader_but(0), 10));
    (void)manta_sleep(3000); /* longer than anybody would need to declare it dead */
    int gone = leader_but(0), other = gone % MACHINES + 1;
    EXPECT(gone && living_are(other, MACHINES));
    slowest_ns = 0;
    double cut_s = test_now_s();
    netns_cut(gone, true);
    EXPECT(WAIT_FOR(leader_but(gone), 10));
    printf("     another leads %.2f s after the cut", test_now_s() - cut_s);
    EXPECT(made_progress(100));
    EXPECT(WAIT_FOR(has_ended(gone), 20));
    double ended_s = test_now_s() - cut_s;
    machines[gone].child.pid = 0;
    EXPECT(WAIT_FOR(living_are(other, MACHINES - 1), 20));
    printf(", the slowest call took %.2f s, the cut off node ended after %.1f s\n", (double)slowest_ns / 1e9, ended_s);
    EXPECT(made_progress(100));
    over = true;
    EXPECT_EQ(manta_get_all(done, fine, CLIENTS), MANTA_OK);
    printf("     %zu operations on keys, %zu on a lock\n", (size_t)n_history, (size_t)n_locks);
    EXPECT(is_linear(history, n_history, false) && is_linear(lock_history, n_locks, true));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    end();
}
