"""All values of a simulated host at one instant, for the NVML double and for comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from foreshock_exporter.model.device import (
    Activity,
    Counters,
    Health,
    Identity,
    ProcessUtilization,
    Reading,
    UtilizationSample,
)
from foreshock_exporter.model.service import MpsProcess
from foreshock_exporter.script import driver_view
from foreshock_exporter.script.events import METHODS, Fault
from foreshock_exporter.script.gpu import PlayedGpu, sample_windows
from foreshock_exporter.script.playback import Playback, ScriptedXid


class ScriptedProcess(NamedTuple):
    """Process on a GPU with its service (namespace, name), and whether it is an MPS client.

    `instance` is the UUID of its MIG instance, if any; `says` what the process itself says of MPS.
    """

    pid: int
    service: tuple[str, str]
    memory_bytes: float | None
    mps: bool = False
    instance: str = ""
    says: MpsProcess = MpsProcess()


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
    activity: Activity = field(default_factory=Activity)
    processes: tuple[ScriptedProcess, ...] = ()
    samples: tuple[UtilizationSample, ...] = ()
    process_samples: tuple[ProcessUtilization, ...] = ()
    fault: Fault = ""
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ScriptedHost:
    """All GPUs, including lost and late ones, and the latest XIDs, oldest first.

    `xids_before` is the number of XIDs before the first of `xids`.
    """

    time: float
    gpus: tuple[ScriptedGpu, ...]
    xids: tuple[ScriptedXid, ...] = ()
    xids_before: int = 0


def played(playback: Playback, time: float) -> ScriptedHost:
    """Host of a device script at a time in Unix seconds."""
    state, us = playback.state_at(time)
    gpus = tuple(_gpu(gpu, us, playback.start_us) for gpu in state.gpus)
    return ScriptedHost(time, gpus, state.xids, state.xids_before)


def _gpu(state: PlayedGpu, us: int, start_us: int) -> ScriptedGpu:
    windows = sample_windows(state, us)
    return ScriptedGpu(
        identity=driver_view.identity(state),
        reading=driver_view.reading(state, us),
        counters=driver_view.counters(state, us),
        health=driver_view.health(state, us),
        activity=driver_view.activity(state, us),
        processes=tuple(
            ScriptedProcess(pid, process.service, process.memory_bytes, process.mps, process.instance)
            for pid, process in state.processes.items()
        ),
        samples=driver_view.samples(state, windows, start_us),
        process_samples=tuple(
            ProcessUtilization(pid, start_us + window.end_us, share)
            for window in windows
            for pid, share in window.process_shares().items()
        ),
        fault=state.fault,
        refused=driver_view.refused(state.device) & frozenset(METHODS),
    )
