"""Network and pressure of the host, from trees like /proc and /sys, and beside the real node_exporter's names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.host import host_id, host_name
from foreshock_exporter.network import MAX_INTERFACES, ProcNetwork, parse_counters, parse_speed
from foreshock_exporter.pressure import ProcPressure, parse_totals
from foreshock_exporter.snapshot import InterfaceCounters, Pressure

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


def network(root: Path, exclude: str = "veth.*") -> tuple[InterfaceCounters, ...]:
    return ProcNetwork(root / "proc", root / "sys", re.compile(exclude))()


def test_interfaces_are_read_with_state_and_speed(tree: Tree) -> None:
    root = tree({
        "proc/net/dev": DEV,
        "sys/class/net/eth0/operstate": "up\n", "sys/class/net/eth0/speed": "25000\n",
        "sys/class/net/lo/operstate": "unknown\n", "sys/class/net/lo/speed": "-1\n",
    })  # fmt: skip
    assert network(root) == (
        InterfaceCounters("lo", 100, 2, 0, 0, 100, 2, 0, 0, up=False, speed_bytes=None),
        InterfaceCounters("eth0", 5e12, 3000, 1, 2, 4000, 20, 3, 4, up=True, speed_bytes=3.125e9),
        InterfaceCounters("eth0:1", 7, 8, 0, 0, 9, 10, 0, 0),
    )


@pytest.mark.parametrize("line", ["eth0: 1 2 3\n", "no colon\n", "eth0: a b c d e f g h i j k l m n o p\n"])
def test_a_malformed_line_is_quoted(line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(line.strip()))):
        parse_counters(HEADING + line)


def test_more_interfaces_than_the_limit_are_refused_with_the_remedy(tree: Tree) -> None:
    row = "eth{}: " + "0 " * 16 + "\n"
    root = tree({"proc/net/dev": HEADING + "".join(row.format(number) for number in range(MAX_INTERFACES + 1))})
    with pytest.raises(ValueError, match=r"--collector\.network\.device-exclude"):
        network(root)
    assert len(network(root, "eth1.*")) == MAX_INTERFACES + 1 - 40


@given(st.text())
def test_no_text_breaks_the_parsers_but_by_saying_so(text: str) -> None:
    parse_speed(text)
    for parse in (parse_counters, parse_totals):
        try:
            parse(text)
        except ValueError as error:
            assert "cannot read the line" in str(error)  # noqa: PT017 - it may also be readable


def test_pressure_is_read_in_seconds_and_what_the_kernel_lacks_is_none(tree: Tree) -> None:
    root = tree({
        "proc/pressure/cpu": SOME + FULL, "proc/pressure/memory": SOME + FULL, "proc/pressure/irq": FULL,
    })  # fmt: skip
    assert ProcPressure(root / "proc")() == Pressure(
        cpu_waiting=2.5, memory_waiting=2.5, memory_stalled=1.5, irq_stalled=1.5
    )


def test_a_kernel_without_pressure_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="psi=1"):
        ProcPressure(tmp_path)()


def test_a_host_is_its_machine_id_and_its_own_name(tree: Tree) -> None:
    root = tree({"etc/machine-id": "e08d2021\n", "etc/hostname": "node-7\n"})
    assert (host_id(root, "x"), host_name(root)) == ("e08d2021", "node-7")


def test_a_host_without_a_machine_id_goes_by_the_fallback(tmp_path: Path) -> None:
    assert host_id(tmp_path, "node-7") == "node-7"
