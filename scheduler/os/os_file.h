/*
 * Files, shared mappings and locks, as the rest of Manta sees them; with one seam: tests make the n-th call fail.
 *
 * Functions that can fail return 0 or an errno value, and leave `out` parameters alone on failure. Reads and writes are complete or fail.
 * Any thread may call any function; descriptors are closed on exec.
 */
#ifndef MANTA_OS_FILE_H
#define MANTA_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/base/atomics.h"

enum { OS_READ = 0, OS_WRITE = 1, OS_CREATE = 2, OS_EXCLUSIVE = 4 };

int os_file_open(const char *path, int flags, int *out_fd); /* OS_CREATE: mode 0600 */
void os_file_close(int fd);                                 /* negative is fine */
int os_file_size(int fd, uint64_t *out_bytes);
bool os_file_is_private(int fd);              /* only its owner may read it */
bool os_file_is_at(int fd, const char *path); /* the path names this file (still) */
int os_file_resize(int fd, uint64_t size_bytes);
int os_file_allocate(
    int fd, uint64_t offset, uint64_t size_bytes); /* takes the room now: no SIGBUS and no ENOSPC there later; grows the file */
int os_file_read(int fd, void *data, size_t size_bytes, uint64_t offset); /* ENODATA: the file ends before */
int os_file_write(int fd, const void *data, size_t size_bytes, uint64_t offset);
int os_file_sync(int fd); /* the data, not the times */
int os_file_remove(const char *path);
int os_directory_make(const char *path);   /* mode 0700; one that is there is fine */
int os_directory_remove(const char *path); /* must be empty */
int os_directory_list(const char *path, bool (*visit)(const char *name, void *context), void *context); /* until visit returns false */

int os_file_map(int fd, uint64_t size_bytes, bool writable, void **out_memory); /* shared */
void os_file_unmap(void *memory, uint64_t size_bytes);
int os_memory_populate(void *memory, size_t size_bytes, bool for_write); /* page tables and pages, without touching the contents */
int os_memory_protect(void *memory, size_t size_bytes, bool readable, bool writable);
void os_memory_advise_huge(void *memory, size_t size_bytes);

/* Exclusive lock on one byte, owned by the open file description: it ends with the last descriptor, so with the process. EAGAIN: another has it. */
int os_file_try_lock(int fd, uint64_t offset);
int os_file_unlock(int fd, uint64_t offset);
bool os_file_is_locked(int fd, uint64_t offset); /* by another description */

bool os_path_is_tmpfs(const char *path);
int os_path_free_bytes(const char *path, uint64_t *out_bytes);
bool os_boot_id(char out[40]); /* of this start of the kernel; "" and false when unknown */

/* Like os_futex_wait and os_futex_wake, on a word in memory that processes share. */
bool os_futex_wait_shared(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void os_futex_wake_shared(_Atomic uint32_t *word, int count);

/* The n-th of the calls above that can fail (1: the next) fails with `error`, once; 0 switches the seam off. */
void os_file_fail_at(uint64_t n, int error);
bool os_file_has_failed(void); /* since os_file_fail_at */

/* Counts one call made by other means (a database's commit) and says with which error it must fail now; 0: it need not. */
int os_file_should_fail(void);

#endif
