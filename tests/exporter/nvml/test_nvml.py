"""The NVML driver over a fake pynvml: units, fallbacks, and errors."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.exporter.nvml.conftest import Open
from tests.exporter.nvml.fake import FakeNvml, error, process

from foreshock_exporter.model.device import DeviceError, GpuProcess, Health, Identity, Processes, Reading
from foreshock_exporter.nvml import Library, NvmlDriver


def test_readings_are_in_base_units(driver: Open) -> None:
    assert driver(field_values={(82, 0): (1, 70)})[0].read(0) == Reading(
        utilization_ratio=0.97, memory_busy_ratio=0.41, memory_used_bytes=60_000, memory_free_bytes=24_400,
        memory_reserved_bytes=600, memory_total_bytes=85_000, power_watts=512.345, power_limit_watts=700.0,
        temperature_celsius={"gpu": 61.0, "memory": 70.0}, clock_hertz={"sm": 1.98e9, "memory": 2.619e9},
    )  # fmt: skip


IDENTITY = Identity(
    "0", "GPU-0", "NVIDIA H100 80GB HBM3", "00000000:1B:00.0", "590.48.01", "13.1", "time-slicing", "0"
)  # fmt: skip


def test_identity_is_text_whatever_the_binding_returns(driver: Open) -> None:
    assert driver()[0].identity(0) == IDENTITY


@pytest.mark.parametrize(
    ("function", "part"),
    [
        ("nvmlDeviceGetName", "model"),
        ("nvmlDeviceGetPciInfo", "pci_bus_id"),
        ("nvmlDeviceGetMinorNumber", "minor"),
        ("nvmlSystemGetDriverVersion", "driver_version"),
        ("nvmlSystemGetCudaDriverVersion_v2", "cuda_version"),
    ],
)
def test_a_part_of_the_identity_whose_call_failed_is_read_again(function: str, part: str, driver: Open) -> None:
    adapter, fake = driver({function: "UNKNOWN"})
    missing: dict[str, Any] = {part: ""}
    assert adapter.identity(0) == replace(IDENTITY, **missing)
    fake.errors.clear()
    assert adapter.identity(0) == IDENTITY


@pytest.mark.parametrize(
    ("answers", "sharing"),
    [
        ({"nvmlDeviceGetMigMode": [1, 1]}, "mig"),
        ({"nvmlDeviceGetMPSComputeRunningProcesses_v3": [process(3, 1)]}, "mps"),
        ({}, "time-slicing"),
    ],
)
def test_identity_has_the_sharing_mode(answers: dict[str, Any], sharing: str, driver: Open) -> None:
    assert driver(**answers)[0].identity(0).sharing == sharing


def test_a_reading_that_the_gpu_does_not_have_is_none_and_the_others_stay(driver: Open) -> None:
    reading = driver(
        {"nvmlDeviceGetEnforcedPowerLimit": "NOT_SUPPORTED", "nvmlDeviceGetUtilizationRates": "NO_PERMISSION",
         "nvmlDeviceGetTemperature": "UNKNOWN", "nvmlDeviceGetTemperatureV": "UNKNOWN"},
    )[0].read(0)  # fmt: skip
    assert (reading.power_limit_watts, reading.utilization_ratio, reading.temperature_celsius) == (None, None, {})
    assert (reading.power_watts, reading.memory_used_bytes) == (512.345, 60_000)
    assert reading.absent == {
        "utilization_ratio": "no_permission", "memory_busy_ratio": "no_permission", "temperature_celsius": "driver",
    }  # fmt: skip


def test_a_reading_without_a_function_in_the_binding_is_none(driver: Open) -> None:
    adapter, fake = driver()
    del fake.answers["nvmlDeviceGetEnforcedPowerLimit"]
    assert adapter.read(0).power_limit_watts is None


def test_a_gpu_that_answers_nothing_is_an_error_and_not_an_empty_reading(driver: Open) -> None:
    names = [name for name in FakeNvml().answers if name.startswith("nvmlDeviceGet")]
    names.remove("nvmlDeviceGetCount")
    names.remove("nvmlDeviceGetHandleByIndex")
    with pytest.raises(DeviceError, match="returns none"):
        driver(dict.fromkeys(names, "UNKNOWN"))[0].read(0)


def test_an_old_driver_gives_memory_without_the_reserved_part(driver: Open) -> None:
    def memory(_handle: object, version: int | None = None) -> SimpleNamespace:
        if version is not None:
            raise error("FUNCTION_NOT_FOUND")
        return SimpleNamespace(total=85_000, free=24_400, used=60_600)

    reading = driver(nvmlDeviceGetMemoryInfo=memory)[0].read(0)
    assert (reading.memory_used_bytes, reading.memory_reserved_bytes) == (60_600, None)


def test_temperature_falls_back_to_the_newer_function(driver: Open) -> None:
    reading = driver({"nvmlDeviceGetTemperature": "FUNCTION_NOT_FOUND"})[0].read(0)
    assert reading.temperature_celsius == {"gpu": 62.0}


def test_a_memory_temperature_of_0_means_no_sensor(driver: Open) -> None:
    assert driver(field_values={(82, 0): (1, 0)})[0].read(0).temperature_celsius == {"gpu": 61.0}


def test_garbage_utilization_is_dropped(driver: Open) -> None:
    reading = driver(nvmlDeviceGetUtilizationRates=SimpleNamespace(gpu=808_334_905, memory=41))[0].read(0)
    assert (reading.utilization_ratio, reading.memory_busy_ratio) == (None, 0.41)


def test_health_has_memory_errors_links_and_clocks(driver: Open) -> None:
    fields: Any = {(91, 0): (1, 3), (94, 0): (1, 7)}
    fields |= {
        (163, 0): (3, 5),
        (163, 1): (3, 6),
        (163, 2): (3, 0),
        (161, 0): (3, 1),
        (161, 1): (3, 0),
        (161, 2): (3, 0),
    }
    health = driver(field_values=fields, nvmlDeviceGetNvLinkState=lambda _handle, link: int(link != 1))[0].health(0)
    assert health == Health(
        clock_max_hertz={"sm": 1.99e9}, clock_application_hertz={"sm": 1.83e9},
        ecc_errors={"corrected": 5.0, "uncorrected": 1.0},
        remapped_rows={"corrected": 2.0, "uncorrected": 1.0}, row_remap_pending=True, row_remap_failed=False,
        nvlink_errors={"crc": 11.0, "replay": 1.0}, nvlink_links=3, nvlink_links_up=2, pcie_replays=7.0,
        pcie_link_width=8, pcie_link_width_max=16, pcie_link_generation=4, pcie_link_generation_max=5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "action"), [(0, "none"), (1, "gpu_reset"), (4, "drain_and_reset"), (7, "system_reboot"), (99, "other")]
)
def test_the_recovery_action_is_named(number: int, action: str, driver: Open) -> None:
    assert driver(field_values={(230, 0): (1, number)})[0].health(0).recovery_action == {action: 1.0}


def test_memory_errors_have_their_location_and_pages_their_retirement(driver: Open) -> None:
    """The driver has the fields of one generation, and SRAM by a call."""
    fields = {(11, 0): (3, 4), (12, 0): (3, 0), (17, 0): (3, 1), (29, 0): (1, 2), (30, 0): (1, 0), (31, 0): (1, 1)}
    health = driver(
        field_values=fields, nvmlDeviceGetMemoryErrorCounter=lambda _handle, kind, _life, where: 10 * where + kind
    )[0].health(0)
    assert health.ecc_location_errors == {
        ("dram", "corrected"): 4.0,
        ("dram", "uncorrected"): 0.0,
        ("cbu", "uncorrected"): 1.0,
        ("sram", "corrected"): 70.0,
        ("sram", "uncorrected"): 71.0,
    }
    assert (health.retired_pages, health.page_retirement_pending) == ({"corrected": 2.0, "uncorrected": 0.0}, True)


def test_health_of_a_gpu_without_ecc_and_nvlink_leaves_them_out(driver: Open) -> None:
    health = driver(
        {"nvmlDeviceGetTotalEccErrors": "NOT_SUPPORTED", "nvmlDeviceGetRemappedRows": "NOT_SUPPORTED",
         "nvmlDeviceGetNvLinkState": "NOT_SUPPORTED", "nvmlDeviceGetMaxPcieLinkWidth": "NO_PERMISSION"}
    )[0].health(0)  # fmt: skip
    assert (health.ecc_errors, health.remapped_rows, health.row_remap_pending) == ({}, {}, None)
    assert (health.nvlink_links, health.nvlink_links_up, health.nvlink_errors) == (None, None, {})
    assert health.pcie_replays == 3.0, "by a separate call where it is not a field"
    assert health.absent == {"pcie_link_width_max": "no_permission"}


def test_processes_of_all_lists_come_once_each(driver: Open) -> None:
    adapter, _ = driver(
        nvmlDeviceGetComputeRunningProcesses_v3=[process(10, 4000), process(11, None)],
        nvmlDeviceGetGraphicsRunningProcesses_v3=[process(10, 4500)],
        nvmlDeviceGetMPSComputeRunningProcesses_v3=[process(12, 70)],
    )
    listed = (GpuProcess(10, 4500), GpuProcess(11, None), GpuProcess(12, 70, is_mps_client=True))
    assert adapter.processes(0) == Processes(listed)


def test_a_list_that_the_driver_lacks_leaves_the_others(driver: Open) -> None:
    adapter, _ = driver(
        {"nvmlDeviceGetMPSComputeRunningProcesses_v3": "FUNCTION_NOT_FOUND",
         "nvmlDeviceGetMPSComputeRunningProcesses_v2": "FUNCTION_NOT_FOUND"}
    )  # fmt: skip
    assert adapter.processes(0) == Processes((GpuProcess(10, 4000),), mps_unknown="not_supported")


def test_processes_of_an_old_driver_come_from_the_older_list(driver: Open) -> None:
    assert driver({"nvmlDeviceGetComputeRunningProcesses_v3": "FUNCTION_NOT_FOUND"})[0].processes(0).listed == (
        GpuProcess(20, 4000),
    )


@pytest.mark.parametrize("garbage", [0, 0xFFFFFFFF])
def test_entries_of_another_size_are_read_from_the_older_list(garbage: int, driver: Open) -> None:
    """Drivers R535 before 535.98 wrote larger structures under the same name."""
    adapter, _ = driver(nvmlDeviceGetComputeRunningProcesses_v3=[process(10, 4000), process(garbage, 20)])
    assert adapter.processes(0).listed == (GpuProcess(20, 4000),)


def test_a_process_list_that_grows_is_read_again(driver: Open) -> None:
    tries: list[int] = []

    def grows(_handle: object) -> list[SimpleNamespace]:
        tries.append(1)
        if len(tries) == 1:
            raise error("INSUFFICIENT_SIZE")
        return [process(7, 1)]

    assert driver(nvmlDeviceGetComputeRunningProcesses_v3=grows)[0].processes(0).listed == (GpuProcess(7, 1),)
    with pytest.raises(DeviceError, match="grew during every read"):
        driver({"nvmlDeviceGetComputeRunningProcesses_v3": "INSUFFICIENT_SIZE"})[0].processes(0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("GPU_IS_LOST", "lost"),
        ("GPU_NOT_FOUND", "lost"),
        ("TIMEOUT", "timeout"),
        ("NO_PERMISSION", "no_permission"),
        ("NOT_SUPPORTED", "not_supported"),
        ("UNKNOWN", "driver"),
    ],
)
def test_errors_become_reasons_fit_for_a_label(code: str, reason: str, driver: Open) -> None:
    adapter, _ = driver({"nvmlDeviceGetHandleByIndex": code})
    for call in (
        adapter.identity, adapter.processes,
        lambda gpu: adapter.process_utilization(gpu, 0), lambda gpu: adapter.utilization(gpu, 0),
    ):  # fmt: skip
        with pytest.raises(DeviceError) as raised:
            call(0)
        assert raised.value.reason == reason


@pytest.mark.parametrize("name", ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetClockInfo"])
def test_a_gpu_lost_in_the_middle_of_a_reading_is_lost(name: str, driver: Open) -> None:
    with pytest.raises(DeviceError) as raised:
        driver({name: "GPU_IS_LOST"})[0].read(0)
    assert raised.value.reason == "lost"


def test_the_real_binding_has_everything_that_the_adapter_calls(driver: Open) -> None:
    """The fake must not drift from nvidia-ml-py."""
    _, fake = driver()
    assert [name for name in fake.answers if not callable(getattr(pynvml, name, None))] == []


def test_the_real_binding_without_a_driver_gives_no_gpus(caplog: pytest.LogCaptureFixture) -> None:
    adapter = NvmlDriver(Library(pynvml))
    count = adapter.count()
    assert count > 0 or "no NVIDIA driver" in caplog.text
    adapter.close()
