/*
 * The frames of a link: what one ZeroMQ message between two processes holds. Little endian; docs/protocol.md has the same in words.
 *
 *   0 "MNTL" | 4 version u8, kind u8, 0 u16 | 8 sequence u64 | 16 next expected u64 | 24 kind's own
 *   DATA      24 number of messages u32, 0 u32; then each message: u32 size, 0 u32, bytes, zeros up to a multiple of 8
 *             A frame may be two parts of a ZeroMQ message: it has one message, whose last bytes are the second part
 *   HELLO     24 process u64, incarnation u64, expected process u64 (0: any), lowest and highest version u8 u8, 0 u16, address size u32; address
 *   WELCOME   as HELLO, without `expected`
 *   REFUSE    24 status u32, text size u32; text
 *   ACK, BYE  nothing more
 * `sequence` counts the DATA frames of one direction from 1; in HELLO and WELCOME it is the session's number (0: none yet); `next expected` says that all below have arrived. Reading checks every size against the frame's end, and allocates nothing.
 */
#ifndef MANTA_MAILBOX_FRAME_H
#define MANTA_MAILBOX_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_VERSION = 1,
    FRAME_HEAD = 24,
    FRAME_DATA_HEAD = 32,
    FRAME_MESSAGE_HEAD = 8,
    FRAME_HELLO_HEAD = 56,
    FRAME_REFUSE_HEAD = 32,
    FRAME_ADDRESS_LIMIT = 255
};
enum { FRAME_DATA = 1, FRAME_HELLO, FRAME_WELCOME, FRAME_REFUSE, FRAME_ACK, FRAME_BYE };

typedef struct frame_head {
    uint8_t kind;
    uint64_t sequence, expected;
} frame_head;

typedef struct frame_hello {
    uint64_t process, incarnation, expect;
    uint8_t lowest, highest;
    char address[FRAME_ADDRESS_LIMIT + 1];
} frame_hello;

void frame_put_head(void *out, const frame_head *h);
void frame_put_count(void *out, uint32_t count); /* of a DATA frame's messages */
static inline size_t frame_message_bytes(size_t size) { return FRAME_MESSAGE_HEAD + ((size + 7) & ~(size_t)7); }
/* Writes a message's head; returns where its bytes go. */
unsigned char *frame_put_message(void *at, size_t size);
unsigned char *frame_put_message_head(void *at, size_t size); /* the same without the zeros behind the bytes */
size_t frame_put_hello(
    void *out, const frame_head *head, const frame_hello *hello);      /* bytes; out: FRAME_HELLO_HEAD + FRAME_ADDRESS_LIMIT */
size_t frame_put_refuse(void *out, uint32_t status, const char *text); /* out: FRAME_REFUSE_HEAD + 255 */

/* NULL when fine, else what is wrong with the frame. */
const char *frame_get_head(const void *data, size_t size, frame_head *out);
const char *frame_get_hello(const void *data, size_t size, frame_hello *out);
const char *frame_get_refuse(const void *data, size_t size, uint32_t *out_status, char *text, size_t room);
/* Checks all messages of a DATA frame. *out_count: how many. */
const char *frame_check_data(const void *data, size_t size, size_t message_limit, uint32_t *out_count);
/* The same for a frame in two parts: one message, of which the second part, `body_bytes`, is the rest. */
const char *frame_check_split(const void *data, size_t size, size_t body_bytes, size_t message_limit);
/* The next message of a checked frame: *at begins at FRAME_DATA_HEAD. */
const void *frame_next(const void *data, size_t *at, size_t *out_size);

#endif
