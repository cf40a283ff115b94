/*
 * Choosing nodes: amounts, labels, strategies, and bundles against a search of all ways.
 */
#include "scheduler/policy/place.h"
#include "test/support/test.h"

static resources of(const char *text)
{
    resources r = {0};
    char error[128] = "";
    if (!resources_parse(text, strlen(text), &r, error, sizeof error)) test_report(__FILE__, __LINE__, error);
    return r;
}

static const char *text_of(const resources *r)
{
    static char text[RESOURCES_TEXT];
    resources_format(r, text, sizeof text);
    return text;
}

/* Amounts are exact to 1/10000, are written as they are read, and what is taken and given back leaves no trace. */
TEST(amounts)
{
    resources r = of("memory=1048576,gpus=0.25,cpus=3,db=0"), need = of("cpus=0.1,gpus=0.25");
    EXPECT_STR(text_of(&r), "cpus=3,gpus=0.25,memory=1048576");
    for (int i = 0; i < 10; i++) resources_take(&r, &(resources){1, {{"cpus", 1000}}});
    EXPECT_EQ(resources_get(&r, "cpus"), 20000);
    EXPECT(resources_fit(&need, &r));
    resources before = r;
    resources_take(&r, &need);
    EXPECT(!resources_fit(&need, &r));
    EXPECT_STR(text_of(&r), "cpus=1.9,memory=1048576");
    EXPECT(resources_give(&r, &need) && resources_equal(&r, &before));
}

/* Text that is no list of amounts is refused with the piece that is wrong. */
TEST(bad_amounts)
{
    static const char *const bad[] = {"cpus", "cpus=", "cpus=x", "cpus=-1", "cpus=1.23456", "=1", "a b=1", "cpus=1,,db=2", "cpus=.5",
        "cpus=1.", "cpus=99999999999999999999", "a_name_that_is_far_too_long_for_it=1",
        "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        resources r = {0};
        char error[128] = "";
        bool ok = resources_parse(bad[i], strlen(bad[i]), &r, error, sizeof error);
        if (ok || !error[0]) fprintf(stderr, "taken: %s\n", bad[i]);
        EXPECT(!ok && error[0]);
    }
}

/* Labels: all pairs must be there, and those with != must not. */
TEST(labels)
{
    EXPECT(labels_match(NULL, "zone=a") && labels_match("", NULL));
    EXPECT(labels_match("zone=a,disk=ssd", "disk=ssd,zone=a"));
    EXPECT(!labels_match("zone=a", "zone=ab") && !labels_match("zone=a", NULL));
    EXPECT(labels_match("zone!=a", "zone=b") && !labels_match("zone!=a", "zone=a"));
    EXPECT(labels_valid("zone=a,b=c", false) && labels_valid("zone!=a", true));
    EXPECT(!labels_valid("zone!=a", false) && !labels_valid("zone", true) && !labels_valid("=a", true));
}

static void make_nodes(place_node *nodes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        nodes[i] = (place_node){.total = of("cpus=4"), .id = 100 + i, .labels = i % 2 ? "zone=odd" : "zone=even"};
        nodes[i].available = nodes[i].total;
    }
}

/* Default: the asking node first, then one of the least loaded, and always where most of the arguments are. */
TEST(default_strategy)
{
    place_node nodes[6];
    rng random;
    rng_init(&random, test_seed());
    make_nodes(nodes, 6);
    place_request q = {.need = of("cpus=1"), .here = 2};
    EXPECT_EQ(place_pick(nodes, 6, &q, &random), 2);
    nodes[2].available = (resources){0};
    nodes[0].available = nodes[1].available = nodes[5].available = of("cpus=1");
    bool seen[6] = {0};
    for (int i = 0; i < 200; i++) seen[place_pick(nodes, 6, &q, &random)] = true;
    EXPECT(seen[3] && seen[4] && !seen[0] && !seen[1] && !seen[2] && !seen[5]);
    nodes[5].bytes = 1 << 20;
    EXPECT_EQ(place_pick(nodes, 6, &q, &random), 5);
}

/* Spread takes the least loaded; affinity its node, softly another; labels restrict; full and impossible are told apart. */
TEST(other_strategies)
{
    place_node nodes[4];
    rng random;
    rng_init(&random, test_seed());
    make_nodes(nodes, 4);
    place_request q = {.need = of("cpus=1"), .strategy = PLACE_SPREAD, .here = 0};
    for (int i = 0; i < 16; i++) resources_take(&nodes[place_pick(nodes, 4, &q, &random)].available, &q.need);
    for (int i = 0; i < 4; i++) EXPECT_EQ(resources_get(&nodes[i].available, "cpus"), 0);
    EXPECT_EQ(place_pick(nodes, 4, &q, &random), PLACE_FULL);
    make_nodes(nodes, 4);
    q = (place_request){.need = of("cpus=4"), .strategy = PLACE_NODE, .node = 103, .here = 0};
    EXPECT_EQ(place_pick(nodes, 4, &q, &random), 3);
    nodes[3].available = of("cpus=3");
    EXPECT_EQ(place_pick(nodes, 4, &q, &random), PLACE_FULL);
    q.strategy = PLACE_NODE_SOFT;
    EXPECT_EQ(place_pick(nodes, 4, &q, &random), 0);
    q = (place_request){.need = of("cpus=1"), .labels = "zone=odd", .here = 0};
    EXPECT(place_pick(nodes, 4, &q, &random) % 2 == 1);
    q.labels = "zone=none";
    EXPECT_EQ(place_pick(nodes, 4, &q, &random), PLACE_INFEASIBLE);
    q = (place_request){.need = of("cpus=5"), .here = 0};
    EXPECT_EQ(place_pick(nodes, 4, &q, &random), PLACE_INFEASIBLE);
    q = (place_request){.need = of("db=1"), .here = 0};
    EXPECT(!place_is_feasible(nodes, 4, &q));
}

/* ---- bundles, against all ways ---- */

enum { NODES = 4, BUNDLES = 4 };

static bool is_allowed(const int32_t *at, uint32_t count, bundle_strategy strategy)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = i + 1; k < count; k++) {
            if (strategy == BUNDLES_STRICT_SPREAD && at[i] == at[k]) return false;
            if (strategy == BUNDLES_STRICT_PACK && at[i] != at[k]) return false;
        }
    return true;
}

static bool fits_all(const place_node *nodes, uint32_t n, const resources *bundles, uint32_t count, const int32_t *at)
{
    for (uint32_t i = 0; i < n; i++) {
        resources room = nodes[i].available;
        for (uint32_t b = 0; b < count; b++) {
            if (at[b] != (int32_t)i) continue;
            if (!resources_fit(&bundles[b], &room)) return false;
            resources_take(&room, &bundles[b]);
        }
    }
    return true;
}

static bool exists(const place_node *nodes, uint32_t n, const resources *bundles, uint32_t count, bundle_strategy strategy)
{
    int32_t at[BUNDLES] = {0};
    for (uint32_t code = 0, all = 1; code == 0 || code < all; code++) {
        uint32_t rest = code;
        all = 1;
        for (uint32_t b = 0; b < count; b++, rest /= n, all *= n) at[b] = (int32_t)(rest % n);
        if (is_allowed(at, count, strategy) && fits_all(nodes, n, bundles, count, at)) return true;
    }
    return false;
}

static resources any(rng *random, uint32_t most)
{
    resources r = {0};
    (void)resources_set(&r, "cpus", (int64_t)rng_below(random, most) * 5000);
    (void)resources_set(&r, "db", (int64_t)rng_below(random, 3) * RESOURCE_UNIT);
    return r;
}

static bool try_random(rng *random)
{
    place_node nodes[NODES] = {{{0}, {0}, NULL, 0, 0, 0}};
    resources bundles[BUNDLES];
    int32_t at[BUNDLES];
    uint32_t n = 1 + (uint32_t)rng_below(random, NODES), count = 1 + (uint32_t)rng_below(random, BUNDLES);
    for (uint32_t i = 0; i < n; i++) nodes[i].total = nodes[i].available = any(random, 9);
    for (uint32_t b = 0; b < count; b++) bundles[b] = any(random, 6);
    for (int s = 0; s < BUNDLE_STRATEGIES; s++) {
        bool found = place_bundles(nodes, n, bundles, count, (bundle_strategy)s, at);
        if (found && (!is_allowed(at, count, (bundle_strategy)s) || !fits_all(nodes, n, bundles, count, at))) return false;
        bool strict = s == BUNDLES_STRICT_PACK || s == BUNDLES_STRICT_SPREAD;
        if (!found && strict && exists(nodes, n, bundles, count, (bundle_strategy)s)) return false;
    }
    return true;
}

/* Bundles never take more than there is and keep to their strategy; the strict strategies find places whenever there are any. */
TEST(bundles_against_all_ways)
{
    rng random;
    rng_init(&random, test_seed());
    for (int64_t i = 0; i < test_scaled(20000); i++) EXPECT(try_random(&random));
}

/* Pack uses one node when one has room; spread uses as many as there are bundles. */
TEST(soft_bundles)
{
    place_node nodes[3];
    resources bundles[3] = {of("cpus=1"), of("cpus=1"), of("cpus=2")};
    int32_t at[3];
    make_nodes(nodes, 3);
    EXPECT(place_bundles(nodes, 3, bundles, 3, BUNDLES_PACK, at) && at[0] == at[1] && at[1] == at[2]);
    EXPECT(place_bundles(nodes, 3, bundles, 3, BUNDLES_SPREAD, at) && at[0] != at[1] && at[1] != at[2] && at[0] != at[2]);
    EXPECT(place_bundles(nodes, 2, bundles, 3, BUNDLES_SPREAD, at));
    EXPECT(!place_bundles(nodes, 2, bundles, 3, BUNDLES_STRICT_SPREAD, at));
}
