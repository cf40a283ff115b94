/*
 * manta-store put, get and destroy.
 *
 * An object lives as long as a process holds it, so put stays until a signal ends it.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "scheduler/os/os_file.h"
#include "tools/manta_store/text.h"
#include "tools/manta_store/tool.h"

/* ---- put ---- */

static int fill(store *s, int fd, uint64_t bytes, const char *file)
{
    store_id id;
    void *data;
    char text[TEXT_ID_BYTES];
    if (store_create(s, bytes, 0, &id, &data)) return tool_fail("%s: %s", file, store_error());
    int error = bytes ? os_file_read(fd, data, bytes, 0) : 0;
    if (error) {
        (void)store_abort(s, id);
        return tool_fail("%s: %s", file, strerror(error));
    }
    if (store_seal(s, id, NULL)) return tool_fail("%s: %s", file, store_error());
    printf("%s %s\n", text_id(id, text), file);
    return TOOL_OK;
}

static int put_file(store *s, const char *file)
{
    int fd = -1;
    uint64_t bytes = 0;
    int error = os_file_open(file, OS_READ, &fd);
    if (!error) error = os_file_size(fd, &bytes);
    int code = error ? tool_fail("%s: %s", file, strerror(error)) : fill(s, fd, bytes, file);
    os_file_close(fd);
    return code;
}

static void wait_for_signal(store *s, const sigset_t *signals)
{
    struct timespec second = {.tv_sec = 1};
    while (sigtimedwait(signals, NULL, &second) < 0) (void)store_tick(s, NULL);
}

static int put(int n, char **arguments)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* before there are threads: they inherit it */
    store *s = tool_attach(arguments[0], "manta-store put");
    if (!s) return TOOL_WRONG;
    int code = TOOL_OK;
    for (int i = 1; i < n && !code; i++) code = put_file(s, arguments[i]);
    if (!code && fflush(stdout) == 0) wait_for_signal(s, &signals);
    store_close(s);
    return code;
}

const tool_command store_command_put = {.name = "put",
    .arguments = "PATH FILE...",
    .summary = "puts files into the store and holds them until it is interrupted",
    .more =
        "Prints the id and the name of each. The objects go when nobody holds them any more, so it waits for SIGINT, SIGTERM or SIGHUP.",
    .least = 2,
    .most = INT_MAX,
    .run = put};

/* ---- get ---- */

static int write_out(store *s, store_id id, const char *name)
{
    store_view v;
    manta_status status = store_pin(s, id, &v);
    if (status && status != MANTA_EFAILED) return tool_fail("%s: %s", name, store_error());
    bool is_written = fwrite(v.data, 1, v.size_bytes, stdout) == v.size_bytes && fflush(stdout) == 0;
    store_unpin(s, id);
    if (!is_written) return tool_fail("%s: cannot be written to standard output: %s", name, strerror(errno));
    return status ? tool_fail("%s: the object failed; its bytes say why", name) : TOOL_OK;
}

static int get(int n, char **arguments)
{
    (void)n;
    store_id id;
    if (!text_parse_id(arguments[1], &id)) {
        tool_fail("%s: not an id as inspect --objects prints it", arguments[1]);
        return TOOL_USAGE;
    }
    store *s = tool_attach(arguments[0], "manta-store get");
    if (!s) return TOOL_WRONG;
    int code = write_out(s, id, arguments[1]);
    store_close(s);
    return code;
}

const tool_command store_command_get = {.name = "get",
    .arguments = "PATH ID",
    .summary = "writes the bytes of an object to standard output",
    .more = "ID as inspect --objects prints it. An object whose making failed gives the bytes that say why, and exit code 1.",
    .least = 2,
    .most = 2,
    .run = get};

/* ---- destroy ---- */

/* store_destroy removes files by their names; so the control file must have a store's stamp, or nothing yet when its making was interrupted. */
static bool is_store(const char *path)
{
    static const char nothing[8];
    char file[PATH_MAX], stamp[8];
    int fd = -1, length = snprintf(file, sizeof file, "%s/control", path);
    int error = length < 0 || (size_t)length >= sizeof file ? ENAMETOOLONG : os_file_open(file, OS_READ, &fd);
    if (!error) error = os_file_read(fd, stamp, sizeof stamp, 0);
    os_file_close(fd);
    if (error && error != ENODATA) tool_fail("%s: not a store (its file control: %s)", path, strerror(error));
    else if (!error && memcmp(stamp, "MANTAOBJ", 8) != 0 && memcmp(stamp, nothing, 8) != 0) tool_fail("%s: not a store", path);
    else return true;
    return false;
}

static int destroy(int n, char **arguments)
{
    (void)n;
    if (!is_store(arguments[0])) return TOOL_WRONG;
    uint64_t bytes;
    if (store_destroy(arguments[0])) return tool_fail("%s", store_error());
    /* It takes a directory without a lock file for one that is gone. */
    return os_path_free_bytes(arguments[0], &bytes)
               ? TOOL_OK
               : tool_fail("%s: not a whole store (it has no file locks); left as it is", arguments[0]);
}

const tool_command store_command_destroy = {.name = "destroy",
    .arguments = "PATH",
    .summary = "removes a store that no process uses, with what it spilled",
    .least = 1,
    .most = 1,
    .run = destroy};
