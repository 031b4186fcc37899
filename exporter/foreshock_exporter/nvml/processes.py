"""The processes that hold a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from foreshock_exporter.model.device import DeviceError, GpuProcess
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.errors import is_fatal
from foreshock_exporter.nvml.mig import is_mig, mig_devices

_RACES = 3
"""How often a list that grew between its two calls is asked for again."""
_NO_PID = (0, 0xFFFFFFFF)


def running_processes(asked: DeviceQuery) -> tuple[GpuProcess, ...]:
    """Compute, graphics and MPS processes, each once. Raises DeviceError where the first list fails.

    A divided GPU is asked MIG device by MIG device, because its own lists need privileges.
    """
    if not is_mig(asked):
        return _merged(
            (*(_entries(asked, "Compute", must=True)), *_entries(asked, "Graphics"), *_entries(asked, "MPSCompute"))
        )
    memory: dict[int, float | None] = {}
    for device in mig_devices(asked):
        lists = (_entries(device, kind) for kind in ("Compute", "Graphics", "MPSCompute"))
        for pid, used in _merged(entry for entries in lists for entry in entries):
            known = memory.get(pid)
            memory[pid] = used if known is None else known + (used or 0.0)
    return tuple(GpuProcess(pid, used) for pid, used in memory.items())


def uses_mps(asked: DeviceQuery) -> bool:
    """Whether clients of an MPS server run on the GPU. Raises as `Asked.may`."""
    return bool(_entries(asked, "MPSCompute"))


def _entries(asked: DeviceQuery, kind: str, *, must: bool = False) -> list[Any]:
    """One list; empty where it is not given, unless it must be.

    Drivers R535 before 535.98 wrote structures of another size under the name of version 3, which read as entries
    without a pid from the second on; version 2 is whole there, and all that drivers before R510 have.
    """
    entries = _list(asked, f"nvmlDeviceGet{kind}RunningProcesses_v3", must=False)
    if entries is None or any(entry.pid in _NO_PID for entry in entries):
        older = _list(asked, f"nvmlDeviceGet{kind}RunningProcesses_v2", must=must and entries is None)
        entries = entries if older is None else older
    return entries or []


def _list(asked: DeviceQuery, name: str, *, must: bool) -> list[Any] | None:
    for _ in range(_RACES):
        try:
            entries: list[Any] = asked.must(name)
        except DeviceError as error:
            cause = error.__cause__
            if getattr(cause, "value", None) == asked.library.codes.insufficient_size:
                continue
            if must or is_fatal(error):
                raise
            return None
        return entries
    raise DeviceError("driver", "the list of processes keeps growing while it is read")


def _merged(entries: Iterable[Any]) -> tuple[GpuProcess, ...]:
    """Each pid once; a process in two lists holds the larger of its two figures, not their sum."""
    memory: dict[int, float | None] = {}
    for entry in entries:
        known, said = memory.get(entry.pid), entry.usedGpuMemory
        memory[entry.pid] = known if said is None else max(float(said), known or 0.0)
    return tuple(GpuProcess(pid, used) for pid, used in memory.items() if pid not in _NO_PID)
