/*
 * One command, from bytes to reply: head, fields, time, client, handler. Order matters: bytes that are no command change nothing; then time goes on and what it ends ends; then a repeated
 * request is answered from memory; only then the handler runs.
 *
 * A reply is [status, text, revision, result]. The head of a good one is written before the handler, which appends the result; a refusal takes back what was appended.
 */
#include "gcs/core/gcs_core.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "gcs/core/core_internal.h"
#include "scheduler/base/alloc.h"

typedef void (*handler)(gcs_run *x, const void *fields);

/* ---- life ---- */

static void set_defaults(gcs_limits *l)
{
    if (!l->kv_bytes) l->kv_bytes = 256u << 20;
    if (!l->lineage_bytes) l->lineage_bytes = 256u << 20;
    if (!l->table_bytes) l->table_bytes = 64u << 20;
    if (!l->value_bytes) l->value_bytes = 1u << 20;
    if (l->value_bytes > 32u << 20) l->value_bytes = 32u << 20; /* a row must fit a reader */
    if (!l->client_ms) l->client_ms = 600000;
    if (!l->client_replies) l->client_replies = 1024;
}

manta_status gcs_core_new(const gcs_limits *limits, gcs_core **out)
{
    gcs_core *c = base_calloc(1, sizeof *c);
    if (!c) return MANTA_ENOMEM;
    if (limits) c->limits = *limits;
    set_defaults(&c->limits);
    manta_writer_init_growing(&c->scratch);
    *out = c;
    return MANTA_OK;
}

void gcs_core_clear(gcs_core *c)
{
    for (uint32_t t = 1; t < GCS_TABLE_END; t++) table_fini(c, (gcs_table)t);
    lineage_fini(&c->lineage);
    clients_fini(&c->clients);
    c->index = c->revision = c->now_ms = c->token = c->ticket = 0;
}

void gcs_core_free(gcs_core *c)
{
    if (!c) return;
    gcs_core_clear(c);
    manta_writer_fini(&c->scratch);
    base_free(c);
}

uint64_t gcs_core_now(const gcs_core *c) { return c->now_ms; }

gcs_usage gcs_core_usage(const gcs_core *c, uint32_t table)
{
    if (table >= GCS_TABLE_END) return (gcs_usage){0};
    gcs_usage u = table == GCS_TABLE_LINEAGE ? c->lineage.usage : table == GCS_TABLE_CLIENT ? c->clients.usage : c->tables[table].usage;
    u.limit_bytes = table == GCS_TABLE_KV        ? c->limits.kv_bytes
                    : table == GCS_TABLE_LINEAGE ? c->limits.lineage_bytes
                                                 : c->limits.table_bytes;
    return u;
}

/* ---- outcomes ---- */

static void refuse(gcs_run *x, manta_status status, const char *format, va_list arguments)
{
    if (x->status || x->fatal) return;
    x->status = status;
    vsnprintf(x->text, sizeof x->text, format, arguments);
}

bool gcs_refuse(gcs_run *x, manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refuse(x, status, format, arguments);
    va_end(arguments);
    return false;
}

bool gcs_refuse_with(gcs_run *x, uint64_t detail, manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refuse(x, status, format, arguments);
    va_end(arguments);
    x->detail = detail;
    x->has_detail = true;
    return false;
}

bool gcs_out_of_memory(gcs_run *x)
{
    x->fatal = MANTA_ENOMEM;
    return false;
}

void gcs_pack_number(gcs_run *x, uint64_t v) { manta_pack_uint64_t(x->out, &v); }

static void reply_head(gcs_run *x)
{
    uint32_t status = x->status;
    manta_str text = x->status ? manta_str_of(x->text) : (manta_str){"", 0};
    manta_pack_array(x->out, 4);
    manta_pack_uint32_t(x->out, &status);
    manta_pack_manta_str(x->out, &text);
    manta_pack_uint64_t(x->out, &x->view->revision);
}

static void take_back(manta_writer *w, size_t size)
{
    if (manta_writer_size(w) > size) w->at = w->start + size;
}

/* The reply of a refused one, over whatever was written of it since `from`. */
static void reply_refusal(gcs_run *x, size_t from)
{
    if (x->out->status) return;
    take_back(x->out, from);
    reply_head(x);
    if (x->has_detail) gcs_pack_number(x, x->detail);
    else manta_pack_nil(x->out);
}

/* ---- one command ---- */

/* Room for the fields of any kind, on the stack. */
typedef union any_fields {
#define ANY_MEMBER(name_, value_, struct_) gcs_##struct_ struct_;
    GCS_KINDS(ANY_MEMBER)
} any_fields;

#define ADAPTER(name_, value_, struct_) \
    static void adapt_##struct_(gcs_run *x, const void *fields) { handle_##struct_(x, fields); }
GCS_KINDS(ADAPTER)

static handler handler_of(uint32_t kind)
{
    switch (kind) {
#define HANDLER_CASE(name_, value_, struct_) \
    case value_: return adapt_##struct_;
        GCS_KINDS(HANDLER_CASE)
    default: return NULL;
    }
}

static bool read_head(gcs_run *x, const void *command, size_t size, gcs_head *head)
{
    if (!gcs_read_head(command, size, head)) return gcs_refuse(x, MANTA_EDECODE, "byte %zu: the head has %zu bytes", size, sizeof *head);
    if (head->version != 1) return gcs_refuse(x, MANTA_EUNSUPPORTED, "byte 0: version %u, known is 1", head->version);
    if (head->zero) return gcs_refuse(x, MANTA_EDECODE, "byte 4: four bytes that must be 0 are not");
    if (head->now_ms > GCS_TIME_MAX) return gcs_refuse(x, MANTA_EDECODE, "byte 32: %" PRIu64 " ms is no time", head->now_ms);
    if (!gcs_kind_schema(head->kind)) return gcs_refuse(x, MANTA_EUNSUPPORTED, "byte 2: unknown kind %u", head->kind);
    bool is_query = head->kind >= GCS_FIRST_QUERY;
    if (is_query == !x->c) return true;
    return gcs_refuse(
        x, MANTA_EUNSUPPORTED, "byte 2: %s is a %s", gcs_kind_name(head->kind), is_query ? "query, no command" : "command, no query");
}

static bool read_fields(gcs_run *x, uint32_t kind, const void *command, size_t size, any_fields *fields)
{
    const gcs_schema *s = gcs_kind_schema(kind);
    manta_reader r;
    manta_reader_init(&r, command, size);
    r.at += r.status ? 0 : sizeof(gcs_head);
    gcs_unpack(&r, s, fields);
    if (!r.status && manta_reader_left(&r)) manta_reader_fail(&r, MANTA_EDECODE, "the end of the fields");
    if (r.status) {
        char why[200];
        manta_reader_explain(&r, why, sizeof why);
        return gcs_refuse(x, MANTA_EDECODE, "%s: %s", s->name, why);
    }
    char text[200];
    manta_status status = gcs_check_fields(s, fields, x->view->limits.value_bytes, text, sizeof text);
    return !status || gcs_refuse(x, status, "%s", text);
}

/* Time never goes back, and every well-formed command counts one revision. */
static void advance(gcs_run *x, uint64_t now_ms)
{
    x->c->revision++;
    if (now_ms > x->c->now_ms && !x->in_batch) x->c->now_ms = now_ms;
    locks_expire(x);
    clients_expire(x->c);
    lineage_expire(x->c);
}

static void run_handler(gcs_run *x, const gcs_head *head, const void *fields)
{
    size_t from = manta_writer_size(x->out);
    reply_head(x);
    size_t result = manta_writer_size(x->out);
    handler_of(head->kind)(x, fields);
    if (x->fatal || x->out->status) return;
    if (x->status) reply_refusal(x, from);
    else if (manta_writer_size(x->out) == result) manta_pack_nil(x->out);
    if (x->c && head->client && !x->out->status) clients_remember(x, head, x->out->start + from, manta_writer_size(x->out) - from);
}

void gcs_run_one(gcs_run *x, const void *command, size_t size)
{
    size_t from = manta_writer_size(x->out);
    gcs_head head;
    any_fields fields;
    x->status = MANTA_OK;
    x->has_detail = false;
    if (read_head(x, command, size, &head) && read_fields(x, head.kind, command, size, &fields)) {
        if (x->c) advance(x, head.now_ms);
        if (x->fatal) return;
        if (x->c && head.client && !clients_admit(x, &head)) {
            if (x->status) reply_refusal(x, from);
            return;
        }
        run_handler(x, &head, &fields);
    } else reply_refusal(x, from);
}

manta_status gcs_core_apply(
    gcs_core *c, uint64_t index, const void *command, size_t size, gcs_watch watch, void *context, manta_writer *reply)
{
    gcs_run x = {.c = c, .view = c, .watch = watch, .context = context, .out = reply};
    c->index = index;
    gcs_run_one(&x, command, size);
    return x.fatal ? x.fatal : reply->status;
}

manta_status gcs_core_query(const gcs_core *c, const void *query, size_t size, manta_writer *reply)
{
    gcs_run x = {.view = c, .out = reply};
    gcs_run_one(&x, query, size);
    return x.fatal ? x.fatal : reply->status;
}

/* ---- the two kinds that are about commands ---- */

void handle_tick(gcs_run *x, const gcs_tick *f)
{
    (void)x;
    (void)f;
}

void handle_batch(gcs_run *x, const gcs_batch *f)
{
    manta_reader r;
    uint32_t count;
    manta_bytes command;
    if (x->in_batch) {
        gcs_refuse(x, MANTA_EUNSUPPORTED, "a batch in a batch");
        return;
    }
    manta_reader_init(&r, f->commands.data, f->commands.size);
    manta_unpack_array(&r, &count);
    for (uint32_t i = 0; i < count; i++) manta_unpack_manta_bytes(&r, &command);
    if (r.status) {
        gcs_refuse(x, MANTA_EDECODE, "batch: commands is not an array of bin");
        return;
    }
    manta_reader_init(&r, f->commands.data, f->commands.size);
    manta_unpack_array(&r, &count);
    manta_pack_array(x->out, count);
    x->in_batch = true;
    for (uint32_t i = 0; i < count && !x->fatal && !x->out->status; i++) {
        manta_unpack_manta_bytes(&r, &command);
        gcs_run_one(x, command.data, command.size);
    }
    x->in_batch = false;
    x->status = MANTA_OK; /* each has its own */
    x->has_detail = false;
}

uint64_t gcs_core_next_expiry(const gcs_core *c)
{
    const gcs_lock_row *lock = table_first_of_all(c, GCS_TABLE_LOCK, LOCK_BY_EXPIRY);
    uint64_t of_clients = clients_next_expiry(c);
    if (c->lineage.next_end_ms && c->lineage.next_end_ms < of_clients) of_clients = c->lineage.next_end_ms;
    return lock && lock->expires_ms < of_clients ? lock->expires_ms : of_clients;
}

void handle_stats(gcs_run *x, const gcs_stats *f)
{
    (void)f;
    manta_pack_array(x->out, GCS_TABLE_END - 1);
    for (uint32_t t = 1; t < GCS_TABLE_END; t++) {
        gcs_usage u = gcs_core_usage(x->view, t);
        manta_str name = manta_str_of(gcs_table_name(t));
        manta_pack_array(x->out, 6);
        manta_pack_manta_str(x->out, &name);
        gcs_pack_number(x, u.items);
        gcs_pack_number(x, u.bytes);
        gcs_pack_number(x, u.limit_bytes);
        gcs_pack_number(x, u.refused);
        gcs_pack_number(x, u.dropped);
    }
}
