"""MIG devices and their processes."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest
from tests.exporter.nvml.conftest import Open
from tests.exporter.nvml.fake import CONSTANTS, FakeNvml, error, gpu_of, handle_of, process

from foreshock_exporter.model.device import DeviceError, GpuProcess, Instance
from foreshock_exporter.nvml import NvmlDriver

SLOTS = (0, 2, 3)
"""Of seven; NVML's indices have gaps."""
NAMES = {0: "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 2: "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", 3: "NVIDIA A100-SXM4-40GB"}


def slot_of(handle: Any) -> int | None:  # noqa: ANN401 - an opaque pointer
    """The slot of a MIG device; None for a whole GPU."""
    slot = gpu_of(handle) - 100
    return slot if slot >= 0 else None


@pytest.fixture
def divided(driver: Open) -> tuple[NvmlDriver, FakeNvml]:
    """An A100 with three MIG devices, of which the second and third share a GPU instance."""

    def device(_parent: object, slot: int) -> Any:  # noqa: ANN401 - an opaque pointer
        if slot not in SLOTS:
            raise error("NOT_FOUND" if slot % 2 else "INVALID_ARGUMENT")
        return handle_of(100 + slot)

    def by_slot(whole: object, slots: dict[int, Any]) -> Any:  # noqa: ANN401 - any answer
        return lambda handle, *_: whole if slot_of(handle) is None else slots[slot_of(handle) or 0]

    return driver(
        nvmlDeviceGetMigMode=[1, 1],
        nvmlDeviceGetMigDeviceHandleByIndex=device,
        nvmlDeviceGetUUID=by_slot("GPU-0", {slot: f"MIG-{slot}" for slot in SLOTS}),
        nvmlDeviceGetName=by_slot("NVIDIA A100-SXM4-40GB", NAMES),
        nvmlDeviceGetGpuInstanceId=by_slot(None, {0: 1, 2: 2, 3: 2}),
        nvmlDeviceGetComputeInstanceId=by_slot(None, {0: 0, 2: 0, 3: 1}),
        nvmlDeviceGetAttributes_v2=by_slot(
            None, {3: SimpleNamespace(computeInstanceSliceCount=2, gpuInstanceSliceCount=3, memorySizeMB=19_968)}
        ),
        nvmlDeviceGetMemoryInfo=by_slot(
            SimpleNamespace(used=9, free=1, total=40, reserved=2),
            {slot: SimpleNamespace(used=slot, free=1, total=20, reserved=2) for slot in SLOTS},
        ),
        nvmlDeviceGetComputeRunningProcesses_v3=by_slot(
            [process(99, 1)], {0: [process(10, 4000)], 2: [process(11, 30), process(10, 5)], 3: [process(12, None)]}
        ),
        errors={"nvmlDeviceGetUtilizationRates": "NOT_SUPPORTED"},
        codes={"nvmlDeviceGetSamples": CONSTANTS["NVML_ERROR_NOT_SUPPORTED"]},
    )


def test_mig_devices_have_their_instance_profile_and_memory(divided: tuple[NvmlDriver, FakeNvml]) -> None:
    adapter, _ = divided
    reading = adapter.read(0)
    assert reading.instances == (
        Instance("MIG-0", 1, 0, "3g.20gb", 0.0, 20.0),
        Instance("MIG-2", 2, 0, "1c.3g.20gb", 2.0, 20.0),
        Instance("MIG-3", 2, 1, "2c.3g.20gb", 3.0, 20.0),
    )
    assert (reading.utilization_ratio, reading.memory_used_bytes) == (None, 9.0)
    assert adapter.identity(0).sharing == "mig"


def test_a_divided_gpu_keeps_no_samples(divided: tuple[NvmlDriver, FakeNvml]) -> None:
    with pytest.raises(DeviceError) as raised:
        divided[0].utilization(0, 0)
    assert raised.value.reason == "not_supported"


def test_processes_of_a_divided_gpu_are_those_of_its_parts(divided: tuple[NvmlDriver, FakeNvml]) -> None:
    assert divided[0].processes(0).listed == (GpuProcess(10, 4005.0), GpuProcess(11, 30.0), GpuProcess(12, None))


def test_a_removed_mig_device_is_left_out_and_not_called_again(divided: tuple[NvmlDriver, FakeNvml]) -> None:
    adapter, fake = divided
    inner = fake.answers["nvmlDeviceGetComputeInstanceId"]

    def gone(handle: object) -> object:
        if slot_of(handle) == 2:
            raise error("UNKNOWN")
        return inner(handle)

    fake.answers["nvmlDeviceGetComputeInstanceId"] = gone
    assert [instance.uuid for instance in adapter.read(0).instances] == ["MIG-0", "MIG-3"]
    touched = [call for call in fake.calls if len(call) > 1 and isinstance(call[1], ctypes._Pointer)]
    assert [call[0] for call in touched if slot_of(call[1]) == 2][-1] == "nvmlDeviceGetComputeInstanceId"
    assert fake.times("nvmlDeviceGetHandleByIndex") == 1, "the GPU itself did not fail"


def test_a_mig_device_with_a_failed_handle_is_not_called_again(divided: tuple[NvmlDriver, FakeNvml]) -> None:
    adapter, fake = divided
    inner = fake.answers["nvmlDeviceGetMemoryInfo"]

    def fails(handle: object, *version: object) -> object:
        if slot_of(handle) == 2:
            raise error("UNKNOWN")
        return inner(handle, *version)

    fake.answers["nvmlDeviceGetMemoryInfo"] = fails
    instance = adapter.read(0).instances[1]
    assert (instance.profile, instance.memory_used_bytes) == ("1c.3g.20gb", None)
    memory_calls = [call for call in fake.calls if call[0] == "nvmlDeviceGetMemoryInfo" and slot_of(call[1]) == 2]
    assert len(memory_calls) == 1


def test_a_gpu_lost_during_a_query_is_reported_as_lost(divided: tuple[NvmlDriver, FakeNvml]) -> None:
    adapter, fake = divided
    fake.fail("nvmlDeviceGetGpuInstanceId", "GPU_IS_LOST")
    with pytest.raises(DeviceError) as raised:
        adapter.read(0)
    assert raised.value.reason == "lost"
