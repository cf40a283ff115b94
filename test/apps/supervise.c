/* A driver for test/check/cluster_supervise.sh: supervisors whose children are in other processes, on nodes with the label zone=work, and what becomes of them when those are killed. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <manta/manta.h>

enum { PATIENCE_MS = 20000, LOOK_MS = 2, DEAD_MS = 10000 };

/* Notes in a file when it starts and stops. */
MANTA_ACTOR(Part, int64_t number; char log[200];)

static void note(const char *log, char what, int64_t number)
{
    char line[32];
    int fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    int n = snprintf(line, sizeof line, "%c%" PRId64 " ", what, number);
    if (fd < 0 || write(fd, line, (size_t)n) != n) abort();
    close(fd);
}

MANTA_METHOD(Part, init, void, (int64_t, number), (manta_str, log))
{
    self->number = number;
    snprintf(self->log, sizeof self->log, "%.*s", (int)log.size, log.data);
    note(self->log, '+', number);
    if (number < 0) manta_fail(MANTA_EIO, "part %" PRId64 " is broken", number);
}
MANTA_METHOD(Part, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_METHOD(Part, daemon, int64_t) { return (void)self, (int64_t)getppid(); }
MANTA_METHOD(Part, where, manta_actor)
{
    (void)self;
    return manta_self();
}
MANTA_METHOD(Part, crash, void)
{
    (void)self;
    manta_fail(MANTA_EIO, "as asked");
}
MANTA_METHOD(Part, leave, void)
{
    (void)self;
    manta_exit_normally();
}
MANTA_METHOD(Part, hang, void)
{
    (void)self;
    (void)manta_sleep(3600 * 1000);
}
static void part_stops(void *self, const manta_error *reason)
{
    (void)reason;
    note(((Part *)self)->log, '-', ((Part *)self)->number);
}
MANTA_CLASS_WITH(Part, (.on_stop = part_stops), init, pid, daemon, where, crash, leave, hang)

static char log_path[200];

static void say_log(const char *what)
{
    char text[4096] = "";
    int fd = open(log_path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (n > 0) text[n - 1] = 0;
    printf("%s: %s\n", what, text);
    (void)unlink(log_path);
}

/* In a process of its own on a node for work. */
#define APART (MANTA_OPTIONS(.labels = "zone=work", .where = MANTA_WHERE_SPREAD, .isolated = true))
#define SHARED (MANTA_OPTIONS(.labels = "zone=work"))

static manta_child_spec part(const char *id, int64_t number, manta_restart restart, const manta_options *where)
{
    return Part_child(MANTA_CHILD(.id = id, .restart = restart, .spawn = where), number, manta_str_of(log_path));
}

static Part_ref child(manta_actor supervisor, const char *id)
{
    manta_actor a = {0};
    for (int i = 0; i < PATIENCE_MS / LOOK_MS && manta_supervisor_child_actor(supervisor, id, &a); i++) (void)manta_sleep(LOOK_MS);
    return Part_ref_of(a);
}

/* The pid of the child's process, when it answers, which after a kill takes another look at who it is. */
static int64_t pid_of(manta_actor supervisor, const char *id)
{
    int64_t pid = 0;
    for (int i = 0; i < PATIENCE_MS / LOOK_MS; i++) {
        if (manta_get_timeout(Part_pid(child(supervisor, id)), &pid, PATIENCE_MS) == MANTA_OK) return pid;
        (void)manta_sleep(LOOK_MS);
    }
    return 0;
}

static int64_t new_pid_of(manta_actor supervisor, const char *id, int64_t old)
{
    int64_t pid = 0;
    for (int i = 0; i < PATIENCE_MS / LOOK_MS && ((pid = pid_of(supervisor, id)) == old || !pid); i++) (void)manta_sleep(LOOK_MS);
    return pid;
}

static bool is_gone(int64_t pid)
{
    for (int i = 0; i < DEAD_MS / LOOK_MS; i++) {
        if (kill((pid_t)pid, 0)) return true;
        (void)manta_sleep(LOOK_MS);
    }
    return false;
}

static void check(const char *what, manta_status status)
{
    char text[1000];
    if (!status) return;
    manta_error_format(manta_last_error(), text, sizeof text);
    printf("%s: %s\n", what, text);
    fflush(stdout);
    exit(1);
}

static const char *const ids[] = {"1", "2", "3"};

static manta_actor family(manta_strategy strategy, manta_restart restart, const manta_options *where)
{
    manta_child_spec specs[3];
    manta_actor s = {0};
    for (int i = 0; i < 3; i++) specs[i] = part(ids[i], i + 1, restart, where);
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.strategy = strategy, .intensity = 20), specs, 3, &s));
    return s;
}

static void stop(manta_actor s)
{
    check("stop", manta_stop(s));
    check("end", manta_wait_exit(s, PATIENCE_MS, NULL));
}

/* ---- strategies ---- */

static void strategy(const char *name, manta_strategy which)
{
    manta_actor s = family(which, MANTA_PERMANENT, APART);
    int64_t before[3];
    for (int i = 0; i < 3; i++) before[i] = pid_of(s, ids[i]);
    (void)kill((pid_t)before[1], SIGKILL);
    (void)new_pid_of(s, "2", before[1]);
    printf("%s:", name);
    for (int i = 0; i < 3; i++) printf(" %s %s", ids[i], pid_of(s, ids[i]) == before[i] ? "same" : "new");
    printf("\n");
    stop(s);
    say_log(name);
}

static void kinds(void)
{
    manta_child_info info[4];
    size_t count = 0;
    manta_actor s = family(MANTA_ONE_FOR_ONE, MANTA_TRANSIENT, SHARED);
    int64_t pid = pid_of(s, "1");
    manta_actor second = child(s, "2").actor;
    (void)Part_leave_send(Part_ref_of(second));
    check("leaves", manta_wait_exit(second, PATIENCE_MS, NULL));
    (void)kill((pid_t)pid, SIGKILL);
    (void)new_pid_of(s, "1", pid);
    check("children", manta_supervisor_children(s, info, 4, &count));
    printf("transient: %zu children, 1 %s, 2 %s\n", count, info[0].actor.id ? "runs" : "is away", info[1].actor.id ? "runs" : "is away");
    stop(s);
    s = family(MANTA_ONE_FOR_ONE, MANTA_TEMPORARY, APART);
    (void)kill((pid_t)pid_of(s, "3"), SIGKILL);
    for (int i = 0; i < PATIENCE_MS / LOOK_MS && count != 2; i++) {
        (void)manta_sleep(LOOK_MS);
        check("children", manta_supervisor_children(s, info, 4, &count));
    }
    printf("temporary: %zu children are left\n", count);
    stop(s);
}

static void dynamic(void)
{
    manta_actor s, first = {0}, added;
    manta_child_info info[8];
    size_t count, running = 0;
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.strategy = MANTA_SIMPLE_ONE_FOR_ONE, .intensity = 20), NULL, 0, &s));
    for (int i = 0; i < 5; i++) {
        manta_child_spec spec = part(NULL, i, MANTA_PERMANENT, APART);
        check("add", manta_supervisor_add(s, &spec, &added));
        if (!i) first = added;
    }
    int64_t pid = manta_await(Part_pid(Part_ref_of(first)));
    (void)kill((pid_t)pid, SIGKILL);
    check("exit", manta_wait_exit(first, PATIENCE_MS, NULL));
    for (int i = 0; i < PATIENCE_MS / LOOK_MS && running != 5; i++) {
        (void)manta_sleep(LOOK_MS);
        check("children", manta_supervisor_children(s, info, 8, &count));
        running = 0;
        for (size_t k = 0; k < count; k++) running += info[k].actor.id != 0 && info[k].actor.id != first.id;
    }
    printf("dynamic: %zu children run\n", running);
    manta_child_spec bad = part("bad", -1, MANTA_PERMANENT, APART);
    char text[1000];
    manta_status status = manta_supervisor_add(s, &bad, NULL);
    manta_error_format(manta_last_error(), text, sizeof text);
    printf("broken: %s: %s\n", status ? "refused" : "added", strstr(text, "part -1 is broken") ? "part -1 is broken" : text);
    stop(s);
}

/* ---- trees ---- */

static void nested(void)
{
    manta_actor top, middle, extra;
    manta_child_info info[4];
    size_t count = 0;
    manta_child_spec leaves[2] = {part("left", 1, MANTA_PERMANENT, APART), part("right", 2, MANTA_PERMANENT, SHARED)};
    manta_child_spec inner =
        manta_supervisor_child(MANTA_CHILD(.id = "inner", .spawn = APART), MANTA_SUPERVISOR(.intensity = 5), leaves, 2);
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 5), &inner, 1, &top));
    check("inner", manta_supervisor_child_actor(top, "inner", &middle));
    printf("nested: %s\n", manta_process_of(middle).id == manta_this_process().id ? "in the driver" : "elsewhere");
    int64_t left = pid_of(middle, "left");
    (void)kill((pid_t)left, SIGKILL);
    (void)new_pid_of(middle, "left", left);
    manta_actor same;
    check("inner", manta_supervisor_child_actor(top, "inner", &same));
    printf("a leaf dies: %s\n", same.id == middle.id ? "its supervisor starts it again" : "the supervisor is another");
    manta_child_spec spec = part("more", 3, MANTA_PERMANENT, SHARED);
    check("add", manta_supervisor_add(middle, &spec, &extra));
    check("children", manta_supervisor_children(middle, info, 4, &count));
    printf("from afar: %zu children, the last is %s of class %s\n", count, info[count - 1].id, info[count - 1].class_name);
    left = pid_of(middle, "left");
    manta_actor leaf = child(middle, "right").actor;
    manta_child_spec probe = part("probe", 4, MANTA_PERMANENT, MANTA_OPTIONS(.process = manta_process_of(middle)));
    manta_actor p;
    check("probe", manta_supervisor_add(middle, &probe, &p));
    int64_t host = manta_await(Part_pid(Part_ref_of(p)));
    (void)kill((pid_t)host, SIGKILL);
    check("exit", manta_wait_exit(leaf, PATIENCE_MS, NULL));
    printf("its supervisor is killed: the leaf %s\n", is_gone(left) ? "ends" : "lives on");
    for (int i = 0; i < PATIENCE_MS / LOOK_MS && (manta_supervisor_child_actor(top, "inner", &same) || same.id == middle.id); i++)
        (void)manta_sleep(LOOK_MS);
    printf("and the tree is there again: %s\n", pid_of(same, "left") && pid_of(same, "right") ? "yes" : "no");
    stop(top);
}

/* A supervisor in a worker process. */
MANTA_ACTOR(Host, manta_actor supervisor;)
MANTA_METHOD(Host, begin, manta_actor, (manta_str, log))
{
    char own[200];
    snprintf(own, sizeof own, "%.*s", (int)log.size, log.data);
    snprintf(log_path, sizeof log_path, "%s", own);
    self->supervisor = family(MANTA_ONE_FOR_ALL, MANTA_PERMANENT, APART);
    return self->supervisor;
}
MANTA_METHOD(Host, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_CLASS(Host, begin, pid)

static void death(void)
{
    Host_ref h = Host_spawn_with(APART);
    manta_actor s = manta_await(Host_begin(h, manta_str_of(log_path)));
    int64_t pids[3], gone = 0;
    for (int i = 0; i < 3; i++) pids[i] = pid_of(s, ids[i]);
    (void)kill((pid_t)manta_await(Host_pid(h)), SIGKILL);
    for (int i = 0; i < 3; i++) gone += is_gone(pids[i]);
    printf("the supervisor's process is killed: %" PRId64 " of 3 children end\n", gone);
}

/* ---- stopping ---- */

static void shutdown_order(void)
{
    manta_child_spec specs[4] = {part("1", 1, MANTA_PERMANENT, APART), part("2", 2, MANTA_PERMANENT, SHARED),
        Part_child(MANTA_CHILD(.id = "3", .shutdown_ms = 300, .spawn = APART), 3, manta_str_of(log_path)),
        Part_child(MANTA_CHILD(.id = "4", .shutdown_ms = MANTA_STOP_NOW, .spawn = SHARED), 4, manta_str_of(log_path))};
    manta_actor s;
    check("start", manta_supervisor_start(NULL, specs, 4, &s));
    int64_t pid = pid_of(s, "1");
    (void)Part_hang_send(child(s, "3"));
    uint64_t from = manta_now_ns();
    stop(s);
    uint64_t ms = (manta_now_ns() - from) / 1000000;
    printf("stopped in %s\n", ms >= 300 && ms < 3000 ? "the time that the hanging one has" : "another time");
    if (ms < 300 || ms >= 3000) printf("%" PRIu64 " ms\n", ms);
    say_log("order");
    printf("its process %s\n", is_gone(pid) ? "ends" : "lives on");
}

/* ---- where it can be, and where not ---- */

static void bound(void)
{
    manta_status why = MANTA_OK;
    Part_ref host = Part_spawn_with(APART, 9, manta_str_of(log_path));
    int64_t pid = manta_await(Part_pid(host));
    manta_child_spec spec = part("1", 1, MANTA_PERMANENT, MANTA_OPTIONS(.process = manta_process_of(host.actor)));
    manta_actor s;
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 3, .backoff_min_ms = 20), &spec, 1, &s));
    printf("bound: %s\n", pid_of(s, "1") == pid ? "in that process" : "elsewhere");
    (void)kill((pid_t)pid, SIGKILL);
    check("exit", manta_wait_exit(s, PATIENCE_MS, &why));
    printf("its process is gone: %s\n", manta_status_name(why));
    spec = part("1", 1, MANTA_PERMANENT, MANTA_OPTIONS(.process = {42}));
    manta_status status = manta_supervisor_start(NULL, &spec, 1, &s);
    char text[1000];
    manta_error_format(manta_last_error(), text, sizeof text);
    printf("no such process: %s: %s\n", status ? "refused" : "started",
        strstr(text, "process 000000000000002a is not known here") ? "it is named" : text);
}

MANTA_TASK(named_pid, int64_t, (int64_t, old))
{
    int64_t pid = old;
    for (int i = 0; i < PATIENCE_MS / LOOK_MS && pid == old; i++) {
        manta_actor a;
        if (manta_lookup("worker-of-names", &a) != MANTA_OK || manta_get(Part_pid(Part_ref_of(a)), &pid)) (void)manta_sleep(LOOK_MS);
    }
    return pid;
}

static void names(void)
{
    manta_child_spec spec =
        part("1", 1, MANTA_PERMANENT, MANTA_OPTIONS(.name = "worker-of-names", .labels = "zone=work", .isolated = true));
    manta_actor s;
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 10), &spec, 1, &s));
    int64_t before = pid_of(s, "1"), again;
    (void)kill((pid_t)before, SIGKILL);
    again = manta_await(named_pid_submit_with(SHARED, before));
    printf("by name from a task: %s\n", again != before && again == pid_of(s, "1") ? "the new one" : "another");
    stop(s);
}

/* A child on a node, which is killed: elsewhere. */
static void node(void)
{
    manta_child_spec specs[2] = {part("1", 1, MANTA_PERMANENT, APART), part("2", 2, MANTA_PERMANENT, APART)};
    manta_actor s;
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 10, .backoff_min_ms = 10, .backoff_max_ms = 200), specs, 2, &s));
    int64_t daemon = manta_await(Part_daemon(child(s, "1"))), pid = pid_of(s, "1"), now = daemon;
    uint64_t from = manta_now_ns();
    (void)kill((pid_t)daemon, SIGKILL);
    (void)new_pid_of(s, "1", pid);
    fprintf(stderr, "the node's child answers after %" PRIu64 " ms\n", (manta_now_ns() - from) / 1000000);
    (void)manta_get(Part_daemon(child(s, "1")), &now);
    printf("the node dies: on %s node\n", now != daemon ? "another" : "the same");
    printf("the old one: %s\n", is_gone(pid) ? "gone" : "lives on");
    stop(s);
}

/* A process that does not answer for a while counts as gone: its child starts elsewhere, and the old one ends when the process goes on. */
static void cut_off(void)
{
    manta_child_spec spec = part("1", 1, MANTA_PERMANENT, APART);
    manta_actor s;
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 10), &spec, 1, &s));
    int64_t pid = pid_of(s, "1");
    uint64_t from = manta_now_ns();
    (void)kill((pid_t)pid, SIGSTOP);
    (void)new_pid_of(s, "1", pid);
    fprintf(stderr, "the stopped process's child answers after %" PRIu64 " ms\n", (manta_now_ns() - from) / 1000000);
    (void)kill((pid_t)pid, SIGCONT);
    from = manta_now_ns();
    printf("out of reach: started elsewhere; the old one %s\n", is_gone(pid) ? "ends" : "lives on");
    fprintf(stderr, "the old one has ended %" PRIu64 " ms after it went on\n", (manta_now_ns() - from) / 1000000);
    stop(s);
}

/* No node fits after the only one has died: the starts fail and go on; others are not held up; when a node comes the child is back. */
static void unfit(void)
{
    manta_child_spec specs[2] = {
        Part_child(MANTA_CHILD(.id = "lone", .spawn = MANTA_OPTIONS(.labels = "zone=lone", .timeout_ms = 3000)), 1, manta_str_of(log_path)),
        part("2", 2, MANTA_PERMANENT, APART)};
    manta_actor s, a;
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 1000, .backoff_min_ms = 20, .backoff_max_ms = 100), specs, 2, &s));
    manta_actor lone = child(s, "lone").actor;
    (void)kill((pid_t)manta_await(Part_daemon(Part_ref_of(lone))), SIGKILL);
    check("exit", manta_wait_exit(lone, PATIENCE_MS, NULL));
    (void)manta_sleep(300);
    for (int i = 0; i < 3; i++) {
        int64_t pid = pid_of(s, "2");
        uint64_t from = manta_now_ns();
        (void)kill((pid_t)pid, SIGKILL);
        (void)new_pid_of(s, "2", pid);
        uint64_t ms = (manta_now_ns() - from) / 1000000;
        printf("the other is back %s\n", ms < 1500 ? "soon" : "late");
        fprintf(stderr, "the other is back after %" PRIu64 " ms\n", ms);
    }
    printf("without a node: %s\n", manta_status_name(manta_supervisor_child_actor(s, "lone", &a)));
    fflush(stdout);
    printf("with a node again: %s\n", pid_of(s, "lone") ? "it runs" : "it is away");
    stop(s);
}

/* All of it, and then nothing of it is left: the script looks. */
static void leaks(const char *directory)
{
    char go[300];
    strategy("one_for_one", MANTA_ONE_FOR_ONE);
    strategy("one_for_all", MANTA_ONE_FOR_ALL);
    dynamic();
    nested();
    death();
    shutdown_order();
    snprintf(go, sizeof go, "%s/go", directory);
    printf("all stopped\n");
    for (int i = 0; i < PATIENCE_MS / LOOK_MS && access(go, F_OK); i++) (void)manta_sleep(LOOK_MS);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* From a worker's SIGKILL to the first answer of the child that was started again. */
static void times(const char *what, const manta_options *where)
{
    enum { TIMES = 10 };
    uint64_t ns[TIMES];
    manta_child_spec spec = part("1", 1, MANTA_PERMANENT, where);
    manta_actor s;
    check("start", manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 1000), &spec, 1, &s));
    for (int i = 0; i < TIMES; i++) {
        int64_t pid = pid_of(s, "1");
        (void)manta_sleep(300);
        uint64_t from = manta_now_ns();
        (void)kill((pid_t)pid, SIGKILL);
        (void)new_pid_of(s, "1", pid);
        ns[i] = manta_now_ns() - from;
    }
    qsort(ns, TIMES, sizeof *ns, by_value);
    fprintf(stderr, "%s: from SIGKILL to the first answer: median %.1f ms, least %.1f, most %.1f\n", what,
        (double)(ns[TIMES / 2] + ns[TIMES / 2 - 1]) / 2e6, (double)ns[0] / 1e6, (double)ns[TIMES - 1] / 1e6);
    stop(s);
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m || argc < 3) return 1;
    const char *what = argv[1];
    snprintf(log_path, sizeof log_path, "%s/log", argv[2]);
    (void)unlink(log_path);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "strategies") == 0) {
        strategy("one_for_one", MANTA_ONE_FOR_ONE);
        strategy("one_for_all", MANTA_ONE_FOR_ALL);
        strategy("rest_for_one", MANTA_REST_FOR_ONE);
    }
    if (strcmp(what, "kinds") == 0) kinds();
    if (strcmp(what, "dynamic") == 0) dynamic();
    if (strcmp(what, "nested") == 0) nested();
    if (strcmp(what, "death") == 0) death();
    if (strcmp(what, "shutdown") == 0) shutdown_order();
    if (strcmp(what, "bound") == 0) bound();
    if (strcmp(what, "names") == 0) names();
    if (strcmp(what, "node") == 0) node();
    if (strcmp(what, "cut-off") == 0) cut_off();
    if (strcmp(what, "unfit") == 0) unfit();
    if (strcmp(what, "leaks") == 0) leaks(argv[2]);
    if (strcmp(what, "times") == 0) {
        times("isolated", APART);
        times("shared", SHARED);
    }
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
