"""File tree of a GPU host, independent of the machine that runs the tests."""

from __future__ import annotations

from collections.abc import Mapping

_STAT = "{pid} ({name}) S 1 1 1 0 -1 {flags} 1 0 0 0 1 2 0 0 20 0 9 0 777 1000 200\n"
_KERNEL_THREAD = 0x00200000
_PORT = "sys/class/infiniband/mlx5_0/ports/1"

HOST: Mapping[str, str] = {
    "proc/2/stat": _STAT.format(pid=2, name="kthreadd", flags=_KERNEL_THREAD),
    "proc/net/dev": "a\nb\n eth9: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    "proc/net/snmp": "Tcp: ActiveOpens RetransSegs\nTcp: 4 2\n",
    "proc/net/netstat": "TcpExt: ListenDrops\nTcpExt: 1\n",
    "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5000000\n",
    "proc/stat": "cpu  1 2 3 4 5 6 7 8 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n",
    "sys/class/net/eth9/speed": "1000\n",
    "sys/class/net/eth9/operstate": "up\n",
    "sys/class/infiniband/mlx5_0/fw_ver": "28.41.1000\n",
    f"{_PORT}/state": "4: ACTIVE\n",
    f"{_PORT}/rate": "400 Gb/sec (4X NDR)\n",
    f"{_PORT}/counters/port_rcv_data": "17\n",
    "etc/machine-id": "abc\n",
    "etc/hostname": "node-9\n",
}
"""A host that has something for each collector. Its /proc shows a kernel thread, and so is known for the host's own."""


def process(pid: int, service: str) -> dict[str, str]:
    """Process with its service name in its environment."""
    return {
        f"proc/{pid}/stat": _STAT.format(pid=pid, name="python", flags=4194560),
        f"proc/{pid}/cgroup": "0::/\n",
        f"proc/{pid}/environ": f"PATH=/bin\0OTEL_SERVICE_NAME={service}\0",
    }


def slot(address: str) -> dict[str, str]:
    """A slot with an NVIDIA GPU in it."""
    folder = f"sys/bus/pci/devices/{address}"
    return {f"{folder}/vendor": "0x10de\n", f"{folder}/class": "0x030200\n"}
