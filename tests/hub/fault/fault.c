/* A disk that fails: loaded before libc (LD_PRELOAD), it lets writes and syncs below a folder fail when it is told to.
 *
 * FORESHOCK_FAULT_FOLDER: the folder. FORESHOCK_FAULT_CONTROL: a file of three ints that the test maps as well (control).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    atomic_int error; /* errno of every call that fails; 0: none does */
    atomic_int left;  /* calls that still succeed */
    atomic_int failed;
};

static struct control *control;
static const char *folder;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FORESHOCK_FAULT_CONTROL");
    folder = getenv("FORESHOCK_FAULT_FOLDER");
    int file = path && folder ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(file);
}

static int fails(int file) {
    char link[64], path[4096];
    int error = control ? atomic_load(&control->error) : 0;
    if (!error) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < (ssize_t)strlen(folder) || strncmp(path, folder, strlen(folder)) != 0) return 0;
    if (atomic_fetch_sub(&control->left, 1) > 0) return 0;
    atomic_fetch_add(&control->failed, 1);
    errno = error;
    return 1;
}

#define PASS(result, name, parameters, arguments)                                              \
    result name parameters {                                                                   \
        static result(*real) parameters;                                                       \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                                  \
        return fails(file) ? -1 : real arguments;                                              \
    }

PASS(ssize_t, write, (int file, const void *data, size_t size), (file, data, size))
PASS(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count))
PASS(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
PASS(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
PASS(int, fsync, (int file), (file))
PASS(int, fdatasync, (int file), (file))
