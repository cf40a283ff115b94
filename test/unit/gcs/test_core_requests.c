/* Bytes and requests: what is no command, repeated requests, clients that vanish, batches, lineage. */
#include "test/support/gcs_core_fixture.h"

static manta_status put(core_fixture *x, uint64_t client, uint64_t request, uint64_t acknowledged, const char *value)
{
    x->head = (gcs_head){.client = client, .request = request, .acknowledged = acknowledged};
    manta_status status = APPLY(x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .value = B(value));
    x->head = (gcs_head){0};
    return status;
}

/* Every cut of a command is refused with the byte where it ends, and changes nothing. */
TEST(cut_commands)
{
    core_fixture x;
    core_open(&x, NULL);
    gcs_write_kv_put(
        &x.command, &(gcs_head){.client = 3, .request = 1, .now_ms = 77}, &(gcs_kv_put){.space = S("s"), .key = S("k"), .value = B("v")});
    uint64_t hash = gcs_core_hash(x.core);
    unsigned char *end = x.command.at;
    for (size_t size = manta_writer_size(&x.command) - 1; size; size--) {
        x.command.at = x.command.start + size;
        EXPECT_EQ(core_apply_bytes(&x), MANTA_EDECODE);
        EXPECT(strstr(x.text, "byte "));
    }
    x.command.at = x.command.start + 41;
    EXPECT_EQ(core_apply_bytes(&x), MANTA_EDECODE);
    EXPECT_STR(x.text, "kv_put: byte 40: expected an array of as many fields as this kind has, found array of 5, more than the data left");
    EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_CLIENT).items, 0);
    EXPECT_EQ(gcs_core_now(x.core), 0);
    x.command.at = end;
    EXPECT(!core_apply_bytes(&x));
    EXPECT(gcs_core_hash(x.core) != hash);
    core_close(&x);
}

/* Unknown versions, kinds, trailing bytes, queries that are applied and commands that are asked are refused by name. */
TEST(wrong_commands)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT_EQ(core_apply(&x, GCS_KV_GET, &(gcs_kv_get){.space = S("s"), .key = S("k")}), MANTA_EUNSUPPORTED);
    EXPECT_STR(x.text, "byte 2: KV_GET is a query, no command");
    EXPECT_EQ(core_query(&x, GCS_TICK, &(gcs_tick){}), MANTA_EUNSUPPORTED);
    manta_pack_nil(&x.command);
    EXPECT_EQ(core_apply_bytes(&x), MANTA_EDECODE);
    EXPECT_STR(x.text, "tick: byte 41: expected the end of the fields, found nil");
    x.command.at--;
    x.command.start[2] = 77;
    EXPECT_EQ(core_apply_bytes(&x), MANTA_EUNSUPPORTED);
    gcs_stamp(x.command.start, UINT64_MAX);
    EXPECT_EQ(core_apply_bytes(&x), MANTA_EDECODE);
    EXPECT_STR(x.text, "byte 32: 18446744073709551615 ms is no time");
    gcs_stamp(x.command.start, 0);
    x.command.start[0] = 2;
    EXPECT_EQ(core_apply_bytes(&x), MANTA_EUNSUPPORTED);
    x.command.start[0] = 1;
    x.command.start[5] = 1;
    EXPECT_EQ(core_apply_bytes(&x), MANTA_EDECODE);
    core_close(&x);
}

/* A request that comes again is answered as the first time and not done again, also when others came between. */
TEST(duplicates)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!put(&x, 3, 1, 0, "a"));
    uint64_t revision = core_number(&x);
    EXPECT(!put(&x, 3, 2, 0, "b") && !put(&x, 4, 1, 0, "c"));
    EXPECT(!put(&x, 3, 1, 0, "a"));
    EXPECT_STR(x.events, "");
    EXPECT(core_number(&x) == revision && x.reply.revision == revision);
    EXPECT(!QUERY(&x, KV_GET, kv_get, .space = S("s"), .key = S("k")));
    EXPECT_EQ(*(const char *)ROW(&x, kv_row).value.data, 'c');
    core_close(&x);
}

/* A refusal is remembered like any other reply: the retry is not lucky later. */
TEST(refusals_are_remembered)
{
    core_fixture x;
    core_open(&x, NULL);
    x.head = (gcs_head){.client = 3, .request = 1};
    EXPECT_EQ(APPLY(&x, KV_DELETE, kv_delete, .space = S("s"), .key = S("k")), MANTA_ENOTFOUND);
    EXPECT(!put(&x, 4, 1, 0, "a"));
    x.head = (gcs_head){.client = 3, .request = 1};
    EXPECT_EQ(APPLY(&x, KV_DELETE, kv_delete, .space = S("s"), .key = S("k")), MANTA_ENOTFOUND);
    EXPECT_STR(x.text, "no such key");
    core_close(&x);
}

/* Replies are forgotten when acknowledged; the request is then stale. Late and out of order ones are done once. */
TEST(acknowledged)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!put(&x, 3, 2, 0, "b") && !put(&x, 3, 1, 0, "a"));
    uint64_t bytes = gcs_core_usage(x.core, GCS_TABLE_CLIENT).bytes;
    EXPECT(!put(&x, 3, 3, 2, "c"));
    EXPECT(gcs_core_usage(x.core, GCS_TABLE_CLIENT).bytes < bytes);
    EXPECT_EQ(put(&x, 3, 1, 2, "a"), MANTA_ESTALE);
    EXPECT_EQ(put(&x, 3, 2, 0, "b"), MANTA_ESTALE);
    EXPECT_EQ(put(&x, 3, 0, 0, "b"), MANTA_ESTALE);
    core_close(&x);
}

/* A client with too many replies that it does not acknowledge is refused until it does. */
TEST(too_many_outstanding)
{
    core_fixture x;
    core_open(&x, &(gcs_limits){.client_replies = 5});
    for (uint64_t i = 1; i <= 5; i++) EXPECT(!put(&x, 3, i, 0, "a"));
    EXPECT_EQ(put(&x, 3, 6, 0, "a"), MANTA_ELIMIT);
    EXPECT(!put(&x, 3, 5, 0, "a"));
    EXPECT(!put(&x, 3, 6, 1, "a"));
    core_close(&x);
}

/* A client that is silent for client_ms is forgotten, at the time that next_expiry says. */
TEST(forgotten_clients)
{
    core_fixture x;
    core_open(&x, &(gcs_limits){.client_ms = 1000});
    EXPECT_EQ(gcs_core_next_expiry(x.core), UINT64_MAX);
    x.now_ms = 5;
    EXPECT(!put(&x, 3, 1, 0, "a"));
    x.now_ms = 6;
    EXPECT(!put(&x, 4, 1, 0, "a"));
    x.now_ms = 7;
    EXPECT(!put(&x, 3, 2, 0, "a"));
    EXPECT_EQ(gcs_core_next_expiry(x.core), 1006);
    x.now_ms = 1006;
    EXPECT(!APPLY(&x, TICK, tick));
    EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_CLIENT).items, 1);
    EXPECT_EQ(gcs_core_next_expiry(x.core), 1007);
    core_close(&x);
}

/* Full of clients: a new one is refused. */
TEST(full_of_clients)
{
    core_fixture x;
    core_open(&x, &(gcs_limits){.table_bytes = 3000});
    uint64_t client = 1;
    while (!put(&x, client, 1, 0, "a")) client++;
    EXPECT(x.reply.status == MANTA_ELIMIT && strstr(x.text, "table CLIENT is full"));
    EXPECT(!put(&x, 1, 2, 1, "a") || x.reply.status == MANTA_ELIMIT);
    core_close(&x);
}

static manta_bytes command_bytes(manta_writer *w) { return (manta_bytes){w->start, manta_writer_size(w)}; }

/* The commands of a batch are done in order, each by itself, with a reply and a revision for each; a bad one spoils nobody else. */
TEST(batch)
{
    core_fixture x;
    uint32_t count;
    manta_writer w[3];
    core_open(&x, NULL);
    for (int i = 0; i < 3; i++) manta_writer_init_growing(&w[i]);
    gcs_write_kv_put(&w[0], &(gcs_head){.client = 3, .request = 1}, &(gcs_kv_put){.space = S("s"), .key = S("k"), .value = B("1")});
    gcs_write_kv_put(&w[1], NULL, &(gcs_kv_put){.space = S(""), .key = S("k"), .value = B("1")});
    gcs_write_kv_put(&w[2], &(gcs_head){.client = 3, .request = 2}, &(gcs_kv_put){.space = S("s"), .key = S("k"), .value = B("2")});
    manta_bytes commands[4] = {command_bytes(&w[0]), command_bytes(&w[1]), command_bytes(&w[2]), {"junk", 4}};
    gcs_write_batch_of(&x.command, NULL, commands, 4);
    EXPECT(!core_apply_bytes(&x));
    EXPECT_STR(x.events, "KV s.k;KV s.k;");
    manta_reader r = gcs_reply_reader(&x.reply);
    manta_status expected[4] = {MANTA_OK, MANTA_EINVAL, MANTA_OK, MANTA_EDECODE};
    uint64_t revisions[4];
    manta_unpack_array(&r, &count);
    EXPECT_EQ(count, 4);
    for (int i = 0; i < 4; i++) {
        manta_bytes one;
        gcs_reply reply;
        manta_reader_take(&r, &one);
        EXPECT(!gcs_reply_read(one.data, one.size, &reply));
        EXPECT_EQ(reply.status, expected[i]);
        revisions[i] = reply.revision;
    }
    EXPECT(revisions[0] < revisions[2]);
    gcs_write_batch_of(&w[0], NULL, commands, 4);
    EXPECT(!core_apply_bytes(&x)); /* again: both are remembered */
    EXPECT_STR(x.events, "");
    for (int i = 0; i < 3; i++) manta_writer_fini(&w[i]);
    core_close(&x);
}

/* A batch in a batch, and a batch of something else, are refused. */
TEST(bad_batches)
{
    core_fixture x;
    gcs_reply inner;
    manta_writer w;
    core_open(&x, NULL);
    manta_writer_init_growing(&w);
    gcs_write_batch_of(&w, NULL, NULL, 0);
    manta_bytes command = command_bytes(&w);
    gcs_write_batch_of(&x.command, NULL, &command, 1);
    EXPECT(!core_apply_bytes(&x));
    EXPECT(!gcs_reply_read((const unsigned char *)x.reply.result.data + 1, x.reply.result.size - 1, &inner));
    EXPECT_EQ(inner.status, MANTA_EUNSUPPORTED);
    EXPECT_EQ(APPLY(&x, BATCH, batch, .commands = {"\x91\x05", 2}), MANTA_EDECODE);
    EXPECT_EQ(APPLY(&x, BATCH, batch, .commands = {"\x05", 1}), MANTA_EDECODE);
    manta_writer_fini(&w);
    core_close(&x);
}

/* ---- lineage ---- */

static manta_status add(core_fixture *x, uint64_t job, uint64_t first, uint32_t n, size_t spec_size)
{
    static char spec[4096];
    manta_writer w;
    manta_writer_init_growing(&w);
    manta_pack_array(&w, n);
    for (uint64_t i = first; i < first + n; i++) {
        uint64_t high = i % 7;
        manta_bytes bytes = {spec, spec_size};
        manta_pack_array(&w, 3);
        manta_pack_uint64_t(&w, &high);
        manta_pack_uint64_t(&w, &i);
        manta_pack_manta_bytes(&w, &bytes);
    }
    manta_status status = APPLY(x, LINEAGE_ADD, lineage_add, .job = job, .records = {w.start, manta_writer_size(&w)});
    manta_writer_fini(&w);
    return status;
}

static manta_status lookup(core_fixture *x, uint64_t i) { return QUERY(x, LINEAGE_GET, lineage_get, .high = i % 7, .low = i); }

/* Records are kept until dropped; one that is added again stays as it is. */
TEST(lineage)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!add(&x, 0, 1, 5000, 10));
    EXPECT(ROW(&x, lineage_result).added == 5000 && ROW(&x, lineage_result).dropped == 0);
    EXPECT(!add(&x, 0, 4996, 10, 20));
    EXPECT_EQ(ROW(&x, lineage_result).added, 5);
    EXPECT(!lookup(&x, 5000));
    EXPECT(ROW(&x, lineage_row).spec.size == 10 && ROW(&x, lineage_row).low == 5000);
    EXPECT(!APPLY(&x, LINEAGE_DROP, lineage_drop, .ids = {"\x96\x01\x01\x02\x02\x05\x09", 7}));
    EXPECT_EQ(core_number(&x), 2);
    EXPECT_EQ(lookup(&x, 1), MANTA_ENOTFOUND);
    EXPECT_EQ(core_number(&x), 0);
    for (uint64_t i = 3; i <= 5005; i++) EXPECT(!lookup(&x, i));
    EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_LINEAGE).items, 5003);
    core_close(&x);
}

/* Above the job's budget its oldest records go and are known to have gone; other jobs keep theirs; very old ones are forgotten. */
TEST(lineage_budget)
{
    core_fixture x;
    core_open(&x, &(gcs_limits){.lineage_bytes = 20000});
    EXPECT(!APPLY(&x, JOB_START, job_start, .id = 7));
    EXPECT(!add(&x, 0, 100000, 10, 100));
    EXPECT(!add(&x, 7, 1, 200, 100));
    EXPECT(ROW(&x, lineage_result).added == 200 && ROW(&x, lineage_result).dropped > 90);
    EXPECT_EQ(lookup(&x, 1), MANTA_ENOTFOUND);
    EXPECT_EQ(core_number(&x), 0);
    uint64_t gone = ROW(&x, lineage_result).dropped;
    EXPECT_EQ(lookup(&x, 100), MANTA_ENOTFOUND);
    EXPECT(core_number(&x) == GCS_LINEAGE_OVER_BUDGET && strstr(x.text, "over its budget"));
    EXPECT(!lookup(&x, 200) && !lookup(&x, 100000) && gone == 0);
    EXPECT(!APPLY(&x, JOB_END, job_end, .id = 7, .state = GCS_JOB_STATE_SUCCEEDED));
    EXPECT_EQ(lookup(&x, 200), MANTA_ENOTFOUND);
    EXPECT_EQ(core_number(&x), 0);
    EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_LINEAGE).items, 10);
    EXPECT_EQ(add(&x, 7, 1, 1, 1), MANTA_EDEAD);
    EXPECT_EQ(add(&x, 8, 1, 1, 1), MANTA_EDEAD);
    core_close(&x);
}

/* When a job fails its lineage stays for those who have refs, as long as they say so; then it goes. */
TEST(lineage_of_a_failed_job)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!APPLY(&x, JOB_START, job_start, .id = 7));
    EXPECT(!add(&x, 7, 1, 3, 10));
    EXPECT(!APPLY(&x, JOB_END, job_end, .id = 7, .state = GCS_JOB_STATE_FAILED));
    EXPECT(!lookup(&x, 2) && ROW(&x, lineage_row).ends_ms == x.now_ms + GCS_LINEAGE_KEPT_MS);
    EXPECT(!add(&x, 7, 10, 1, 10));
    x.now_ms += GCS_LINEAGE_KEPT_MS - 1;
    EXPECT(!APPLY(&x, LINEAGE_KEEP, lineage_keep, .job = 7));
    x.now_ms += GCS_LINEAGE_KEPT_MS - 1;
    EXPECT(!APPLY(&x, LINEAGE_DROP, lineage_drop, .ids = {"\x92\x01\x01", 3}));
    EXPECT(!lookup(&x, 2) && !lookup(&x, 10));
    x.now_ms += 1;
    EXPECT_EQ(APPLY(&x, LINEAGE_KEEP, lineage_keep, .job = 7), MANTA_ENOTFOUND);
    EXPECT_EQ(lookup(&x, 2), MANTA_ENOTFOUND);
    EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_LINEAGE).items, 0);
    EXPECT_EQ(add(&x, 7, 1, 1, 1), MANTA_EDEAD);
    core_close(&x);
}

/* One malformed or too large record refuses all of its command. */
TEST(lineage_malformed)
{
    core_fixture x;
    core_open(&x, &(gcs_limits){.value_bytes = 50});
    EXPECT_EQ(add(&x, 0, 1, 3, 51), MANTA_ETOOLONG);
    EXPECT_EQ(APPLY(&x, LINEAGE_ADD, lineage_add, .records = {"\x92\x93\x01\x02\xc4\x00\x93\x01\x02\x03", 10}), MANTA_EDECODE);
    EXPECT_EQ(APPLY(&x, LINEAGE_ADD, lineage_add, .records = {"\x01", 1}), MANTA_EDECODE);
    EXPECT_EQ(APPLY(&x, LINEAGE_DROP, lineage_drop, .ids = {"\x93\x01\x02\x03", 4}), MANTA_EDECODE);
    EXPECT_EQ(APPLY(&x, LINEAGE_DROP, lineage_drop, .ids = {"\x92\x01\xa0", 3}), MANTA_EDECODE);
    EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_LINEAGE).items, 0);
    core_close(&x);
}
