/* The list of objects. With a limit, no more than twice as many are in memory at a time. */
#include "tools/manta_store/objects.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/base/alloc.h"

/* ---- reading and sorting ---- */

static int descending(uint64_t a, uint64_t b) { return a < b ? 1 : a > b ? -1 : 0; }
static int earlier(const store_object *a, const store_object *b) { return descending(b->id.word[1], a->id.word[1]); }

static int by_size(const void *a_, const void *b_)
{
    const store_object *a = a_, *b = b_;
    int order = descending(a->size_bytes, b->size_bytes);
    return order ? order : earlier(a, b);
}

static int by_age(const void *a_, const void *b_)
{
    const store_object *a = a_, *b = b_;
    int order = descending(a->age_ms, b->age_ms);
    return order ? order : earlier(a, b);
}

static int by_holders(const void *a_, const void *b_)
{
    const store_object *a = a_, *b = b_;
    int order = descending((uint64_t)__builtin_popcountll(a->holders), (uint64_t)__builtin_popcountll(b->holders));
    return order ? order : by_size(a, b);
}

static void sort(objects *list)
{
    static int (*const orders[])(const void *, const void *) = {by_size, by_age, by_holders};
    if (list->n) qsort(list->row, list->n, sizeof *list->row, orders[list->order]);
    if (list->limit && list->n > list->limit) list->n = (size_t)list->limit;
}

static manta_status make_room(objects *list)
{
    enum { FIRST = 1024 };
    if (list->n < list->room) return MANTA_OK;
    if (list->limit && list->n >= FIRST && list->n / 2 >= list->limit) {
        sort(list);
        return MANTA_OK;
    }
    size_t room = list->room ? 2 * list->room : FIRST;
    store_object *row = base_realloc(list->row, room * sizeof *row);
    if (!row) return MANTA_ENOMEM;
    list->row = row;
    list->room = room;
    return MANTA_OK;
}

manta_status objects_read(store *s, objects *list)
{
    uint64_t cursor = 0;
    for (;;) { /* the cursor only grows: as many rounds as the store's table has places */
        manta_status status = make_room(list);
        if (!status) status = store_next(s, &cursor, &list->row[list->n]);
        if (status == MANTA_EEND) break;
        if (status) return status;
        list->n++;
        list->seen++;
    }
    sort(list);
    return MANTA_OK;
}

void objects_free(objects *list)
{
    base_free(list->row);
    *list = (objects){0};
}

/* ---- words ---- */

static const char *state_name(store_state state)
{
    static const char *const names[] = {[STORE_FREE] = "free",
        [STORE_PENDING] = "pending",
        [STORE_CREATING] = "creating",
        [STORE_SEALED] = "sealed",
        [STORE_SPILLED] = "spilled",
        [STORE_MOVING] = "moving",
        [STORE_DYING] = "dying"};
    return (size_t)state < sizeof names / sizeof *names ? names[state] : "?";
}

const char *objects_process_name(const store_info *info, uint32_t index, char out[TEXT_PLAIN_BYTES])
{
    char name[TEXT_PLAIN_BYTES - 16] = "gone";
    for (uint32_t i = 0; i < info->processes; i++)
        if (info->process[i].index == index) text_plain(info->process[i].name, name, sizeof name);
    snprintf(out, TEXT_PLAIN_BYTES, "%s#%" PRIu32, name, index);
    return out;
}

static const char *holder_names(const store_info *info, uint64_t holders, char *out, size_t size)
{
    char name[TEXT_PLAIN_BYTES];
    size_t n = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < STORE_PROCESSES && n < size; i++)
        if (holders >> i & 1) n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "," : "", objects_process_name(info, i, name));
    return *out ? out : "-";
}

/* "held 2, pinned 1, inside 3": by how many processes and objects */
static const char *references(const store_object *o, char out[64])
{
    unsigned count[3] = {(unsigned)__builtin_popcountll(o->holders), (unsigned)__builtin_popcountll(o->pins), o->inside};
    static const char *const names[] = {"held", "pinned", "inside"};
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < 3; i++)
        if (count[i]) n += (size_t)snprintf(out + n, 64 - n, "%s%s %u", n ? ", " : "", names[i], count[i]);
    return *out ? out : "none";
}

/* ---- as a table ---- */

static void print_object(const store_object *o, const store_info *info)
{
    char id[TEXT_ID_BYTES], size[TEXT_BYTES], age[TEXT_BYTES], kinds[64], owner[TEXT_PLAIN_BYTES], site[TEXT_PLAIN_BYTES];
    char holders[STORE_PROCESSES * 40];
    printf("  %-22s %-8s %10s %9s  %-26s %-14s %-22s %s\n", text_id(o->id, id), o->failed ? "failed" : state_name(o->state),
        text_size(o->size_bytes, size), text_time(o->age_ms, age), references(o, kinds), objects_process_name(info, o->owner, owner),
        holder_names(info, o->holders, holders, sizeof holders), *o->site ? text_plain(o->site, site, sizeof site) : "-");
}

void objects_print(const objects *list, const store_info *info)
{
    static const char *const orders[] = {"largest", "oldest", "most held"};
    printf("\nObjects (%zu of %" PRIu64 ", %s first)\n", list->n, list->seen, orders[list->order]);
    if (!list->n) return;
    printf("  %-22s %-8s %10s %9s  %-26s %-14s %-22s %s\n", "ID", "STATE", "SIZE", "AGE", "REFERENCES", "OWNER", "HOLDERS", "CALL SITE");
    for (size_t i = 0; i < list->n; i++) print_object(&list->row[i], info);
}

/* ---- as JSON ---- */

static void json_bits(json *j, const char *key, uint64_t bits)
{
    json_open(j, key, '[');
    for (uint32_t i = 0; i < STORE_PROCESSES; i++)
        if (bits >> i & 1) json_number(j, NULL, i);
    json_close(j, ']');
}

static void json_object(json *j, const store_object *o)
{
    char id[TEXT_ID_BYTES];
    json_open(j, NULL, '{');
    json_text(j, "id", text_id(o->id, id));
    json_text(j, "state", state_name(o->state));
    json_bool(j, "failed", o->failed);
    json_number(j, "size_bytes", o->size_bytes);
    json_number(j, "room_bytes", o->room_bytes);
    json_bool(j, "in_slab", o->in_slab);
    if (o->offset == UINT64_MAX) json_null(j, "offset");
    else json_number(j, "offset", o->offset);
    if (o->spill_file) json_number(j, "spill_file", o->spill_file);
    else json_null(j, "spill_file");
    json_number(j, "owner", o->owner);
    json_bits(j, "holders", o->holders);
    json_bits(j, "pinned_by", o->pins);
    json_number(j, "inside", o->inside);
    json_number(j, "age_ms", o->age_ms);
    json_text(j, "call_site", o->site);
    json_close(j, '}');
}

void objects_json(const objects *list, json *j, const char *key)
{
    json_open(j, key, '[');
    for (size_t i = 0; i < list->n; i++) json_object(j, &list->row[i]);
    json_close(j, ']');
}
