/*
 * Names for code addresses: the symbol tables of ELF files, read piece by piece with every number checked, because a file may be anything.
 *
 * Files are read, not mapped: one that shrinks meanwhile is an error, not a fault.
 */
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "actor/node/crash.h"
#include "scheduler/os/os_file.h"

enum { SECTIONS = 4096, TABLE_BYTES = 64 << 20, NAMES_BYTES = 64 << 20, SEGMENTS = 256 };

typedef struct image {
    int fd;
    uint64_t bytes;
    Elf64_Ehdr head;
} image;

/* A piece of the file, in memory of its own; NULL: it is not all there, or too large. */
static void *piece(const image *f, uint64_t offset, uint64_t bytes, uint64_t most)
{
    if (!bytes || bytes > most || offset > f->bytes || bytes > f->bytes - offset) return NULL;
    char *data = base_alloc((size_t)bytes + 1);
    if (data && os_file_read(f->fd, data, (size_t)bytes, offset)) {
        base_free(data);
        return NULL;
    }
    if (data) data[bytes] = 0; /* the last name ends */
    return data;
}

static bool open_image(const char *path, image *f)
{
    struct stat s;
    f->fd = -1;
    if (path[0] != '/' || stat(path, &s) || !S_ISREG(s.st_mode) || os_file_open(path, OS_READ, &f->fd)) return false;
    if (os_file_size(f->fd, &f->bytes) || os_file_read(f->fd, &f->head, sizeof f->head, 0)) return false;
    return memcmp(f->head.e_ident, ELFMAG, SELFMAG) == 0 && f->head.e_ident[EI_CLASS] == ELFCLASS64 &&
           f->head.e_ident[EI_DATA] == ELFDATA2LSB && f->head.e_shentsize == sizeof(Elf64_Shdr) &&
           f->head.e_phentsize == sizeof(Elf64_Phdr);
}

/* Where the loader puts that offset of the file, before relocation. */
static bool address_of(const image *f, uint64_t offset, uint64_t *out)
{
    uint32_t n = f->head.e_phnum < SEGMENTS ? f->head.e_phnum : SEGMENTS;
    Elf64_Phdr *segments = piece(f, f->head.e_phoff, (uint64_t)n * sizeof *segments, SEGMENTS * sizeof *segments);
    bool found = false;
    for (uint32_t i = 0; segments && i < n && !found; i++) {
        const Elf64_Phdr *s = &segments[i];
        found = s->p_type == PT_LOAD && offset >= s->p_offset && offset - s->p_offset < s->p_filesz;
        if (found) *out = s->p_vaddr + (offset - s->p_offset);
    }
    base_free(segments);
    return found;
}

static bool search(const Elf64_Sym *symbols, uint64_t n, const char *names, uint64_t names_bytes, uint64_t address, char *out, size_t room,
    uint64_t *out_offset)
{
    const Elf64_Sym *best = NULL;
    for (uint64_t i = 0; i < n; i++) {
        const Elf64_Sym *s = &symbols[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || address < s->st_value || !s->st_name || s->st_name >= names_bytes) continue;
        if (address - s->st_value < (s->st_size ? s->st_size : 1) && (!best || s->st_value > best->st_value)) best = s;
    }
    if (!best) return false;
    snprintf(out, room, "%s", names + best->st_name);
    for (char *at = out; *at; at++)
        if (*at <= ' ' || *at > '~') *at = '?';
    *out_offset = address - best->st_value;
    return true;
}

static bool search_table(const image *f, const Elf64_Shdr *sections, uint32_t n, const Elf64_Shdr *table, uint64_t address, char *out,
    size_t room, uint64_t *out_offset)
{
    if (table->sh_link >= n || table->sh_entsize != sizeof(Elf64_Sym)) return false;
    const Elf64_Shdr *strings = &sections[table->sh_link];
    Elf64_Sym *symbols = piece(f, table->sh_offset, table->sh_size, TABLE_BYTES);
    char *names = piece(f, strings->sh_offset, strings->sh_size, NAMES_BYTES);
    bool found =
        symbols && names && search(symbols, table->sh_size / sizeof *symbols, names, strings->sh_size, address, out, room, out_offset);
    base_free(symbols);
    base_free(names);
    return found;
}

bool symbol_find(const char *path, uint64_t file_offset, char *out, size_t room, uint64_t *out_offset)
{
    static const uint32_t kinds[] = {SHT_SYMTAB, SHT_DYNSYM};
    image f;
    uint64_t address = 0;
    bool ok = open_image(path, &f) && address_of(&f, file_offset, &address), found = false;
    uint32_t n = !ok ? 0 : f.head.e_shnum < SECTIONS ? f.head.e_shnum : SECTIONS;
    Elf64_Shdr *sections = n ? piece(&f, f.head.e_shoff, (uint64_t)n * sizeof *sections, SECTIONS * sizeof *sections) : NULL;
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; sections && i < n && !found; i++)
            found = sections[i].sh_type == kinds[k] && search_table(&f, sections, n, &sections[i], address, out, room, out_offset);
    base_free(sections);
    os_file_close(f.fd);
    return found;
}

void crash_symbolise(crash *c)
{
    for (uint32_t i = 0; i < c->n_frames; i++) {
        crash_frame *f = &c->frames[i];
        uint64_t at = i && f->offset ? f->offset - 1 : f->offset; /* a return address is behind the call */
        if (!f->module[0] || !symbol_find(f->module, at, f->function, sizeof f->function, &f->function_offset)) continue;
        f->function_offset += f->offset - at;
    }
}
