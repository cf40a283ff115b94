#include <string.h>

#include "gcs/core/core_internal.h"
#include "scheduler/base/check.h"

static void add(key *k, const void *bytes, size_t size)
{
    check(size <= KEY_BYTES - k->size); /* what is in a key is at most two strings and some numbers */
    if (size) memcpy(k->bytes + k->size, bytes, size);
    k->size += size;
}

void key_add(key *k, manta_str text) { add(k, text.data, text.size); }

void key_add_end(key *k, manta_str text)
{
    add(k, text.data, text.size);
    add(k, "", 1);
}

void key_add_number(key *k, uint64_t v)
{
    unsigned char bytes[8];
    manta_store_be64(bytes, v);
    add(k, bytes, sizeof bytes);
}

void key_of_text(key *k, manta_str text)
{
    k->size = 0;
    key_add(k, text);
}

void key_of_number(key *k, uint64_t v)
{
    k->size = 0;
    key_add_number(k, v);
}

void key_of_pair(key *k, manta_str first, manta_str second)
{
    k->size = 0;
    key_add_end(k, first);
    key_add(k, second);
}
