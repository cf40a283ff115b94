/*
 * Three streams at once hide the instruction's latency of 3 cycles; their checksums are joined by moving the first ones over the zeros that follow, with tables.
 */
#include "scheduler/base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

enum { STREAM = 4096 };
#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t table[8][256];
static uint32_t over_stream[4][256]; /* a checksum after STREAM bytes of zeros, by its bytes */
static bool has_instruction;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t by_tables(uint32_t c, const unsigned char *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= c;
        c = table[7][word & 255] ^ table[6][word >> 8 & 255] ^ table[5][word >> 16 & 255] ^ table[4][word >> 24 & 255] ^
            table[3][word >> 32 & 255] ^ table[2][word >> 40 & 255] ^ table[1][word >> 48 & 255] ^ table[0][word >> 56];
    }
    while (n--) c = c >> 8 ^ table[0][(c ^ *p++) & 255];
    return c;
}

static void fill_tables(void)
{
    static const unsigned char zeros[STREAM];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++) table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 0; k < 4; k++) over_stream[k][i] = by_tables(i << 8 * k, zeros, STREAM);
#if defined(__x86_64__)
    has_instruction = __builtin_cpu_supports("sse4.2");
#elif defined(__ARM_FEATURE_CRC32)
    has_instruction = true;
#endif
}

#if defined(__x86_64__) || defined(__ARM_FEATURE_CRC32)
static uint32_t skip(uint32_t c)
{
    return over_stream[0][c & 255] ^ over_stream[1][c >> 8 & 255] ^ over_stream[2][c >> 16 & 255] ^ over_stream[3][c >> 24];
}

#if defined(__x86_64__)
#define TARGET __attribute__((target("sse4.2")))
#define STEP8(c, word) ((uint32_t)_mm_crc32_u64(c, word))
#define STEP1(c, byte) _mm_crc32_u8(c, byte)
#else
#define TARGET
#define STEP8(c, word) __crc32cd(c, word)
#define STEP1(c, byte) __crc32cb(c, byte)
#endif

TARGET static uint32_t three_streams(uint32_t c, const unsigned char *p)
{
    uint32_t a = c, b = 0, d = 0;
    for (size_t i = 0; i < STREAM; i += 8) {
        uint64_t x, y, z;
        memcpy(&x, p + i, 8);
        memcpy(&y, p + STREAM + i, 8);
        memcpy(&z, p + 2 * STREAM + i, 8);
        a = STEP8(a, x);
        b = STEP8(b, y);
        d = STEP8(d, z);
    }
    return skip(skip(a) ^ b) ^ d;
}

TARGET static uint32_t by_instruction(uint32_t c, const unsigned char *p, size_t n)
{
    for (; n >= 3 * STREAM; n -= 3 * STREAM, p += 3 * STREAM) c = three_streams(c, p);
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = STEP8(c, word);
    }
    while (n--) c = STEP1(c, *p++);
    return c;
}
#else
static uint32_t by_instruction(uint32_t c, const unsigned char *p, size_t n) { return by_tables(c, p, n); }
#endif

uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t size_bytes)
{
    pthread_once(&once, fill_tables);
    return ~by_tables(~crc, data, size_bytes);
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size_bytes)
{
    pthread_once(&once, fill_tables);
    return ~(has_instruction ? by_instruction(~crc, data, size_bytes) : by_tables(~crc, data, size_bytes));
}
