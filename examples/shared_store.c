/*
 * Two processes, one copy: the first fills an object of 64 MiB in the node's store, the second adds it up where it lies.
 *
 * A ref is 16 bytes and means the same object in every process that has the store open; whoever passes one on holds it until the other does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <manta/manta.h>

enum { NUMBERS = 8 << 20 };

static manta_t *start(const char *path)
{
    return manta_init_with(&(manta_config){.size = sizeof(manta_config), .store = path, .object_bytes = 128 << 20});
}

/* The second process: `./shared_store PATH WORD WORD`. */
static int reader(char **argv)
{
    manta_t *m = start(argv[1]);
    manta_ref ref = {{strtoull(argv[2], NULL, 16), strtoull(argv[3], NULL, 16)}};
    manta_object o;
    if (!m || manta_object_get(ref, MANTA_FOREVER, &o)) return 1;
    uint64_t sum = 0;
    const uint64_t *numbers = o.data;
    for (size_t i = 0; i < o.size / sizeof *numbers; i++) sum += numbers[i];
    printf("the second process sees %zu MiB, sum %" PRIu64 "\n", o.size >> 20, sum);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 4) return reader(argv);
    char path[64], words[2][20];
    snprintf(path, sizeof path, "/dev/shm/manta-example-%d", (int)getpid());
    manta_t *m = start(path);
    manta_ref ref;
    void *data;
    if (!m || manta_create(NUMBERS * sizeof(uint64_t), &ref, &data)) return 1;
    uint64_t *numbers = data;
    for (uint64_t i = 0; i < NUMBERS; i++) numbers[i] = i;
    if (manta_seal(ref)) return 1;

    for (int i = 0; i < 2; i++) snprintf(words[i], sizeof words[i], "%" PRIx64, ref.id[i]);
    pid_t child = fork();
    if (child == 0) execl("/proc/self/exe", "shared_store", path, words[0], words[1], (char *)NULL);
    int status;
    if (waitpid(child, &status, 0) != child || status) return 1;
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
