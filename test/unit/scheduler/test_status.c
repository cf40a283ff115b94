#include <manta/status.h>

#include "test/support/test.h"

/* The values travel between nodes: they are what they always were. */
TEST(wire_values_are_fixed)
{
    EXPECT_EQ(MANTA_OK, 0);
    EXPECT_EQ(MANTA_EINVAL, 1);
    EXPECT_EQ(MANTA_ETIMEDOUT, 3);
    EXPECT_EQ(MANTA_EDEAD, 5);
    EXPECT_EQ(MANTA_EMAILBOXFULL, 11);
    EXPECT_EQ(MANTA_EDECODE, 20);
    EXPECT_EQ(MANTA_EUNSUPPORTED, 29);
    EXPECT_EQ(MANTA_EOBJECTLOST, 30);
}

/* Name, text and retry answer of a status come from its own row of the table. */
TEST(answers_come_from_the_table)
{
#define ROW(name, value, text, retry) \
    EXPECT_EQ(MANTA_##name, value); \
    EXPECT_STR(manta_status_name(value), "MANTA_" #name); \
    EXPECT_STR(manta_status_text(value), text); \
    EXPECT_EQ(manta_status_is_retryable(value), retry);
    MANTA_STATUS_TABLE(ROW)
#undef ROW
}

/* A full mailbox may be tried again, a dead actor and an unknown outcome may not. */
TEST(retry_is_for_what_passes)
{
    EXPECT(manta_status_is_retryable(MANTA_EMAILBOXFULL));
    EXPECT(!manta_status_is_retryable(MANTA_EDEAD));
    EXPECT(!manta_status_is_retryable(MANTA_EUNKNOWN));
    EXPECT(!manta_status_is_retryable(MANTA_OK));
}

/* A value that is no status, as a newer or broken peer may send, has a name and a text and is not retryable. */
TEST(strange_values_are_answered)
{
    static const int strange[] = {-1, 1000, 255, 1 << 30};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        manta_status s = (manta_status)strange[i];
        EXPECT_STR(manta_status_name(s), "MANTA_?");
        EXPECT_STR(manta_status_text(s), "unknown status");
        EXPECT(!manta_status_is_retryable(s));
    }
}
