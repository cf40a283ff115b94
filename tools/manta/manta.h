/*
 * The parts of the command `manta`.
 */
#ifndef MANTA_TOOLS_MANTA_H
#define MANTA_TOOLS_MANTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int wrong_usage(const char *format, const char *what); /* prints it; returns 2 */
int command_start(int argc, char **argv);              /* arguments behind the command; exit codes */
int command_status(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_run(int argc, char **argv);
int command_kv(int argc, char **argv);
int command_lock(int argc, char **argv);
/* Takes --address from the front of the arguments; else the last daemon. *argc, *argv: what is left. Not 0: an exit code. */
int take_address(const char *command, int *argc, char ***argv, char *out, size_t room);

/* ---- daemons.c: the daemons of this user on this machine, a file for each with its address ---- */
const char *manta_directory(void); /* MANTA_DIRECTORY or /tmp/manta-UID, made when missing; NULL: cannot be made */
bool daemon_note(const char *address);
void daemon_forget(void);
/* Calls visit for each that lives, the last started first, until it returns false. */
void daemons_each(bool (*visit)(int pid, const char *address, void *context), void *context);
bool daemon_last(char *out_address, size_t room);

/* ---- node_store.c: the object store of a daemon ---- */
void node_store_path(int pid, char *out, size_t room);
uint64_t node_store_bytes(void); /* how large it shall be unless told otherwise; 0: there is no room for one */
void node_stores_clean(void);    /* removes those of this user's daemons that are gone */

#endif
