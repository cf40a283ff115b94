/*
 * Promise: the keys of the control store are linearizable registers, whatever happens to its servers: what was acknowledged stays, and every read sees all that was acknowledged before it began.
 *
 * Values are numbers that are written once each, so that a value stands for its revision.
 */
#include <inttypes.h>
#include <stdio.h>

#include "test/sim/nodes/simulate.h"

MANTA_ACTOR(SimClient, uint64_t value[KEYS], revision[KEYS];)
MANTA_METHOD_DECLARE(SimClient, play, void)

/* It counts from here on, also when this node crashes before there is an answer. */
static linear_op *operation_begin(uint64_t key, linear_kind kind, uint64_t argument, uint64_t expected)
{
    watched *w = watch();
    if (w->n_operations == OPERATIONS) return NULL;
    linear_op *o = &w->operations[w->n_operations++];
    *o = (linear_op){.key = key,
        .client = manta_this_process().id,
        .kind = kind,
        .argument = argument,
        .expected = expected,
        .call_ns = manta_sim_now_ns(),
        .return_ns = LINEAR_UNKNOWN};
    return o;
}

static void operation_end(linear_op *o, uint64_t result)
{
    o->result = result;
    o->return_ns = manta_sim_now_ns();
    watch()->registers_done++;
}

static void name_of(uint64_t key, char out[16]) { snprintf(out, 16, "register-%u", (unsigned)key); }

static void read_one(SimClient *self, uint64_t key)
{
    char name[16];
    uint64_t value = 0, revision = 0;
    manta_bytes bytes;
    name_of(key, name);
    linear_op *o = operation_begin(key, LINEAR_READ, 0, 0);
    if (!o) return;
    manta_status status = manta_kv_get("sim", name, &bytes, &revision);
    if (status && status != MANTA_ENOTFOUND) return; /* a read without an answer says nothing */
    if (!status && bytes.size == sizeof value) memcpy(&value, bytes.data, sizeof value);
    operation_end(o, value);
    self->value[key] = value;
    self->revision[key] = revision;
}

static void write_one(SimClient *self, uint64_t key, bool conditional)
{
    char name[16];
    uint64_t value = ++watch()->next_value, revision = 0;
    name_of(key, name);
    linear_op *o = operation_begin(key, conditional ? LINEAR_CAS : LINEAR_WRITE, value, self->value[key]);
    if (!o) return;
    manta_status status =
        manta_kv_put("sim", name, &value, sizeof value, conditional ? self->revision[key] : MANTA_REVISION_ANY, &revision);
    if (status == MANTA_OK) {
        self->value[key] = value;
        self->revision[key] = revision;
    }
    if (status == MANTA_OK || (conditional && status == MANTA_ESTALE)) operation_end(o, status == MANTA_OK);
    else if (status != MANTA_EUNKNOWN && status != MANTA_ETIMEDOUT && status != MANTA_ESHUTDOWN)
        manta_sim_fail("manta_kv_put: %s", manta_last_error()->message);
}

MANTA_METHOD_DEFINE(SimClient, play, void)
{
    for (uint32_t i = 0; i < manta_sim_steps(); i++) {
        uint64_t choice = manta_random(), key = choice >> 8 & (KEYS - 1);
        if (choice % 4 < 2) read_one(self, key);
        else write_one(self, key, choice % 4 == 3);
        manta_sleep(manta_random() % 150);
    }
    program_finished();
}
MANTA_CLASS(SimClient, play)

void registers_start(uint32_t node)
{
    (void)node;
    (void)SimClient_play_send(SimClient_spawn());
}

/* Reads without an answer are left out. */
void registers_judge(watched *w)
{
    char text[400] = "";
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n_operations; i++)
        if (w->operations[i].kind != LINEAR_READ || w->operations[i].return_ns != LINEAR_UNKNOWN) w->operations[n++] = w->operations[i];
    w->n_operations = n;
    if (linear_check(w->operations, n, &(linear_options){.leases_end = false}, text, sizeof text) == LINEAR_NO)
        manta_sim_fail("a register is not linearizable: %s", text);
}
