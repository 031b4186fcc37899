"""Every metric the exporter emits: its name, kind, labels and help. docs/metrics.md is compared with this file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family. `labels` fixes the order in which samples give their label values."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


_GPU = ("gpu", "uuid")
_SERVICE = (*_GPU, "service_name", "service_namespace", "source")
_BY = (*_SERVICE, "by_service_name", "by_service_namespace")

GPU_INFO = Family(
    "gpu_info",
    "gauge",
    (*_GPU, "model", "pci_bus_id", "driver_version", "cuda_version", "sharing"),
    "What the GPU is; always 1. sharing is time-slicing, mps, mig or unknown.",
)
GPU_UTILIZATION = Family(
    "gpu_utilization_ratio", "gauge", _GPU, "Share of the last fast sample during which a kernel ran, 0 to 1."
)
GPU_BUSY = Family(
    "gpu_busy_seconds_total", "counter", _GPU, "Seconds during which a kernel ran, from the fast samples."
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
GPU_EXPECTED = Family("gpu_expected", "gauge", (), "GPUs that this host has shown so far, lost ones included.")
GPU_PRESENT = Family("gpu_present", "gauge", (), "GPUs that answered the last sample.")
GPU_LOST = Family("gpu_lost", "gauge", ("uuid",), "1 for a GPU that was seen and no longer answers, else 0.")

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

_DEVICE = ("device",)
NETWORK_RECEIVE_BYTES = Family("node_network_receive_bytes_total", "counter", _DEVICE, "Bytes received.")
NETWORK_RECEIVE_PACKETS = Family("node_network_receive_packets_total", "counter", _DEVICE, "Packets received.")
NETWORK_RECEIVE_ERRORS = Family("node_network_receive_errs_total", "counter", _DEVICE, "Receive errors.")
NETWORK_RECEIVE_DROPS = Family("node_network_receive_drop_total", "counter", _DEVICE, "Received packets dropped.")
NETWORK_TRANSMIT_BYTES = Family("node_network_transmit_bytes_total", "counter", _DEVICE, "Bytes sent.")
NETWORK_TRANSMIT_PACKETS = Family("node_network_transmit_packets_total", "counter", _DEVICE, "Packets sent.")
NETWORK_TRANSMIT_ERRORS = Family("node_network_transmit_errs_total", "counter", _DEVICE, "Transmit errors.")
NETWORK_TRANSMIT_DROPS = Family("node_network_transmit_drop_total", "counter", _DEVICE, "Packets to send dropped.")
NETWORK_UP = Family("node_network_up", "gauge", _DEVICE, "1 if the operational state of the interface is up, else 0.")
NETWORK_SPEED = Family("node_network_speed_bytes", "gauge", _DEVICE, "Speed of the link in bytes per second.")

PRESSURE_CPU_WAITING = Family(
    "node_pressure_cpu_waiting_seconds_total", "counter", (), "Seconds during which some task waited for CPU time."
)
PRESSURE_IO_WAITING = Family(
    "node_pressure_io_waiting_seconds_total", "counter", (), "Seconds during which some task waited for I/O."
)
PRESSURE_IO_STALLED = Family(
    "node_pressure_io_stalled_seconds_total", "counter", (), "Seconds during which every task waited for I/O."
)
PRESSURE_MEMORY_WAITING = Family(
    "node_pressure_memory_waiting_seconds_total", "counter", (), "Seconds during which some task waited for memory."
)
PRESSURE_MEMORY_STALLED = Family(
    "node_pressure_memory_stalled_seconds_total", "counter", (), "Seconds during which every task waited for memory."
)
PRESSURE_IRQ_STALLED = Family(
    "node_pressure_irq_stalled_seconds_total", "counter", (), "Seconds during which interrupts kept every task waiting."
)

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
SERVICES_OVER_LIMIT = Family(
    "foreshock_exporter_services_over_limit", "gauge", _GPU, "Services on the GPU beyond the number that is told apart."
)

FAMILIES: tuple[Family, ...] = tuple(value for value in globals().values() if isinstance(value, Family))
"""All of the above, in the order in which they are emitted."""
