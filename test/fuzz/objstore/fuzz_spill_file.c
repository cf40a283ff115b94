/* Any bytes as a spill file: walking and reading end with a status, in bounded time and memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "objstore/crc32c.h"
#include "objstore/spill_file.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

typedef struct seen {
    spill_place place;
    int records;
} seen;

static bool read_it(const spill_record *r, uint64_t offset, void *context)
{
    seen *s = context;
    char text[SPILL_TEXT_LIMIT];
    if (r->size_bytes + r->trailer_bytes > 1 << 20) return true;
    void *memory = malloc((size_t)(r->size_bytes + r->trailer_bytes) + 1);
    if (memory) (void)spill_file_read(s->place, offset, r, memory, text);
    if (memory) (void)spill_file_read_trailer(s->place, offset, r, memory, text);
    free(memory);
    return ++s->records < 1000;
}

/* Checksums that only the writer of real files gets right, so that the fuzzer comes past them: of the file's header, and of a record that begins at 64. */
static void mend(unsigned char *bytes, size_t size)
{
    uint32_t crc;
    memcpy(bytes, "MANTASPL\1\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0", 32);
    crc = crc32c(0, bytes, 60);
    memcpy(bytes + 60, &crc, 4);
    if (size < 64 + 48) return;
    memcpy(bytes + 64, "SPOB", 4);
    crc = crc32c(0, bytes + 64, 44);
    memcpy(bytes + 64 + 44, &crc, 4);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static char directory[64], path[128];
    if (!directory[0]) {
        snprintf(directory, sizeof directory, "/dev/shm/manta-fuzz-%d", (int)getpid());
        snprintf(path, sizeof path, "%s/spill-0000000000000006", directory);
        (void)mkdir(directory, 0700);
    }
    if (size < 1 || size > 1 << 16) return 0;
    unsigned char *bytes = malloc(size);
    if (!bytes) return 0;
    memcpy(bytes, data, size);
    if (size >= 64 && data[8] & 1) mend(bytes, size);
    FILE *f = fopen(path, "w");
    if (f) {
        fwrite(bytes, 1, size, f);
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

__attribute__((destructor)) static void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf /dev/shm/manta-fuzz-%d", (int)getpid());
    if (system(command)) return;
}
