"""Pressure stall totals from /proc/pressure, as in node_exporter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from foreshock_exporter.host.metrics import PRESSURE, families
from foreshock_exporter.model.family import Families

_RESOURCES = dict.fromkeys(field.partition(" ")[0] for field in PRESSURE)


class ProcPressure:
    """Collector of the pressure totals in `procfs`."""

    def __init__(self, procfs: Path) -> None:
        self._folder = procfs / "pressure"

    def __call__(self) -> Families:
        return families(PRESSURE, [((), self.read())])

    def read(self) -> dict[str, float]:
        """Seconds since boot by resource and kind, such as `cpu some`, as far as the kernel tracks them.

        Raises:
            OSError: the kernel tracks no resource.
            ValueError: a file is malformed.
        """
        totals: dict[str, float] = {}
        for resource in _RESOURCES:
            path = self._folder / resource
            try:
                text = path.read_text(errors="replace")
            except OSError:
                continue
            totals.update((f"{resource} {kind}", seconds) for kind, seconds in parse_totals(text, str(path)))
        if not totals:  # missing, or, with psi=0, there and not to be read
            raise FileNotFoundError(
                f"{self._folder} cannot be read: this kernel keeps no pressure totals (boot with psi=1, or set "
                "--no-collector.pressure)"
            )
        return totals


def parse_totals(text: str, where: str = "/proc/pressure") -> Iterator[tuple[str, float]]:
    """Kind and seconds from lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234`, with totals in µs.

    Raises:
        ValueError: a line is malformed; the message quotes it.
    """
    for line in filter(None, text.split("\n")):
        kind, _, rest = line.partition(" ")
        microseconds = rest.rpartition("total=")[2]
        if kind not in ("some", "full") or not (microseconds.isascii() and microseconds.isdigit()):
            raise ValueError(f"{where}: cannot read the line {line[:120]!r}")
        yield kind, int(microseconds) / 1e6
