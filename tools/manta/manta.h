/*
 * The parts of the command `manta`.
 */
#ifndef MANTA_TOOLS_MANTA_H
#define MANTA_TOOLS_MANTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

int wrong_usage(const char *format, const char *what); /* prints it; returns 2 */
int command_start(int argc, char **argv);              /* arguments behind the command; exit codes */
int command_status(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_run(int argc, char **argv);
int command_kv(int argc, char **argv);
int command_lock(int argc, char **argv);
int command_list(int argc, char **argv);
int command_get(int argc, char **argv);
int command_summary(int argc, char **argv);
int command_memory(int argc, char **argv);
int command_stack(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_timeline(int argc, char **argv);
int command_kill(int argc, char **argv);
int command_module(int argc, char **argv);
int command_config(int argc, char **argv);
int command_keygen(int argc, char **argv);
int module_drive(int argc, char **argv); /* manta run MODULE */

/* Takes --address from the front of the arguments; else the last daemon. *argc, *argv: what is left. Not 0: an exit code. */
int take_address(const char *command, int *argc, char ***argv, char *out, size_t room);

/* ---- help.c: all commands ---- */
typedef struct tool_command {
    const char *name;
    int (*run)(int argc, char **argv);
    bool is_client; /* asks a daemon, with a system of its own */
    const char *arguments, *brief, *details;
} tool_command;
const tool_command *command_find(const char *name); /* NULL: there is none */
bool is_help(const char *argument);
void help_all(FILE *to);
void help_one(const tool_command *c);

/* ---- daemons.c: the daemons of this user on this machine, a file for each with its address ---- */
const char *manta_directory(void); /* MANTA_DIRECTORY or /tmp/manta-UID, made when missing; NULL: cannot be made */
bool daemon_note(const char *address);
void daemon_forget(void);
/* Calls visit for each that lives, the last started first, until it returns false. */
void daemons_each(bool (*visit)(int pid, const char *address, void *context), void *context);
bool daemon_last(char *out_address, size_t room);

/* ---- discover.c: clusters of a LAN by name ---- */
enum { DISCOVER_NAME = 64 };
bool discover_name_is_valid(const char *name);                 /* 1 to DISCOVER_NAME letters, digits, - _ . */
bool discover_announce(const char *name, const char *address); /* from now on, until discover_end; false: no network broadcasts */
void discover_end(void);
bool discover_find(const char *name, char *out, size_t room); /* the address of one of its daemons; waits, 3 s at most */

/* ---- node_store.c: the object store of a daemon ---- */
void node_store_path(int pid, char *out, size_t room);
uint64_t node_store_bytes(void); /* how large it shall be unless told otherwise; 0: there is no room for one */
void node_stores_clean(void);    /* removes those of this user's daemons that are gone */

#endif
