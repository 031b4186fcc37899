"""Device and process samples through ctypes."""

from __future__ import annotations

import ctypes
from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.exporter.nvml.conftest import Open
from tests.exporter.nvml.fake import CONSTANTS, FakeNvml

from foreshock_exporter.gpu.driver_samples import Cursor, new_intervals
from foreshock_exporter.model.device import DeviceError, ProcessUtilization, UtilizationSample
from foreshock_exporter.nvml.errors import ReturnCodes
from foreshock_exporter.nvml.samples import Capacity, device_samples, process_samples

NAMES = {"utilization": "nvmlDeviceGetSamples", "process_utilization": "nvmlDeviceGetProcessUtilization"}


@pytest.mark.parametrize(("value_type", "value"), [(0, 50.0), (1, 50), (2, 50), (3, 50), (4, 50), (5, 50), (6, 50)])
def test_samples_are_read_by_the_type_that_the_driver_gives(value_type: int, value: float, driver: Open) -> None:
    adapter, fake = driver(samples=[(20, value), (10, 100)], sample_type=value_type)
    assert adapter.utilization(0, 5) == [UtilizationSample(10, 1.0), UtilizationSample(20, 0.5)]
    assert fake.since == [5]


def test_known_samples_are_left_out_and_implausible_ones_are_kept(driver: Open) -> None:
    adapter, _ = driver(samples=[(0, 10), (5, 20), (6, 101), (8, 0)])
    assert adapter.utilization(0, 5) == [UtilizationSample(6, 1.01), UtilizationSample(8, 0.0)]


def test_process_samples_are_requested_by_time_without_unwritten_entries(driver: Open) -> None:
    adapter, fake = driver(
        used=[(10, 2_000, 60), (11, 2_100, 0), (0, 2_100, 50), (12, 0, 50), (13, 2_100, 101), (14, 1_000, 30)]
    )
    assert adapter.process_utilization(0, 1_000) == [
        ProcessUtilization(10, 2_000, 0.6), ProcessUtilization(11, 2_100, 0.0), ProcessUtilization(13, 2_100, 1.01),
    ]  # fmt: skip
    assert fake.since == [1_000]


@pytest.mark.parametrize("call", NAMES)
def test_not_found_means_that_there_is_nothing_new(call: str, driver: Open) -> None:
    adapter, _ = driver(codes={NAMES[call]: CONSTANTS["NVML_ERROR_NOT_FOUND"]})
    assert getattr(adapter, call)(0, 5) == []


def test_no_entries_mean_that_every_process_was_idle(driver: Open) -> None:
    assert driver()[0].process_utilization(0, 5) == []


@pytest.mark.parametrize("call", NAMES)
def test_a_driver_that_lacks_the_function_does_not_support_it(call: str, driver: Open) -> None:
    with pytest.raises(DeviceError) as raised:
        getattr(driver(missing={NAMES[call]})[0], call)(0, 0)
    assert raised.value.reason == "not_supported"


def test_more_samples_than_there_is_room_for_are_all_read(driver: Open) -> None:
    adapter, fake = driver(samples=[(at, 50) for at in range(1, 5001)])
    assert len(adapter.utilization(0, 0)) == 5000
    calls_before = fake.times("nvmlDeviceGetSamples")
    adapter.utilization(0, 0)
    assert fake.times("nvmlDeviceGetSamples") == calls_before + 1, "the room is kept"


def test_a_list_that_grew_is_read_again_with_a_larger_buffer(driver: Open) -> None:
    code = CONSTANTS["NVML_ERROR_INSUFFICIENT_SIZE"]
    adapter, fake = driver(used=[(pid, 9, 1) for pid in range(1, 401)], codes={NAMES["process_utilization"]: [code]})
    assert len(adapter.process_utilization(0, 5)) == 400
    fake.codes[NAMES["process_utilization"]] = code
    with pytest.raises(DeviceError):
        adapter.process_utilization(0, 5)


def test_unwritten_entries_are_not_those_of_the_previous_call(driver: Open) -> None:
    adapter, fake = driver(used=[(10, 9, 50), (11, 9, 50)], overstates=True)
    assert len(adapter.process_utilization(0, 0)) == 2
    fake.used = fake.used[:1]
    assert len(adapter.process_utilization(0, 0)) == 1
    assert fake.times(NAMES["process_utilization"]) == 2, "no more room was requested"


@given(st.binary(max_size=640), st.integers(0, 2**32 - 1), st.integers(0, 8), st.integers(0, 2**64 - 1))
def test_whatever_the_driver_writes_no_sample_is_implausible(raw: bytes, count: int, kind: int, since: int) -> None:
    """Ratios are 0 to 1, times are newer than requested, and device samples are sorted by time."""

    def write(array: Any, count_: Any) -> int:  # noqa: ANN401 - ctypes' objects
        array[: len(raw)] = raw
        count_._obj.value = min(count, count_._obj.value - 1)
        return 0

    def samples(_handle: object, _kind: object, _since: object, value_type: Any, count_: Any, array: Any) -> int:  # noqa: ANN401
        value_type._obj.value = kind
        return write(array, count_)

    codes = ReturnCodes(FakeNvml())
    _, of_device = device_samples(samples, None, since, Capacity(), codes)
    _, of_processes = process_samples(
        lambda _handle, array, count_, _since: write(array, count_), None, since, Capacity(), codes
    )
    assert all(sample.timestamp_us > since for sample in of_device)
    assert all(0.0 <= piece.ratio <= 1.0 for piece in new_intervals(Cursor(since), of_device).intervals)
    assert [sample.timestamp_us for sample in of_device] == sorted(sample.timestamp_us for sample in of_device)
    assert all(sample.timestamp_us > since and sample.pid > 0 for sample in of_processes)


def test_the_structures_are_those_of_the_binding() -> None:
    sample, process, value = (pynvml.c_nvmlSample_t, pynvml.c_nvmlProcessUtilizationSample_t, pynvml.c_nvmlFieldValue_t)
    assert [ctypes.sizeof(shape) for shape in (sample, process, value)] == [16, 32, 40]
    assert [part.offset for part in (process.pid, process.timeStamp, process.smUtil)] == [0, 8, 16]
    assert [part.offset for part in (value.scopeId, value.valueType, value.nvmlReturn, value.value)] == [4, 24, 28, 32]
