/* Nodes, processes, actors, groups, jobs, placement groups: each command and error, and what a death brings with it. */
#include "test/support/gcs_core_fixture.h"

static manta_status join(core_fixture *x, uint64_t id, uint64_t epoch)
{
    return APPLY(x, NODE_JOIN, node_join, .id = id, .epoch = epoch, .address = S("tcp://n"), .host = S("h"), .pid = 9, .cores = 20000,
        .memory = 1 << 20);
}

static manta_status start(core_fixture *x, uint64_t id, uint64_t node)
{
    return APPLY(x, PROCESS_START, process_start, .id = id, .node = node, .address = S("ipc://p"), .role = S("worker"));
}

static manta_status spawn(core_fixture *x, uint64_t uid, uint64_t owner, const char *name, int64_t max_restarts)
{
    return APPLY(x, ACTOR_REGISTER, actor_register, .uid = uid, .class_name = S("Counter"), .space = S("app"), .name = S(name),
        .owner = owner, .max_restarts = max_restarts, .spec = B("spec"));
}

static manta_status place(core_fixture *x, uint64_t uid, uint64_t epoch, uint64_t node, uint64_t process)
{
    return APPLY(x, ACTOR_PLACED, actor_placed, .uid = uid, .epoch = epoch, .node = node, .process = process, .local = uid + 100,
        .address = S("ipc://p"));
}

static gcs_actor_row actor_of(core_fixture *x, uint64_t uid)
{
    if (QUERY(x, ACTOR_GET, actor_get, .id = uid)) return (gcs_actor_row){0};
    return ROW(x, actor_row);
}

static uint64_t rows_of(core_fixture *x, gcs_table t) { return gcs_core_usage(x->core, t).items; }

/* A node joins, says something new, drains and dies; its epoch never comes back and a greater one does. */
TEST(node_life)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT_EQ(join(&x, 0, 1), MANTA_EINVAL);
    EXPECT(!join(&x, 1, 5));
    EXPECT(ROW(&x, node_row).state == GCS_NODE_STATE_ALIVE && ROW(&x, node_row).cores == 20000);
    EXPECT(!join(&x, 1, 5));
    EXPECT_EQ(APPLY(&x, NODE_UPDATE, node_update, .id = 2, .epoch = 5), MANTA_ENOTFOUND);
    EXPECT_EQ(APPLY(&x, NODE_UPDATE, node_update, .id = 1, .epoch = 6), MANTA_ESTALE);
    EXPECT_EQ(core_number(&x), 5);
    EXPECT(!APPLY(&x, NODE_UPDATE, node_update, .id = 1, .epoch = 5, .cores = 7));
    EXPECT(!APPLY(&x, NODE_DRAIN, node_drain, .id = 1, .epoch = 5, .reason = S("maintenance")));
    EXPECT(!join(&x, 1, 5));
    EXPECT(ROW(&x, node_row).state == GCS_NODE_STATE_DRAINING && text_is(ROW(&x, node_row).reason, "maintenance"));
    EXPECT_EQ(APPLY(&x, NODE_DEAD, node_dead, .id = 1, .epoch = 4), MANTA_ESTALE);
    EXPECT(!APPLY(&x, NODE_DEAD, node_dead, .id = 1, .epoch = 5, .reason = S("silent")));
    EXPECT(!APPLY(&x, NODE_DEAD, node_dead, .id = 1, .epoch = 5, .reason = S("again")));
    EXPECT_STR(x.events, "");
    EXPECT_EQ(join(&x, 1, 5), MANTA_ESTALE);
    EXPECT_EQ(join(&x, 1, 4), MANTA_ESTALE);
    EXPECT_EQ(APPLY(&x, NODE_UPDATE, node_update, .id = 1, .epoch = 5), MANTA_ESTALE);
    EXPECT(!QUERY(&x, NODE_GET, node_get, .id = 1));
    EXPECT(text_is(ROW(&x, node_row).reason, "silent") && ROW(&x, node_row).state == GCS_NODE_STATE_DEAD);
    EXPECT(!join(&x, 1, 6));
    EXPECT_EQ(join(&x, 1, 5), MANTA_ESTALE);
    EXPECT_EQ(QUERY(&x, NODE_GET, node_get, .id = 3), MANTA_ENOTFOUND);
    core_close(&x);
}

/* An actor goes PENDING, ALIVE, RESTARTING, ALIVE with rising epochs; what comes with an old epoch is refused with the actor's. */
TEST(actor_life)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!spawn(&x, 1, 10, "one", 1));
    EXPECT(ROW(&x, actor_result).is_new && actor_of(&x, 1).state == GCS_ACTOR_STATE_PENDING);
    EXPECT_EQ(place(&x, 1, 0, 5, 50), MANTA_ESTALE);
    EXPECT(!place(&x, 1, 1, 5, 50));
    EXPECT(ROW(&x, actor_row).state == GCS_ACTOR_STATE_ALIVE && ROW(&x, actor_row).process == 50 && ROW(&x, actor_row).local == 101);
    EXPECT(!place(&x, 1, 1, 5, 50));
    EXPECT_STR(x.events, "");
    EXPECT_EQ(place(&x, 1, 1, 5, 51), MANTA_ESTALE);
    EXPECT(!APPLY(&x, ACTOR_RESTARTING, actor_restarting, .uid = 1, .epoch = 1, .reason = S("crashed")));
    EXPECT(ROW(&x, actor_row).state == GCS_ACTOR_STATE_RESTARTING && ROW(&x, actor_row).restarts == 1);
    EXPECT(!APPLY(&x, ACTOR_RESTARTING, actor_restarting, .uid = 1, .epoch = 1));
    EXPECT_EQ(ROW(&x, actor_row).restarts, 1);
    EXPECT(!place(&x, 1, 3, 6, 60));
    EXPECT_EQ(APPLY(&x, ACTOR_RESTARTING, actor_restarting, .uid = 1, .epoch = 1), MANTA_ESTALE);
    EXPECT_EQ(core_number(&x), 3);
    EXPECT_EQ(APPLY(&x, ACTOR_DEAD, actor_dead, .uid = 1, .epoch = 2), MANTA_ESTALE);
    EXPECT(!APPLY(&x, ACTOR_RESTARTING, actor_restarting, .uid = 1, .epoch = 3, .reason = S("crashed twice")));
    EXPECT(
        ROW(&x, actor_row).state == GCS_ACTOR_STATE_DEAD && text_is(ROW(&x, actor_row).reason, "crashed twice; its restarts are used up"));
    EXPECT_EQ(place(&x, 1, 4, 6, 60), MANTA_EDEAD);
    EXPECT_EQ(APPLY(&x, ACTOR_RESTARTING, actor_restarting, .uid = 1, .epoch = 3), MANTA_EDEAD);
    EXPECT(!APPLY(&x, ACTOR_DEAD, actor_dead, .uid = 1, .epoch = 3));
    EXPECT_EQ(place(&x, 9, 1, 6, 60), MANTA_ENOTFOUND);
    EXPECT_EQ(APPLY(&x, ACTOR_DEAD, actor_dead, .uid = 9), MANTA_ENOTFOUND);
    EXPECT_EQ(APPLY(&x, ACTOR_RESTARTING, actor_restarting, .uid = 9), MANTA_ENOTFOUND);
    core_close(&x);
}

/* A name is one actor's in its space until it is dead; get_if_exists gives the one that has it. */
TEST(names)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!spawn(&x, 1, 10, "one", 0));
    EXPECT_EQ(spawn(&x, 2, 10, "one", 0), MANTA_EEXIST);
    EXPECT_EQ(core_number(&x), 1);
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 2, .space = S("app"), .name = S("one"), .get_if_exists = true));
    gcs_actor_result r = ROW(&x, actor_result);
    gcs_actor_row row;
    manta_reader reader;
    manta_reader_init(&reader, r.row.data, r.row.size);
    gcs_read_actor_row(&reader, &row);
    EXPECT(!reader.status && !r.is_new && row.uid == 1 && row.spec.size == 4);
    EXPECT(!spawn(&x, 1, 10, "one", 0));
    EXPECT(!ROW(&x, actor_result).is_new);
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 3, .space = S("other"), .name = S("one")));
    EXPECT(!spawn(&x, 4, 10, "", 0) && !spawn(&x, 5, 10, "", 0));
    EXPECT(!QUERY(&x, ACTOR_FIND, actor_find, .space = S("app"), .name = S("one")));
    EXPECT_EQ(ROW(&x, actor_row).uid, 1);
    EXPECT_EQ(QUERY(&x, ACTOR_FIND, actor_find, .space = S("app"), .name = S("on")), MANTA_ENOTFOUND);
    EXPECT_EQ(QUERY(&x, ACTOR_FIND, actor_find, .space = S("app"), .name = S("")), MANTA_ENOTFOUND);
    EXPECT(!APPLY(&x, ACTOR_DEAD, actor_dead, .uid = 1, .epoch = 0));
    EXPECT_EQ(QUERY(&x, ACTOR_FIND, actor_find, .space = S("app"), .name = S("one")), MANTA_ENOTFOUND);
    EXPECT(!spawn(&x, 2, 10, "one", 0));
    EXPECT(ROW(&x, actor_result).is_new);
    EXPECT_EQ(spawn(&x, 0, 10, "", 0), MANTA_EINVAL);
    EXPECT_EQ(spawn(&x, 6, 10, "", -2), MANTA_EINVAL);
    core_close(&x);
}

/* When a process dies its own actors die, those placed on it restart or die by what they have left, its members leave, its jobs fail; and nothing is placed on it any more. */
TEST(process_death)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!APPLY(&x, JOB_START, job_start, .id = 7, .name = S("j"), .driver = 10));
    EXPECT(!spawn(&x, 1, 10, "owned", -1) && !place(&x, 1, 1, 5, 50));
    EXPECT(!spawn(&x, 2, 11, "endless", -1) && !place(&x, 2, 1, 5, 10));
    EXPECT(!spawn(&x, 3, 11, "fragile", 0) && !place(&x, 3, 1, 5, 10));
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 4, .owner = 10, .detached = true) && !place(&x, 4, 1, 5, 50));
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 7, .owner = 10, .detached = true));
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 8, .owner = 10, .job = 9) && !place(&x, 8, 1, 5, 50));
    EXPECT(!spawn(&x, 5, 10, "pending", -1));
    EXPECT(!APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .process = 10, .local = 1));
    EXPECT(!APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .actor = 3));
    EXPECT(!APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .actor = 2));
    EXPECT(!APPLY(&x, PROCESS_DEAD, process_dead, .id = 10, .reason = S("signal 11")));
    EXPECT_STR(x.events, "PROCESS ........;JOB ........;ACTOR ........;ACTOR ........;ACTOR ........;ACTOR ........;ACTOR ........;GROUP "
                         "-g.........................;GROUP -g.........................;");
    EXPECT(actor_of(&x, 1).state == GCS_ACTOR_STATE_DEAD && actor_of(&x, 5).state == GCS_ACTOR_STATE_DEAD);
    EXPECT(text_is(actor_of(&x, 1).reason, "its owner died"));
    EXPECT(actor_of(&x, 2).state == GCS_ACTOR_STATE_RESTARTING && actor_of(&x, 2).restarts == 1 &&
           text_is(actor_of(&x, 2).reason, "signal 11"));
    EXPECT_EQ(actor_of(&x, 3).state, GCS_ACTOR_STATE_DEAD);
    EXPECT_EQ(actor_of(&x, 4).state, GCS_ACTOR_STATE_ALIVE);
    EXPECT(actor_of(&x, 7).state == GCS_ACTOR_STATE_DEAD && actor_of(&x, 8).state == GCS_ACTOR_STATE_ALIVE);
    EXPECT_EQ(rows_of(&x, GCS_TABLE_GROUP), 1);
    EXPECT(!QUERY(&x, JOB_GET, job_get, .id = 7));
    EXPECT_EQ(ROW(&x, job_row).state, GCS_JOB_STATE_FAILED);
    EXPECT_EQ(place(&x, 2, 2, 5, 10), MANTA_ESTALE);
    EXPECT_EQ(start(&x, 10, 5), MANTA_ESTALE);
    EXPECT_EQ(spawn(&x, 6, 10, "late", 0), MANTA_EDEAD);
    EXPECT_EQ(APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .process = 10, .local = 1), MANTA_ESTALE);
    EXPECT_EQ(APPLY(&x, JOB_START, job_start, .id = 8, .driver = 10), MANTA_EDEAD);
    EXPECT(!APPLY(&x, PROCESS_DEAD, process_dead, .id = 10));
    EXPECT_STR(x.events, "");
    EXPECT_EQ(APPLY(&x, PROCESS_DEAD, process_dead, .id = 0), MANTA_EINVAL);
    core_close(&x);
}

/* When a node dies, so do its processes, and with them what they own; actors there restart elsewhere. */
TEST(node_death)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!join(&x, 5, 1) && !start(&x, 50, 5) && !start(&x, 51, 5) && !start(&x, 60, 6));
    EXPECT(!QUERY(&x, PROCESS_GET, process_get, .id = 51));
    EXPECT_EQ(ROW(&x, process_row).node, 5);
    EXPECT(!spawn(&x, 1, 60, "a", 1) && !place(&x, 1, 1, 5, 50));
    EXPECT(!spawn(&x, 2, 51, "b", 1) && !place(&x, 2, 1, 6, 60));
    EXPECT(!spawn(&x, 3, 60, "c", 1) && !place(&x, 3, 1, 5, 59)); /* of a process that nobody announced */
    EXPECT(!APPLY(&x, JOB_START, job_start, .id = 7, .driver = 59, .node = 5));
    EXPECT(!APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .process = 59, .local = 1, .node = 5));
    EXPECT(!APPLY(&x, NODE_DEAD, node_dead, .id = 5, .epoch = 1, .reason = S("power")));
    EXPECT_EQ(actor_of(&x, 1).state, GCS_ACTOR_STATE_RESTARTING);
    EXPECT_EQ(actor_of(&x, 2).state, GCS_ACTOR_STATE_DEAD);
    EXPECT_EQ(actor_of(&x, 3).state, GCS_ACTOR_STATE_RESTARTING);
    EXPECT(!QUERY(&x, PROCESS_GET, process_get, .id = 51));
    EXPECT_EQ(ROW(&x, process_row).state, GCS_PROCESS_STATE_DEAD);
    EXPECT(!QUERY(&x, JOB_GET, job_get, .id = 7));
    EXPECT_EQ(ROW(&x, job_row).state, GCS_JOB_STATE_FAILED);
    EXPECT_EQ(rows_of(&x, GCS_TABLE_GROUP), 0);
    EXPECT_EQ(start(&x, 52, 5), MANTA_ESTALE);
    EXPECT_EQ(place(&x, 1, 2, 5, 53), MANTA_ESTALE);
    EXPECT_EQ(APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .process = 58, .local = 1, .node = 5), MANTA_ESTALE);
    EXPECT_EQ(APPLY(&x, JOB_START, job_start, .id = 8, .driver = 58, .node = 5), MANTA_EDEAD);
    EXPECT(!join(&x, 5, 2) && !start(&x, 52, 5) && !place(&x, 1, 2, 5, 52));
    EXPECT(!join(&x, 5, 3)); /* a new incarnation ends the old one */
    EXPECT_EQ(actor_of(&x, 1).state, GCS_ACTOR_STATE_DEAD);
    EXPECT_EQ(start(&x, 0, 1), MANTA_EINVAL);
    core_close(&x);
}

/* A job's end ends its actors, except detached ones, and its placement groups; both ways idempotent. */
TEST(jobs)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT_EQ(APPLY(&x, JOB_START, job_start, .id = 0), MANTA_EINVAL);
    EXPECT(!APPLY(&x, JOB_START, job_start, .id = 7, .name = S("j"), .space = S("app"), .driver = 10));
    EXPECT(!APPLY(&x, JOB_START, job_start, .id = 7, .name = S("other")));
    EXPECT(text_is(ROW(&x, job_row).name, "j"));
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 1, .job = 7));
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 2, .job = 7, .detached = true));
    EXPECT(!APPLY(&x, PLACEMENT_PUT, placement_put, .id = 70, .job = 7, .name = S("p"), .strategy = S("SPREAD"), .state = 1));
    EXPECT_EQ(APPLY(&x, JOB_END, job_end, .id = 7, .state = GCS_JOB_STATE_RUNNING), MANTA_EINVAL);
    EXPECT_EQ(APPLY(&x, JOB_END, job_end, .id = 7, .state = 5), MANTA_EINVAL);
    EXPECT_EQ(APPLY(&x, JOB_END, job_end, .id = 8, .state = GCS_JOB_STATE_SUCCEEDED), MANTA_ENOTFOUND);
    EXPECT(!APPLY(&x, JOB_END, job_end, .id = 7, .state = GCS_JOB_STATE_SUCCEEDED, .reason = S("0")));
    EXPECT_STR(x.events, "JOB ........;ACTOR ........;PLACEMENT -.......F;");
    EXPECT(!APPLY(&x, JOB_END, job_end, .id = 7, .state = GCS_JOB_STATE_FAILED));
    EXPECT_EQ(ROW(&x, job_row).state, GCS_JOB_STATE_SUCCEEDED);
    EXPECT(actor_of(&x, 1).state == GCS_ACTOR_STATE_DEAD && actor_of(&x, 2).state == GCS_ACTOR_STATE_PENDING);
    EXPECT_EQ(APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 3, .job = 7), MANTA_EDEAD);
    EXPECT_EQ(APPLY(&x, PLACEMENT_PUT, placement_put, .id = 71, .job = 7), MANTA_EDEAD);
    EXPECT_EQ(QUERY(&x, JOB_GET, job_get, .id = 8), MANTA_ENOTFOUND);
    core_close(&x);
}

/* Placement groups are replaced only at the revision that the writer saw. */
TEST(placements)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT_EQ(APPLY(&x, PLACEMENT_PUT, placement_put, .id = 0), MANTA_EINVAL);
    EXPECT(!APPLY(&x, PLACEMENT_PUT, placement_put, .id = 1, .bundles = {"\x92\x01\x02", 3}));
    uint64_t revision = core_number(&x);
    EXPECT(!QUERY(&x, PLACEMENT_GET, placement_get, .id = 1));
    EXPECT(ROW(&x, placement_row).bundles.size == 3 && ROW(&x, placement_row).assignment.size == 1);
    EXPECT_EQ(APPLY(&x, PLACEMENT_PUT, placement_put, .id = 1, .if_revision = revision + 5), MANTA_ESTALE);
    EXPECT_EQ(core_number(&x), revision);
    EXPECT(!APPLY(&x, PLACEMENT_PUT, placement_put, .id = 1, .if_revision = revision, .state = 2));
    EXPECT(!APPLY(&x, PLACEMENT_REMOVE, placement_remove, .id = 1));
    EXPECT_EQ(APPLY(&x, PLACEMENT_REMOVE, placement_remove, .id = 1), MANTA_ENOTFOUND);
    EXPECT_EQ(QUERY(&x, PLACEMENT_GET, placement_get, .id = 1), MANTA_ENOTFOUND);
    core_close(&x);
}

/* A placement group ends with the process that made it, and with that process's node; none is made for a dead process. */
TEST(placements_of_a_process)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!APPLY(&x, NODE_JOIN, node_join, .id = 5, .epoch = 1));
    EXPECT(!APPLY(&x, PROCESS_START, process_start, .id = 10, .node = 5) && !APPLY(&x, PROCESS_START, process_start, .id = 11, .node = 5));
    for (uint64_t id = 1; id <= 3; id++) EXPECT(!APPLY(&x, PLACEMENT_PUT, placement_put, .id = id, .process = id < 3 ? 10 : 11));
    EXPECT(!APPLY(&x, PROCESS_DEAD, process_dead, .id = 10));
    EXPECT_EQ(QUERY(&x, PLACEMENT_GET, placement_get, .id = 1), MANTA_ENOTFOUND);
    EXPECT_EQ(QUERY(&x, PLACEMENT_GET, placement_get, .id = 2), MANTA_ENOTFOUND);
    EXPECT(!QUERY(&x, PLACEMENT_GET, placement_get, .id = 3));
    EXPECT_EQ(APPLY(&x, PLACEMENT_PUT, placement_put, .id = 1, .process = 10), MANTA_EDEAD);
    EXPECT(!APPLY(&x, NODE_DEAD, node_dead, .id = 5, .epoch = 1));
    EXPECT_EQ(QUERY(&x, PLACEMENT_GET, placement_get, .id = 3), MANTA_ENOTFOUND);
    core_close(&x);
}

/* Members join and leave once however often they say so; a dead actor leaves. */
TEST(groups)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!spawn(&x, 1, 10, "", 0));
    EXPECT(!APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .actor = 1));
    EXPECT(!APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .actor = 1));
    EXPECT_STR(x.events, "");
    EXPECT(!APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .process = 50, .local = 3));
    EXPECT(!APPLY(&x, GROUP_JOIN, group_join, .name = S("gg"), .process = 50, .local = 3));
    EXPECT(!QUERY(&x, GROUP_MEMBERS, group_members, .name = S("g")));
    gcs_page page = ROW(&x, page);
    EXPECT(page.rows.size > 5 && ((const unsigned char *)page.rows.data)[4] == 2 && !page.next.size);
    EXPECT_EQ(APPLY(&x, GROUP_JOIN, group_join, .name = S("g")), MANTA_EINVAL);
    EXPECT(!APPLY(&x, ACTOR_DEAD, actor_dead, .uid = 1, .epoch = 0));
    EXPECT_EQ(rows_of(&x, GCS_TABLE_GROUP), 2);
    EXPECT_EQ(APPLY(&x, GROUP_JOIN, group_join, .name = S("g"), .actor = 1), MANTA_ESTALE);
    EXPECT(!APPLY(&x, GROUP_LEAVE, group_leave, .name = S("g"), .process = 50, .local = 3));
    EXPECT(!APPLY(&x, GROUP_LEAVE, group_leave, .name = S("g"), .process = 50, .local = 3));
    EXPECT_EQ(rows_of(&x, GCS_TABLE_GROUP), 1);
    core_close(&x);
}

static uint32_t count_list(core_fixture *x, const gcs_list *query)
{
    uint32_t count;
    if (core_query(x, GCS_LIST, query)) return UINT32_MAX;
    gcs_page page = ROW(x, page);
    manta_reader rows;
    manta_reader_init(&rows, page.rows.data, page.rows.size);
    manta_unpack_array(&rows, &count);
    return count;
}

/* Lists filter by state, class, node and job, alone and together; a filter that a table cannot have is an error. */
TEST(filters)
{
    core_fixture x;
    core_open(&x, NULL);
    for (uint64_t uid = 1; uid <= 20; uid++) {
        EXPECT(
            !APPLY(&x, ACTOR_REGISTER, actor_register, .uid = uid, .class_name = S(uid % 2 ? "Odd" : "Even"), .job = uid % 3, .owner = 9));
        if (uid > 10) EXPECT(!place(&x, uid, 1, uid % 4 + 1, 50));
    }
    EXPECT_EQ(count_list(&x, &(gcs_list){.table = GCS_TABLE_ACTOR}), 20);
    EXPECT_EQ(count_list(&x, &(gcs_list){.table = GCS_TABLE_ACTOR, .class_name = S("Odd")}), 10);
    EXPECT_EQ(count_list(&x, &(gcs_list){.table = GCS_TABLE_ACTOR, .state = GCS_ACTOR_STATE_ALIVE}), 10);
    EXPECT_EQ(count_list(&x, &(gcs_list){.table = GCS_TABLE_ACTOR, .job = 1}), 7);
    EXPECT_EQ(count_list(&x, &(gcs_list){.table = GCS_TABLE_ACTOR, .node = 1, .brief = true}), 3);
    EXPECT_EQ(count_list(&x, &(gcs_list){.table = GCS_TABLE_ACTOR, .node = 1, .class_name = S("Odd")}), 0);
    EXPECT_EQ(core_query(&x, GCS_LIST, &(gcs_list){.table = GCS_TABLE_KV, .state = 1}), MANTA_EINVAL);
    EXPECT_EQ(core_query(&x, GCS_LIST, &(gcs_list){.table = GCS_TABLE_NODE, .class_name = S("c")}), MANTA_EINVAL);
    EXPECT_EQ(core_query(&x, GCS_LIST, &(gcs_list){.table = 0}), MANTA_EINVAL);
    EXPECT_EQ(core_query(&x, GCS_LIST, &(gcs_list){.table = GCS_TABLE_CLIENT}), MANTA_EINVAL);
    EXPECT_EQ(core_query(&x, GCS_LIST, &(gcs_list){.table = 77}), MANTA_EINVAL);
    core_close(&x);
}

/* A filter that matches nothing looks at a bounded number of rows at a time, and the question can be continued to the end. */
TEST(bounded_search)
{
    core_fixture x;
    core_open(&x, NULL);
    for (uint64_t i = 1; i <= 70000; i++) EXPECT(!APPLY(&x, PROCESS_START, process_start, .id = i, .node = 5));
    EXPECT_EQ(count_list(&x, &(gcs_list){.table = GCS_TABLE_PROCESS, .node = 6}), 0);
    manta_bytes next = ROW(&x, page).next;
    unsigned char after[8];
    EXPECT_EQ(next.size, 8);
    memcpy(after, next.data, sizeof after);
    EXPECT(memcmp(after, "\0\0\0\0\0\1\0\0", 8) == 0);
    EXPECT_EQ(count_list(&x, &(gcs_list){.table = GCS_TABLE_PROCESS, .node = 5, .after = {after, 8}, .limit = 10000}), 4464);
    EXPECT_EQ(ROW(&x, page).next.size, 0);
    core_close(&x);
}

/* A full table of actors lets the oldest dead ones go, and refuses only when all of them live. */
TEST(dead_actors_go_first)
{
    core_fixture x;
    core_open(&x, &(gcs_limits){.table_bytes = 4000});
    uint64_t uid = 1;
    while (!spawn(&x, uid, 10, "", 0)) uid++;
    EXPECT(uid > 8 && strstr(x.text, "table ACTOR is full"));
    EXPECT(!APPLY(&x, ACTOR_DEAD, actor_dead, .uid = 2, .epoch = 0) && !APPLY(&x, ACTOR_DEAD, actor_dead, .uid = 1, .epoch = 0));
    EXPECT(!spawn(&x, 100, 10, "", 0));
    EXPECT_EQ(actor_of(&x, 2).uid, 0);
    EXPECT_EQ(actor_of(&x, 1).uid, 1);
    EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_ACTOR).dropped, 1);
    EXPECT(!spawn(&x, 101, 10, "", 0));
    EXPECT_EQ(spawn(&x, 102, 10, "", 0), MANTA_ELIMIT);
    EXPECT(!place(&x, 100, 1, 5, 50)); /* what becomes of those that are there is never refused */
    EXPECT(!APPLY(&x, ACTOR_DEAD, actor_dead, .uid = 101, .epoch = 0, .reason = S("a reason that needs more room than there is")));
    core_close(&x);
}

/* Usage of every table is a query, and is 0 when all is gone. */
TEST(stats)
{
    core_fixture x;
    uint32_t count;
    core_open(&x, NULL);
    EXPECT(!spawn(&x, 1, 10, "", 0) && !join(&x, 1, 1));
    EXPECT(!QUERY(&x, STATS, stats));
    manta_reader r = gcs_reply_reader(&x.reply);
    manta_unpack_array(&r, &count);
    EXPECT_EQ(count, GCS_TABLE_END - 1);
    for (uint32_t i = 1; i <= count; i++) {
        manta_str name;
        uint64_t n[5];
        manta_unpack_tuple(&r, 6, "a row");
        manta_unpack_manta_str(&r, &name);
        for (int k = 0; k < 5; k++) manta_unpack_uint64_t(&r, &n[k]);
        EXPECT(!r.status && text_is(name, gcs_table_name(i)) && n[0] == (i == GCS_TABLE_ACTOR || i == GCS_TABLE_NODE) && n[2] > 0);
    }
    core_close(&x);
}
