/*
 * A tool with subcommands: a table of commands, each with a table of options, from which parsing, errors and --help follow.
 *
 * Exit codes: 0 fine, 1 something is wrong (a line on standard error says what), 2 wrong usage. One thread.
 */
#ifndef MANTA_TOOLS_STORE_TOOL_H
#define MANTA_TOOLS_STORE_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "objstore/store.h"

enum { TOOL_OK = 0, TOOL_WRONG = 1, TOOL_USAGE = 2 };

typedef enum tool_kind {
    TOOL_FLAG,   /* `to` is a bool */
    TOOL_NUMBER, /* `to` is a uint64_t, from min to max */
    TOOL_CHOICE  /* `to` is a uint64_t: which of the words in `value`, "size|age", from 0 */
} tool_kind;

typedef struct tool_option {
    const char *name; /* without the dashes */
    tool_kind kind;
    void *to;          /* holds the default before */
    const char *value; /* what --help calls it */
    const char *help;
    uint64_t min, max;
} tool_option;

typedef struct tool_command {
    const char *name, *arguments, *summary;
    const char *more; /* further lines of --help, or NULL */
    int least, most;  /* arguments that are no options */
    const tool_option *options;
    size_t n_options;
    int (*run)(int n, char **arguments); /* an exit code */
} tool_command;

/* Finds the command that argv[1] names, parses what follows and runs it. The exit code also tells of output that could not be written. */
int tool_main(const char *program, const tool_command *const *commands, size_t n, int argc, char **argv);

/* A line "program: ..." on standard error. Gives TOOL_WRONG. */
int tool_fail(const char *format, ...) MANTA_PRINTF(1, 2);

/* NULL: a line on standard error says why. */
store *tool_open(const char *path, store_mode mode);
/* Like STORE_ATTACH, but refuses a store that no living process uses: the first to attach frees what dead processes held. */
store *tool_attach(const char *path, const char *name);

uint32_t tool_living(const store_info *info); /* processes */
void tool_sleep_until(uint64_t monotonic_ns);

/* The table for manta-store, which another tool may take in as well. */
extern const tool_command store_command_inspect, store_command_verify, store_command_watch, store_command_put, store_command_get,
    store_command_destroy;

#endif
