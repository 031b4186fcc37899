"""What is done to a platform. `at` is seconds after the start; a `duration` of None lasts to the end.

A fault changes a cause (load, capacity, a neighbour, a path, a setting); it never sets a latency or an error rate of
the service that is to suffer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Surge:
    """A flow grows to `factor` times its rate over `ramp` seconds, and falls back at once after `duration`."""

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
    """A tenant starts `workers` more on each of some services' GPUs (or of the given places) over `ramp` seconds."""

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
    """Some replicas of a service end; where `duration` is over, new ones start (cold). `xid`: their GPUs report it."""

    service: str
    at: float
    replicas: int
    duration: float | None = None
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class Restart:
    """Replicas of a service are replaced one after another, each drained first, `pause` seconds apart."""

    service: str
    at: float
    pause: float = 30.0


@dataclass(frozen=True, slots=True)
class SlowerWork:
    """A deploy, or with a `ramp` a decay: the service's own CPU and GPU work comes to take `factor` times as long."""

    service: str
    at: float
    factor: float
    ramp: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class FailingWork:
    """A defect: the service answers this share of its requests with 500, after its own work."""

    service: str
    at: float
    ratio: float
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A deploy: a caller's time-out or attempts for calls to a callee change."""

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
class PacketLoss:
    """Packets between the hosts of two services are lost; over `ramp` seconds ever more, up to `ratio`."""

    between: tuple[str, str]
    at: float
    ratio: float
    ramp: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class BulkTransfer:
    """Something sends at up to `bytes_per_second` to the hosts of a service, and fills their interfaces (weights)."""

    onto: str
    at: float
    bytes_per_second: float
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """The power limit of the GPUs of a service (or of a rack) falls to `ratio` of what it was."""

    at: float
    ratio: float
    service: str = ""
    rack: str = ""
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class LostScrapes:
    """Scrapes of some hosts (all where none is named) fail; with `restarts`, counters begin at 0 afterwards."""

    at: float
    duration: float
    hosts: tuple[str, ...] = ()
    restarts: bool = True


Fault = (
    Surge
    | LongerPrompts
    | TenantGrows
    | ReplicasFail
    | Restart
    | SlowerWork
    | FailingWork
    | PolicyChange
    | CacheFlush
    | PacketLoss
    | BulkTransfer
    | Throttle
    | LostScrapes
)
