/* Any bytes as what one process tells another about an object: the readers end with an answer, and what passes can be walked. */
#include <stdlib.h>
#include <string.h>

#include "actor/transfer/wire_object.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void walk(const object_answer *a, const unsigned char *end)
{
    size_t sum = 0;
    const unsigned char *stop = a->head.kind == ANSWER_BYTES ? a->bytes + a->head.size : a->bytes;
    for (const unsigned char *p = a->inside; p < stop; p++) sum += *p;
    if (stop != end || sum == SIZE_MAX) abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    object_answer answer;
    fetch_payload fetch;
    unsigned char *copy = malloc(size ? size : 1); /* its own memory, so that a read beyond it is seen */
    if (!copy) return 0;
    memcpy(copy, data, size);
    if (!answer_read(copy, size, &answer)) walk(&answer, copy + size);
    if (!fetch_read(copy, size, &fetch) && (!fetch.count || fetch.first + fetch.count < fetch.first)) abort();
    free(copy);
    return 0;
}
