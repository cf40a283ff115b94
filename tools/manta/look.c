/*
 * manta list, get, summary, memory, stack, logs, timeline, kill: what asks a cluster about itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/manta/answers.h"
#include "tools/manta/manta.h"

enum { LIST_LIMIT = 100, ALL = 1000000, TRACE_SECONDS_MAX = 3600 };

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words && strcmp(word, *words) != 0) words++;
    return *words != NULL;
}

static int show(const question *q, const char *kind, bool is_sum)
{
    answers a;
    if (!question_once(q, kind, true, &a)) return 1;
    bool is_jobs = strcmp(kind, "jobs") == 0;
    if (is_sum || is_jobs) answers_merge(&a); /* each node knows a job and its own workers of it */
    int failed = answers_complain(&a);
    if (a.n_rows || !failed) answers_print(&a, q, !is_sum && !is_jobs && strcmp(kind, "nodes") != 0);
    answers_free(&a);
    return failed ? 1 : 0;
}

int command_list(int argc, char **argv)
{
    static const char *const kinds[] = {"actors", "tasks", "objects", "nodes", "processes", "jobs", "crashes", NULL};
    question q = {.limit = LIST_LIMIT};
    int code = question_parse("list", &argc, argv, &q);
    if (code) return code;
    if (argc != 1 || !is_one_of(argv[0], kinds))
        return wrong_usage(
            "list wants actors, tasks, objects, nodes, processes, jobs or crashes, got %s", argc ? argv[argc > 1] : "nothing");
    return show(&q, argv[0], false);
}

int command_summary(int argc, char **argv)
{
    static const char *const kinds[] = {"actors", "tasks", "methods", NULL};
    question q = {.limit = ALL};
    char kind[40];
    int code = question_parse("summary", &argc, argv, &q);
    if (code) return code;
    if (argc != 1 || !is_one_of(argv[0], kinds))
        return wrong_usage("summary wants actors, tasks or methods, got %s", argc ? argv[argc > 1] : "nothing");
    snprintf(kind, sizeof kind, "summary %s", argv[0]);
    return show(&q, kind, true);
}

static int show_all(const char *command, const char *kind, int argc, char **argv)
{
    question q = {.limit = LIST_LIMIT};
    int code = question_parse(command, &argc, argv, &q);
    if (code) return code;
    if (argc) return wrong_usage("%s is not known here", argv[0]);
    return show(&q, kind, false);
}

int command_memory(int argc, char **argv) { return show_all("memory", "memory", argc, argv); }
int command_stack(int argc, char **argv) { return show_all("stack", "stack", argc, argv); }

int command_get(int argc, char **argv)
{
    static const char *const kinds[] = {"actors", "tasks", "nodes", "processes", "jobs", "crash", NULL};
    question q = {.limit = LIST_LIMIT};
    answers a;
    char kind[16] = "";
    int code = question_parse("get", &argc, argv, &q);
    if (code) return code;
    if (argc == 2)
        snprintf(kind, sizeof kind, "%s%s", argv[0], is_one_of(argv[0], kinds) ? "" : strcmp(argv[0], "process") == 0 ? "es" : "s");
    if (argc != 2 || !is_one_of(kind, kinds))
        return wrong_usage("get wants %s", "actor, task, node, process, job or crash, and an id as list shows it");
    if (snprintf(q.match, sizeof q.match, "%s=%s", strcmp(kind, "nodes") == 0 ? "address" : "id", argv[1]) >= 200 || strchr(argv[1], '\n'))
        return wrong_usage("%s is no id", argv[1]);
    if (!question_once(&q, kind, true, &a)) return 1;
    if (strcmp(kind, "jobs") == 0) answers_merge(&a);
    int failed = answers_complain(&a);
    if (a.n_rows) answers_print_details(&a, &q);
    else if (!failed) fprintf(stderr, "manta get: there is no %s %s\n", argv[0], argv[1]);
    failed += !a.n_rows;
    answers_free(&a);
    return failed ? 1 : 0;
}

int command_logs(int argc, char **argv)
{
    question q = {.limit = LIST_LIMIT};
    answers a;
    int code = question_parse("logs", &argc, argv, &q);
    if (code) return code;
    if (argc) return wrong_usage("logs does not know %s", argv[0]);
    if (!question_once(&q, "log", true, &a)) return 1;
    int failed = answers_complain(&a);
    if (q.as_json) answers_print(&a, &(question){.limit = ALL, .as_json = true}, true);
    else {
        for (size_t i = 0; i < a.n_rows; i++) printf("%s %s\n", a.origins[a.rows[i].origin].node, a.rows[i].cells[0].text);
        if (a.matched > a.n_rows) printf("%" PRIu64 " earlier lines: --limit N\n", a.matched - a.n_rows);
        if (!a.matched) printf("the daemons have said nothing\n");
    }
    answers_free(&a);
    return failed ? 1 : 0;
}

int command_kill(int argc, char **argv)
{
    question q = {.limit = 1};
    answers a;
    int code = question_parse("kill", &argc, argv, &q);
    if (code) return code;
    if (argc != 1 || strlen(argv[0]) >= 48) return wrong_usage("kill wants %s", "the id of an actor, as list actors shows it");
    snprintf(q.match, sizeof q.match, "%s", argv[0]);
    if (!question_once(&q, "kill", false, &a)) return 1;
    bool is_killed = false;
    for (size_t i = 0; i < a.n_origins; i++) is_killed |= a.origins[i].size > 0;
    int failed = is_killed ? 0 : answers_complain(&a);
    if (is_killed) printf("killed %s\n", argv[0]);
    else fprintf(stderr, "manta kill: there is no actor %s%s\n", argv[0], failed ? " in the processes that answered" : "");
    answers_free(&a);
    return is_killed ? 0 : 1;
}

/* ---- timeline ---- */

/* The events of all processes in one list: what lies between the brackets of each. */
static int write_timeline(const answers *a, const char *path)
{
    static const char head[] = "\"traceEvents\":[";
    FILE *f = fopen(path, "w");
    int n = 0;
    if (!f) return fprintf(stderr, "manta timeline: %s: %s\n", path, strerror(errno)), -1;
    fprintf(f, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    for (size_t i = 0; i < a->n_origins; i++) {
        const origin *o = &a->origins[i];
        const char *begin = o->bytes ? memmem(o->bytes, o->size, head, strlen(head)) : NULL,
                   *end = o->bytes ? memrchr(o->bytes, ']', o->size) : NULL;
        if (begin) begin += strlen(head);
        while (begin && begin < end && *begin == '\n') begin++;
        while (begin && end > begin && end[-1] == '\n') end--;
        if (!begin || end <= begin) continue;
        fprintf(f, "%s%.*s", n++ ? ",\n" : "", (int)(end - begin), begin);
    }
    fprintf(f, "\n]}\n");
    return fclose(f) == 0 ? n : (fprintf(stderr, "manta timeline: %s: %s\n", path, strerror(errno)), -1);
}

/* Records for so long when it is not 0, and leaves the recording on or off as it was. */
static bool record(question *q, int seconds, answers *out)
{
    manta_actor raylet;
    manta_t *m = question_connect(q, &raylet);
    bool ok = m != NULL;
    answers started = {.n_rows = 0};
    if (ok && seconds) {
        snprintf(q->match, sizeof q->match, "begin");
        ok = question_ask(raylet, q, "trace", false, &started);
        answers_free(&started);
        (void)manta_sleep((uint64_t)seconds * 1000);
        snprintf(q->match, sizeof q->match, "end");
    }
    ok = ok && question_ask(raylet, q, "trace", false, out);
    if (m) (void)manta_shutdown(m);
    return ok;
}

int command_timeline(int argc, char **argv)
{
    question q = {.limit = 1};
    const char *path = "timeline.json";
    int seconds = 0, code = question_parse("timeline", &argc, argv, &q);
    answers a;
    for (int i = 0; i < argc && !code; i += 2) {
        bool is_out = strcmp(argv[i], "--out") == 0;
        if (!is_out && strcmp(argv[i], "--seconds") != 0) return wrong_usage("timeline does not know %s", argv[i]);
        if (i + 1 == argc) return wrong_usage("%s wants a value", argv[i]);
        if (is_out) path = argv[i + 1];
        else if ((seconds = atoi(argv[i + 1])) < 1 || seconds > TRACE_SECONDS_MAX)
            return wrong_usage("--seconds is from 1 to 3600, got %s", argv[i + 1]);
    }
    if (code) return code;
    if (!record(&q, seconds, &a)) return 1;
    int failed = answers_complain(&a), n = write_timeline(&a, path);
    if (n >= 0) printf("%s: events of %d processes; open it in Perfetto or chrome://tracing\n", path, n);
    answers_free(&a);
    return failed || n < 0 ? 1 : 0;
}
