/* Spill files and their checksum: round trips, and every kind of bad byte, full disk and missing memory as a clear error. */
#include <errno.h>
#include <sys/stat.h>

#include "objstore/spill_file.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/crc32c.h"
#include "scheduler/os/os_file.h"
#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20 };

/* The known answers of RFC 3720, and instruction and tables agree for all lengths and alignments. */
TEST(checksum)
{
    unsigned char *data = malloc(3 * 4096 * 3 + 64);
    EXPECT_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
    EXPECT_EQ(crc32c_by_table(0, "123456789", 9), 0xe3069283u);
    store_pattern(data, 3 * 4096 * 3 + 64, 1);
    for (size_t n = 0; n < 300; n++) EXPECT_EQ(crc32c((uint32_t)n, data + n % 13, n), crc32c_by_table((uint32_t)n, data + n % 13, n));
    for (size_t n = 3 * 4096 - 20; n < 3 * 4096 * 3; n += 1021) EXPECT_EQ(crc32c(5, data + 3, n), crc32c_by_table(5, data + 3, n));
    EXPECT_EQ(crc32c(crc32c(0, data, 1000), data + 1000, 20000), crc32c(0, data, 21000));
    free(data);
}

typedef struct made {
    spill_place place;
    spill_record records[8];
    uint64_t offsets[8], bytes;
    char path[256];
} made;

static store_place directory;

/* A file with records of sizes 0, 1, 100, 4096, 1 MiB + 3 and a trailer. */
static bool make(made *m, unsigned char *data)
{
    static const uint64_t sizes[] = {0, 1, 100, 4096, MIB + 3};
    char text[SPILL_TEXT_LIMIT] = "";
    spill_file *f;
    directory = store_place_new();
    mkdir(directory.spill, 0700);
    m->place = (spill_place){directory.spill, 77, 0xabc};
    snprintf(m->path, sizeof m->path, "%s/spill-0000000000000abc", directory.spill);
    if (spill_file_create(m->place, &f, text)) return false;
    for (uint64_t i = 0; i < 5; i++) {
        m->records[i] = (spill_record){.sequence = 10 + i, .size_bytes = sizes[i], .trailer_bytes = i == 2 ? 24 : 0, .flags = (uint32_t)i};
        store_pattern(data, sizes[i] + 24, i);
        if (spill_file_append(f, &m->records[i], data, &m->offsets[i], text)) return false;
    }
    m->bytes = spill_file_bytes(f);
    spill_file_close(f);
    return true;
}

static bool count(const spill_record *r, uint64_t offset, void *context)
{
    (void)r, (void)offset;
    ++*(int *)context;
    return true;
}

static void poke(const char *path, long at, int by)
{
    FILE *f = fopen(path, "r+");
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ by, f);
    fclose(f);
}

/* What was appended is read back, walked, listed and removed. */
TEST(round_trip)
{
    made m;
    char text[SPILL_TEXT_LIMIT] = "";
    unsigned char *data = malloc(2 * MIB);
    EXPECT(make(&m, data));
    for (uint64_t i = 0; i < 5; i++) {
        EXPECT_EQ(spill_file_read(m.place, m.offsets[i], &m.records[i], data, text), MANTA_OK);
        EXPECT(store_pattern_is(data, m.records[i].size_bytes + m.records[i].trailer_bytes, i));
    }
    int n = 0;
    uint64_t bytes;
    bool cut;
    EXPECT_EQ(spill_file_walk(m.place, true, count, &n, &bytes, &cut, text), MANTA_OK);
    EXPECT(n == 5 && bytes == m.bytes && !cut);
    spill_file *again;
    EXPECT_EQ(spill_file_create(m.place, &again, text), MANTA_EEXIST);
    EXPECT(strstr(text, m.path));
    EXPECT_EQ(spill_file_remove(m.place, text), MANTA_OK);
    EXPECT_EQ(spill_file_remove(m.place, text), MANTA_OK);
    free(data);
    store_place_remove(&directory);
}

/* Each flipped byte of a header, and of the data, is found, and the text names the file and the byte. */
TEST(bad_bytes)
{
    made m;
    char text[SPILL_TEXT_LIMIT];
    unsigned char *data = malloc(2 * MIB);
    uint64_t bytes;
    bool cut;
    EXPECT(make(&m, data));
    for (long at = 0; at < SPILL_FILE_HEADER; at++) {
        poke(m.path, at, 0x10);
        EXPECT_EQ(spill_file_read(m.place, m.offsets[2], &m.records[2], data, text), MANTA_EIO);
        EXPECT(strstr(text, m.path) && strstr(text, "byte "));
        poke(m.path, at, 0x10);
    }
    for (long at = 0; at < SPILL_RECORD_HEADER + 124; at++) {
        poke(m.path, (long)m.offsets[2] + at, 0x10);
        EXPECT_EQ(spill_file_read(m.place, m.offsets[2], &m.records[2], data, text), MANTA_EIO);
        EXPECT(strstr(text, m.path) && strstr(text, "byte "));
        EXPECT_EQ(spill_file_walk(m.place, true, NULL, NULL, &bytes, &cut, text), MANTA_EIO);
        poke(m.path, (long)m.offsets[2] + at, 0x10);
    }
    spill_record other = m.records[2];
    other.sequence++;
    EXPECT_EQ(spill_file_read(m.place, m.offsets[2], &other, data, text), MANTA_EIO);
    EXPECT_EQ(spill_file_read(m.place, m.offsets[2] + 16, &m.records[2], data, text), MANTA_EIO);
    EXPECT_EQ(spill_file_read(m.place, 1ull << 60, &m.records[2], data, text), MANTA_EIO);
    EXPECT_EQ(spill_file_read((spill_place){directory.spill, 78, 0xabc}, m.offsets[2], &m.records[2], data, text), MANTA_EIO);
    EXPECT_EQ(spill_file_read((spill_place){directory.spill, 77, 1}, m.offsets[2], &m.records[2], data, text), MANTA_EIO);
    EXPECT_EQ(spill_file_read(m.place, m.offsets[2], &m.records[2], data, text), MANTA_OK);
    free(data);
    store_place_remove(&directory);
}

/* A file that ends anywhere is read up to there: objects before the cut are whole, the one in it is refused. */
TEST(cut_files)
{
    made m;
    char text[SPILL_TEXT_LIMIT];
    unsigned char *data = malloc(2 * MIB);
    EXPECT(make(&m, data));
    for (long size = (long)m.offsets[3]; size >= 0; size -= 7) {
        uint64_t bytes;
        bool cut;
        EXPECT_EQ(truncate(m.path, size), 0);
        bool whole = size >= (long)(m.offsets[1] + SPILL_RECORD_HEADER + 1);
        EXPECT_EQ(spill_file_read(m.place, m.offsets[1], &m.records[1], data, text), whole ? MANTA_OK : MANTA_EIO);
        manta_status walked = spill_file_walk(m.place, true, NULL, NULL, &bytes, &cut, text);
        EXPECT_EQ(walked, size >= SPILL_FILE_HEADER ? MANTA_OK : MANTA_EIO);
    }
    free(data);
    store_place_remove(&directory);
}

/* When the disk is full in the middle of anything, the file ends where it ended before, and goes on afterwards. */
TEST(full_disk)
{
    char text[SPILL_TEXT_LIMIT];
    spill_file *f = NULL;
    directory = store_place_new();
    mkdir(directory.spill, 0700);
    spill_place place = {directory.spill, 1, 2};
    for (uint64_t n = 1; !f; n++) {
        EXPECT(n < 10);
        os_file_fail_at(n, ENOSPC);
        manta_status status = spill_file_create(place, &f, text);
        os_file_fail_at(0, 0);
        EXPECT(status == MANTA_OK || (status == MANTA_ESTOREFULL && !f && strstr(text, "space")));
    }
    for (uint64_t n = 1; n < 10; n++) {
        uint64_t before = spill_file_bytes(f), offset = 0;
        spill_record r = {.sequence = n, .size_bytes = 5};
        os_file_fail_at(n, ENOSPC);
        manta_status status = spill_file_append(f, &r, "abcde", &offset, text);
        bool failed = os_file_has_failed();
        os_file_fail_at(0, 0);
        EXPECT_EQ(status, failed ? MANTA_ESTOREFULL : MANTA_OK);
        if (failed) EXPECT_EQ(spill_file_bytes(f), before);
        else break;
    }
    uint64_t bytes;
    bool cut;
    EXPECT_EQ(spill_file_walk(place, true, NULL, NULL, &bytes, &cut, text), MANTA_OK);
    EXPECT(bytes == spill_file_bytes(f) && !cut);
    spill_file_close(f);
    store_place_remove(&directory);
}
