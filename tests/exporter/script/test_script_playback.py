"""Playback of device scripts: the state is a pure function of events and time."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.nvml.scripted import ScriptedGpu, played

from foreshock_exporter.model.device import ErrorType, LinkBytes, LinkError, Throttle
from foreshock_exporter.script.events import (
    SETTINGS,
    CountersRestart,
    Device,
    Errors,
    Event,
    FaultChange,
    Process,
    Remap,
    Set,
    Throttling,
    XidError,
)
from foreshock_exporter.script.lines import Header, Script
from foreshock_exporter.script.playback import MAX_PAST_EVENTS, MAX_XIDS, Playback
from foreshock_exporter.script.wave import Wave, scaled_to_one

if TYPE_CHECKING:
    from tests.exporter.script.conftest import Stage

START = 1_700_000_000.0
Play = Callable[..., "Stage"]

# --- scripts made at random -----------------------------------------------------------------------------------------


@st.composite
def waves(draw: st.DrawFn, highest: float = 1.0) -> Wave:
    """Within 0 and a bound at all times."""
    mean = draw(st.floats(0.0, highest))
    most = min(0.99 * mean, highest - mean)
    swing = draw(st.sampled_from([0.0, 0.3, -0.7, 1.0])) * most
    return Wave(mean, swing, draw(st.floats(0.1, 500.0))) if abs(swing) > 0.0 else Wave(mean)


def some(
    keys: Iterator[str] | tuple[str, ...], values: st.SearchStrategy[object]
) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from(tuple(keys)), values, min_size=1, max_size=3)


COUNTS = st.integers(1, 10**6)
RATES = tuple(name for name in SETTINGS if name.endswith("per_second"))
DEVICES = st.builds(
    Device,
    sample_period=st.sampled_from([1 / 6, 0.1, 1.0]),
    nvlinks=st.sampled_from([0, 4, 18]),
    idle_samples=st.booleans(),
    power_limit_watts=st.sampled_from([70.0, 700.0]),
)
PROCESSES = st.builds(
    Process,
    pid=st.integers(1, 5),
    service=st.sampled_from([("shop", "cart"), ("", "search"), None]),
    memory_bytes=st.sampled_from(["unknown", 1e9, None]),
    sm=st.none() | waves(),
    mps=st.sampled_from([None, True, False]),
)
ACTIONS = st.one_of(
    DEVICES,
    PROCESSES,
    st.builds(Process, pid=st.integers(1, 5), ends=st.just(True)),
    st.builds(Set, some(RATES, st.none() | waves(1e12))),
    st.builds(Set, some(("unattributed", "memory_busy_ratio"), st.none() | waves())),
    st.builds(Set, some(("power_watts", "temperature_celsius"), st.none() | waves(150.0))),
    st.builds(Throttling, some(get_args(Throttle), st.booleans())),
    st.builds(Errors, st.just("ecc"), some(get_args(ErrorType), COUNTS)),
    st.builds(Errors, st.just("nvlink_error"), some(get_args(LinkError), COUNTS)),
    st.builds(Errors, st.just("pcie_replay"), st.builds(lambda count: {"": count}, COUNTS)),
    st.builds(Remap, some(get_args(ErrorType), COUNTS)),
    st.builds(XidError, st.integers(1, 200)),
    st.builds(FaultChange, st.sampled_from(["hang", "lost", "late"])),
    st.just(FaultChange("")),
)


@st.composite
def scripts(draw: st.DrawFn, actions: st.SearchStrategy[object] = ACTIONS) -> Script:
    """Scripts with two GPUs; processes end only where they exist."""
    events = [Event(0.0, gpu, draw(DEVICES)) for gpu in (0, 1)]
    there: dict[int, set[int]] = {0: set(), 1: set()}
    at = 0.0
    for gpu, action in draw(st.lists(st.tuples(st.integers(0, 1), actions), max_size=12)):
        at += draw(st.sampled_from([0.0, 0.05, 1 / 6, 0.5, 3.0, 17.3]))
        if isinstance(action, Device):
            there[gpu].clear()
        if isinstance(action, Process):
            if action.ends and action.pid not in there[gpu]:
                continue
            (there[gpu].discard if action.ends else there[gpu].add)(action.pid)
        events.append(Event(at, gpu, action, draw(st.booleans())))  # type: ignore[arg-type] # one of the actions above
    loop = draw(st.none() | st.just(at + 1.0))
    return Script(Header("node-1", loop=loop), tuple(events))


TIMES = st.lists(st.floats(0.0, 200.0), min_size=1, max_size=12)


STATES = {"clock_max_hertz", "clock_application_hertz", "nvlink_links_up", "nvlink_bytes_per_second"}


def numbers(gpu: ScriptedGpu) -> dict[str, float]:
    """All counters of a GPU, each under a different name."""
    found: dict[str, float] = {}
    for record in (gpu.counters, gpu.health):
        for part in dataclasses.fields(record):
            value = getattr(record, part.name)
            if part.name in STATES or value is None or isinstance(value, int):
                continue
            for key, inner in value.items() if isinstance(value, Mapping) else [("", value)]:
                for number, each in enumerate(inner if isinstance(inner, LinkBytes) else (inner,)):
                    found[f"{part.name}.{key}.{number}"] = float(each)
    return found


# --- what always holds ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(scripts(), TIMES)
def test_counters_never_go_back(script: Script, times: list[float]) -> None:
    """Whatever happens; between two times that are a microsecond apart as well."""
    playback = Playback(script, START)
    asked = sorted([*times, *(time + 1e-6 for time in times)])

    for before, after in itertools.pairwise([played(playback, START + time).gpus for time in asked]):
        for gpu in (0, 1):
            earlier, later = numbers(before[gpu]), numbers(after[gpu])
            assert {name: later[name] for name in earlier if name in later and later[name] < earlier[name]} == {}


@settings(deadline=None)
@given(scripts(), TIMES, st.randoms(use_true_random=False))
def test_queries_have_no_side_effects(script: Script, times: list[float], order: random.Random) -> None:
    """A time has the same state after any other queries."""
    asked = Playback(script, START)
    shuffled = sorted(times, key=lambda _: order.random())
    states = {time: played(asked, START + time) for time in [*shuffled, *times]}

    for time, state in states.items():
        assert played(Playback(script, START), START + time) == state


@settings(deadline=None)
@given(scripts(), TIMES)
def test_events_that_come_one_by_one_give_what_a_file_gives(script: Script, times: list[float]) -> None:
    """In any order, if they arrive before their time."""
    whole = dataclasses.replace(script, header=Header("node-1"))
    playback = Playback(Script(whole.header, ()), START)
    for event in whole.events:
        playback.feed(event)

    for time in times:
        assert played(playback, START + time) == played(Playback(whole, START), START + time)


@settings(deadline=None)
@given(scripts(), st.floats(0.0, 100.0))
def test_shares_are_shares(script: Script, time: float) -> None:
    """Of each sampling period, the processes have no more than the GPU, and it no more than all; they end in order."""
    for gpu in played(Playback(script, START), START + time).gpus:
        busy = {sample.timestamp_us: sample.ratio for sample in gpu.samples}
        shares: dict[int, float] = {}
        for sample in gpu.process_samples:
            assert 0.0 < sample.sm_ratio <= 1.0
            shares[sample.timestamp_us] = shares.get(sample.timestamp_us, 0.0) + sample.sm_ratio

        assert sorted(busy) == list(busy)
        assert all(0.0 <= ratio <= 1.0 for ratio in busy.values())
        assert all(share <= busy[at] + 1e-9 for at, share in shares.items())
        assert all(at <= (START + time) * 1e6 + 1 for at in busy)


@given(st.dictionaries(st.integers(0, 4), waves(), max_size=5), st.floats(0.0, 1e6))
def test_waves_that_are_fitted_never_sum_to_more_than_one(wanted: dict[int, Wave], time: float) -> None:
    """None of them falls below 0; waves that fit are unchanged."""
    fit = scaled_to_one(wanted)

    assert sum(wave.at(time) for wave in fit.values()) <= 1.0 + 1e-9
    assert all(wave.at(time) >= 0.0 for wave in fit.values())
    if sum(wave.mean + abs(wave.swing) for wave in wanted.values()) <= 1.0:
        assert fit == wanted


@given(waves(1e12), st.floats(0.0, 1e6), st.floats(0.0, 100.0))
def test_the_integral_of_a_wave_is_that_of_its_parts(wave: Wave, begin: float, length: float) -> None:
    """Cut anywhere, the parts sum to the whole, and lie between the lowest and the highest value."""
    middle, end = begin + length / 3, begin + length
    whole = wave.integral(begin, end)

    assert wave.integral(begin, middle) + wave.integral(middle, end) == pytest.approx(
        whole, rel=1e-6, abs=wave.mean * 1e-6
    )
    lowest, highest = wave.mean - abs(wave.swing), wave.mean + abs(wave.swing)
    assert lowest * length - wave.mean * 1e-6 <= whole <= highest * length + wave.mean * 1e-6


# --- what single events do ------------------------------------------------------------------------------------------


def test_busy_time_is_the_time_that_processes_ran(play: Play) -> None:
    """A burst of 0.3 s shows in the samples with exactly its length, wherever their bounds are."""
    stage = play(
        '{"at": 5.05, "gpu": 0, "process": {"pid": 7, "sm": 1}}',
        '{"at": 5.35, "gpu": 0, "process": {"pid": 7, "ends": true}}',
    )
    (gpu,) = stage.at(8).gpus

    assert sum(sample.ratio for sample in gpu.samples) / 6 == pytest.approx(0.3, abs=1e-5)
    assert [sample.timestamp_us for sample in gpu.process_samples] == [
        stage.us(31 / 6),
        stage.us(32 / 6),
        stage.us(33 / 6),
    ]
    assert sum(sample.sm_ratio for sample in gpu.process_samples) / 6 == pytest.approx(0.3, abs=1e-5)


def test_samples_of_about_ten_seconds_are_kept(play: Play) -> None:
    """With the device's sample period; idle samples only if the device keeps them."""
    lines = [
        '{"gpu": 0, "device": {"sample_period": 0.5}}',
        '{"gpu": 1, "device": {"idle_samples": false}}',
        '{"at": 100, "gpu": 1, "process": {"pid": 7, "sm": 0.5}}',
    ]
    idle, busy = play(*lines, gpu=False).at(101.01).gpus

    assert (len(idle.samples), len(busy.samples)) == (20, 6)
    assert idle.samples[-1].timestamp_us - idle.samples[0].timestamp_us == 9_500_000


def test_shares_beyond_one_are_scaled_down(play: Play) -> None:
    """As on a real GPU: two processes that want it three times over have it in proportion."""
    stage = play(
        '{"gpu": 0, "process": {"pid": 7, "sm": 1}}',
        '{"gpu": 0, "process": {"pid": 8, "sm": 1}}',
        '{"gpu": 0, "set": {"unattributed": 1}}',
    )
    gpu = stage.at(1).gpus[0]

    assert {sample.pid: pytest.approx(sample.sm_ratio) for sample in gpu.process_samples} == {7: 1 / 3, 8: 1 / 3}
    assert gpu.reading.utilization_ratio == pytest.approx(1.0)


def test_values_without_a_setting_follow_from_the_load(play: Play) -> None:
    """Power, temperatures, and clocks; settings apply until they are reset."""
    stage = play(
        '{"at": 10, "gpu": 0, "process": {"pid": 7, "sm": 0.5}}',
        '{"at": 20, "gpu": 0, "set": {"power_watts": 100, "temperature_celsius": 90, "sm_clock_hertz": 1e9}}',
        '{"at": 30, "gpu": 0, "set": {"power_watts": null, "temperature_celsius": null, "sm_clock_hertz": null}}',
        '{"at": 30, "gpu": 0, "throttle": {"power": true}}',
    )
    shown = [stage.at(time).gpus[0].reading for time in (5, 15, 25, 35)]

    assert [reading.power_watts for reading in shown] == pytest.approx([70.0, 374.5, 100.0, 374.5])
    assert [reading.temperature_celsius["gpu"] for reading in shown] == pytest.approx([34.0, 55.0, 90.0, 55.0])
    assert [reading.clock_hertz["sm"] for reading in shown] == pytest.approx([345e6, 1.98e9, 1e9, 0.65 * 1.98e9])


def test_counters_are_integrals(play: Play) -> None:
    """Energy, bytes and throttled seconds, exact between events."""
    stage = play(
        '{"at": 10, "gpu": 0, "set": {"power_watts": 100, "nvlink_transmit_bytes_per_second": 1.8e9}}',
        '{"at": 10, "gpu": 0, "set": {"pcie_receive_bytes_per_second": {"mean": 1000, "swing": 500, "period": 4}}}',
        '{"at": 10, "gpu": 0, "throttle": {"thermal": true}}',
        '{"at": 12.5, "gpu": 0, "throttle": {"thermal": false}}',
        '{"at": 14, "gpu": 0, "set": {"nvlink_transmit_bytes_per_second": null}}',
    )
    counters = stage.at(18).gpus[0].counters

    assert counters.energy_joules == pytest.approx(10 * 70 + 8 * 100)
    assert counters.pcie_receive_bytes == pytest.approx(8000, abs=1)
    assert counters.throttled_seconds["thermal"] == pytest.approx(2.5)
    assert counters.nvlink_transmit_bytes == 4 * 1.8e9
    assert counters.nvlink_links[17] == LinkBytes(4 * 1e8, 0.0)


def test_a_gpu_off_the_bus_does_nothing(play: Play) -> None:
    """Its counters and processes wait; one whose driver hangs goes on."""
    stage = play(
        '{"gpu": 0, "set": {"power_watts": 100}}',
        '{"gpu": 0, "process": {"pid": 7, "sm": 0.5}}',
        '{"at": 10, "gpu": 0, "fault": "lost"}',
        '{"at": 20, "gpu": 0, "clear": true}',
        '{"at": 20, "gpu": 0, "fault": "hang"}',
    )
    energy = [stage.at(time).gpus[0].counters.energy_joules for time in (10, 20, 30)]

    assert energy == pytest.approx([1000.0, 1000.0, 2000.0])


def test_a_restart_resets_all_counters(play: Play) -> None:
    """As a reload of the driver. Another card starts at zero, the same card continues."""
    stage = play(
        '{"gpu": 0, "set": {"power_watts": 100}}',
        '{"at": 10, "gpu": 0, "ecc": {"corrected": 3}}',
        '{"at": 20, "gpu": 0, "restart": true}',
        '{"at": 30, "gpu": 0, "device": {}}',
        '{"at": 40, "gpu": 0, "device": {"uuid": "GPU-other"}}',
    )
    gpus = [stage.at(time).gpus[0] for time in (15, 25, 30, 40)]

    assert [gpu.counters.energy_joules for gpu in gpus] == pytest.approx([1500.0, 500.0, 1000.0, 0.0])
    assert [gpu.health.ecc_errors["corrected"] for gpu in gpus] == [3, 0, 0, 0]
    assert gpus[3].identity.uuid == "GPU-other"


def test_a_wrapping_counter_has_its_wrap_value(play: Play) -> None:
    """It starts again at zero there."""
    stage = play(
        '{"gpu": 0, "device": {"wraps": {"energy_joules": 1000}}}', '{"gpu": 0, "set": {"power_watts": 300}}', gpu=False
    )
    counters = stage.at(5).gpus[0].counters

    assert counters.energy_joules == pytest.approx(500.0)
    assert counters.wraps == {"energy_joules": 1000.0}


def test_a_loop_repeats_the_events_but_not_those_that_happen_once(play: Play) -> None:
    """Counters continue; a device that is described again loses its settings."""
    stage = play(
        '{"at": 2, "gpu": 0, "xid": 31, "once": true}',
        '{"at": 4, "gpu": 0, "xid": 79}',
        '{"at": 4, "gpu": 0, "fault": "lost"}',
        header='{"foreshock_device_script": 1, "loop": 10}',
    )
    host = stage.at(25)

    assert [(xid.time - stage.start, xid.xid) for xid in host.xids] == [(2, 31), (4, 79), (14, 79), (24, 79)]
    assert [stage.at(time).gpus[0].fault for time in (3, 5, 11, 15)] == ["", "lost", "", "lost"]
    assert host.gpus[0].counters.energy_joules == pytest.approx(12 * 70)


def test_sharing_follows_from_instances_and_processes(play: Play) -> None:
    """MIG hides the values that NVML hides; siblings of a GPU instance share memory."""
    instances = ", ".join(
        f'{{"uuid": "MIG-{number}", "gpu_instance": {number // 2}, "compute_instance": {number % 2}}}'
        for number in range(4)
    )
    stage = play(
        f'{{"gpu": 0, "device": {{"instances": [{instances}]}}}}',
        '{"gpu": 0, "process": {"pid": 7, "memory_bytes": 1e9, "instance": "MIG-0"}}',
        '{"gpu": 0, "process": {"pid": 8, "memory_bytes": 2e9, "instance": "MIG-1"}}',
        '{"gpu": 1, "device": {}}',
        '{"gpu": 1, "process": {"pid": 9, "mps": true}}',
        gpu=False,
    )
    mig, mps = stage.at(5).gpus

    assert (mig.identity.sharing, mps.identity.sharing) == ("mig", "mps")
    assert [instance.memory_used_bytes for instance in mig.reading.instances] == [3e9, 3e9, 0.0, 0.0]
    assert mig.refused == {"utilization", "process_utilization"}
    assert (mig.reading.utilization_ratio, mps.reading.utilization_ratio) == (None, 0.0)


def test_values_that_a_device_refuses_are_absent(play: Play) -> None:
    """Absent, not zero. A GPU without NVLinks has no link values."""
    stage = play(
        '{"gpu": 0, "device": {"refuses": ["energy_joules", "ecc_errors", "health"], "nvlinks": 0}}', gpu=False
    )
    (gpu,) = stage.at(5).gpus

    assert gpu.counters.energy_joules is None
    assert gpu.health.ecc_errors == {}
    assert gpu.refused == {"health"}
    assert (gpu.counters.nvlink_transmit_bytes, gpu.health.nvlink_links, gpu.health.nvlink_errors) == (None, None, {})
    assert gpu.counters.pcie_transmit_bytes == 0.0


def test_hosts_of_other_names_have_other_gpus(play: Play) -> None:
    """Where the script gives no UUIDs; each of its GPUs has a different one."""
    lines = ('{"gpu": 0, "device": {}}', '{"gpu": 1, "device": {}}')
    uuids = [
        gpu.identity.uuid
        for host in ("a", "b", "a")
        for gpu in play(*lines, gpu=False, header=f'{{"foreshock_device_script": 1, "host": "{host}"}}').at(0.0).gpus
    ]

    assert len(set(uuids)) == 4
    assert uuids[:2] == uuids[4:]


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_a_live_script_drops_old_events() -> None:
    """Their totals stay, and later times can still be queried."""
    playback = Playback(Script(Header(), ()), START)
    playback.feed(Event(0.0, 0, Device()))
    for number in range(3 * MAX_PAST_EVENTS):
        playback.feed(Event(number / 100, 0, XidError(13)))
        playback.state_at(START + number / 100)
    host = played(playback, START + 3 * MAX_PAST_EVENTS / 100)

    assert len(playback._events) < 2 * MAX_PAST_EVENTS
    assert (len(host.xids), host.xids_before) == (MAX_XIDS, 3 * MAX_PAST_EVENTS - MAX_XIDS)
    assert host.gpus[0].counters.energy_joules == pytest.approx(70 * 3 * MAX_PAST_EVENTS / 100)


def test_an_event_that_comes_late_counts_from_its_own_time() -> None:
    """Also after queries of later times."""
    playback = Playback(Script(Header(), (Event(0.0, 0, Device()), Event(20.0, 0, XidError(1)))), START)
    played(playback, START + 30)
    playback.feed(Event(10.0, 0, Set({"power_watts": Wave(170.0)})))

    assert played(playback, START + 30).gpus[0].counters.energy_joules == pytest.approx(10 * 70 + 20 * 170)


def test_a_script_that_loops_takes_no_more_events() -> None:
    """The error has the remedy."""
    playback = Playback(Script(Header(loop=10.0), (Event(0.0, 0, Device()),)), START)

    with pytest.raises(ValueError, match="leave loop out"):
        playback.feed(Event(5.0, 0, CountersRestart()))
