/*
 * What tasks and actors need, out of their options: one record for each combination that a process has used, kept until the end.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/named.h"
#include "actor/node/owner.h"
#include "actor/node/owner_internal.h"

enum { DEMANDS_LIMIT = 4095, ID_BITS = 51 };

demand *owner_demands;
static demand *by_index[DEMANDS_LIMIT + 1];
static demand *usual[2]; /* without options: of tasks, of actors */
static uint32_t count;

static manta_status add_amount(resources *need, const char *name, double amount, const char *what)
{
    if (!(amount <= (double)RESOURCE_MOST)) return error_set(MANTA_EINVAL, "%s: options.%s is %g", what, name, amount);
    if (amount <= 0) return MANTA_OK;
    int64_t exact = (int64_t)(amount * RESOURCE_UNIT + 0.5);
    (void)resources_set(need, name, exact ? exact : 1);
    return MANTA_OK;
}

static manta_status read_need(const manta_options *o, const char *what, bool is_actor, resources *need)
{
    char error[160];
    double cpus = o && o->cpus != 0 ? o->cpus : is_actor ? 0 : 1;
    manta_status status = add_amount(need, "cpus", cpus, what);
    if (!o || status) return status;
    if (!status) status = add_amount(need, "gpus", o->gpus, what);
    if (!status) status = add_amount(need, "memory", (double)o->memory_bytes, what);
    if (status) return status;
    if (o->resources && !resources_parse(o->resources, strlen(o->resources), need, error, sizeof error))
        return error_set(MANTA_EINVAL, "%s: options.resources: %s", what, error);
    int64_t gpus = resources_get(need, "gpus");
    if (gpus > RESOURCE_UNIT && gpus % RESOURCE_UNIT)
        return error_set(MANTA_EINVAL, "%s: options.gpus is %g, want a part of one or a whole number", what, o->gpus);
    return MANTA_OK;
}

static manta_status check_place(const manta_options *o, const char *what)
{
    if ((unsigned)o->where > MANTA_WHERE_HERE) return error_set(MANTA_EINVAL, "%s: options.where is %d", what, (int)o->where);
    if ((o->where == MANTA_WHERE_NODE || o->where == MANTA_WHERE_NODE_SOFT) && !o->node.id)
        return error_set(MANTA_EINVAL, "%s: options.where wants a node, and options.node is none", what);
    if (o->labels && !labels_valid(o->labels, true))
        return error_set(MANTA_EINVAL, "%s: options.labels is \"%s\", want \"key=value,key!=value\"", what, o->labels);
    if (o->bundle < 0) return error_set(MANTA_EINVAL, "%s: options.bundle is %d", what, (int)o->bundle);
    return MANTA_OK;
}

/* Of an older program the options may be shorter. */
static bool is_isolated(const manta_options *o) { return o && (!o->size || o->size > offsetof(manta_options, isolated)) && o->isolated; }

static bool read_demand(const manta_options *o, const char *what, bool is_actor, demand *d)
{
    memset(d, 0, sizeof *d);
    if (read_need(o, what, is_actor, &d->need) || (o && check_place(o, what))) return false;
    d->is_actor = is_actor;
    d->isolated = is_actor && is_isolated(o);
    d->bundle = -1;
    d->depth = 1;
    const char *labels = o && o->labels ? o->labels : "";
    snprintf(d->labels, sizeof d->labels, "%s", labels);
    if (o) {
        d->strategy = o->where;
        d->node = o->node.id;
        d->group = o->placement_group.id;
        d->bundle = o->bundle - 1;
        d->is_detached = is_actor && options_lifetime(o) == MANTA_LIFETIME_DETACHED;
    }
    resources_format(&d->need, d->need_text, sizeof d->need_text);
    d->is_short = resources_get(&d->need, "cpus") && d->need.n == 1 && d->strategy != MANTA_WHERE_SPREAD;
    return true;
}

static bool is_same(const demand *a, const demand *b)
{
    return a->is_actor == b->is_actor && a->is_again == b->is_again && a->is_detached == b->is_detached && a->isolated == b->isolated &&
           a->strategy == b->strategy && a->node == b->node && a->group == b->group && a->bundle == b->bundle &&
           strcmp(a->labels, b->labels) == 0 && resources_equal(&a->need, &b->need);
}

static demand *find_or_add(const demand *wanted, const char *what)
{
    pthread_mutex_lock(&owner_lock);
    demand *d = owner_demands;
    while (d && !is_same(d, wanted)) d = d->next;
    if (!d && count < DEMANDS_LIMIT && (d = base_alloc(sizeof *d))) {
        *d = *wanted;
        d->next = owner_demands;
        owner_demands = d;
        d->index = ++count;
        by_index[count] = d;
    }
    pthread_mutex_unlock(&owner_lock);
    if (!d) error_set(MANTA_ELIMIT, "%s: at most %d different needs of tasks and actors in a process", what, DEMANDS_LIMIT);
    return d;
}

/* Whether the options say nothing about where. Of an older program they may be shorter. */
static bool is_usual(const manta_options *o)
{
    if (!o || (o->size && o->size <= offsetof(manta_options, cpus))) return true;
    return o->cpus == 0 && o->gpus == 0 && !o->memory_bytes && !o->resources && !o->labels && !o->where && !o->placement_group.id &&
           !options_lifetime(o) && !is_isolated(o);
}

demand *demand_of(const manta_options *o, const char *what, bool is_actor)
{
    demand wanted, *d;
    demand **place = &usual[is_actor];
    bool is_plain = is_usual(o);
    if (is_plain && (d = __atomic_load_n(place, __ATOMIC_ACQUIRE))) return d;
    if (!read_demand(is_plain ? NULL : o, what, is_actor, &wanted)) return NULL;
    d = find_or_add(&wanted, what);
    if (is_plain) __atomic_store_n(place, d, __ATOMIC_RELEASE);
    return d;
}

demand *demand_again(const manta_options *o, const char *what)
{
    demand wanted;
    if (!read_demand(o, what, false, &wanted)) return NULL;
    wanted.is_again = true;
    return find_or_add(&wanted, what);
}

demand *demand_of_actor(const manta_options *given, const manta_class *cls)
{
    manta_options o = {.size = 0};
    if (!cls->options.isolated || is_isolated(given)) return demand_of(given, cls->name, true);
    if (given) memcpy(&o, given, given->size && given->size < sizeof o ? given->size : sizeof o);
    o.size = sizeof o;
    o.isolated = true;
    return demand_of(&o, cls->name, true);
}

uint64_t demand_new_id(const demand *d) { return (uint64_t)d->index << ID_BITS | os_random_u64() >> (64 - ID_BITS); }

demand *demand_of_index(uint64_t i) { return i <= DEMANDS_LIMIT ? by_index[i] : NULL; }

demand *demand_of_id(uint64_t lease) { return demand_of_index(lease >> ID_BITS); }

void demands_free(void)
{
    memset(by_index, 0, sizeof by_index);
    while (owner_demands) {
        demand *next = owner_demands->next;
        base_free(owner_demands);
        owner_demands = next;
    }
    memset(usual, 0, sizeof usual);
    count = 0;
}
