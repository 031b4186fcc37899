/* The functions of NVML that a test may count, slow down or make fail, one a line: tests/nvml/layout.py reads this list. */
#ifndef CALLS_H
#define CALLS_H

#define CALLS(X)                                     \
    X(nvmlInitWithFlags)                             \
    X(nvmlShutdown)                                  \
    X(nvmlSystemGetDriverVersion)                    \
    X(nvmlSystemGetNVMLVersion)                      \
    X(nvmlSystemGetCudaDriverVersion)                \
    X(nvmlDeviceGetCount_v2)                         \
    X(nvmlDeviceGetHandleByIndex_v2)                 \
    X(nvmlDeviceGetHandleByUUID)                     \
    X(nvmlDeviceGetHandleByPciBusId_v2)              \
    X(nvmlDeviceGetIndex)                            \
    X(nvmlDeviceGetUUID)                             \
    X(nvmlDeviceGetName)                             \
    X(nvmlDeviceGetSerial)                           \
    X(nvmlDeviceGetPciInfo_v3)                       \
    X(nvmlDeviceGetMinorNumber)                      \
    X(nvmlDeviceGetArchitecture)                     \
    X(nvmlDeviceGetCudaComputeCapability)            \
    X(nvmlDeviceGetComputeMode)                      \
    X(nvmlDeviceGetPersistenceMode)                  \
    X(nvmlDeviceGetPerformanceState)                 \
    X(nvmlDeviceGetDisplayMode)                      \
    X(nvmlDeviceGetDisplayActive)                    \
    X(nvmlDeviceGetUtilizationRates)                 \
    X(nvmlDeviceGetEncoderUtilization)               \
    X(nvmlDeviceGetDecoderUtilization)               \
    X(nvmlDeviceGetMemoryInfo)                       \
    X(nvmlDeviceGetMemoryInfo_v2)                    \
    X(nvmlDeviceGetBAR1MemoryInfo)                   \
    X(nvmlDeviceGetPowerUsage)                       \
    X(nvmlDeviceGetPowerManagementLimit)             \
    X(nvmlDeviceGetEnforcedPowerLimit)               \
    X(nvmlDeviceGetTotalEnergyConsumption)           \
    X(nvmlDeviceGetTemperature)                      \
    X(nvmlDeviceGetTemperatureV)                     \
    X(nvmlDeviceGetFanSpeed)                         \
    X(nvmlDeviceGetClockInfo)                        \
    X(nvmlDeviceGetMaxClockInfo)                     \
    X(nvmlDeviceGetApplicationsClock)                \
    X(nvmlDeviceGetCurrentClocksEventReasons)        \
    X(nvmlDeviceGetViolationStatus)                  \
    X(nvmlDeviceGetEccMode)                          \
    X(nvmlDeviceGetTotalEccErrors)                   \
    X(nvmlDeviceGetMemoryErrorCounter)               \
    X(nvmlDeviceGetGpuFabricInfoV)                   \
    X(nvmlDeviceGetPlatformInfo)                     \
    X(nvmlDeviceGetSramEccErrorStatus)               \
    X(nvmlDeviceGetRepairStatus)                     \
    X(nvmlDeviceGetMarginTemperature)                \
    X(nvmlDeviceWorkloadPowerProfileGetCurrentProfiles) \
    X(nvmlSystemGetConfComputeState)                 \
    X(nvmlSystemGetConfComputeGpusReadyState)        \
    X(nvmlDeviceGetRemappedRows)                     \
    X(nvmlDeviceGetPcieThroughput)                   \
    X(nvmlDeviceGetPcieReplayCounter)                \
    X(nvmlDeviceGetCurrPcieLinkWidth)                \
    X(nvmlDeviceGetMaxPcieLinkWidth)                 \
    X(nvmlDeviceGetCurrPcieLinkGeneration)           \
    X(nvmlDeviceGetMaxPcieLinkGeneration)            \
    X(nvmlDeviceGetNvLinkState)                      \
    X(nvmlDeviceGetNvLinkErrorCounter)               \
    X(nvmlDeviceGetFieldValues)                      \
    X(nvmlDeviceGetSamples)                          \
    X(nvmlDeviceGetProcessUtilization)               \
    X(nvmlDeviceGetProcessesUtilizationInfo)         \
    X(nvmlDeviceGetComputeRunningProcesses_v3)       \
    X(nvmlDeviceGetGraphicsRunningProcesses_v3)      \
    X(nvmlDeviceGetMPSComputeRunningProcesses_v3)    \
    X(nvmlGpmQueryDeviceSupport)                     \
    X(nvmlGpmSampleAlloc)                            \
    X(nvmlGpmSampleFree)                             \
    X(nvmlGpmSampleGet)                              \
    X(nvmlGpmMigSampleGet)                           \
    X(nvmlGpmMetricsGet)                             \
    X(nvmlDeviceGetMigMode)                          \
    X(nvmlDeviceGetMaxMigDeviceCount)                \
    X(nvmlDeviceGetMigDeviceHandleByIndex)           \
    X(nvmlDeviceIsMigDeviceHandle)                   \
    X(nvmlDeviceGetDeviceHandleFromMigDeviceHandle)  \
    X(nvmlDeviceGetGpuInstanceId)                    \
    X(nvmlDeviceGetComputeInstanceId)                \
    X(nvmlDeviceGetAttributes_v2)                    \
    X(nvmlDeviceGetGpuInstanceById)                  \
    X(nvmlGpuInstanceGetInfo)                        \
    X(nvmlDeviceGetSupportedEventTypes)              \
    X(nvmlDeviceRegisterEvents)                      \
    X(nvmlEventSetCreate)                            \
    X(nvmlEventSetWait_v2)                           \
    X(nvmlEventSetFree)

#define CALL_ENUM(name) CALL_##name,
enum call { CALLS(CALL_ENUM) CALL_COUNT };

#endif
