/*
 * Streams of measurements into windows. Samplers, spread over the processes of a cluster, read their /proc counters every 100 ms and send them to aggregators, one per counter, which give for
 * each process the minimum, mean, maximum and 99th percentile of every second (tumbling windows), and the mean of the last second (sliding). Runs embedded or by manta run.
 *
 *     live_metrics [--samplers N] [--seconds N]     a table each second
 *     live_metrics --replay FILE                    the windows of recorded samples ("source time_ms cpu memory switches" a line), the same each time
 *
 * Time is the sample's, not its arrival's. A window is closed when a sample has come that is LATENESS newer than its end; what comes for a closed window is late: counted, not used.
 * A sampler has one message under way. What it measures meanwhile waits with it, at most HELD samples; then the oldest go, and the aggregator is told how many.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <manta/manta.h>

enum { EVERY = 100, WINDOW = 1000, LATENESS = 300, HELD = 32, KEPT = 64, SOURCES = 64, COUNTERS = 3, NAME = 48, TEXT = 16384 };
static const char *const counters[COUNTERS] = {"cpu %", "memory MiB", "switches/s"};

typedef struct sample {
    int64_t time_ms;
    double value;
} sample;

/* ---- the aggregator of one counter ---- */

typedef struct source {
    char name[NAME];
    sample kept[KEPT]; /* the newest, as they came */
    size_t n;
    int64_t newest, closed; /* all windows that end until then are closed */
    uint64_t late, lost;
    char last[160]; /* the last closed window */
} source;

MANTA_ACTOR(Aggregator, source *sources; size_t n; char counter[16]; bool keep_all; char *text; size_t size;)

MANTA_METHOD(Aggregator, init, void, (manta_str, counter), (bool, keep_all))
{
    snprintf(self->counter, sizeof self->counter, "%.*s", (int)counter.size, counter.data);
    self->keep_all = keep_all;
    self->sources = calloc(SOURCES, sizeof *self->sources);
    self->text = calloc(1, TEXT);
    if (!self->sources || !self->text) manta_fail(MANTA_ENOMEM, "no memory for the windows of %s", self->counter);
}

static source *source_of(Aggregator *self, manta_str name)
{
    for (size_t i = 0; i < self->n; i++)
        if (strlen(self->sources[i].name) == name.size && memcmp(self->sources[i].name, name.data, name.size) == 0)
            return &self->sources[i];
    if (self->n == SOURCES || name.size >= NAME) return NULL;
    source *s = &self->sources[self->n++];
    memcpy(s->name, name.data, name.size);
    return s;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The values from `begin` to before `end`, sorted; how many. */
static size_t values_of(const source *s, int64_t begin, int64_t end, double *out, double *mean)
{
    size_t n = 0;
    double sum = 0;
    for (size_t i = 0; i < KEPT && i < s->n; i++)
        if (s->kept[i].time_ms >= begin && s->kept[i].time_ms < end) sum += out[n++] = s->kept[i].value;
    qsort(out, n, sizeof *out, by_value);
    *mean = n ? sum / (double)n : 0;
    return n;
}

static void add_line(Aggregator *self, const char *line)
{
    if (self->size + strlen(line) < TEXT) self->size += (size_t)sprintf(self->text + self->size, "%s", line);
}

static void close_window(Aggregator *self, source *s, int64_t begin)
{
    double v[KEPT], mean;
    size_t n = values_of(s, begin, begin + WINDOW, v, &mean);
    if (!n) return;
    snprintf(s->last, sizeof s->last, "%-22s %-11s %4zu %10.1f %10.1f %10.1f %10.1f", s->name, self->counter, n, v[0], mean, v[n - 1],
        v[(n * 99 + 99) / 100 - 1]);
    if (!self->keep_all) return;
    add_line(self, s->last);
    add_line(self, "\n");
}

static void take(Aggregator *self, source *s, sample x)
{
    if (!s->n) s->closed = x.time_ms / WINDOW * WINDOW;
    if (x.time_ms < s->closed) {
        s->late++;
        return;
    }
    s->kept[s->n++ % KEPT] = x;
    if (x.time_ms > s->newest) s->newest = x.time_ms;
    if (s->newest - s->closed > WINDOW * (KEPT / 8)) s->closed = s->newest / WINDOW * WINDOW - WINDOW; /* after a long silence */
    for (; s->closed + WINDOW + LATENESS <= s->newest; s->closed += WINDOW) close_window(self, s, s->closed);
}

MANTA_METHOD(Aggregator, add, void, (manta_str, name), (manta_bytes, samples), (uint64_t, lost))
{
    source *s = source_of(self, name);
    if (!s || samples.size % sizeof(sample)) {
        manta_fail(MANTA_ELIMIT, "at most %d sources, with names below %d bytes", SOURCES, NAME);
        return;
    }
    s->lost += lost;
    for (size_t i = 0; i < samples.size / sizeof(sample); i++) {
        sample x;
        memcpy(&x, (const char *)samples.data + i * sizeof x, sizeof x);
        take(self, s, x);
    }
}

/* Live: the last window of each source and its sliding mean. Else: all closed windows. */
MANTA_METHOD(Aggregator, report, manta_str)
{
    if (!self->keep_all) self->size = 0;
    for (size_t i = 0; i < self->n; i++) {
        source *s = &self->sources[i];
        double v[KEPT], mean;
        char line[320];
        (void)values_of(s, s->newest - WINDOW + 1, s->newest + 1, v, &mean);
        snprintf(line, sizeof line, "%-82s %10.1f   late %llu lost %llu\n", self->keep_all ? s->name : s->last, mean,
            (unsigned long long)s->late, (unsigned long long)s->lost);
        add_line(self, line);
    }
    return (manta_str){self->text, self->size};
}

static void forget(void *state)
{
    free(((Aggregator *)state)->sources);
    free(((Aggregator *)state)->text);
}
MANTA_CLASS_WITH(Aggregator, (.on_free = forget), init, add, report)

/* ---- a sampler ---- */

typedef struct stream {
    Aggregator_ref to;
    manta_void_future under_way;
    bool is_under_way;
    sample held[HELD];
    size_t n;
    uint64_t lost;
} stream;
MANTA_ACTOR(Sampler, char name[NAME]; stream streams[COUNTERS]; int64_t last_ms; double last_cpu, last_switches;)

MANTA_METHOD_DECLARE(Sampler, tick, void)

MANTA_METHOD(Sampler, init, void, (int64_t, number), (Aggregator_ref, cpu), (Aggregator_ref, memory), (Aggregator_ref, switches))
{
    char host[24] = "";
    (void)gethostname(host, sizeof host - 1);
    snprintf(self->name, sizeof self->name, "%s/%d/%d", host, (int)getpid(), (int)number);
    const Aggregator_ref to[COUNTERS] = {cpu, memory, switches};
    for (int i = 0; i < COUNTERS; i++) self->streams[i].to = to[i];
    (void)Sampler_tick_every(EVERY, Sampler_ref_of(manta_self()));
}

/* This process's CPU time in ms, memory in MiB, context switches. */
static void read_counters(double *cpu, double *memory, double *switches)
{
    char line[256];
    unsigned long user = 0, kernel = 0, pages = 0, n = 0;
    FILE *f = fopen("/proc/self/stat", "r");
    if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) == 2)
        *cpu = (double)(user + kernel) * 1000 / (double)sysconf(_SC_CLK_TCK);
    if (f) fclose(f);
    if ((f = fopen("/proc/self/statm", "r")) && fscanf(f, "%*u %lu", &pages) == 1)
        *memory = (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
    if (f) fclose(f);
    for (f = fopen("/proc/self/status", "r"); f && fgets(line, sizeof line, f);)
        if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1 || sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n) == 1)
            *switches += (double)n;
    if (f) fclose(f);
}

static void send(stream *t, const char *name, sample x)
{
    if (t->n == HELD) {
        memmove(t->held, t->held + 1, (HELD - 1) * sizeof x);
        t->n--;
        t->lost++;
    }
    t->held[t->n++] = x;
    if (t->is_under_way && !manta_future_is_ready(t->under_way.future)) return;
    if (t->is_under_way) (void)manta_join(t->under_way);
    t->under_way = Aggregator_add(t->to, manta_str_of(name), (manta_bytes){t->held, t->n * sizeof x}, t->lost);
    t->is_under_way = manta_future_keep(t->under_way.future) == MANTA_OK;
    t->n = t->lost = 0;
}

MANTA_METHOD_DEFINE(Sampler, tick, void)
{
    struct timespec t;
    double cpu = 0, memory = 0, switches = 0;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000, gone = now - self->last_ms;
    read_counters(&cpu, &memory, &switches);
    if (self->last_ms && gone > 0) {
        const double value[COUNTERS] = {
            (cpu - self->last_cpu) * 100 / (double)gone, memory, (switches - self->last_switches) * 1000 / (double)gone};
        for (int i = 0; i < COUNTERS; i++) send(&self->streams[i], self->name, (sample){now, value[i]});
    }
    self->last_ms = now;
    self->last_cpu = cpu;
    self->last_switches = switches;
}

MANTA_CLASS(Sampler, init, tick)

/* ---- the main program ---- */

static Aggregator_ref aggregators[COUNTERS];

static void print_table(void)
{
    printf("%-22s %-11s %4s %10s %10s %10s %10s %10s\n", "source", "counter", "n", "min", "mean", "max", "p99", "sliding");
    for (int i = 0; i < COUNTERS; i++) {
        manta_str text = manta_await(Aggregator_report(aggregators[i]));
        printf("%.*s", (int)text.size, text.data);
    }
    printf("\n");
    fflush(stdout);
}

static int live(int samplers, int seconds)
{
    for (int i = 0; i < samplers; i++)
        if (!Sampler_spawn(i, aggregators[0], aggregators[1], aggregators[2]).actor.id)
            return fprintf(stderr, "live_metrics: %s\n", manta_last_error()->message), 1;
    for (int i = 0; i < seconds; i++) {
        (void)manta_scope_begin();
        (void)manta_sleep(WINDOW);
        print_table();
        (void)manta_scope_end();
    }
    return 0;
}

static int replay(const char *path)
{
    FILE *f = fopen(path, "r");
    char name[NAME];
    long long ms;
    double v[COUNTERS];
    if (!f) return perror(path), 1;
    while (fscanf(f, "%47s %lld %lf %lf %lf", name, &ms, &v[0], &v[1], &v[2]) == 5)
        for (int i = 0; i < COUNTERS; i++) {
            sample x = {ms, v[i]};
            manta_await(Aggregator_add(aggregators[i], manta_str_of(name), (manta_bytes){&x, sizeof x}, 0));
        }
    int complete = feof(f);
    fclose(f);
    print_table();
    return complete ? 0 : (fprintf(stderr, "%s: a line is no sample\n", path), 1);
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    const char *file = NULL;
    int samplers = 3, seconds = 10;
    if (!m) return 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--replay") == 0) file = argv[i + 1];
        else *(strcmp(argv[i], "--samplers") == 0 ? &samplers : &seconds) = atoi(argv[i + 1]);
    }
    for (int i = 0; i < COUNTERS; i++)
        if (!(aggregators[i] = Aggregator_spawn(manta_str_of(counters[i]), file != NULL)).actor.id) return 1;
    int code = file ? replay(file) : live(samplers, seconds);
    return manta_shutdown(m) == MANTA_OK ? code : 1;
}
