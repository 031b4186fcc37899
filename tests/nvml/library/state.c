/* The state file: mapped once per path, read under a sequence lock so that no answer mixes two states. */
#define _GNU_SOURCE
#include "double.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { RETRY_US = 50, PATIENCE_US = 10000000, HANG_US = 5000 };

static struct file *_Atomic mapped;
static char mapped_path[4096];
static _Atomic unsigned int blocked; /* calls of this process that hang */

/* Maps the file named by FORESHOCK_NVML_STATE. A former one stays mapped: a call may still hang in it. */
bool double_map(void)
{
    const char *path = getenv("FORESHOCK_NVML_STATE");
    if (path == NULL || strlen(path) >= sizeof mapped_path)
        return false;
    if (mapped != NULL && strcmp(path, mapped_path) == 0)
        return true;
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    struct file *file = mmap(NULL, sizeof(struct file), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    bool whole = lseek(descriptor, 0, SEEK_END) == (off_t)sizeof(struct file);
    close(descriptor);
    if (file == MAP_FAILED)
        return false;
    if (!whole || file->state.size != sizeof(struct state)) {
        fprintf(stderr, "nvml double: %s has another layout than state.h (%zu bytes)\n", path, sizeof(struct file));
        abort();
    }
    strcpy(mapped_path, path);
    mapped = file;
    return true;
}

struct journal *double_journal(void)
{
    struct file *file = mapped;
    return &file->journal;
}

void double_pause(unsigned int microseconds)
{
    struct timespec pause = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

/* Copies a part of the state as it was at one instant. */
void double_read(void *to, size_t offset, size_t size)
{
    struct state *state = &((struct file *)mapped)->state;
    for (unsigned int waited = 0; waited < PATIENCE_US; waited += RETRY_US) {
        uint32_t before = atomic_load_explicit(&state->sequence, memory_order_acquire);
        if (before % 2 == 0) {
            memcpy(to, (const char *)state + offset, size);
            atomic_thread_fence(memory_order_acquire);
            if (atomic_load_explicit(&state->sequence, memory_order_relaxed) == before)
                return;
        }
        double_pause(RETRY_US);
    }
    fprintf(stderr, "nvml double: whoever writes %s stopped half way\n", mapped_path);
    abort();
}

void double_hang(size_t offset)
{
    uint32_t hangs;
    double_read(&hangs, offset, sizeof hangs);
    if (!hangs)
        return;
    struct journal *journal = double_journal();
    journal->blocked++;
    blocked++;
    while (hangs) {
        double_pause(HANG_US);
        double_read(&hangs, offset, sizeof hangs);
    }
    blocked--;
    journal->blocked--;
}

bool double_blocked(void)
{
    return blocked > 0;
}
