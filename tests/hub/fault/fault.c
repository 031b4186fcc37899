/* A disk that fails: loaded before libc (LD_PRELOAD), it lets calls below a folder fail when it is told to.
 *
 * FORESHOCK_FAULT_FOLDER: the folder. FORESHOCK_FAULT_CONTROL: a file of four ints that the test maps as well (control).
 * FORESHOCK_FAULT_SECTOR: `INODE OFFSET`; if set, only reads of that byte of that file fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    atomic_int error; /* errno of every call that fails; 0: none does */
    atomic_int left;  /* calls that still succeed */
    atomic_int failed;
    atomic_int calls; /* sum of the kinds of calls that fail */
};

enum { WRITE = 1, SYNC = 2, OPEN = 4, READ = 8, NAME = 16 };

static struct control *control;
static const char *folder;
static unsigned long long inode, sector; /* inode 0: any */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FORESHOCK_FAULT_CONTROL");
    folder = getenv("FORESHOCK_FAULT_FOLDER");
    const char *bad = getenv("FORESHOCK_FAULT_SECTOR");
    if (bad) sscanf(bad, "%llu %llu", &inode, &sector);
    int file = path && folder ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(file);
}

static int fails_at(int kind, const char *path) {
    int error = control ? atomic_load(&control->error) : 0;
    if (!error || !(atomic_load(&control->calls) & kind) || strncmp(path, folder, strlen(folder)) != 0) return 0;
    if (atomic_fetch_sub(&control->left, 1) > 0) return 0;
    atomic_fetch_add(&control->failed, 1);
    errno = error;
    return 1;
}

static int fails(int kind, int file) {
    char link[64], path[4096];
    if (!control || !atomic_load(&control->error)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails_at(kind, path);
}

static int fails_read(int file, size_t size, off_t at) {
    struct stat status;
    if (!control || !atomic_load(&control->error)) return 0;
    if (inode && (fstat(file, &status) || status.st_ino != inode)) return 0;
    if (inode && (at < 0 || sector < (unsigned long long)at || sector >= (unsigned long long)at + size)) return 0;
    return fails(READ, file);
}

#define PASS(result, name, parameters, arguments, failing)                                     \
    result name parameters {                                                                   \
        static result(*real) parameters;                                                       \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                                  \
        return failing ? -1 : real arguments;                                                  \
    }
#define DATA const void *data, size_t size
#define BUFFER void *data, size_t size

PASS(ssize_t, write, (int file, DATA), (file, data, size), fails(WRITE, file))
PASS(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count), fails(WRITE, file))
PASS(ssize_t, pwrite, (int file, DATA, off_t at), (file, data, size, at), fails(WRITE, file))
PASS(ssize_t, pwrite64, (int file, DATA, off64_t at), (file, data, size, at), fails(WRITE, file))
PASS(int, fsync, (int file), (file), fails(SYNC, file))
PASS(int, fdatasync, (int file), (file), fails(SYNC, file))
PASS(ssize_t, read, (int file, BUFFER), (file, data, size), fails_read(file, size, lseek(file, 0, SEEK_CUR)))
PASS(ssize_t, pread, (int file, BUFFER, off_t at), (file, data, size, at), fails_read(file, size, at))
PASS(ssize_t, pread64, (int file, BUFFER, off64_t at), (file, data, size, at), fails_read(file, size, at))
PASS(int, rename, (const char *old, const char *new), (old, new), fails_at(NAME, old))
PASS(int, unlink, (const char *path), (path), fails_at(NAME, path))
PASS(int, mkdir, (const char *path, mode_t mode), (path, mode), fails_at(NAME, path))

#define PASS_OPEN(name)                                                                        \
    int name(const char *path, int flags, ...) {                                               \
        static int (*real)(const char *, int, ...);                                            \
        va_list rest;                                                                          \
        va_start(rest, flags);                                                                 \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                \
        va_end(rest);                                                                          \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                                  \
        return fails_at(OPEN, path) ? -1 : real(path, flags, mode);                            \
    }
PASS_OPEN(open)
PASS_OPEN(open64)
