"""The MIG devices of a GPU: compute instances, each within a GPU instance whose memory it shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foreshock_exporter.model.device import DeviceError, Instance
from foreshock_exporter.nvml.device_query import DeviceQuery, MigQuery
from foreshock_exporter.nvml.errors import is_fatal


def is_mig(asked: DeviceQuery) -> bool:
    """Whether the GPU is divided. Raises as `Asked.may`."""
    mode = asked.may("nvmlDeviceGetMigMode")
    return mode is not None and bool(mode[0] == asked.library.nvml.NVML_DEVICE_MIG_ENABLE)


def mig_devices(asked: DeviceQuery) -> Iterator[MigQuery]:
    """One after another, each to be asked before the next; none where the GPU is not divided.

    Indices have gaps: NOT_FOUND and INVALID_ARGUMENT are an empty slot.
    """
    if not is_mig(asked):
        return
    for slot in range(asked.may("nvmlDeviceGetMaxMigDeviceCount") or 0):
        handle = asked.may("nvmlDeviceGetMigDeviceHandleByIndex", slot, fine=asked.library.codes.invalid_argument)
        if handle is not None:
            yield MigQuery(asked, handle)


def mig_instances(asked: DeviceQuery) -> tuple[Instance, ...]:
    """The MIG devices; one that is taken away while it is asked is left out. Raises as `Asked.may`."""
    found: list[Instance] = []
    for device in mig_devices(asked):
        try:
            found.append(_instance(device))
        except DeviceError as error:
            if is_fatal(error):
                raise
    return tuple(found)


def memory_info(asked: DeviceQuery, of: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - pynvml's structure, or None
    """Memory in bytes. Version 2 tells reserved memory apart from used; drivers before R510 have only the first."""
    memory = asked.may("nvmlDeviceGetMemoryInfo", asked.library.nvml.nvmlMemory_v2)
    return memory if memory is not None else asked.may("nvmlDeviceGetMemoryInfo", of=of)


def to_text(value: str | bytes | None) -> str:
    """Text whatever the binding returns."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def scaled(value: float | None, per: float = 1.0) -> float | None:
    """In base units, from parts of which `per` are one; None stays None."""
    return None if value is None else value / per


def _instance(device: MigQuery) -> Instance:
    uuid = to_text(device.must("nvmlDeviceGetUUID"))
    gpu_instance = int(device.must("nvmlDeviceGetGpuInstanceId"))
    compute_instance = int(device.must("nvmlDeviceGetComputeInstanceId"))
    profile = _profile(device)
    memory = memory_info(device)
    return Instance(
        uuid=uuid,
        gpu_instance=gpu_instance,
        compute_instance=compute_instance,
        profile=profile,
        memory_used_bytes=scaled(getattr(memory, "used", None)),
        memory_total_bytes=scaled(getattr(memory, "total", None)),
    )


def _profile(device: MigQuery) -> str:
    """As nvidia-smi names it, "1c.3g.20gb": from "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", else from its slices."""
    _, _, profile = to_text(device.may("nvmlDeviceGetName")).partition(" MIG ")
    if profile:
        return profile
    slices = device.may("nvmlDeviceGetAttributes_v2")
    if slices is None:
        return ""
    compute, whole = slices.computeInstanceSliceCount, slices.gpuInstanceSliceCount
    part = f"{compute}c." if compute < whole else ""
    return f"{part}{whole}g.{round(slices.memorySizeMB / 1024)}gb"
