/* The table by id against an array. */
#include "scheduler/base/alloc.h"
#include "scheduler/base/id_table.h"
#include "scheduler/base/rng.h"
#include "test/support/test.h"

enum { IDS = 2000 };

/* Random puts, replacements and removals, looked up and walked, agree with an array. */
TEST(model)
{
    id_table t = {0};
    static int values[IDS];
    static bool in[IDS];
    size_t count = 0;
    rng r;
    rng_init(&r, test_seed());
    for (int i = 0; i < test_scaled(200000); i++) {
        uint64_t k = rng_next(&r) % IDS, id = (k + 1) << (k % 3 * 20);
        if (rng_next(&r) % 2) {
            EXPECT(id_table_put(&t, id, &values[k]));
            count += !in[k];
            in[k] = true;
        } else {
            EXPECT(id_table_remove(&t, id) == (in[k] ? &values[k] : NULL));
            count -= in[k];
            in[k] = false;
        }
        EXPECT(id_table_get(&t, id) == (in[k] ? &values[k] : NULL) && t.count == count);
    }
    size_t cursor = 0, walked = 0;
    uint64_t id;
    for (int *v; (v = id_table_next(&t, &cursor, &id)); walked++) EXPECT(in[v - values] && id_table_get(&t, id) == v);
    EXPECT_EQ(walked, count);
    id_table_fini(&t);
    EXPECT(!id_table_get(&t, 5));
}

/* Without memory a put says so and the table is as it was. */
TEST(no_memory)
{
    id_table t = {0};
    int value;
    base_alloc_fail_at(1);
    EXPECT(!id_table_put(&t, 7, &value));
    base_alloc_fail_at(0);
    EXPECT(!id_table_get(&t, 7) && id_table_put(&t, 7, &value) && id_table_get(&t, 7) == &value);
    id_table_fini(&t);
}
