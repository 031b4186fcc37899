"""Network of hosts, from foreshock-exporter and node_exporter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.world.scraped import world_scraped

from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import Network

OURS, THEIRS = ("foreshock-exporter", "10.0.0.1:10877"), ("node", "host-1:9100")


def host(t: float) -> str:
    """Ethernet at 0.1 of 1 GB/s, RDMA at half of 2 GB/s, one segment in fifty retransmitted, 25% of RAM free."""
    return f"""
target_info{{host_name="host-1"}} 1
node_network_receive_bytes_total{{device="eth0"}} {1e8 * t}
node_network_transmit_bytes_total{{device="eth0"}} {5e7 * t}
node_network_speed_bytes{{device="eth0"}} 1e9
node_network_receive_bytes_total{{device="lo"}} {1e12 * t}
node_network_receive_bytes_total{{device="vethabc"}} {1e12 * t}
node_network_speed_bytes{{device="vethabc"}} 1e9
node_infiniband_port_data_received_bytes_total{{device="mlx5_0",port="1"}} {2e8 * t}
node_infiniband_port_data_transmitted_bytes_total{{device="mlx5_0",port="1"}} {1e9 * t}
node_infiniband_rate_bytes_per_second{{device="mlx5_0",port="1"}} 2e9
node_netstat_Tcp_OutSegs {100 * t}
node_netstat_Tcp_RetransSegs {2 * t}
node_netstat_TcpExt_TCPTimeouts {0.5 * t}
node_network_receive_drop_total{{device="eth0"}} {3 * t}
node_network_transmit_errs_total{{device="eth0"}} {1 * t}
node_network_receive_drop_total{{device="vethabc"}} {1e6 * t}
node_infiniband_out_of_sequence_packets_received_total{{device="mlx5_0",port="1"}} {4 * t}
node_memory_MemAvailable_bytes 25e9
node_memory_MemTotal_bytes 100e9
"""


def network(world: World) -> Network:
    """The network of a World."""
    assert world.network
    return world.network


def test_usage_is_that_of_the_busiest_physical_interface(tmp_path: Path) -> None:
    """Of either direction, Ethernet or RDMA; drops are summed over the interfaces."""
    found = network(world_scraped(tmp_path, {OURS: host}))
    figures = (found.used, found.bytes, found.retransmitted, found.timeouts, found.dropped, found.memory)

    assert found.hosts == ("host-1",)
    assert [rows[0, -1] for rows in figures] == pytest.approx([0.5, 1.35e9, 0.02, 0.5, 8, 0.75])


def test_two_exporters_of_one_host_do_not_double_it(tmp_path: Path) -> None:
    """One exports the host name, the other has it in its address."""
    found = network(
        world_scraped(tmp_path, {OURS: host, THEIRS: lambda t: host(t).replace("target_info", "other_info")})
    )

    assert found.hosts == ("host-1",)
    assert found.bytes[0, -1] == pytest.approx(1.35e9)
    assert found.dropped[0, -1] == pytest.approx(8)


def test_a_host_without_a_name_has_its_address(tmp_path: Path) -> None:
    """node_exporter exports the node name of uname."""
    plain = "node_netstat_Tcp_OutSegs 1\n"
    pages = {
        ("node", "10.0.0.7:9100"): lambda _: plain + 'node_uname_info{nodename="host-7"} 1',
        ("node", "10.0.0.8:9100"): lambda _: plain,
    }

    assert network(world_scraped(tmp_path, pages)).hosts == ("10.0.0.8", "host-7")


def test_an_interface_of_unknown_speed_has_bytes_but_no_usage(tmp_path: Path) -> None:
    """A link that is down or virtual has a negative speed."""
    found = network(
        world_scraped(tmp_path, {OURS: lambda t: host(t).replace("1e9\n", "-125000\n").replace("2e9\n", "0\n")})
    )

    assert np.isnan(found.used).all()
    assert found.bytes[0, -1] == pytest.approx(1.35e9)
