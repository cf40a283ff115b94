#include "actor/node/jobs_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/node/control.h"
#include "actor/node/node.h"
#include "actor/node/raylet.h"
#include "actor/node/report.h"

enum { PAGE = 500, STATUS_MS = 2000, STATUS_BYTES = 8192, STATUS_JOBS = 16 };

static pthread_mutex_t space_lock = PTHREAD_MUTEX_INITIALIZER;
static char own_space[NAME_LIMIT + 1]; /* written once, under the lock */
static _Atomic bool is_known;

/* ---- the namespace ---- */

static void keep_space(const char *text, size_t size)
{
    pthread_mutex_lock(&space_lock);
    if (!load_relaxed(&is_known)) snprintf(own_space, sizeof own_space, "%.*s", (int)size, text);
    store_release(&is_known, true);
    pthread_mutex_unlock(&space_lock);
}

manta_status job_use_space(const char *space)
{
    manta_status status = control_check("namespace", "name", space, NAME_LIMIT);
    if (!status) keep_space(space, strlen(space));
    return status;
}

void job_forget(void) { store_seq(&is_known, false); }

static manta_status ask_for_space(void)
{
    manta_writer w;
    gcs_reply reply;
    gcs_job_row row = {0};
    manta_writer_init_growing(&w);
    gcs_write_job_get(&w, NULL, &(gcs_job_get){the_job.id});
    manta_status status = control_call("the namespace of the job", true, &w, GCS_TIMEOUT_MS, &reply);
    if (status) return status;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_job_row(&r, &row);
    if (r.status) return error_set(MANTA_EDECODE, "the namespace of the job: a malformed answer");
    keep_space(row.space.data, row.space.size);
    return MANTA_OK;
}

manta_status job_space(const char **out)
{
    manta_status status = load_acquire(&is_known) ? MANTA_OK : ask_for_space();
    *out = own_space;
    return status;
}

const char *manta_namespace(void)
{
    const char *space = "";
    return the_job.id && job_space(&space) == MANTA_OK ? space : "";
}

/* ---- a job's begin and end ---- */

static manta_status record_process(uint64_t node)
{
    manta_writer w;
    gcs_reply reply;
    const char *address = manta_listen_address(0);
    gcs_process_start row = {the_node.process, node, manta_str_of(address ? address : ""), node_pid(), manta_str_of("driver")};
    manta_writer_init_growing(&w);
    gcs_write_process_start(&w, NULL, &row);
    return control_call("the start of a job", false, &w, GCS_TIMEOUT_MS, &reply);
}

manta_status job_record(const char *space)
{
    manta_writer w;
    gcs_reply reply;
    char text[NAME_LIMIT + 1];
    uint64_t node = manta_process_of(job_raylet).id;
    if (!space || !*space) snprintf(text, sizeof text, "job-%016llx", (unsigned long long)the_job.id);
    else if (control_check("namespace", "name", space, NAME_LIMIT)) return manta_last_error()->status;
    else snprintf(text, sizeof text, "%s", space);
    keep_space(text, strlen(text));
    manta_status status = record_process(node);
    if (status) return status;
    manta_writer_init_growing(&w);
    gcs_write_job_start(&w, NULL, &(gcs_job_start){the_job.id, the_job.name, manta_str_of(text), the_node.process, node});
    return control_call("the start of a job", false, &w, GCS_TIMEOUT_MS, &reply);
}

void job_succeeded(uint64_t job)
{
    manta_writer w;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    gcs_write_job_end(&w, NULL, &(gcs_job_end){job, GCS_JOB_STATE_SUCCEEDED, manta_str_of("")});
    (void)control_call("the end of a job", false, &w, GCS_TIMEOUT_MS, &reply);
}

/* ---- lists ---- */

static const char *state_name(uint64_t state)
{
    static const char *const names[] = {"?", "running", "succeeded", "failed", "stopped"};
    return names[state < sizeof names / sizeof *names ? state : 0];
}

typedef void (*visit_job)(const gcs_job_row *row, void *context);

static manta_status read_page(const gcs_reply *reply, visit_job visit, void *context, manta_bytes *out_next)
{
    gcs_page page;
    uint32_t n = 0;
    manta_reader r = gcs_reply_reader(reply), rows;
    gcs_read_page(&r, &page);
    if (r.status) return error_set(MANTA_EDECODE, "the list of jobs: a malformed answer");
    manta_reader_init(&rows, page.rows.data, page.rows.size);
    manta_unpack_array(&rows, &n);
    for (uint32_t i = 0; i < n && !rows.status; i++) {
        gcs_job_row row = {0};
        gcs_read_job_row(&rows, &row);
        if (!rows.status) visit(&row, context);
    }
    *out_next = page.next;
    return rows.status ? error_set(MANTA_EDECODE, "the list of jobs: a malformed answer") : MANTA_OK;
}

/* In order of id; the rows' texts live in the caller's scope. */
static manta_status each_job(visit_job visit, void *context, uint64_t timeout_ms)
{
    manta_bytes after = {NULL, 0};
    manta_status status = MANTA_OK;
    do {
        manta_writer w;
        gcs_reply reply;
        manta_writer_init_growing(&w);
        gcs_write_list(&w, NULL, &(gcs_list){.table = GCS_TABLE_JOB, .after = after, .limit = PAGE});
        status = control_call("the list of jobs", true, &w, timeout_ms, &reply);
        if (!status) status = read_page(&reply, visit, context, &after);
    } while (!status && after.size);
    return status;
}

static const char *text_of(manta_str s, char *out, size_t room)
{
    snprintf(out, room, "%.*s", (int)s.size, s.data ? s.data : "");
    return out;
}

static void report_job(const gcs_job_row *row, void *context)
{
    char text[1100];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)row->id);
    report_text(context, "id", text);
    report_text(context, "program", text_of(row->name, text, sizeof text));
    report_text(context, "state", state_name(row->state));
    report_text(context, "namespace", text_of(row->space, text, sizeof text));
    snprintf(text, sizeof text, "%016llx", (unsigned long long)row->driver);
    report_text(context, "driver", text);
    report_text(context, "reason", text_of(row->reason, text, sizeof text));
    report_row_end(context);
}

bool jobs_rows(report *out)
{
    bool ok = each_job(report_job, out, GCS_TIMEOUT_MS) == MANTA_OK;
    out->is_bad |= !ok;
    return ok;
}

typedef struct summary {
    uint32_t by_state[GCS_JOB_STATE_STOPPED + 1], n;
    gcs_job_row last[STATUS_JOBS]; /* that began last, the last first */
} summary;

static void summarize(const gcs_job_row *row, void *context)
{
    summary *s = context;
    s->by_state[row->state <= GCS_JOB_STATE_STOPPED ? row->state : 0]++;
    uint32_t at = s->n;
    while (at && s->last[at - 1].created < row->created) at--;
    if (at == STATUS_JOBS) return;
    if (s->n < STATUS_JOBS) s->n++;
    memmove(&s->last[at + 1], &s->last[at], (s->n - 1 - at) * sizeof *row);
    s->last[at] = *row;
}

manta_str jobs_describe(void)
{
    summary s = {.n = 0};
    char *text = manta_alloc(STATUS_BYTES);
    if (!text) return (manta_str){NULL, 0};
    if (each_job(summarize, &s, STATUS_MS)) return (manta_str){NULL, 0}; /* which the store's own lines tell about */
    size_t n = (size_t)snprintf(text, STATUS_BYTES, "jobs of the cluster: %u running, %u succeeded, %u failed\n",
        s.by_state[GCS_JOB_STATE_RUNNING], s.by_state[GCS_JOB_STATE_SUCCEEDED], s.by_state[GCS_JOB_STATE_FAILED]);
    for (uint32_t i = 0; i < s.n && n + 400 < STATUS_BYTES; i++) {
        const gcs_job_row *j = &s.last[i];
        int name = j->name.size < 60 ? (int)j->name.size : 60, reason = j->reason.size < 80 ? (int)j->reason.size : 80;
        n += (size_t)snprintf(text + n, STATUS_BYTES - n, "  %016llx %s %.*s%s%.*s\n", (unsigned long long)j->id, state_name(j->state),
            name, j->name.data, reason ? ": " : "", reason, reason ? j->reason.data : "");
    }
    return (manta_str){text, n};
}

/* ---- public ---- */

typedef struct listing {
    manta_job_info *out;
    size_t capacity, count;
} listing;

static void list_job(const gcs_job_row *row, void *context)
{
    listing *l = context;
    if (l->count++ >= l->capacity) return;
    manta_job_info *j = &l->out[l->count - 1];
    *j = (manta_job_info){.id = row->id, .state = (manta_job_state)row->state, .driver = {row->driver}, .node = {row->node}};
    (void)text_of(row->name, j->program, sizeof j->program);
    (void)text_of(row->space, j->name_space, sizeof j->name_space);
    (void)text_of(row->reason, j->reason, sizeof j->reason);
}

manta_status manta_list_jobs(manta_job_info *out, size_t capacity, size_t *out_count)
{
    listing l = {out, capacity, 0};
    manta_status status = control_begin("manta_list_jobs");
    if (!status) status = manta_scope_begin();
    if (status) return status;
    status = each_job(list_job, &l, GCS_TIMEOUT_MS);
    (void)manta_scope_end();
    if (!status) *out_count = l.count;
    return status;
}
