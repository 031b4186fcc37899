"""The state of a scripted host at one instant: what a device script says, before it is asked in the terms of a driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_exporter.device import Counters, Health, Identity, ProcessUtilization, Reading, UtilizationSample

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
    """All GPUs of the script, those that are lost or late included, and every XID so far."""

    time: float
    gpus: tuple[ScriptedGpu, ...]
    xids: tuple[ScriptedXid, ...] = ()
