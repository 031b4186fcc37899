"""The double itself through the real pynvml, including NVML's surprises."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest
from tests.conftest import Eventually
from tests.nvml import layout
from tests.nvml.dialect import Dialect
from tests.nvml.double import Double
from tests.nvml.packing import UNLOADED, Loading, state
from tests.nvml.packing_fields import ALL_LINKS
from tests.nvml.profiles import PROFILES, START
from tests.nvml.scripted import ScriptedGpu, ScriptedHost

from foreshock_exporter.model.device import UtilizationSample
from foreshock_exporter.script.playback import ScriptedXid

NOW = START + 20.0
H100 = PROFILES["h100"].at(NOW).gpus[0]
OTHER = replace(H100, identity=replace(H100.identity, uuid="GPU-2"))


def host(*gpus: ScriptedGpu, xids: tuple[ScriptedXid, ...] = ()) -> ScriptedHost:
    return ScriptedHost(NOW, gpus, xids)


def code_of(nvml: ModuleType, call: Callable[[], object]) -> int:
    with pytest.raises(nvml.NVMLError) as raised:
        call()
    return int(raised.value.value)


@pytest.fixture
def opened(nvml: ModuleType, double: Double) -> ModuleType:
    """pynvml, open, with one H100."""
    double.show(host(H100))
    nvml.nvmlInit()
    return nvml


def test_a_process_finds_the_library_by_its_name(double: Double) -> None:
    double.show(host(H100))
    code = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=double.environment(os.environ), capture_output=True, text=True, check=False
    )
    assert run.stdout == "NVIDIA H100 80GB HBM3\n", run.stderr


def test_python_and_c_agree_on_the_layout(double: Double, opened: ModuleType) -> None:
    """A state written for another layout ends the process that maps it, so a test process must be another one."""
    assert opened.nvmlDeviceGetCount() == 1
    with double.path.open("r+b") as file:
        file.write(bytes(ctypes.c_uint32(ctypes.sizeof(layout.State) - 4)))
    run = subprocess.run(
        [sys.executable, "-c", "import pynvml; pynvml.nvmlInit()"],
        env=double.environment(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode < 0
    assert "another layout" in run.stderr


def test_readings_come_in_nvmls_units(opened: ModuleType) -> None:
    nvml, handle = opened, opened.nvmlDeviceGetHandleByIndex(0)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2)
    assert memory.total == memory.used + memory.free + memory.reserved == 81_559 * 2**20
    assert nvml.nvmlDeviceGetMemoryInfo(handle).used == memory.used + memory.reserved, "version 1 counts the reserve"
    assert nvml.nvmlDeviceGetPowerUsage(handle) == 612_345
    assert nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM) == 2619
    assert nvml.nvmlDeviceGetRemappedRows(handle) == (1, 2, 1, 0)
    assert nvml.nvmlDeviceGetTotalEccErrors(handle, 1, 0) == 1
    assert nvml.nvmlDeviceGetPciInfo(handle).busId == "00000000:1B:00.0"
    assert [nvml.nvmlDeviceGetNvLinkState(handle, link) for link in (16, 17)] == [1, 0]
    assert code_of(nvml, lambda: nvml.nvmlDeviceGetFanSpeed(handle)) == nvml.NVML_ERROR_NOT_SUPPORTED


def test_fields_have_a_return_code_and_a_type_each(opened: ModuleType) -> None:
    nvml = opened
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    energy, links, one, collectors = nvml.nvmlDeviceGetFieldValues(handle, [83, (138, ALL_LINKS), (138, 3), 202])
    assert (energy.valueType, energy.value.ullVal) == (nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, 400 * 20 * 1000)
    assert links.value.ullVal // 18 == one.value.ullVal == 10e9 * 20 // 1024
    assert collectors.nvmlReturn == nvml.NVML_ERROR_NOT_SUPPORTED


def test_samples_are_those_after_the_last_seen(opened: ModuleType, double: Double) -> None:
    nvml, handle = opened, opened.nvmlDeviceGetHandleByIndex(0)
    _, samples = nvml.nvmlDeviceGetSamples(handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, 0)
    times = [sample.timeStamp for sample in samples]
    assert len(times) == 60
    assert times == sorted(times)
    _, newer = nvml.nvmlDeviceGetSamples(handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, times[-3])
    assert [sample.timeStamp for sample in newer] == times[-2:]
    ask = nvml.nvmlDeviceGetSamples
    code = code_of(nvml, lambda: ask(handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, times[-1]))
    assert code == nvml.NVML_ERROR_NOT_FOUND
    assert set(double.since(0, "samples")) == {0, times[-3], times[-1]}


def test_process_utilization_is_the_mean_since_the_last_seen(opened: ModuleType, double: Double) -> None:
    """A window of a busy and an idle sampling period has half the share."""
    nvml = opened
    ends = [sample.timestamp_us for sample in H100.samples[-3:]]
    used = tuple(sample._replace(timestamp_us=ends[2], sm_ratio=0.5) for sample in H100.process_samples[:1])
    double.show(host(replace(H100, process_samples=used)))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    ask = nvml.nvmlDeviceGetProcessUtilization
    assert [(entry.pid, entry.timeStamp, entry.smUtil) for entry in ask(handle, ends[1])] == [(4001, ends[2], 50)]
    assert [(entry.pid, entry.timeStamp, entry.smUtil) for entry in ask(handle, ends[0])] == [(4001, ends[2], 25)]
    assert code_of(nvml, lambda: ask(handle, ends[2])) == nvml.NVML_ERROR_NOT_FOUND, "all were idle"


def test_drivers_that_always_answer_a_hundred_leave_garbage_behind_the_entries(
    nvml: ModuleType, double: Double
) -> None:
    double.dialects = (Dialect(quirks=layout.QUIRK_SIZE_100),)
    double.show(host(H100))
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    entries = nvml.nvmlDeviceGetProcessUtilization(handle, 0)
    assert {entry.pid for entry in entries} == {4001, 4002, 4711, 4712, 0}
    assert max(entry.smUtil for entry in entries) > 100


def test_pynvml_makes_an_error_of_success_where_a_driver_answers_so_for_all_idle(
    nvml: ModuleType, double: Double
) -> None:
    double.dialects = (Dialect(quirks=layout.QUIRK_EMPTY_SUCCEEDS),)
    double.show(host(replace(H100, process_samples=())))
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    assert code_of(nvml, lambda: nvml.nvmlDeviceGetProcessUtilization(handle, 0)) == nvml.NVML_SUCCESS


def test_a_list_may_grow_between_the_size_query_and_the_call(opened: ModuleType, double: Double) -> None:
    nvml, handle = opened, opened.nvmlDeviceGetHandleByIndex(0)
    double.race(0, 1)
    ask = nvml.nvmlDeviceGetProcessUtilization
    assert code_of(nvml, lambda: ask(handle, 0)) == nvml.NVML_ERROR_INSUFFICIENT_SIZE
    assert len(ask(handle, 0)) == 2


def test_processes_are_listed_by_kind_and_memory_may_be_unknown(opened: ModuleType, double: Double) -> None:
    nvml = opened
    double.show(host(replace(H100, processes=(H100.processes[0]._replace(mps=True), *H100.processes[1:]))))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    compute = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    assert [(process.pid, process.usedGpuMemory) for process in compute] == [(4001, 2**33), (4002, 2**31), (4003, None)]
    assert [process.pid for process in nvml.nvmlDeviceGetMPSComputeRunningProcesses(handle)] == [4001]
    assert nvml.nvmlDeviceGetGraphicsRunningProcesses(handle) == []


def test_driver_535_writes_wider_process_entries_under_the_same_name(nvml: ModuleType, double: Double) -> None:
    double.dialects = (Dialect(quirks=layout.QUIRK_WIDE_PROCESSES),)
    double.show(host(H100))
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    assert [p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)] != [4001, 4002, 4003]
    assert [p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses_v2(handle)] == [4001, 4002, 4003]


def test_mig_instances_lie_in_the_last_slots_and_share_the_memory_of_their_gpu_instance(
    nvml: ModuleType, double: Double
) -> None:
    double.show(PROFILES["a100-mig"].at(NOW))
    nvml.nvmlInit()
    parent = nvml.nvmlDeviceGetHandleByIndex(0)
    found, empty = [], set()
    for slot in range(nvml.nvmlDeviceGetMaxMigDeviceCount(parent)):
        try:
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, slot))
        except nvml.NVMLError as error:
            empty.add(error.value)
    assert empty == {nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_ERROR_INVALID_ARGUMENT}
    assert [nvml.nvmlDeviceGetUUID(handle) for handle in found] == ["MIG-a", "MIG-b", "MIG-c"]
    assert nvml.nvmlDeviceGetName(found[2]) == "NVIDIA A100-SXM4-80GB MIG 2g.20gb"
    first, second = (nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2) for handle in found[:2])
    assert (first.used, first.total) == (second.used, second.total) != (0, 0)
    assert [p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(found[1])] == [4002]
    for call in (nvml.nvmlDeviceGetUtilizationRates, nvml.nvmlDeviceGetRemappedRows):
        assert code_of(nvml, lambda call=call: call(parent)) == nvml.NVML_ERROR_NOT_SUPPORTED  # type: ignore[misc] # a default


def test_a_lost_gpu_fails_alone_and_its_handle_is_void(nvml: ModuleType, double: Double) -> None:
    double.show(host(H100, OTHER))
    nvml.nvmlInit()
    lost, well = (nvml.nvmlDeviceGetHandleByIndex(index) for index in (0, 1))
    double.show(host(replace(H100, fault="lost"), OTHER))
    assert code_of(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(lost)) == nvml.NVML_ERROR_GPU_IS_LOST
    assert nvml.nvmlDeviceGetUUID(well) == "GPU-2"
    assert code_of(nvml, lambda: nvml.nvmlDeviceGetHandleByIndex(0)) == nvml.NVML_ERROR_GPU_IS_LOST
    assert nvml.nvmlDeviceGetCount() == 2, "it is still expected"
    double.show(host(H100, OTHER))
    assert nvml.nvmlDeviceGetPowerUsage(nvml.nvmlDeviceGetHandleByIndex(0)) > 0


def test_a_handle_that_failed_and_comes_again_is_noticed(double: Double, opened: ModuleType) -> None:
    nvml, handle = opened, opened.nvmlDeviceGetHandleByIndex(0)
    double.show(host(replace(H100, fault="lost")))
    for _ in range(2):
        code_of(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    assert double.misused() == "nvmlDeviceGetPowerUsage"
    assert double.journal().misused == 1
    double.forgive()


def test_a_handle_of_an_earlier_opening_is_noticed(double: Double, opened: ModuleType) -> None:
    nvml, handle = opened, opened.nvmlDeviceGetHandleByIndex(0)
    nvml.nvmlShutdown()
    assert code_of(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle)) == nvml.NVML_ERROR_UNINITIALIZED
    nvml.nvmlInit()
    assert code_of(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle)) == nvml.NVML_ERROR_INVALID_ARGUMENT
    assert double.misused() == "nvmlDeviceGetPowerUsage"
    double.forgive()


def test_a_hung_gpu_blocks_its_callers_until_it_is_freed(
    nvml: ModuleType, double: Double, eventually: Eventually
) -> None:
    double.show(host(replace(H100, fault="hang"), OTHER))
    nvml.nvmlInit()
    answers: list[int] = []
    thread = threading.Thread(
        target=lambda: answers.append(nvml.nvmlDeviceGetPowerUsage(nvml.nvmlDeviceGetHandleByIndex(0)))
    )
    thread.start()
    eventually(lambda: double.blocked() == 1, "the call hangs")
    assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(1)) == "GPU-2"
    assert answers == []
    double.show(host(H100, OTHER))
    thread.join(30)
    assert answers == [612_345]
    assert double.blocked() == 0


def test_events_are_those_after_the_registration_one_a_call(opened: ModuleType, double: Double) -> None:
    nvml, handle = opened, opened.nvmlDeviceGetHandleByIndex(0)
    before = ScriptedXid(NOW - 1, 0, 13)
    double.show(host(H100, xids=(before,)))
    events = nvml.nvmlEventSetCreate()
    nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
    assert code_of(nvml, lambda: nvml.nvmlEventSetWait_v2(events, 0)) == nvml.NVML_ERROR_TIMEOUT
    double.show(host(H100, xids=(before, ScriptedXid(NOW, 0, 79), ScriptedXid(NOW, 0, 48))))
    seen = [nvml.nvmlEventSetWait_v2(events, 1000) for _ in range(2)]
    assert [event.eventData for event in seen] == [79, 48]
    assert nvml.nvmlDeviceGetUUID(seen[0].device) == "GPU-h100"
    assert code_of(nvml, lambda: nvml.nvmlEventSetWait_v2(events, 0)) == nvml.NVML_ERROR_TIMEOUT
    nvml.nvmlEventSetFree(events)


def test_a_driver_may_be_absent_go_away_and_come_back(nvml: ModuleType, double: Double) -> None:
    double.loading = UNLOADED
    double.show(host(H100))
    assert code_of(nvml, nvml.nvmlInit) == nvml.NVML_ERROR_DRIVER_NOT_LOADED
    double.loading = Loading()
    double.show(host(H100))
    nvml.nvmlInit()
    assert nvml.nvmlDeviceGetCount() == 1
    double.loading = Loading(generation=2)
    double.show(host(H100))
    assert code_of(nvml, nvml.nvmlDeviceGetCount) == nvml.NVML_ERROR_UNINITIALIZED, "opened under the former driver"
    nvml.nvmlShutdown()
    nvml.nvmlInit()
    assert nvml.nvmlDeviceGetCount() == 1


def test_a_late_gpu_takes_its_place_in_the_order_of_the_bus(nvml: ModuleType, double: Double) -> None:
    """Immediately, as nvml.h says of a running process, or after the next initialization."""
    late = replace(OTHER, fault="late")
    for once in (False, True):
        double.loading = Loading(enumerates_once=once)
        double.show(host(late, H100))
        nvml.nvmlInit()
        assert nvml.nvmlDeviceGetCount() == 1
        double.show(host(OTHER, H100))
        assert nvml.nvmlDeviceGetCount() == (1 if once else 2)
        nvml.nvmlShutdown()
        nvml.nvmlInit()
        uuids = [nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)) for index in (0, 1)]
        assert uuids == ["GPU-2", "GPU-h100"]
        nvml.nvmlShutdown()


def test_an_answer_never_mixes_two_states(opened: ModuleType, double: Double) -> None:
    """Every sample of a state has the state's own share; a reader meanwhile never sees two."""
    nvml, handle = opened, opened.nvmlDeviceGetHandleByIndex(0)
    states = [
        state(host(replace(H100, samples=tuple(UtilizationSample(s.timestamp_us, ratio) for s in H100.samples))))
        for ratio in (0.25, 0.75)
    ]
    double.write(states[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for each in states:
                double.write(each)

    writer = threading.Thread(target=write)
    writer.start()
    seen: set[frozenset[int]] = set()
    reads = 0
    while reads < 300 or len(seen) < 2:
        reads += 1
        _, samples = nvml.nvmlDeviceGetSamples(handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, 0)
        seen.add(frozenset(sample.sampleValue.uiVal for sample in samples))
    stop.set()
    writer.join()
    assert seen == {frozenset({25}), frozenset({75})}


def test_a_host_with_more_gpus_than_there_is_room_for_is_refused() -> None:
    with pytest.raises(ValueError, match="17 GPUs"):
        state(host(*[H100] * 17))
