"""The World: everything the analysis and the pages know, as frozen arrays on one epoch-aligned grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.capacity import Capacity
from foreshock_dashboard.model.hardware import Hardware
from foreshock_dashboard.model.model_servers import Inference
from foreshock_dashboard.model.network import Network
from foreshock_dashboard.model.seasonality import UNKNOWN, Season
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True, order=True)
class Gpu:
    """One GPU. `host` is the host's name, or the target's instance where the exporter gave no host name."""

    host: str
    index: str
    uuid: str
    model: str = ""

    @property
    def label(self) -> str:
        """How people refer to it: `host-2/gpu-3`."""
        return f"{self.host}/gpu-{self.index}"


class Edge(NamedTuple):
    """A call edge of the service graph. `connection` is "", "messaging_system", "database" or "virtual_node"."""

    client: Service
    server: Service
    connection: str = ""


class Operation(NamedTuple):
    """A kind of request that a service answers, by the name of its spans."""

    service: Service
    name: str


class Tenant(NamedTuple):
    """A service on a GPU."""

    gpu: Gpu
    service: Service


class Stall(NamedTuple):
    """A service made to wait on a GPU by another one."""

    gpu: Gpu
    victim: Service
    aggressor: Service


class Target(NamedTuple):
    """A scraped target as last seen. `up` is None if it was never reached; `age` is seconds since its last scrape."""

    instance: str
    job: str
    up: bool | None
    age: float | None


@dataclass(frozen=True, slots=True)
class Red:
    """Rate, errors and duration of one thing per row; arrays of shape (rows, times).

    rate in requests per second; failed as a share 0…1 of requests (NaN without requests); p50, p95, p99 in seconds
    (NaN without requests in the window). least: what the true p95 is hardly below, by how many requests there were, in
    seconds; None where nobody counted.
    """

    rate: Floats = field(repr=False)
    failed: Floats = field(repr=False)
    p50: Floats = field(repr=False)
    p95: Floats = field(repr=False)
    p99: Floats = field(repr=False)
    least: Floats | None = field(default=None, repr=False)

    @classmethod
    def empty(cls, rows: int, points: int) -> Red:
        """All NaN."""
        nothing = np.full((rows, points), np.nan)
        return cls(nothing, nothing, nothing, nothing, nothing)


@dataclass(frozen=True, slots=True)
class World:
    """The platform over a stretch of time, up to and including `times[-1]`, the instant the World is of.

    Every array has shape (rows, times), float64 (float32 in a hub), NaN where there was no sample:
    absent is never zero.

    services/red: requests each service received.
    edges/calls: requests on each edge as its client saw them; `server_p95` as the server saw them (seconds); `attempts`
        is attempts per call, 1.0 without retries.
    operations/operation_rate: requests per second that services on GPUs received, by operation.
    gpus: utilization and contended as ratios 0…1, memory in bytes, power in watts, temperature in °C.
    tenants: busy and stalled as ratios 0…1 of time, memory in bytes.
    stalls: ratio 0…1 of time that the victim was stalled by the aggressor on that GPU (an upper bound of waiting).
    inference, capacity, network, hardware: what model servers, the cluster, hosts and GPUs tell, if any does.
    pool: of each GPU, tier: of each service, "" where nobody says; empty where nobody says anything.
    season: by how much requests usually grow at these times.
    targets: where the samples come from. missing: families that no source gave, by name.
    simulated: some of the data is not from the real world.
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
    stalled: Floats = field(repr=False)
    memory: Floats = field(repr=False)
    stalls: tuple[Stall, ...]
    stalled_by: Floats = field(repr=False)
    operations: tuple[Operation, ...]
    operation_rate: Floats = field(repr=False)
    targets: tuple[Target, ...] = ()
    missing: tuple[str, ...] = ()
    simulated: bool = False
    inference: Inference | None = None
    capacity: Capacity | None = None
    network: Network | None = None
    hardware: Hardware | None = None
    pool: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()
    season: Season = UNKNOWN

    @property
    def time(self) -> float:
        """Unix seconds of the instant the World is of."""
        return float(self.times[-1])


def gpu_order(gpu: Gpu) -> tuple[str, int, str, str]:
    """Sort GPUs by host, then by index as a number."""
    return gpu.host, int(gpu.index) if gpu.index.isdigit() else 10**9, gpu.index, gpu.uuid
