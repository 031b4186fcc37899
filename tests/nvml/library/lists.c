/* Lists: processes, samples, field values. */
#define _GNU_SOURCE
#include "double.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Does the list grow past the caller's array in this call? A test says how often. */
static bool races(unsigned int gpu)
{
    _Atomic int64_t *left = &double_journal()->races[gpu];
    int64_t known = *left;
    while (known > 0)
        if (atomic_compare_exchange_weak(left, &known, known - 1))
            return true;
    return false;
}

/* Processes of a kind on the whole GPU or on one instance; returns their number. */
static unsigned int chosen(const struct target *target, uint32_t kind, struct process *to)
{
    struct processes all;
    struct instance instance = {.present = 0};
    READ_GPU(target->gpu, processes, &all);
    if (target->slot >= 0)
        double_instance(target, &instance);
    unsigned int count = 0;
    for (unsigned int index = 0; index < all.count; index++) {
        struct process process = all.at[index];
        bool here = target->slot < 0 || (process.gpu_instance == instance.gpu_instance &&
                                         process.compute_instance == instance.compute_instance);
        if (here && (process.kinds & kind))
            to[count++] = process;
    }
    return count;
}

/* Writes entries of `stride` bytes; the first members of all versions agree. */
static nvmlReturn_t processes(nvmlDevice_t device, enum call call, uint32_t kind, unsigned int *count, void *infos,
                              bool may_be_wide)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, call, ANY, &target);
    if (code != NVML_SUCCESS)
        return code;
    struct process found[MAX_PROCESSES];
    unsigned int capacity = infos ? *count : 0, needed = chosen(&target, kind, found);
    bool wide = may_be_wide && (target.device.quirks & QUIRK_WIDE_PROCESSES);
    size_t stride = wide ? sizeof(nvmlProcessDetail_v1_t) : sizeof(nvmlProcessInfo_v2_t);
    bool grew = infos && races(target.gpu);
    *count = grew ? capacity + 1 : needed;
    if (grew || needed * stride > capacity * sizeof(nvmlProcessInfo_v2_t))
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int index = 0; index < needed; index++) {
        nvmlProcessDetail_v1_t entry = {
            .pid = found[index].pid,
            .usedGpuMemory = found[index].memory,
            .gpuInstanceId = found[index].gpu_instance,
            .computeInstanceId = found[index].compute_instance,
        };
        memcpy((char *)infos + index * stride, &entry, stride);
    }
    return NVML_SUCCESS;
}

#define PROCESSES(name, kind)                                                                                \
    nvmlReturn_t name##_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos)               \
    {                                                                                                        \
        return processes(device, CALL_##name##_v3, kind, count, infos, true);                                \
    }                                                                                                        \
    nvmlReturn_t name##_v2(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v2_t *infos)            \
    {                                                                                                        \
        return processes(device, CALL_##name##_v3, kind, count, infos, false);                               \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses, KIND_COMPUTE)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, KIND_GRAPHICS)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, KIND_MPS)

static void note(struct since *since, uint64_t time)
{
    since->at[since->count % MAX_SINCE] = time;
    since->count++;
}

/* Samples later than lastSeen, as many as fit; without an array their number. Only GPU utilisation is kept. */
nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t device, nvmlSamplingType_t type, unsigned long long last_seen,
                                  nvmlValueType_t *value_type, unsigned int *count, nvmlSample_t *samples)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetSamples, WHOLE, &target);
    if (code != NVML_SUCCESS)
        return code;
    if (type != NVML_GPU_UTILIZATION_SAMPLES)
        return NVML_ERROR_NOT_SUPPORTED;
    struct samples kept;
    READ_GPU(target.gpu, samples, &kept);
    note(&double_journal()->samples[target.gpu], last_seen);
    unsigned int capacity = samples ? *count : UINT32_MAX, found = 0;
    for (unsigned int index = 0; index < kept.count && found < capacity; index++) {
        if (kept.at[index].time_us <= last_seen)
            continue;
        if (samples)
            samples[found] = (nvmlSample_t){kept.at[index].time_us, {.uiVal = kept.at[index].percent}};
        found++;
    }
    *value_type = NVML_VALUE_TYPE_UNSIGNED_INT;
    *count = found;
    return found ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

struct used {
    uint64_t time_us;
    uint32_t pid, percent;
};

/* Sampling periods that ended after `since`, and when the last one did: the distinct times of all samples. */
static unsigned int periods(const struct samples *device, const struct process_samples *processes, uint64_t since,
                            uint64_t *newest)
{
    unsigned int number = 0, d = 0, p = 0;
    while (d < device->count || p < processes->count) {
        uint64_t of_device = d < device->count ? device->at[d].time_us : UINT64_MAX;
        uint64_t of_processes = p < processes->count ? processes->at[p].time_us : UINT64_MAX;
        *newest = of_device < of_processes ? of_device : of_processes;
        number += *newest > since;
        while (d < device->count && device->at[d].time_us <= *newest)
            d++;
        while (p < processes->count && processes->at[p].time_us <= *newest)
            p++;
    }
    return number;
}

/* One entry per process that ran since then: its mean share of all periods since, with the end of the last. */
static unsigned int summed(unsigned int gpu, uint64_t since, struct used *to)
{
    struct process_samples kept;
    struct samples device;
    READ_GPU(gpu, process_samples, &kept);
    READ_GPU(gpu, samples, &device);
    uint64_t newest = 0;
    unsigned int count = 0, number = periods(&device, &kept, since, &newest);
    for (unsigned int index = 0; index < kept.count; index++) {
        struct process_sample sample = kept.at[index];
        unsigned int at = 0;
        if (sample.time_us <= since || sample.percent == 0)
            continue;
        while (at < count && to[at].pid != sample.pid)
            at++;
        if (at == count)
            to[count++] = (struct used){.pid = sample.pid, .time_us = newest};
        to[at].percent += sample.percent;
    }
    for (unsigned int at = 0; at < count; at++)
        to[at].percent = (to[at].percent + number / 2) / number;
    return count;
}

enum { ALWAYS_100 = 100 };

/* What both functions of process utilisation have in common: who ran, or why that does not fit `capacity` entries. */
static nvmlReturn_t utilization(nvmlDevice_t device, enum call call, uint64_t since, unsigned int capacity,
                                struct target *target, struct used *used, unsigned int *count)
{
    nvmlReturn_t code = double_enter(device, call, WHOLE, target);
    if (code != NVML_SUCCESS)
        return code;
    note(&double_journal()->processes[target->gpu], since);
    unsigned int needed = summed(target->gpu, since, used);
    if (capacity == 0 && (target->device.quirks & QUIRK_SIZE_100)) {
        *count = ALWAYS_100;
        return NVML_ERROR_INSUFFICIENT_SIZE;
    }
    *count = needed;
    if (needed == 0)
        return target->device.quirks & QUIRK_EMPTY_SUCCEEDS ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
    bool grew = capacity > 0 && races(target->gpu);
    if (grew)
        *count = capacity + 1;
    return grew || needed > capacity ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

/* What some drivers leave behind the valid entries: a pid without a time, shares beyond 100 %, no process at all. */
static unsigned int garbage(nvmlProcessUtilizationSample_t *tail, unsigned int room, uint64_t time)
{
    const nvmlProcessUtilizationSample_t left[] = {
        {.pid = 4711, .timeStamp = 0, .smUtil = 50},
        {.pid = 4712, .timeStamp = time, .smUtil = 808334905},
        {.pid = 0, .timeStamp = time, .smUtil = 50},
    };
    unsigned int number = room < 3 ? room : 3;
    memcpy(tail, left, number * sizeof *left);
    return number;
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *entries,
                                             unsigned int *count, unsigned long long last_seen)
{
    struct target target;
    struct used used[MAX_PROCESS_SAMPLES];
    unsigned int capacity = entries ? *count : 0;
    nvmlReturn_t code =
        utilization(device, CALL_nvmlDeviceGetProcessUtilization, last_seen, capacity, &target, used, count);
    if (code != NVML_SUCCESS || entries == NULL)
        return code;
    for (unsigned int index = 0; index < *count; index++)
        entries[index] = (nvmlProcessUtilizationSample_t){
            .pid = used[index].pid, .timeStamp = used[index].time_us, .smUtil = used[index].percent};
    if (target.device.quirks & QUIRK_SIZE_100)
        *count += garbage(entries + *count, capacity - *count, *count ? used[0].time_us : last_seen + 1);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device, nvmlProcessesUtilizationInfo_t *info)
{
    struct target target;
    struct used used[MAX_PROCESS_SAMPLES];
    unsigned int capacity = info->procUtilArray ? info->processSamplesCount : 0;
    if (info->version != nvmlProcessesUtilizationInfo_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t code = utilization(device, CALL_nvmlDeviceGetProcessesUtilizationInfo, info->lastSeenTimeStamp, capacity,
                                    &target, used, &info->processSamplesCount);
    for (unsigned int index = 0; code == NVML_SUCCESS && index < info->processSamplesCount; index++)
        info->procUtilArray[index] = (nvmlProcessUtilizationInfo_v1_t){
            .pid = used[index].pid, .timeStamp = used[index].time_us, .smUtil = used[index].percent};
    return code;
}

static long long microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int by_id(const void *left, const void *right)
{
    const struct field *a = left, *b = right;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->scope < b->scope ? -1 : a->scope > b->scope;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int number, nvmlFieldValue_t *values)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceGetFieldValues, WHOLE, &target);
    if (code != NVML_SUCCESS)
        return code;
    struct fields known;
    READ_GPU(target.gpu, fields, &known);
    for (int index = 0; index < number; index++) {
        nvmlFieldValue_t *value = &values[index];
        struct field key = {.id = value->fieldId, .scope = value->scopeId};
        struct field *found = bsearch(&key, known.at, known.count, sizeof key, by_id);
        value->nvmlReturn = found ? (nvmlReturn_t)found->code : NVML_ERROR_NOT_SUPPORTED;
        value->value.ullVal = 0xbadbadbadbadULL; /* undefined unless the value was found */
        if (value->nvmlReturn != NVML_SUCCESS)
            continue;
        value->timestamp = microseconds();
        value->latencyUsec = 0;
        value->valueType = (nvmlValueType_t)found->type;
        memcpy(&value->value, &found->bits, sizeof found->bits);
    }
    return NVML_SUCCESS;
}
