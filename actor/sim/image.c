#include "actor/sim/image.h"

#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scheduler/base/alloc.h"
#include "scheduler/base/check.h"
#include "scheduler/os/os.h"
#include "scheduler/pool/pool.h"

typedef struct part { /* the variables of a program or library */
    unsigned char *memory, *tls;
    size_t bytes, tls_bytes;
} part;

struct images { /* on the heap, for it must not be switched */
    part where;
    int file; /* of all sets, one after the other; the last is what the variables were at first */
    uint32_t count, current;
    unsigned char *tls; /* of all sets */
};

/* ---- where they are ---- */

static uintptr_t up_to_page(uintptr_t at) { return (at + OS_PAGE - 1) & ~(uintptr_t)(OS_PAGE - 1); }

/* The writable segment, behind what the linker made read-only. */
static void take_segment(part *out, const struct dl_phdr_info *info, const ElfW(Phdr) * h)
{
    uintptr_t from = info->dlpi_addr + h->p_vaddr, end = up_to_page(from + h->p_memsz);
    if ((uintptr_t)out->memory > from) from = (uintptr_t)out->memory;
    from = up_to_page(from);
    out->memory = (unsigned char *)from;
    out->bytes = end - from;
}

static bool holds(const struct dl_phdr_info *info, const void *variable)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + h->p_vaddr;
        if (h->p_type == PT_LOAD && h->p_flags & PF_W && (uintptr_t)variable - from < h->p_memsz) return true;
    }
    return false;
}

static int look_at(struct dl_phdr_info *info, size_t size, void *context)
{
    part *out = context;
    (void)size;
    if (!holds(info, &the_pool)) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type == PT_GNU_RELRO) out->memory = (unsigned char *)(info->dlpi_addr + h->p_vaddr + h->p_memsz);
        if (h->p_type != PT_TLS) continue;
        out->tls = info->dlpi_tls_data;
        out->tls_bytes = h->p_memsz;
    }
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_W) take_segment(out, info, &info->dlpi_phdr[i]);
    return 1;
}

/* ---- sets ---- */

/* Without the C library: AddressSanitizer would find the gaps between variables in it. */
static __attribute__((no_sanitize("address", "thread"))) void copy(unsigned char *to, const unsigned char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] = from[i];
        __asm__ volatile("" : : : "memory"); /* no memcpy of the compiler's */
    }
}

static off_t place_of(const images *all, uint32_t i) { return (off_t)(i * all->where.bytes); }
static unsigned char *tls_of(const images *all, uint32_t i) { return all->tls + i * all->where.tls_bytes; }

static unsigned char *map_set(const images *all, uint32_t i)
{
    void *memory = mmap(NULL, all->where.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, all->file, place_of(all, i));
    check(memory != MAP_FAILED);
    return memory;
}

static void put_in_place(const images *all, uint32_t i)
{
    void *memory = mmap(all->where.memory, all->where.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, all->file, place_of(all, i));
    check(memory == (void *)all->where.memory);
}

static void keep(images *all, uint32_t i)
{
    unsigned char *to = map_set(all, i);
    copy(to, all->where.memory, all->where.bytes);
    munmap(to, all->where.bytes);
    copy(tls_of(all, i), all->where.tls, all->where.tls_bytes);
}

bool images_new(uint32_t count, images **out)
{
    images *all = base_calloc(1, sizeof *all);
    if (!all) return errno = ENOMEM, false;
    all->count = count;
    all->file = memfd_create("manta-sim", MFD_CLOEXEC);
    (void)dl_iterate_phdr(look_at, &all->where);
    all->tls = base_calloc(count + 2, all->where.tls_bytes + 1);
    if (all->file < 0 || !all->tls || ftruncate(all->file, place_of(all, count + 2))) {
        if (all->file >= 0) close(all->file);
        base_free(all->tls);
        base_free(all);
        return false;
    }
    keep(all, count + 1);
    keep(all, 0);
    put_in_place(all, 0);
    *out = all;
    return true;
}

void images_reset(images *all, uint32_t i)
{
    check(i != all->current && i <= all->count);
    unsigned char *from = map_set(all, all->count + 1), *to = map_set(all, i);
    memcpy(to, from, all->where.bytes);
    munmap(from, all->where.bytes);
    munmap(to, all->where.bytes);
    copy(tls_of(all, i), tls_of(all, all->count + 1), all->where.tls_bytes);
}

void images_switch(images *all, uint32_t i)
{
    check(i <= all->count);
    if (i == all->current) return;
    copy(tls_of(all, all->current), all->where.tls, all->where.tls_bytes);
    put_in_place(all, i);
    copy(all->where.tls, tls_of(all, i), all->where.tls_bytes);
    all->current = i;
}

uint32_t images_current(const images *all) { return all->current; }
