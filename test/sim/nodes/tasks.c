/*
 * Promises: the result of every task is right, or one of the documented errors; a task that may not run again never does, and no task runs twice while no process is lost or cut off; a result is there only when
 * the task has run; and when drivers have all that they asked for, all resources are free again and nothing waits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "test/sim/nodes/simulate.h"

enum { AT_ONCE = 4, RESULT_MS = 60000, KEPT = 8, FREE_MS = 30000, NODES = MANTA_SIM_NODES };

static uint64_t result_of(uint64_t id) { return id * UINT64_C(0x9e3779b97f4a7c15) >> 8; }

/* ---- tasks ---- */

static void task_begins(uint64_t id)
{
    task_seen *t = &watch()->tasks[id];
    manta_sim_note("task %" PRIu64 " begins", id);
    if (++t->begun > 1 && t->is_once) manta_sim_fail("task %" PRIu64 " may not run again, and did", id);
    if (t->begun > 1 && !manta_sim_count(LOSING)) manta_sim_fail("task %" PRIu64 " ran again, and no process was lost", id);
}

static manta_ref make_object(uint64_t seed)
{
    unsigned char *data;
    manta_ref ref = {{0}};
    if (manta_create(object_size(seed), &ref, (void **)&data)) return ref;
    object_fill(data, object_size(seed), seed);
    (void)manta_seal(ref);
    return ref;
}

static uint64_t task_ends(uint64_t id)
{
    watch()->tasks[id].finished++;
    return result_of(id);
}

MANTA_TASK(sim_work, uint64_t, (uint64_t, id), (uint64_t, ms))
{
    task_begins(id);
    if (ms) manta_sleep(ms);
    return task_ends(id);
}

/* One that needs the result of another. */
MANTA_TASK(sim_nest, uint64_t, (uint64_t, id), (uint64_t, inner), (uint64_t, ms))
{
    uint64_t got = 0;
    task_begins(id);
    manta_status status = manta_get(sim_work_submit(inner, ms), &got);
    if (status) return manta_fail(status, "the inner task: %s", manta_last_error()->message), 0;
    if (got != result_of(inner)) manta_sim_fail("task %" PRIu64 " has the result %" PRIx64, inner, got);
    return task_ends(id);
}

/* One that looks at an object of its driver. */
MANTA_TASK(sim_look, uint64_t, (uint64_t, id), (manta_object, o), (uint64_t, seed))
{
    task_begins(id);
    if (!object_is_right(o.data, o.size, seed))
        manta_sim_fail("task %" PRIu64 ": its argument of %zu bytes is not what it was", id, o.size);
    return task_ends(id);
}

/* One whose result is an object: when all that have it are lost, it runs again. */
MANTA_TASK(sim_make, manta_ref, (uint64_t, id), (uint64_t, seed))
{
    task_begins(id);
    (void)task_ends(id);
    return make_object(seed);
}

/* ---- the driver ---- */

typedef struct pending {
    uint64_t id;
    manta_uint64_t_future future;
} pending;

static bool new_task(uint64_t *out, bool is_once)
{
    watched *w = watch();
    if (w->n_tasks + 1 >= TASKS) return false;
    *out = ++w->n_tasks;
    w->tasks[*out] = (task_seen){.is_once = is_once};
    return true;
}

/* What may become of a task whose processes are lost again and again, see docs/failures.md. */
static bool is_documented(manta_status status) { return status == MANTA_EUNKNOWN || status == MANTA_EOBJECTLOST || status == MANTA_EINIT; }

static void judge_failure(uint64_t id, manta_status status)
{
    const char *text = manta_last_error()->message;
    manta_sim_note("task %" PRIu64 ": %s", id, text);
    watch()->tasks_lost++;
    if (!is_documented(status) || !manta_sim_count(LOSING))
        manta_sim_fail("task %" PRIu64 " ended with %s: %s", id, manta_status_text(status), text);
}

typedef struct kept { /* an object that a task has made, for tasks later on */
    manta_ref ref;
    uint64_t seed; /* 0: none */
} kept;
static kept all_kept[KEPT]; /* of this driver */

static void let_go(kept *k)
{
    if (k->seed) (void)manta_release(k->ref);
    k->seed = 0;
}

static void keep_one(void)
{
    uint64_t seed = manta_random() | 1, id;
    kept *k = &all_kept[manta_random() % KEPT];
    let_go(k);
    if (!new_task(&id, false)) return;
    manta_sim_note("waits for the object of task %" PRIu64, id);
    manta_status status = manta_get_timeout(sim_make_submit(id, seed), &k->ref, RESULT_MS);
    if (status) judge_failure(id, status);
    else if (manta_retain(k->ref) == MANTA_OK) k->seed = seed;
}

static manta_uint64_t_future look(uint64_t id)
{
    uint64_t seed = manta_random();
    kept *k = &all_kept[seed % KEPT];
    if (seed % 2 && k->seed) return sim_look_submit(id, manta_object_of(k->ref), k->seed);
    return sim_look_submit(id, manta_object_of(make_object(seed)), seed);
}

/* False: there is no room in the table. */
static bool submit(pending *p)
{
    uint64_t choice = manta_random(), inner, ms = manta_random() % 40;
    bool is_once = choice % 4 == 0;
    if (!new_task(&p->id, is_once)) return false;
    if (choice % 4 == 1 && new_task(&inner, false)) p->future = sim_nest_submit(p->id, inner, ms);
    else if (choice % 4 == 2) p->future = look(p->id);
    else if (is_once) p->future = sim_work_submit_with(MANTA_OPTIONS(.max_retries = MANTA_RETRIES_NONE), p->id, ms);
    else p->future = sim_work_submit(p->id, choice >> 8 & 1 ? 0 : ms);
    return true;
}

static void await_result(const pending *p)
{
    watched *w = watch();
    uint64_t got = 0;
    manta_sim_note("waits for task %" PRIu64, p->id);
    manta_status status = manta_get_timeout(p->future, &got, RESULT_MS);
    if (status) judge_failure(p->id, status);
    else w->tasks_done++;
    if (!status && got != result_of(p->id)) manta_sim_fail("task %" PRIu64 " has the result %" PRIx64, p->id, got);
    if (!status && !w->tasks[p->id].finished) manta_sim_fail("task %" PRIu64 " has a result, and did not run", p->id);
}

/* Of the nodes as this one knows them. A driver that its daemon has lost, which ends the job, cannot say. */
static bool is_all_free(char *why, size_t room)
{
    manta_node_info all[NODES];
    size_t n = 0;
    bool ok = true;
    (void)manta_scope_begin();
    manta_status status = manta_list_nodes(all, NODES, &n);
    snprintf(why, room, "the nodes cannot be listed: %s", status ? manta_last_error()->message : "");
    for (size_t i = 0; ok && i < n && i < NODES; i++) {
        ok = !all[i].queued && strcmp(all[i].available, all[i].total) == 0;
        snprintf(why, room, "%s has %s of %s, and %u wait", all[i].address, all[i].available, all[i].total, all[i].queued);
    }
    (void)manta_scope_end();
    return status ? status == MANTA_EDEAD : ok;
}

/* When nobody has work any more. */
static void await_rest(void)
{
    char why[600] = "";
    uint64_t end = 0;
    for (;;) {
        bool is_quiet = true;
        for (uint32_t i = 0; i < DRIVERS && i < manta_sim_nodes(); i++) is_quiet = is_quiet && watch()->drivers[i] != DRIVES;
        if (is_quiet && is_all_free(why, sizeof why)) return;
        if (!is_quiet) end = 0;
        else if (!end) end = manta_sim_now_ns() + FREE_MS * UINT64_C(1000000);
        else if (manta_sim_now_ns() > end) return manta_sim_fail("nobody has work, but %s", why);
        manta_sleep(100);
    }
}

void tasks_drive(uint32_t node)
{
    watch()->drivers[node] = DRIVES;
    for (uint32_t i = 0; i < manta_sim_steps() / 5 + 1; i++) {
        pending all[AT_ONCE];
        uint32_t n = 0, wanted = 1 + (uint32_t)(manta_random() % AT_ONCE);
        (void)manta_scope_begin();
        while (n < wanted && submit(&all[n])) n++;
        if (i % 2) actors_play();
        else keep_one();
        for (uint32_t k = 0; k < n; k++) await_result(&all[k]);
        (void)manta_scope_end();
        manta_sleep(manta_random() % 300);
    }
    for (uint32_t i = 0; i < KEPT; i++) let_go(&all_kept[i]);
    watch()->drivers[node] = THROUGH;
    await_rest();
    watch()->drivers[node] = RESTS;
}
