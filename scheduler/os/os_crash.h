/*
 * Last words of a process: when a thread of it dies by a fault or an abort, a report is written to a file that somebody else reads afterwards, and the default action follows.
 *
 * For worker processes only: a program that embeds Manta keeps its signal handlers. The report is text, a line a fact: "signal N CODE ADDRESS", what `describe` writes, "frame ADDRESS" from the innermost outwards,
 * "map ..." for each executable mapping (a line of /proc/self/maps), "end". One that breaks off is still worth reading. Everything in the handler is async-signal-safe but backtrace(), which is
 * loaded beforehand and comes last; should it hang or fault, the process dies all the same within OS_CRASH_SECONDS.
 */
#ifndef MANTA_OS_CRASH_H
#define MANTA_OS_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OS_CRASH_FRAMES = 64, OS_CRASH_SECONDS = 2, OS_CRASH_STACK = 64 << 10 };

/* Handles SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT from now on; threads that os_thread_start makes later, and this one, get a stack for it. fd: a file that can be written and read at any
 * offset; stays open. describe: runs in the handler, calls os_crash_put only; may be NULL. An errno value. */
int os_crash_start(int fd, void (*describe)(void));
bool os_crash_thread_begin(void); /* the stack of the calling thread; true also when nothing is to be done; false: no memory */
void os_crash_thread_end(void);

/* ---- in the handler ---- */
void os_crash_put(const char *text);
void os_crash_put_hex(uint64_t number);
bool os_crash_copy(void *to, const void *from, size_t size_bytes);       /* from anywhere; false: there is no such memory */
void os_crash_copy_text(char *to, size_t room, const char *from_or_not); /* printable characters up to the first other one */

#endif
