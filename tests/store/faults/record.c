/* Records the file operations of a process below a folder: loaded before libc (LD_PRELOAD).
 *
 * FORESHOCK_RECORD_FOLDER: the folder. FORESHOCK_RECORD_LOG: the file that the operations are appended to, in the order
 * in which they took effect: a header (struct operation), two paths and the data written. What the process writes to its
 * standard error is recorded as a mark.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct operation {
    char name[8];
    uint64_t offset;
    uint32_t path, other_path, data; /* lengths */
    uint32_t unused;
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static int log_file = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FORESHOCK_RECORD_LOG");
    folder = getenv("FORESHOCK_RECORD_FOLDER");
    if (path && folder) log_file = REAL(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void record(const char *name, const char *path, const char *other, uint64_t offset, const void *data, size_t size) {
    struct operation entry = {.offset = offset, .path = strlen(path), .other_path = strlen(other), .data = size};
    memcpy(entry.name, name, strlen(name));
    struct iovec parts[] = {
        {&entry, sizeof entry}, {(void *)path, entry.path}, {(void *)other, entry.other_path}, {(void *)data, size}};
    if (REAL(writev)(log_file, parts, 4) != (ssize_t)(sizeof entry + entry.path + entry.other_path + size)) abort();
}

/* The path of an open file, or of a name in a folder; 0 if it is elsewhere. */
static int locate(char *result, int file, const char *name) {
    char link[64], base[4096] = "";
    if (log_file < 0) return 0;
    if (!name || (name[0] != '/' && file != AT_FDCWD)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
    }
    snprintf(result, 8192, "%s%s%s", base, base[0] && name ? "/" : "", name ? name : "");
    return strncmp(result, folder, strlen(folder)) == 0;
}

static int opened(int at, const char *name, int flags, mode_t mode) {
    char path[8192];
    if (!(flags & (O_CREAT | O_TRUNC)) || !locate(path, at, name)) return REAL(openat)(at, name, flags, mode);
    pthread_mutex_lock(&order);
    int file = REAL(openat)(at, name, flags, mode);
    if (file >= 0) record(flags & O_TRUNC ? "trunc" : "create", path, "", 0, "", 0);
    pthread_mutex_unlock(&order);
    return file;
}

#define OPEN(name, parameters, at)                                  \
    int name parameters {                                           \
        va_list rest;                                               \
        va_start(rest, flags);                                      \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                               \
        return opened(at, path, flags, mode);                       \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), at)
OPEN(openat64, (int at, const char *path, int flags, ...), at)

#define RECORDED(type, name, parameters, arguments, located, good, entry) \
    type name parameters {                                                \
        char path[8192];                                                  \
        if (!(located)) return REAL(name) arguments;                      \
        pthread_mutex_lock(&order);                                       \
        type result = REAL(name) arguments;                               \
        if (good) entry;                                                  \
        pthread_mutex_unlock(&order);                                     \
        return result;                                                    \
    }
#define AT(file, name) locate(path, file, name)
#define WRITE(name, parameters, arguments, offset) \
    RECORDED(ssize_t, name, parameters, arguments, AT(file, NULL), result > 0, \
             record("write", path, "", (uint64_t)(offset), data, (size_t)result))
WRITE(pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at), at)
WRITE(pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at), at)

ssize_t write(int file, const void *data, size_t size) {
    char path[8192];
    int mark = file == 2 && log_file >= 0;
    if (!mark && !locate(path, file, NULL)) return REAL(write)(file, data, size);
    pthread_mutex_lock(&order);
    ssize_t result = REAL(write)(file, data, size);
    if (result > 0) {
        off_t end = mark ? 0 : lseek(file, 0, SEEK_CUR);
        record(mark ? "mark" : "write", mark ? "" : path, "", mark ? 0 : (uint64_t)(end - result), data, (size_t)result);
    }
    pthread_mutex_unlock(&order);
    return result;
}

#define CHANGED(name, parameters, arguments, located, entry) \
    RECORDED(int, name, parameters, arguments, located, result == 0, record entry)
CHANGED(fsync, (int file), (file), AT(file, NULL), ("sync", path, "", 0, "", 0))
CHANGED(fdatasync, (int file), (file), AT(file, NULL), ("sync", path, "", 0, "", 0))
CHANGED(ftruncate, (int file, off_t size), (file, size), AT(file, NULL), ("resize", path, "", (uint64_t)size, "", 0))
CHANGED(ftruncate64, (int file, off64_t size), (file, size), AT(file, NULL), ("resize", path, "", (uint64_t)size, "", 0))
CHANGED(unlink, (const char *name), (name), AT(AT_FDCWD, name), ("remove", path, "", 0, "", 0))
CHANGED(unlinkat, (int at, const char *name, int flags), (at, name, flags), AT(at, name), ("remove", path, "", 0, "", 0))
CHANGED(rmdir, (const char *name), (name), AT(AT_FDCWD, name), ("remove", path, "", 0, "", 0))
CHANGED(mkdir, (const char *name, mode_t mode), (name, mode), AT(AT_FDCWD, name), ("mkdir", path, "", 0, "", 0))

int rename(const char *old, const char *new) {
    char path[8192], other[8192];
    if (!locate(path, AT_FDCWD, old) || !locate(other, AT_FDCWD, new)) return REAL(rename)(old, new);
    pthread_mutex_lock(&order);
    int result = REAL(rename)(old, new);
    if (result == 0) record("rename", path, other, 0, "", 0);
    pthread_mutex_unlock(&order);
    return result;
}
