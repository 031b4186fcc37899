"""Rows of tenants, GPUs, and pairs of services that share GPUs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import is_
from threading import Lock
from typing import Literal, NamedTuple

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, GpuWaitPair, Tenant, World
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.web.state.numbers import Row, last, newest, number

Rows = NDArray[np.int64]
PairRows = tuple[tuple[tuple[Service, Service], tuple[int, ...]], ...]
"""Victim and aggressor, sorted by name, and the rows of their waits: one for each GPU they share."""

MEAN_SECONDS = 60.0
"""Seconds that a table's means cover: those of utilization."""
QUICK_SECONDS = 30.0
"""Seconds that a value of a quick rate window covers already, as of services' time (`quick_window`)."""


@dataclass(frozen=True, slots=True)
class Placement:
    """gpu: row of each tenant's GPU, shape (tenants,). service: row in `services` of each tenant's service."""

    gpu: Rows
    service: Rows
    services: tuple[Service, ...]

    def on(self, gpu: int) -> Rows:
        """The rows of the tenants of a GPU."""
        return np.flatnonzero(self.gpu == gpu)


class SameObjects:
    """A cache key of objects by identity: hashing 10,000 GPUs and their tenants takes longer than most of a page."""

    def __init__(self, *objects: object) -> None:
        self._objects = objects  # kept, so that no other objects get their ids

    def __hash__(self) -> int:
        return hash(tuple(map(id, self._objects)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameObjects) and all(map(is_, self._objects, other._objects))


def placement(world: World) -> Placement:
    """The rows of the World's tenants."""
    return _placement(world.gpus, world.tenants)


@cached(LRUCache(2), SameObjects, Lock())  # evaluations share the tuples of GPUs, tenants, and pairs
def _placement(gpus: tuple[Gpu, ...], tenants: tuple[Tenant, ...]) -> Placement:
    gpu_rows = {gpu: row for row, gpu in enumerate(gpus)}
    services: dict[Service, int] = {}
    service = [services.setdefault(tenant.service, len(services)) for tenant in tenants]
    gpu = [gpu_rows[tenant.gpu] for tenant in tenants]
    return Placement(np.array(gpu, np.int64), np.array(service, np.int64), tuple(services))


class Allocated(Row):
    """A container with the GPU, of whose service no process is seen on it. service: None if unknown."""

    pod: str
    container: str
    service: str | None


MpsState = Literal["running", "server_ended", "control_daemon_gone", "unknown"]


class MpsService(Row):
    """A service with MPS clients on a GPU. Limits are the smallest of its clients: share of the SMs, and bytes."""

    service: str
    clients: int
    sm_limit_ratio: float | None
    memory_limit_bytes: float | None


class Mps(Row):
    """MPS on a GPU that uses it, or did. text: its state with the remedy. clients: processes, also of unknown services.

    servers: None before one was seen. is_time_unknown: the driver does not divide the GPU time among the services.
    """

    state: MpsState
    text: str
    clients: int | None
    servers: int | None
    services: list[MpsService]
    is_time_unknown: bool


class GpuSharing(NamedTuple):
    """How services share a GPU. mode: as in `gpu_info`, None where unknown.

    local_cpus: share of the CPUs of a service, as its cluster names it, on the NUMA node of the GPU, 0 to 1.
    """

    mode: str | None = None
    mps: Mps | None = None
    local_cpus: Mapping[Service, float] = {}


NO_SHARING: Mapping[str, GpuSharing] = {}
"""Of no GPU by UUID."""


def allocated(world: World) -> dict[Gpu, list[Allocated]]:
    """Allocations without a process, by GPU."""
    found: dict[Gpu, list[Allocated]] = {}
    for gpu, namespace, pod, container, service in world.allocations:
        name = f"{namespace}/{pod}" if namespace else pod
        found.setdefault(gpu, []).append(Allocated(name, container, str(service) if service else None))
    return found


def gpus_in_incidents(world: World, incidents: Iterable[Incident]) -> list[int]:
    """The rows of the GPUs on which incidents act."""
    gpus = {gpu for incident in incidents for gpu in incident.stated_suspect.gpus}
    return [row for row, gpu in enumerate(world.gpus) if gpu in gpus] if gpus else []


def pair_rows(world: World) -> PairRows:
    """The pairs of services that share GPUs."""
    return _pair_rows(world.gpu_wait_pairs)


@cached(LRUCache(2), SameObjects, Lock())
def _pair_rows(pairs: tuple[GpuWaitPair, ...]) -> PairRows:
    rows: dict[tuple[Service, Service], list[int]] = {}
    for row, pair in enumerate(pairs):
        rows.setdefault((pair.affected, pair.noisy_neighbor), []).append(row)
    return tuple((pair, tuple(rows[pair])) for pair in sorted(rows))


def minute_mean(world: World, values: Floats, covered_seconds: float = QUICK_SECONDS) -> Floats:
    """Means of the newest `MEAN_SECONDS`, NaN where the newest value is missing; shape (rows,).

    values: shape (rows, times), each of the `covered_seconds` before it.
    """
    points = 1 + max(0, int((MEAN_SECONDS - covered_seconds) // world.step))
    return np.where(np.isnan(newest(values)), np.nan, nan_mean(values[:, -points:], axis=1))


def tenant_time(world: World) -> tuple[list[float | None], list[float | None]]:
    """Share of time, 0 to 1, that each service uses each of its GPUs, and that it waits for it; by tenant.

    Usage is a mean of `MEAN_SECONDS`, as that of its GPU. The wait is the newest one, which incidents are judged by.
    """
    return list(map(number, minute_mean(world, world.busy).tolist())), last(world.gpu_wait)


def contended_time(world: World) -> Floats:
    """Share of time, 0 to 1, in which several services want the GPU; part of its busy time. Shape (gpus,)."""
    return np.minimum(minute_mean(world, world.contended), np.clip(newest(world.utilization), 0.0, 1.0))


MIN_CONTENDED_RATIO = 0.1
"""Share of time from which a GPU counts as contended."""
MIN_WAIT_RATIO = 0.005
"""Share of time from which a wait is worth a line."""


class Pair(NamedTuple):
    """A victim, an aggressor, and the GPUs that both use.

    ratio: share of time, 0 to 1, that the victim waits for the aggressor, mean over the GPUs; None for no data.
    gpus: each GPU with its own ratio.
    """

    victim: Service
    aggressor: Service
    ratio: float | None
    gpus: tuple[tuple[Gpu, float | None], ...]

    @property
    def measured_gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that the mean is of; all without data."""
        return tuple(gpu for gpu, ratio in self.gpus if ratio is not None or self.ratio is None)


def incident_pair_rows(world: World, incidents: Iterable[Incident]) -> PairRows:
    """`pair_rows`, those of a pair in an incident of GPU contention on the incident's GPUs only, as in its evidence."""
    gpus_of = {
        (item.service, item.suspect.service): set(item.suspect.gpus)
        for item in incidents
        if item.cause == "gpu_contention" and item.suspect.gpus
    }
    found = pair_rows(world)
    if not gpus_of:
        return found
    narrowed = []
    for pair, rows in found:
        gpus = gpus_of.get(pair, set())
        own = tuple(row for row in rows if world.gpu_wait_pairs[row].gpu in gpus)
        narrowed.append((pair, own or rows))
    return tuple(narrowed)


def pairs(world: World, incidents: Iterable[Incident] = ()) -> tuple[Pair, ...]:
    """Every victim and aggressor that share a GPU, the longest waits first.

    incidents: of GPU contention, whose pairs have their GPUs only.
    """
    ratios = last(world.gpu_wait_by)
    listed = []
    for (victim, aggressor), rows in incident_pair_rows(world, incidents):
        known = [ratio for row in rows if (ratio := ratios[row]) is not None]
        mean = number(sum(known) / len(known)) if known else None
        listed.append(
            Pair(victim, aggressor, mean, tuple((world.gpu_wait_pairs[row].gpu, ratios[row]) for row in rows))
        )
    return tuple(sorted(listed, key=lambda pair: -(pair.ratio or 0.0)))


def mean_power(world: World) -> Floats:
    """Watts over `MEAN_SECONDS`, as utilization is a mean: one sample falls between two kernels or into one."""
    return minute_mean(world, world.power, world.step)
