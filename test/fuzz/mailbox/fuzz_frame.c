/* Any bytes as a frame of a link: every reader ends with an answer, and what passes the check can be walked. */
#include <stdlib.h>
#include <string.h>

#include "mailbox/link/frame.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void walk(const unsigned char *data, size_t size)
{
    uint32_t count;
    if (frame_check_data(data, size, 1 << 20, &count)) return;
    size_t at = FRAME_DATA_HEAD, bytes, sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        const unsigned char *p = frame_next(data, &at, &bytes);
        for (size_t k = 0; k < bytes; k++) sum += p[k];
    }
    if (at != size || sum == SIZE_MAX) abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    frame_head head;
    frame_hello hello;
    uint32_t status;
    char text[256];
    unsigned char *copy = malloc(size ? size : 1); /* its own memory, so that a read beyond it is seen */
    if (!copy) return 0;
    memcpy(copy, data, size);
    if (size > 5 && data[0] == 'M') {
        memcpy(copy, "MNTL\1", 5);
        if (size > 7) copy[6] = copy[7] = 0;
    }
    if (!frame_get_head(copy, size, &head)) {
        if (size > 48) (void)frame_check_split(copy, 40 + copy[47] % 8, size - 48, 1 << 20);
        if (head.kind == FRAME_DATA) walk(copy, size);
        else if (head.kind == FRAME_REFUSE) (void)frame_get_refuse(copy, size, &status, text, sizeof text);
        else (void)frame_get_hello(copy, size, &hello);
    }
    free(copy);
    return 0;
}
