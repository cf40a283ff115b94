/*
 * Settings of a system: defaults, file, environment, program, arguments; each later one wins.
 */
#ifndef MANTA_RUNTIME_CONFIG_H
#define MANTA_RUNTIME_CONFIG_H

#include <manta/runtime.h>

#define CONFIG_ARGUMENT "--manta-config="
/* The file of settings that the arguments or MANTA_CONFIG name; NULL: none. */
const char *config_file_name(int argc, char **argv);

/* Fills *out from the file, the environment, the --manta-* arguments (which are removed) and `given` (fields that are not 0 win over the environment). On a bad value writes one line
 * naming it to error[] and returns false. argc, argv, given may be NULL. */
bool config_resolve(const manta_config *given, int *argc, char ***argv, manta_config *out, char *error, size_t error_bytes);

/* Calls visit for each setting: its value as text ("" for none), and where it comes from ("" for the default) as of the last config_resolve. */
typedef void (*config_visit)(const char *name, const char *value, const char *origin, void *context);
void config_each(const manta_config *c, config_visit visit, void *context);

#endif
