/*
 * Any bytes as a spill file: walking and reading end with a status, in bounded time and memory.
 *
 * The first byte of the input says what is mended, since a fuzzer does not guess checksums: the file's header, the headers of the records that follow each other from byte 64 on, and
 * the checksums of their data. The rest is the file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "objstore/spill_file.h"
#include "scheduler/base/crc32c.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { MEND_FILE = 1, MEND_RECORDS = 2, MEND_DATA = 4, SMALL_SIZES = 8, INPUT_MAX = 1 << 16 };
static char directory[64], path[128];

static void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command)) perror(command);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    snprintf(directory, sizeof directory, "/dev/shm/manta-fuzz-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/spill-0000000000000006", directory);
    (void)mkdir(directory, 0700);
    atexit(clean_up);
    return 0;
}

typedef struct seen {
    spill_place place;
    int records;
} seen;

/* What is asked for is what the walk saw, and once something else. */
static bool read_it(const spill_record *r, uint64_t offset, void *context)
{
    seen *s = context;
    char text[SPILL_TEXT_LIMIT];
    spill_record other = *r;
    other.size_bytes ^= 1;
    if (r->size_bytes + r->trailer_bytes > 1 << 20) return true;
    void *memory = malloc((size_t)(r->size_bytes + r->trailer_bytes) + 2);
    if (memory) {
        (void)spill_file_read(s->place, offset, r, memory, text);
        (void)spill_file_read_trailer(s->place, offset, r, memory, text);
        if (spill_file_read(s->place, offset, &other, memory, text) == MANTA_OK) abort();
    }
    free(memory);
    return ++s->records < 1000;
}

static void mend_header(unsigned char *bytes)
{
    memcpy(bytes, "MANTASPL\1\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0", 32);
    uint32_t crc = crc32c(0, bytes, 60);
    memcpy(bytes + 60, &crc, 4);
}

/* Bytes of the record with its padding; 0: the file ends in it. */
static size_t mend_record(unsigned char *record, size_t left, unsigned what)
{
    uint64_t sizes[2];
    if (what & SMALL_SIZES) memset(record + 18, 0, 6), memset(record + 26, 0, 6);
    memcpy(record, "SPOB", 4);
    memcpy(sizes, record + 16, 16);
    bool whole = sizes[0] < left && sizes[1] < left && SPILL_RECORD_HEADER + sizes[0] + sizes[1] <= left;
    uint32_t crc = whole ? crc32c(0, record + SPILL_RECORD_HEADER, sizes[0] + sizes[1]) : 0;
    if (whole && what & MEND_DATA) memcpy(record + 32, &crc, 4);
    crc = crc32c(0, record, 44);
    memcpy(record + 44, &crc, 4);
    return whole ? (SPILL_RECORD_HEADER + sizes[0] + sizes[1] + SPILL_ALIGNMENT - 1) / SPILL_ALIGNMENT * SPILL_ALIGNMENT : 0;
}

static void mend(unsigned char *bytes, size_t size, unsigned what)
{
    if (size < SPILL_FILE_HEADER) return;
    if (what & MEND_FILE) mend_header(bytes);
    for (size_t at = SPILL_FILE_HEADER, room = 1; what & MEND_RECORDS && room && at + SPILL_RECORD_HEADER <= size; at += room)
        room = mend_record(bytes + at, size - at, what);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 1 || size > INPUT_MAX) return 0;
    unsigned char *bytes = malloc(size);
    if (!bytes) return 0;
    memcpy(bytes, data + 1, size - 1);
    mend(bytes, size - 1, data[0]);
    FILE *f = fopen(path, "w");
    if (f) {
        fwrite(bytes, 1, size - 1, f);
        fclose(f);
    }
    free(bytes);
    seen s = {{directory, 5, 6}, 0};
    uint64_t end;
    bool cut;
    char text[SPILL_TEXT_LIMIT];
    (void)spill_file_walk(s.place, true, read_it, &s, &end, &cut, text);
    (void)spill_file_walk(s.place, false, read_it, &s, &end, &cut, text);
    return 0;
}
