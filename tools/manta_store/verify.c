/*
 * manta-store verify: compares the store's tables with each other.
 *
 * The comparison is exact while nobody is at work. Otherwise it meets changes half way, so it is repeated and only what is wrong every time counts: damage stays where it is.
 */
#include <inttypes.h>
#include <string.h>

#include "scheduler/base/alloc.h"
#include "scheduler/os/os.h"
#include "tools/manta_store/text.h"
#include "tools/manta_store/tool.h"

enum { ROUNDS = 5, PAUSE_MS = 20, LINES = 1000 };

static struct {
    bool data, json;
} given;

typedef struct complaints {
    char *line[LINES];
    size_t n;
    bool has_lost_some; /* no memory, or too many */
} complaints;

static void note(const char *line, void *context)
{
    complaints *c = context;
    char *copy = c->n < LINES ? base_strdup(line) : NULL;
    if (copy) c->line[c->n++] = copy;
    else c->has_lost_some = true;
}

static void forget(complaints *c)
{
    for (size_t i = 0; i < c->n; i++) base_free(c->line[i]);
    c->n = 0;
}

static bool has(const complaints *c, const char *line)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->line[i], line) == 0) return true;
    return false;
}

static void keep_common(complaints *c, const complaints *other)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (has(other, c->line[i])) c->line[n++] = c->line[i];
        else base_free(c->line[i]);
    c->n = n;
}

/* The complaints of a store with living processes, after the first round. */
static void repeat(store *s, complaints *c)
{
    static complaints again;
    for (int i = 1; i < ROUNDS && c->n; i++) {
        tool_sleep_until(os_monotonic_ns() + (uint64_t)PAUSE_MS * OS_NS_PER_MS);
        (void)store_audit(s, given.data, note, &again);
        keep_common(c, &again);
        c->has_lost_some &= again.has_lost_some;
        forget(&again);
    }
}

static void write_json(const store_info *info, const complaints *c)
{
    json j = {.out = stdout};
    json_open(&j, NULL, '{');
    json_text(&j, "path", info->path);
    json_bool(&j, "ok", !c->n);
    json_bool(&j, "data", given.data);
    json_number(&j, "objects", info->objects);
    json_number(&j, "spilled", info->spilled);
    json_number(&j, "living_processes", tool_living(info));
    json_number(&j, "dead_processes", info->processes - tool_living(info));
    json_bool(&j, "complete", !c->has_lost_some);
    json_open(&j, "complaints", '[');
    for (size_t i = 0; i < c->n; i++) json_text(&j, NULL, c->line[i]);
    json_close(&j, ']');
    json_close(&j, '}');
}

static void print(const store_info *info, const complaints *c)
{
    char path[sizeof info->path], used[TEXT_BYTES], line[1024];
    uint32_t living = tool_living(info), dead = info->processes - living;
    for (size_t i = 0; i < c->n; i++) printf("%s\n", text_plain(c->line[i], line, sizeof line));
    printf("%s: %zu%s wrong; %" PRIu64 " objects, %s used, %" PRIu64 " spilled objects %s; processes: %" PRIu32 " living, %" PRIu32
           " dead\n",
        text_plain(info->path, path, sizeof path), c->n, c->has_lost_some ? " and more" : "", info->objects,
        text_size(info->used_bytes, used), info->spilled, given.data ? "read and checked" : "not read (--data does)", living, dead);
    if (c->n && dead) printf("Dead processes left things half done; the next process that opens the store clears up after them.\n");
}

static int audit(store *s, const char *path)
{
    static complaints found;
    static store_info info;
    manta_status status = store_audit(s, given.data, note, &found);
    if (status && status != MANTA_EIO) return tool_fail("%s: %s", path, store_error());
    if (store_stat(s, &info)) note(store_error(), &found);
    uint32_t living = tool_living(&info);
    if (living) repeat(s, &found);
    bool is_wrong = found.n || (!living && (status || found.has_lost_some));
    if (given.json) write_json(&info, &found);
    else print(&info, &found);
    forget(&found);
    return is_wrong ? TOOL_WRONG : TOOL_OK;
}

static int verify(int n, char **arguments)
{
    (void)n;
    store *s = tool_open(arguments[0], STORE_INSPECT);
    if (!s) return TOOL_WRONG;
    int code = audit(s, arguments[0]);
    store_close(s);
    return code;
}

static const tool_option options[] = {
    {.name = "data", .kind = TOOL_FLAG, .to = &given.data, .help = "reads all spilled bytes and checks their checksums"},
    {.name = "json", .kind = TOOL_FLAG, .to = &given.json, .help = "JSON"},
};

const tool_command store_command_verify = {.name = "verify",
    .arguments = "PATH",
    .summary = "compares all tables of the store; exit code 1 when something is wrong",
    .more = "A line for each thing that is wrong and one with the totals. While processes are at work the comparison is repeated,\n"
            "and what is wrong every time counts. --data keeps old pages of the index alive while it reads: run it while\n"
            "little is put and freed.",
    .least = 1,
    .most = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = verify};
