/* Commands through the core of the global control store, without log or network: building a command, applying it, reading nothing. n: commands, or records. */
#include "gcs/core/gcs_command.h"
#include "tools/benchmarks/bench.h"

typedef struct world {
    gcs_core *core;
    manta_writer command, reply;
    uint64_t index;
} world;

static world open_world(void)
{
    world w = {0};
    if (gcs_core_new(NULL, &w.core)) abort();
    manta_writer_init_growing(&w.command);
    manta_writer_init_growing(&w.reply);
    return w;
}

static void close_world(world *w)
{
    gcs_core_free(w->core);
    manta_writer_fini(&w->command);
    manta_writer_fini(&w->reply);
}

/* Applies what is in w->command; it must have been accepted. */
static void apply(world *w)
{
    gcs_reply reply;
    manta_writer_reset(&w->reply);
    if (gcs_core_apply(w->core, ++w->index, w->command.start, manta_writer_size(&w->command), NULL, NULL, &w->reply)) abort();
    if (gcs_reply_read(w->reply.start, manta_writer_size(&w->reply), &reply) || reply.status) {
        fprintf(stderr, "refused: %.*s\n", (int)reply.text.size, reply.text.data);
        exit(1);
    }
    manta_writer_reset(&w->command);
}

/* Writes of 64 bytes to 100,000 keys in turn, by a client that acknowledges. */
BENCH(gcs_kv_put, "command", n)
{
    static const char value[64];
    world w = open_world();
    for (uint64_t i = 1; i <= n; i++) {
        char name[24];
        size_t size = (size_t)snprintf(name, sizeof name, "key-%" PRIu64, i % 100000);
        gcs_write_kv_put(&w.command, &(gcs_head){.client = 1, .request = i, .acknowledged = i - 1, .now_ms = i / 100},
            &(gcs_kv_put){.space = manta_str_of("bench"), .key = {name, size}, .value = {value, sizeof value}});
        apply(&w);
    }
    close_world(&w);
    return n;
}

/* Acquire and release of 1000 locks in turn. */
BENCH(gcs_lock, "command", n)
{
    world w = open_world();
    for (uint64_t i = 1; i <= n; i += 2) {
        char name[24];
        size_t size = (size_t)snprintf(name, sizeof name, "lock-%" PRIu64, i % 1000);
        gcs_write_lock_acquire(&w.command, &(gcs_head){.now_ms = i / 100},
            &(gcs_lock_acquire){.name = {name, size}, .holder = manta_str_of("h"), .lease_ms = 10000});
        apply(&w);
        gcs_write_lock_release(
            &w.command, NULL, &(gcs_lock_release){.name = {name, size}, .holder = manta_str_of("h"), .token = i / 2 + 1});
        apply(&w);
    }
    close_world(&w);
    return n;
}

/* Named actors: registered, placed and, 10,000 later, dead. */
BENCH(gcs_actor, "command", n)
{
    world w = open_world();
    for (uint64_t i = 1; i <= n / 3; i++) {
        char name[24];
        size_t size = (size_t)snprintf(name, sizeof name, "actor-%" PRIu64, i);
        gcs_write_actor_register(&w.command, NULL,
            &(gcs_actor_register){
                .uid = i, .class_name = manta_str_of("Counter"), .name = {name, size}, .job = 1, .owner = 7, .spec = {name, size}});
        apply(&w);
        gcs_write_actor_placed(&w.command, NULL,
            &(gcs_actor_placed){
                .uid = i, .epoch = 1, .node = 1 + i % 20, .process = 100 + i % 80, .local = i, .address = manta_str_of("ipc:///tmp/x")});
        apply(&w);
        if (i <= 10000) continue;
        gcs_write_actor_dead(&w.command, NULL, &(gcs_actor_dead){.uid = i - 10000, .epoch = 1});
        apply(&w);
    }
    close_world(&w);
    return n;
}

enum { PACK = 64 };

static void pack_record(manta_writer *w, uint64_t high, uint64_t low, const manta_bytes *spec)
{
    manta_pack_array(w, 3);
    manta_pack_uint64_t(w, &high);
    manta_pack_uint64_t(w, &low);
    manta_pack_manta_bytes(w, spec);
}

/* Lineage: 64 records of 64 bytes a command. Beyond 1.6 million the oldest go. */
BENCH(gcs_lineage, "record", n)
{
    static const char spec[64];
    world w = open_world();
    manta_writer records;
    manta_writer_init_growing(&records);
    for (uint64_t i = 0; i < n; i += PACK) {
        manta_writer_reset(&records);
        manta_pack_array(&records, PACK);
        for (uint64_t k = i; k < i + PACK; k++) pack_record(&records, 0x1234567800000000u + k % 16, k, &(manta_bytes){spec, sizeof spec});
        gcs_write_lineage_add(&w.command, NULL, &(gcs_lineage_add){.records = {records.start, manta_writer_size(&records)}});
        apply(&w);
    }
    manta_writer_fini(&records);
    close_world(&w);
    return n;
}

/* A batch of 64 commands of a record each, from as many clients as there are: what a leader packs into an entry. */
BENCH(gcs_batch, "record", n)
{
    static const char spec[64];
    world w = open_world();
    manta_writer record, inner[PACK];
    manta_bytes commands[PACK];
    manta_writer_init_growing(&record);
    for (int k = 0; k < PACK; k++) manta_writer_init_growing(&inner[k]);
    for (uint64_t i = 0; i < n; i += PACK) {
        for (uint64_t k = 0; k < PACK; k++) {
            manta_writer_reset(&record);
            manta_writer_reset(&inner[k]);
            manta_pack_array(&record, 1);
            pack_record(&record, k, i, &(manta_bytes){spec, sizeof spec});
            gcs_write_lineage_add(&inner[k], &(gcs_head){.client = k + 1, .request = i / PACK + 1, .acknowledged = i / PACK},
                &(gcs_lineage_add){.records = {record.start, manta_writer_size(&record)}});
            commands[k] = (manta_bytes){inner[k].start, manta_writer_size(&inner[k])};
        }
        gcs_write_batch_of(&w.command, NULL, commands, PACK);
        apply(&w);
    }
    manta_writer_fini(&record);
    for (int k = 0; k < PACK; k++) manta_writer_fini(&inner[k]);
    close_world(&w);
    return n;
}
