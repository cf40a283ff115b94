/*
 * Programs that are shared objects: loaded into this process, which becomes the driver, a worker, or an embedded system, as any program's manta_init does.
 *
 * The library that the module brings keeps its thread-local variables where they are found without a call; for an object that is loaded late the C library has little room there, unless it is told
 * when the process starts. So this program starts itself once more.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/manta/manta.h"

enum { ARGUMENTS = 4096 };
typedef int (*module_main)(int argc, char **argv);

/* argv[0] is the module. Returns when it cannot be done. */
static void start_again(int argc, char **argv)
{
    static char *arguments[ARGUMENTS + 3] = {(char *)(uintptr_t) "manta", (char *)(uintptr_t) "module"};
    const char *given = getenv("GLIBC_TUNABLES");
    char all[1024];
    if (argc > ARGUMENTS || (given && strstr(given, "rtld.optional_static_tls"))) return;
    snprintf(all, sizeof all, "glibc.rtld.optional_static_tls=16384%s%s", given ? ":" : "", given ? given : "");
    setenv("GLIBC_TUNABLES", all, 1);
    memcpy(arguments + 2, argv, (size_t)argc * sizeof *argv);
    execv("/proc/self/exe", arguments);
}

static int run(int argc, char **argv)
{
    start_again(argc, argv);
    void *module = dlopen(argv[0], RTLD_NOW | RTLD_GLOBAL);
    if (!module) return fprintf(stderr, "manta: %s\n", dlerror()), 1;
    void *symbol = dlsym(module, "manta_main");
    if (!symbol) return fprintf(stderr, "manta: %s has no function manta_main(int argc, char **argv)\n", argv[0]), 1;
    module_main entry;
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from an object's pointer to a function's */
    return entry(argc, argv);
}

int command_module(int argc, char **argv)
{
    if (!argc) return wrong_usage("module wants %s", "a shared object");
    char *path = realpath(argv[0], NULL); /* dlopen would look for a bare name elsewhere */
    if (!path) return fprintf(stderr, "manta: %s: %s\n", argv[0], strerror(errno)), 1;
    argv[0] = path;
    return run(argc, argv);
}

int module_drive(int argc, char **argv)
{
    char *path = realpath(argv[0], NULL);
    if (path) setenv("MANTA_MODULE", path, 1);
    free(path);
    return command_module(argc, argv);
}
