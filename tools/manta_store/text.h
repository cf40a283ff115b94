/*
 * Numbers and names as people read them, and a writer of JSON. One thread.
 */
#ifndef MANTA_TOOLS_STORE_TEXT_H
#define MANTA_TOOLS_STORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "objstore/store.h"

enum { TEXT_BYTES = 24, TEXT_ID_BYTES = 40, TEXT_PLAIN_BYTES = 4 * STORE_SITE_BYTES };

/* Each writes into `out` and gives it back. */
const char *text_size(uint64_t bytes, char out[TEXT_BYTES]);       /* 17 B, 1.5 KiB */
const char *text_time(uint64_t ms, char out[TEXT_BYTES]);          /* 350 ms, 12.5 s, 3.0 min */
const char *text_id(store_id id, char out[TEXT_ID_BYTES]);         /* 3f0a1c2200000007-2a */
const char *text_plain(const char *text, char out[], size_t size); /* what a terminal would obey, and what is no UTF-8, becomes '?' */
bool text_parse_id(const char *text, store_id *out);               /* what text_id wrote */
unsigned text_percent(uint64_t part, uint64_t whole);              /* 0 of nothing */

/* A value in an object has a key, one in an array none (NULL). Commas come by themselves. */
typedef struct json {
    FILE *out;
    unsigned depth;
    uint64_t has_values; /* a bit per depth */
} json;

void json_open(json *j, const char *key, char bracket); /* '{' or '['; at most 60 deep */
void json_close(json *j, char bracket);                 /* '}' or ']'; behind the outermost comes a line end */
void json_number(json *j, const char *key, uint64_t value);
void json_bool(json *j, const char *key, bool value);
void json_null(json *j, const char *key);
void json_text(json *j, const char *key, const char *text); /* bytes that are no UTF-8 become U+FFFD */

#endif
