/* What the parts of the library share. */
#ifndef DOUBLE_H
#define DOUBLE_H

#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include "nvml.h"
#include "state.h"

#include <stdbool.h>
#include <stddef.h>

/* The GPU or MIG instance that a handle means, and what the function called answers for it. */
struct target {
    unsigned int gpu;
    int slot; /* of the MIG instance, or -1 for the whole GPU */
    struct device device;
    struct answer answer;
};

enum scope { WHOLE, ANY };

/* state.c: the file. */
bool double_map(void);
struct journal *double_journal(void);
void double_read(void *to, size_t offset, size_t size);
void double_pause(unsigned int microseconds);
void double_hang(size_t offset); /* blocks while the uint32_t at `offset` is not 0 */
bool double_blocked(void);           /* does a call of this process hang? */

#define GPU_OFFSET(at, member) (offsetof(struct state, gpus) + (at) * sizeof(struct gpu) + offsetof(struct gpu, member))
#define READ_GPU(at, member, to) double_read((to), GPU_OFFSET(at, member), sizeof(*(to)))
#define READ_HOST(member, to) double_read((to), offsetof(struct state, host) + offsetof(struct host, member), sizeof(*(to)))

/* host.c: the library as a whole. */
nvmlReturn_t double_enter_host(enum call call);
unsigned int double_epoch(void); /* counts nvmlInit: handles of an earlier one are void */
int double_listed(unsigned int index); /* the GPU at NVML's index, or -1 */

/* handle.c: the beginning of every call for a device. */
nvmlReturn_t double_misuse(enum call call);
nvmlReturn_t double_enter(nvmlDevice_t handle, enum call call, enum scope scope, struct target *target);
nvmlDevice_t double_handle(unsigned int gpu, int slot);
nvmlReturn_t double_text(char *to, unsigned int length, const char *text);

/* device.c: the first `count` values of an answer from argument `at` on. */
nvmlReturn_t double_values(nvmlDevice_t device, enum call call, unsigned int at, unsigned int count, uint64_t *to);

/* events.c */
void double_free_events(void);

/* mig.c */
nvmlReturn_t double_instance(const struct target *target, struct instance *instance);

#endif
