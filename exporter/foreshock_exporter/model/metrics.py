"""Metric families of the GPUs and of the exporter itself. docs/reference/metrics.md is compared with it."""

from __future__ import annotations

from foreshock_exporter.model.family import Family

_GPU = ("gpu", "uuid")
_MIG = (*_GPU, "gpu_instance")
_SERVICE = (*_GPU, "service_name", "service_namespace", "source")
_BY = (*_SERVICE, "aggressor_name", "aggressor_namespace")


def _gauge(name: str, text: str, labels: tuple[str, ...] = _GPU) -> Family:
    return Family(name, "gauge", labels, text)


def _counter(name: str, text: str, labels: tuple[str, ...] = _GPU) -> Family:
    return Family(name, "counter", labels, text)


GPU_INFO = _gauge(
    "gpu_info",
    "GPU identity and sharing mode (time-slicing, mps, mig, concurrent, partitioned, or unknown); always 1.",
    (*_GPU, "model", "pci_bus_id", "driver_version", "cuda_version", "sharing", "vendor"),
)
MIG_INFO = _gauge(
    "gpu_mig_info",
    "Identity of the MIG instance; always 1.",
    (*_GPU, "mig_uuid", "gpu_instance", "compute_instance", "profile"),
)
POOL_INFO = _gauge("gpu_pool_info", "Pool assigned to the GPU; always 1.", ("uuid", "pool"))
MIG_POOL_INFO = _gauge("gpu_mig_pool_info", "Pool assigned to the MIG instance; always 1.", (*_GPU, "mig_uuid", "pool"))
MIG_MEMORY_USED = _gauge(
    "gpu_mig_memory_used_bytes", "Memory used by the GPU instance that contains the MIG instance.", (*_GPU, "mig_uuid")
)
MIG_MEMORY_TOTAL = _gauge(
    "gpu_mig_memory_total_bytes", "Memory size of the GPU instance that contains the MIG instance.", (*_GPU, "mig_uuid")
)
MIG_PLACEMENT_START = _gauge(
    "gpu_mig_placement_start", "Index of the first memory slice of the GPU instance, from 0.", _MIG
)
MIG_PLACEMENT_SIZE = _gauge("gpu_mig_placement_size", "Number of memory slices of the GPU instance.", _MIG)
GPU_UTILIZATION = _gauge(
    "gpu_utilization_ratio", "Fraction of the last fast sample during which a kernel was running, 0 to 1."
)
GPU_BUSY = _counter("gpu_busy_seconds_total", "Seconds during which a kernel was running, since the exporter started.")
GPU_UTILIZATION_SAMPLES = Family(
    "gpu_utilization_sample_ratio",
    "histogram",
    _GPU,
    "Fast samples of the GPU, by the fraction of the sample during which a kernel was running.",
    bounds=(0.0, 0.5, 0.9, 0.98),
)
GPU_MEMORY_USED = _gauge("gpu_memory_used_bytes", "Device memory in use, excluding reserved memory.")
GPU_MEMORY_FREE = _gauge("gpu_memory_free_bytes", "Free device memory.")
GPU_MEMORY_RESERVED = _gauge("gpu_memory_reserved_bytes", "Device memory reserved by the driver.")
GPU_MEMORY_TOTAL = _gauge("gpu_memory_total_bytes", "Device memory size.")
GPU_MEMORY_ACTIVE = _gauge(
    "gpu_memory_active_ratio", "Fraction of the last sample during which device memory was read or written, 0 to 1."
)
SM_ACTIVE = _counter(
    "gpu_sm_active_seconds_total", "Seconds of SM activity: the fraction of SMs with work, integrated over time."
)
SM_OCCUPANCY = _counter(
    "gpu_sm_occupancy_seconds_total",
    "Seconds of SM occupancy: resident warps as a fraction of the maximum, integrated over time.",
)
TENSOR_ACTIVE = _counter(
    "gpu_tensor_active_seconds_total",
    "Seconds during which the tensor pipe was active with any kind of operation, averaged over the SMs.",
)
PIPE_ACTIVE = _counter(
    "gpu_pipe_active_seconds_total",
    "Seconds during which a pipe was active, averaged over the SMs, by pipe.",
    (*_GPU, "pipe"),
)
DRAM_ACTIVE = _counter(
    "gpu_dram_active_seconds_total",
    "Seconds of DRAM activity: bandwidth in use as a fraction of the maximum, integrated over time.",
)
ENGINE_ACTIVE = _counter(
    "gpu_engine_active_seconds_total",
    "Seconds during which an engine was active, averaged over its units, by engine; graphics also runs compute work.",
    (*_GPU, "engine"),
)
CONTEXT_SWITCH = _counter("gpu_context_switch_seconds_total", "Seconds during which the GPU switched between contexts.")
MIG_SM_ACTIVE = _counter("gpu_mig_sm_active_seconds_total", "Seconds of SM activity of the GPU instance.", _MIG)
MIG_SM_OCCUPANCY = _counter("gpu_mig_sm_occupancy_seconds_total", "Seconds of SM occupancy of the GPU instance.", _MIG)
MIG_TENSOR_ACTIVE = _counter(
    "gpu_mig_tensor_active_seconds_total",
    "Seconds during which the tensor pipe of the GPU instance was active with any kind of operation.",
    _MIG,
)
MIG_PIPE_ACTIVE = _counter(
    "gpu_mig_pipe_active_seconds_total",
    "Seconds during which a pipe of the GPU instance was active, by pipe.",
    (*_MIG, "pipe"),
)
MIG_DRAM_ACTIVE = _counter("gpu_mig_dram_active_seconds_total", "Seconds of DRAM activity of the GPU instance.", _MIG)
MIG_ENGINE_ACTIVE = _counter(
    "gpu_mig_engine_active_seconds_total",
    "Seconds during which an engine of the GPU instance was active, by engine.",
    (*_MIG, "engine"),
)
MIG_CONTEXT_SWITCH = _counter(
    "gpu_mig_context_switch_seconds_total", "Seconds during which the GPU instance switched between contexts.", _MIG
)
GPU_POWER = _gauge("gpu_power_watts", "Power draw of the GPU.")
GPU_POWER_LIMIT = _gauge("gpu_power_limit_watts", "Power limit enforced by the driver.")
GPU_ENERGY = _counter("gpu_energy_joules_total", "Energy consumed since the driver was loaded.")
GPU_TEMPERATURE = _gauge("gpu_temperature_celsius", "Temperature, by sensor.", (*_GPU, "sensor"))
GPU_CLOCK = _gauge("gpu_clock_hertz", "Current clock frequency.", (*_GPU, "clock"))
GPU_CLOCK_MAX = _gauge("gpu_clock_max_hertz", "Maximum SM clock frequency of the GPU model.", (*_GPU, "clock"))
GPU_CLOCK_APPLICATION = _gauge(
    "gpu_clock_application_hertz", "Configured SM clock frequency (application clock).", (*_GPU, "clock")
)
GPU_THROTTLED = _counter(
    "gpu_throttled_seconds_total", "Seconds during which clocks were throttled, by reason.", (*_GPU, "reason")
)
PCIE_TRANSMIT = _counter("gpu_pcie_transmit_bytes_total", "Bytes sent over PCIe.")
PCIE_RECEIVE = _counter("gpu_pcie_receive_bytes_total", "Bytes received over PCIe.")
PCIE_REPLAYS = _counter("gpu_pcie_replays_total", "PCIe replays (retransmitted packets).")
PCIE_WIDTH = _gauge("gpu_pcie_link_width", "Number of PCIe lanes in use; idle links may use fewer.")
PCIE_WIDTH_MAX = _gauge("gpu_pcie_link_width_max", "Maximum number of PCIe lanes that both GPU and slot support.")
PCIE_GENERATION = _gauge("gpu_pcie_link_generation", "Current PCIe generation; idle links may use a lower one.")
PCIE_GENERATION_MAX = _gauge("gpu_pcie_link_generation_max", "Maximum PCIe generation that both GPU and slot support.")
NVLINK_TRANSMIT = _counter("gpu_nvlink_transmit_bytes_total", "Bytes sent over all NVLinks.")
NVLINK_RECEIVE = _counter("gpu_nvlink_receive_bytes_total", "Bytes received over all NVLinks.")
NVLINK_PORT_TRANSMIT = _counter("gpu_nvlink_port_transmit_bytes_total", "Bytes sent over one NVLink.", (*_GPU, "link"))
NVLINK_PORT_RECEIVE = _counter(
    "gpu_nvlink_port_receive_bytes_total", "Bytes received over one NVLink.", (*_GPU, "link")
)
NVLINK_ERRORS = _counter(
    "gpu_nvlink_errors_total",
    "Errors across all NVLinks, by kind. Kinds overlap, so do not sum them.",
    (*_GPU, "kind"),
)
NVLINK_LINKS = _gauge("gpu_nvlink_links", "Number of NVLinks.")
NVLINK_LINKS_UP = _gauge("gpu_nvlink_links_up", "Number of NVLinks that are up.")
NVLINK_BIT_ERRORS = _gauge(
    "gpu_nvlink_bit_error_ratio",
    "Bit error ratio of the worst NVLink that is up, of effective errors (in packets) or of received symbols.",
    (*_GPU, "kind"),
)
FABRIC_INFO = _gauge(
    "gpu_fabric_info",
    "NVLink cluster and clique of the GPU; always 1. GPUs with equal labels reach each other over NVLink.",
    (*_GPU, "cluster_uuid", "clique"),
)
FABRIC_HEALTH = _gauge(
    "gpu_fabric_health",
    "Active condition of the GPU's NVLink fabric, or healthy; always 1.",
    (*_GPU, "condition"),
)
C2C_LINKS = _gauge("gpu_c2c_links", "Number of C2C links to the CPU of the module.")
C2C_LINKS_UP = _gauge("gpu_c2c_links_up", "Number of active C2C links.")
C2C_SPEED = _gauge("gpu_c2c_bytes_per_second", "Speed of all active C2C links together.")
C2C_TRANSMIT = _counter("gpu_c2c_transmit_bytes_total", "Bytes sent over C2C, without protocol overhead.")
C2C_RECEIVE = _counter("gpu_c2c_receive_bytes_total", "Bytes received over C2C, without protocol overhead.")
C2C_ERRORS = _counter("gpu_c2c_errors_total", "Errors across all C2C links, by kind.", (*_GPU, "kind"))
PLATFORM_INFO = _gauge(
    "gpu_platform_info",
    "Location of the GPU in its rack: chassis, slot, tray, host in the slot, and module; always 1.",
    (*_GPU, "chassis_serial", "slot", "tray", "host", "module"),
)
MODULE_POWER = _gauge("gpu_module_power_watts", "Power draw of the module of CPU and GPU.")
MODULE_POWER_LIMIT = _gauge("gpu_module_power_limit_watts", "Power limit of the module of CPU and GPU.")
TEMPERATURE_MARGIN = _gauge(
    "gpu_temperature_margin_celsius", "Degrees until the nearest threshold at which the GPU slows down."
)
POWER_PROFILE = _gauge(
    "gpu_power_profile",
    "Workload power profile that is requested or enforced; always 1.",
    (*_GPU, "profile", "state"),
)
POWER_SMOOTHING = _gauge("gpu_power_smoothing_enabled", "1 if power smoothing is enabled, else 0.")
POWER_SMOOTHING_LIFETIME = _gauge(
    "gpu_power_smoothing_lifetime_ratio", "Remaining lifetime of the circuit for power smoothing, 0 to 1."
)
CONFIDENTIAL_COMPUTING = _gauge(
    "gpu_confidential_computing",
    "Mode of confidential computing (off, on, devtools, or bare_metal), and its environment; always 1.",
    (*_GPU, "mode", "environment"),
)
CONFIDENTIAL_COMPUTING_READY = _gauge(
    "gpu_confidential_computing_ready", "1 if the GPUs accept work after attestation, else 0."
)
SRAM_THRESHOLD = _gauge(
    "gpu_sram_ecc_threshold_exceeded", "1 if SRAM errors exceed the threshold for a replacement of the GPU, else 0."
)
REPAIR_PENDING = _gauge(
    "gpu_repair_pending", "1 if a repair of this unit is pending until the next GPU reset, else 0.", (*_GPU, "unit")
)
BANK_REMAPS = _gauge("gpu_bank_remaps", "Number of active remappings of memory banks.")
BANK_REMAP_PENDING = _gauge("gpu_bank_remap_pending", "1 if a bank remap is pending until the next GPU reset, else 0.")
XGMI_TRANSMIT = _counter("gpu_xgmi_transmit_bytes_total", "Bytes written over all XGMI links of an AMD GPU.")
XGMI_RECEIVE = _counter("gpu_xgmi_receive_bytes_total", "Bytes read over all XGMI links of an AMD GPU.")
XGMI_LINKS_UP = _gauge("gpu_xgmi_links_up", "Number of active XGMI links of an AMD GPU.")
XGMI_LINK_SPEED = _gauge(
    "gpu_xgmi_link_bytes_per_second", "Speed of one XGMI link of an AMD GPU: lanes times the bit rate of a lane."
)
ECC_ERRORS = _counter(
    "gpu_ecc_errors_total",
    "ECC memory errors since the driver was loaded, by type (corrected or uncorrected).",
    (*_GPU, "error_type"),
)
ECC_LOCATION_ERRORS = _counter(
    "gpu_ecc_location_errors_total",
    "ECC memory errors since the driver was loaded, by memory and type. Memories overlap, so do not sum them.",
    (*_GPU, "location", "error_type"),
)
RETIRED_PAGES = _gauge(
    "gpu_retired_pages", "Retired memory pages, by error type; GPUs before Ampere.", (*_GPU, "error_type")
)
PAGE_RETIREMENT_PENDING = _gauge(
    "gpu_page_retirement_pending", "1 if a page retirement is pending until the next GPU reset, else 0."
)
RECOVERY_ACTION = _gauge(
    "gpu_recovery_action",
    "Recovery action that the driver requests, none if the GPU is healthy; always 1.",
    (*_GPU, "action"),
)
FABRIC_STATE = _gauge(
    "gpu_fabric_state", "State of the registration of the GPU with the NVLink fabric; always 1.", (*_GPU, "state")
)
PCIE_AER_ERRORS = _counter(
    "gpu_pcie_aer_errors_total",
    "PCIe errors that the GPU has reported since boot (AER), by type: correctable, nonfatal, or fatal.",
    (*_GPU, "error_type"),
)
REMAPPED_ROWS = _gauge("gpu_remapped_rows", "Remapped memory rows, by error type.", (*_GPU, "error_type"))
ROW_REMAP_PENDING = _gauge("gpu_row_remap_pending", "1 if a row remap is pending until the next GPU reset, else 0.")
ROW_REMAP_FAILED = _gauge("gpu_row_remap_failed", "1 if a row remap has failed, else 0.")
XID_ERRORS = _counter(
    "gpu_xid_errors_total",
    "XID errors since the exporter started. A series appears with its first error, so alert on the timestamp.",
    (*_GPU, "xid"),
)
XID_LAST = _gauge("gpu_xid_last_timestamp_seconds", "Unix time of the last XID error.", (*_GPU, "xid"))
SERVICE_XID_ERRORS = _counter(
    "gpu_service_xid_errors_total",
    "XID errors that the kernel log attributes to a process of the service, since the exporter started.",
    (*_SERVICE, "xid"),
)
NVSWITCH_SXID_ERRORS = _counter(
    "nvswitch_sxid_errors_total",
    "SXID errors of the NVSwitch since the exporter started, by type: nonfatal or fatal.",
    ("pci_bus_id", "sxid", "error_type"),
)
GPUS_EXPECTED = _gauge(
    "gpus_expected", "GPUs expected on this host: all GPUs on the PCI bus or seen so far, including lost ones.", ()
)
GPUS_PRESENT = _gauge("gpus_present", "GPUs that responded when last sampled.", ())
GPU_LOST = _gauge(
    "gpu_lost",
    "1 if a detected GPU no longer responds, else 0; gpu and pci_bus_id are its last known values.",
    (*_GPU, "pci_bus_id"),
)

SERVICE_BUSY = _counter(
    "gpu_service_busy_seconds_total", "Seconds during which kernels of the service were running on the GPU.", _SERVICE
)
UNATTRIBUTED = _counter("gpu_unattributed_busy_seconds_total", "Busy seconds of the GPU not attributed to any service.")
SERVICE_MEMORY = _gauge(
    "gpu_service_memory_used_bytes", "Device memory allocated by processes of the service on the GPU.", _SERVICE
)
SERVICE_PROCESSES = _gauge("gpu_service_processes", "Processes of the service on the GPU.", _SERVICE)
CONTENDED = _counter(
    "gpu_contended_seconds_total",
    "Seconds during which the GPU was at least 90% busy and two or more services each used at least 5%.",
)
SERVICE_WAIT = _counter(
    "gpu_service_wait_seconds_total",
    "Upper bound on the seconds the service waited for other services while the GPU was contended.",
    _SERVICE,
)
SERVICE_WAIT_BY_AGGRESSOR = _counter(
    "gpu_service_wait_by_aggressor_seconds_total",
    "GPU wait of the service, by the service that used the GPU; an empty aggressor_name means unattributed.",
    _BY,
)
RESOURCE_SATURATED = _counter(
    "gpu_resource_saturated_seconds_total",
    "Seconds during which a resource of the GPU was at its limit, by resource: dram, pcie, nvlink, or power.",
    (*_GPU, "resource"),
)
SERVICE_RESOURCE_WAIT = _counter(
    "gpu_service_resource_wait_seconds_total",
    "Upper bound on the seconds the service lost while it shared a resource at its limit, by resource.",
    (*_SERVICE, "resource"),
)
_HOST_SERVICE = ("service_name", "service_namespace", "source")
SERVICE_CPU_WAITING = _counter(
    "gpu_service_cpu_waiting_seconds_total",
    "Seconds during which a task of the service waited for CPU time, in its cgroup with the highest pressure.",
    _HOST_SERVICE,
)
SERVICE_CPU_STALLED = _counter(
    "gpu_service_cpu_stalled_seconds_total",
    "Seconds during which all tasks of the service waited for CPU time, in its cgroup with the highest pressure.",
    _HOST_SERVICE,
)
SERVICE_CPU_THROTTLED = _counter(
    "gpu_service_cpu_throttled_seconds_total",
    "Upper bound on the seconds during which the CPU limit stopped tasks of the service, in its most throttled cgroup.",
    _HOST_SERVICE,
)
SERVICE_IO_WAITING = _counter(
    "gpu_service_host_io_waiting_seconds_total",
    "Seconds during which a task of the service waited for storage, such as page cache misses, in its cgroup with the "
    "highest pressure.",
    _HOST_SERVICE,
)
SERVICE_MEMORY_WAITING = _counter(
    "gpu_service_host_memory_waiting_seconds_total",
    "Seconds during which a task of the service waited for memory, such as evicted pages, in its cgroup with the "
    "highest pressure.",
    _HOST_SERVICE,
)
SERVICE_CACHE_REFAULTS = _counter(
    "gpu_service_page_cache_refaults_total",
    "Pages that the service's cgroup read again after their eviction from the page cache.",
    _HOST_SERVICE,
)
SERVICE_LOCAL_CPUS = _gauge(
    "gpu_service_local_cpus_ratio",
    "Share of the service's CPUs that are on the NUMA node of the GPU, 0 to 1; the lowest value of its processes.",
    _SERVICE,
)
CPU_STEAL = _counter(
    "gpu_host_cpu_steal_seconds_total",
    "Seconds that the hypervisor gave to other virtual machines while CPUs of the host had work, mean of online CPUs.",
    (),
)

SERVICE_JOB_INFO = _gauge(
    "gpu_service_job_info",
    "Slurm or Ray job of a service process on the GPU; always 1.",
    (*_SERVICE, "job_id"),
)
SERVICE_MPS_SM_LIMIT = _gauge(
    "gpu_service_mps_sm_limit_ratio",
    "Share of the SMs that MPS clients of the service may use by their environment, 0 to 1; the smallest of them.",
    _SERVICE,
)
SERVICE_MPS_MEMORY_LIMIT = _gauge(
    "gpu_service_mps_memory_limit_bytes",
    "Device memory that an MPS client of the service may allocate by its environment; the smallest of them.",
    _SERVICE,
)
SERVICE_MPS_CLIENTS = _gauge(
    "gpu_service_mps_clients", "Processes of the service that use the GPU as MPS clients.", _SERVICE
)
MPS_CLIENTS = _gauge(
    "gpu_mps_clients", "Processes that use the GPU as MPS clients; absent for GPUs that never used MPS."
)
MPS_SERVERS = _gauge("gpu_mps_servers", "MPS servers that use the GPU.")
MPS_SERVERS_ENDED = _counter(
    "gpu_mps_servers_ended_total", "MPS servers that left the GPU since the exporter started, by a crash or on request."
)
MPS_DAEMON_UP = _gauge(
    "gpu_mps_control_daemon_up", "1 if the control daemon that started the MPS servers of the GPU still runs, else 0."
)
MPS_CLIENT_FAMILIES = (SERVICE_MPS_SM_LIMIT, SERVICE_MPS_MEMORY_LIMIT, SERVICE_MPS_CLIENTS, MPS_CLIENTS)
MPS_FAMILIES = (*MPS_CLIENT_FAMILIES, MPS_SERVERS, MPS_SERVERS_ENDED, MPS_DAEMON_UP)
ALLOCATION_INFO = _gauge(
    "gpu_allocation_info",
    "GPU or MIG instance that the kubelet allocated to a container, whether in use or not; always 1.",
    (
        *(*_GPU, "mig_uuid", "resource", "replica"),
        *("k8s_namespace_name", "k8s_pod_name", "k8s_container_name", "k8s_workload_name", "claim", "device"),
    ),
)
ALLOCATABLE = _gauge(
    "gpu_allocatable_devices",
    "Healthy devices that the kubelet can allocate; replicas of a shared GPU count separately.",
    ("resource",),
)

TARGET_INFO = _gauge("target_info", "Host identity; always 1.", ("host_id", "host_name"))

BUILD_INFO = _gauge(
    "foreshock_exporter_build_info", "Exporter and Python versions; always 1.", ("version", "python_version")
)
MOCK = _gauge(
    "foreshock_exporter_mock", "1 if the exporter simulates GPUs from a device script, 0 if it reads real GPUs.", ()
)
COLLECTOR_SUCCESS = _gauge(
    "foreshock_exporter_collector_success", "1 if the last run of the collector succeeded, else 0.", ("collector",)
)
COLLECTOR_DURATION = _gauge(
    "foreshock_exporter_collector_duration_seconds", "Duration of the last run of the collector.", ("collector",)
)
COLLECTOR_LAST = _gauge(
    "foreshock_exporter_collector_last_run_timestamp_seconds",
    "Unix time when the collector last finished a run.",
    ("collector",),
)
METRIC_UNAVAILABLE = _gauge(
    "foreshock_exporter_metric_unavailable",
    "1 for each metric that is unavailable for the GPU, or for a resource or throttle reason of it, with the reason.",
    (*_GPU, "metric", "reason", "resource"),
)
CALL_AGE = _gauge(
    "foreshock_exporter_driver_call_age_seconds",
    "Seconds since the driver call in flight started; 0 if there is none. An empty gpu label means the whole host.",
    ("gpu", "call"),
)
DRIVER_UP = _gauge(
    "foreshock_exporter_driver_up",
    "1 if the driver could list its GPUs, else 0: nvml for NVIDIA, drm for AMD and Intel. Absent without such GPUs.",
    ("driver",),
)
SAMPLES_DROPPED = _counter(
    "foreshock_exporter_samples_dropped_total",
    "Fast samples dropped, by reason: implausible values or an overlong gap.",
    ("gpu", "reason"),
)
CONNECTIONS_DROPPED = _counter(
    "foreshock_exporter_connections_dropped_total",
    "HTTP connections closed or refused, by the limit that was reached: total or per client.",
    ("limit",),
)
POOL_UNMATCHED = _gauge(
    "foreshock_exporter_pool_unmatched",
    "1 for each index or UUID in --pool that does not exist (not_found) or that a UUID rule overrides (overruled).",
    (*_GPU, "pool", "reason"),
)
SERVICES_DROPPED = _gauge(
    "foreshock_exporter_services_dropped", "Services on the GPU beyond the limit; their GPU time is unattributed."
)

FAMILIES: tuple[Family, ...] = tuple(value for value in globals().values() if isinstance(value, Family))
"""All families of this module."""
