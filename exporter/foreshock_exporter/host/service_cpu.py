"""How services with a GPU wait for their host: pressure and limits of their cgroups, NUMA distance, steal.

Format: Linux, Documentation/ABI/testing/sysfs-bus-pci (local_cpulist).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.host.network import read_text
from foreshock_exporter.host.service_cgroup import PAGE_KINDS, cgroup_folders, read_cgroup
from foreshock_exporter.model import metrics
from foreshock_exporter.model.family import Families, Family, Sample
from foreshock_exporter.model.xid import pci_address

READ_SECONDS = 5.0
"""Time between two readings."""
EXPIRE_AFTER_SECONDS = 900.0
"""Time after which the series of a service that left its GPUs end."""
PLACE_SECONDS = 10.0
"""Time between two looks at the cgroups and CPUs of the processes."""
MAX_PIDS = 16
"""Processes of a service on a GPU that are looked at."""
MAX_CPUS = 1 << 16
"""CPUs that are believed."""
_KINDS: Mapping[str, Family] = {
    "some": metrics.SERVICE_CPU_WAITING,
    "full": metrics.SERVICE_CPU_STALLED,
    "throttled": metrics.SERVICE_CPU_THROTTLED,
    "io": metrics.SERVICE_IO_WAITING,
    "memory": metrics.SERVICE_MEMORY_WAITING,
    "refaults": metrics.SERVICE_CACHE_REFAULTS,
}
"""Families by kind of `read_cgroup`."""
ServiceNames = tuple[str, str]
"""Name and namespace."""


class HostTenant(NamedTuple):
    """A service on a GPU: the labels of both, the PCI address of the GPU, and its processes.

    service: name and namespace. source: of the name on this GPU.
    """

    gpu: str
    uuid: str
    pci_bus_id: str
    service: ServiceNames
    source: str
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Cumulative seconds or pages of a service by kind, the last readings of its cgroups, and their time."""

    time: float
    cgroups: Mapping[Path, Mapping[str, float]]
    totals: Mapping[str, float] = field(default_factory=dict)


def add_readings(before: Wait | None, cgroups: Mapping[Path, Mapping[str, float]], now: float) -> Wait:
    """Totals after one more reading: the largest increase of a cgroup, at most the time that passed; the sum for pages.

    A cgroup that is new counts from its next reading; a kind that is missing keeps its total. Throttled time is a sum
    over CPUs, so it may grow faster than time; the smaller of both is an upper bound.
    """
    kinds = {kind for values in cgroups.values() for kind in values}
    if before is None:
        return Wait(now, cgroups, dict.fromkeys(kinds, 0.0))
    elapsed = max(0.0, now - before.time)
    totals = {**dict.fromkeys(kinds, 0.0), **before.totals}
    for kind in kinds:
        steps = [
            values[kind] - before.cgroups[path][kind]
            for path, values in cgroups.items()
            if kind in values and kind in before.cgroups.get(path, {})
        ]
        if kind in PAGE_KINDS:
            totals[kind] += sum(step for step in steps if step > 0.0)
        else:
            totals[kind] += min(elapsed, max(0.0, *steps, 0.0))
    return Wait(now, cgroups, totals)


@dataclass(frozen=True, slots=True)
class Steal:
    """Cumulative stolen seconds, mean of the CPUs, and the last reading of each CPU."""

    by_cpu: Mapping[str, float]
    total: float = 0.0


def add_steal(before: Steal | None, by_cpu: Mapping[str, float]) -> Steal:
    """Steal after one more reading: plus the mean increase of the CPUs that were online at both."""
    if before is None:
        return Steal(by_cpu)
    steps = [max(0.0, by_cpu[cpu] - before.by_cpu[cpu]) for cpu in by_cpu.keys() & before.by_cpu.keys()]
    return Steal(by_cpu, before.total + sum(steps) / max(1, len(steps)))


class ServiceCpu:
    """Collector of the waits of services for their host; those of its last reading, at most `READ_SECONDS` old.

    A service has one series on the host, with the first source that its name had on a GPU. Its totals outlast
    `EXPIRE_AFTER_SECONDS` without processes.

    Args:
        cgroupfs: root of the cgroup file systems of the host.
        tenants: returns the services that are on GPUs now.
        now: monotonic clock in seconds.
    """

    def __init__(
        self,
        procfs: Path,
        sysfs: Path,
        cgroupfs: Path,
        tenants: Callable[[], Iterable[HostTenant]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._procfs, self._sysfs, self._cgroupfs, self._tenants, self._now = procfs, sysfs, cgroupfs, tenants, now
        self._problems = ProblemLog()
        self._waits: dict[ServiceNames, Wait] = {}
        self._places: dict[ServiceNames, tuple[Path, ...]] = {}
        self._sources: dict[ServiceNames, str] = {}
        self._steal: Steal | None = None
        self._local: list[Sample] = []
        self._placed: tuple[float, tuple[HostTenant, ...]] | None = None
        self._last: tuple[float, Families] | None = None

    def __call__(self) -> Families:
        now = self._now()
        if self._last is None or not 0.0 <= now - self._last[0] < READ_SECONDS:
            self._last = now, self._read(now)
        return self._last[1]

    def _read(self, now: float) -> Families:
        tenants = tuple(self._tenants())
        if self._placed is None or self._placed[1] != tenants or not 0.0 <= now - self._placed[0] < PLACE_SECONDS:
            self._place(tenants)
            self._placed = now, tenants
        readings = {
            service: {path: values for path in paths if (values := read_cgroup(path))}
            for service, paths in self._places.items()
        }
        self._waits = {
            service: replace(wait, cgroups={})
            for service, wait in self._waits.items()
            if now - wait.time <= EXPIRE_AFTER_SECONDS
        } | {
            service: add_readings(self._waits.get(service), cgroups, now)
            for service, cgroups in readings.items()
            if cgroups
        }
        self._sources = {service: source for service, source in self._sources.items() if service in self._waits}
        self._sources = {tenant.service: tenant.source for tenant in reversed(tenants)} | self._sources
        self._report(readings)
        stolen = steal_by_cpu(read_text(self._procfs / "stat") or "")
        self._steal = add_steal(self._steal, stolen) if stolen else self._steal
        return [
            *((family, list(self._samples(kind))) for kind, family in _KINDS.items()),
            (metrics.SERVICE_LOCAL_CPUS, self._local),
            (metrics.CPU_STEAL, [] if self._steal is None else [Sample((), self._steal.total)]),
        ]

    def _samples(self, kind: str) -> Iterator[Sample]:
        return (
            Sample((*service, self._sources[service]), wait.totals[kind])
            for service, wait in self._waits.items()
            if kind in wait.totals
        )

    def _place(self, tenants: Iterable[HostTenant]) -> None:
        """Find the cgroups of each service, and the share of its CPUs that are close to each of its GPUs."""
        places: dict[ServiceNames, dict[Path, None]] = {}
        self._local = []
        for tenant in tenants:
            folders = [self._procfs / str(pid) for pid in tenant.pids[:MAX_PIDS]]
            found = (path for folder in folders for path in cgroup_folders(self._cgroupfs, folder))
            places.setdefault(tenant.service, {}).update(dict.fromkeys(found))
            close = local_cpus(self._sysfs, tenant.pci_bus_id)
            shares = [share for folder in folders if (share := local_share(allowed_cpus(folder), close)) is not None]
            if shares:
                self._local.append(Sample((tenant.gpu, tenant.uuid, *tenant.service, tenant.source), min(shares)))
        self._places = {service: tuple(paths) for service, paths in places.items()}

    def _report(self, readings: Mapping[ServiceNames, Mapping[Path, Mapping[str, float]]]) -> None:
        subject = "CPU pressure of services"
        if readings and not any("some" in values for paths in readings.values() for values in paths.values()):
            self._problems.report(
                subject,
                f"unknown, because no service has a cgroup with cpu.pressure below {self._cgroupfs}: mount the host's "
                "/sys/fs/cgroup there; it needs cgroup version 2 and a kernel with psi=1",
            )
        else:
            self._problems.resolve(subject)


def parse_cpu_list(text: str) -> frozenset[int]:
    """CPUs of a list such as `0-3,8`; empty if it is malformed."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(last) < MAX_CPUS):
            return frozenset()
        cpus.update(range(int(first), int(last) + 1))
    return frozenset(cpus)


def allowed_cpus(process: Path) -> frozenset[int]:
    """CPUs on which the process may run, by its affinity and its cpuset; empty if unknown."""
    lines = (read_text(process / "status") or "").split("\n")
    return parse_cpu_list(next((line.partition(":")[2] for line in lines if line.startswith("Cpus_allowed_list:")), ""))


def local_cpus(sysfs: Path, pci_bus_id: str) -> frozenset[int]:
    """CPUs on the NUMA node of a PCI device; empty if the kernel does not know the node."""
    address = pci_address(pci_bus_id)
    if address is None:
        return frozenset()
    folder = sysfs / "bus" / "pci" / "devices" / "{:04x}:{:02x}:{:02x}.0".format(*address)
    node = read_text(folder / "numa_node") or ""
    return parse_cpu_list(read_text(folder / "local_cpulist") or "") if node.isdecimal() else frozenset()


def local_share(allowed: frozenset[int], close: frozenset[int]) -> float | None:
    """Share of the allowed CPUs that are close; None if either is unknown."""
    return len(allowed & close) / len(allowed) if allowed and close else None


def steal_by_cpu(stat: str) -> dict[str, float]:
    """Stolen seconds since boot of each online CPU, of /proc/stat; empty if the kernel does not count them.

    Its line of all CPUs is of no use: it includes those that are offline.
    """
    lines = [line.split() for line in stat.split("\n") if line.startswith("cpu")]
    return {
        fields[0]: int(fields[8]) / os.sysconf("SC_CLK_TCK")
        for fields in lines
        if fields[0] != "cpu" and len(fields) > 8 and fields[8].isdecimal()
    }
