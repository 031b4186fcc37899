"""Metric families of the GPUs and of the exporter itself. docs/metrics.md is compared with this module."""

from __future__ import annotations

from foreshock_exporter.model.family import Family

_GPU = ("gpu", "uuid")
_SERVICE = (*_GPU, "service_name", "service_namespace", "source")
_BY = (*_SERVICE, "by_service_name", "by_service_namespace")

GPU_INFO = Family(
    "gpu_info",
    "gauge",
    (*_GPU, "model", "pci_bus_id", "driver_version", "cuda_version", "sharing"),
    "What the GPU is; always 1. sharing is time-slicing, mps, mig or unknown.",
)
MIG_INFO = Family(
    "gpu_mig_info",
    "gauge",
    (*_GPU, "mig_uuid", "gpu_instance", "compute_instance", "profile"),
    "A MIG instance of the GPU; always 1.",
)
POOL_INFO = Family("gpu_pool_info", "gauge", ("uuid", "pool"), "The pool that a GPU is in; always 1.")
MIG_POOL_INFO = Family(
    "gpu_mig_pool_info", "gauge", (*_GPU, "mig_uuid", "pool"), "The pool that a MIG instance is in; always 1."
)
MIG_MEMORY_USED = Family(
    "gpu_mig_memory_used_bytes", "gauge", (*_GPU, "mig_uuid"), "Memory in use of the MIG instance's GPU instance."
)
MIG_MEMORY_TOTAL = Family(
    "gpu_mig_memory_total_bytes", "gauge", (*_GPU, "mig_uuid"), "Memory of the MIG instance's GPU instance."
)
GPU_UTILIZATION = Family(
    "gpu_utilization_ratio", "gauge", _GPU, "Share of the last fast sample during which a kernel ran, 0 to 1."
)
GPU_BUSY = Family(
    "gpu_busy_seconds_total", "counter", _GPU, "Seconds during which a kernel ran, since the exporter began."
)
GPU_BUSY_RATIO = Family(
    "gpu_busy_ratio",
    "histogram",
    _GPU,
    "The fast samples of the GPU by the share of each during which a kernel ran.",
    bounds=(0.0, 0.5, 0.9, 0.98),
)
GPU_MEMORY_USED = Family("gpu_memory_used_bytes", "gauge", _GPU, "Device memory in use, without the reserved part.")
GPU_MEMORY_FREE = Family("gpu_memory_free_bytes", "gauge", _GPU, "Device memory that is free.")
GPU_MEMORY_RESERVED = Family(
    "gpu_memory_reserved_bytes", "gauge", _GPU, "Device memory that the driver keeps to itself."
)
GPU_MEMORY_TOTAL = Family("gpu_memory_total_bytes", "gauge", _GPU, "Device memory of the GPU.")
GPU_MEMORY_BUSY = Family(
    "gpu_memory_busy_ratio", "gauge", _GPU, "Share of the last sample during which memory was read or written, 0 to 1."
)
GPU_POWER = Family("gpu_power_watts", "gauge", _GPU, "Power that the GPU draws.")
GPU_POWER_LIMIT = Family("gpu_power_limit_watts", "gauge", _GPU, "Power limit that the driver enforces.")
GPU_ENERGY = Family("gpu_energy_joules_total", "counter", _GPU, "Energy used since the driver was loaded.")
GPU_TEMPERATURE = Family("gpu_temperature_celsius", "gauge", (*_GPU, "sensor"), "Temperature by sensor.")
GPU_CLOCK = Family("gpu_clock_hertz", "gauge", (*_GPU, "clock"), "Clock rate now.")
GPU_CLOCK_MAX = Family("gpu_clock_max_hertz", "gauge", (*_GPU, "clock"), "Highest clock rate of the model.")
GPU_THROTTLED = Family(
    "gpu_throttled_seconds_total", "counter", (*_GPU, "reason"), "Seconds for which clocks were held down, by reason."
)
PCIE_TRANSMIT = Family("gpu_pcie_transmit_bytes_total", "counter", _GPU, "Bytes sent over PCIe.")
PCIE_RECEIVE = Family("gpu_pcie_receive_bytes_total", "counter", _GPU, "Bytes received over PCIe.")
PCIE_REPLAYS = Family("gpu_pcie_replays_total", "counter", _GPU, "PCIe packets sent again.")
PCIE_WIDTH = Family("gpu_pcie_link_width", "gauge", _GPU, "Lanes of the PCIe link now; idle links may use fewer.")
PCIE_WIDTH_MAX = Family("gpu_pcie_link_width_max", "gauge", _GPU, "Lanes that GPU and slot allow.")
PCIE_GENERATION = Family("gpu_pcie_link_generation", "gauge", _GPU, "PCIe generation now; idle links may use a lower.")
PCIE_GENERATION_MAX = Family("gpu_pcie_link_generation_max", "gauge", _GPU, "PCIe generation that GPU and slot allow.")
NVLINK_TRANSMIT = Family("gpu_nvlink_transmit_bytes_total", "counter", _GPU, "Bytes sent over all NVLinks.")
NVLINK_RECEIVE = Family("gpu_nvlink_receive_bytes_total", "counter", _GPU, "Bytes received over all NVLinks.")
NVLINK_LINK_TRANSMIT = Family(
    "gpu_nvlink_link_transmit_bytes_total", "counter", (*_GPU, "link"), "Bytes sent over one NVLink."
)
NVLINK_LINK_RECEIVE = Family(
    "gpu_nvlink_link_receive_bytes_total", "counter", (*_GPU, "link"), "Bytes received over one NVLink."
)
NVLINK_ERRORS = Family("gpu_nvlink_errors_total", "counter", (*_GPU, "kind"), "Errors on all NVLinks, by kind.")
NVLINK_LINKS = Family("gpu_nvlink_links", "gauge", _GPU, "NVLinks that the GPU has.")
NVLINK_LINKS_UP = Family("gpu_nvlink_links_up", "gauge", _GPU, "NVLinks that are up.")
ECC_ERRORS = Family(
    "gpu_ecc_errors_total", "counter", (*_GPU, "severity"), "Memory errors found by ECC since the driver was loaded."
)
REMAPPED_ROWS = Family(
    "gpu_remapped_rows", "gauge", (*_GPU, "severity"), "Rows of memory replaced by spares, by the errors they had."
)
ROW_REMAP_PENDING = Family("gpu_row_remap_pending", "gauge", _GPU, "1 if a row waits for a reset to be replaced.")
ROW_REMAP_FAILED = Family("gpu_row_remap_failed", "gauge", _GPU, "1 if a row could not be replaced.")
XID_ERRORS = Family(
    "gpu_xid_errors_total",
    "counter",
    (*_GPU, "xid"),
    "Errors that the driver reported since the exporter started. A series appears with its first error: alert on the "
    "timestamp.",
)
XID_LAST = Family("gpu_xid_last_timestamp_seconds", "gauge", (*_GPU, "xid"), "When the last such error was reported.")
GPU_EXPECTED = Family(
    "gpu_expected", "gauge", (), "GPUs that this host has shown so far, lost ones included; at least those on its bus."
)
GPU_PRESENT = Family("gpu_present", "gauge", (), "GPUs that answered the last sample.")
GPU_LOST = Family(
    "gpu_lost",
    "gauge",
    (*_GPU, "pci_bus_id"),
    "1 for a GPU that was seen and no longer answers, else 0; gpu and pci_bus_id as they last were.",
)

SERVICE_BUSY = Family(
    "gpu_service_busy_seconds_total", "counter", _SERVICE, "Seconds during which kernels of the service ran on the GPU."
)
UNATTRIBUTED = Family(
    "gpu_unattributed_busy_seconds_total", "counter", _GPU, "Busy seconds of the GPU that no service accounts for."
)
SERVICE_MEMORY = Family(
    "gpu_service_memory_used_bytes", "gauge", _SERVICE, "Device memory that processes of the service hold on the GPU."
)
SERVICE_PROCESSES = Family("gpu_service_processes", "gauge", _SERVICE, "Processes of the service that hold the GPU.")
CONTENDED = Family(
    "gpu_contended_seconds_total",
    "counter",
    _GPU,
    "Seconds during which the GPU was at least 90 % busy and two services had at least 5 % each.",
)
STALLED = Family(
    "gpu_service_stalled_seconds_total",
    "counter",
    _SERVICE,
    "Seconds the service may have waited for others while the GPU was contended; an upper bound.",
)
STALLED_BY = Family(
    "gpu_service_stalled_by_seconds_total",
    "counter",
    _BY,
    "The stalled seconds by the service that ran meanwhile; an empty by_service_name is the unattributed rest.",
)

TARGET_INFO = Family("target_info", "gauge", ("host_id", "host_name"), "The host that this exporter reports; always 1.")

BUILD_INFO = Family(
    "foreshock_exporter_build_info", "gauge", ("version", "python_version"), "Version of the exporter; always 1."
)
MOCK = Family("foreshock_exporter_mock", "gauge", (), "1 if the readings are simulated, 0 if they are real.")
COLLECTOR_SUCCESS = Family(
    "foreshock_exporter_collector_success", "gauge", ("collector",), "1 if the collector's last run had no failure."
)
COLLECTOR_DURATION = Family(
    "foreshock_exporter_collector_duration_seconds", "gauge", ("collector",), "How long the collector's last run took."
)
COLLECTOR_LAST = Family(
    "foreshock_exporter_collector_last_run_timestamp_seconds", "gauge", ("collector",), "When its last run finished."
)
METRIC_ABSENT = Family(
    "foreshock_exporter_metric_absent",
    "gauge",
    (*_GPU, "metric", "reason"),
    "1 for each metric that this GPU does not give now, with the reason.",
)
CALL_AGE = Family(
    "foreshock_exporter_driver_call_age_seconds",
    "gauge",
    ("gpu", "call"),
    "How long the driver call in flight has been waited for; 0 while there is none. An empty gpu: of the whole host.",
)
SAMPLES_DROPPED = Family(
    "foreshock_exporter_samples_dropped_total",
    "counter",
    ("gpu", "reason"),
    "Fast samples left out: implausible values, or a gap too long to know what happened meanwhile.",
)
POOL_IN_VAIN = Family(
    "foreshock_exporter_pool_in_vain",
    "gauge",
    (*_GPU, "pool", "reason"),
    "1 for each index or UUID that --pool names in vain: not_found on this host, or overruled by that of its UUID.",
)
SERVICES_OVER_LIMIT = Family(
    "foreshock_exporter_services_over_limit", "gauge", _GPU, "Services on the GPU beyond the number that is told apart."
)

FAMILIES: tuple[Family, ...] = tuple(value for value in globals().values() if isinstance(value, Family))
"""All families of this module."""

_PROCESSES = "nvmlDeviceGetProcessUtilization"
_HOLDERS = "nvmlDeviceGet{Compute,Graphics,MPSCompute}RunningProcesses"
_SAMPLES = "nvmlDeviceGetSamples; nvmlDeviceGetUtilizationRates where there are none"
_ITSELF = "itself"
SOURCES: dict[Family, str] = {
    GPU_INFO: "nvmlDeviceGetUUID, …Name, …PciInfo, …MigMode, nvmlSystemGetDriverVersion, …CudaDriverVersion",
    MIG_INFO: "nvmlDeviceGetMigDeviceHandleByIndex, …GpuInstanceId, …ComputeInstanceId",
    POOL_INFO: "--pool",
    MIG_POOL_INFO: "--pool",
    MIG_MEMORY_USED: "nvmlDeviceGetMemoryInfo of the MIG device",
    MIG_MEMORY_TOTAL: "nvmlDeviceGetMemoryInfo of the MIG device",
    GPU_UTILIZATION: "nvmlDeviceGetUtilizationRates",
    GPU_BUSY: _SAMPLES,
    GPU_BUSY_RATIO: _SAMPLES,
    GPU_MEMORY_USED: "nvmlDeviceGetMemoryInfo_v2",
    GPU_MEMORY_FREE: "nvmlDeviceGetMemoryInfo_v2",
    GPU_MEMORY_RESERVED: "nvmlDeviceGetMemoryInfo_v2",
    GPU_MEMORY_TOTAL: "nvmlDeviceGetMemoryInfo_v2",
    GPU_MEMORY_BUSY: "nvmlDeviceGetUtilizationRates",
    GPU_POWER: "nvmlDeviceGetPowerUsage",
    GPU_POWER_LIMIT: "nvmlDeviceGetEnforcedPowerLimit",
    GPU_ENERGY: "field 83",
    GPU_TEMPERATURE: "nvmlDeviceGetTemperature; field 82 for memory",
    GPU_CLOCK: "nvmlDeviceGetClockInfo",
    GPU_CLOCK_MAX: "nvmlDeviceGetMaxClockInfo",
    GPU_THROTTLED: "fields 74 to 79 (269 for 75), 270, 271",
    PCIE_TRANSMIT: "field 197",
    PCIE_RECEIVE: "field 198",
    PCIE_REPLAYS: "field 94",
    PCIE_WIDTH: "nvmlDeviceGetCurrPcieLinkWidth",
    PCIE_WIDTH_MAX: "nvmlDeviceGetMaxPcieLinkWidth",
    PCIE_GENERATION: "nvmlDeviceGetCurrPcieLinkGeneration",
    PCIE_GENERATION_MAX: "nvmlDeviceGetMaxPcieLinkGeneration",
    NVLINK_TRANSMIT: "field 138; 202 on NVLink 5",
    NVLINK_RECEIVE: "field 139; 204 on NVLink 5",
    NVLINK_LINK_TRANSMIT: "field 138 or 202 of the link",
    NVLINK_LINK_RECEIVE: "field 139 or 204 of the link",
    NVLINK_ERRORS: "fields 161 to 163; 208, 215 on NVLink 5",
    NVLINK_LINKS: "field 91",
    NVLINK_LINKS_UP: "nvmlDeviceGetNvLinkState",
    ECC_ERRORS: "nvmlDeviceGetTotalEccErrors, volatile",
    REMAPPED_ROWS: "nvmlDeviceGetRemappedRows",
    ROW_REMAP_PENDING: "nvmlDeviceGetRemappedRows",
    ROW_REMAP_FAILED: "nvmlDeviceGetRemappedRows",
    XID_ERRORS: "nvmlEventSetWait_v2",
    XID_LAST: "nvmlEventSetWait_v2",
    GPU_EXPECTED: "nvmlDeviceGetCount, /sys/bus/pci/devices",
    GPU_PRESENT: "nvmlDeviceGetHandleByIndex",
    GPU_LOST: "nvmlDeviceGetHandleByIndex",
    SERVICE_BUSY: _PROCESSES,
    UNATTRIBUTED: "the samples of the device less those of processes",
    SERVICE_MEMORY: _HOLDERS,
    SERVICE_PROCESSES: _HOLDERS,
    CONTENDED: "the samples of the device and of processes",
    STALLED: _PROCESSES,
    STALLED_BY: _PROCESSES,
    TARGET_INFO: "/etc/machine-id, the host name",
    BUILD_INFO: _ITSELF,
    MOCK: _ITSELF,
    COLLECTOR_SUCCESS: _ITSELF,
    COLLECTOR_DURATION: _ITSELF,
    COLLECTOR_LAST: _ITSELF,
    METRIC_ABSENT: "the error that NVML answered",
    CALL_AGE: _ITSELF,
    SAMPLES_DROPPED: _ITSELF,
    POOL_IN_VAIN: _ITSELF,
    SERVICES_OVER_LIMIT: _ITSELF,
}
"""Origin of each metric: NVML functions and field ids (nvml.h)."""
