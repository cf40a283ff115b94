#include "scheduler/base/alloc.h"
#include "scheduler/base/hash.h"
#include "scheduler/base/rng.h"
#include "test/support/test.h"

enum { KEYS = 300, OPERATIONS = 200000, CHURN = 100000 };

/* The published values of FNV-1a; a string hashes as its bytes. */
TEST(known_hashes)
{
    EXPECT(hash_string("") == 0xcbf29ce484222325u);
    EXPECT(hash_string("a") == 0xaf63dc4c8601ec8cu);
    EXPECT(hash_string("foobar") == 0x85944171f73967e8u);
    EXPECT(hash_bytes("foobar", 6) == hash_string("foobar"));
    EXPECT(hash_bytes("\xff\x00\x80", 3) != hash_bytes("\xff", 1));
    EXPECT(hash_string("\xff") == hash_bytes("\xff", 1));
}

/* An empty table answers everything, and needs no memory. */
TEST(empty_table)
{
    string_table t;
    string_table_init(&t);
    size_t cursor = 0;
    const char *key;
    void *value;
    EXPECT(!string_table_get(&t, "x"));
    EXPECT(!string_table_remove(&t, "x"));
    EXPECT(!string_table_next(&t, &cursor, &key, &value));
    EXPECT_EQ(t.capacity, 0);
    string_table_fini(&t);
}

/* The table copies its keys: the caller's may change. */
TEST(keys_are_copied)
{
    string_table t;
    string_table_init(&t);
    char key[] = "name";
    EXPECT(string_table_put(&t, key, key));
    key[0] = 'g';
    EXPECT(string_table_get(&t, "name") == key);
    EXPECT(!string_table_get(&t, "game"));
    string_table_fini(&t);
    EXPECT(!string_table_get(&t, "name"));
}

static void *model[KEYS]; /* by key number; NULL: absent */

static const char *key_name(uint64_t number)
{
    static char name[32];
    snprintf(name, sizeof name, "key-%u", (unsigned)number);
    return name;
}

/* A full walk finds each key of the model once, with its value, and nothing else. */
static bool walk_agrees(const string_table *t)
{
    bool seen[KEYS] = {false};
    size_t cursor = 0, found = 0, expected = 0;
    const char *key;
    void *value;
    while (string_table_next(t, &cursor, &key, &value)) {
        int number = atoi(key + 4);
        if (seen[number] || model[number] != value) return false;
        seen[number] = true;
        found++;
    }
    for (int i = 0; i < KEYS; i++) expected += model[i] != NULL;
    return found == expected && t->count == expected;
}

static bool random_operation(string_table *t, rng *r)
{
    static char values[1000];
    uint64_t number = rng_below(r, KEYS), choice = rng_below(r, 10);
    const char *key = key_name(number);
    if (choice < 4) {
        model[number] = &values[rng_below(r, sizeof values)];
        return string_table_put(t, key, model[number]);
    }
    if (choice < 8) {
        void *expected = model[number];
        model[number] = NULL;
        return string_table_remove(t, key) == expected;
    }
    return string_table_get(t, key) == model[number];
}

/* Under random puts, removes and gets the table agrees with an array. */
TEST(model)
{
    string_table t;
    string_table_init(&t);
    memset(model, 0, sizeof model);
    rng r;
    rng_init(&r, test_seed());
    for (int i = 0; i < OPERATIONS; i++) {
        EXPECT(random_operation(&t, &r));
        if (i % 997 == 0) EXPECT(walk_agrees(&t));
    }
    EXPECT(walk_agrees(&t));
    string_table_fini(&t);
}

/* Keys that come and go do not make the table grow: removed entries are taken back. */
TEST(churn_does_not_grow)
{
    string_table t;
    string_table_init(&t);
    for (unsigned i = 0; i < CHURN; i++) {
        EXPECT(string_table_put(&t, key_name(i), &t));
        if (i >= 4) EXPECT(string_table_remove(&t, key_name(i - 4)) == &t);
    }
    EXPECT_EQ(t.count, 4);
    EXPECT(t.capacity <= 32);
    string_table_fini(&t);
}

/* When memory is out a put changes nothing, at whichever allocation; replacing a value needs none. */
TEST(out_of_memory_changes_nothing)
{
    string_table t;
    string_table_init(&t);
    for (unsigned i = 0; i < 200; i++) {
        for (uint64_t n = 1;; n++) {
            base_alloc_fail_at(n);
            bool ok = string_table_put(&t, key_name(i), &t), failed = base_alloc_has_failed();
            base_alloc_fail_at(0);
            EXPECT_EQ(ok, !failed);
            if (ok) break;
            EXPECT_EQ(t.count, i);
            EXPECT(!string_table_get(&t, key_name(i)));
        }
        base_alloc_fail_at(1);
        bool ok = string_table_put(&t, key_name(i), &t);
        base_alloc_fail_at(0);
        EXPECT(ok);
    }
    for (unsigned i = 0; i < 200; i++) EXPECT(string_table_get(&t, key_name(i)) == &t);
    string_table_fini(&t);
}
