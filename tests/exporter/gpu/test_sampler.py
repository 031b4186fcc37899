"""Sampling of scripted GPUs: attribution, and isolation of failures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from foreshock_exporter.gpu.collector import GpuOptions
from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.gpu.sampler import Sampler
from foreshock_exporter.gpu.snapshot import GpuSnapshot
from foreshock_exporter.gpu.tenants import EXPIRE_AFTER_SECONDS, MAX_SERVICES, Holding
from foreshock_exporter.gpu.utilization import MAX_GAP_SECONDS
from foreshock_exporter.model.device import Counters, DeviceError, Identity
from foreshock_exporter.model.service import AttributedService

if TYPE_CHECKING:
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost

ONE, TWO = ServiceKey("shop", "one"), ServiceKey("shop", "two")


def advance(host: ScriptedHost, sampler: Sampler, *seconds: float) -> GpuSnapshot:
    """Sample after each of these steps; the state at the end."""
    for step in seconds:
        host.time += step
        sampler.sample(host.time)
    return sampler.snapshot(lambda lane: True, {})


def missing(snapshot: GpuSnapshot) -> dict[str, bool]:
    """Of every GPU ever seen, whether it no longer answers."""
    return {uuid: lost for uuid, (_, lost) in snapshot.lost.items()}


def test_time_and_memory_are_summed_by_service(scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu(utilization=1.0, shares={1: 0.2, 2: 0.5, 3: 0.2}, memory={1: 10.0, 2: 20.0, 3: 5.0}))
    host.services[3] = host.services[1]
    state = advance(host, Sampler(host, host.resolve), 1, 1, 3).gpus[0]
    assert state.totals.service_busy == {ONE: pytest.approx(1.6), TWO: pytest.approx(2.0)}
    assert state.totals.contended == 4.0
    assert state.holdings == {ONE: Holding(2, 15.0), TWO: Holding(1, 20.0)}


def test_the_first_sample_counts_nothing(scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu(shares={1: 0.9}, memory={1: None}))
    state = advance(host, Sampler(host, host.resolve), 1).gpus[0]
    assert (state.totals.busy, state.totals.service_busy) == (0.0, {ONE: 0.0})


def test_samples_are_requested_since_the_newest_one(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(shares={1: 0.9}))
    sampler = Sampler(host, host.resolve)
    advance(host, sampler, 1, 1)
    host.gpus[0].shares = {}
    advance(host, sampler, 1, 1)
    assert host.gpus[0].asked_since == [0, 1_001_000_000, 1_002_000_000, 1_002_000_000]


@pytest.mark.parametrize("step", [0.0, -5.0, MAX_GAP_SECONDS + 1])
def test_a_gap_or_a_clock_that_goes_back_is_not_integrated(
    step: float, scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(shares={1: 0.9}))
    assert advance(host, Sampler(host, host.resolve), 1, 1, step).gpus[0].totals.busy == 0.95


def test_one_lost_gpu_leaves_the_others_and_its_counters_go_on_when_it_returns(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(utilization=1.0), gpu(utilization=1.0))
    sampler = Sampler(host, host.resolve)
    advance(host, sampler, 1, 1)
    host.gpus[0].broken = DeviceError("lost", "GPU is lost")
    lost = advance(host, sampler, 1)
    assert (lost.expected, [state.identity.gpu for state in lost.gpus]) == (2, ["1"])
    assert missing(lost) == {"GPU-0": True, "GPU-1": False}
    assert lost.gpus[0].totals.busy == 2.0

    host.gpus[0].broken = None
    back = advance(host, sampler, 1, 1)
    assert missing(back) == {"GPU-0": False, "GPU-1": False}
    assert [state.totals.busy for state in back.gpus] == [2.0, 4.0], "the time while it was lost is not counted"


def test_gpus_stay_expected_when_the_driver_goes_away(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], caplog: pytest.LogCaptureFixture
) -> None:
    host = scripted(gpu(), gpu())
    sampler = Sampler(host, host.resolve)
    advance(host, sampler, 1)
    host.gpus.clear()
    gone = advance(host, sampler, 1, 1)
    assert (gone.expected, gone.gpus, set(missing(gone).values())) == (2, (), {True})
    assert [record.getMessage() for record in caplog.records if "nvidia-smi" in record.getMessage()]
    assert not sampler.count_gpus()


def test_a_driver_that_cannot_count_costs_no_gpu_that_answers(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(utilization=1.0), gpu())
    sampler = Sampler(host, host.resolve)
    advance(host, sampler, 1, 1)
    host.broken = DeviceError("driver", "unknown error")
    assert not sampler.sample(host.time + 1.0)
    assert [state.totals.busy for state in sampler.snapshot(lambda lane: True, {}).gpus] == [2.0, pytest.approx(1.9)]


def test_a_gpu_on_the_bus_that_never_answered_is_expected(
    scripted: Callable[..., ScriptedHost], caplog: pytest.LogCaptureFixture
) -> None:
    """A host that came up without its driver must not look healthy."""
    host = scripted()
    sampler = Sampler(host, host.resolve, options=GpuOptions(expected=lambda: 8))
    assert not sampler.sample(host.time)
    assert sampler.snapshot(lambda lane: True, {}).expected == 8
    assert "the host has 8" in caplog.text


def test_indices_that_move_take_no_gpus_counters_to_another(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is bound late may take the first index; the driver's next answers are of other GPUs than before."""
    one, two = gpu(counters=Counters(energy_joules=1e6)), gpu(counters=Counters(energy_joules=5.0))
    late = gpu(counters=Counters(energy_joules=1e9))
    host = scripted(one, two)
    names = {id(one): "GPU-A", id(two): "GPU-B", id(late): "GPU-C"}

    def identity(index: int) -> Identity:
        return Identity(str(index), names[id(host.gpus[index])], "H100", f"0000:{index}", "590.1", "13.0")

    monkeypatch.setattr(host, "identity", identity)
    sampler = Sampler(host, host.resolve)
    advance(host, sampler, 1, 0.1)
    host.gpus.insert(0, late)
    for _ in range(30):
        now = advance(host, sampler, 0.1)
        uuids = [state.identity.uuid for state in now.gpus]
        assert len(uuids) == len(set(uuids))
        joules = {state.identity.uuid: state.counters.energy_joules for state in now.gpus if state.counters}
        assert joules == {uuid: joules[uuid] for uuid in joules} | {
            uuid: {"GPU-A": 1e6, "GPU-B": 5.0, "GPU-C": 1e9}[uuid] for uuid in joules
        }
    assert uuids == ["GPU-C", "GPU-A", "GPU-B"]
    assert [state.identity.gpu for state in now.gpus] == ["0", "1", "2"]
    del host.gpus[1]
    left = advance(host, sampler, 1, 1)
    assert missing(left) == {"GPU-A": True, "GPU-B": False, "GPU-C": False}


def test_services_that_follow_one_another_all_get_their_time(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    """Short jobs leave before their series end; the one gone longest makes room for the next."""
    host = scripted(gpu(utilization=1.0))
    sampler = Sampler(host, host.resolve)
    host.services = {pid: AttributedService("", f"job-{pid}", "slurm") for pid in range(1, 3 * MAX_SERVICES)}
    advance(host, sampler, 1)
    for pid in host.services:
        host.gpus[0].shares = {pid: 1.0}
        state = advance(host, sampler, 1).gpus[0]
    assert state.totals.unattributed == pytest.approx(0.0, abs=1.1)
    assert len(state.totals.service_busy) == MAX_SERVICES
    assert set(state.totals.service_busy) == set(state.sources)


def test_a_failure_is_logged_once_and_so_is_its_end(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host = scripted(gpu())
    sampler = Sampler(host, host.resolve)
    host.gpus[0].broken = DeviceError("timeout", "no answer in time")
    advance(host, sampler, 1, 1, 1)
    host.gpus[0].broken = None
    advance(host, sampler, 1, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "GPU 0: no answer in time",
        "GPU 0 is GPU-0, H100, PCI 0000:00:00.0",
        "GPU 0: works again",
    ]


def test_processes_that_may_not_be_listed_leave_the_device_readings(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    denied = DeviceError("no_permission", "insufficient permissions")
    host = scripted(gpu(utilization=0.5, broken_processes=denied, broken_utilization=denied))
    sampler = Sampler(host, host.resolve)
    snapshot = advance(host, sampler, 1, 2)
    assert not sampler.collectors[0].failed, "a lack of permission lasts, and has its reason"
    assert snapshot.gpus[0].totals.unattributed == 1.0
    assert snapshot.gpus[0].absent == dict.fromkeys(
        [
            "gpu_service_memory_used_bytes", "gpu_service_processes", "gpu_service_busy_seconds_total",
            "gpu_contended_seconds_total", "gpu_service_wait_seconds_total",
            "gpu_service_wait_by_aggressor_seconds_total",
        ],
        "no_permission",
    )  # fmt: skip


def test_a_gpu_that_never_gives_process_time_is_no_failure(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(utilization=None, broken_utilization=DeviceError("not_supported", "not on MIG"), sharing="mig"))
    sampler = Sampler(host, host.resolve)
    snapshot = advance(host, sampler, 1, 1)
    assert not sampler.collectors[0].failed
    assert snapshot.gpus[0].absent["gpu_busy_seconds_total"] == "not_supported"
    assert snapshot.gpus[0].absent["gpu_contended_seconds_total"] == "mig"


def test_under_mps_stalled_time_is_absent_with_a_reason(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(utilization=1.0, shares={1: 0.5, 2: 0.5}, sharing="mps"))
    state = advance(host, Sampler(host, host.resolve), 1, 1).gpus[0]
    assert set(state.absent.values()) == {"mps"}
    assert (state.totals.contended, state.totals.service_busy[ONE]) == (0.0, 0.5)


def test_a_switch_to_mps_is_noticed_within_a_minute(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu())
    sampler = Sampler(host, host.resolve)
    assert advance(host, sampler, 1).gpus[0].identity.sharing == "time-slicing"
    host.gpus[0].sharing = "mps"
    assert advance(host, sampler, 60).gpus[0].identity.sharing == "mps"


def test_a_process_that_has_just_ended_keeps_its_service(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(utilization=0.5, shares={1: 0.5}, memory={1: 1.0}))
    sampler = Sampler(host, host.resolve)
    advance(host, sampler, 1)
    host.services.clear()
    host.gpus[0].memory = {}
    assert advance(host, sampler, 1).gpus[0].totals.service_busy == {ONE: 0.5}


def test_unknown_memory_of_a_process_is_not_summed_as_zero(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(memory={1: 10.0, 3: None}))
    host.services[3] = host.services[1]
    assert advance(host, Sampler(host, host.resolve), 1).gpus[0].holdings == {ONE: Holding(2, None)}


def test_one_service_found_in_two_ways_is_one_service(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host = scripted(gpu(utilization=1.0, shares={1: 0.5, 2: 0.5}))
    host.services[2] = AttributedService("shop", "one", "systemd")
    state = advance(host, Sampler(host, host.resolve), 1, 1).gpus[0]
    assert (state.sources, state.totals.contended) == ({ONE: "otel"}, 0.0)


def test_series_of_a_service_that_left_end(scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu(shares={1: 0.5, 2: 0.5}))
    sampler = Sampler(host, host.resolve)
    advance(host, sampler, 1, 1)
    host.gpus[0].shares = {2: 0.5}
    assert ONE in advance(host, sampler, EXPIRE_AFTER_SECONDS).gpus[0].totals.service_busy
    after = advance(host, sampler, 1).gpus[0]
    assert (set(after.totals.service_busy), set(after.sources)) == ({TWO}, {TWO})


def test_services_beyond_the_limit_become_unattributed_and_are_counted(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    many = MAX_SERVICES + 8
    host = scripted(gpu(utilization=1.0, shares=dict.fromkeys(range(1, many + 1), 1 / many)))
    host.services = {pid: AttributedService("", f"service-{pid}", "executable") for pid in range(1, many + 1)}
    state = advance(host, Sampler(host, host.resolve), 1, 1).gpus[0]
    assert (len(state.totals.service_busy), state.services_over_limit) == (MAX_SERVICES, 8)
    assert state.totals.unattributed == pytest.approx(8 / many)
