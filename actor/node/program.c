/*
 * What is known of a program before it is started is read from its ELF header (System V ABI, chapters 4 and 5): class, byte order, machine, and whether it is an executable: those have an
 * interpreter, or an entry and no dynamic section, or the flag PIE. Which libraries are missing the loader itself says: with
 * LD_TRACE_LOADED_OBJECTS (ld.so(8)) it maps what the program needs, prints it, and runs none of it.
 */
#include "actor/node/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/node/simulation.h"
#include "scheduler/os/os_file.h"

enum { HEADERS = 64, DYNAMICS = 512, LEFTOVER_S = 3600, CACHED = 1024 };
static const char own_path[] = "/proc/self/exe";

/* ---- what a file is ---- */

typedef struct elf_facts {
    Elf64_Ehdr head;
    bool is_elf, is_cut, has_dynamic, is_pie;
    char loader[256];
} elf_facts;

static bool find_pie_flag(int fd, const Elf64_Phdr *p)
{
    Elf64_Dyn d;
    for (uint64_t i = 0; i < DYNAMICS && (i + 1) * sizeof d <= p->p_filesz; i++) {
        if (os_file_read(fd, &d, sizeof d, p->p_offset + i * sizeof d) || d.d_tag == DT_NULL) return false;
        if (d.d_tag == DT_FLAGS_1) return d.d_un.d_val & DF_1_PIE;
    }
    return false;
}

static void read_header(int fd, const Elf64_Phdr *p, elf_facts *out)
{
    if (p->p_type == PT_DYNAMIC) {
        out->has_dynamic = true;
        out->is_pie = find_pie_flag(fd, p);
    } else if (p->p_type == PT_INTERP && p->p_filesz && p->p_filesz < sizeof out->loader) {
        if (os_file_read(fd, out->loader, p->p_filesz, p->p_offset)) out->loader[0] = 0;
    }
}

static elf_facts read_facts(const char *path)
{
    elf_facts f = {.is_elf = false};
    Elf64_Phdr p;
    int fd = -1;
    if (os_file_open(path, OS_READ, &fd)) return f;
    f.is_elf = os_file_read(fd, &f.head, sizeof f.head, 0) == 0 && memcmp(f.head.e_ident, ELFMAG, SELFMAG) == 0;
    for (uint64_t i = 0; f.is_elf && f.head.e_phentsize == sizeof p && i < f.head.e_phnum && i < HEADERS; i++) {
        if ((f.is_cut = os_file_read(fd, &p, sizeof p, f.head.e_phoff + i * sizeof p) != 0)) break;
        read_header(fd, &p, &f);
    }
    os_file_close(fd);
    return f;
}

static bool is_module(const elf_facts *f) { return f->is_elf && f->head.e_type == ET_DYN && f->has_dynamic && !f->loader[0] && !f->is_pie; }

bool program_is_module(const char *path)
{
    elf_facts f = read_facts(path);
    return is_module(&f);
}

const char *program_path(void)
{
    const char *module = getenv("MANTA_MODULE");
    return module && *module ? module : own_path;
}

const char *program_name(void)
{
    const char *path = program_path(), *slash = strrchr(path, '/');
    return path == own_path ? program_invocation_short_name : slash ? slash + 1 : path;
}

/* ---- can it run here? ---- */

static const char *machine_name(uint16_t machine)
{
    static _Thread_local char number[24];
    static const struct {
        uint16_t machine;
        const char *name;
    } known[] = {{EM_X86_64, "x86-64"}, {EM_AARCH64, "aarch64"}, {EM_386, "i386"}, {EM_ARM, "arm"}, {EM_RISCV, "riscv"},
        {EM_PPC64, "ppc64"}, {EM_S390, "s390"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].machine == machine) return known[i].name;
    snprintf(number, sizeof number, "ELF machine %u", machine);
    return number;
}

static manta_status check_machine(const elf_facts *f, const elf_facts *own)
{
    if (!f->is_elf) return error_set(MANTA_EINVAL, "the program is no ELF file");
    if (f->is_cut) return error_set(MANTA_EINVAL, "the program's file is cut short");
    bool same = f->head.e_machine == own->head.e_machine && f->head.e_ident[EI_CLASS] == own->head.e_ident[EI_CLASS] &&
                f->head.e_ident[EI_DATA] == own->head.e_ident[EI_DATA];
    if (same) return MANTA_OK;
    return error_set(MANTA_EINVAL, "the program is for another kind of machine: %s of %d bits, this node is %s of %d bits",
        machine_name(f->head.e_machine), f->head.e_ident[EI_CLASS] == ELFCLASS32 ? 32 : 64, machine_name(own->head.e_machine),
        own->head.e_ident[EI_CLASS] == ELFCLASS32 ? 32 : 64);
}

extern char **environ;

static void add(char *missing, size_t room, const char *what, size_t bytes)
{
    char text[200];
    size_t held = strlen(missing);
    snprintf(text, sizeof text, "%.*s", (int)bytes, what);
    if (strstr(missing, text)) return; /* for another library that needs it too */
    snprintf(missing + held, room - held, "%s%s", held ? ", " : "", text);
}

/* Of "libx.so.1 => not found" the name, of "FILE: version `V' not found (required by FILE)" all but the end. */
static void note_missing(const char *line, char *missing, size_t room)
{
    const char *arrow = strstr(line, " => not found"), *version = strstr(line, "' not found (");
    line += strspn(line, " \t");
    if (arrow) add(missing, room, line, (size_t)(arrow - line));
    else if (version && strstr(line, ": version `")) add(missing, room, line, (size_t)(version + 1 - line));
}

static char **tracing_environment(void)
{
    size_t n = 0;
    while (environ[n]) n++;
    char **out = base_calloc(n + 2, sizeof *out);
    if (!out) return NULL;
    memcpy(out, environ, n * sizeof *out);
    out[n] = (char *)(uintptr_t) "LD_TRACE_LOADED_OBJECTS=1";
    return out;
}

/* Reads what the loader prints, on both streams. An errno value. */
static int list_libraries(const char *loader, const char *path, char *missing, size_t room)
{
    posix_spawn_file_actions_t actions;
    char *arguments[] = {(char *)(uintptr_t)loader, (char *)(uintptr_t)path, NULL}, line[1024];
    char **environment = tracing_environment();
    int ends[2];
    pid_t pid = 0;
    if (!environment || pipe2(ends, O_CLOEXEC)) return base_free(environment), environment ? errno : ENOMEM;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    int error = posix_spawn(&pid, loader, &actions, NULL, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    base_free(environment);
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    while (!error && f && fgets(line, sizeof line, f)) note_missing(line, missing, room);
    if (f) fclose(f);
    else close(ends[0]);
    while (!error && waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
    return error;
}

static manta_status check_libraries(const char *path, const char *loader)
{
    char missing[512] = "";
    manta_blocking_begin();
    int error = list_libraries(loader, path, missing, sizeof missing);
    manta_blocking_end();
    if (error) return error_set(MANTA_EINVAL, "the program needs the loader %s: %s", loader, strerror(error));
    return missing[0] ? error_set(MANTA_EINVAL, "the program needs what is not there: %s", missing) : MANTA_OK;
}

manta_status program_check(const char *path)
{
    elf_facts f = read_facts(path), own = read_facts(own_path);
    manta_status status = check_machine(&f, &own);
    const char *loader = f.loader[0] ? f.loader : own.loader;
    bool is_static = !f.has_dynamic || (!f.loader[0] && !is_module(&f));
    return status || is_static || !*loader ? status : check_libraries(path, loader);
}

/* ---- hashes ---- */

static uint64_t hash_more(uint64_t h, const void *data, size_t bytes) { return (h ^ hash_bytes(data, bytes)) * 0x9e3779b97f4a7c15u; }

uint64_t program_hash(int fd, uint64_t bytes)
{
    unsigned char *piece = base_alloc(CHUNK_BYTES);
    uint64_t h = bytes | 1;
    for (uint64_t at = 0; piece && at < bytes; at += CHUNK_BYTES) {
        size_t n = bytes - at < CHUNK_BYTES ? (size_t)(bytes - at) : CHUNK_BYTES;
        if (os_file_read(fd, piece, n, at)) h = 0;
        h = hash_more(h, piece, n);
    }
    base_free(piece);
    return piece ? h : 0;
}

/* ---- the copies of a node: DIRECTORY/HASH; those that are not complete yet are DIRECTORY/HASH.RANDOM ---- */

typedef struct kept_program {
    char name[40];
    uint64_t bytes;
    time_t used;
} kept_program;
typedef struct cache_scan {
    const program_cache *cache;
    kept_program *all;
    size_t n;
    uint64_t bytes;
    time_t now;
} cache_scan;

static bool visit_program(const char *name, void *context)
{
    cache_scan *s = context;
    char path[PROGRAM_PATH];
    struct stat of;
    size_t n = strlen(name);
    if (n < 16 || n >= sizeof s->all->name || strspn(name, "0123456789abcdef.") != n) return true;
    snprintf(path, sizeof path, "%s/%s", s->cache->directory, name);
    if (stat(path, &of)) return true;
    if (strchr(name, '.')) {
        if (s->now - of.st_mtime > LEFTOVER_S) (void)os_file_remove(path);
        return true;
    }
    kept_program *k = &s->all[s->n++];
    memcpy(k->name, name, n + 1);
    k->bytes = (uint64_t)of.st_size;
    k->used = of.st_mtime;
    s->bytes += k->bytes;
    return s->n < CACHED;
}

static int oldest_first(const void *a, const void *b)
{
    const kept_program *x = a, *y = b;
    return (x->used > y->used) - (x->used < y->used);
}

/* Until they fit, and half of CACHED files are left. One that runs keeps its bytes until it ends, as every removed file. */
static void evict(const program_cache *c, const char *keep)
{
    cache_scan s = {.cache = c, .all = base_calloc(CACHED, sizeof *s.all), .now = (time_t)(os_realtime_ns() / OS_NS_PER_S)};
    if (!s.all) return;
    (void)os_directory_list(c->directory, visit_program, &s);
    qsort(s.all, s.n, sizeof *s.all, oldest_first);
    for (size_t i = 0; i < s.n && (s.bytes > c->limit_bytes || s.n - i > CACHED / 2); i++) {
        char path[PROGRAM_PATH];
        if (strcmp(s.all[i].name, keep) == 0) continue;
        snprintf(path, sizeof path, "%s/%s", c->directory, s.all[i].name);
        if (os_file_remove(path) == 0) s.bytes -= s.all[i].bytes;
    }
    base_free(s.all);
}

int program_cache_open(program_cache *c, const char *directory, uint64_t limit_bytes)
{
    int error = os_directory_make(directory);
    snprintf(c->directory, sizeof c->directory, "%s", directory);
    c->limit_bytes = limit_bytes;
    if (!error) evict(c, "");
    return error;
}

/* ---- fetching ---- */

/* Of its driver, or else of another node that keeps it. */
static manta_manta_bytes_future ask_for_piece(const MantaJob *job, manta_actor node, uint64_t at, uint32_t bytes)
{
    if (job->driver.id) return MantaDriver_read(MantaDriver_ref_of(job->driver), at, bytes);
    return MantaRaylet_read_program(MantaRaylet_ref_of(node), job->hash, at, bytes);
}

static manta_status fetch_into(int fd, const MantaJob *job, manta_actor node)
{
    for (uint64_t at = 0; at < job->bytes;) {
        manta_bytes piece;
        uint32_t n = job->bytes - at < CHUNK_BYTES ? (uint32_t)(job->bytes - at) : CHUNK_BYTES;
        (void)manta_scope_begin(); /* so that a large program is never all in memory */
        manta_status status = manta_get(ask_for_piece(job, node, at, n), &piece);
        int error = status || piece.size != n ? EIO : os_file_write(fd, piece.data, piece.size, at);
        (void)manta_scope_end();
        if (status || error) return status ? status : MANTA_EIO;
        at += n;
    }
    return MANTA_OK;
}

static manta_status fetch(const MantaJob *job, manta_actor node, const char *path)
{
    char partial[PROGRAM_PATH + 32];
    int fd = -1;
    if (!job->bytes || job->bytes > PROGRAM_LIMIT)
        return error_set(MANTA_EINVAL, "a program of %llu bytes", (unsigned long long)job->bytes);
    snprintf(partial, sizeof partial, "%s.%llx", path, (unsigned long long)os_random_u64());
    int error = os_file_open(partial, OS_WRITE | OS_CREATE, &fd);
    if (error) return error_set(MANTA_EIO, "%s: %s", partial, strerror(error));
    manta_status status = fetch_into(fd, job, node);
    if (!status && program_hash(fd, job->bytes) != job->hash) status = error_set(MANTA_EIO, "the program changed while it was fetched");
    os_file_close(fd);
    if (!status) status = program_check(partial);
    if (!status && (chmod(partial, 0700) || rename(partial, path))) status = error_set(MANTA_EIO, "%s: %s", path, strerror(errno));
    if (status) (void)os_file_remove(partial);
    return status;
}

/* Of a job that is over: from whichever node has a whole copy. */
static manta_status fetch_from_nodes(const MantaJob *job, const manta_actor *nodes, uint32_t n, const char *path)
{
    manta_status status = MANTA_ENOTFOUND;
    for (uint32_t i = 0; i < n && status; i++) status = fetch(job, nodes[i], path);
    return status ? error_set(MANTA_ENOTFOUND, "the program of a job that is over is kept neither by this node nor by another that answers")
                  : MANTA_OK;
}

static void path_of(const program_cache *c, uint64_t hash, char path[PROGRAM_PATH])
{
    snprintf(path, PROGRAM_PATH, "%s/%016llx", c->directory, (unsigned long long)hash);
}

int program_read(const program_cache *c, uint64_t hash, uint64_t offset, void *data, uint32_t bytes)
{
    char path[PROGRAM_PATH];
    int fd = -1;
    path_of(c, hash, path);
    int error = os_file_open(path, OS_READ, &fd);
    if (!error) error = os_file_read(fd, data, bytes, offset);
    os_file_close(fd);
    return error;
}

manta_status program_get(program_cache *c, const MantaJob *job, const manta_actor *nodes, uint32_t n_nodes, char path[PROGRAM_PATH])
{
    if (the_simulation.net) return snprintf(path, PROGRAM_PATH, "simulated"), MANTA_OK; /* all processes have the same one */
    path_of(c, job->hash, path);
    bool is_there = access(path, X_OK) == 0;
    manta_status status = is_there         ? program_check(path)
                          : job->driver.id ? fetch(job, (manta_actor){0}, path)
                                           : fetch_from_nodes(job, nodes, n_nodes, path);
    if (status) return status;
    if (is_there) (void)utimensat(AT_FDCWD, path, NULL, 0); /* just used */
    else evict(c, strrchr(path, '/') + 1);
    return MANTA_OK;
}
