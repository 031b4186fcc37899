"""What is read of hosts: their interfaces, RDMA ports and TCP, under node_exporter's names."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.world.catalogue.row import TARGET, Form, Reading, Windows

_REAL = Matcher(
    "device",
    "!~",
    "lo|veth.*|docker.*|br-.*|cni.*|cali.*|flannel.*|cilium.*|lxc.*|tunl.*|virbr.*|dummy.*|bond.*|team.*",
)
"""Interfaces that are wires: not loopback, not those of containers, not one made of others."""
DEVICE = (*TARGET, "device")
PORT = (*TARGET, "device", "port")


def readings(windows: Windows) -> Mapping[str, Reading]:
    """Names: node_exporter's collectors netdev, netclass, infiniband and netstat."""
    last, rate = windows.last, windows.rate

    def lost(metric: str) -> Form:
        matchers = (_REAL,) if metric.startswith("node_network") else ()
        return Form(rate(metric, TARGET, *matchers), {})

    return {
        "received": Reading(
            rate("node_network_receive_bytes_total", DEVICE, _REAL),
            "how full interfaces are",
            also=(Form(rate("node_infiniband_port_data_received_bytes_total", PORT), {}),),
        ),
        "sent": Reading(
            rate("node_network_transmit_bytes_total", DEVICE, _REAL),
            "how full interfaces are",
            also=(Form(rate("node_infiniband_port_data_transmitted_bytes_total", PORT), {}),),
        ),
        "speed": Reading(
            last("node_network_speed_bytes", DEVICE, _REAL),
            "how full interfaces are",
            also=(Form(last("node_infiniband_rate_bytes_per_second", PORT), {}),),
        ),
        "segments": Reading(rate("node_netstat_Tcp_OutSegs", TARGET), "the share of TCP segments sent again"),
        "retransmitted": Reading(rate("node_netstat_Tcp_RetransSegs", TARGET), "the share of TCP segments sent again"),
        "timeouts": Reading(rate("node_netstat_TcpExt_TCPTimeouts", TARGET), "time-outs of TCP"),
        "dropped": Reading(
            rate("node_network_receive_drop_total", TARGET, _REAL),
            "packets dropped or in error",
            also=tuple(
                map(
                    lost,
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
