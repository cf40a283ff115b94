#include "scheduler/os/os_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "scheduler/os/os.h"

enum { TRANSFER_LIMIT = 1 << 30, INTERRUPTS_LIMIT = 1000 };
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* ---- the seam ---- */

static _Atomic int64_t fail_in; /* 0: off; 1: the next call */
static _Atomic int fail_error;
static _Atomic bool has_failed;

void os_file_fail_at(uint64_t n, int error)
{
    store_relaxed(&fail_error, error);
    store_relaxed(&has_failed, false);
    store_relaxed(&fail_in, (int64_t)n);
}

bool os_file_has_failed(void) { return load_relaxed(&has_failed); }

static int injected(void)
{
    if (likely(load_relaxed(&fail_in) <= 0)) return 0;
    if (atomic_fetch_sub_explicit(&fail_in, 1, memory_order_relaxed) != 1) return 0;
    store_relaxed(&has_failed, true);
    return load_relaxed(&fail_error);
}

int os_file_should_fail(void) { return injected(); }

static int result_of(int returned) { return returned == 0 ? 0 : errno; }

/* ---- files ---- */

int os_file_open(const char *path, int flags, int *out_fd)
{
    int error = injected();
    if (error) return error;
    int mode = flags & OS_WRITE ? O_RDWR : O_RDONLY;
    int fd = open(path, mode | O_CLOEXEC | (flags & OS_CREATE ? O_CREAT : 0) | (flags & OS_EXCLUSIVE ? O_EXCL : 0), 0600);
    if (fd < 0) return errno;
    *out_fd = fd;
    return 0;
}

void os_file_close(int fd)
{
    if (fd >= 0) close(fd);
}

int os_file_size(int fd, uint64_t *out_bytes)
{
    struct stat s;
    int error = injected();
    if (error || (error = result_of(fstat(fd, &s)))) return error;
    *out_bytes = (uint64_t)s.st_size;
    return 0;
}

bool os_file_is_private(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 && !(s.st_mode & 077);
}

bool os_file_is_at(int fd, const char *path)
{
    struct stat open, named;
    return fstat(fd, &open) == 0 && stat(path, &named) == 0 && open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

int os_file_resize(int fd, uint64_t size_bytes)
{
    int error = injected();
    return error ? error : result_of(ftruncate(fd, (off_t)size_bytes));
}

int os_file_allocate(int fd, uint64_t offset, uint64_t size_bytes)
{
    int error = injected();
    for (int i = 0; !error && i < INTERRUPTS_LIMIT; i++) {
        if (fallocate(fd, 0, (off_t)offset, (off_t)size_bytes) == 0) return 0;
        if (errno != EINTR) return errno;
    }
    return error ? error : EINTR;
}

int os_file_read(int fd, void *data, size_t size_bytes, uint64_t offset)
{
    int error = injected();
    for (size_t done = 0; !error && done < size_bytes;) {
        size_t part = size_bytes - done < TRANSFER_LIMIT ? size_bytes - done : TRANSFER_LIMIT;
        ssize_t n = pread(fd, (char *)data + done, part, (off_t)(offset + done));
        if (n == 0) return ENODATA;
        if (n > 0) done += (size_t)n;
        else if (errno != EINTR) error = errno;
    }
    return error;
}

int os_file_write(int fd, const void *data, size_t size_bytes, uint64_t offset)
{
    int error = injected();
    for (size_t done = 0; !error && done < size_bytes;) {
        size_t part = size_bytes - done < TRANSFER_LIMIT ? size_bytes - done : TRANSFER_LIMIT;
        ssize_t n = pwrite(fd, (const char *)data + done, part, (off_t)(offset + done));
        if (n > 0) done += (size_t)n;
        else if (n == 0) error = ENOSPC;
        else if (errno != EINTR) error = errno;
    }
    return error;
}

int os_file_sync(int fd)
{
    int error = injected();
    return error ? error : result_of(fdatasync(fd));
}

int os_file_remove(const char *path)
{
    int error = injected();
    return error ? error : result_of(unlink(path));
}

int os_directory_make(const char *path)
{
    int error = injected();
    if (error || mkdir(path, 0700) == 0) return error;
    struct stat s;
    error = errno;
    return error == EEXIST && stat(path, &s) == 0 && S_ISDIR(s.st_mode) ? 0 : error;
}

int os_directory_remove(const char *path)
{
    int error = injected();
    return error ? error : result_of(rmdir(path));
}

int os_directory_list(const char *path, bool (*visit)(const char *name, void *context), void *context)
{
    int error = injected();
    DIR *d = error ? NULL : opendir(path);
    if (!d) return error ? error : errno;
    for (struct dirent *entry; (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && !visit(entry->d_name, context)) break;
    closedir(d);
    return 0;
}

/* ---- memory ---- */

int os_file_map(int fd, uint64_t size_bytes, bool writable, void **out_memory)
{
    int error = injected();
    if (error) return error;
    void *p = mmap(NULL, size_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED) return errno;
    madvise(p, size_bytes, MADV_DONTFORK); /* a child must not write here in its parent's name */
    *out_memory = p;
    return 0;
}

void os_file_unmap(void *memory, uint64_t size_bytes)
{
    if (memory) munmap(memory, size_bytes);
}

int os_memory_populate(void *memory, size_t size_bytes, bool for_write)
{
    return result_of(madvise(memory, size_bytes, for_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ));
}

int os_memory_protect(void *memory, size_t size_bytes, bool readable, bool writable)
{
    int error = injected();
    return error ? error : result_of(mprotect(memory, size_bytes, (readable ? PROT_READ : 0) | (writable ? PROT_WRITE : 0)));
}

void os_memory_advise_huge(void *memory, size_t size_bytes) { (void)madvise(memory, size_bytes, MADV_HUGEPAGE); }

/* ---- locks ---- */

static int lock_command(int fd, int command, short type, uint64_t offset, struct flock *l)
{
    *l = (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = 1};
    return result_of(fcntl(fd, command, l));
}

int os_file_try_lock(int fd, uint64_t offset)
{
    struct flock l;
    int error = injected();
    if (error) return error;
    error = lock_command(fd, F_OFD_SETLK, F_WRLCK, offset, &l);
    return error == EACCES ? EAGAIN : error;
}

int os_file_unlock(int fd, uint64_t offset)
{
    struct flock l;
    return lock_command(fd, F_OFD_SETLK, F_UNLCK, offset, &l);
}

bool os_file_is_locked(int fd, uint64_t offset)
{
    struct flock l;
    return lock_command(fd, F_OFD_GETLK, F_WRLCK, offset, &l) == 0 && l.l_type != F_UNLCK;
}

/* ---- the machine ---- */

bool os_path_is_tmpfs(const char *path)
{
    struct statfs s;
    return statfs(path, &s) == 0 && (s.f_type == TMPFS_MAGIC || s.f_type == RAMFS_MAGIC);
}

int os_path_free_bytes(const char *path, uint64_t *out_bytes)
{
    struct statfs s;
    int error = injected();
    if (error || (error = result_of(statfs(path, &s)))) return error;
    *out_bytes = (uint64_t)s.f_bavail * (uint64_t)s.f_bsize;
    return 0;
}

bool os_boot_id(char out[40])
{
    memset(out, 0, 40);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, 36);
    os_file_close(fd);
    return n == 36;
}

bool os_futex_wait_shared(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    struct timespec t = {(time_t)(timeout_ns / OS_NS_PER_S), (long)(timeout_ns % OS_NS_PER_S)};
    long r = syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns == OS_FOREVER ? NULL : &t, NULL, 0);
    return !(r < 0 && errno == ETIMEDOUT);
}

void os_futex_wake_shared(_Atomic uint32_t *word, int count) { (void)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0); }
