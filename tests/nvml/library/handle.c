/* Handles: as in NVML a device has one while the library is open, and it is void from a failed call to the next lookup. */
#include "double.h"

#include <string.h>

enum { MARK = 0x5 };

#define POISON ((nvmlDevice_t)(uintptr_t)0xdead0) /* what a failed lookup leaves behind */

static _Atomic bool failed[MAX_GPUS][MAX_INSTANCES + 1];

/* epoch:8 | gpu:8 | slot + 1:8 | mark:8 */
nvmlDevice_t double_handle(unsigned int gpu, int slot)
{
    failed[gpu][slot + 1] = false;
    return (nvmlDevice_t)(uintptr_t)((double_epoch() & 0xff) << 24 | gpu << 16 | (unsigned int)(slot + 1) << 8 | MARK);
}

nvmlReturn_t double_misuse(enum call call)
{
    double_journal()->misused++;
    double_journal()->misused_call = call;
    return NVML_ERROR_INVALID_ARGUMENT;
}

static bool fatal(nvmlReturn_t code)
{
    return code == NVML_ERROR_GPU_IS_LOST || code == NVML_ERROR_GPU_NOT_FOUND || code == NVML_ERROR_RESET_REQUIRED ||
           code == NVML_ERROR_UNINITIALIZED || code == NVML_ERROR_DRIVER_NOT_LOADED || code == NVML_ERROR_UNKNOWN;
}

/* What a GPU answers to a call: blocks where it hangs, takes the time that is set. */
static nvmlReturn_t answer(unsigned int gpu, enum call call, struct target *target)
{
    double_journal()->calls[gpu][call]++;
    double_hang(GPU_OFFSET(gpu, device.hangs));
    READ_GPU(gpu, device, &target->device);
    READ_GPU(gpu, answers[call], &target->answer);
    target->gpu = gpu;
    if (target->device.lost)
        return NVML_ERROR_GPU_IS_LOST;
    if (target->answer.delay_us)
        double_pause(target->answer.delay_us);
    return (nvmlReturn_t)target->answer.code;
}

nvmlReturn_t double_enter(nvmlDevice_t handle, enum call call, enum scope scope, struct target *target)
{
    unsigned int bits = (unsigned int)(uintptr_t)handle, gpu = bits >> 16 & 0xff, part = bits >> 8 & 0xff;
    nvmlReturn_t code = double_enter_host(call);
    if (code == NVML_ERROR_UNINITIALIZED)
        return code; /* NVML looks at no handle then */
    if (handle != (nvmlDevice_t)(uintptr_t)bits || (bits & 0xff) != MARK || bits >> 24 != (double_epoch() & 0xff) ||
        gpu >= MAX_GPUS || part > MAX_INSTANCES || failed[gpu][part])
        return double_misuse(call);
    target->slot = (int)part - 1;
    if (code == NVML_SUCCESS)
        code = answer(gpu, call, target);
    if (fatal(code))
        failed[gpu][part] = true;
    if (code == NVML_SUCCESS && target->slot >= 0 && scope == WHOLE)
        return NVML_ERROR_NOT_SUPPORTED;
    return code;
}

static nvmlReturn_t look_up(int gpu, enum call call, nvmlDevice_t *device)
{
    struct target target;
    *device = POISON;
    nvmlReturn_t code = gpu < 0 ? NVML_ERROR_INVALID_ARGUMENT : answer((unsigned int)gpu, call, &target);
    if (code == NVML_SUCCESS)
        *device = double_handle((unsigned int)gpu, -1);
    return code;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlDeviceGetHandleByIndex_v2);
    return code != NVML_SUCCESS ? code : look_up(double_listed(index), CALL_nvmlDeviceGetHandleByIndex_v2, device);
}

static nvmlReturn_t find(const char *text, size_t member, enum call call, nvmlDevice_t *device)
{
    nvmlReturn_t code = double_enter_host(call);
    *device = POISON;
    for (unsigned int index = 0; code == NVML_SUCCESS; index++) {
        struct device known;
        int gpu = double_listed(index);
        if (gpu < 0)
            return NVML_ERROR_NOT_FOUND;
        READ_GPU((unsigned int)gpu, device, &known);
        if (strcmp((const char *)&known + member, text) == 0)
            return look_up(gpu, call, device);
    }
    return code;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    return find(uuid, offsetof(struct device, uuid), CALL_nvmlDeviceGetHandleByUUID, device);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
    return find(bus_id, offsetof(struct device, bus_id), CALL_nvmlDeviceGetHandleByPciBusId_v2, device);
}

nvmlReturn_t double_text(char *to, unsigned int length, const char *text)
{
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, text);
    return NVML_SUCCESS;
}
