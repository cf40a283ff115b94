/*
 * The node's side of spilling: its directory, what earlier nodes left there, compaction, and the text that says who fills the store.
 *
 * Each store has a directory of its own below spill_path, "manta-<salt>", with a lock file that its node holds. A node that starts removes the directories whose lock is free.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objstore/spill_index.h"

enum { LEFTOVERS_LIMIT = 10000 };

/* ---- removing ---- */

static bool remove_one(uint64_t file_id, void *context)
{
    spill_place place = *(spill_place *)context;
    char text[SPILL_TEXT_LIMIT];
    place.file_id = file_id;
    (void)spill_file_remove(place, text);
    return true;
}

static void remove_directory(const char *directory)
{
    char text[SPILL_TEXT_LIMIT], lock[700];
    spill_place place = {directory, 0, 0};
    (void)spill_file_list(directory, remove_one, &place, text);
    snprintf(lock, sizeof lock, "%s/lock", directory);
    (void)os_file_remove(lock);
    (void)os_directory_remove(directory);
}

static int lock_directory(const char *directory, int *out_fd)
{
    char path[700];
    snprintf(path, sizeof path, "%s/lock", directory);
    int error = os_file_open(path, OS_WRITE | OS_CREATE, out_fd);
    return error ? error : os_file_try_lock(*out_fd, 0);
}

static bool remove_leftover(const char *name, void *context)
{
    char path[640];
    int fd = -1;
    if (strncmp(name, "manta-", 6) != 0 || strlen(name) != 14) return true;
    snprintf(path, sizeof path, "%.511s/%.20s", (const char *)context, name);
    if (lock_directory(path, &fd) == 0) remove_directory(path);
    os_file_close(fd);
    return true;
}

/* ---- the node starts ---- */

static bool add_bytes(uint32_t file_id, const file_record *r, void *context)
{
    (void)file_id;
    *(uint64_t *)context += r->bytes;
    return true;
}

typedef struct stray {
    store *store;
    spill_place place;
} stray;

static bool same_file(uint32_t file_id, const file_record *r, void *context)
{
    (void)r;
    uint64_t *wanted = context;
    if (file_id != *wanted) return true;
    *wanted = UINT64_MAX;
    return false;
}

static bool remove_stray(uint64_t file_id, void *context)
{
    stray *x = context;
    uint64_t wanted = file_id;
    if (files_walk(x->store, same_file, &wanted) == MANTA_OK && wanted != UINT64_MAX) (void)remove_one(file_id, &x->place);
    return true;
}

manta_status spill_adopt(store *s, const char *parent)
{
    char text[SPILL_TEXT_LIMIT];
    uint64_t bytes = 0;
    control *c = s->control;
    snprintf(c->spill_path, sizeof c->spill_path, "%s/manta-%08llx", parent, (unsigned long long)c->salt);
    int error = os_directory_make(c->spill_path);
    if (!error) error = lock_directory(c->spill_path, &s->spill_lock_fd);
    if (error) {
        store_fail_(MANTA_EIO, "%s: cannot be used: %s", c->spill_path, strerror(error));
        c->spill_path[0] = 0;
        return MANTA_EIO;
    }
    (void)os_directory_list(parent, remove_leftover, (void *)(uintptr_t)parent);
    stray x = {s, {c->spill_path, c->salt, 0}};
    (void)spill_file_list(c->spill_path, remove_stray, &x, text);
    manta_status status = files_walk(s, add_bytes, &bytes);
    store_seq(&c->spill_disk_bytes, bytes);
    return status;
}

void spill_wipe(const char *path)
{
    char file[600];
    int fd = -1;
    control c;
    snprintf(file, sizeof file, "%s/control", path);
    int error = os_file_open(file, OS_READ, &fd);
    if (!error) error = os_file_read(fd, &c, sizeof c, 0);
    os_file_close(fd);
    if (error || memcmp(c.magic, "MANTAOBJ", 8) != 0 || c.version != LAYOUT_VERSION) return;
    c.spill_path[sizeof c.spill_path - 1] = 0;
    const char *last = strrchr(c.spill_path, '/');
    if (last && strncmp(last, "/manta-", 7) == 0) remove_directory(c.spill_path);
}

/* ---- compaction ---- */

typedef struct wanted_file {
    uint32_t id;
    bool found;
} wanted_file;

static bool mostly_dead(uint32_t file_id, const file_record *r, void *context)
{
    wanted_file *w = context;
    enum { COMPACT_FROM = 1 << 20 };
    if (r->writer || r->live_bytes >= r->bytes / 2 || r->bytes < COMPACT_FROM) return true;
    *w = (wanted_file){file_id, true};
    return false;
}

typedef struct living {
    uint32_t file_id;
    uint64_t sequence;
    spilled_record record;
    bool found;
} living;

static bool in_file(uint64_t sequence, const spilled_record *r, void *context)
{
    living *l = context;
    if (r->file_id != l->file_id) return true;
    l->sequence = sequence;
    l->record = *r;
    l->found = true;
    return false;
}

static bool move_next(store *s, uint32_t file_id)
{
    living l = {.file_id = file_id};
    if (spilled_walk(s, in_file, &l) || !l.found) return false;
    void *data = base_alloc(l.record.size_bytes + l.record.trailer_bytes);
    manta_status status = data ? spill_copy(s, l.sequence, &l.record, data) : MANTA_ENOMEM;
    base_free(data);
    return status == MANTA_OK;
}

void spill_compact(store *s)
{
    for (int i = 0; i < LEFTOVERS_LIMIT && !load_seq(&s->stopping); i++) {
        wanted_file w = {0};
        if (files_walk(s, mostly_dead, &w) || !w.found) return;
        int moved = 0;
        while (moved < LEFTOVERS_LIMIT * 100 && move_next(s, w.id)) moved++;
        add_relaxed(&s->control->compactions, 1);
        file_record left;
        if (spill_index_file(s, w.id, &left) == MANTA_OK && left.objects) return; /* it could not be emptied: another time */
    }
}

/* ---- who fills it ---- */

void spill_who_holds(store *s, char *text, size_t size)
{
    store_info *info = base_alloc(sizeof *info);
    size_t used = 0;
    text[0] = 0;
    if (!info) return;
    if (store_stat(s, info) == MANTA_OK) {
        used += (size_t)snprintf(text, size, "; %llu objects", (unsigned long long)info->objects);
        for (uint32_t i = 0; i < info->processes && used < size; i++) {
            const store_process *p = &info->process[i];
            if (!p->held_objects) continue;
            used += (size_t)snprintf(text + used, size - used, ", process %d %s holds %llu (%llu bytes, %llu pinned)", p->pid, p->name,
                (unsigned long long)p->held_objects, (unsigned long long)p->held_bytes, (unsigned long long)p->pinned_bytes);
        }
    }
    base_free(info);
}
