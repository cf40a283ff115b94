/*
 * A core under test: one command or query a line, its reply read, its events kept as text.
 *
 *     core_fixture x;
 *     core_open(&x, NULL);
 *     EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .value = B("v")));
 *     EXPECT_STR(x.events, "KV s.k;");
 */
#ifndef MANTA_TEST_GCS_CORE_FIXTURE_H
#define MANTA_TEST_GCS_CORE_FIXTURE_H

#include "gcs/core/gcs_command.h"
#include "scheduler/base/alloc.h"
#include "test/support/test.h"

typedef struct core_fixture {
    gcs_core *core;
    uint64_t index, now_ms;
    manta_status outcome; /* of apply or query itself */
    gcs_head head;        /* of the next command; client and request are the test's */
    manta_writer command, answer;
    gcs_reply reply;
    char text[512];    /* of the last reply */
    char events[4096]; /* since the last command: "TABLE key;" or "TABLE -key;", keys with . for what is not printable */
    uint64_t event_count;
} core_fixture;

#define S(text_) manta_str_of(text_)
#define B(text_) ((manta_bytes){text_, strlen(text_)})

static inline void core_open(core_fixture *x, const gcs_limits *limits)
{
    memset(x, 0, sizeof *x);
    if (gcs_core_new(limits, &x->core)) abort();
    manta_writer_init_growing(&x->command);
    manta_writer_init_growing(&x->answer);
}

static inline void core_close(core_fixture *x)
{
    gcs_core_free(x->core);
    manta_writer_fini(&x->command);
    manta_writer_fini(&x->answer);
}

static inline void core_note(void *context, const gcs_event *e)
{
    core_fixture *x = context;
    char key[64] = {0};
    for (size_t i = 0; i < e->key.size && i < sizeof key - 1; i++) {
        char c = ((const char *)e->key.data)[i];
        key[i] = c > ' ' && c < 127 ? c : '.';
    }
    size_t used = strlen(x->events);
    snprintf(x->events + used, sizeof x->events - used, "%s %s%s;", gcs_table_name(e->table), e->is_gone ? "-" : "", key);
    x->event_count++;
}

/* What is in x->command, applied; the status of the reply. */
static inline manta_status core_apply_bytes(core_fixture *x)
{
    x->events[0] = 0;
    manta_writer_reset(&x->answer);
    x->outcome = gcs_core_apply(x->core, ++x->index, x->command.start, manta_writer_size(&x->command), core_note, x, &x->answer);
    if (x->outcome) return x->outcome;
    if (gcs_reply_read(x->answer.start, manta_writer_size(&x->answer), &x->reply)) abort();
    snprintf(x->text, sizeof x->text, "%.*s", (int)x->reply.text.size, x->reply.text.data);
    return x->reply.status;
}

static inline manta_status core_query_bytes(core_fixture *x)
{
    manta_writer_reset(&x->answer);
    x->outcome = gcs_core_query(x->core, x->command.start, manta_writer_size(&x->command), &x->answer);
    if (x->outcome) return x->outcome;
    if (gcs_reply_read(x->answer.start, manta_writer_size(&x->answer), &x->reply)) abort();
    snprintf(x->text, sizeof x->text, "%.*s", (int)x->reply.text.size, x->reply.text.data);
    return x->reply.status;
}

static inline manta_status core_apply(core_fixture *x, gcs_kind kind, const void *fields)
{
    gcs_head head = x->head;
    head.now_ms = x->now_ms;
    manta_writer_reset(&x->command);
    gcs_write(&x->command, &head, kind, fields);
    return core_apply_bytes(x);
}

static inline manta_status core_query(core_fixture *x, gcs_kind kind, const void *fields)
{
    manta_writer_reset(&x->command);
    gcs_write(&x->command, NULL, kind, fields);
    return core_query_bytes(x);
}

/* APPLY(&x, KV_GET, kv_get, .space = ..) is core_apply(&x, GCS_KV_GET, &(gcs_kv_get){.space = ..}). */
#define APPLY(x_, kind_, struct_, ...) core_apply(x_, GCS_##kind_, &(gcs_##struct_){__VA_ARGS__})
#define QUERY(x_, kind_, struct_, ...) core_query(x_, GCS_##kind_, &(gcs_##struct_){__VA_ARGS__})

/* The result as a number; UINT64_MAX when it is none. */
static inline uint64_t core_number(const core_fixture *x)
{
    manta_reader r = gcs_reply_reader(&x->reply);
    uint64_t v;
    manta_unpack_uint64_t(&r, &v);
    return r.status ? UINT64_MAX : v;
}

/* ROW(&x, kv_row) is the result as a gcs_kv_row; all zero when it is none. */
#define ROW(x_, row_) \
    ({ \
        gcs_##row_ row__; \
        manta_reader reader__ = gcs_reply_reader(&(x_)->reply); \
        gcs_read_##row_(&reader__, &row__); \
        if (reader__.status) memset(&row__, 0, sizeof row__); \
        row__; \
    })

static inline bool text_is(manta_str s, const char *text)
{
    return s.size == strlen(text) && (!s.size || memcmp(s.data, text, s.size) == 0);
}

typedef struct core_snapshot {
    unsigned char *bytes;
    size_t size, capacity;
} core_snapshot;

static inline bool core_keep(void *context, const void *bytes, size_t size)
{
    core_snapshot *s = context;
    if (s->size + size > s->capacity) {
        s->capacity = (s->size + size) * 2;
        s->bytes = realloc(s->bytes, s->capacity);
        if (!s->bytes) return false;
    }
    memcpy(s->bytes + s->size, bytes, size);
    s->size += size;
    return true;
}

#endif
