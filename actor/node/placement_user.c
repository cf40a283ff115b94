/*
 * Placement groups: the public functions, which ask the daemon of the process.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/owner.h"
#include "actor/node/placement.h"

static manta_status find_placements(MantaPlacements_ref *out)
{
    manta_actor found;
    if (!load_relaxed(&owner_is_on)) return error_set(MANTA_EUNSUPPORTED, "placement groups are for the programs of a cluster (manta run)");
    manta_status status = manta_get(MantaRaylet_placements(MantaRaylet_ref_of(job_raylet)), &found);
    if (!status) *out = MantaPlacements_ref_of(found);
    return status;
}

manta_status group_places(uint64_t id, int32_t bundle, manta_actor *out, uint32_t room, uint32_t *out_n)
{
    MantaPlacements_ref p;
    *out_n = 0;
    manta_status status = find_placements(&p);
    if (!status) status = manta_join(MantaPlacements_wait(p, id, UINT64_MAX));
    while (!status && *out_n < room) {
        status = manta_get(MantaPlacements_where(p, id, bundle, *out_n), &out[*out_n]);
        if (status || !out[*out_n].id) break;
        ++*out_n;
    }
    return status;
}

/* The bundles behind each other, checked; NULL: error_set says what is wrong. base_free. */
static char *join_bundles(const char *const *bundles, size_t count)
{
    size_t bytes = 1, n = 0;
    for (size_t i = 0; i < count; i++) {
        resources r = {0};
        char error[128];
        if (!bundles[i] || !resources_parse(bundles[i], strlen(bundles[i]), &r, error, sizeof error)) {
            error_set(MANTA_EINVAL, "manta_placement_create: bundle %zu: %s", i + 1, bundles[i] ? error : "NULL");
            return NULL;
        }
        bytes += strlen(bundles[i]) + 1;
    }
    char *text = base_alloc(bytes);
    if (!text) error_set(MANTA_ENOMEM, "manta_placement_create: no memory");
    for (size_t i = 0; text && i < count; i++) n += (size_t)snprintf(text + n, bytes - n, "%s%s", i ? ";" : "", bundles[i]);
    return text;
}

manta_status manta_placement_create(
    const char *const *bundles, size_t count, manta_placement_strategy strategy, const char *name, manta_placement_group *out)
{
    MantaPlacements_ref p;
    if (!count || count > MANTA_BUNDLES_LIMIT)
        return error_set(MANTA_ELIMIT, "manta_placement_create: 1 to %d bundles", MANTA_BUNDLES_LIMIT);
    if ((unsigned)strategy > MANTA_PLACEMENT_STRICT_SPREAD)
        return error_set(MANTA_EINVAL, "manta_placement_create: strategy %d", (int)strategy);
    if (name && strlen(name) >= MANTA_PLACEMENT_NAME)
        return error_set(MANTA_ETOOLONG, "manta_placement_create: a name of up to %d bytes", MANTA_PLACEMENT_NAME - 1);
    manta_status status = find_placements(&p);
    char *text = status ? NULL : join_bundles(bundles, count);
    if (!text) return manta_last_error()->status;
    status = manta_get(
        MantaPlacements_create(p, owner_actor(), the_job.id, manta_str_of(name ? name : ""), (int32_t)strategy, manta_str_of(text)),
        &out->id);
    base_free(text);
    return status;
}

manta_status manta_placement_wait(manta_placement_group group, uint64_t timeout_ms)
{
    MantaPlacements_ref p;
    manta_status status = find_placements(&p);
    return status ? status : manta_join(MantaPlacements_wait(p, group.id, timeout_ms));
}

manta_status manta_placement_remove(manta_placement_group group)
{
    MantaPlacements_ref p;
    manta_status status = find_placements(&p);
    return status ? status : manta_join(MantaPlacements_remove(p, group.id));
}

manta_status manta_placement_node(manta_placement_group group, int32_t bundle, manta_process *out_node)
{
    MantaPlacements_ref p;
    manta_actor leases;
    manta_status status = bundle < 1 ? error_set(MANTA_EINVAL, "manta_placement_node: bundles are counted from 1") : find_placements(&p);
    if (!status) status = manta_get(MantaPlacements_where(p, group.id, bundle - 1, 0), &leases);
    if (!status) *out_node = manta_process_of(leases);
    return status;
}

manta_status manta_placement_list(manta_placement_info *out, size_t capacity, size_t *out_count)
{
    MantaPlacements_ref p;
    MantaGroupInfo g = {.total = 1};
    manta_status status = find_placements(&p);
    for (size_t i = 0; !status && i < capacity && i < g.total; i++) {
        status = manta_get(MantaPlacements_info(p, (uint32_t)i), &g);
        out[i] = (manta_placement_info){.group = {g.id},
            .strategy = (manta_placement_strategy)g.strategy,
            .state = (manta_placement_state)g.state,
            .bundles = g.bundles,
            .infeasible = g.infeasible};
        snprintf(out[i].name, sizeof out[i].name, "%.*s", (int)g.name.size, g.name.data ? g.name.data : "");
    }
    if (!status && !capacity) status = manta_get(MantaPlacements_info(p, 0), &g);
    if (!status) *out_count = g.total;
    return status;
}
