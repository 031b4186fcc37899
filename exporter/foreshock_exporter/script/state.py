"""A scripted host at one instant, before it is queried as a driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_exporter.model.device import Counters, Health, Identity, ProcessUtilization, Reading, UtilizationSample

Fault = Literal["", "hang", "lost", "late"]
"""Fault of a GPU: calls hang, lost from the bus, or not yet present."""


class ScriptedProcess(NamedTuple):
    """Process on a scripted GPU with its service (namespace, name). `mps`: whether it is an MPS client."""

    pid: int
    service: tuple[str, str]
    memory_bytes: float | None
    mps: bool = False
    instance: str = ""
    """UUID of its MIG instance, if any."""


class ScriptedXid(NamedTuple):
    """XID error: Unix seconds, GPU index, number."""

    time: float
    gpu: int
    xid: int


@dataclass(frozen=True, slots=True)
class ScriptedGpu:
    """One GPU. Samples are those still kept by its driver, oldest first, in µs since the epoch.

    A process has an entry in `process_samples` per sampling period in which it ran. `refused` names unsupported methods
    of `Driver`.
    """

    identity: Identity
    reading: Reading
    counters: Counters
    health: Health
    processes: tuple[ScriptedProcess, ...] = ()
    samples: tuple[UtilizationSample, ...] = ()
    process_samples: tuple[ProcessUtilization, ...] = ()
    fault: Fault = ""
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ScriptedHost:
    """All GPUs of the script, including lost and late ones, and the latest XIDs, oldest first.

    `xids_before` is the number of XIDs before the first of `xids`.
    """

    time: float
    gpus: tuple[ScriptedGpu, ...]
    xids: tuple[ScriptedXid, ...] = ()
    xids_before: int = 0


def process_means(ends_us: Sequence[int], samples: Sequence[ProcessUtilization]) -> tuple[ProcessUtilization, ...]:
    """Process samples as a driver returns them: mean share by PID, with the time of the newest period.

    Args:
        ends_us: ends of the requested sampling periods, oldest first, including idle ones.
        samples: process samples of those periods.
    """
    shares: dict[int, float] = {}
    for sample in samples:
        shares[sample.pid] = shares.get(sample.pid, 0.0) + sample.sm_ratio
    return tuple([ProcessUtilization(pid, ends_us[-1], share / len(ends_us)) for pid, share in shares.items()])
