"""Processes that use a GPU."""

from __future__ import annotations

from typing import Any, NamedTuple

from foreshock_exporter.model.device import DeviceError, GpuProcess, Processes, Reason, Sharing
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.errors import is_fatal
from foreshock_exporter.nvml.mig import is_mig, mig_devices

_MAX_RETRIES = 3
"""Attempts to read a list that grows between its two calls."""
_NO_PID = (0, 0xFFFFFFFF)


class _Lists(NamedTuple):
    """Entries of compute and graphics processes, and of MPS clients with the reason why they are unknown."""

    entries: list[Any]
    clients: list[Any]
    mps_unknown: Reason | None


def running_processes(query: DeviceQuery) -> Processes:
    """Compute, graphics, and MPS processes, each once. Raises DeviceError if the first list fails.

    Under MIG each MIG device is queried, because the lists of the GPU need privileges.
    """
    if not is_mig(query):
        return _merge(_lists(query, required=True))
    found: dict[int, GpuProcess] = {}
    mps_unknown: Reason | None = None
    for device in mig_devices(query):
        of_instance = _merge(_lists(device))
        mps_unknown = mps_unknown or of_instance.mps_unknown
        for process in of_instance.listed:
            before = found.get(process.pid, process._replace(memory_used_bytes=None))
            memory, used = before.memory_used_bytes, process.memory_used_bytes
            total = used if memory is None else memory + (used or 0.0)
            found[process.pid] = GpuProcess(process.pid, total, before.is_mps_client or process.is_mps_client)
    return Processes(tuple(found.values()), mps_unknown)


def process_sharing(query: DeviceQuery) -> Sharing:
    """How processes share a GPU without MIG; a driver that cannot list MPS clients is taken for one without.

    Raises as `DeviceQuery.optional`.
    """
    clients, unknown = _mps_clients(query)
    if unknown not in (None, "not_supported"):
        return "unknown"
    return "mps" if clients else "time-slicing"


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


def _mps_clients(query: DeviceQuery) -> tuple[list[Any], Reason | None]:
    """Entries of MPS clients, or the reason why they are unknown. Raises as `DeviceQuery.optional`."""
    try:
        return _entries(query, "MPSCompute", required=True), None
    except DeviceError as error:
        if is_fatal(error):
            raise
        return [], error.reason


def _lists(query: DeviceQuery, *, required: bool = False) -> _Lists:
    """All lists. Only that of compute processes may be `required`, which has the MPS clients, too."""
    entries = _entries(query, "Compute", required=required) + _entries(query, "Graphics")
    return _Lists(entries, *_mps_clients(query))


def _merge(lists: _Lists) -> Processes:
    """Processes without duplicates; one in two lists has the larger memory value, not the sum."""
    found: dict[int, GpuProcess] = {}
    for entry in (*lists.entries, *lists.clients):
        used = None if entry.usedGpuMemory is None else float(entry.usedGpuMemory)
        before = found.get(entry.pid, GpuProcess(entry.pid, None))
        known = before.memory_used_bytes if used is None else max(used, before.memory_used_bytes or 0.0)
        found[entry.pid] = before._replace(memory_used_bytes=known)
    clients = {entry.pid for entry in lists.clients}
    listed = (process._replace(is_mps_client=pid in clients) for pid, process in found.items() if pid not in _NO_PID)
    return Processes(tuple(listed), lists.mps_unknown)
