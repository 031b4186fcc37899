"""Collection of one GPU whose driver keeps samples: no burst is missed, and parts sum to the device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from foreshock_exporter.gpu import xids
from foreshock_exporter.gpu.collector import HEALTH_INTERVAL_SECONDS, GpuOptions
from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.gpu.sampler import Sampler
from foreshock_exporter.gpu.snapshot import GpuState
from foreshock_exporter.gpu.utilization import MAX_PROCESS_WAIT_SECONDS
from foreshock_exporter.model.device import (
    Activity,
    AerErrorType,
    Counters,
    DeviceError,
    Health,
    ProcessUtilization,
    Reason,
    UtilizationSample,
    Xid,
)
from foreshock_exporter.model.service import AttributedService

if TYPE_CHECKING:
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost

ONE, TWO = ServiceKey("shop", "one"), ServiceKey("shop", "two")
PERIOD_US = 166_667
Made = Callable[..., "ScriptedHost"]


def play(
    host: ScriptedHost,
    sampler: Sampler,
    seconds: float,
    busy: Callable[[float], float],
    shares: Callable[[float], dict[int, float]],
    every: float = 0.1,
) -> GpuState:
    """Collect the host's GPU while it is busy as given. An idle GPU keeps no samples, as in NVML."""
    gpu, end = host.gpus[0], host.time + seconds
    assert gpu.samples is not None
    assert gpu.process_samples is not None
    stamp = round(host.time * 1e6)
    while host.time < end - 1e-9:
        host.time += every
        while stamp + PERIOD_US <= round(host.time * 1e6):
            stamp += PERIOD_US
            at = stamp / 1e6 - PERIOD_US / 2e6
            gpu.utilization = busy(at)
            if busy(at) > 0.0:
                gpu.samples.append(UtilizationSample(stamp, busy(at)))
            gpu.process_samples.extend(ProcessUtilization(pid, stamp, share) for pid, share in shares(at).items())
        sampler.sample(host.time)
    return sampler.snapshot(lambda lane: True, {}).gpus[0]


@pytest.fixture
def host(scripted: Made, gpu: type[ScriptedGpu]) -> ScriptedHost:
    """A host with one GPU held by services one and two."""
    return scripted(gpu(utilization=0.0, samples=[], process_samples=[], memory={1: 1.0, 2: 1.0}))


@pytest.mark.parametrize("every", [0.1, 1.0, 5.0])
def test_a_burst_between_two_scrapes_is_in_the_counters(host: ScriptedHost, every: float) -> None:
    """300 ms of full use within 30 idle seconds, at any collection interval."""
    sampler = Sampler(host, host.resolve)
    play(host, sampler, 5.0, lambda at: 0.1, lambda at: {1: 0.1}, every)
    began = host.time + 10.0
    before = sampler.snapshot(lambda lane: True, {}).gpus[0]

    def burst(at: float) -> float:
        return 1.0 if began <= at < began + 0.3 else 0.0

    after = play(host, sampler, 30.0, burst, lambda at: {2: 1.0} if burst(at) else {}, every)
    assert after.totals.busy - before.totals.busy == pytest.approx(0.3, abs=0.17)
    assert after.totals.service_busy[TWO] == pytest.approx(0.3, abs=0.17)
    assert after.busy_histogram.counts[-1] - before.busy_histogram.counts[-1] == 2, (
        "two samples above 98% in the distribution"
    )


def test_contention_within_the_drivers_samples_is_counted(host: ScriptedHost) -> None:
    sampler = Sampler(host, host.resolve)
    state = play(host, sampler, 20.0, lambda at: 1.0, lambda at: {1: 0.25, 2: 0.75})
    assert state.totals.contended == pytest.approx(20.0, abs=0.5)
    assert state.totals.gpu_wait[ONE] == pytest.approx(0.75 * state.totals.contended)
    assert state.totals.gpu_wait_by[ONE, TWO] == pytest.approx(0.75 * state.totals.contended)


def test_processes_sampled_more_slowly_than_the_device_are_waited_for(host: ScriptedHost) -> None:
    """Otherwise most of a busy second would be unattributed."""
    sampler = Sampler(host, host.resolve)

    def slowly(at: float) -> dict[int, float]:
        return {1: 0.9} if at % 1.0 < PERIOD_US / 1e6 else {}

    state = play(host, sampler, 20.0, lambda at: 0.9, slowly)
    assert state.totals.service_busy[ONE] == pytest.approx(18.0, abs=1.2)
    assert state.totals.unattributed == pytest.approx(0.0, abs=0.2)


def test_a_busy_gpu_without_process_samples_is_unattributed(host: ScriptedHost) -> None:
    sampler = Sampler(host, host.resolve)
    state = play(host, sampler, 10.0, lambda at: 0.5, lambda at: {})
    assert state.totals.unattributed == pytest.approx(5.0, abs=MAX_PROCESS_WAIT_SECONDS)


def test_a_busy_gpu_that_keeps_no_samples_is_polled(host: ScriptedHost) -> None:
    """The utilization it reports each second is then all there is."""
    sampler = Sampler(host, host.resolve)
    for _ in range(200):
        host.time += 0.1
        host.gpus[0].utilization = 0.5
        sampler.sample(host.time)
    state = sampler.snapshot(lambda lane: True, {}).gpus[0]
    assert state.totals.busy == pytest.approx(0.5 * 20, abs=1.0)


def test_a_driver_clock_that_goes_back_does_not_silence_the_gpu(host: ScriptedHost) -> None:
    """Marks from the future would hide every later sample."""
    sampler = Sampler(host, host.resolve)
    play(host, sampler, 5.0, lambda at: 0.5, lambda at: {1: 0.5})
    gpu = host.gpus[0]
    assert gpu.samples is not None
    assert gpu.process_samples is not None
    gpu.samples[:] = [sample._replace(timestamp_us=sample.timestamp_us + 10**10) for sample in gpu.samples]
    gpu.process_samples[:] = [each._replace(timestamp_us=each.timestamp_us + 10**10) for each in gpu.process_samples]
    sampler.sample(host.time + 0.1)
    gpu.samples.clear()
    gpu.process_samples.clear()
    before = sampler.snapshot(lambda lane: True, {}).gpus[0].totals
    after = play(host, sampler, 90.0, lambda at: 0.5, lambda at: {1: 0.5}).totals
    assert after.service_busy[ONE] - before.service_busy[ONE] == pytest.approx(45.0, abs=3.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 1), st.lists(st.floats(0, 1), min_size=3, max_size=3)), max_size=30
    )
)
def test_parts_sum_to_the_device_and_no_counter_goes_back(steps: list[tuple[int, float, list[float]]]) -> None:
    """For any values and sample periods of device and processes."""
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost

    services = {1: AttributedService("shop", "one", "otel"), 2: AttributedService("shop", "two", "otel")}
    host = ScriptedHost([ScriptedGpu(samples=[], process_samples=[], memory={1: 1.0})], services=services)
    sampler = Sampler(host, host.resolve)
    before = None
    gpu = host.gpus[0]
    assert gpu.samples is not None
    assert gpu.process_samples is not None
    for pause, ratio, shares in steps:
        host.time += 0.1 + pause
        stamp = round(host.time * 1e6)
        gpu.utilization = ratio
        gpu.samples.append(UtilizationSample(stamp, ratio))
        gpu.process_samples.extend(ProcessUtilization(pid, stamp, share) for pid, share in enumerate(shares))
        sampler.sample(host.time)
        totals = sampler.snapshot(lambda lane: True, {}).gpus[0].totals
        assert totals.busy == pytest.approx(sum(totals.service_busy.values()) + totals.unattributed)
        if totals.busy - totals.unattributed > 1e-6:
            event("some time was a service's")
        assert before is None or (totals.busy >= before.busy and totals.contended >= before.contended)
        before = totals


def test_health_is_read_every_ten_seconds(host: ScriptedHost) -> None:
    sampler = Sampler(host, host.resolve)
    host.gpus[0].health = Health(pcie_link_width=16)
    sampler.sample(host.time)
    host.gpus[0].health = Health(pcie_link_width=4)
    widths = []
    for _ in range(int(HEALTH_INTERVAL_SECONDS)):
        host.time += 1.0
        sampler.sample(host.time)
        health = sampler.snapshot(lambda lane: True, {}).gpus[0].health
        widths.append(health.pcie_link_width if health else None)
    assert widths == [16] * 9 + [4]


def test_unreadable_counters_leave_the_rest_and_have_a_reason(host: ScriptedHost) -> None:
    host.gpus[0].counters = DeviceError("no_permission", "not for you")
    sampler = Sampler(host, host.resolve)
    sampler.sample(host.time)
    state = sampler.snapshot(lambda lane: True, {}).gpus[0]
    assert state.reading.power_watts == 300.0
    assert state.counters is not None
    assert state.counters.absent["energy_joules"] == "no_permission"
    host.gpus[0].counters = Counters(energy_joules=7.0)
    host.time += 1.0
    sampler.sample(host.time)
    after = sampler.snapshot(lambda lane: True, {}).gpus[0].counters
    assert after == Counters(energy_joules=7.0)


def test_errors_of_a_gpu_are_counted_by_number_also_after_it_is_lost(host: ScriptedHost) -> None:
    sampler = Sampler(host, host.resolve)
    sampler.sample(host.time)
    host.reported = [Xid("GPU-0", 79), Xid("GPU-0", 79), Xid("GPU-0", 31)]
    sampler.collect_xids(lambda: 1234.5, 0.0)
    host.gpus[0].broken = DeviceError("lost", "fell off the bus")
    host.time += 1.0
    sampler.sample(host.time)
    found = sampler.snapshot(lambda lane: True, {})
    assert not found.gpus
    assert [(xid.gpu, xid.xid, xid.times, xid.last) for xid in found.xids] == [
        ("0", "79", 2, 1234.5),
        ("0", "31", 1, 1234.5),
    ]


def test_pcie_errors_of_the_kernel_never_decrease(host: ScriptedHost) -> None:
    """They restart at 0 if the GPU is removed from the bus and found again."""
    counts = iter([{"correctable": 3.0}, {"correctable": 1.0}, {}])
    asked: list[str] = []

    def aer_errors(pci_bus_id: str) -> Mapping[AerErrorType, float]:
        asked.append(pci_bus_id)
        return cast("Mapping[AerErrorType, float]", next(counts))

    sampler = Sampler(host, host.resolve, options=GpuOptions(aer_errors=aer_errors))
    found = []
    for _ in range(3):
        sampler.sample(host.time)
        (state,) = sampler.snapshot(lambda lane: True, {}).gpus
        assert state.health is not None
        found.append(state.health.pcie_aer_errors)
        host.time += HEALTH_INTERVAL_SECONDS
    assert found == [{"correctable": 3.0}, {"correctable": 4.0}, {}]
    assert set(asked) == {"0000:00:00.0"}


def test_kinds_of_errors_are_bounded(host: ScriptedHost) -> None:
    sampler = Sampler(host, host.resolve)
    host.reported = [Xid("GPU-0", number) for number in range(200)]
    sampler.collect_xids(lambda: 1.0, 0.0)
    found = {xid.xid: xid.times for xid in sampler.snapshot(lambda lane: True, {}).xids}
    assert (len(found), found["other"], sum(found.values())) == (xids.MAX_XID_KINDS + 1, 200 - xids.MAX_XID_KINDS, 200)


def test_a_counter_of_32_bits_is_followed_at_every_pass(host: ScriptedHost) -> None:
    """At 20 GB/s it wraps five times a second."""
    sampler = Sampler(host, host.resolve)
    carried = 0.0
    for _ in range(51):
        host.gpus[0].counters = Counters(pcie_transmit_bytes=carried % 2.0**32, wraps={"pcie_transmit_bytes": 2.0**32})
        sampler.sample(host.time)
        host.time += 0.1
        carried += 2e9
    counters = sampler.snapshot(lambda lane: True, {}).gpus[0].counters
    assert counters is not None
    assert counters.pcie_transmit_bytes == carried - 2e9


@pytest.mark.parametrize("is_early", [False, True])
def test_samples_are_requested_about_as_often_as_the_driver_has_new_ones(
    is_early: bool, host: ScriptedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs more than a millisecond on some GPUs. None is lost, also after one that came early."""
    requests: list[int] = []
    answer = host.utilization

    def counted(gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        requests.append(since_us)
        return answer(gpu, since_us)

    monkeypatch.setattr(host, "utilization", counted)
    sampler, gpu = Sampler(host, host.resolve), host.gpus[0]
    play(host, sampler, 2.0, lambda at: 0.5, lambda at: {1: 0.5})
    if is_early:
        assert gpu.samples
        gpu.samples.append(UtilizationSample(gpu.samples[-1].timestamp_us + PERIOD_US // 10, 0.5))
    before = play(host, sampler, 2.0, lambda at: 0.5, lambda at: {1: 0.5}).totals
    requests.clear()
    after = play(host, sampler, 10.0, lambda at: 0.5, lambda at: {1: 0.5}).totals
    assert after.busy - before.busy == pytest.approx(5.0, abs=0.5 * PERIOD_US / 1e6)
    assert after.service_busy[ONE] - before.service_busy[ONE] == pytest.approx(5.0, abs=0.5 * PERIOD_US / 1e6)
    assert len(set(requests)) == pytest.approx(10e6 / PERIOD_US, abs=1), "each new sample is read alone"
    assert len(requests) <= 85, "of 100 passes"


@pytest.mark.parametrize(
    ("activities", "wide", "growth"),
    [
        pytest.param([None, 0.0, 5e9, 10e9], (), 10e9, id="from the activity once it has begun"),
        pytest.param([0.0, 5e9, None, 10e9], (), 10e9, id="missing while the activity begins again"),
        pytest.param([0.0, 5e9, "driver", 10e9], (), 10e9, id="missing while the activity fails"),
        pytest.param([0.0, 5e9, *["not_supported"] * 2], (), 5e9 + 1e9, id="from the counter without activity"),
        pytest.param(["not_supported"] * 4, (), 3e9, id="from the counter where there never was activity"),
        pytest.param([0.0, 5e9, 10e9, 15e9], (2, 3), 5e9 + 1e9, id="from the counter once it has 64 bits"),
        pytest.param([0.0, 5e9, 10e9, 15e9, 20e9], (0, 3, 4), 5e9 + 1e9, id="from the counter of 64 bits again"),
    ],
)
def test_pcie_bytes_of_32_bits_are_those_of_the_activity(
    activities: list[float | Reason | None], wide: Collection[int], growth: float, host: ScriptedHost
) -> None:
    """The counter, which wraps more often than it is read, grows by 1e9 a second, the activity by 5e9.

    In seconds that are `wide`, the counter has 64 bits, and a value that it never grew to.
    """
    sampler, gpu, bytes_sent = Sampler(host, host.resolve), host.gpus[0], list[float | None]()
    for second, sent in enumerate(activities):
        gpu.counters = Counters(pcie_transmit_bytes=second * 1e9, wraps={"pcie_transmit_bytes": 2.0**32})
        if second in wide:
            gpu.counters = Counters(pcie_transmit_bytes=5e15 + second * 1e9)
        if isinstance(sent, str):
            gpu.activity = Activity(absent={"pcie_transmit_bytes": sent})
        else:
            gpu.activity = None if sent is None else Activity(pcie_transmit_bytes=sent)
        sampler.sample(host.time)
        host.time += 1.0
        state = sampler.snapshot(lambda lane: True, {}).gpus[0]
        assert state.counters is not None
        bytes_sent.append(state.counters.pcie_transmit_bytes)
        gap = sent in (None, "driver") and second > 0
        assert (bytes_sent[-1] is None) == gap
        assert state.counters.absent.get("pcie_transmit_bytes") == ("driver" if gap else None)
        assert state.unlimited["pcie"] == ("driver" if gap else "not_supported")
    assert bytes_sent[0] is not None
    assert bytes_sent[-1] == bytes_sent[0] + growth


def test_services_that_ended_long_ago_get_no_unattributed_time(host: ScriptedHost) -> None:
    """A request from time 0 returns their old entries."""
    gpu = host.gpus[0]
    gpu.process_samples = [ProcessUtilization(pid, round((host.time - 60.0) * 1e6), 0.5) for pid in (1, 2)]
    sampler = Sampler(host, host.resolve)
    state = play(host, sampler, 150.0, lambda at: 1.0, lambda at: {})
    assert state.totals.service_busy == {ONE: 0.0, TWO: 0.0}
    assert state.totals.unattributed == pytest.approx(150.0, abs=3.0)
    assert state.totals.contended == 0.0


def test_samples_kept_during_an_outage_are_counted_afterward(host: ScriptedHost) -> None:
    sampler = Sampler(host, host.resolve)
    before = play(host, sampler, 10.0, lambda at: 1.0, lambda at: {1: 1.0}).totals
    gpu = host.gpus[0]
    gpu.broken = DeviceError("timeout", "no answer in time")
    sampler.sample(host.time + PERIOD_US / 1e6)
    assert sampler.snapshot(lambda lane: True, {}).gpus == ()
    gpu.broken = None
    after = play(host, sampler, 5.0, lambda at: 1.0, lambda at: {1: 1.0}).totals
    assert after.busy - before.busy == pytest.approx(5.0, abs=0.5)


@pytest.mark.parametrize("reason", ["no_permission", "driver", "not_found", "not_supported"])
def test_a_gpu_without_samples_is_polled(reason: Reason, host: ScriptedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(gpu: int, since_us: int) -> list[UtilizationSample]:  # noqa: ARG001 - as the driver has it
        raise DeviceError(reason, "not that one")

    monkeypatch.setattr(host, "utilization", refuse)
    host.gpus[0].utilization = 0.5
    sampler = Sampler(host, host.resolve)
    for _ in range(21):
        sampler.sample(host.time)
        host.time += 1.0
    state = sampler.snapshot(lambda lane: True, {}).gpus[0]
    assert (state.reading.power_watts, state.totals.busy) == (300.0, 10.0)


def test_garbage_of_processes_is_dropped_and_counted(host: ScriptedHost) -> None:
    sampler = Sampler(host, host.resolve)
    state = play(host, sampler, 5.0, lambda at: 0.5, lambda at: {1: 0.5, 2: 80.0})
    assert state.dropped["implausible"] > 20
    assert state.totals.service_busy[TWO] == 0.0
    assert state.totals.service_busy[ONE] == pytest.approx(2.5, abs=0.5)


def test_a_persistent_failure_is_reported_by_every_pass(host: ScriptedHost) -> None:
    """Not only by the one pass in ten that makes the call."""
    host.gpus[0].counters = DeviceError("driver", "unknown error")
    sampler = Sampler(host, host.resolve)
    failed = []
    for _ in range(25):
        sampler.sample(host.time)
        failed.append(sampler.collectors[0].failed)
        host.time += 0.1
    assert failed == [True] * 25
    host.gpus[0].counters = Counters()
    sampler.sample(host.time + 1.0)
    assert not sampler.collectors[0].failed
