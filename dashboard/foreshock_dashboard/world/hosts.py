"""Hosts: queries of network interfaces, RDMA ports, TCP, and memory of node_exporter, and rows of the World."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.world_sections import Network
from foreshock_dashboard.stats.robust import nan_sum
from foreshock_dashboard.world.row import TARGET_LABELS, Catalog, LabelMap, RateWindows, Readings, row
from foreshock_dashboard.world.row_math import LabelFacts, clipped_share, safe_ratio
from foreshock_dashboard.world.section import Grouping, Growth, Section, Sections
from foreshock_dashboard.world.targets import Address, target_of

_PHYSICAL = Matcher(
    "device",
    "!~",
    "lo|veth.*|docker.*|br-.*|cni.*|cali.*|flannel.*|cilium.*|lxc.*|tunl.*|virbr.*|dummy.*|bond.*|team.*",
)
"""Physical interfaces: no loopback, container, or aggregated interfaces."""
DEVICE_LABELS = (*TARGET_LABELS, "device")
PORT_LABELS = (*TARGET_LABELS, "device", "port")
INTERFACE_READINGS = ("received", "sent", "speed")
HOST_READINGS = ("segments", "retransmitted", "timeouts", "dropped", "host_memory_available", "host_memory_size")
HOST_FIGURES = ("used", "bytes", "retransmitted", "timeouts", "dropped", "memory")


def readings(windows: RateWindows) -> Catalog:
    """Readings of hosts. Names: node_exporter's collectors netdev, netclass, infiniband, netstat, and meminfo."""
    last, rate = windows.last, windows.rate
    usage, segments = "NIC utilization", "TCP retransmits"
    received = rate("node_infiniband_port_data_received_bytes_total", PORT_LABELS)
    sent = rate("node_infiniband_port_data_transmitted_bytes_total", PORT_LABELS)
    speed = last("node_infiniband_rate_bytes_per_second", PORT_LABELS)
    of_ethernet = (
        rate(metric, TARGET_LABELS, _PHYSICAL)
        for metric in (
            "node_network_transmit_drop_total",
            "node_network_receive_errs_total",
            "node_network_transmit_errs_total",
        )
    )
    of_rdma = (
        rate(metric, TARGET_LABELS)
        for metric in (
            "node_infiniband_port_discards_received_total",
            "node_infiniband_port_discards_transmitted_total",
            "node_infiniband_port_errors_received_total",
            "node_infiniband_out_of_sequence_packets_received_total",
        )
    )
    return {
        "received": row(usage, rate("node_network_receive_bytes_total", DEVICE_LABELS, _PHYSICAL), also=(received,)),
        "sent": row(usage, rate("node_network_transmit_bytes_total", DEVICE_LABELS, _PHYSICAL), also=(sent,)),
        "speed": row(usage, last("node_network_speed_bytes", DEVICE_LABELS, _PHYSICAL), also=(speed,)),
        "segments": row(segments, rate("node_netstat_Tcp_OutSegs", TARGET_LABELS)),
        "retransmitted": row(segments, rate("node_netstat_Tcp_RetransSegs", TARGET_LABELS)),
        "timeouts": row("TCP timeouts", rate("node_netstat_TcpExt_TCPTimeouts", TARGET_LABELS)),
        "dropped": row(
            "packet drops and errors",
            rate("node_network_receive_drop_total", TARGET_LABELS, _PHYSICAL),
            also=(*of_ethernet, *of_rdma),
        ),
        "host_memory_available": row("host memory", last("node_memory_MemAvailable_bytes", TARGET_LABELS)),
        "host_memory_size": row("host memory", last("node_memory_MemTotal_bytes", TARGET_LABELS)),
    }


class Interface(NamedTuple):
    """An Ethernet interface or an RDMA port."""

    host: str
    device: str
    port: str


class HostRows:
    """Rows of hosts and their interfaces. Two exporters of one host are copies of each other."""

    def __init__(self, sections: Sections, names: LabelFacts[Address, str]) -> None:
        self._names = names
        self.interfaces = Section(sections, tuple, self._interface, copies=True, while_up=True)
        self.by_host = Section(sections, str, self.host_of)
        self.hosts = Section(sections, str, self.host_of, copies=True, while_up=True)
        self._host_of_interface = Grouping(self.interfaces, self.hosts, lambda interface: interface.host)

    def update(self, readings: Readings, since: float, renamed: bool) -> None:
        """Register the entities of new readings; `renamed`: names of hosts changed."""
        if renamed:
            for section in (self.interfaces, self.by_host, self.hosts):
                section.forget()
        self.interfaces.register(readings, INTERFACE_READINGS, since)
        self.by_host.register(readings, HOST_READINGS, since)
        self._host_of_interface.update(self.by_host.keys)

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        received, sent, speed = (self.interfaces.rows(key, readings[key]) for key in INTERFACE_READINGS)
        rows = (self.hosts.rows(key, readings[key]) for key in HOST_READINGS)
        segments, retransmitted, timeouts, dropped, available, size = rows
        used = clipped_share(safe_ratio(np.fmax(received, sent), speed))
        busiest = np.full((len(self.hosts.keys), used.shape[1]), np.nan)
        np.fmax.at(busiest, self._host_of_interface.index, used)
        throughput = self._host_of_interface.sums(nan_sum(received, sent))
        share, memory = (
            clipped_share(safe_ratio(retransmitted, segments)),
            1 - clipped_share(safe_ratio(available, size)),
        )
        figures = (busiest, throughput, share, timeouts, dropped, memory)
        return [(self.hosts, dict(zip(HOST_FIGURES, figures, strict=True)))]

    def network(self) -> Network | None:
        """Network by host; None without hosts."""
        return Network(self.hosts.keys, *(self.hosts[key] for key in HOST_FIGURES)) if self.hosts.keys else None

    def host_of(self, labels: LabelMap) -> str:
        """Name of the host of a target."""
        target = target_of(labels)
        return self._names.facts.get(target) or re.sub(r":\d+$", "", target[1])

    def _interface(self, labels: LabelMap) -> Interface:
        return Interface(self.host_of(labels), labels.get("device", ""), labels.get("port", ""))
