"""The metrics of the host, under node_exporter's names. docs/metrics.md is compared with this file."""

from __future__ import annotations

from foreshock_exporter.family import Family

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

FAMILIES: tuple[Family, ...] = tuple(value for value in globals().values() if isinstance(value, Family))
"""All of the above."""
