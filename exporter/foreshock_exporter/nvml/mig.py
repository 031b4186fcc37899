"""MIG devices of a GPU: compute instances within GPU instances that share memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from foreshock_exporter.model.device import DeviceError, Instance, Reason
from foreshock_exporter.nvml.device_query import DeviceQuery, MigQuery
from foreshock_exporter.nvml.errors import is_fatal
from foreshock_exporter.nvml.library import MigMode

MAX_MODE_SECONDS = 10.0
"""Time for which the last mode holds while NVML fails to return it. A GPU changes it only without processes."""


def read_mig_mode(query: DeviceQuery) -> bool:
    """Whether MIG is enabled. Raises DeviceError if that is unknown, but not for a GPU without MIG."""
    try:
        current, _ = query.required("nvmlDeviceGetMigMode")
        is_enabled = bool(current == query.library.nvml.NVML_DEVICE_MIG_ENABLE)
    except DeviceError as error:
        if error.reason != "not_supported":
            raise
        is_enabled = False
    query.library.device(query.gpu).mig_mode = MigMode(is_enabled, query.library.timer())
    return is_enabled


def is_mig(query: DeviceQuery) -> bool:
    """Whether MIG is enabled, as `read_mig_mode` found it up to `MAX_MODE_SECONDS` ago. Raises as it does."""
    mode = query.library.device(query.gpu).mig_mode
    is_recent = mode is not None and query.library.timer() - mode.read_at < MAX_MODE_SECONDS
    return mode.is_enabled if mode is not None and is_recent else read_mig_mode(query)


def mig_devices(query: DeviceQuery) -> Iterator[MigQuery]:
    """Queries of the MIG devices of a GPU with MIG, to be used one after another.

    Indexes have gaps: NOT_FOUND and INVALID_ARGUMENT mean an empty slot.
    """
    for slot in range(query.optional("nvmlDeviceGetMaxMigDeviceCount") or 0):
        handle = query.optional(
            "nvmlDeviceGetMigDeviceHandleByIndex", slot, expected_code=query.library.codes.invalid_argument
        )
        if handle is not None:
            yield MigQuery(query, handle)


def mig_instances(query: DeviceQuery) -> tuple[Instance, ...]:
    """MIG instances, without those removed meanwhile. Raises as `DeviceQuery.optional`."""
    try:
        devices = mig_devices(query) if is_mig(query) else ()
    except DeviceError as error:
        query.record_failure(("instances",), error)
        return ()
    found_instances: list[Instance] = []
    for device in devices:
        try:
            instance = _instance(device)
        except DeviceError as error:
            if is_fatal(error):
                raise
            continue
        found_instances.append(instance)
    return _placed(query, found_instances)


def retry_placements(query: DeviceQuery) -> None:
    """Have the next `mig_instances` read the placements that NVML refused."""
    device = query.library.device(query.gpu)
    device.placements = {key: found for key, found in device.placements.items() if isinstance(found, tuple)}


def memory_info(query: DeviceQuery, fields: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - pynvml's structure, or None
    """Memory in bytes. Version 2 separates reserved from used memory; drivers before R510 have only version 1."""
    memory = query.optional("nvmlDeviceGetMemoryInfo", query.library.nvml.nvmlMemory_v2)
    return memory if memory is not None else query.optional("nvmlDeviceGetMemoryInfo", fields=fields)


def to_text(value: str | bytes | None) -> str:
    """Text of a string or bytes value; "" for None."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def to_base_units(value: float | None, divisor: float = 1.0) -> float | None:
    """Value divided by `divisor`; None stays None."""
    return None if value is None else value / divisor


def _instance(device: MigQuery) -> Instance:
    uuid = to_text(device.required("nvmlDeviceGetUUID"))
    gpu_instance = int(device.required("nvmlDeviceGetGpuInstanceId"))
    compute_instance = int(device.required("nvmlDeviceGetComputeInstanceId"))
    profile = _profile(device)
    memory = memory_info(device)
    return Instance(
        uuid=uuid,
        gpu_instance=gpu_instance,
        compute_instance=compute_instance,
        profile=profile,
        memory_used_bytes=to_base_units(getattr(memory, "used", None)),
        memory_total_bytes=to_base_units(getattr(memory, "total", None)),
    )


def _placed(query: DeviceQuery, instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """Instances with their placement, which is read once: it is constant while a GPU instance exists."""
    device = query.library.device(query.gpu)
    uuids: dict[int, set[str]] = {}
    for instance in instances:
        uuids.setdefault(instance.gpu_instance, set()).add(instance.uuid)
    keys = {gpu_instance: (gpu_instance, frozenset(within)) for gpu_instance, within in uuids.items()}
    device.placements = {
        key: device.placements.get(key) or _placement(query, gpu_instance) for gpu_instance, key in keys.items()
    }
    placed: list[Instance] = []
    for instance in instances:
        found = device.placements[keys[instance.gpu_instance]]
        if isinstance(found, tuple):
            placed.append(replace(instance, placement_start=found[0], placement_size=found[1]))
        else:
            placed.append(instance)
            query.absent.update(dict.fromkeys(("placement_start", "placement_size"), found))
    return tuple(placed)


def _placement(query: DeviceQuery, gpu_instance: int) -> tuple[int, int] | Reason:
    """First memory slice of a GPU instance and number of its slices, or why NVML refuses. Raises as `optional`."""
    library = query.library
    expected_code = library.codes.invalid_argument
    try:
        handle = query.required("nvmlDeviceGetGpuInstanceById", gpu_instance, expected_code=expected_code)
        info = library.call(
            "nvmlGpuInstanceGetInfo",
            handle,
            gpu=query.gpu,
            device=library.device(query.gpu),
            expected_code=expected_code,
        )
    except DeviceError as error:
        query.record_failure((), error)
        return error.reason
    return info.placement.start, info.placement.size


def _profile(device: MigQuery) -> str:
    """Profile as nvidia-smi names it, such as "1c.3g.20gb": from the device name, else from its slices."""
    _, _, profile = to_text(device.optional("nvmlDeviceGetName")).partition(" MIG ")
    if profile:
        return profile
    slices = device.optional("nvmlDeviceGetAttributes_v2")
    if slices is None:
        return ""
    compute, whole = slices.computeInstanceSliceCount, slices.gpuInstanceSliceCount
    part = f"{compute}c." if compute < whole else ""
    return f"{part}{whole}g.{round(slices.memorySizeMB / 1024)}gb"
