"""Services that use one GPU: their processes, memory, and SM time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.model.device import GpuProcess, ProcessUtilization
from foreshock_exporter.model.service import AttributedService, Resolver, Source

EXPIRE_AFTER_SECONDS = 900.0
"""Time after which the series of a service that left the GPU end."""
MAX_JOBS = 32
"""Jobs reported per service."""
MAX_SERVICES = 32
"""Services tracked per GPU; time of further services is unattributed."""


class Holding(NamedTuple):
    """Processes and memory in bytes of a service; memory is None unless known for every process."""

    processes: int
    memory_used_bytes: float | None


class Shares(NamedTuple):
    """SM time shares by service, and the share of processes without a known service."""

    services: Mapping[ServiceKey, float]
    unknown: float


class Tenants:
    """Tracks the services of one GPU. Times in seconds of one monotonic clock."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._by_pid: dict[int, AttributedService] = {}
        self._ended: dict[int, AttributedService] = {}
        self._unresolved: frozenset[int] = frozenset()
        self._last_seen: dict[ServiceKey, float] = {}
        self._evicted: list[ServiceKey] = []
        self.sources: dict[ServiceKey, Source] = {}
        self.pids: dict[ServiceKey, tuple[int, ...]] = {}
        """PIDs of each service at the last update."""
        self.jobs: dict[ServiceKey, tuple[str, ...]] = {}
        """Ids of the jobs of each service at the last update, of services that have some."""
        self.sm_limits: dict[ServiceKey, float] = {}
        """Smallest share of the SMs that MPS leaves to a process of the service, of services that have one."""
        self.over_limit = 0

    def present(self) -> list[ServiceKey]:
        """Services with processes at the last update."""
        return [_key(service) for service in self._by_pid.values()]

    def service_of(self, pid: int) -> AttributedService | None:
        """Service of a process that uses the GPU, or did before the last update. Thread-safe."""
        return self._by_pid.get(pid) or self._ended.get(pid)

    def update(self, pids: Iterable[int], time: float) -> None:
        """Set the current processes. A process that has just ended keeps its service once more."""
        before = self._by_pid
        self._resolve(pids)
        if self._by_pid == before and not self.over_limit:  # nothing is new, so all keep their places
            self._ended = {}
            self._last_seen.update(dict.fromkeys(self.pids, time))
            return
        self._admit_services(time)
        self._ended = {pid: service for pid, service in before.items() if pid not in self._by_pid}

    def add_new(self, pids: Iterable[int], time: float) -> bool:
        """Add the processes that were not known. Return whether there were any."""
        new = [pid for pid in pids if pid not in self._by_pid and pid not in self._unresolved]
        if new:
            self._resolve([*self._by_pid, *self._unresolved, *new])
            self._admit_services(time)
        return bool(new)

    def expire(self, time: float) -> list[ServiceKey]:
        """Remove services that left long ago. Return them and those evicted by the limit."""
        for key in [key for key, seen in self._last_seen.items() if time - seen > EXPIRE_AFTER_SECONDS]:
            self._remove(key)
        gone, self._evicted = self._evicted, []
        return gone

    def clear(self) -> None:
        """Forget all processes of a GPU that does not respond."""
        self._by_pid, self._ended, self._unresolved, self.pids, self.jobs = {}, {}, frozenset(), {}, {}
        self.sm_limits = {}

    def shares(self, samples: Iterable[ProcessUtilization]) -> Shares:
        """Shares by service. Several samples of one process count as their mean."""
        ratios: dict[int, list[float]] = {}
        for entry in samples:
            ratios.setdefault(entry.pid, []).append(entry.sm_ratio)
        services: dict[ServiceKey, float] = {}
        unknown = 0.0
        for pid, values in ratios.items():
            ratio = sum(values) / len(values)
            service = self._by_pid.get(pid)
            if service is None:
                unknown += ratio
            else:
                services[_key(service)] = services.get(_key(service), 0.0) + ratio
        return Shares(services, unknown)

    def holdings(self, held: Sequence[GpuProcess]) -> dict[ServiceKey, Holding]:
        """Processes and memory of each service, including idle ones."""
        holdings: dict[ServiceKey, Holding] = {}
        for pid, memory in held:
            service = self._by_pid.get(pid)
            if service is not None:
                before = holdings.get(_key(service), Holding(0, 0.0))
                both = None if memory is None or before.memory_used_bytes is None else memory + before.memory_used_bytes
                holdings[_key(service)] = Holding(before.processes + 1, both)
        return holdings

    def _resolve(self, pids: Iterable[int]) -> None:
        services_before = {**self._ended, **self._by_pid}
        services = {pid: self._resolver(pid) or services_before.get(pid) for pid in sorted(set(pids))}
        self._by_pid = {pid: service for pid, service in services.items() if service is not None}
        self._unresolved = frozenset(pid for pid, service in services.items() if service is None)

    def _admit_services(self, time: float) -> None:
        """Record the services present; processes of services over the limit become unresolved."""
        excluded: set[ServiceKey] = set()
        present = {_key(service) for service in self._by_pid.values()}
        for pid, service in list(self._by_pid.items()):
            key = _key(service)
            if key in self._last_seen or self._make_room(present):
                self._last_seen[key] = time
                self.sources.setdefault(key, service.source)
            else:
                excluded.add(key)
                del self._by_pid[pid]
                self._unresolved |= {pid}
        self.over_limit = len(excluded)
        pids: dict[ServiceKey, list[int]] = {}
        for pid, service in self._by_pid.items():
            pids.setdefault(_key(service), []).append(pid)
        self.pids = {key: tuple(values) for key, values in pids.items()}
        jobs = sorted({(_key(service), service.job) for service in self._by_pid.values() if service.job})
        self.jobs = {key: tuple(job for of, job in jobs if of == key)[:MAX_JOBS] for key, _ in jobs}
        limits: dict[ServiceKey, float] = {}
        for service in self._by_pid.values():
            if service.sm_limit is not None:
                limits[_key(service)] = min(service.sm_limit, limits.get(_key(service), 1.0))
        self.sm_limits = limits

    def _make_room(self, present: set[ServiceKey]) -> bool:
        """Whether one more service fits, after eviction of the service absent longest."""
        if len(self._last_seen) < MAX_SERVICES:
            return True
        left = [key for key in self._last_seen if key not in present]
        if left:
            self._remove(min(left, key=self._last_seen.__getitem__))
        return bool(left)

    def _remove(self, key: ServiceKey) -> None:
        del self._last_seen[key], self.sources[key]
        self._evicted.append(key)


def _key(service: AttributedService) -> ServiceKey:
    return ServiceKey(service.namespace, service.name)
