/*
 * Files of settings: a line `name = value` each, as in ZPL (ZeroMQ RFC 4) without sections. `#` begins a comment, at the start of a line or after a space; a value with spaces or `#` in it is put
 * between "" or ''. Lines that are empty are fine; a name that comes twice is an error.
 */
#ifndef MANTA_RUNTIME_CONFIG_FILE_H
#define MANTA_RUNTIME_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>

enum { CONFIG_FILE_BYTES = 64 << 10, CONFIG_FILE_SETTINGS = 128, CONFIG_VALUE_BYTES = 1024 };

/* Takes one setting; `where` is "FILE:LINE". False after one line in error[], which names it. */
typedef bool (*config_file_visit)(const char *name, const char *value, const char *where, void *context, char *error, size_t error_bytes);

/* Reads the file and calls visit for each setting, in order. False after one line in error[]: the file cannot be read, or "FILE:LINE: what is wrong". */
bool config_file_read(const char *path, config_file_visit visit, void *context, char *error, size_t error_bytes);

#endif
