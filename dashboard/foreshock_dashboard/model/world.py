"""The World: everything the analysis and the pages know, as frozen arrays on one epoch-aligned grid."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import (
    UNKNOWN_SEASONALITY,
    Capacity,
    Hardware,
    ModelServers,
    Network,
    Resources,
    Seasonality,
    UnjoinedServer,
)


@dataclass(frozen=True, slots=True, order=True)
class Gpu:
    """One GPU. `host` is the host's name, or the target's instance where the exporter gave no host name.

    vendor: NVIDIA, AMD, or Intel; "" where unknown.
    """

    host: str
    index: str
    uuid: str
    model: str = ""
    vendor: str = ""

    @property
    def label(self) -> str:
        """Display name: `host-2/gpu-3`."""
        return f"{self.host}/gpu-{self.index}"


class Edge(NamedTuple):
    """A call edge of the service graph. `connection` is "", "messaging_system", "database" or "virtual_node"."""

    client: Service
    server: Service
    connection: str = ""


class Operation(NamedTuple):
    """A request type of a service, by span name."""

    service: Service
    name: str


class Tenant(NamedTuple):
    """A service on a GPU."""

    gpu: Gpu
    service: Service


class GpuWaitPair(NamedTuple):
    """A service that waits on a GPU for a noisy neighbor."""

    gpu: Gpu
    affected: Service
    noisy_neighbor: Service


class GpuAllocation(NamedTuple):
    """A container to which the kubelet gave a GPU, or a part of it. service: that of the pod; None if unknown."""

    gpu: Gpu
    namespace: str
    pod: str
    container: str
    service: Service | None


class Target(NamedTuple):
    """A scraped target as last seen. `up` is None if it was never reached; `age` is seconds since its last scrape."""

    instance: str
    job: str
    up: bool | None
    age: float | None


@dataclass(frozen=True, slots=True)
class Red:
    """Rate, errors, and duration by row; arrays of shape (rows, times).

    rate: requests per second. error_rate: share of requests, 0 to 1 (NaN without requests). p50, p95, p99: seconds (NaN
    without requests in the window). lower_bound: lower confidence bound of the true p95 given the number of requests,
    seconds; None without request counts.
    """

    rate: Floats = field(repr=False)
    error_rate: Floats = field(repr=False)
    p50: Floats = field(repr=False)
    p95: Floats = field(repr=False)
    p99: Floats = field(repr=False)
    lower_bound: Floats | None = field(default=None, repr=False)

    @classmethod
    def empty(cls, rows: int, points: int) -> Red:
        """All NaN."""
        nothing = np.full((rows, points), np.nan)
        return cls(nothing, nothing, nothing, nothing, nothing)


@dataclass(frozen=True, slots=True)
class World:
    """The platform over a time range that ends at `times[-1]`, the instant of the World.

    Every array has shape (rows, times), float64 (float32 in a hub). NaN is no sample: absent is never zero.

    services/red: requests received by each service.
    edges/calls: requests on each edge as its client measured them; `server_p95` (seconds) as the server did;
        `attempts` per call, 1.0 without retries.
    operations/operation_red: requests received by each operation of services on GPUs, and by busy ones of others; all
        but the rate in half precision.
    gpus: utilization and contended as ratios 0…1, memory in bytes, power in watts, temperature in °C.
    tenants: busy and gpu_wait as ratios 0…1 of time, memory in bytes.
    allocations: containers with a GPU of whose service no process is seen on it: idle, or hidden processes.
    allocated: all containers with a GPU whose service is known, or taken to be their workload.
    gpu_wait_pairs: ratio 0…1 of time that a service waited on a neighbor on the GPU (an upper bound of waiting).
    model_servers, capacity, network, hardware, resources: None where nothing reports them.
    unjoined: model servers that belong to no service with requests or GPU time.
    pool: of each GPU, tier: of each service; "" where unknown, empty where none is known.
    season: seasonal growth of the request rate. changes: of services, hosts, and settings, by time. collected: those
    that the samples show, as each source shows them.
    change_tracked: services of which versions, images, or settings are known, so that no change of them means none.
    targets: scrape targets of the samples. missing: names of the metric families that no source reports.
    simulated: some of the data is simulated.
    """

    times: Floats
    step: float
    services: tuple[Service, ...]
    red: Red
    edges: tuple[Edge, ...]
    calls: Red
    server_p95: Floats = field(repr=False)
    attempts: Floats = field(repr=False)
    gpus: tuple[Gpu, ...]
    utilization: Floats = field(repr=False)
    contended: Floats = field(repr=False)
    memory_used: Floats = field(repr=False)
    memory_total: Floats = field(repr=False)
    power: Floats = field(repr=False)
    temperature: Floats = field(repr=False)
    tenants: tuple[Tenant, ...]
    busy: Floats = field(repr=False)
    gpu_wait: Floats = field(repr=False)
    memory: Floats = field(repr=False)
    gpu_wait_pairs: tuple[GpuWaitPair, ...]
    gpu_wait_by: Floats = field(repr=False)
    operations: tuple[Operation, ...]
    operation_red: Red
    targets: tuple[Target, ...] = ()
    missing: tuple[str, ...] = ()
    simulated: bool = False
    allocations: tuple[GpuAllocation, ...] = ()
    allocated: tuple[GpuAllocation, ...] = ()
    model_servers: ModelServers | None = None
    unjoined: tuple[UnjoinedServer, ...] = ()
    capacity: Capacity | None = None
    network: Network | None = None
    hardware: Hardware | None = None
    resources: Resources | None = None
    pool: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()
    season: Seasonality = UNKNOWN_SEASONALITY
    changes: tuple[Change, ...] = ()
    collected: frozenset[Change] = frozenset()
    change_tracked: frozenset[Service] = frozenset()

    @property
    def time(self) -> float:
        """Unix seconds of the last grid point."""
        return float(self.times[-1])

    def points(self, seconds: float, least: int = 1) -> int:
        """Number of grid steps in a time span, rounded, but at least `least`."""
        return max(least, round(seconds / self.step))


def gpu_order(gpu: Gpu) -> tuple[str, int, str, str]:
    """Sort GPUs by host, then by index as a number."""
    return gpu.host, int(gpu.index) if gpu.index.isdigit() else 10**9, gpu.index, gpu.uuid


Section = TypeVar("Section")


def slice_world(world: World, start: float, end: float) -> World:
    """The World from `start` to `end` (Unix seconds, both included): fewer columns, nothing is copied.

    Raises:
        ValueError: the World has no grid point in the range.
    """
    first = int(np.searchsorted(world.times, start, side="left"))
    after = int(np.searchsorted(world.times, end, side="right"))
    if first >= after:
        span = f"{world.times[0]:.0f} to {world.times[-1]:.0f}" if len(world.times) else "no time at all"
        raise ValueError(f"no grid point from {start:.0f} to {end:.0f}: the World is of {span}")
    return world if (first, after) == (0, len(world.times)) else _cut(world, slice(first, after), len(world.times))


def _cut(section: Section, columns: slice, points: int) -> Section:
    """Slice every array with one column per grid point, also in nested dataclasses."""
    changes: dict[str, object] = {}
    for name, value in _items(section):
        if isinstance(value, np.ndarray):
            if value.shape[-1] == points:
                changes[name] = value[..., columns]
        elif is_dataclass(value):
            changes[name] = _cut(value, columns, points)
    return replace(section, **changes)  # type: ignore[type-var]  # World and its sections are dataclasses


def nbytes(section: object) -> int:
    """Bytes of all arrays of a World or of a section of it."""
    return sum(
        value.nbytes if isinstance(value, np.ndarray) else nbytes(value) if is_dataclass(value) else 0
        for _, value in _items(section)
    )


def _items(section: object) -> list[tuple[str, Any]]:
    return [(item.name, getattr(section, item.name)) for item in fields(section)]  # type: ignore[arg-type]  # as above
