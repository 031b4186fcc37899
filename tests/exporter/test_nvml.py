"""The adapter over a module shaped like pynvml: units, what NVML really answers, and errors that stop here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest

from foreshock_exporter.device import DeviceError, GpuProcess, Identity, ProcessUtilization, Reading
from foreshock_exporter.nvml import RETRY_AFTER, NvmlDriver

CONSTANTS = {name: value for name, value in vars(pynvml).items() if name.startswith("NVML_") or name == "nvmlMemory_v2"}


class FakeError(Exception):
    """As pynvml.NVMLError: carries NVML's code."""

    def __init__(self, value: int) -> None:
        super().__init__(f"code {value}")
        self.value = value


def process(pid: int, memory: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)


def used(pid: int, time: int, percent: int) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, timeStamp=time, smUtil=percent)


@dataclass
class FakeNvml:
    """One H100. A test replaces answers by name; an answer that is an int in `errors` is raised as that code."""

    answers: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    NVMLError = FakeError

    def __post_init__(self) -> None:
        self.answers = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetUUID": "GPU-1",
            "nvmlDeviceGetName": b"NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetPciInfo": SimpleNamespace(busId="00000000:1B:00.0"),
            "nvmlSystemGetDriverVersion": "590.48.01",
            "nvmlSystemGetCudaDriverVersion_v2": 13010,
            "nvmlDeviceGetMigMode": [0, 0],
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=41),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=85_000, reserved=600, free=24_400, used=60_000),
            "nvmlDeviceGetPowerUsage": 512_345,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTotalEnergyConsumption": 1_234_567,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetComputeRunningProcesses": [process(10, 4000)],
            "nvmlDeviceGetGraphicsRunningProcesses": [],
            "nvmlDeviceGetMPSComputeRunningProcesses": [],
            "nvmlDeviceGetProcessUtilization": [],
            **self.answers,
        }

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as a module of functions and constants
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name not in self.answers:
            raise AttributeError(name)

        def function(*arguments: object) -> Any:  # noqa: ANN401 - as NVML's function
            self.calls.append((name, *arguments))
            if name in self.errors:
                raise FakeError(self.errors[name])
            answer = self.answers[name]
            return answer(*arguments) if callable(answer) else answer

        return function


@pytest.fixture
def driver() -> Callable[..., tuple[NvmlDriver, FakeNvml]]:
    """An open adapter over a fake with these answers, errors given by name of the constant without NVML_ERROR_."""

    def make(errors: dict[str, str] | None = None, **answers: object) -> tuple[NvmlDriver, FakeNvml]:
        codes = {name: CONSTANTS[f"NVML_ERROR_{error}"] for name, error in (errors or {}).items()}
        fake = FakeNvml(answers, codes)
        adapter = NvmlDriver(fake, timer=lambda: 0.0)
        adapter.count()
        return adapter, fake

    return make


Make = Callable[..., tuple[NvmlDriver, FakeNvml]]


def test_readings_are_in_base_units(driver: Make) -> None:
    assert driver()[0].read(0) == Reading(
        utilization_ratio=0.97, memory_busy_ratio=0.41, memory_used_bytes=60_000, memory_free_bytes=24_400,
        memory_reserved_bytes=600, memory_total_bytes=85_000, power_watts=512.345, power_limit_watts=700.0,
        energy_joules=1234.567, temperature_celsius=61.0,
    )  # fmt: skip


def test_identity_is_text_whatever_the_binding_returns(driver: Make) -> None:
    assert driver()[0].identity(0) == Identity(
        "0", "GPU-1", "NVIDIA H100 80GB HBM3", "00000000:1B:00.0", "590.48.01", "13.1", "time-slicing"
    )


@pytest.mark.parametrize(
    ("answers", "sharing"),
    [
        ({"nvmlDeviceGetMigMode": [1, 1]}, "mig"),
        ({"nvmlDeviceGetMPSComputeRunningProcesses": [process(3, 1)]}, "mps"),
        ({}, "time-slicing"),
    ],
)
def test_how_a_gpu_is_shared_is_told(answers: dict[str, object], sharing: str, driver: Make) -> None:
    assert driver(**answers)[0].identity(0).sharing == sharing


def test_a_reading_that_the_gpu_does_not_have_is_none_and_the_others_stay(driver: Make) -> None:
    reading = driver(
        {"nvmlDeviceGetTotalEnergyConsumption": "NOT_SUPPORTED", "nvmlDeviceGetUtilizationRates": "NOT_SUPPORTED",
         "nvmlDeviceGetTemperature": "UNKNOWN"},
    )[0].read(0)  # fmt: skip
    assert (reading.energy_joules, reading.utilization_ratio, reading.temperature_celsius) == (None, None, None)
    assert (reading.power_watts, reading.memory_used_bytes) == (512.345, 60_000)


def test_a_gpu_that_answers_nothing_is_an_error_and_not_an_empty_reading(driver: Make) -> None:
    names = [name for name in FakeNvml().answers if name.startswith("nvmlDeviceGet")]
    names.remove("nvmlDeviceGetCount")
    names.remove("nvmlDeviceGetHandleByIndex")
    with pytest.raises(DeviceError, match="answers none"):
        driver(dict.fromkeys(names, "UNKNOWN"))[0].read(0)


def test_an_old_driver_gives_memory_without_the_reserved_part(driver: Make) -> None:
    def memory(_handle: str, version: int | None = None) -> SimpleNamespace:
        if version is not None:
            raise FakeError(CONSTANTS["NVML_ERROR_FUNCTION_NOT_FOUND"])
        return SimpleNamespace(total=85_000, free=24_400, used=60_600)

    reading = driver(nvmlDeviceGetMemoryInfo=memory)[0].read(0)
    assert (reading.memory_used_bytes, reading.memory_reserved_bytes) == (60_600, None)


def test_garbage_utilisation_is_dropped(driver: Make) -> None:
    reading = driver(nvmlDeviceGetUtilizationRates=SimpleNamespace(gpu=808_334_905, memory=41))[0].read(0)
    assert (reading.utilization_ratio, reading.memory_busy_ratio) == (None, 0.41)


def test_processes_of_all_lists_come_once_each(driver: Make) -> None:
    adapter, _ = driver(
        nvmlDeviceGetComputeRunningProcesses=[process(10, 4000), process(11, None)],
        nvmlDeviceGetGraphicsRunningProcesses=[process(10, 4500)],
        nvmlDeviceGetMPSComputeRunningProcesses=[process(12, 70)],
    )
    assert adapter.processes(0) == (GpuProcess(10, 4500), GpuProcess(11, None), GpuProcess(12, 70))


def test_a_list_that_the_driver_lacks_leaves_the_others(driver: Make) -> None:
    adapter, _ = driver({"nvmlDeviceGetMPSComputeRunningProcesses": "FUNCTION_NOT_FOUND"})
    assert adapter.processes(0) == (GpuProcess(10, 4000),)


def test_process_time_is_asked_for_by_time_and_cleaned_of_garbage(driver: Make) -> None:
    adapter, fake = driver(
        nvmlDeviceGetProcessUtilization=[
            used(10, 2_000, 60), used(11, 2_100, 0), used(0, 2_100, 50), used(12, 0, 50), used(13, 2_100, 101),
            used(14, 1_000, 30),
        ]
    )  # fmt: skip
    assert adapter.process_utilization(0, 1_000) == (
        ProcessUtilization(10, 2_000, 0.6),
        ProcessUtilization(11, 2_100, 0.0),
    )
    assert fake.calls[-1] == ("nvmlDeviceGetProcessUtilization", "handle", 1_000)


@pytest.mark.parametrize("code", [pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND])
def test_not_found_and_error_zero_mean_that_every_process_was_idle(code: int, driver: Make) -> None:
    adapter, fake = driver()
    fake.errors["nvmlDeviceGetProcessUtilization"] = code
    assert adapter.process_utilization(0, 5) == ()


def test_a_list_that_grew_between_the_two_calls_is_asked_for_again(driver: Make) -> None:
    tries: list[int] = []

    def grows(_handle: str, since: int) -> list[SimpleNamespace]:
        tries.append(since)
        if len(tries) == 1:
            raise FakeError(CONSTANTS["NVML_ERROR_INSUFFICIENT_SIZE"])
        return [used(10, 9, 50)]

    assert driver(nvmlDeviceGetProcessUtilization=grows)[0].process_utilization(0, 5) == (
        ProcessUtilization(10, 9, 0.5),
    )
    adapter, _ = driver({"nvmlDeviceGetProcessUtilization": "INSUFFICIENT_SIZE"})
    with pytest.raises(DeviceError, match="keeps growing"):
        adapter.process_utilization(0, 5)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("GPU_IS_LOST", "lost"),
        ("GPU_NOT_FOUND", "lost"),
        ("TIMEOUT", "timeout"),
        ("NO_PERMISSION", "no_permission"),
        ("NOT_SUPPORTED", "not_supported"),
        ("UNKNOWN", "driver"),
    ],
)
def test_errors_become_reasons_fit_for_a_label(error: str, reason: str, driver: Make) -> None:
    adapter, _ = driver({"nvmlDeviceGetHandleByIndex": error})
    for call in (adapter.identity, adapter.read, adapter.processes, lambda gpu: adapter.process_utilization(gpu, 0)):
        with pytest.raises(DeviceError) as raised:
            call(0)
        assert raised.value.reason == reason


def test_a_gpu_lost_in_the_middle_of_a_reading_is_lost(driver: Make) -> None:
    with pytest.raises(DeviceError) as raised:
        driver({"nvmlDeviceGetPowerUsage": "GPU_IS_LOST"})[0].read(0)
    assert raised.value.reason == "lost"


def test_without_a_driver_there_are_no_gpus_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fake, clock = FakeNvml(errors={"nvmlInit": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}), [0.0]
    adapter = NvmlDriver(fake, timer=lambda: clock[0])
    for _ in range(100):
        assert adapter.count() == 0
        clock[0] += 1.0
    assert fake.calls.count(("nvmlInit",)) == 1 + 99 // RETRY_AFTER
    assert len(caplog.records) == 1
    assert "no NVIDIA driver" in caplog.text

    fake.errors.clear()
    clock[0] += RETRY_AFTER
    assert adapter.count() == 1
    assert caplog.records[-1].getMessage() == "NVML: works again"


def test_a_driver_that_was_unloaded_is_let_go_of_and_found_again() -> None:
    fake, clock = FakeNvml(), [0.0]
    adapter = NvmlDriver(fake, timer=lambda: clock[0])
    assert adapter.count() == 1
    fake.errors["nvmlDeviceGetHandleByIndex"] = pynvml.NVML_ERROR_UNINITIALIZED
    with pytest.raises(DeviceError):
        adapter.read(0)
    assert ("nvmlShutdown",) in fake.calls, "an open NVML keeps the driver from being unloaded"
    fake.errors.clear()
    clock[0] += RETRY_AFTER
    assert adapter.count() == 1


def test_closing_shuts_nvml_down_once(driver: Make) -> None:
    adapter, fake = driver()
    adapter.close()
    adapter.close()
    assert fake.calls.count(("nvmlShutdown",)) == 1


def test_the_real_binding_has_everything_that_the_adapter_calls(driver: Make) -> None:
    """The fake must not drift from nvidia-ml-py."""
    _, fake = driver()
    assert [name for name in fake.answers if not callable(getattr(pynvml, name, None))] == []


def test_the_real_binding_without_a_driver_gives_no_gpus(caplog: pytest.LogCaptureFixture) -> None:
    adapter = NvmlDriver(pynvml)
    count = adapter.count()
    assert count > 0 or "no NVIDIA driver" in caplog.text
    adapter.close()
