#include "actor/durable/alone.h"

#include <stdio.h>
#include <string.h>

#include "actor/durable/keeper.h"
#include "actor/node/control.h"
#include "actor/node/jobs_store.h"
#include "actor/node/moving.h"
#include "actor/node/named.h"
#include "actor/node/restarter.h"
#include "actor/node/service.h"

enum { PAGE = 100, LOOK_MS = 1, TRIES = 20, AGAIN_MS = 50 };

_Atomic bool alone_is_on;

/* ---- what the last run left ---- */

static void cannot_come_back(const gcs_actor_row *row, const char *why)
{
    char text[300];
    snprintf(text, sizeof text, "it could not be started again: %.200s", why);
    runtime_report(
        "durable actor \"%.*s\" (%.*s): %s", (int)row->name.size, row->name.data, (int)row->class_name.size, row->class_name.data, text);
    moving_give_up_here(row->uid, text);
}

static bool lacks_room(manta_status s) { return s == MANTA_ENOMEM || s == MANTA_ELIMIT; }

static void bring_back(const gcs_actor_row *row)
{
    manta_reader r;
    MantaRevival v = {0};
    manta_actor made = {0};
    manta_reader_init(&r, row->spec.data, row->spec.size);
    manta_unpack_MantaRevival(&r, &v);
    if (r.status) {
        cannot_come_back(row, "its row is malformed");
        return;
    }
    manta_status status = MANTA_ENOMEM;
    for (uint64_t epoch = row->epoch + 1; lacks_room(status) && epoch < row->epoch + TRIES; epoch++) {
        status = manta_get(service_revive(manta_this_process(), v.spawn, row->uid, epoch, 0), &made);
        if (lacks_room(status) && manta_sleep(AGAIN_MS)) break;
    }
    if (status) cannot_come_back(row, manta_last_error()->message);
}

static void take_over(const gcs_actor_row *row)
{
    if (row->state == GCS_ACTOR_STATE_DEAD || row->process == the_node.process) return;
    if (uid_is_moving(row->uid) && row->detached && row->epoch) bring_back(row);
    else name_end(row->uid, "its program has ended");
}

/* One page of rows; *after: where to go on, empty: that was all. */
static manta_status read_page(manta_bytes *after)
{
    manta_writer w;
    gcs_reply reply;
    gcs_page page;
    uint32_t n = 0;
    manta_writer_init_growing(&w);
    gcs_write_list(&w, NULL, &(gcs_list){.table = GCS_TABLE_ACTOR, .after = *after, .limit = PAGE});
    manta_status status = control_call("the durable actors", true, &w, GCS_TIMEOUT_MS, &reply);
    if (status) return status;
    manta_reader r = gcs_reply_reader(&reply), rows;
    gcs_read_page(&r, &page);
    if (r.status) return error_set(MANTA_EDECODE, "the durable actors: a malformed answer");
    manta_reader_init(&rows, page.rows.data, page.rows.size);
    manta_unpack_array(&rows, &n);
    for (uint32_t i = 0; i < n && !rows.status; i++) {
        gcs_actor_row row = {0};
        gcs_read_actor_row(&rows, &row);
        if (!rows.status) take_over(&row);
    }
    *after = page.next;
    return rows.status ? error_set(MANTA_EDECODE, "the durable actors: a malformed answer") : MANTA_OK;
}

static manta_status take_over_all(void)
{
    manta_bytes after = {NULL, 0};
    manta_status status = manta_scope_begin();
    if (status) return status;
    char why[400];
    do status = read_page(&after);
    while (!status && after.size);
    snprintf(why, sizeof why, "%s", status ? manta_last_error()->message : "");
    (void)manta_scope_end();
    return status ? error_set(status, "durable: %s", why) : MANTA_OK;
}

/* ---- start and stop ---- */

static manta_status start_store(const char *directory)
{
    manta_actor store = {0};
    manta_status status = gcs_start(&(gcs_options){.directory = directory, .found = true, .voters = 1}, &store);
    if (status) return error_set(status, "durable: %s", manta_last_error()->message);
    gcs_know(store);
    return MANTA_OK;
}

manta_status alone_start(const manta_config *c)
{
    manta_status status = job_use_space(c->name_space && *c->name_space ? c->name_space : "durable");
    if (!status) status = start_store(c->durable);
    if (!status && !moving_start()) status = manta_last_error()->status;
    if (status) return status;
    names_let_go(false);
    store_seq(&alone_is_on, true);
    return take_over_all();
}

static bool all_idle(const manta_actor *keepers, size_t n)
{
    bool idle = true, yes = false;
    for (size_t i = 0; i < n && idle; i++) idle = manta_get(MantaKeeper_is_idle(MantaKeeper_ref_of(keepers[i])), &yes) != MANTA_OK || yes;
    return idle;
}

void alone_stop(void)
{
    if (!exchange_seq(&alone_is_on, false)) return;
    size_t n = 0;
    manta_actor *keepers = moving_here(&n);
    uint64_t end = deadline_after_ms(the_runtime.config.stop_timeout_ms);
    names_let_go(true); /* what ends now is not dead */
    while (!all_idle(keepers, n) && manta_now_ns() < end && !manta_sleep(LOOK_MS)) {}
    for (size_t i = 0; i < n; i++) (void)manta_join(MantaKeeper_close(MantaKeeper_ref_of(keepers[i])));
    base_free(keepers);
    moving_stop();
}
