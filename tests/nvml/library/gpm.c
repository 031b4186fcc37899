/* GPM: samples are snapshots of counters, and metrics the means between two of them. */
#include "double.h"

#include <stdlib.h>
#include <string.h>

struct nvmlGpmSample_st {
    unsigned int gpu, instance;
    struct gpm gpm;
};

#define REFRESH_SECONDS 0.0999 /* NVML refreshes its counters ten times a second */

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *support)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlGpmQueryDeviceSupport, ANY, &target);
    if (code != NVML_SUCCESS)
        return code;
    if (support->version != NVML_GPM_SUPPORT_VERSION)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    support->isSupportedDevice = target.answer.value[0] == 1;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlGpmSampleAlloc);
    if (code != NVML_SUCCESS)
        return code;
    *sample = calloc(1, sizeof **sample);
    double_journal()->gpm_samples++;
    return *sample ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlGpmSampleFree);
    if (code == NVML_ERROR_UNINITIALIZED && double_epoch() == 0)
        return code;
    free(sample);
    double_journal()->gpm_samples--;
    return NVML_SUCCESS;
}

static nvmlReturn_t take(nvmlDevice_t device, enum call call, unsigned int instance, nvmlGpmSample_t sample)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, call, WHOLE, &target);
    if (code != NVML_SUCCESS)
        return code;
    sample->gpu = target.gpu;
    sample->instance = instance;
    READ_GPU(target.gpu, gpm, &sample->gpm);
    for (unsigned int index = 0; index < sample->gpm.count; index++)
        if (sample->gpm.at[index].instance == instance)
            return NVML_SUCCESS;
    return NVML_ERROR_NOT_FOUND; /* no such instance */
}

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t sample)
{
    return take(device, CALL_nvmlGpmSampleGet, WHOLE_GPU, sample);
}

nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int instance, nvmlGpmSample_t sample)
{
    return take(device, CALL_nvmlGpmMigSampleGet, instance, sample);
}

static const struct gpm_metric *find(const struct nvmlGpmSample_st *sample, unsigned int id)
{
    for (unsigned int index = 0; index < sample->gpm.count; index++)
        if (sample->gpm.at[index].instance == sample->instance && sample->gpm.at[index].id == id)
            return &sample->gpm.at[index];
    return NULL;
}

nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *get)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlGpmMetricsGet);
    if (code != NVML_SUCCESS)
        return code;
    const struct nvmlGpmSample_st *first = get->sample1, *second = get->sample2;
    struct answer answer;
    READ_GPU(second->gpu, answers[CALL_nvmlGpmMetricsGet], &answer);
    if (answer.code != NVML_SUCCESS)
        return (nvmlReturn_t)answer.code;
    if (get->version != NVML_GPM_METRICS_GET_VERSION)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    double seconds = second->gpm.time - first->gpm.time;
    if (first->gpu != second->gpu || first->instance != second->instance || seconds < REFRESH_SECONDS)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned int index = 0; index < get->numMetrics; index++) {
        nvmlGpmMetric_t *metric = &get->metrics[index];
        if (answer.value[0] != ABSENT && metric->metricId >= answer.value[0])
            return NVML_ERROR_INVALID_ARGUMENT; /* an older driver: beyond its NVML_GPM_METRIC_MAX */
        const struct gpm_metric *before = find(first, metric->metricId), *after = find(second, metric->metricId);
        metric->nvmlReturn = !before || !after ? NVML_ERROR_NOT_SUPPORTED : (nvmlReturn_t)after->code;
        if (metric->nvmlReturn == NVML_SUCCESS)
            metric->value = (after->total - before->total) / seconds;
    }
    return NVML_SUCCESS;
}
