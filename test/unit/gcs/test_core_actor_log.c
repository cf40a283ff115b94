/* The log and the state of a durable actor: written in the actor's epoch only, each record once, gone when it is dead. */
#include "test/support/gcs_core_fixture.h"

enum { UID = 7 };

static void begin(core_fixture *x)
{
    core_open(x, NULL);
    (void)APPLY(x, ACTOR_REGISTER, actor_register, .uid = UID, .class_name = S("Account"), .detached = true, .max_restarts = -1);
}

static manta_status place(core_fixture *x, uint64_t epoch, uint64_t process)
{
    return APPLY(x, ACTOR_PLACED, actor_placed, .uid = UID, .epoch = epoch, .node = 1, .process = process, .local = 3);
}

static manta_status record(core_fixture *x, uint64_t epoch, uint64_t number, const char *text)
{
    return APPLY(x, ACTOR_LOG, actor_log, .uid = UID, .epoch = epoch, .number = number, .record = B(text));
}

static manta_status save(core_fixture *x, uint64_t epoch, uint64_t number)
{
    unsigned char state[9] = {0, 0, 0, 0, 0, 0, 0, (unsigned char)number, 's'};
    return APPLY(x, ACTOR_SAVE, actor_save, .uid = UID, .epoch = epoch, .number = number, .state = {state, sizeof state});
}

/* "1 2 s": the numbers of the records that are there, after "s" when there is a state. */
static const char *kept(core_fixture *x)
{
    static char out[256];
    char key[GCS_ACTOR_KEY];
    gcs_kv_get q = {S(GCS_ACTOR_SPACE), {NULL, 0}};
    out[0] = 0;
    for (uint64_t n = 0; n < 20; n++) {
        gcs_actor_key(key, UID, n);
        q.key = S(key);
        if (core_query(x, GCS_KV_GET, &q)) continue;
        size_t used = strlen(out);
        if (n) snprintf(out + used, sizeof out - used, "%d ", (int)n);
        else snprintf(out + used, sizeof out - used, "s ");
    }
    return out;
}

/* Records are kept in the order of their numbers; a state takes the place of those up to its own; one that comes again changes nothing. */
TEST(log_and_state)
{
    core_fixture x;
    begin(&x);
    EXPECT(!place(&x, 1, 50));
    for (uint64_t n = 1; n <= 12; n++) EXPECT(!record(&x, 1, n, "r"));
    EXPECT(!record(&x, 1, 12, "other"));
    EXPECT_STR(kept(&x), "1 2 3 4 5 6 7 8 9 10 11 12 ");
    EXPECT(!save(&x, 1, 10));
    EXPECT_STR(kept(&x), "s 11 12 ");
    EXPECT(!record(&x, 1, 9, "late"));
    EXPECT_STR(kept(&x), "s 11 12 ");
    EXPECT_EQ(save(&x, 1, 9), MANTA_ESTALE);
    EXPECT(!save(&x, 1, 12));
    EXPECT_STR(kept(&x), "s ");
    core_close(&x);
}

/* What a former incarnation writes is refused with the epoch that is, also while there is no new one yet. */
TEST(old_epochs_write_nothing)
{
    core_fixture x;
    begin(&x);
    EXPECT_EQ(record(&x, 1, 1, "r"), MANTA_ESTALE);
    EXPECT(!place(&x, 1, 50));
    EXPECT(!record(&x, 1, 1, "r"));
    EXPECT(!APPLY(&x, PROCESS_DEAD, process_dead, .id = 50, .reason = S("killed")));
    EXPECT_EQ(record(&x, 1, 2, "r"), MANTA_ESTALE);
    EXPECT(!place(&x, 2, 51));
    EXPECT_EQ(record(&x, 1, 2, "r"), MANTA_ESTALE);
    EXPECT_EQ(core_number(&x), 2);
    EXPECT_EQ(save(&x, 1, 1), MANTA_ESTALE);
    EXPECT(!record(&x, 2, 2, "r"));
    EXPECT_STR(kept(&x), "1 2 ");
    core_close(&x);
}

/* With the actor's death all of it goes; nothing can be written then. */
TEST(death_takes_it_along)
{
    core_fixture x;
    begin(&x);
    EXPECT(!place(&x, 1, 50));
    EXPECT(!record(&x, 1, 1, "r") && !save(&x, 1, 1) && !record(&x, 1, 2, "r"));
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("app"), .key = S("k"), .value = B("v")));
    EXPECT(!APPLY(&x, ACTOR_DEAD, actor_dead, .uid = UID, .epoch = UINT64_MAX, .reason = S("stopped")));
    EXPECT_STR(kept(&x), "");
    EXPECT_EQ(record(&x, 1, 3, "r"), MANTA_EDEAD);
    EXPECT(!QUERY(&x, KV_GET, kv_get, .space = S("app"), .key = S("k")));
    core_close(&x);
}

/* Bad arguments are refused and change nothing. */
TEST(bad_arguments)
{
    core_fixture x;
    begin(&x);
    EXPECT(!place(&x, 1, 50));
    EXPECT_EQ(record(&x, 1, 0, "r"), MANTA_EINVAL);
    EXPECT_EQ(APPLY(&x, ACTOR_SAVE, actor_save, .uid = UID, .epoch = 1, .number = 1, .state = B("short")), MANTA_EINVAL);
    EXPECT_EQ(APPLY(&x, ACTOR_LOG, actor_log, .uid = UID + 1, .epoch = 1, .number = 1), MANTA_ENOTFOUND);
    EXPECT_STR(kept(&x), "");
    core_close(&x);
}
