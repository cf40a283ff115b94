#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/node/crash.h"
#include "scheduler/base/check.h"
#include "scheduler/os/os_file.h"

enum { REPORT_BYTES_MOST = 256 << 10, LINE_MOST = 1000 };

/* ---- reading ---- */

static bool begins(const char *line, const char *with) { return strncmp(line, with, strlen(with)) == 0; }

/* One word, of letters that do no harm on a terminal. */
static void read_word(const char *from, char *out, size_t room)
{
    size_t n = 0;
    while (n + 1 < room && isgraph((unsigned char)from[n])) out[n] = from[n], n++;
    out[n] = 0;
}

static void read_signal(const char *text, crash *c)
{
    unsigned long long number = 0, code = 0, address = 0;
    if (sscanf(text, "%llx %llx %llx", &number, &code, &address) != 3 || number > 64) return;
    c->signal = (int)number;
    c->address = address;
}

/* "from-to r-xp offset device inode path": the frames within get module and offset. */
static void read_map(const char *text, crash *c)
{
    unsigned long long from = 0, to = 0, offset = 0;
    int path = 0;
    if (sscanf(text, "%llx-%llx %*4s %llx %*15s %*20s %n", &from, &to, &offset, &path) < 3 || !path) return;
    for (uint32_t i = 0; i < c->n_frames; i++) {
        crash_frame *f = &c->frames[i];
        if (f->module[0] || f->address < from || f->address >= to) continue;
        f->offset = f->address - from + offset;
        snprintf(f->module, sizeof f->module, "%s", text + path);
        for (char *at = f->module; *at; at++)
            if (!isprint((unsigned char)*at)) *at = '?';
    }
}

static void read_frame(const char *text, crash *c)
{
    char *end = NULL;
    uint64_t address = strtoull(text, &end, 16);
    if (end == text || c->n_frames == CRASH_FRAMES) return;
    c->frames[c->n_frames++].address = address;
}

static void read_line(const char *line, bool of_maps, crash *c)
{
    if (begins(line, "map ") != of_maps) return;
    if (of_maps) read_map(line + 4, c);
    else if (begins(line, "signal ")) read_signal(line + 7, c);
    else if (begins(line, "class ")) read_word(line + 6, c->class_name, sizeof c->class_name);
    else if (begins(line, "method ")) read_word(line + 7, c->method, sizeof c->method);
    else if (begins(line, "actor ")) read_word(line + 6, c->actor, sizeof c->actor);
    else if (begins(line, "frame ")) read_frame(line + 6, c);
}

/* The mappings come before the frames: twice over it. */
void crash_read(const char *text, size_t bytes, crash *c)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t at = 0; at < bytes;) {
            char line[LINE_MOST];
            const char *end = memchr(text + at, '\n', bytes - at);
            size_t n = end ? (size_t)(end - text) - at : bytes - at, kept = n < sizeof line - 1 ? n : sizeof line - 1;
            memcpy(line, text + at, kept);
            line[kept] = 0;
            read_line(line, pass == 1, c);
            at += n + 1;
        }
}

void crash_read_file(int fd, crash *c)
{
    uint64_t bytes = 0;
    char *text = base_calloc(1, REPORT_BYTES_MOST + 1);
    if (text && !os_file_size(fd, &bytes) && bytes) {
        size_t n = bytes < REPORT_BYTES_MOST ? (size_t)bytes : REPORT_BYTES_MOST;
        if (!os_file_read(fd, text, n, 0)) crash_read(text, strnlen(text, n), c);
    }
    base_free(text);
}

/* ---- saying ---- */

const char *signal_name(int number)
{
    static _Thread_local char other[24];
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGILL, "SIGILL"}, {SIGFPE, "SIGFPE"}, {SIGABRT, "SIGABRT"},
        {SIGKILL, "SIGKILL"}, {SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}, {SIGPIPE, "SIGPIPE"}, {SIGSYS, "SIGSYS"}, {SIGTRAP, "SIGTRAP"},
        {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGHUP, "SIGHUP"}, {SIGQUIT, "SIGQUIT"}, {SIGALRM, "SIGALRM"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == number) return names[i].name;
    snprintf(other, sizeof other, "signal %d", number);
    return other;
}

void crash_text(const crash *c, char *out, size_t room)
{
    bool is_task = strcmp(c->class_name, "task") == 0, known = c->method[0];
    size_t n = (size_t)(c->signal ? snprintf(out, room, "worker %u died by %s", c->pid, signal_name(c->signal))
                                  : snprintf(out, room, "worker %u ended with exit code %d", c->pid, c->exit_code));
    if (known && n < room)
        n += (size_t)snprintf(out + n, room - n, " in %s%s%s", is_task ? "task " : c->class_name, is_task ? "" : ".", c->method);
    if (c->reason[0] && n < room) snprintf(out + n, room - n, ": %s", c->reason);
}
