"""Network, TCP, and pressure collectors on file trees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.attribution.host_identity import host_id, host_name
from foreshock_exporter.host import metrics as host_metrics
from foreshock_exporter.host import network
from foreshock_exporter.host.network import (
    MAX_INTERFACES,
    Interface,
    ProcNetstat,
    ProcNetwork,
    parse_counters,
    parse_netstat,
    parse_speed,
)
from foreshock_exporter.host.pressure import ProcPressure, parse_totals
from foreshock_exporter.model.family import Sample

if TYPE_CHECKING:
    from tests.exporter.conftest import Tree

HEADING = """Inter-| Receive | Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
"""
DEV = (
    HEADING
    + """    lo:    100       2    0    0    0     0   0  0   100   2    0    0    0     0       0          0
  eth0: 5000000000000 3000 1 2 0 0 0 9 4000 20 3 4 0 0 0 0
eth0:1:  7 8 0 0 0 0 0 0 9 10 0 0 0 0 0 0
vethabc: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
"""
)
SOME = "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
FULL = "full avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"


SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm MaxConn CurrEstab InSegs OutSegs RetransSegs
Tcp: 1 -1 3 2048471 2024083 1776
"""
NETSTAT = """TcpExt: SyncookiesSent ListenOverflows ListenDrops PAWSOld
TcpExt: 0 5 7 9
"""


def interfaces(root: Path, exclude: str = "veth.*") -> tuple[Interface, ...]:
    return ProcNetwork(root / "proc", root / "sys", re.compile(exclude)).read()


def counters(*values: float) -> dict[str, float]:
    return dict(zip(host_metrics.NETWORK_COUNTERS, values, strict=True))


def test_interfaces_are_read_with_state_and_speed(tree: Tree) -> None:
    root = tree({
        "proc/net/dev": DEV,
        "sys/class/net/eth0/operstate": "up\n", "sys/class/net/eth0/speed": "25000\n",
        "sys/class/net/lo/operstate": "unknown\n", "sys/class/net/lo/speed": "-1\n",
    })  # fmt: skip
    assert interfaces(root) == (
        Interface("lo", counters(100, 2, 0, 0, 100, 2, 0, 0) | {"up": 0.0}),
        Interface("eth0", counters(5e12, 3000, 1, 2, 4000, 20, 3, 4) | {"up": 1.0, "speed_bytes": 3.125e9}),
        Interface("eth0:1", counters(7, 8, 0, 0, 9, 10, 0, 0)),
    )


@pytest.mark.parametrize("line", ["eth0: 1 2 3\n", "no colon\n", "eth0: a b c d e f g h i j k l m n o p\n"])
def test_a_malformed_line_is_quoted(line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(line.strip()))):
        parse_counters(HEADING + line)


def test_more_interfaces_than_the_limit_are_refused_with_the_remedy(tree: Tree) -> None:
    row = "eth{}: " + "0 " * 16 + "\n"
    root = tree({"proc/net/dev": HEADING + "".join(row.format(number) for number in range(MAX_INTERFACES + 1))})
    with pytest.raises(ValueError, match=r"--collector\.network\.device-exclude"):
        interfaces(root)
    assert len(interfaces(root, "eth1.*")) == MAX_INTERFACES + 1 - 40


def test_the_network_of_process_1_is_the_hosts(tree: Tree) -> None:
    """In a container that mounts the host's /proc, net is the container's own network; process 1 is the host's."""
    row = "{}: " + "1 " * 16 + "\n"
    root = tree({"proc/net/dev": HEADING + row.format("eth0@if7"), "proc/1/net/dev": HEADING + row.format("eno1")})
    assert [one.device for one in interfaces(root)] == ["eno1"]


def test_a_name_that_is_no_text_keeps_its_bytes_apart(tree: Tree) -> None:
    counters = b": " + b"1 " * 16 + b"\n"
    root = tree({"proc/net/dev": HEADING.encode() + b"a\xff" + counters + b"a\xfe" + counters + b"a\x1cb" + counters})
    assert [one.device for one in interfaces(root)] == ["a\\xff", "a\\xfe", "a\x1cb"]


def test_missing_interface_values_are_left_out() -> None:
    emitted = dict(network.families([Interface("eth0", {"receive_bytes": 1.0, "up": 0.0}), Interface("lo", {})]))
    assert emitted[host_metrics.NETWORK["receive_bytes"]] == [Sample(("eth0",), 1.0)]
    assert emitted[host_metrics.NETWORK["up"]] == [Sample(("eth0",), 0.0)]
    assert emitted[host_metrics.NETWORK["speed_bytes"]] == []


@given(st.text())
def test_no_text_breaks_the_parsers_but_by_saying_so(text: str) -> None:
    parse_speed(text)
    for parse in (parse_counters, lambda text: list(parse_totals(text))):
        try:
            parse(text)
        except ValueError as error:
            assert "cannot read the line" in str(error)  # noqa: PT017 - it may also be readable


def test_pressure_is_in_seconds_and_missing_resources_are_left_out(tree: Tree) -> None:
    root = tree({
        "proc/pressure/cpu": SOME + FULL, "proc/pressure/memory": SOME + FULL, "proc/pressure/irq": FULL,
    })  # fmt: skip
    assert ProcPressure(root / "proc").read() == {
        "cpu some": 2.5, "cpu full": 1.5, "memory some": 2.5, "memory full": 1.5, "irq full": 1.5
    }  # fmt: skip


def test_pressure_that_the_kernel_does_not_keep_is_left_out(tree: Tree) -> None:
    root = tree({"proc/pressure/io": SOME})
    samples = {family.name: samples for family, samples in ProcPressure(root / "proc")() if samples}
    assert samples == {"node_pressure_io_waiting_seconds_total": [Sample((), 2.5)]}


def test_an_error_for_a_kernel_without_pressure_has_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="psi=1"):
        ProcPressure(tmp_path)()


def test_unreadable_pressure_files_raise_the_same_error(tmp_path: Path) -> None:
    """With psi=0 the files exist but cannot be read; folders have the same effect."""
    for resource in ("cpu", "io", "memory"):
        (tmp_path / "pressure" / resource).mkdir(parents=True)
    with pytest.raises(OSError, match="psi=1"):
        ProcPressure(tmp_path)()


def test_tcp_counters_are_read_and_missing_ones_are_left_out(tree: Tree) -> None:
    root = tree({"proc/net/snmp": SNMP, "proc/net/netstat": NETSTAT})
    values = {family.name: samples for family, samples in ProcNetstat(root / "proc")() if samples}
    assert values == {
        "node_netstat_Tcp_CurrEstab": [Sample((), 3.0)],
        "node_netstat_Tcp_InSegs": [Sample((), 2048471.0)],
        "node_netstat_Tcp_OutSegs": [Sample((), 2024083.0)],
        "node_netstat_Tcp_RetransSegs": [Sample((), 1776.0)],
        "node_netstat_TcpExt_ListenOverflows": [Sample((), 5.0)],
        "node_netstat_TcpExt_ListenDrops": [Sample((), 7.0)],
        "node_netstat_TcpExt_SyncookiesSent": [Sample((), 0.0)],
    }


def test_the_tcp_of_process_1_is_the_hosts(tree: Tree) -> None:
    root = tree({
        "proc/1/net/dev": HEADING, "proc/1/net/snmp": "Tcp: InSegs MaxConn\nTcp: 1 -1\n", "proc/1/net/netstat": "",
        "proc/net/snmp": "Tcp: InSegs\nTcp: 2\n", "proc/net/netstat": "",
    })  # fmt: skip
    assert ProcNetstat(root / "proc").read() == {"Tcp_InSegs": 1.0}, "and no field beside the requested ones"


@pytest.mark.parametrize(
    "text", ["Tcp: InSegs OutSegs\nTcp: 1\n", "Tcp: InSegs\nUdp: 1\n", "Tcp: InSegs\n", "Tcp: InSegs\nTcp: many\n"]
)
def test_an_error_for_malformed_tcp_counters_names_the_file(text: str) -> None:
    with pytest.raises(ValueError, match=r"^/proc/net/snmp"):
        parse_netstat(text, "/proc/net/snmp")


@given(st.text())
def test_no_text_breaks_the_tcp_parser_but_by_saying_so(text: str) -> None:
    try:
        parse_netstat(text, "snmp")
    except ValueError as error:
        assert str(error).startswith("snmp")  # noqa: PT017 - it may also be readable


def test_a_host_is_its_machine_id_and_its_own_name(tree: Tree) -> None:
    root = tree({"etc/machine-id": "e08d2021\n", "etc/hostname": "node-7\n"})
    assert (host_id(root, "x"), host_name(root)) == ("e08d2021", "node-7")


def test_a_host_without_a_machine_id_goes_by_the_fallback(tmp_path: Path) -> None:
    assert host_id(tmp_path, "node-7") == "node-7"
