#include "actor/sim/image.h"

#include <link.h>
#include <string.h>
#include <sys/mman.h>

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
    uint32_t count, current;
    unsigned char *tls;    /* of all sets; set count + 1 is what the variables were at first */
    unsigned char **aside; /* where each set lies while it is not in place */
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
        out->tls_bytes = (h->p_memsz + 7) & ~(size_t)7; /* rounded: what lies behind it is padding */
    }
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_W) take_segment(out, info, &info->dlpi_phdr[i]);
    return 1;
}

/* ---- sets ---- */

/* Without the C library: AddressSanitizer would find the gaps between variables in it. */
static __attribute__((no_sanitize("address", "thread"))) void copy(unsigned char *to, const unsigned char *from, size_t bytes)
{
    const uint64_t *source = (const uint64_t *)(const void *)from;
    uint64_t *target = (uint64_t *)(void *)to;
    for (size_t i = 0; i < bytes / sizeof *source; i++) {
        target[i] = source[i];
        __asm__ volatile("" : : : "memory"); /* no memcpy of the compiler's */
    }
}

static __attribute__((no_sanitize("address", "thread"))) bool is_zero(const unsigned char *page)
{
    const uint64_t *words = (const uint64_t *)(const void *)page;
    for (size_t i = 0; i < OS_PAGE / sizeof *words; i++)
        if (words[i]) return false;
    return true;
}

static unsigned char *tls_of(const images *all, uint32_t i) { return all->tls + i * all->where.tls_bytes; }

static void move(unsigned char *from, unsigned char *to, size_t bytes, int flags)
{
    check(mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) == (void *)to);
}

/* Onto zeroed ones. Those of zeros are left alone: the fewer pages a set has, the sooner it is moved. */
static void copy_pages(unsigned char *to, const unsigned char *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += OS_PAGE)
        if (!is_zero(from + at)) copy(to + at, from + at, OS_PAGE);
}

static void take_first(images *all, uint32_t i)
{
    copy_pages(all->aside[i], all->where.memory, all->where.bytes);
    copy(tls_of(all, i), all->where.tls, all->where.tls_bytes);
}

static bool make_room(images *all)
{
    uint32_t sets = all->count + 2;
    all->tls = base_calloc(sets, all->where.tls_bytes + 1);
    all->aside = base_calloc(sets, sizeof *all->aside);
    if (!all->tls || !all->aside) return false;
    for (uint32_t i = 0; i < sets; i++)
        if (!(all->aside[i] = os_map(all->where.bytes, 0))) return false;
    return true;
}

bool images_new(uint32_t count, images **out)
{
    images *all = base_calloc(1, sizeof *all);
    if (!all) return false;
    all->count = count;
    (void)dl_iterate_phdr(look_at, &all->where);
    if (!make_room(all)) return false;
    take_first(all, count + 1);
    take_first(all, 0); /* in one piece of memory, which what the loader made is not */
    move(all->aside[0], all->where.memory, all->where.bytes, MREMAP_DONTUNMAP);
    *out = all;
    return true;
}

void images_reset(images *all, uint32_t i)
{
    check(i != all->current && i <= all->count);
    os_discard(all->aside[i], all->where.bytes);
    copy_pages(all->aside[i], all->aside[all->count + 1], all->where.bytes);
    copy(tls_of(all, i), tls_of(all, all->count + 1), all->where.tls_bytes);
}

/* Between the two moves there are no variables: nothing here may look at one. */
void images_switch(images *all, uint32_t i)
{
    check(i <= all->count);
    if (i == all->current) return;
    copy(tls_of(all, all->current), all->where.tls, all->where.tls_bytes);
    move(all->where.memory, all->aside[all->current], all->where.bytes, 0);
    move(all->aside[i], all->where.memory, all->where.bytes, MREMAP_DONTUNMAP); /* its place stays taken */
    copy(all->where.tls, tls_of(all, i), all->where.tls_bytes);
    all->current = i;
}

uint32_t images_current(const images *all) { return all->current; }
