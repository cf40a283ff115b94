#include "mailbox/codec/head.h"

/* What the first bytes c0..df stand for. */
typedef struct form {
    unsigned char kind;
    unsigned char length; /* bytes of the length or count field */
    unsigned char fixed;  /* bytes of payload when there is no such field */
} form;

static const form forms[32] = {
    [0x00] = {MANTA_KIND_NIL, 0, 0},
    [0x01] = {MANTA_KIND_INVALID, 0, 0},
    [0x02] = {MANTA_KIND_BOOL, 0, 0},
    [0x03] = {MANTA_KIND_BOOL, 0, 0},
    [0x04] = {MANTA_KIND_BYTES, 1, 0},
    [0x05] = {MANTA_KIND_BYTES, 2, 0},
    [0x06] = {MANTA_KIND_BYTES, 4, 0},
    [0x07] = {MANTA_KIND_EXT, 1, 0},
    [0x08] = {MANTA_KIND_EXT, 2, 0},
    [0x09] = {MANTA_KIND_EXT, 4, 0},
    [0x0a] = {MANTA_KIND_FLOAT, 0, 4},
    [0x0b] = {MANTA_KIND_FLOAT, 0, 8},
    [0x0c] = {MANTA_KIND_INTEGER, 0, 1},
    [0x0d] = {MANTA_KIND_INTEGER, 0, 2},
    [0x0e] = {MANTA_KIND_INTEGER, 0, 4},
    [0x0f] = {MANTA_KIND_INTEGER, 0, 8},
    [0x10] = {MANTA_KIND_INTEGER, 0, 1},
    [0x11] = {MANTA_KIND_INTEGER, 0, 2},
    [0x12] = {MANTA_KIND_INTEGER, 0, 4},
    [0x13] = {MANTA_KIND_INTEGER, 0, 8},
    [0x14] = {MANTA_KIND_EXT, 0, 1},
    [0x15] = {MANTA_KIND_EXT, 0, 2},
    [0x16] = {MANTA_KIND_EXT, 0, 4},
    [0x17] = {MANTA_KIND_EXT, 0, 8},
    [0x18] = {MANTA_KIND_EXT, 0, 16},
    [0x19] = {MANTA_KIND_STR, 1, 0},
    [0x1a] = {MANTA_KIND_STR, 2, 0},
    [0x1b] = {MANTA_KIND_STR, 4, 0},
    [0x1c] = {MANTA_KIND_ARRAY, 2, 0},
    [0x1d] = {MANTA_KIND_ARRAY, 4, 0},
    [0x1e] = {MANTA_KIND_MAP, 2, 0},
    [0x1f] = {MANTA_KIND_MAP, 4, 0},
};

uint64_t codec_load_be(const unsigned char *at, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++) value = value << 8 | at[i];
    return value;
}

/* Everything that the first byte says; `number` is the length or count that it carries itself. */
static form form_of(unsigned char first, uint64_t *number)
{
    *number = 0;
    if (first < 0x80 || first >= 0xe0) return (form){MANTA_KIND_INTEGER, 0, 0};
    if (first >= 0xc0) return forms[first - 0xc0];
    *number = first >= 0xa0 ? first & 0x1f : first & 0x0f;
    return (form){first >= 0xa0 ? MANTA_KIND_STR : first >= 0x90 ? MANTA_KIND_ARRAY : MANTA_KIND_MAP, 0, 0};
}

bool codec_head_read(const unsigned char *at, size_t left, codec_head *out)
{
    *out = (codec_head){.kind = MANTA_KIND_NONE};
    if (!left) return false;
    uint64_t number;
    form f = form_of(*at, &number);
    out->kind = (manta_kind)f.kind;
    out->size = 1u + f.length + (out->kind == MANTA_KIND_EXT);
    if (out->kind == MANTA_KIND_INVALID || left < out->size) return false;
    if (f.length) number = codec_load_be(at + 1, f.length);
    if (out->kind == MANTA_KIND_EXT) out->type = (int8_t)at[out->size - 1];
    if (out->kind == MANTA_KIND_ARRAY || out->kind == MANTA_KIND_MAP) {
        out->count = number;
        out->children = out->kind == MANTA_KIND_MAP ? 2 * number : number;
    } else out->body = f.fixed + number;
    return out->body + out->children <= left - out->size;
}

codec_walk codec_skip(const unsigned char *at, const unsigned char *end, unsigned depth)
{
    uint64_t pending[MANTA_MSGPACK_MAX_DEPTH + 1]; /* values still to come, per level */
    unsigned level = 0;
    codec_walk walk = {.at = at};
    pending[0] = 1;
    for (;;) {
        while (!pending[level]) {
            if (!level) return walk;
            level--;
        }
        pending[level]--;
        codec_head head;
        if (!codec_head_read(walk.at, (size_t)(end - walk.at), &head)) {
            walk.expected = "a complete value";
            return walk;
        }
        walk.count++;
        if (head.kind == MANTA_KIND_ARRAY || head.kind == MANTA_KIND_MAP) {
            if (level == depth) {
                walk.expected = "a value that is not nested deeper than the limit";
                return walk;
            }
            pending[++level] = head.children;
        }
        walk.at += head.size + head.body;
    }
}
