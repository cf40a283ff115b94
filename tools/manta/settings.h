/*
 * Settings of a node daemon, from the same file as a program's (named node_*), the environment and the flags of `manta start`; each later one wins.
 */
#ifndef MANTA_TOOLS_SETTINGS_H
#define MANTA_TOOLS_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum node_setting {
    NODE_HEAD,
    NODE_LISTEN,
    NODE_DISCOVER,
    NODE_CORES,
    NODE_DIRECTORY,
    NODE_CACHE,
    NODE_STORE_BYTES,
    NODE_SPILL,
    NODE_STATE,
    NODE_VOTERS,
    NODE_FENCE_MS,
    NODE_RESOURCES,
    NODE_LABELS,
    NODE_IDLE_MS,
    NODE_WORKER_MEMORY,
    NODE_MEMORY_RESERVE,
    NODE_SETTINGS
} node_setting;

/* File (may be NULL) and environment. False after a line in error[]. */
bool node_settings_load(const char *file, char *error, size_t error_bytes);
/* For commands with a system of their own, which is no program's: load, and takes what would make it one out of the environment (MANTA_CONFIG too, whose keys and insecure go into it). */
bool node_settings_prepare(char *error, size_t error_bytes);
const char *node_settings_file(void); /* which prepare has read; NULL: none */
/* From a flag; false: it is none of these. */
bool node_settings_flag(const char *flag, const char *value);
const char *node_settings_check(void);              /* NULL: all have their form; else what is wrong */
const char *node_settings_text(node_setting which); /* "": not set */
uint64_t node_settings_number(node_setting which);
void node_settings_each(void (*visit)(const char *name, const char *value, const char *origin, void *context), void *context);

#endif
