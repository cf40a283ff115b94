/*
 * Ends of worker processes: what the dying one writes (last_words.c), what its daemon makes of it (crash_report.c, crash_symbols.c) and keeps (crash_list.c), and how those learn of it whose calls failed by it (mourn.c).
 */
#ifndef MANTA_NODE_CRASH_H
#define MANTA_NODE_CRASH_H

#include "actor/node/node.h"

enum { CRASH_FRAMES = 20, CRASH_FD = 3, CRASH_TEXT = 400, CRASHES_KEPT = 256, MOURN_MS = 100 };

typedef struct crash_frame {
    uint64_t address, offset; /* offset: in the module's file, which addr2line -e takes; 0: in none */
    char module[256], function[128];
    uint64_t function_offset;
} crash_frame;

typedef struct crash {
    uint64_t number, job, ended_ms; /* ended_ms: of the real-time clock */
    uint32_t pid;
    int signal, exit_code; /* signal 0: exit_code */
    uint64_t address;
    char program[64], class_name[128], method[128], actor[40];
    char reason[160]; /* why this node ended it, or what else is known */
    uint32_t n_frames;
    crash_frame frames[CRASH_FRAMES];
} crash;

/* ---- last_words.c: in a worker ---- */
void last_words_prepare(void); /* before the first thread is made; does nothing elsewhere than in a worker process of a daemon */

/* ---- crash_report.c ---- */
/* Reads what was written into the fields signal .. frames; whatever the text is. */
void crash_read(const char *text, size_t bytes, crash *out);
void crash_read_file(int fd, crash *out);
/* "worker 12 died by SIGSEGV in Counter.increment", "worker 12 ended with exit code 3" ... */
void crash_text(const crash *c, char *out, size_t room);
const char *signal_name(int number); /* "signal N" for others; static, of the thread */

/* ---- crash_symbols.c ---- */
/* The function that has this offset of an ELF file, whatever the file holds. False: none is known. */
bool symbol_find(const char *path, uint64_t file_offset, char *out, size_t room, uint64_t *out_offset);
void crash_symbolise(crash *c);

/* ---- crash_list.c: in a daemon; any thread ---- */
void crashes_candidate(const crash *c); /* it is not yet known whether the end was wanted */
void crashes_frames(const crash *c);    /* its frames have got names */
/* Keeps it, under the next number, with its job's; the text about it, with where to look, in out. */
void crashes_keep(uint32_t pid, uint64_t job, const char *program, char *out, size_t room);
void crashes_drop(uint32_t pid);
void crashes_clear(void);
struct report;
void crashes_rows(struct report *r, bool with_frames);

/* ---- mourn.c: in a process of a job ---- */
/* The end of a process has been explained. */
void mourn_told(worker *w, uint64_t process, const char *text);
/* Fails the calls to a process that is gone, and ends the relations with its actors: when the explanation comes, which is MOURN_MS later at most. */
void mourn(worker *w, peer *p, const char *reason);
void mourn_stop(worker *w);

#endif
