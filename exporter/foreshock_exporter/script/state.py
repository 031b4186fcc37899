"""A scripted host at one instant: what a device script says, before it is asked in the terms of a driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_exporter.model.device import Counters, Health, Identity, ProcessUtilization, Reading, UtilizationSample

Fault = Literal["", "hang", "lost", "late"]
"""What keeps a GPU from answering: a call never returns, it fell off the bus, it has not come yet."""


class ScriptedProcess(NamedTuple):
    """A process that holds a scripted GPU. Its service is a pair (namespace, name). `mps`: it is a client of MPS."""

    pid: int
    service: tuple[str, str]
    memory_bytes: float | None
    mps: bool = False
    instance: str = ""
    """The uuid of the MIG instance that it runs on, where there are any."""


class ScriptedXid(NamedTuple):
    """An XID error at a time: Unix seconds, index of the GPU, number."""

    time: float
    gpu: int
    xid: int


@dataclass(frozen=True, slots=True)
class ScriptedGpu:
    """One GPU. The samples are those that its driver still keeps, oldest first, timestamps in µs since the epoch.

    A process has an entry in `process_samples` for each sampling period in which it ran.
    `refused` names the methods of `Driver` that it does not support.
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
    """All GPUs of the script, those that are lost or late included, and the latest XIDs so far, oldest first.

    `xids_before` is how many XIDs there were before the first of `xids`.
    """

    time: float
    gpus: tuple[ScriptedGpu, ...]
    xids: tuple[ScriptedXid, ...] = ()
    xids_before: int = 0


def process_means(ends_us: Sequence[int], samples: Sequence[ProcessUtilization]) -> tuple[ProcessUtilization, ...]:
    """What a driver answers of its process samples: the mean share of each pid that ran, with the time of the newest.

    Args:
        ends_us: when each sampling period that is asked for ended, oldest first, those included in which nothing ran.
        samples: the process samples of those periods.
    """
    shares: dict[int, float] = {}
    for sample in samples:
        shares[sample.pid] = shares.get(sample.pid, 0.0) + sample.sm_ratio
    return tuple([ProcessUtilization(pid, ends_us[-1], share / len(ends_us)) for pid, share in shares.items()])
