"""Processes that use a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from foreshock_exporter.model.device import DeviceError, GpuProcess
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.errors import is_fatal
from foreshock_exporter.nvml.mig import is_mig, mig_devices

_MAX_RETRIES = 3
"""Attempts to read a list that grows between its two calls."""
_NO_PID = (0, 0xFFFFFFFF)


def running_processes(query: DeviceQuery) -> tuple[GpuProcess, ...]:
    """Compute, graphics, and MPS processes, each once. Raises DeviceError if the first list fails.

    Under MIG each MIG device is queried, because the lists of the GPU need privileges.
    """
    if not is_mig(query):
        return _merge(
            (*(_entries(query, "Compute", required=True)), *_entries(query, "Graphics"), *_entries(query, "MPSCompute"))
        )
    memory: dict[int, float | None] = {}
    for device in mig_devices(query):
        lists = (_entries(device, kind) for kind in ("Compute", "Graphics", "MPSCompute"))
        for pid, used in _merge(entry for entries in lists for entry in entries):
            total = memory.get(pid)
            memory[pid] = used if total is None else total + (used or 0.0)
    return tuple(GpuProcess(pid, used) for pid, used in memory.items())


def uses_mps(query: DeviceQuery) -> bool:
    """Whether MPS clients run on the GPU. Raises as `DeviceQuery.optional`."""
    return bool(_entries(query, "MPSCompute"))


def _entries(query: DeviceQuery, kind: str, *, required: bool = False) -> list[Any]:
    """One process list; empty on failure unless `required`.

    Drivers R535 before 535.98 return version 3 with structures of another size, which read as entries without a PID.
    Version 2 is correct there, and the only one before R510.
    """
    entries = _process_list(query, f"nvmlDeviceGet{kind}RunningProcesses_v3", required=False)
    if entries is None or any(entry.pid in _NO_PID for entry in entries):
        older_entries = _process_list(
            query, f"nvmlDeviceGet{kind}RunningProcesses_v2", required=required and entries is None
        )
        entries = entries if older_entries is None else older_entries
    return entries or []


def _process_list(query: DeviceQuery, name: str, *, required: bool) -> list[Any] | None:
    for _ in range(_MAX_RETRIES):
        try:
            entries: list[Any] = query.required(name)
        except DeviceError as error:
            cause = error.__cause__
            if getattr(cause, "value", None) == query.library.codes.insufficient_size:
                continue
            if required or is_fatal(error):
                raise
            return None
        return entries
    raise DeviceError("driver", "the list of processes grew during every read")


def _merge(entries: Iterable[Any]) -> tuple[GpuProcess, ...]:
    """Processes without duplicates; one in two lists has the larger memory value, not the sum."""
    memory: dict[int, float | None] = {}
    for entry in entries:
        known, used = memory.get(entry.pid), entry.usedGpuMemory
        memory[entry.pid] = known if used is None else max(float(used), known or 0.0)
    return tuple(GpuProcess(pid, used) for pid, used in memory.items() if pid not in _NO_PID)
