/*
 * manta-store watch: a line per interval.
 *
 * The store is opened anew for each line, so that the end of the store ends the watch, and one that is made in its place is seen.
 */
#include <inttypes.h>

#include "scheduler/os/os.h"
#include "tools/manta_store/text.h"
#include "tools/manta_store/tool.h"

static struct {
    uint64_t interval_ms, count;
    bool json;
} given = {.interval_ms = 1000};

typedef struct sample {
    store_info info;
    uint64_t at_ns;
} sample;

static int take(const char *path, sample *out)
{
    store *s = tool_open(path, STORE_INSPECT);
    if (!s) return TOOL_WRONG;
    manta_status status = store_stat(s, &out->info);
    out->at_ns = os_monotonic_ns();
    if (status) tool_fail("%s", store_error());
    store_close(s);
    return status ? TOOL_WRONG : TOOL_OK;
}

/* Counts begin again at 0 when a store was made in the old one's place. */
static double rate(uint64_t before, uint64_t now, double seconds)
{
    uint64_t n = now >= before ? now - before : now;
    return seconds > 0 ? (double)n / seconds : 0;
}

typedef struct rates {
    double puts, gets, frees;
} rates;

static rates rates_of(const sample *a, const sample *b)
{
    double seconds = (double)(b->at_ns - a->at_ns) / OS_NS_PER_S;
    const store_info *x = &a->info, *y = &b->info;
    return (rates){rate(x->puts, y->puts, seconds), rate(x->gets, y->gets, seconds), rate(x->frees, y->frees, seconds)};
}

static void print(uint64_t line, rates r, const store_info *i)
{
    enum { PAGE = 20 };
    char used[TEXT_BYTES], spilled[TEXT_BYTES];
    if (line % PAGE == 0)
        printf("%10s %10s %10s %11s %6s %9s %11s %9s\n", "puts/s", "gets/s", "frees/s", "used", "used%", "objects", "spilled", "processes");
    printf("%10.0f %10.0f %10.0f %11s %5u%% %9" PRIu64 " %11s %9" PRIu32 "\n", r.puts, r.gets, r.frees, text_size(i->used_bytes, used),
        text_percent(i->used_bytes, i->capacity_bytes), i->objects, text_size(i->spill_live_bytes, spilled), tool_living(i));
}

static void write_json(rates r, const store_info *i)
{
    json j = {.out = stdout};
    json_open(&j, NULL, '{');
    json_number(&j, "puts_per_second", (uint64_t)(r.puts + 0.5));
    json_number(&j, "gets_per_second", (uint64_t)(r.gets + 0.5));
    json_number(&j, "frees_per_second", (uint64_t)(r.frees + 0.5));
    json_number(&j, "used_bytes", i->used_bytes);
    json_number(&j, "capacity_bytes", i->capacity_bytes);
    json_number(&j, "objects", i->objects);
    json_number(&j, "spilled_bytes", i->spill_live_bytes);
    json_number(&j, "processes", tool_living(i));
    json_close(&j, '}');
}

static int watch(int n, char **arguments)
{
    static sample samples[2];
    (void)n;
    if (take(arguments[0], &samples[0])) return TOOL_WRONG;
    uint64_t next_ns = samples[0].at_ns;
    for (uint64_t line = 0; !given.count || line < given.count; line++) {
        sample *before = &samples[line % 2], *now = &samples[(line + 1) % 2];
        next_ns += given.interval_ms * OS_NS_PER_MS;
        tool_sleep_until(next_ns);
        if (take(arguments[0], now)) return TOOL_WRONG;
        if (given.json) write_json(rates_of(before, now), &now->info);
        else print(line, rates_of(before, now), &now->info);
        if (fflush(stdout)) return TOOL_WRONG;
    }
    return TOOL_OK;
}

enum { HOUR_MS = 3600 * 1000 };
static const tool_option options[] = {
    {.name = "interval",
        .kind = TOOL_NUMBER,
        .to = &given.interval_ms,
        .value = "MS",
        .help = "between two lines (1000)",
        .min = 10,
        .max = HOUR_MS},
    {.name = "count",
        .kind = TOOL_NUMBER,
        .to = &given.count,
        .value = "N",
        .help = "ends after so many lines (0: never)",
        .max = UINT32_MAX},
    {.name = "json", .kind = TOOL_FLAG, .to = &given.json, .help = "a JSON object per line; sizes in bytes"},
};

const tool_command store_command_watch = {.name = "watch",
    .arguments = "PATH",
    .summary = "a line per interval: puts, gets and frees per second, room, spilled bytes, processes",
    .more = "Ends with exit code 1 when the store goes away.",
    .least = 1,
    .most = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = watch};
