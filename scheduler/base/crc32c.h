/*
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4): the checksum of bytes on disk.
 *
 * The processor's instruction where there is one (SSE4.2, ARMv8 CRC), else tables; the same value either way. Any thread.
 */
#ifndef MANTA_BASE_CRC32C_H
#define MANTA_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of the bytes seen so far (crc; 0 at first) and these. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size_bytes);

/* The same by tables only; for the tests and for machines without the instruction. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t size_bytes);

#endif
