"""Faults. `at` is in seconds after the start; a fault with `duration` None lasts to the end.

A fault changes a cause (load, capacity, neighbor, path, setting), never the latency or error rate of an affected
service.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Surge:
    """The rate of a flow rises to `factor` times over `ramp` seconds, and falls back at once after `duration`."""

    flow: str
    at: float
    factor: float
    ramp: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class LongerPrompts:
    """Prompts of a flow become `factor` times as long, and answers `answers` times, at the same rate."""

    flow: str
    at: float
    factor: float
    answers: float = 1.0
    ramp: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class TenantGrows:
    """A tenant starts `workers` more processes on each GPU of some services or places, over `ramp` seconds."""

    tenant: str
    at: float
    workers: int
    onto: tuple[str, ...] = ()
    places: tuple[tuple[str, int], ...] = ()
    sm: float = 0.9
    dram: float = 0.7
    pause: float = 0.01
    ramp: float = 30.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class ReplicasFail:
    """Some replicas of a service (0: all) fail, and restart cold after `duration`. `xid`: error of their GPUs."""

    service: str
    at: float
    replicas: int = 0
    duration: float | None = None
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """Some replicas of a service (0: all) crash, and again `uptime` seconds after each cold start."""

    service: str
    at: float
    replicas: int = 0
    uptime: float = 5.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Restart:
    """Rolling restart: replicas of a service are drained and replaced one after another, `pause` seconds apart."""

    service: str
    at: float
    pause: float = 30.0


@dataclass(frozen=True, slots=True)
class Deploy:
    """Rolling deploy of a version: replicas of a service are drained and replaced one after another.

    replicas: a canary of so many; 0: all. The rest is as in `Release`: what the version does differently.
    """

    service: str
    at: float
    version: str
    replicas: int = 0
    pause: float = 10.0
    slower: float = 1.0
    failing: float = 0.0
    repeats: int = 1
    prompts: float = 1.0
    timeouts: float = 1.0
    leak: float | None = None
    swap: float | None = None


@dataclass(frozen=True, slots=True)
class SlowerWork:
    """A bad deploy or, with `ramp`, a degradation: own CPU and GPU work of the service takes `factor` times as long."""

    service: str
    at: float
    factor: float
    ramp: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class FailingWork:
    """A defect: the service answers a share of its requests with 500, after its own work."""

    service: str
    at: float
    ratio: float
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A deploy changes the timeout or the attempts of a caller's calls to a callee."""

    caller: str
    callee: str
    at: float
    timeout: float | None = None
    attempts: int | None = None


@dataclass(frozen=True, slots=True)
class CacheFlush:
    """A cache is emptied."""

    cache: str
    at: float


@dataclass(frozen=True, slots=True)
class CacheDecay:
    """The keys in use outgrow a cache: the ratio of them that it holds falls to `ratio` over `ramp` seconds."""

    cache: str
    at: float
    ratio: float
    ramp: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryLeak:
    """Replicas of a service lose `bytes_per_second` of memory, and are killed at its limit.

    The limit is `ServiceSpec.memory_bytes`. A replica that restarts has lost nothing yet.
    """

    service: str
    at: float
    bytes_per_second: float
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class PacketLoss:
    """Packets between the hosts of two services are lost, with a ratio that rises to `ratio` over `ramp` seconds."""

    between: tuple[str, str]
    at: float
    ratio: float
    ramp: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class BulkTransfer:
    """A transfer of up to `bytes_per_second` to each host of a service competes for its interfaces (model weights)."""

    onto: str
    at: float
    bytes_per_second: float
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """The power limit of the GPUs of a service (or of a rack) falls to `ratio` of its value."""

    at: float
    ratio: float
    service: str = ""
    rack: str = ""
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Heat:
    """The air that cools the GPUs of a rack warms up to `celsius` over `ramp` seconds."""

    rack: str
    at: float
    celsius: float
    ramp: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class LostScrapes:
    """Scrapes of some hosts (all, without names) fail. With `restarts`, counters start at 0 afterwards."""

    at: float
    duration: float
    hosts: tuple[str, ...] = ()
    restarts: bool = True


Fault = (
    Surge | LongerPrompts | TenantGrows | ReplicasFail | CrashLoop | Restart | Deploy | SlowerWork | FailingWork
    | PolicyChange | CacheFlush | CacheDecay | MemoryLeak | PacketLoss | BulkTransfer | Throttle | Heat | LostScrapes
)  # fmt: skip
