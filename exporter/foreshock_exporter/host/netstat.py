"""TCP counters from /proc/net/snmp and /proc/net/netstat, as in node_exporter."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from foreshock_exporter.host.metrics import NETSTAT, families
from foreshock_exporter.host.network import net_folder
from foreshock_exporter.model.family import Families


class ProcNetstat:
    """Collector of the TCP counters in the network namespace of `procfs`; see `net_folder`."""

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs

    def __call__(self) -> Families:
        return families(NETSTAT, [((), self.read())])

    def read(self) -> Mapping[str, float]:
        """Values by protocol and field, such as `Tcp_RetransSegs`; missing counters are left out.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is malformed.
        """
        folder = net_folder(self._procfs)
        snmp, netstat = (
            parse(path.read_text(errors="replace"), str(path)) for path in (folder / "snmp", folder / "netstat")
        )
        return snmp | netstat


def parse(text: str, where: str, wanted: Collection[str] = NETSTAT.keys()) -> dict[str, float]:
    """Parse pairs of lines `Tcp: NAME NAME …` and `Tcp: VALUE VALUE …`; only `wanted` fields are kept.

    Raises:
        ValueError: a pair of lines is malformed; the message quotes it.
    """
    counters = {}
    lines = [line for line in text.split("\n") if line]
    for index in range(0, len(lines), 2):
        names, values = lines[index].split(), lines[index + 1].split() if index + 1 < len(lines) else []
        if not names or len(names) != len(values) or names[0] != values[0] or not names[0].endswith(":"):
            pair = "\n".join(lines[index : index + 2])
            raise ValueError(f"{where}: names and values do not match in {pair[:120]!r}")
        protocol = names[0].removesuffix(":")
        for name, value in zip(names[1:], values[1:], strict=True):
            if (field := f"{protocol}_{name}") in wanted:
                counters[field] = _number(value, f"{where}: {field}")
    return counters


def _number(text: str, where: str) -> float:
    try:
        return float(int(text))
    except ValueError:
        raise ValueError(f"{where} is {text[:40]!r}, which is no number") from None
