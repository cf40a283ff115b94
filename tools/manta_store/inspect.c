/* manta-store inspect: what is in a store, who holds it, what lies on disk. */
#include <inttypes.h>

#include "tools/manta_store/objects.h"
#include "tools/manta_store/tool.h"

static struct {
    bool objects, json;
    uint64_t order, limit;
} given;

/* ---- as tables ---- */

static void print_spill(const store_info *i)
{
    char disk[TEXT_BYTES], live[TEXT_BYTES], limit[TEXT_BYTES], path[sizeof i->spill_path];
    if (!*i->spill_path) {
        printf("  Spill          nothing is spilled: the store has no directory on disk\n");
        return;
    }
    bool has_limit = i->spill_limit_bytes && i->spill_limit_bytes != UINT64_MAX;
    printf("  Spill          %s on disk, %s of it in use, %" PRIu64 " files, limit %s, in %s\n", text_size(i->spill_disk_bytes, disk),
        text_size(i->spill_live_bytes, live), i->spill_files, has_limit ? text_size(i->spill_limit_bytes, limit) : "none",
        text_plain(i->spill_path, path, sizeof path));
}

static void print_room(const store_info *i)
{
    char a[TEXT_BYTES], b[TEXT_BYTES];
    printf("  Capacity       %s\n", text_size(i->capacity_bytes, a));
    printf("  Used           %s, %u %%\n", text_size(i->used_bytes, a), text_percent(i->used_bytes, i->capacity_bytes));
    printf("  Free           %s, largest part %s\n", text_size(i->capacity_bytes - i->used_bytes, a), text_size(i->largest_free_bytes, b));
    printf("  Slabs          %s for small objects, %s of it free\n", text_size(i->slab_bytes, a), text_size(i->slab_free_bytes, b));
    printf("  Index          %s\n", text_size(i->index_bytes, a));
}

static void print_totals(const store_info *i)
{
    char bytes[TEXT_BYTES], path[sizeof i->path];
    printf("Store %s, version %" PRIu32 "\n", text_plain(i->path, path, sizeof path), i->version);
    print_room(i);
    printf("  Objects        %" PRIu64 " of %" PRIu32 ": %" PRIu64 " sealed, %" PRIu64 " creating, %" PRIu64 " pending, %" PRIu64
           " spilled\n",
        i->objects, i->max_objects, i->sealed, i->creating, i->pending, i->spilled);
    printf("  Object bytes   %s in memory\n", text_size(i->object_bytes, bytes));
    print_spill(i);
    printf("  Since made     %" PRIu64 " puts, %" PRIu64 " gets, %" PRIu64 " frees, %" PRIu64 " dead processes cleared away\n", i->puts,
        i->gets, i->frees, i->reaped);
    printf("                 %" PRIu64 " spills, %" PRIu64 " restores, %" PRIu64 " evictions without a write, %" PRIu64 " compactions\n",
        i->spills, i->restores, i->evictions_clean, i->compactions);
}

static void print_process(const store_process *p)
{
    char held[TEXT_BYTES], pinned[TEXT_BYTES], attached[TEXT_BYTES], name[TEXT_PLAIN_BYTES];
    printf("  %2" PRIu32 " %8d  %-24s %-5s %-6s %10s %10" PRIu64 " %10s %10s\n", p->index, p->pid, text_plain(p->name, name, sizeof name),
        p->is_node ? "node" : "-", p->alive ? "alive" : "dead", text_time(p->attached_ms, attached), p->held_objects,
        text_size(p->held_bytes, held), text_size(p->pinned_bytes, pinned));
}

static void print_processes(const store_info *i)
{
    printf("\nProcesses (%" PRIu32 ")\n", i->processes);
    if (!i->processes) return;
    printf(
        "  %2s %8s  %-24s %-5s %-6s %10s %10s %10s %10s\n", "#", "PID", "NAME", "ROLE", "STATE", "ATTACHED", "OBJECTS", "HELD", "PINNED");
    for (uint32_t n = 0; n < i->processes; n++) print_process(&i->process[n]);
}

/* ---- as JSON ---- */

static void json_room(json *j, const store_info *i)
{
    json_number(j, "capacity_bytes", i->capacity_bytes);
    json_number(j, "used_bytes", i->used_bytes);
    json_number(j, "largest_free_bytes", i->largest_free_bytes);
    json_number(j, "slab_bytes", i->slab_bytes);
    json_number(j, "slab_free_bytes", i->slab_free_bytes);
    json_number(j, "index_bytes", i->index_bytes);
    json_open(j, "objects", '{');
    json_number(j, "total", i->objects);
    json_number(j, "max", i->max_objects);
    json_number(j, "sealed", i->sealed);
    json_number(j, "creating", i->creating);
    json_number(j, "pending", i->pending);
    json_number(j, "spilled", i->spilled);
    json_number(j, "bytes", i->object_bytes);
    json_close(j, '}');
}

static void json_spill(json *j, const store_info *i)
{
    json_open(j, "spill", '{');
    if (*i->spill_path) json_text(j, "path", i->spill_path);
    else json_null(j, "path");
    json_number(j, "disk_bytes", i->spill_disk_bytes);
    json_number(j, "live_bytes", i->spill_live_bytes);
    if (i->spill_limit_bytes && i->spill_limit_bytes != UINT64_MAX) json_number(j, "limit_bytes", i->spill_limit_bytes);
    else json_null(j, "limit_bytes");
    json_number(j, "files", i->spill_files);
    json_close(j, '}');
}

static void json_counts(json *j, const store_info *i)
{
    json_open(j, "counts", '{');
    json_number(j, "puts", i->puts);
    json_number(j, "gets", i->gets);
    json_number(j, "frees", i->frees);
    json_number(j, "spills", i->spills);
    json_number(j, "restores", i->restores);
    json_number(j, "evictions_clean", i->evictions_clean);
    json_number(j, "compactions", i->compactions);
    json_number(j, "reaped", i->reaped);
    json_close(j, '}');
}

static void json_process(json *j, const store_process *p)
{
    json_open(j, NULL, '{');
    json_number(j, "index", p->index);
    json_number(j, "pid", (uint64_t)p->pid);
    json_text(j, "name", p->name);
    json_bool(j, "is_node", p->is_node);
    json_bool(j, "alive", p->alive);
    json_number(j, "attached_ms", p->attached_ms);
    json_number(j, "held_objects", p->held_objects);
    json_number(j, "held_bytes", p->held_bytes);
    json_number(j, "pinned_bytes", p->pinned_bytes);
    json_close(j, '}');
}

static void write_json(const store_info *i, const objects *list)
{
    json j = {.out = stdout};
    json_open(&j, NULL, '{');
    json_text(&j, "path", i->path);
    json_number(&j, "version", i->version);
    json_text(&j, "boot_id", i->boot_id);
    json_room(&j, i);
    json_spill(&j, i);
    json_counts(&j, i);
    json_open(&j, "processes", '[');
    for (uint32_t n = 0; n < i->processes; n++) json_process(&j, &i->process[n]);
    json_close(&j, ']');
    if (given.objects) objects_json(list, &j, "object_list");
    json_close(&j, '}');
}

/* ---- the command ---- */

static void print(const store_info *i, const objects *list)
{
    print_totals(i);
    print_processes(i);
    if (given.objects) objects_print(list, i);
}

static int inspect(int n, char **arguments)
{
    static store_info info;
    (void)n;
    objects list = {.order = (objects_order)given.order, .limit = given.limit};
    store *s = tool_open(arguments[0], STORE_INSPECT);
    if (!s) return TOOL_WRONG;
    manta_status status = store_stat(s, &info);
    if (status) tool_fail("%s", store_error());
    else if (given.objects && (status = objects_read(s, &list))) tool_fail("%s: %s", arguments[0], manta_status_text(status));
    else if (given.json) write_json(&info, &list);
    else print(&info, &list);
    objects_free(&list);
    store_close(s);
    return status ? TOOL_WRONG : TOOL_OK;
}

static const tool_option options[] = {
    {.name = "objects", .kind = TOOL_FLAG, .to = &given.objects, .help = "each object, too"},
    {.name = "sort", .kind = TOOL_CHOICE, .to = &given.order, .value = "size|age|holders", .help = "which objects come first (size)"},
    {.name = "limit", .kind = TOOL_NUMBER, .to = &given.limit, .value = "N", .help = "so many objects at most (0: all)", .max = UINT32_MAX},
    {.name = "json", .kind = TOOL_FLAG, .to = &given.json, .help = "JSON; sizes in bytes"},
};

const tool_command store_command_inspect = {.name = "inspect",
    .arguments = "PATH",
    .summary = "shows room, objects by state, processes and spilling",
    .more = "PATH is the store's directory. Nobody is disturbed: the store is only read, also one whose processes are dead.",
    .least = 1,
    .most = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = inspect};
