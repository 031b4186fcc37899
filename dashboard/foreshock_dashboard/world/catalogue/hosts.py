"""Catalogue of hosts: network interfaces, RDMA ports, and TCP of node_exporter."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.world.catalogue.row import TARGET_LABELS, CatalogueRow, Producer, RateWindows

_PHYSICAL = Matcher(
    "device",
    "!~",
    "lo|veth.*|docker.*|br-.*|cni.*|cali.*|flannel.*|cilium.*|lxc.*|tunl.*|virbr.*|dummy.*|bond.*|team.*",
)
"""Physical interfaces: no loopback, container, or aggregated interfaces."""
DEVICE_LABELS = (*TARGET_LABELS, "device")
PORT_LABELS = (*TARGET_LABELS, "device", "port")


def readings(windows: RateWindows) -> Mapping[str, CatalogueRow]:
    """Readings of hosts. Names: node_exporter's collectors netdev, netclass, infiniband, and netstat."""
    last, rate = windows.last, windows.rate

    def host_total(metric: str) -> Producer:
        matchers = (_PHYSICAL,) if metric.startswith("node_network") else ()
        return Producer(rate(metric, TARGET_LABELS, *matchers), {})

    return {
        "received": CatalogueRow(
            rate("node_network_receive_bytes_total", DEVICE_LABELS, _PHYSICAL),
            "how full interfaces are",
            also=(Producer(rate("node_infiniband_port_data_received_bytes_total", PORT_LABELS), {}),),
        ),
        "sent": CatalogueRow(
            rate("node_network_transmit_bytes_total", DEVICE_LABELS, _PHYSICAL),
            "how full interfaces are",
            also=(Producer(rate("node_infiniband_port_data_transmitted_bytes_total", PORT_LABELS), {}),),
        ),
        "speed": CatalogueRow(
            last("node_network_speed_bytes", DEVICE_LABELS, _PHYSICAL),
            "how full interfaces are",
            also=(Producer(last("node_infiniband_rate_bytes_per_second", PORT_LABELS), {}),),
        ),
        "segments": CatalogueRow(
            rate("node_netstat_Tcp_OutSegs", TARGET_LABELS), "the share of TCP segments sent again"
        ),
        "retransmitted": CatalogueRow(
            rate("node_netstat_Tcp_RetransSegs", TARGET_LABELS), "the share of TCP segments sent again"
        ),
        "timeouts": CatalogueRow(rate("node_netstat_TcpExt_TCPTimeouts", TARGET_LABELS), "time-outs of TCP"),
        "dropped": CatalogueRow(
            rate("node_network_receive_drop_total", TARGET_LABELS, _PHYSICAL),
            "packets dropped or in error",
            also=tuple(
                map(
                    host_total,
                    (
                        "node_network_transmit_drop_total",
                        "node_network_receive_errs_total",
                        "node_network_transmit_errs_total",
                        "node_infiniband_port_discards_received_total",
                        "node_infiniband_port_discards_transmitted_total",
                        "node_infiniband_port_errors_received_total",
                        "node_infiniband_out_of_sequence_packets_received_total",
                    ),
                )
            ),
        ),
    }
