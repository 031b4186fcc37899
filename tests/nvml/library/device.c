/* What a GPU says of itself in one number or text. */
#include "double.h"

#include <stdio.h>
#include <string.h>

/* The first `count` values of an answer from argument `at` on; ABSENT is an argument that the GPU does not support. */
nvmlReturn_t double_values(nvmlDevice_t device, enum call call, unsigned int at, unsigned int count, uint64_t *to)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, call, WHOLE, &target);
    if (code != NVML_SUCCESS)
        return code;
    for (unsigned int index = 0; index < count; index++) {
        if (at + index >= MAX_VALUES)
            return NVML_ERROR_INVALID_ARGUMENT;
        to[index] = target.answer.value[at + index];
        if (to[index] == ABSENT)
            return NVML_ERROR_NOT_SUPPORTED;
    }
    return NVML_SUCCESS;
}

static nvmlReturn_t one(nvmlDevice_t device, enum call call, unsigned int at, unsigned int *to)
{
    uint64_t value;
    nvmlReturn_t code = double_values(device, call, at, 1, &value);
    if (code == NVML_SUCCESS)
        *to = (unsigned int)value;
    return code;
}

static nvmlReturn_t two(nvmlDevice_t device, enum call call, unsigned int *first, unsigned int *second)
{
    uint64_t value[2];
    nvmlReturn_t code = double_values(device, call, 0, 2, value);
    if (code == NVML_SUCCESS) {
        *first = (unsigned int)value[0];
        *second = (unsigned int)value[1];
    }
    return code;
}

#define ONE(name, type)                                    \
    nvmlReturn_t name(nvmlDevice_t device, type *value)    \
    {                                                      \
        return one(device, CALL_##name, 0, (unsigned int *)value); \
    }

#define ONE_BY(name, argument)                                                \
    nvmlReturn_t name(nvmlDevice_t device, argument of, unsigned int *value)  \
    {                                                                         \
        return one(device, CALL_##name, (unsigned int)of, value);             \
    }

#define TWO(name)                                                                               \
    nvmlReturn_t name(nvmlDevice_t device, unsigned int *first, unsigned int *second)           \
    {                                                                                           \
        return two(device, CALL_##name, first, second);                                         \
    }

#define LONG(name)                                                          \
    nvmlReturn_t name(nvmlDevice_t device, unsigned long long *value)       \
    {                                                                       \
        uint64_t said;                                                      \
        nvmlReturn_t code = double_values(device, CALL_##name, 0, 1, &said);       \
        if (code == NVML_SUCCESS)                                           \
            *value = said;                                                  \
        return code;                                                        \
    }

ONE(nvmlDeviceGetMinorNumber, unsigned int)
ONE(nvmlDeviceGetArchitecture, nvmlDeviceArchitecture_t)
ONE(nvmlDeviceGetComputeMode, nvmlComputeMode_t)
ONE(nvmlDeviceGetPersistenceMode, nvmlEnableState_t)
ONE(nvmlDeviceGetPerformanceState, nvmlPstates_t)
ONE(nvmlDeviceGetDisplayMode, nvmlEnableState_t)
ONE(nvmlDeviceGetDisplayActive, nvmlEnableState_t)
ONE(nvmlDeviceGetPowerUsage, unsigned int)
ONE(nvmlDeviceGetPowerManagementLimit, unsigned int)
ONE(nvmlDeviceGetEnforcedPowerLimit, unsigned int)
ONE(nvmlDeviceGetFanSpeed, unsigned int)
ONE(nvmlDeviceGetPcieReplayCounter, unsigned int)
ONE(nvmlDeviceGetCurrPcieLinkWidth, unsigned int)
ONE(nvmlDeviceGetMaxPcieLinkWidth, unsigned int)
ONE(nvmlDeviceGetCurrPcieLinkGeneration, unsigned int)
ONE(nvmlDeviceGetMaxPcieLinkGeneration, unsigned int)
ONE_BY(nvmlDeviceGetTemperature, nvmlTemperatureSensors_t)
ONE_BY(nvmlDeviceGetClockInfo, nvmlClockType_t)
ONE_BY(nvmlDeviceGetMaxClockInfo, nvmlClockType_t)
ONE_BY(nvmlDeviceGetApplicationsClock, nvmlClockType_t)
ONE_BY(nvmlDeviceGetPcieThroughput, nvmlPcieUtilCounter_t)
TWO(nvmlDeviceGetEncoderUtilization)
TWO(nvmlDeviceGetDecoderUtilization)
TWO(nvmlDeviceGetMigMode)
LONG(nvmlDeviceGetTotalEnergyConsumption)
LONG(nvmlDeviceGetCurrentClocksEventReasons)
LONG(nvmlDeviceGetSupportedEventTypes)

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
    if (temperature->version != nvmlTemperature_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    unsigned int celsius;
    nvmlReturn_t code = one(device, CALL_nvmlDeviceGetTemperatureV, temperature->sensorType, &celsius);
    if (code == NVML_SUCCESS)
        temperature->temperature = (int)celsius;
    return code;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    return two(device, CALL_nvmlDeviceGetCudaComputeCapability, (unsigned int *)major, (unsigned int *)minor);
}

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *current, nvmlEnableState_t *pending)
{
    return two(device, CALL_nvmlDeviceGetEccMode, (unsigned int *)current, (unsigned int *)pending);
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates)
{
    return two(device, CALL_nvmlDeviceGetUtilizationRates, &rates->gpu, &rates->memory);
}

/* Value 2 * severity + lifetime: corrected or not, since the driver was loaded or ever. */
nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t severity, nvmlEccCounterType_t lifetime,
                                         unsigned long long *count)
{
    uint64_t value;
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetTotalEccErrors, 2 * severity + lifetime, 1, &value);
    if (code == NVML_SUCCESS)
        *count = value;
    return code;
}

/* Value 2 * (SRAM, not DRAM) + severity, since the driver was loaded; no other location. */
nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, nvmlMemoryErrorType_t severity,
                                             nvmlEccCounterType_t lifetime, nvmlMemoryLocation_t location,
                                             unsigned long long *count)
{
    if (lifetime != NVML_VOLATILE_ECC || (location != NVML_MEMORY_LOCATION_DRAM && location != NVML_MEMORY_LOCATION_SRAM))
        return NVML_ERROR_NOT_SUPPORTED;
    uint64_t value;
    unsigned int at = (location == NVML_MEMORY_LOCATION_SRAM ? 2 : 0) + severity;
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetMemoryErrorCounter, at, 1, &value);
    if (code == NVML_SUCCESS)
        *count = value;
    return code;
}

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected, unsigned int *uncorrected,
                                       unsigned int *pending, unsigned int *failure)
{
    uint64_t value[4];
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetRemappedRows, 0, 4, value);
    if (code != NVML_SUCCESS)
        return code;
    *corrected = (unsigned int)value[0];
    *uncorrected = (unsigned int)value[1];
    *pending = (unsigned int)value[2];
    *failure = (unsigned int)value[3];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t device, nvmlPerfPolicyType_t policy, nvmlViolationTime_t *time)
{
    uint64_t nanoseconds;
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetViolationStatus, (unsigned int)policy, 1, &nanoseconds);
    if (code == NVML_SUCCESS)
        *time = (nvmlViolationTime_t){.violationTime = nanoseconds};
    return code;
}

/* Values: how many links there are; which of them are up, a bit each. */
nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, nvmlEnableState_t *active)
{
    uint64_t value[2];
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetNvLinkState, 0, 2, value);
    if (code != NVML_SUCCESS)
        return code;
    if (link >= value[0])
        return NVML_ERROR_INVALID_ARGUMENT;
    *active = value[1] >> link & 1 ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
    return NVML_SUCCESS;
}

/* Values by counter; all errors are on link 0. */
nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned int link, nvmlNvLinkErrorCounter_t counter,
                                             unsigned long long *count)
{
    uint64_t value;
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetNvLinkErrorCounter, (unsigned int)counter, 1, &value);
    if (code == NVML_SUCCESS)
        *count = link == 0 ? value : 0;
    return code;
}

/* Values: total, reserved, free, used. A MIG instance has the memory of its GPU instance, and nothing reserved. */
static nvmlReturn_t memory(nvmlDevice_t device, enum call call, uint64_t *to)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, call, ANY, &target);
    if (code != NVML_SUCCESS)
        return code;
    memcpy(to, target.answer.value, 4 * sizeof *to);
    if (target.slot < 0)
        return NVML_SUCCESS;
    struct instance instance;
    code = double_instance(&target, &instance);
    to[0] = instance.total;
    to[1] = 0;
    to[2] = instance.total - instance.used;
    to[3] = instance.used;
    return code;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *info)
{
    uint64_t value[4];
    nvmlReturn_t code = memory(device, CALL_nvmlDeviceGetMemoryInfo, value);
    if (code == NVML_SUCCESS)
        *info = (nvmlMemory_t){.total = value[0], .free = value[2], .used = value[1] + value[3]};
    return code;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *info)
{
    uint64_t value[4];
    if (info->version != nvmlMemory_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t code = memory(device, CALL_nvmlDeviceGetMemoryInfo_v2, value);
    if (code == NVML_SUCCESS) {
        info->total = value[0];
        info->reserved = value[1];
        info->free = value[2];
        info->used = value[3];
    }
    return code;
}

nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *info)
{
    uint64_t value[2];
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetBAR1MemoryInfo, 0, 2, value);
    if (code == NVML_SUCCESS)
        *info = (nvmlBAR1Memory_t){.bar1Total = value[0], .bar1Free = value[0] - value[1], .bar1Used = value[1]};
    return code;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    struct target target;
    struct instance instance;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetUUID, ANY, &target);
    if (code == NVML_SUCCESS && target.slot >= 0)
        code = double_instance(&target, &instance);
    if (code != NVML_SUCCESS)
        return code;
    return double_text(uuid, length, target.slot < 0 ? target.device.uuid : instance.uuid);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    struct target target;
    struct instance instance = {.profile = ""};
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetName, ANY, &target);
    if (code == NVML_SUCCESS && target.slot >= 0)
        code = double_instance(&target, &instance);
    if (code != NVML_SUCCESS)
        return code;
    char text[2 * TEXT + 8];
    snprintf(text, sizeof text, target.slot < 0 ? "%s" : "%s MIG %s", target.device.name, instance.profile);
    return double_text(name, length, text);
}

nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char *serial, unsigned int length)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetSerial, WHOLE, &target);
    return code != NVML_SUCCESS ? code : double_text(serial, length, target.device.serial);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetPciInfo_v3, ANY, &target);
    if (code != NVML_SUCCESS)
        return code;
    memset(pci, 0, sizeof *pci);
    sscanf(target.device.bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->busId, sizeof pci->busId, "%.31s", target.device.bus_id);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04x:%02x:%02x.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetIndex, ANY, &target);
    for (*index = 0; code == NVML_SUCCESS && double_listed(*index) != (int)target.gpu;)
        ++*index;
    if (code == NVML_SUCCESS && target.slot >= 0)
        *index = (unsigned int)target.slot;
    return code;
}
