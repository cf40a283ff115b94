#include "mailbox/link/frame.h"

#include <endian.h>
#include <string.h>

static const unsigned char magic[4] = {'M', 'N', 'T', 'L'};

static void put32(void *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, 4);
}

static void put64(void *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, 8);
}

static uint32_t get32(const void *at)
{
    uint32_t v;
    memcpy(&v, at, 4);
    return le32toh(v);
}

static uint64_t get64(const void *at)
{
    uint64_t v;
    memcpy(&v, at, 8);
    return le64toh(v);
}

void frame_put_head(void *out, const frame_head *h)
{
    unsigned char *p = out;
    memcpy(p, magic, 4);
    p[4] = FRAME_VERSION;
    p[5] = h->kind;
    p[6] = p[7] = 0;
    put64(p + 8, h->sequence);
    put64(p + 16, h->expected);
}

void frame_put_count(void *out, uint32_t count)
{
    put32((unsigned char *)out + 24, count);
    put32((unsigned char *)out + 28, 0);
}

unsigned char *frame_put_message_head(void *at, size_t size)
{
    unsigned char *p = at;
    put32(p, (uint32_t)size);
    put32(p + 4, 0);
    return p + FRAME_MESSAGE_HEAD;
}

unsigned char *frame_put_message(void *at, size_t size)
{
    unsigned char *p = at;
    (void)frame_put_message_head(at, size);
    if (size % 8) memset(p + FRAME_MESSAGE_HEAD + (size & ~(size_t)7), 0, 8);
    return p + FRAME_MESSAGE_HEAD;
}

size_t frame_put_hello(void *out, const frame_head *head, const frame_hello *hello)
{
    unsigned char *p = out;
    size_t n = strnlen(hello->address, FRAME_ADDRESS_LIMIT);
    frame_put_head(p, head);
    put64(p + 24, hello->process);
    put64(p + 32, hello->incarnation);
    put64(p + 40, hello->expect);
    p[48] = hello->lowest;
    p[49] = hello->highest;
    p[50] = p[51] = 0;
    put32(p + 52, (uint32_t)n);
    memcpy(p + FRAME_HELLO_HEAD, hello->address, n);
    return FRAME_HELLO_HEAD + n;
}

size_t frame_put_refuse(void *out, uint32_t status, const char *text)
{
    unsigned char *p = out;
    size_t n = strnlen(text, 255);
    frame_put_head(p, &(frame_head){FRAME_REFUSE, 0, 0});
    put32(p + 24, status);
    put32(p + 28, (uint32_t)n);
    memcpy(p + FRAME_REFUSE_HEAD, text, n);
    return FRAME_REFUSE_HEAD + n;
}

const char *frame_get_head(const void *data, size_t size, frame_head *out)
{
    const unsigned char *p = data;
    if (size < FRAME_HEAD) return "a frame that is shorter than its head";
    if (memcmp(p, magic, 4) != 0) return "a frame that does not begin with MNTL";
    if (p[4] != FRAME_VERSION) return "a frame of another version";
    if (p[5] < FRAME_DATA || p[5] > FRAME_BYE || p[6] || p[7]) return "a frame of an unknown kind";
    *out = (frame_head){p[5], get64(p + 8), get64(p + 16)};
    return NULL;
}

const char *frame_get_hello(const void *data, size_t size, frame_hello *out)
{
    const unsigned char *p = data;
    if (size < FRAME_HELLO_HEAD) return "a handshake that is too short";
    size_t n = get32(p + 52);
    if (n > FRAME_ADDRESS_LIMIT || n != size - FRAME_HELLO_HEAD) return "a handshake with a wrong address size";
    *out =
        (frame_hello){.process = get64(p + 24), .incarnation = get64(p + 32), .expect = get64(p + 40), .lowest = p[48], .highest = p[49]};
    memcpy(out->address, p + FRAME_HELLO_HEAD, n);
    if (!out->process) return "a handshake without a process id";
    if (strlen(out->address) != n) return "a handshake with a 0 in its address";
    return NULL;
}

const char *frame_get_refuse(const void *data, size_t size, uint32_t *out_status, char *text, size_t room)
{
    const unsigned char *p = data;
    if (size < FRAME_REFUSE_HEAD) return "a refusal that is too short";
    size_t n = get32(p + 28);
    if (n != size - FRAME_REFUSE_HEAD || n >= room) return "a refusal with a wrong text size";
    *out_status = get32(p + 24);
    memcpy(text, p + FRAME_REFUSE_HEAD, n);
    text[n] = 0;
    return NULL;
}

const char *frame_check_data(const void *data, size_t size, size_t message_limit, uint32_t *out_count)
{
    const unsigned char *p = data;
    if (size < FRAME_DATA_HEAD) return "a data frame that is too short";
    uint32_t count = get32(p + 24), n = 0;
    size_t at = FRAME_DATA_HEAD;
    for (; at < size; n++) {
        if (size - at < FRAME_MESSAGE_HEAD) return "a message whose head the frame cuts off";
        size_t bytes = get32(p + at);
        if (bytes > message_limit) return "a message above the limit";
        if (frame_message_bytes(bytes) > size - at) return "a message that the frame cuts off";
        at += frame_message_bytes(bytes);
    }
    if (n != count) return "a data frame with another number of messages than it says";
    *out_count = count;
    return NULL;
}

const char *frame_check_split(const void *data, size_t size, size_t body_bytes, size_t message_limit)
{
    const unsigned char *p = data;
    const size_t heads = FRAME_DATA_HEAD + FRAME_MESSAGE_HEAD;
    if (size < heads || get32(p + 24) != 1) return "a frame in two parts with another number of messages than one";
    size_t bytes = get32(p + FRAME_DATA_HEAD);
    if (bytes > message_limit) return "a message above the limit";
    return bytes == size - heads + body_bytes ? NULL : "a message of another size than its two parts";
}

const void *frame_next(const void *data, size_t *at, size_t *out_size)
{
    const unsigned char *p = (const unsigned char *)data + *at;
    *out_size = get32(p);
    *at += frame_message_bytes(*out_size);
    return p + FRAME_MESSAGE_HEAD;
}
