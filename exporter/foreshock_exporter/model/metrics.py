"""Metric families of the GPUs and of the exporter itself. docs/reference/metrics.md is compared with this module."""

from __future__ import annotations

from foreshock_exporter.model.family import Family

_GPU = ("gpu", "uuid")
_SERVICE = (*_GPU, "service_name", "service_namespace", "source")
_BY = (*_SERVICE, "by_service_name", "by_service_namespace")


def _gauge(name: str, text: str, labels: tuple[str, ...] = _GPU) -> Family:
    return Family(name, "gauge", labels, text)


def _counter(name: str, text: str, labels: tuple[str, ...] = _GPU) -> Family:
    return Family(name, "counter", labels, text)


GPU_INFO = _gauge(
    "gpu_info",
    "What the GPU is; always 1. sharing is time-slicing, mps, mig or unknown.",
    (*_GPU, "model", "pci_bus_id", "driver_version", "cuda_version", "sharing"),
)
MIG_INFO = _gauge(
    "gpu_mig_info",
    "A MIG instance of the GPU; always 1.",
    (*_GPU, "mig_uuid", "gpu_instance", "compute_instance", "profile"),
)
POOL_INFO = _gauge("gpu_pool_info", "The pool that a GPU is in; always 1.", ("uuid", "pool"))
MIG_POOL_INFO = _gauge(
    "gpu_mig_pool_info", "The pool that a MIG instance is in; always 1.", (*_GPU, "mig_uuid", "pool")
)
MIG_MEMORY_USED = _gauge(
    "gpu_mig_memory_used_bytes", "Memory in use of the MIG instance's GPU instance.", (*_GPU, "mig_uuid")
)
MIG_MEMORY_TOTAL = _gauge(
    "gpu_mig_memory_total_bytes", "Memory of the MIG instance's GPU instance.", (*_GPU, "mig_uuid")
)
GPU_UTILIZATION = _gauge("gpu_utilization_ratio", "Share of the last fast sample during which a kernel ran, 0 to 1.")
GPU_BUSY = _counter("gpu_busy_seconds_total", "Seconds during which a kernel ran, since the exporter began.")
GPU_BUSY_RATIO = Family(
    "gpu_busy_ratio",
    "histogram",
    _GPU,
    "The fast samples of the GPU by the share of each during which a kernel ran.",
    bounds=(0.0, 0.5, 0.9, 0.98),
)
GPU_MEMORY_USED = _gauge("gpu_memory_used_bytes", "Device memory in use, without the reserved part.")
GPU_MEMORY_FREE = _gauge("gpu_memory_free_bytes", "Device memory that is free.")
GPU_MEMORY_RESERVED = _gauge("gpu_memory_reserved_bytes", "Device memory that the driver keeps to itself.")
GPU_MEMORY_TOTAL = _gauge("gpu_memory_total_bytes", "Device memory of the GPU.")
GPU_MEMORY_BUSY = _gauge(
    "gpu_memory_busy_ratio", "Share of the last sample during which memory was read or written, 0 to 1."
)
GPU_POWER = _gauge("gpu_power_watts", "Power that the GPU draws.")
GPU_POWER_LIMIT = _gauge("gpu_power_limit_watts", "Power limit that the driver enforces.")
GPU_ENERGY = _counter("gpu_energy_joules_total", "Energy used since the driver was loaded.")
GPU_TEMPERATURE = _gauge("gpu_temperature_celsius", "Temperature by sensor.", (*_GPU, "sensor"))
GPU_CLOCK = _gauge("gpu_clock_hertz", "Clock rate now.", (*_GPU, "clock"))
GPU_CLOCK_MAX = _gauge("gpu_clock_max_hertz", "Highest clock rate of the model.", (*_GPU, "clock"))
GPU_THROTTLED = _counter(
    "gpu_throttled_seconds_total", "Seconds for which clocks were held down, by reason.", (*_GPU, "reason")
)
PCIE_TRANSMIT = _counter("gpu_pcie_transmit_bytes_total", "Bytes sent over PCIe.")
PCIE_RECEIVE = _counter("gpu_pcie_receive_bytes_total", "Bytes received over PCIe.")
PCIE_REPLAYS = _counter("gpu_pcie_replays_total", "PCIe packets sent again.")
PCIE_WIDTH = _gauge("gpu_pcie_link_width", "Lanes of the PCIe link now; idle links may use fewer.")
PCIE_WIDTH_MAX = _gauge("gpu_pcie_link_width_max", "Lanes that GPU and slot allow.")
PCIE_GENERATION = _gauge("gpu_pcie_link_generation", "PCIe generation now; idle links may use a lower.")
PCIE_GENERATION_MAX = _gauge("gpu_pcie_link_generation_max", "PCIe generation that GPU and slot allow.")
NVLINK_TRANSMIT = _counter("gpu_nvlink_transmit_bytes_total", "Bytes sent over all NVLinks.")
NVLINK_RECEIVE = _counter("gpu_nvlink_receive_bytes_total", "Bytes received over all NVLinks.")
NVLINK_LINK_TRANSMIT = _counter("gpu_nvlink_link_transmit_bytes_total", "Bytes sent over one NVLink.", (*_GPU, "link"))
NVLINK_LINK_RECEIVE = _counter(
    "gpu_nvlink_link_receive_bytes_total", "Bytes received over one NVLink.", (*_GPU, "link")
)
NVLINK_ERRORS = _counter("gpu_nvlink_errors_total", "Errors on all NVLinks, by kind.", (*_GPU, "kind"))
NVLINK_LINKS = _gauge("gpu_nvlink_links", "NVLinks that the GPU has.")
NVLINK_LINKS_UP = _gauge("gpu_nvlink_links_up", "NVLinks that are up.")
ECC_ERRORS = _counter(
    "gpu_ecc_errors_total", "Memory errors found by ECC since the driver was loaded.", (*_GPU, "severity")
)
REMAPPED_ROWS = _gauge(
    "gpu_remapped_rows", "Rows of memory replaced by spares, by the errors they had.", (*_GPU, "severity")
)
ROW_REMAP_PENDING = _gauge("gpu_row_remap_pending", "1 if a row waits for a reset to be replaced.")
ROW_REMAP_FAILED = _gauge("gpu_row_remap_failed", "1 if a row could not be replaced.")
XID_ERRORS = _counter(
    "gpu_xid_errors_total",
    "Errors that the driver reported since the exporter started. A series appears with its first error: alert on the "
    "timestamp.",
    (*_GPU, "xid"),
)
XID_LAST = _gauge("gpu_xid_last_timestamp_seconds", "When the last such error was reported.", (*_GPU, "xid"))
GPU_EXPECTED = _gauge(
    "gpu_expected", "GPUs that this host has shown so far, lost ones included; at least those on its bus.", ()
)
GPU_PRESENT = _gauge("gpu_present", "GPUs that answered the last sample.", ())
GPU_LOST = _gauge(
    "gpu_lost",
    "1 for a GPU that was seen and no longer answers, else 0; gpu and pci_bus_id as they last were.",
    (*_GPU, "pci_bus_id"),
)

SERVICE_BUSY = _counter(
    "gpu_service_busy_seconds_total", "Seconds during which kernels of the service ran on the GPU.", _SERVICE
)
UNATTRIBUTED = _counter("gpu_unattributed_busy_seconds_total", "Busy seconds of the GPU that no service accounts for.")
SERVICE_MEMORY = _gauge(
    "gpu_service_memory_used_bytes", "Device memory that processes of the service hold on the GPU.", _SERVICE
)
SERVICE_PROCESSES = _gauge("gpu_service_processes", "Processes of the service that hold the GPU.", _SERVICE)
CONTENDED = _counter(
    "gpu_contended_seconds_total",
    "Seconds during which the GPU was at least 90 % busy and two services had at least 5 % each.",
)
STALLED = _counter(
    "gpu_service_stalled_seconds_total",
    "Seconds the service may have waited for others while the GPU was contended; an upper bound.",
    _SERVICE,
)
STALLED_BY = _counter(
    "gpu_service_stalled_by_seconds_total",
    "The stalled seconds by the service that ran meanwhile; an empty by_service_name is the unattributed rest.",
    _BY,
)

TARGET_INFO = _gauge("target_info", "The host that this exporter reports; always 1.", ("host_id", "host_name"))

BUILD_INFO = _gauge(
    "foreshock_exporter_build_info", "Version of the exporter; always 1.", ("version", "python_version")
)
MOCK = _gauge("foreshock_exporter_mock", "1 if the readings are simulated, 0 if they are real.", ())
COLLECTOR_SUCCESS = _gauge(
    "foreshock_exporter_collector_success", "1 if the collector's last run had no failure.", ("collector",)
)
COLLECTOR_DURATION = _gauge(
    "foreshock_exporter_collector_duration_seconds", "How long the collector's last run took.", ("collector",)
)
COLLECTOR_LAST = _gauge(
    "foreshock_exporter_collector_last_run_timestamp_seconds", "When its last run finished.", ("collector",)
)
METRIC_ABSENT = _gauge(
    "foreshock_exporter_metric_absent",
    "1 for each metric that this GPU does not give now, with the reason.",
    (*_GPU, "metric", "reason"),
)
CALL_AGE = _gauge(
    "foreshock_exporter_driver_call_age_seconds",
    "How long the driver call in flight has been waited for; 0 while there is none. An empty gpu: of the whole host.",
    ("gpu", "call"),
)
SAMPLES_DROPPED = _counter(
    "foreshock_exporter_samples_dropped_total",
    "Fast samples left out: implausible values, or a gap too long to know what happened meanwhile.",
    ("gpu", "reason"),
)
POOL_IN_VAIN = _gauge(
    "foreshock_exporter_pool_in_vain",
    "1 for each index or UUID that --pool names in vain: not_found on this host, or overruled by that of its UUID.",
    (*_GPU, "pool", "reason"),
)
SERVICES_OVER_LIMIT = _gauge(
    "foreshock_exporter_services_over_limit", "Services on the GPU beyond the number that is told apart."
)

FAMILIES: tuple[Family, ...] = tuple(value for value in globals().values() if isinstance(value, Family))
"""All families of this module."""

_FAMILIES_BY_SOURCE = {
    "nvmlDeviceGetUUID, …Name, …PciInfo, …MigMode, nvmlSystemGetDriverVersion, …CudaDriverVersion": (GPU_INFO,),
    "nvmlDeviceGetMigDeviceHandleByIndex, …GpuInstanceId, …ComputeInstanceId": (MIG_INFO,),
    "--pool": (POOL_INFO, MIG_POOL_INFO),
    "nvmlDeviceGetMemoryInfo of the MIG device": (MIG_MEMORY_USED, MIG_MEMORY_TOTAL),
    "nvmlDeviceGetUtilizationRates": (GPU_UTILIZATION, GPU_MEMORY_BUSY),
    "nvmlDeviceGetSamples; nvmlDeviceGetUtilizationRates where there are none": (GPU_BUSY, GPU_BUSY_RATIO),
    "nvmlDeviceGetMemoryInfo_v2": (GPU_MEMORY_USED, GPU_MEMORY_FREE, GPU_MEMORY_RESERVED, GPU_MEMORY_TOTAL),
    "nvmlDeviceGetPowerUsage": (GPU_POWER,),
    "nvmlDeviceGetEnforcedPowerLimit": (GPU_POWER_LIMIT,),
    "field 83": (GPU_ENERGY,),
    "nvmlDeviceGetTemperature; field 82 for memory": (GPU_TEMPERATURE,),
    "nvmlDeviceGetClockInfo": (GPU_CLOCK,),
    "nvmlDeviceGetMaxClockInfo": (GPU_CLOCK_MAX,),
    "fields 74 to 79 (269 for 75), 270, 271": (GPU_THROTTLED,),
    "field 197": (PCIE_TRANSMIT,),
    "field 198": (PCIE_RECEIVE,),
    "field 94": (PCIE_REPLAYS,),
    "nvmlDeviceGetCurrPcieLinkWidth": (PCIE_WIDTH,),
    "nvmlDeviceGetMaxPcieLinkWidth": (PCIE_WIDTH_MAX,),
    "nvmlDeviceGetCurrPcieLinkGeneration": (PCIE_GENERATION,),
    "nvmlDeviceGetMaxPcieLinkGeneration": (PCIE_GENERATION_MAX,),
    "field 138; 202 on NVLink 5": (NVLINK_TRANSMIT,),
    "field 139; 204 on NVLink 5": (NVLINK_RECEIVE,),
    "field 138 or 202 of the link": (NVLINK_LINK_TRANSMIT,),
    "field 139 or 204 of the link": (NVLINK_LINK_RECEIVE,),
    "fields 161 to 163; 208, 215 on NVLink 5": (NVLINK_ERRORS,),
    "field 91": (NVLINK_LINKS,),
    "nvmlDeviceGetNvLinkState": (NVLINK_LINKS_UP,),
    "nvmlDeviceGetTotalEccErrors, volatile": (ECC_ERRORS,),
    "nvmlDeviceGetRemappedRows": (REMAPPED_ROWS, ROW_REMAP_PENDING, ROW_REMAP_FAILED),
    "nvmlEventSetWait_v2": (XID_ERRORS, XID_LAST),
    "nvmlDeviceGetCount, /sys/bus/pci/devices": (GPU_EXPECTED,),
    "nvmlDeviceGetHandleByIndex": (GPU_PRESENT, GPU_LOST),
    "nvmlDeviceGetProcessUtilization": (SERVICE_BUSY, STALLED, STALLED_BY),
    "the samples of the device less those of processes": (UNATTRIBUTED,),
    "nvmlDeviceGet{Compute,Graphics,MPSCompute}RunningProcesses": (SERVICE_MEMORY, SERVICE_PROCESSES),
    "the samples of the device and of processes": (CONTENDED,),
    "/etc/machine-id, the host name": (TARGET_INFO,),
    "the error that NVML answered": (METRIC_ABSENT,),
}
SOURCES: dict[Family, str] = dict.fromkeys(FAMILIES, "itself") | {
    family: source for source, families in _FAMILIES_BY_SOURCE.items() for family in families
}
"""Origin of each metric: NVML functions and field ids (nvml.h)."""
