/* What only newer GPUs report. */
#include "double.h"

#include <stdio.h>
#include <string.h>

/* Values: state, result of the registration, clique, health mask, and both halves of the cluster's UUID. */
nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *info)
{
    if (info->version != nvmlGpuFabricInfo_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    uint64_t value[6];
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetGpuFabricInfoV, 0, 6, value);
    if (code != NVML_SUCCESS)
        return code;
    info->state = (nvmlGpuFabricState_t)value[0];
    info->status = (nvmlReturn_t)value[1];
    info->cliqueId = (unsigned int)value[2];
    info->healthMask = (unsigned int)value[3];
    for (int at = 0; at < 16; at++)
        info->clusterUuid[at] = (unsigned char)(value[at < 8 ? 4 : 5] >> 8 * (7 - at % 8));
    return NVML_SUCCESS;
}

/* Values: serial number of the chassis, slot, tray, host, module. */
nvmlReturn_t nvmlDeviceGetPlatformInfo(nvmlDevice_t device, nvmlPlatformInfo_t *info)
{
    if (info->version != nvmlPlatformInfo_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    uint64_t value[5];
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetPlatformInfo, 0, 5, value);
    if (code != NVML_SUCCESS)
        return code;
    char serial[32];
    snprintf(serial, sizeof serial, "%llu", (unsigned long long)value[0]);
    memcpy(info->chassisSerialNumber, serial, sizeof info->chassisSerialNumber);
    info->slotNumber = (unsigned char)value[1];
    info->trayIndex = (unsigned char)value[2];
    info->hostId = (unsigned char)value[3];
    info->moduleId = (unsigned char)value[4];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device, nvmlEccSramErrorStatus_t *status)
{
    if (status->version != nvmlEccSramErrorStatus_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    uint64_t exceeded;
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetSramEccErrorStatus, 0, 1, &exceeded);
    if (code == NVML_SUCCESS)
        status->bThresholdExceeded = (unsigned int)exceeded;
    return code;
}

nvmlReturn_t nvmlDeviceGetRepairStatus(nvmlDevice_t device, nvmlRepairStatus_t *status)
{
    if (status->version != nvmlRepairStatus_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    uint64_t value[2];
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetRepairStatus, 0, 2, value);
    if (code == NVML_SUCCESS) {
        status->bChannelRepairPending = (unsigned int)value[0];
        status->bTpcRepairPending = (unsigned int)value[1];
    }
    return code;
}

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *margin)
{
    if (margin->version != nvmlMarginTemperature_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    uint64_t degrees;
    nvmlReturn_t code = double_values(device, CALL_nvmlDeviceGetMarginTemperature, 0, 1, &degrees);
    if (code == NVML_SUCCESS)
        margin->marginTemperature = (int)degrees;
    return code;
}

/* Values: masks of the profiles requested and enforced. */
nvmlReturn_t nvmlDeviceWorkloadPowerProfileGetCurrentProfiles(nvmlDevice_t device,
                                                              nvmlWorkloadPowerProfileCurrentProfiles_t *profiles)
{
    if (profiles->version != nvmlWorkloadPowerProfileCurrentProfiles_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    uint64_t value[2];
    nvmlReturn_t code =
        double_values(device, CALL_nvmlDeviceWorkloadPowerProfileGetCurrentProfiles, 0, 2, value);
    if (code == NVML_SUCCESS) {
        profiles->requestedProfilesMask.mask[0] = (unsigned int)value[0];
        profiles->enforcedProfilesMask.mask[0] = (unsigned int)value[1];
    }
    return code;
}

nvmlReturn_t nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *state)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlSystemGetConfComputeState);
    if (code != NVML_SUCCESS)
        return code;
    struct { uint32_t at[4]; } known;
    READ_HOST(confidential, &known);
    if (!known.at[0])
        return NVML_ERROR_NOT_SUPPORTED;
    *state = (nvmlConfComputeSystemState_t){known.at[1], known.at[2], known.at[3]};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetConfComputeGpusReadyState(unsigned int *accepts)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlSystemGetConfComputeGpusReadyState);
    if (code == NVML_SUCCESS)
        READ_HOST(accepts_work, accepts);
    return code;
}
