/*
 * Records are run again. A run is a local task: it unpacks the arguments (what is lost among them is made again when the task's worker asks for it), submits the task like the first time, and copies its outputs into the
 * objects here that were waiting for them. Who comes while it runs is served by it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/node/lineage_internal.h"
#include "actor/node/raylet.h"

/* ---- reasons ---- */

const char *manta_lost_text(manta_lost_reason reason)
{
    switch (reason) {
#define TEXT(name, value, text) \
    case MANTA_LOST_##name: return text;
        MANTA_LOST_TABLE(TEXT)
#undef TEXT
    case MANTA_LOST_NONE: break;
    }
    return "?";
}

manta_lost_reason manta_lost_reason_of(const manta_error *error)
{
    for (const manta_error *e = error; e; e = e->cause) {
        const char *at = e->message ? strstr(e->message, "(lost, reason ") : NULL;
        if (at) return (manta_lost_reason)atoi(at + strlen("(lost, reason "));
    }
    return MANTA_LOST_NONE;
}

manta_error *lost_error(const rebuild *r, manta_lost_reason reason, const char *detail)
{
    char with[64] = "";
    if (r->lost_with) snprintf(with, sizeof with, " with process %016" PRIx64, r->lost_with);
    manta_error *e = error_new(MANTA_EOBJECTLOST, NULL, "object %016" PRIx64 "-%" PRIu64 " is lost%s: %s%s%s (lost, reason %d)",
        r->root.id[0], r->root.id[1], with, manta_lost_text(reason), detail ? ": " : "", detail ? detail : "", (int)reason);
    if (e->method[0]) e->class_name = e->method = ""; /* not of the task that found out */
    return e;
}

/* ---- the task, once more ---- */

typedef struct run {
    lineage_spec *spec;
    const manta_method *method;
    void *result; /* the scope's; NULL: it has not run, or failed */
    gathered_refs outputs;
    manta_lost_reason reason;
    char detail[400];
} run;

static void fails(run *x, manta_lost_reason reason, const char *detail)
{
    x->reason = reason;
    snprintf(x->detail, sizeof x->detail, "%s", detail ? detail : "");
}

static future *submit(run *x, const MantaRecord *record)
{
    char needed[RESOURCES_TEXT], labels[LABELS_TEXT], why[200];
    const manta_layout *layout = &x->method->arguments;
    snprintf(needed, sizeof needed, "%.*s", (int)record->need.size, record->need.data);
    snprintf(labels, sizeof labels, "%.*s", (int)record->labels.size, record->labels.data);
    manta_options o = {.size = sizeof o,
        .cpus = -1, /* `resources` has them */
        .resources = needed,
        .labels = labels,
        .where = (manta_where)record->where,
        .node = {record->node},
        .placement_group = {record->group},
        .bundle = record->bundle + 1,
        .priority = (manta_priority)record->priority,
        .max_retries = record->retries};
    bool is_here = !x->spec->demand && job_is_worker; /* its job may be over */
    void *arguments = manta_alloc(layout->size + 1);
    demand *d = is_here ? NULL : demand_again(&o, x->method->name);
    if (!arguments || (!d && !is_here)) return NULL;
    memset(arguments, 0, layout->size);
    manta_reader r;
    manta_reader_init(&r, record->arguments.data, record->arguments.size);
    arrival_begin(NULL);
    layout->unpack(&r, arguments);
    future *f = NULL;
    if (r.status || r.at != r.end) {
        manta_reader_explain(&r, why, sizeof why);
        error_set(MANTA_EDECODE, "its arguments: %s", why);
    } else f = attempt_again(worker_self(), &o, x->method, arguments, layout->extra ? layout->extra(arguments) : 0, d);
    arrival_end(worker_self(), 0);
    return f;
}

static bool await_it(run *x, future *f)
{
    size_t size = x->method->result.size;
    future_scope_add(activation_self(), f);
    void *result = manta_alloc(size + 1);
    if (!result) return false;
    if (manta_get_value(future_handle(f), result, size, MANTA_FOREVER)) {
        char text[400];
        manta_error_format(manta_last_error(), text, sizeof text);
        fails(x, MANTA_LOST_TASK_FAILED, text);
        return false;
    }
    x->result = result;
    base_free(x->outputs.items);
    x->outputs = refs_gather(&x->method->result, result);
    return true;
}

static void once_more(run *x, uint64_t since_ns)
{
    MantaRecord record;
    size_t bytes;
    manta_lost_reason reason;
    x->result = NULL;
    void *copy = lineage_run_record(x->spec, since_ns, &bytes, &reason);
    if (!copy && reason == MANTA_LOST_OVER_BUDGET && x->spec->is_shipped) {
        copy = lineage_fetch(x->spec->outputs[0].root, &bytes, &reason);
        if (!copy) reason = MANTA_LOST_OVER_BUDGET;
    }
    if (!copy || !record_read(copy, bytes, &record)) fails(x, copy ? MANTA_LOST_NO_RECORD : reason, NULL);
    else if (!(x->method = method_find(record.method))) fails(x, MANTA_LOST_NO_TASK, NULL);
    else {
        future *f = submit(x, &record);
        if (!f) fails(x, MANTA_LOST_TASK_FAILED, manta_last_error()->message);
        else (void)await_it(x, f);
    }
    base_free(copy);
}

/* ---- who waits for its outputs ---- */

static manta_status copy_output(run *x, const rebuild *r, uint32_t index)
{
    manta_object o;
    if (index >= x->outputs.count) return fails(x, MANTA_LOST_OTHER_RESULT, NULL), MANTA_EFAILED;
    manta_status status = manta_object_get(x->outputs.items[index], MANTA_FOREVER, &o);
    if (status) return fails(x, MANTA_LOST_TASK_FAILED, manta_last_error()->message), status;
    uint32_t n = the_objects->inside(o.ref, NULL, 0);
    manta_ref *inside = n ? manta_alloc(n * sizeof *inside) : NULL;
    if (n && !inside) return fails(x, MANTA_LOST_NO_MEMORY, NULL), MANTA_ENOMEM;
    if (n) (void)the_objects->inside(o.ref, inside, n);
    manta_blocking_begin();
    (void)the_objects->complete(worker_self(), r->local, o.data, o.size, (object_refs){inside, n}, NULL);
    manta_blocking_end();
    return MANTA_OK;
}

static manta_status serve(run *x, const rebuild *r, uint32_t index)
{
    if (!x->spec->is_answer) return copy_output(x, r, index);
    object_store_value(worker_self(), r->local, x->method, x->result);
    return MANTA_OK;
}

/* The new output may be lost before it is copied: then the task runs again, as often as it may. */
static void answer(run *x, rebuild *r, uint32_t index)
{
    manta_status status;
    do {
        if (!x->result) once_more(x, r->since_ns);
        status = x->result ? serve(x, r, index) : MANTA_EFAILED;
        if (status == MANTA_EOBJECTLOST) x->result = NULL;
    } while (status == MANTA_EOBJECTLOST);
    transfer_rebuilt(r, status ? lost_error(r, x->reason, x->detail[0] ? x->detail : NULL) : NULL);
}

MANTA_TASK(MantaRebuild, void, (uint64_t, high), (uint64_t, low))
{
    run x = {.spec = lineage_run_begins((manta_ref){{high, low}})};
    uint32_t index = 0;
    rebuild *r;
    while (x.spec && (r = lineage_run_next(x.spec, &index))) answer(&x, r, index);
    base_free(x.outputs.items);
}

bool lineage_run_start(manta_ref root)
{
    return manta_future_release(MantaRebuild_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE), root.id[0], root.id[1]).future) ==
           MANTA_OK;
}
