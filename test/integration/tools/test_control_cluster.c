/* The control store of real daemons, whose leader is killed under load: what clients saw is linearizable, and nothing that was acknowledged is lost. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/node/gcs.h"
#include "actor/node/node.h"
#include "scheduler/os/os.h"
#include "test/support/actors.h"
#include "test/support/linear.h"

enum { DAEMONS = 6, CLIENTS = 4, KEYS = 3, OPS = 60000 };

/* ---- daemons ---- */

typedef struct node_daemon {
    pid_t pid;
    char address[128];
} node_daemon;
static node_daemon daemons[DAEMONS];
static int n_daemons;
static char directory[64];
extern char **environ;

/* Starts one in the foreground and reads its address. seed NULL: the first of a cluster. */
static bool start_daemon(const char *seed)
{
    node_daemon *d = &daemons[n_daemons];
    char *head[] = {MANTA_TOOL, "start", "--head", "--cores", "1", "--store-bytes", "0", "--foreground", NULL};
    char *other[] = {MANTA_TOOL, "start", "--address", (char *)(uintptr_t)seed, "--cores", "1", "--store-bytes", "0", "--foreground", NULL};
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC)) return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    bool ok = posix_spawn(&d->pid, MANTA_TOOL, &actions, NULL, seed ? other : head, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    ok = ok && f && fscanf(f, "%127s", d->address) == 1;
    if (f) fclose(f);
    n_daemons += ok;
    return ok;
}

static void kill_daemon(node_daemon *d)
{
    kill(d->pid, SIGKILL);
    while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR) continue;
    d->pid = 0;
}

static const char *living(void)
{
    for (int i = 0; i < n_daemons; i++)
        if (daemons[i].pid) return daemons[i].address;
    return "";
}

/* What the control store says of itself at a daemon; NULL: it does not answer. */
static bool place_at(const char *address, MantaGcsPlace *out)
{
    manta_process p;
    manta_actor gcs;
    return process_at(address, 1000, &p) == MANTA_OK && manta_lookup_in(p, "manta.gcs", &gcs) == MANTA_OK &&
           manta_get_timeout(MantaGcs_place(MantaGcs_ref_of(gcs)), out, 1000) == MANTA_OK;
}

static node_daemon *find_leader(void)
{
    for (int i = 0; i < n_daemons; i++) {
        MantaGcsPlace place;
        if (daemons[i].pid && place_at(daemons[i].address, &place) && place.leads) return &daemons[i];
    }
    return NULL;
}

/* The leader's list has three voters, and not this one (asked for by text, since that is what users see). */
static bool has_three_voters_without(const char *gone)
{
    char text[4096];
    node_daemon *leader = find_leader();
    manta_process p;
    manta_actor gcs;
    manta_str answer;
    int n = 0;
    if (!leader || process_at(leader->address, 1000, &p) || manta_lookup_in(p, "manta.gcs", &gcs)) return false;
    if (manta_get_timeout(MantaGcs_status(MantaGcs_ref_of(gcs)), &answer, 1000)) return false;
    snprintf(text, sizeof text, "%.*s", (int)answer.size, answer.data);
    for (const char *at = text; (at = strstr(at, "  voter ")); at++) n++;
    return n == 3 && (!*gone || !strstr(text, gone));
}

static bool start_three(void)
{
    snprintf(directory, sizeof directory, "/tmp/manta-control-%d", (int)getpid());
    setenv("MANTA_DIRECTORY", directory, 1);
    return start_daemon(NULL) && start_daemon(daemons[0].address) && start_daemon(daemons[0].address);
}

static void end_all(void)
{
    char command[128];
    for (int i = 0; i < n_daemons; i++)
        if (daemons[i].pid) kill_daemon(&daemons[i]);
    n_daemons = 0;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command)) perror(command);
}

static manta_t *join_cluster(void)
{
    manta_process p;
    manta_actor gcs;
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 2, .join = daemons[0].address});
    if (!m) return NULL;
    if (process_at(daemons[0].address, 5000, &p) || manta_lookup_in(p, "manta.gcs", &gcs)) return NULL;
    gcs_know(gcs);
    return m;
}

/* ---- clients ---- */

static linear_op history[OPS];
static _Atomic size_t n_history;
static _Atomic uint64_t next_value, slowest_ns;
static _Atomic bool over;

static void record(linear_op op, manta_status status)
{
    size_t i = n_history++;
    op.return_ns = status == MANTA_EUNKNOWN ? LINEAR_UNKNOWN : os_monotonic_ns();
    uint64_t took = os_monotonic_ns() - op.call_ns, before = slowest_ns;
    while (took > before && !atomic_compare_exchange_weak(&slowest_ns, &before, took)) continue;
    if (i < OPS) history[i] = op;
}

static uint64_t number(manta_bytes b)
{
    uint64_t v = 0;
    if (b.size == sizeof v) memcpy(&v, b.data, sizeof v);
    return v;
}

MANTA_ACTOR(Client, uint64_t number;)
MANTA_METHOD(Client, init, void, (uint64_t, n)) { self->number = n; }

/* Reads a key; *out_revision 0: it is absent. */
static bool read_key(const Client *c, uint64_t key, uint64_t *out_value, uint64_t *out_revision)
{
    char name[16];
    manta_bytes value = {NULL, 0};
    linear_op op = {.key = key, .client = c->number, .kind = LINEAR_READ, .call_ns = os_monotonic_ns()};
    snprintf(name, sizeof name, "key%d", (int)key);
    *out_revision = 0;
    manta_status status = manta_kv_get("test", name, &value, out_revision);
    if (status && status != MANTA_ENOTFOUND) return false; /* a read without an answer says nothing */
    op.result = *out_value = status ? 0 : number(value);
    record(op, MANTA_OK);
    return true;
}

static bool write_key(const Client *c, uint64_t key, bool is_cas, uint64_t seen, uint64_t revision)
{
    char name[16];
    uint64_t value = ++next_value;
    linear_op op = {.key = key,
        .client = c->number,
        .kind = is_cas ? LINEAR_CAS : LINEAR_WRITE,
        .argument = value,
        .expected = seen,
        .call_ns = os_monotonic_ns()};
    snprintf(name, sizeof name, "key%d", (int)key);
    manta_status status = manta_kv_put("test", name, &value, sizeof value, is_cas ? revision : MANTA_REVISION_ANY, NULL);
    op.result = status == MANTA_OK;
    if (status && status != MANTA_ESTALE && status != MANTA_EUNKNOWN) return false;
    record(op, status);
    return true;
}

/* Each value is written once, so a revision stands for a value. */
MANTA_METHOD(Client, work, bool)
{
    while (!over && n_history < OPS) {
        uint64_t key = manta_random() % KEYS, value = 0, revision = 0, what = manta_random() % 3;
        (void)manta_scope_begin();
        bool ok = what == 1 || read_key(self, key, &value, &revision);
        if (ok && what) ok = write_key(self, key, what == 2, value, revision);
        (void)manta_scope_end();
        if (!ok) return manta_fail(manta_last_error()->status, "%s", manta_last_error()->message), false;
    }
    return true;
}
MANTA_CLASS(Client, init, work)

static bool made_progress(size_t by)
{
    size_t from = n_history;
    return WAIT_FOR(n_history >= from + by || n_history >= OPS, 30);
}

/* A leader killed with SIGKILL, twice, under load, and its place taken by a new node: no call fails, and all clients together saw one store. */
TEST(killed_leaders)
{
    manta_bool_future done[CLIENTS];
    bool fine[CLIENTS];
    char text[256] = "";
    EXPECT(start_three());
    manta_t *m = join_cluster();
    EXPECT(m);
    EXPECT(WAIT_FOR(has_three_voters_without(""), 20));
    for (uint64_t i = 0; i < CLIENTS; i++) done[i] = Client_work(Client_spawn(i + 1));
    for (int round = 0; round < 2; round++) {
        EXPECT(made_progress(200));
        node_daemon *leader = find_leader();
        EXPECT(leader);
        kill_daemon(leader);
        EXPECT(made_progress(200));
        EXPECT(start_daemon(living()));
        EXPECT(WAIT_FOR(has_three_voters_without(leader->address), 30));
    }
    EXPECT(made_progress(200));
    over = true;
    EXPECT_EQ(manta_get_all(done, fine, CLIENTS), MANTA_OK);
    size_t n = n_history < OPS ? n_history : OPS;
    linear_verdict verdict = linear_check(history, n, &(linear_options){0}, text, sizeof text);
    printf("     %zu operations, the slowest took %.0f ms\n", n, (double)slowest_ns / 1e6);
    if (verdict != LINEAR_YES) fprintf(stderr, "%s\n", text);
    EXPECT_EQ(verdict, LINEAR_YES);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    end_all();
}
