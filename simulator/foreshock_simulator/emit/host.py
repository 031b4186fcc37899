"""Network counters of a simulated host, as collectors of the exporter: interface, TCP, and RDMA port."""

from __future__ import annotations

from collections.abc import Callable

from foreshock_exporter.host import infiniband, metrics, network
from foreshock_exporter.model.family import Families
from foreshock_simulator.emit.driver import Timeline
from foreshock_simulator.network.nic import Nic

INTERFACE = "eth0"
ADAPTER = "mlx5_0"
PORT_ACTIVE, PHYSICAL_LINK_UP = 4, 5
"""States of an active port (InfiniBand architecture specification 1.4, PortInfo)."""


def collectors(
    counters: Callable[[], Nic], bytes_per_second: float, timeline: Timeline
) -> dict[str, Callable[[], Families]]:
    """Collectors of a host by name."""

    def read() -> Nic:
        with timeline.present():
            return counters()

    return {
        "network": lambda: network.families([_interface(read(), bytes_per_second)]),
        "netstat": lambda: metrics.families(metrics.NETSTAT, [((), _tcp_counters(read()))]),
        "infiniband": lambda: infiniband.families([_adapter(read(), bytes_per_second)]),
    }


def _interface(nic: Nic, bytes_per_second: float) -> network.Interface:
    return network.Interface(
        INTERFACE,
        {
            "receive_bytes": float(nic.receive_bytes),
            "receive_packets": float(nic.receive_packets),
            "receive_errors": 0.0,
            "receive_drops": float(nic.receive_drops),
            "transmit_bytes": float(nic.transmit_bytes),
            "transmit_packets": float(nic.transmit_packets),
            "transmit_errors": 0.0,
            "transmit_drops": 0.0,
            "up": 1.0,
            "speed_bytes": bytes_per_second,
        },
    )


def _tcp_counters(nic: Nic) -> dict[str, float]:
    return {
        "Tcp_InSegs": float(nic.segments_in),
        "Tcp_OutSegs": float(nic.segments_out),
        "Tcp_RetransSegs": float(nic.segments_retransmitted),
        "TcpExt_TCPTimeouts": float(nic.timeouts),
    }


def _adapter(nic: Nic, bytes_per_second: float) -> infiniband.Adapter:
    values = {
        "state": PORT_ACTIVE,
        "phys_state": PHYSICAL_LINK_UP,
        "rate": bytes_per_second,
        "counters/port_rcv_data": nic.rdma_receive_bytes,
        "counters/port_rcv_packets": nic.rdma_receive_packets,
        "counters/port_xmit_data": nic.rdma_transmit_bytes,
        "counters/port_xmit_packets": nic.rdma_transmit_packets,
        "hw_counters/out_of_sequence": nic.rdma_out_of_sequence,
    }
    return infiniband.Adapter(ADAPTER, "", "", "", (infiniband.Port(ADAPTER, 1, values),))
