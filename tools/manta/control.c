/*
 * manta kv and manta lock: the control store from the shell.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <manta/manta.h>

#include "actor/node/gcs.h"
#include "tools/manta/manta.h"

enum { PAGE = 256, VALUE_LIMIT = 1 << 20 };

static int failed(const char *what)
{
    char text[1024];
    manta_error_format(manta_last_error(), text, sizeof text);
    fprintf(stderr, "manta %s: %s\n", what, text);
    return 1;
}

/* Joins the daemon at the address and learns of its control store. NULL: said why. */
static manta_t *join_cluster(const char *what, const char *address)
{
    manta_process_info there;
    size_t n = 0;
    manta_actor gcs;
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1, .join = address});
    if (!m) return NULL;
    manta_status status = manta_list_processes(&there, 1, &n);
    if (!status) status = manta_lookup_in(there.process, "manta.gcs", &gcs);
    if (status) failed(what);
    else gcs_know(gcs);
    if (status) (void)manta_shutdown(m);
    return status ? NULL : m;
}

/* ---- manta kv ---- */

static int kv_get(char **a)
{
    manta_bytes value;
    if (manta_kv_get(a[0], a[1], &value, NULL)) return failed("kv get");
    fwrite(value.data, 1, value.size, stdout);
    if (isatty(1)) putchar('\n');
    return 0;
}

static int kv_put(char **a)
{
    static char text[VALUE_LIMIT + 1];
    size_t n = strcmp(a[2], "-") == 0 ? fread(text, 1, sizeof text, stdin) : strlen(a[2]);
    const char *value = strcmp(a[2], "-") == 0 ? text : a[2];
    return manta_kv_put(a[0], a[1], value, n, MANTA_REVISION_ANY, NULL) ? failed("kv put") : 0;
}

static int kv_delete(char **a) { return manta_kv_delete(a[0], a[1], MANTA_REVISION_ANY) ? failed("kv delete") : 0; }

static int kv_list(char **a)
{
    static manta_kv_item items[PAGE];
    static char after[2048];
    bool more = true;
    while (more) {
        size_t n = 0;
        (void)manta_scope_begin();
        if (manta_kv_list(a[0], a[1] ? a[1] : "", after[0] ? after : NULL, items, PAGE, &n, &more)) return failed("kv list");
        for (size_t i = 0; i < n; i++) printf("%s\t%zu\t%llu\n", items[i].key, items[i].value.size, (unsigned long long)items[i].revision);
        if (n) snprintf(after, sizeof after, "%s", items[n - 1].key);
        (void)manta_scope_end();
    }
    return 0;
}

int command_kv(int argc, char **argv)
{
    static const struct {
        const char *name;
        int least, most;
        int (*run)(char **arguments);
    } verbs[] = {{"get", 2, 2, kv_get}, {"put", 3, 3, kv_put}, {"delete", 2, 2, kv_delete}, {"list", 1, 2, kv_list}};
    char address[MANTA_ADDRESS_BYTES];
    int code = take_address("kv", &argc, &argv, address, sizeof address);
    if (code) return code;
    for (size_t i = 0; argc && i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(argv[0], verbs[i].name) != 0) continue;
        if (argc - 1 < verbs[i].least || argc - 1 > verbs[i].most) return wrong_usage("kv %s has another number of arguments", argv[0]);
        manta_t *m = join_cluster("kv", address);
        code = m ? verbs[i].run(argv + 1) : 1;
        if (m) (void)manta_shutdown(m);
        return code;
    }
    return wrong_usage("kv wants get, put, delete or list%s", "");
}

/* ---- manta lock ---- */

/* Runs the command with MANTA_LOCK_TOKEN in its environment. Its exit code; 128 + the signal that killed it. */
static int run_locked(const manta_lock *lock, char **command)
{
    char token[32];
    int status = 0;
    snprintf(token, sizeof token, "%llu", (unsigned long long)lock->token);
    setenv("MANTA_LOCK_TOKEN", token, 1);
    pid_t pid = fork();
    if (pid == 0) {
        execvp(command[0], command);
        fprintf(stderr, "manta lock: %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    if (pid < 0) return fprintf(stderr, "manta lock: %s\n", strerror(errno)), 1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int lock_and_run(const char *address, const char *name, uint32_t lease_ms, uint64_t timeout_ms, char **command)
{
    manta_lock lock = {0, 0};
    manta_t *m = join_cluster("lock", address);
    int code = m ? 0 : 1;
    if (!code && manta_lock_acquire(name, lease_ms, timeout_ms, &lock)) code = failed("lock");
    if (!code) {
        code = run_locked(&lock, command);
        if (manta_lock_release(&lock)) code = failed("lock"); /* it was lost while the command ran */
    }
    if (m) (void)manta_shutdown(m);
    return code;
}

int command_lock(int argc, char **argv)
{
    char address[MANTA_ADDRESS_BYTES];
    uint64_t lease_ms = 0, timeout_ms = MANTA_FOREVER;
    int code = take_address("lock", &argc, &argv, address, sizeof address);
    if (code) return code;
    while (argc >= 2 && (strcmp(argv[0], "--lease-ms") == 0 || strcmp(argv[0], "--timeout-ms") == 0)) {
        uint64_t *out = argv[0][2] == 'l' ? &lease_ms : &timeout_ms;
        char *end;
        *out = strtoull(argv[1], &end, 10);
        if (*end || end == argv[1] || *out > UINT32_MAX) return wrong_usage("%s is no number of milliseconds", argv[1]);
        argc -= 2;
        argv += 2;
    }
    if (argc < 2) return wrong_usage("lock wants a name and a command%s", "");
    return lock_and_run(address, argv[0], (uint32_t)lease_ms, timeout_ms, argv + 1);
}
