"""Pressure stall totals from /proc/pressure, as in node_exporter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foreshock_exporter.host import metrics as host_metrics
from foreshock_exporter.model.family import Families, Family, Sample


@dataclass(frozen=True, slots=True)
class Pressure:
    """Pressure stall totals in seconds since boot; None if the kernel does not report one."""

    cpu_waiting: float | None = None
    io_waiting: float | None = None
    io_stalled: float | None = None
    memory_waiting: float | None = None
    memory_stalled: float | None = None
    irq_stalled: float | None = None


_VALUES: tuple[tuple[Family, Callable[[Pressure], float | None]], ...] = (
    (host_metrics.PRESSURE_CPU_WAITING, lambda pressure: pressure.cpu_waiting),
    (host_metrics.PRESSURE_IO_WAITING, lambda pressure: pressure.io_waiting),
    (host_metrics.PRESSURE_IO_STALLED, lambda pressure: pressure.io_stalled),
    (host_metrics.PRESSURE_MEMORY_WAITING, lambda pressure: pressure.memory_waiting),
    (host_metrics.PRESSURE_MEMORY_STALLED, lambda pressure: pressure.memory_stalled),
    (host_metrics.PRESSURE_IRQ_STALLED, lambda pressure: pressure.irq_stalled),
)


class ProcPressure:
    """Collector of the pressure totals in `procfs`."""

    def __init__(self, procfs: Path) -> None:
        self._folder = procfs / "pressure"

    def __call__(self) -> Families:
        """Totals as families. Raises as `read`."""
        return families(self.read())

    def read(self) -> Pressure:
        """Totals; a resource that the kernel does not track is None.

        Raises:
            OSError: the kernel tracks no resource.
            ValueError: a file is malformed.
        """
        cpu, io, memory, irq = (self._totals(resource) for resource in ("cpu", "io", "memory", "irq"))
        if not (cpu or io or memory or irq):  # missing, or, with psi=0, there and not to be read
            raise FileNotFoundError(
                f"{self._folder} cannot be read: this kernel keeps no pressure totals (boot with psi=1, or set "
                "--no-collector.pressure)"
            )
        return Pressure(
            cpu_waiting=cpu.get("some"),
            io_waiting=io.get("some"),
            io_stalled=io.get("full"),
            memory_waiting=memory.get("some"),
            memory_stalled=memory.get("full"),
            irq_stalled=irq.get("full"),
        )

    def _totals(self, resource: str) -> dict[str, float]:
        path = self._folder / resource
        try:
            text = path.read_text(errors="replace")
        except OSError:
            return {}
        return parse_totals(text, str(path))


def families(pressure: Pressure) -> Families:
    """Totals under node_exporter's names; None is left out."""
    return [(family, [Sample((), value)]) for family, value_of in _VALUES if (value := value_of(pressure)) is not None]


def parse_totals(text: str, where: str = "/proc/pressure") -> dict[str, float]:
    """Seconds by kind from lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234`, with totals in µs.

    Raises:
        ValueError: a line is malformed; the message quotes it.
    """
    totals = {}
    for line in text.split("\n"):
        if not line:
            continue
        kind, _, rest = line.partition(" ")
        microseconds = rest.rpartition("total=")[2]
        if kind not in ("some", "full") or not (microseconds.isascii() and microseconds.isdigit()):
            raise ValueError(f"{where}: cannot read the line {line[:120]!r}")
        totals[kind] = int(microseconds) / 1e6
    return totals
