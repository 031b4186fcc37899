"""Host families compared with the real node_exporter: names, types, labels, values."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.host.infiniband import SysInfiniband
from foreshock_exporter.host.network import ProcNetstat, ProcNetwork
from foreshock_exporter.host.pressure import ProcPressure
from foreshock_exporter.model.family import Families

if TYPE_CHECKING:
    from tests.exporter.conftest import Tree

NODE_EXPORTER = shutil.which("prometheus-node-exporter")
LISTENING = re.compile(r'msg="Listening on" address=(\S+)')
FLAGS = (
    "--collector.disable-defaults",
    "--collector.infiniband",
    "--collector.netstat",
    "--collector.pressure",
    "--collector.netdev",
    "--collector.netclass",
    "--no-collector.netdev.netlink",  # it would ask the kernel, not the tree
    "--collector.netclass.ignore-invalid-speed",  # a speed of -1 is no speed; we never write it
)
OURS = re.compile(r"node_infiniband_|node_netstat_Tcp(Ext)?_|node_pressure_|node_network_")
COLUMNS_NOT_REPORTED = re.compile(
    r"node_network_(receive|transmit)_(fifo|frame|compressed|multicast|nohandler|colls|carrier|queue_length)(_total)?"
    r"|node_network_(?!receive|transmit|up|speed).*"
)
"""Columns of /proc/net/dev and files of /sys/class/net that say nothing about contention."""
Scrape = Callable[[Path, Path], str]


class FamiliesByName(NamedTuple):
    """An exposition: types by family, and values by series."""

    types: Mapping[str, str]
    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def families_by_name(exposition: str) -> FamiliesByName:
    families = [
        family
        for family in text_string_to_metric_families(exposition)
        if OURS.match(family.name) and not COLUMNS_NOT_REPORTED.fullmatch(family.name)
    ]
    return FamiliesByName(
        {family.name: family.type for family in families},
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        },
    )


def ours(procfs: Path, sysfs: Path) -> FamiliesByName:
    collectors: tuple[Callable[[], Families], ...] = (
        ProcNetwork(procfs, sysfs), SysInfiniband(sysfs), ProcNetstat(procfs), ProcPressure(procfs),
    )  # fmt: skip
    return families_by_name("".join(render(collect()).decode() for collect in collectors))


@pytest.fixture
def node_exporter() -> Iterator[Scrape]:
    """Output of a real node_exporter for a /proc and a /sys."""
    assert NODE_EXPORTER is not None, "the Debian package prometheus-node-exporter is missing; `make test` installs it"
    with ExitStack() as stack:

        def scrape(procfs: Path, sysfs: Path) -> str:
            roots = (f"--path.procfs={procfs}", f"--path.sysfs={sysfs}", "--web.listen-address=127.0.0.1:0")
            process = stack.enter_context(
                subprocess.Popen([str(NODE_EXPORTER), *FLAGS, *roots], stderr=subprocess.PIPE, text=True)
            )
            stack.callback(process.terminate)
            assert process.stderr is not None
            address = next((found[1] for line in process.stderr if (found := LISTENING.search(line))), None)
            assert address is not None, "node_exporter ended without listening"
            return httpx.get(f"http://{address}/metrics", trust_env=False, timeout=30).text

        yield scrape


def columns(*values: int) -> str:
    return " ".join(map(str, values))


PORT = "sys/class/infiniband/mlx5_0/ports/1"
COUNTERS = [
    "excessive_buffer_overrun_errors", "link_downed", "link_error_recovery", "local_link_integrity_errors",
    "multicast_rcv_packets", "multicast_xmit_packets", "port_rcv_constraint_errors", "port_rcv_data",
    "port_rcv_discards", "port_rcv_errors", "port_rcv_packets", "port_rcv_remote_physical_errors",
    "port_rcv_switch_relay_errors", "port_xmit_constraint_errors", "port_xmit_data", "port_xmit_discards",
    "port_xmit_packets", "port_xmit_wait", "symbol_error", "unicast_rcv_packets", "unicast_xmit_packets",
    "VL15_dropped",
]  # fmt: skip
LEGACY = [
    "port_multicast_rcv_packets", "port_multicast_xmit_packets", "port_rcv_data_64", "port_rcv_packets_64",
    "port_unicast_rcv_packets", "port_unicast_xmit_packets", "port_xmit_data_64", "port_xmit_packets_64",
]  # fmt: skip
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
HOST = {
    "proc/net/dev": "Inter-|   Receive\n face |bytes\n"
    f"    lo: {columns(*range(100, 116))}\n  eth0: {columns(5_000_000_000_000, *range(201, 216))}\n"
    f"  ib0: {columns(*range(16))}\n",
    "sys/class/net/lo/operstate": "unknown\n", "sys/class/net/lo/speed": "-1\n",
    "sys/class/net/eth0/operstate": "up\n", "sys/class/net/eth0/speed": "200000\n",
    "sys/class/net/ib0/operstate": "down\n",
    "proc/net/snmp": "Ip: Forwarding DefaultTTL\nIp: 1 64\n"
    "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs "
    f"OutSegs RetransSegs InErrs OutRsts InCsumErrors\nTcp: 1 200 120000 -1 {columns(*range(301, 312))}\n"
    "Udp: InDatagrams NoPorts InErrors\nUdp: 1 2 3\n",
    "proc/net/netstat": "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed ListenOverflows ListenDrops "
    f"TCPTimeouts TCPOFOQueue TCPSynRetrans TCPRcvQDrop TCPLossProbes\nTcpExt: {columns(*range(401, 411))}\n"
    "IpExt: InOctets OutOctets\nIpExt: 8 9\nMPTcpExt: MPTCPRetrans\nMPTcpExt: 4\n",
    "proc/pressure/cpu": PRESSURE.format(2_500_000, 0),
    "proc/pressure/io": PRESSURE.format(1_377_929_469, 129_048_861),
    "proc/pressure/memory": PRESSURE.format(7, 3),
    "proc/pressure/irq": "full avg10=0.00 avg60=0.00 avg300=0.00 total=11\n",
    "sys/class/infiniband/mlx5_0/board_id": "MT_0000000838\n",
    "sys/class/infiniband/mlx5_0/fw_ver": "28.41.1000\n",
    "sys/class/infiniband/mlx5_0/hca_type": "MT4129\n",
    f"{PORT}/state": "4: ACTIVE\n",
    f"{PORT}/phys_state": "5: LinkUp\n",
    f"{PORT}/rate": "400 Gb/sec (4X NDR)\n",
    f"{PORT}/hw_counters/": "",
    **{f"{PORT}/counters/{file}": f"{number}\n" for number, file in enumerate(COUNTERS, 1)},
    **{f"{PORT}/counters_ext/{file}": f"{number}\n" for number, file in enumerate(LEGACY, 501)},
    "sys/class/infiniband/rocep1s0/fw_ver": "22.1\n",
    "sys/class/infiniband/rocep1s0/ports/2/state": "1: DOWN\n",
    "sys/class/infiniband/rocep1s0/ports/2/phys_state": "3: Disabled\n",
    "sys/class/infiniband/rocep1s0/ports/2/rate": "2.5 Gb/sec (1X SDR)\n",
    "sys/class/infiniband/rocep1s0/ports/2/counters/symbol_error": "N/A (no PMA)\n",
}  # fmt: skip


def test_on_a_fixture_tree_families_equal_those_of_node_exporter(node_exporter: Scrape, tree: Tree) -> None:
    """Every family of ours, with type, labels, and values; node_exporter has no others of these names."""
    files = {name: text for name, text in HOST.items() if not name.endswith("/")}
    root = tree(files)
    for name in HOST.keys() - files.keys():
        (root / name).mkdir()
    theirs = families_by_name(node_exporter(root / "proc", root / "sys"))
    we = ours(root / "proc", root / "sys")
    assert we.types == theirs.types
    assert we.values.keys() == theirs.values.keys()
    assert {series: pytest.approx(value, rel=1e-12) for series, value in theirs.values.items()} == we.values
    assert len(we.values) > 80


def test_on_this_host_families_equal_those_of_node_exporter(node_exporter: Scrape) -> None:
    """Names and types are equal; a counter lies between our readings before and after."""
    procfs, sysfs = Path("/proc"), Path("/sys")
    before = ours(procfs, sysfs)
    theirs = families_by_name(node_exporter(procfs, sysfs))
    after = ours(procfs, sysfs)
    assert before.types == theirs.types
    assert before.values.keys() == theirs.values.keys() == after.values.keys()
    for series, value in theirs.values.items():
        low, high = sorted((before.values[series], after.values[series]))
        if "CurrEstab" not in series[0]:
            assert low * (1 - 1e-12) <= value <= high * (1 + 1e-12), series


def test_only_node_exporter_reports_a_saturated_counter(node_exporter: Scrape, tree: Tree) -> None:
    root = tree({name: text for name, text in HOST.items() if not name.endswith("/")})
    (root / PORT / "hw_counters").mkdir()
    tree({f"{PORT}/counters/link_downed": "255\n", f"{PORT}/counters/port_xmit_wait": "4294967295\n"})
    theirs, we = families_by_name(node_exporter(root / "proc", root / "sys")), ours(root / "proc", root / "sys")
    assert {name for name, _ in theirs.values.keys() - we.values.keys()} == {
        "node_infiniband_link_downed_total",
        "node_infiniband_port_transmit_wait_total",
    }
    assert we.values.keys() < theirs.values.keys()


def test_promtool_complains_about_netstat_only(tree: Tree) -> None:
    """node_exporter's TCP counters mix upper and lower case; dashboards depend on these names."""
    promtool = shutil.which("promtool")
    assert promtool is not None, "the Debian package prometheus is missing; `make test` installs it"
    root = tree({name: text for name, text in HOST.items() if not name.endswith("/")})
    collectors = (ProcNetwork(root / "proc", root / "sys"), SysInfiniband(root / "sys"), ProcPressure(root / "proc"))
    text = b"".join(render(collect()) for collect in collectors)
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
