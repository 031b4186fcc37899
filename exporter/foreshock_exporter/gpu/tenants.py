"""Services that use one GPU: their processes, memory, and SM time. An MPS server is no service: it works for others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.model.device import GpuProcess, Processes, ProcessUtilization, Reason
from foreshock_exporter.model.service import AttributedService, MpsProcess, Resolver, Source

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
    """SM time shares by service, and the share of processes without a known service.

    `undivided` is the part of `unknown` that an MPS server has for clients of several services.
    """

    services: Mapping[ServiceKey, float]
    unknown: float = 0.0
    undivided: float = 0.0


@dataclass(frozen=True, slots=True)
class MpsState:
    """MPS on one GPU; a count is None if it is unknown.

    clients: number of client processes; by_service: those of each service. clients_unknown: why neither they nor their
    limits are known. servers: number of servers, unknown before
    one was seen. servers_ended: servers that left the GPU. has_daemon: whether the control daemon of a server that is
    seen still runs. sm_limits, memory_limits: smallest limit of a client of the service: share of the SMs, and bytes.
    """

    clients: int | None = None
    by_service: Mapping[ServiceKey, int] = field(default_factory=dict)
    clients_unknown: Reason | None = None
    servers: int | None = None
    servers_ended: int | None = None
    has_daemon: bool | None = None
    sm_limits: Mapping[ServiceKey, float] = field(default_factory=dict)
    memory_limits: Mapping[ServiceKey, float] = field(default_factory=dict)


class MpsServers:
    """Servers of one GPU over time."""

    def __init__(self) -> None:
        self._servers: Mapping[int, MpsProcess] = {}
        self._seen = False
        self._ended = 0

    def update(self, servers: Mapping[int, MpsProcess]) -> None:
        """Set the servers by PID that use the GPU now."""
        self._ended += len(self._servers.keys() - servers.keys())
        self._servers = servers
        self._seen |= bool(servers)

    def forget(self) -> None:
        """Forget the servers of a GPU that does not respond; they do not count as ended."""
        self._servers = {}

    def state(
        self, clients: Collection[tuple[ServiceKey | None, MpsProcess]], unknown: Reason | None
    ) -> MpsState | None:
        """State with these clients, each with its service and what it says; None for a GPU that never used MPS.

        `unknown`: why the driver does not list clients. One that cannot is no sign of MPS.
        """
        if not clients and not self._seen and unknown in (None, "not_supported"):
            return None
        by_service: dict[ServiceKey, list[MpsProcess]] = {}
        for service, client in clients:
            if service is not None and unknown is None:  # under MIG, some instances may list theirs
                by_service.setdefault(service, []).append(client)
        servers = self._servers.values()
        daemons = [server.has_daemon for server in servers if server.has_daemon is not None]
        sm_limits = {key: [client.sm_limit for client in members] for key, members in by_service.items()}
        memory_limits = {key: [client.memory_limit for client in members] for key, members in by_service.items()}
        return MpsState(
            clients=len(clients) if unknown is None else None,
            clients_unknown=unknown,
            by_service={key: len(members) for key, members in by_service.items()},
            servers=len(servers) if self._seen else None,
            servers_ended=self._ended if self._seen else None,
            has_daemon=all(daemons) if daemons else None,
            sm_limits=_smallest(sm_limits, _common(server.sm_limit for server in servers)),
            memory_limits=_smallest(memory_limits, _common(server.memory_limit for server in servers)),
        )


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
        self.mps: MpsState | None = None
        """MPS at the last update; None for a GPU that never used it, or whose processes are unknown."""
        self.used_mps = False
        """Whether a client or a server has ever been seen."""
        self._mps_clients: frozenset[int] = frozenset()
        self._clients_unknown: Reason | None = None
        self._mps_servers: dict[int, MpsProcess] = {}
        self._servers_over_time = MpsServers()
        self.over_limit = 0

    @property
    def has_mps_server(self) -> bool:
        """Whether an MPS server used the GPU at the last update."""
        return bool(self._mps_servers)

    def present(self) -> list[ServiceKey]:
        """Services with processes at the last update."""
        return [_key(service) for service in self._by_pid.values()]

    def service_of(self, pid: int) -> AttributedService | None:
        """Service of a process that uses the GPU, or did before the last update. Thread-safe."""
        return self._by_pid.get(pid) or self._ended.get(pid)

    def update(self, processes: Processes | None, time: float) -> None:
        """Set the current processes, None if they are unknown. One that has just ended keeps its service once more."""
        before, known = self._by_pid, processes or Processes(())
        self._resolve(process.pid for process in known.listed)
        self._mps_clients = frozenset(process.pid for process in known.listed if process.is_mps_client)
        self._clients_unknown = known.mps_unknown
        self._admit_present(before, time)
        if processes is None:
            self._servers_over_time.forget()
            self.mps = None
        else:
            self._servers_over_time.update(self._mps_servers)
            clients = [self._client(pid) for pid in self._mps_clients]
            self.mps = self._servers_over_time.state(clients, self._clients_unknown)
            self.used_mps |= bool(self._mps_clients or self._mps_servers)

    def _admit_present(self, before: Mapping[int, AttributedService], time: float) -> None:
        """Record the services of the processes after those of `before`."""
        if self._by_pid == before and not self.over_limit:  # nothing is new, so all keep their places
            self._ended = {}
            self._last_seen.update(dict.fromkeys(self.pids, time))
            return
        self._admit_services(time)
        self._ended = {pid: service for pid, service in before.items() if pid not in self._by_pid}

    def add_new(self, pids: Iterable[int], time: float) -> bool:
        """Add the processes that were not known. Return whether there were any."""
        known = self._by_pid.keys() | self._unresolved | self._mps_servers.keys()
        new = [pid for pid in pids if pid not in known]
        if new:
            self._resolve([*known, *new])
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
        self._mps_clients, self._mps_servers, self.mps = frozenset(), {}, None
        self._servers_over_time.forget()

    def shares(self, samples: Iterable[ProcessUtilization]) -> Shares:
        """Shares by service. Several samples of one process count as their mean.

        A share that the driver reports for an MPS server is that of its clients: of their service, if all have one.
        """
        ratios: dict[int, list[float]] = {}
        for entry in samples:
            ratios.setdefault(entry.pid, []).append(entry.sm_ratio)
        services: dict[ServiceKey, float] = {}
        unknown = undivided = 0.0
        for pid, values in ratios.items():
            ratio, is_server = sum(values) / len(values), pid in self._mps_servers
            key = self._only_client() if is_server else self._key_of(pid)
            if key is None:
                unknown += ratio
                undivided += ratio if is_server else 0.0
            else:
                services[key] = services.get(key, 0.0) + ratio
        return Shares(services, unknown, undivided)

    def _key_of(self, pid: int) -> ServiceKey | None:
        service = self._by_pid.get(pid)
        return None if service is None else _key(service)

    def _client(self, pid: int) -> tuple[ServiceKey | None, MpsProcess]:
        """Service of an MPS client, None if unknown, and what the client says."""
        service = self._by_pid.get(pid)
        return (None, MpsProcess()) if service is None else (_key(service), service.mps)

    def _only_client(self) -> ServiceKey | None:
        """Service of all MPS clients; None if there are several or one is unknown.

        Where the driver does not list them, any process may be a client, because it is in another list, too.
        """
        clients = self._by_pid.keys() | self._unresolved if self._clients_unknown else self._mps_clients
        keys = {self._key_of(pid) for pid in clients}
        return keys.pop() if len(keys) == 1 else None

    def holdings(self, held: Sequence[GpuProcess]) -> dict[ServiceKey, Holding]:
        """Processes and memory of each service, including idle ones."""
        holdings: dict[ServiceKey, Holding] = {}
        for pid, memory, *_ in held:
            service = self._by_pid.get(pid)
            if service is not None:
                before = holdings.get(_key(service), Holding(0, 0.0))
                both = None if memory is None or before.memory_used_bytes is None else memory + before.memory_used_bytes
                holdings[_key(service)] = Holding(before.processes + 1, both)
        return holdings

    def _resolve(self, pids: Iterable[int]) -> None:
        services_before = {**self._ended, **self._by_pid}
        services = {pid: self._resolver(pid) or services_before.get(pid) for pid in sorted(set(pids))}
        found = {pid: service for pid, service in services.items() if service is not None}
        self._mps_servers = {pid: service.mps for pid, service in found.items() if service.mps.is_server}
        self._by_pid = {pid: service for pid, service in found.items() if pid not in self._mps_servers}
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


def _common(limits: Iterable[float | None]) -> float | None:
    """Limit of all servers; None if they differ, because a client does not say which one it uses."""
    distinct = set(limits)
    return distinct.pop() if len(distinct) == 1 else None


def _smallest(limits: Mapping[ServiceKey, Collection[float | None]], default: float | None) -> dict[ServiceKey, float]:
    """Smallest limit of each service that has one. A client can only lower the limit of its server."""
    known = {key: [limit for limit in (*own, default) if limit is not None] for key, own in limits.items()}
    return {key: min(found) for key, found in known.items() if found}
