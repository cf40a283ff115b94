/*
 * The last CRASHES_KEPT ends of worker processes of this node that nobody wanted. An end is a candidate until MantaLeases says what it was.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "actor/node/crash.h"
#include "actor/node/raylet.h"
#include "actor/node/report.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static crash *kept[CRASHES_KEPT], *candidates[WORKERS_LIMIT];
static uint64_t count; /* numbers given; the last is in kept[(count - 1) % CRASHES_KEPT] */

/* Under the lock: where the candidate of that process is; of pid 0: a free place. */
static crash **place_of(uint32_t pid)
{
    for (int i = 0; i < WORKERS_LIMIT; i++)
        if (pid ? candidates[i] && candidates[i]->pid == pid : !candidates[i]) return &candidates[i];
    return NULL;
}

void crashes_candidate(const crash *c)
{
    crash *copy = base_alloc(sizeof *copy);
    pthread_mutex_lock(&lock);
    crash **at = copy ? place_of(c->pid) : NULL;
    if (copy && !at) at = place_of(0);
    if (at) {
        base_free(*at);
        *copy = *c;
        *at = copy;
    } else base_free(copy);
    pthread_mutex_unlock(&lock);
}

void crashes_frames(const crash *c)
{
    pthread_mutex_lock(&lock);
    crash **at = place_of(c->pid), *of = at ? *at : NULL;
    for (int i = 0; i < CRASHES_KEPT && !of; i++)
        if (kept[i] && kept[i]->pid == c->pid && kept[i]->ended_ms == c->ended_ms) of = kept[i];
    if (of) memcpy(of->frames, c->frames, sizeof of->frames);
    pthread_mutex_unlock(&lock);
}

void crashes_keep(uint32_t pid, uint64_t job, const char *program, char *out, size_t room)
{
    pthread_mutex_lock(&lock);
    crash **at = place_of(pid), *c = at ? *at : NULL;
    if (c) {
        crash **to = &kept[count % CRASHES_KEPT];
        *at = NULL;
        base_free(*to);
        *to = c;
        c->number = ++count;
        c->job = job;
        snprintf(c->program, sizeof c->program, "%s", program);
        crash_text(c, out, room);
        size_t n = strlen(out);
        snprintf(
            out + n, room - n, " (crash %" PRIu64 " on %s: manta get crash %" PRIu64 ")", c->number, manta_listen_address(0), c->number);
    } else snprintf(out, room, "worker %u ended", pid);
    pthread_mutex_unlock(&lock);
}

void crashes_drop(uint32_t pid)
{
    pthread_mutex_lock(&lock);
    crash **at = place_of(pid);
    if (at) {
        base_free(*at);
        *at = NULL;
    }
    pthread_mutex_unlock(&lock);
}

void crashes_clear(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < CRASHES_KEPT; i++) base_free(kept[i]);
    for (int i = 0; i < WORKERS_LIMIT; i++) base_free(candidates[i]);
    memset(kept, 0, sizeof kept);
    memset(candidates, 0, sizeof candidates);
    count = 0;
    pthread_mutex_unlock(&lock);
}

/* ---- rows ---- */

static void add_frames(report *r, const crash *c)
{
    for (uint32_t i = 0; i < c->n_frames; i++) {
        char key[24], text[480];
        const crash_frame *f = &c->frames[i];
        size_t n = 0;
        snprintf(key, sizeof key, "frame_%u", i);
        if (f->function[0]) n = (size_t)snprintf(text, sizeof text, "%s+0x%" PRIx64 " in ", f->function, f->function_offset);
        if (f->module[0]) snprintf(text + n, sizeof text - n, "%s+0x%" PRIx64, f->module, f->offset);
        else snprintf(text, sizeof text, "0x%" PRIx64, f->address);
        report_key(r, key, text);
    }
}

static void add_crash(report *r, const crash *c, bool with_frames)
{
    char text[64], how[CRASH_TEXT];
    time_t seconds = (time_t)(c->ended_ms / 1000);
    struct tm utc;
    snprintf(text, sizeof text, "%" PRIu64, c->number);
    report_text(r, "id", text);
    if (!gmtime_r(&seconds, &utc) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)) text[0] = 0;
    report_text(r, "time", text);
    report_number(r, "pid", c->pid);
    report_text(r, "program", c->program);
    report_text(r, "end", c->signal ? signal_name(c->signal) : "exit");
    report_number(r, "code", c->signal ? (uint64_t)c->signal : (uint64_t)(uint32_t)c->exit_code);
    report_text(r, "class", c->class_name);
    report_text(r, "method", c->method);
    report_text(r, "actor", c->actor);
    crash_text(c, how, sizeof how);
    report_text(r, "how", how);
    if (!with_frames) return;
    snprintf(text, sizeof text, "0x%" PRIx64, c->address);
    report_text(r, "address", text);
    snprintf(text, sizeof text, "%016" PRIx64, c->job);
    report_text(r, "job", text);
    add_frames(r, c);
}

void crashes_rows(report *r, bool with_frames)
{
    pthread_mutex_lock(&lock);
    for (uint64_t i = count > CRASHES_KEPT ? count - CRASHES_KEPT : 0; i < count; i++) {
        add_crash(r, kept[i % CRASHES_KEPT], with_frames);
        report_row_end(r);
    }
    pthread_mutex_unlock(&lock);
}
