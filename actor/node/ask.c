/*
 * A raylet's answers to the command manta: what it knows itself, and what the processes of its node say; for the whole cluster, what the other raylets say too.
 *
 * An answer is a sequence of MessagePack values, one for each process that was asked: [process, role, node, error, answer]: texts, and the answer as bytes: a report (report.h) or a trace. `error`
 * says why there is no answer. Questions: the kinds of report_of_process; of each raylet itself: nodes, jobs, log, crashes, crash (with frames); trace (match: "begin", "end" or nothing, see report_trace); kill (match: an actor).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/node/crash.h"
#include "actor/node/raylet.h"
#include "actor/node/report.h"
#include "actor/node/service.h"
#include "scheduler/os/os_file.h"

enum { PROCESSES = 4096, ANSWER_MS = 5000, ANSWERS_BYTES = 60 << 20, LOG_BYTES = 4 << 20 };

static const char too_large[] = "all answers together are too large: ask for less (--limit, --where)";

static bool is(manta_str s, const char *text) { return strlen(text) == s.size && memcmp(s.data, text, s.size) == 0; }

static void add(manta_writer *w, manta_process who, const char *role, const char *node, const char *error, manta_bytes answer)
{
    char process[20];
    snprintf(process, sizeof process, "%016llx", (unsigned long long)who.id);
    if (manta_writer_size(w) + answer.size > ANSWERS_BYTES) {
        error = too_large;
        answer = (manta_bytes){NULL, 0};
    }
    const manta_str texts[4] = {manta_str_of(process), manta_str_of(role), manta_str_of(node), manta_str_of(error)};
    manta_pack_array(w, 5);
    for (int i = 0; i < 4; i++) manta_pack_manta_str(w, &texts[i]);
    manta_pack_manta_bytes(w, &answer);
}

/* ---- of the raylet itself ---- */

/* The last LOG_BYTES of the file that standard error goes to, a row a line, the last `limit`; `matched` counts those before them too. */
static void add_log(report *r, uint32_t limit)
{
    uint64_t bytes = 0;
    char *text = base_calloc(1, LOG_BYTES + 1);
    uint32_t lines = 0;
    if (!text || os_file_size(STDERR_FILENO, &bytes)) bytes = 0;
    size_t n = bytes < LOG_BYTES ? (size_t)bytes : LOG_BYTES;
    int fd = -1;
    if (n && (os_file_open("/proc/self/fd/2", OS_READ, &fd) || os_file_read(fd, text, n, bytes - n))) n = 0;
    os_file_close(fd);
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    for (char *line = text, *end; line && (end = strchr(line, '\n')); line = end + 1, lines--) {
        *end = 0;
        r->limit = lines <= limit ? limit : 0; /* the first ones are counted only */
        report_text(r, "line", line);
        report_row_end(r);
    }
    base_free(text);
}

static bool add_own(const struct raylet *r, MantaQuestion q, manta_writer *w)
{
    bool is_log = is(q.kind, "log"), is_crash = is(q.kind, "crash") || is(q.kind, "crashes");
    if (!is_log && !is_crash && !is(q.kind, "nodes") && !is(q.kind, "jobs")) return false;
    report *rows = report_new(q.match, q.limit);
    manta_bytes answer = {NULL, 0};
    if (rows && is_log) add_log(rows, q.limit);
    else if (rows && is_crash) crashes_rows(rows, is(q.kind, "crash"));
    else if (rows) (void)raylet_rows(r, is(q.kind, "nodes") ? "nodes" : "jobs", rows);
    if (rows) answer = report_finish(rows);
    add(w, manta_this_process(), "node", raylet_address(r), answer.data ? "" : manta_last_error()->message, answer);
    return true;
}

/* ---- of others ---- */

static manta_future ask_process(MantaQuestion q, manta_process who)
{
    const manta_options *o = MANTA_OPTIONS(.timeout_ms = ANSWER_MS);
    if (is(q.kind, "trace")) {
        report_recording what = is(q.match, "begin") ? REPORT_BEGIN : is(q.match, "end") ? REPORT_END : REPORT_AS_IT_IS;
        return MantaNode_trace_with(o, service_of(who), (uint32_t)what).future;
    }
    if (is(q.kind, "kill")) return MantaNode_kill_with(o, service_of(who), q.match).future;
    return MantaNode_inspect_with(o, service_of(who), q.kind, q.match, q.limit).future;
}

static void add_process(MantaQuestion q, manta_future f, const raylet_process *who, const char *node, manta_writer *w)
{
    manta_bytes answer = {"", 0};
    bool done = false, is_kill = is(q.kind, "kill");
    manta_status status =
        is_kill ? manta_get_value(f, &done, sizeof done, MANTA_FOREVER) : manta_get_value(f, &answer, sizeof answer, MANTA_FOREVER);
    if (is_kill) answer.size = done; /* one byte: it was there */
    add(w, who->process, who->role, node, status ? manta_last_error()->message : "", status ? (manta_bytes){"", 0} : answer);
}

static void ask_node(const struct raylet *r, MantaQuestion q, manta_writer *w)
{
    raylet_process *asked = manta_alloc(PROCESSES * sizeof *asked);
    manta_future *f = manta_alloc(PROCESSES * sizeof *f);
    if (!asked || !f) {
        manta_writer_fail(w, MANTA_ENOMEM);
        return;
    }
    uint32_t n = raylet_processes(r, asked, PROCESSES);
    for (uint32_t i = 0; i < n; i++) f[i] = ask_process(q, asked[i].process);
    for (uint32_t i = 0; i < n; i++) add_process(q, f[i], &asked[i], raylet_address(r), w);
}

MANTA_METHOD_DEFINE(MantaRaylet, ask, manta_bytes, (MantaQuestion, asked))
{
    manta_manta_bytes_future f[NODES_LIMIT];
    manta_actor others[NODES_LIMIT];
    manta_process who[NODES_LIMIT];
    const manta_options *o = MANTA_OPTIONS(.timeout_ms = 2 * ANSWER_MS);
    manta_bytes out = {NULL, 0};
    manta_writer w;
    uint32_t n = asked.is_of_cluster && !is(asked.kind, "nodes") && !is(asked.kind, "jobs") ? raylet_others(self->r, others) : 0;
    asked.is_of_cluster = false;
    manta_writer_init_growing(&w);
    for (uint32_t i = 0; i < n; i++) {
        who[i] = manta_process_of(others[i]); /* before it may be gone */
        f[i] = MantaRaylet_ask_with(o, MantaRaylet_ref_of(others[i]), asked);
    }
    if (!add_own(self->r, asked, &w)) ask_node(self->r, asked, &w);
    for (uint32_t i = 0; i < n; i++) {
        manta_bytes more = {NULL, 0};
        const char *error = manta_get(f[i], &more) ? manta_last_error()->message : "";
        if (!*error && manta_writer_size(&w) + more.size > ANSWERS_BYTES) error = too_large;
        if (!*error) manta_pack_raw(&w, more.data, more.size);
        else add(&w, who[i], "node", "", error, (manta_bytes){"", 0});
    }
    if (!w.status && (out.data = manta_alloc(manta_writer_size(&w) + 1))) {
        out.size = manta_writer_size(&w);
        memcpy((void *)(uintptr_t)out.data, w.start, out.size);
    } else manta_fail(MANTA_ENOMEM, "no memory for an answer");
    manta_writer_fini(&w);
    return out;
}
