/* MIG: instances in slots, some of them empty. */
#include "double.h"

nvmlReturn_t double_instance(const struct target *target, struct instance *instance)
{
    READ_GPU(target->gpu, instances[target->slot], instance);
    return instance->present ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetMaxMigDeviceCount, WHOLE, &target);
    if (code == NVML_SUCCESS)
        *count = target.device.mig ? MAX_INSTANCES : 0;
    return code;
}

/* An empty slot is NOT_FOUND or INVALID_ARGUMENT: drivers differ, and here the slots do. */
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *instance)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetMigDeviceHandleByIndex, WHOLE, &target);
    *instance = NULL;
    if (code != NVML_SUCCESS)
        return code;
    if (!target.device.mig)
        return NVML_ERROR_NOT_SUPPORTED;
    struct instance found = {.present = 0};
    target.slot = (int)index;
    if (index >= MAX_INSTANCES || double_instance(&target, &found) != NVML_SUCCESS)
        return index % 2 ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_NOT_FOUND;
    *instance = double_handle(target.gpu, target.slot);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *answer)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceIsMigDeviceHandle, ANY, &target);
    if (code == NVML_SUCCESS)
        *answer = target.slot >= 0;
    return code;
}

/* Enters a call that only MIG instances answer. */
static nvmlReturn_t enter_instance(nvmlDevice_t device, enum call call, struct target *target, struct instance *instance)
{
    nvmlReturn_t code = double_enter(device, call, ANY, target);
    if (code != NVML_SUCCESS)
        return code;
    return target->slot < 0 ? NVML_ERROR_INVALID_ARGUMENT : double_instance(target, instance);
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t device, nvmlDevice_t *parent)
{
    struct target target;
    struct instance instance;
    nvmlReturn_t code = enter_instance(device, CALL_nvmlDeviceGetDeviceHandleFromMigDeviceHandle, &target, &instance);
    if (code == NVML_SUCCESS)
        *parent = double_handle(target.gpu, -1);
    return code;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id)
{
    struct target target;
    struct instance instance;
    nvmlReturn_t code = enter_instance(device, CALL_nvmlDeviceGetGpuInstanceId, &target, &instance);
    if (code == NVML_SUCCESS)
        *id = instance.gpu_instance;
    return code;
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *id)
{
    struct target target;
    struct instance instance;
    nvmlReturn_t code = enter_instance(device, CALL_nvmlDeviceGetComputeInstanceId, &target, &instance);
    if (code == NVML_SUCCESS)
        *id = instance.compute_instance;
    return code;
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes)
{
    struct target target;
    struct instance instance;
    nvmlReturn_t code = enter_instance(device, CALL_nvmlDeviceGetAttributes_v2, &target, &instance);
    if (code == NVML_SUCCESS)
        *attributes = (nvmlDeviceAttributes_t){
            .gpuInstanceSliceCount = instance.slices,
            .computeInstanceSliceCount = instance.slices,
            .memorySizeMB = instance.total >> 20,
        };
    return code;
}

/* A GPU instance as the GPU's handle with the id above it. */
nvmlReturn_t nvmlDeviceGetGpuInstanceById(nvmlDevice_t device, unsigned int id, nvmlGpuInstance_t *part)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetGpuInstanceById, WHOLE, &target);
    *part = NULL;
    if (code != NVML_SUCCESS)
        return code;
    if (!target.device.mig)
        return NVML_ERROR_NOT_SUPPORTED;
    *part = (nvmlGpuInstance_t)((uintptr_t)device | (uintptr_t)(id + 1) << 32);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpuInstanceGetInfo(nvmlGpuInstance_t part, nvmlGpuInstanceInfo_t *info)
{
    struct target target;
    nvmlDevice_t device = (nvmlDevice_t)((uintptr_t)part & 0xffffffff);
    nvmlReturn_t code = double_enter(device, CALL_nvmlGpuInstanceGetInfo, WHOLE, &target);
    if (code != NVML_SUCCESS)
        return code;
    for (target.slot = 0; target.slot < MAX_INSTANCES; target.slot++) {
        struct instance found = {.present = 0};
        if (double_instance(&target, &found) != NVML_SUCCESS || found.gpu_instance + 1 != (uintptr_t)part >> 32)
            continue;
        *info = (nvmlGpuInstanceInfo_t){
            .device = device, .id = found.gpu_instance, .placement = {found.placement_start, found.placement_size}};
        return NVML_SUCCESS;
    }
    return NVML_ERROR_NOT_FOUND;
}
