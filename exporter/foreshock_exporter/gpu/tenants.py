"""The services that are on one GPU: which processes are theirs, what they hold, and what of it is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.model.device import GpuProcess, ProcessUtilization
from foreshock_exporter.model.service import AttributedService, Resolver, Source

EXPIRE_AFTER_SECONDS = 900.0
"""Seconds after which the series of a service that left a GPU end."""
MAX_SERVICES = 32
"""Services told apart on one GPU; what others use is unattributed."""


class Holding(NamedTuple):
    """What a service holds of a GPU. Memory in bytes; None where the driver does not say it for every process."""

    processes: int
    memory_used_bytes: float | None


class Shares(NamedTuple):
    """SM time by service as shares of a sample, and the share of processes whose service is not known."""

    services: Mapping[ServiceKey, float]
    unknown: float


class Tenants:
    """Keeps the services of one GPU. Times are seconds of one steady clock."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._by_pid: dict[int, AttributedService] = {}
        self._ended: dict[int, AttributedService] = {}
        self._strangers: frozenset[int] = frozenset()
        self._seen: dict[ServiceKey, float] = {}
        self._displaced: list[ServiceKey] = []
        self.sources: dict[ServiceKey, Source] = {}
        self.pids: dict[ServiceKey, tuple[int, ...]] = {}
        """The processes of each service that were last seen."""
        self.over_limit = 0

    def here(self) -> list[ServiceKey]:
        """The services whose processes were last seen."""
        return [_key(service) for service in self._by_pid.values()]

    def look(self, pids: Iterable[int], time: float) -> None:
        """These are the processes now; one that has just ended keeps what it was known as."""
        before = self._by_pid
        self._resolve(pids)
        if self._by_pid == before and not self.over_limit:  # nothing is new, so all keep their places
            self._ended = {}
            self._seen.update(dict.fromkeys(self.pids, time))
            return
        self._admit(time)
        self._ended = {pid: service for pid, service in before.items() if pid not in self._by_pid}

    def meet(self, pids: Iterable[int], time: float) -> bool:
        """Look at the processes that were not seen before; whether there were any."""
        new = [pid for pid in pids if pid not in self._by_pid and pid not in self._strangers]
        if new:
            self._resolve([*self._by_pid, *self._strangers, *new])
            self._admit(time)
        return bool(new)

    def forget(self, time: float) -> list[ServiceKey]:
        """Drop the services that left long ago, and name them with those that had to make room."""
        for key in [key for key, seen in self._seen.items() if time - seen > EXPIRE_AFTER_SECONDS]:
            self._drop(key)
        gone, self._displaced = self._displaced, []
        return gone

    def leave(self) -> None:
        """The GPU does not answer: its processes are not known any more."""
        self._by_pid, self._ended, self._strangers, self.pids = {}, {}, frozenset(), {}

    def shares(self, used: Iterable[ProcessUtilization]) -> Shares:
        """The time of each service; a driver may give several samples of one process, which count as their mean."""
        ratios: dict[int, list[float]] = {}
        for entry in used:
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
        """What each service holds, idle ones included."""
        holdings: dict[ServiceKey, Holding] = {}
        for pid, memory in held:
            service = self._by_pid.get(pid)
            if service is not None:
                before = holdings.get(_key(service), Holding(0, 0.0))
                both = None if memory is None or before.memory_used_bytes is None else memory + before.memory_used_bytes
                holdings[_key(service)] = Holding(before.processes + 1, both)
        return holdings

    def _resolve(self, pids: Iterable[int]) -> None:
        known = {**self._ended, **self._by_pid}
        found = {pid: self._resolver(pid) or known.get(pid) for pid in sorted(set(pids))}
        self._by_pid = {pid: service for pid, service in found.items() if service is not None}
        self._strangers = frozenset(pid for pid, service in found.items() if service is None)

    def _admit(self, time: float) -> None:
        """Note which services are here; the processes of those beyond the limit become nobody's."""
        over: set[ServiceKey] = set()
        here = {_key(service) for service in self._by_pid.values()}
        for pid, service in list(self._by_pid.items()):
            key = _key(service)
            if key in self._seen or self._room(here):
                self._seen[key] = time
                self.sources.setdefault(key, service.source)
            else:
                over.add(key)
                del self._by_pid[pid]
                self._strangers |= {pid}
        self.over_limit = len(over)
        pids: dict[ServiceKey, list[int]] = {}
        for pid, service in self._by_pid.items():
            pids.setdefault(_key(service), []).append(pid)
        self.pids = {key: tuple(each) for key, each in pids.items()}

    def _room(self, here: set[ServiceKey]) -> bool:
        """Whether there is a place for one more service; of those that left, the one gone longest makes it."""
        if len(self._seen) < MAX_SERVICES:
            return True
        left = [key for key in self._seen if key not in here]
        if left:
            self._drop(min(left, key=self._seen.__getitem__))
        return bool(left)

    def _drop(self, key: ServiceKey) -> None:
        del self._seen[key], self.sources[key]
        self._displaced.append(key)


def _key(service: AttributedService) -> ServiceKey:
    return ServiceKey(service.namespace, service.name)
