"""The driver of a device script, faults included."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from foreshock_exporter.model.device import DeviceError, GpuProcess, Xid
from foreshock_exporter.model.service import AttributedService

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.exporter.script.conftest import Stage

Play = Callable[..., "Stage"]
SHARED = (
    '{"gpu": 0, "process": {"pid": 7, "service": "shop/cart", "memory_bytes": 1e9, "sm": 0.3}}',
    '{"gpu": 0, "process": {"pid": 8, "sm": 0.6}}',
    '{"at": 2, "gpu": 0, "process": {"pid": 8, "sm": 0}}',
)


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(DeviceError) as error:
        call()
    return error.value.reason, str(error.value)


def test_samples_are_those_newer_than_the_last_seen(play: Play) -> None:
    """Nothing twice; before the first period is over there are none."""
    stage = play(*SHARED)

    assert stage.to(0.1).utilization(0, 0) == ()
    first = stage.to(1.0).utilization(0, 0)
    assert [sample.ratio for sample in first] == pytest.approx([0.9] * 6)
    assert stage.driver.utilization(0, first[-1].timestamp_us) == ()
    assert [sample.timestamp_us for sample in stage.to(1.17).utilization(0, first[-1].timestamp_us)] == [
        stage.us(7 / 6)
    ]


def test_process_utilization_is_the_mean_since_the_last_seen(play: Play) -> None:
    """Of each PID that ran, with the newest time; 0 requests all samples; empty if all were idle."""
    stage = play(*SHARED, '{"at": 3, "gpu": 0, "process": {"pid": 7, "sm": 0}}')

    def query_in_steps(since: float) -> dict[int, tuple[float, int]]:
        found = stage.driver.process_utilization(0, stage.us(since) if since else 0)
        return {entry.pid: (round(entry.sm_ratio, 9), entry.timestamp_us) for entry in found}

    stage.to(2.5)
    assert query_in_steps(1.5) == {7: (0.3, stage.us(2.5)), 8: (0.3, stage.us(2.5))}
    assert query_in_steps(2.0) == {7: (0.3, stage.us(2.5))}
    assert query_in_steps(0) == {7: (0.3, stage.us(2.5)), 8: (0.6 * 2 / 2.5, stage.us(2.5))}
    assert query_in_steps(2.5) == {}
    stage.to(4.0)
    assert query_in_steps(3.0) == {}


def test_queries_in_steps_sum_to_one_query(play: Play) -> None:
    """Means times durations sum to the same SM time for any query interval."""
    stage = play('{"gpu": 0, "process": {"pid": 7, "sm": {"mean": 0.4, "swing": 0.3, "period": 3}}}')

    def sm_seconds(step: float) -> float:
        total, since, time = 0.0, stage.us(0), 0.0
        while time < 9.0:
            time += step
            for entry in stage.to(min(time, 9.0)).process_utilization(0, since):
                total += entry.sm_ratio * (entry.timestamp_us - since) / 1e6
                since = entry.timestamp_us
        return total

    assert sm_seconds(0.1) == pytest.approx(sm_seconds(1.0)) == pytest.approx(sm_seconds(9.0)) == pytest.approx(3.6)


def test_processes_and_their_services_are_reported(play: Play) -> None:
    """A process without a service has none; an ended process is gone."""
    stage = play(*SHARED, '{"at": 5, "gpu": 0, "process": {"pid": 7, "ends": true}}')

    assert stage.to(1).processes(0).listed == (GpuProcess(7, 1e9), GpuProcess(8, None))
    assert stage.resolver(7) == AttributedService("shop", "cart", "simulated")
    assert stage.resolver(8) is None
    assert stage.to(6).processes(0).listed == (GpuProcess(8, None),)
    assert stage.resolver(7) is None


def test_a_lost_gpu_is_lost_until_it_is_cleared_and_the_others_answer(play: Play) -> None:
    """It still counts."""
    stage = play(
        '{"gpu": 1, "device": {}}', '{"at": 5, "gpu": 0, "fault": "lost"}', '{"at": 9, "gpu": 0, "clear": true}'
    )

    assert stage.to(6).count() == 2
    assert refusal(lambda: stage.driver.identity(0)) == ("lost", "the device script says that GPU 0 fell off the bus")
    assert stage.driver.identity(1).gpu == "1"
    assert stage.to(9).identity(0).gpu == "0"


def test_a_late_gpu_is_not_counted_until_it_comes(play: Play) -> None:
    """Nor is one that was never described."""
    stage = play('{"gpu": 1, "device": {}}', '{"gpu": 1, "fault": "late"}', '{"at": 9, "gpu": 1, "clear": true}')

    assert stage.to(1).count() == 1
    assert refusal(lambda: stage.driver.read(1))[0] == "not_found"
    assert stage.to(9).count() == 2
    assert stage.driver.read(1).power_watts == 70.0
    assert refusal(lambda: stage.driver.read(2))[0] == "not_found"


def test_refused_calls_are_not_supported(play: Play) -> None:
    """Each call separately."""
    calls = ["utilization", "process_utilization", "read", "counters", "health", "processes"]
    lines = [f'{{"gpu": {gpu}, "device": {{"refuses": ["{call}"]}}}}' for gpu, call in enumerate(calls)]
    driver = play(*lines, gpu=False).to(1)

    for gpu, refused in enumerate(calls):
        for call in calls:
            arguments = (gpu, 0) if "utilization" in call else (gpu,)
            if call == refused:
                assert refusal(lambda: getattr(driver, call)(*arguments))[0] == "not_supported"  # noqa: B023 - called at once
            else:
                getattr(driver, call)(*arguments)


def test_activity_follows_the_load_unless_the_script_sets_it(play: Play) -> None:
    """Integrals over time: SMs work for 75% of the busy time, then a setting of 10% takes its place."""
    stage = play(*SHARED, '{"at": 2, "gpu": 0, "set": {"sm_active_ratio": 0.1, "context_switch_ratio": 0.2}}')

    before = stage.to(2.0).activity(0, ())
    assert (before.sm_seconds, before.engine_seconds["graphics"]) == pytest.approx((0.75 * 0.9 * 2, 0.9 * 2))
    after = stage.to(5.0).activity(0, ())
    assert after.sm_seconds == pytest.approx(0.75 * 0.9 * 2 + 0.1 * 3)
    assert after.context_switch_seconds == pytest.approx(0.2 * 3)
    assert after.tensor_seconds == after.pipe_seconds["tensor_hmma"] == pytest.approx(0.4 * (0.9 * 2 + 0.3 * 3))


def test_activity_of_a_gpu_instance_is_that_of_its_processes_as_a_share_of_its_slices(play: Play) -> None:
    """3 of 7 slices: a process with 30% of the GPU keeps 70% of its instance busy."""
    stage = play(
        '{"gpu": 0, "device": {"instances": [{"uuid": "MIG-a", "gpu_instance": 2, "profile": "1c.3g.40gb"}, '
        '{"uuid": "MIG-b", "gpu_instance": 2, "profile": "1c.3g.40gb"}, {"uuid": "MIG-c", "gpu_instance": 5}]}}',
        '{"gpu": 0, "process": {"pid": 7, "sm": 0.2, "instance": "MIG-a"}}',
        '{"gpu": 0, "process": {"pid": 8, "sm": 0.1, "instance": "MIG-b"}}',
    )
    busy = {at: part.engine_seconds["graphics"] for at, part in stage.to(10.0).activity(0, ()).instances.items()}
    assert busy == pytest.approx({2: 7.0, 5: 0.0})


def test_a_gpu_before_hopper_refuses_activity_and_another_one_value(play: Play) -> None:
    stage = play(
        '{"gpu": 0, "device": {"refuses": ["activity"]}}', '{"gpu": 1, "device": {"refuses": ["dram_seconds"]}}'
    )
    driver = stage.to(1.0)
    assert refusal(lambda: driver.activity(0, ()))[0] == "not_supported"
    assert driver.activity(1, ()).dram_seconds is None
    assert driver.activity(1, ()).sm_seconds == 0.0


def test_links_are_separate_only_on_request(play: Play) -> None:
    """18 of them would be 36 series."""
    rate = '{"gpu": 0, "set": {"nvlink_transmit_bytes_per_second": 1.8e9}}'

    assert play(rate).to(1).counters(0).nvlink_links == {}
    assert play(rate, per_link=True).to(1).counters(0).nvlink_links[3].transmit == 1e8


def test_a_hung_call_comes_back_when_the_script_clears_it(play: Play, eventually: Eventually) -> None:
    """Until then the other GPUs answer."""
    stage = play(
        '{"gpu": 1, "device": {}}', '{"at": 5, "gpu": 0, "fault": "hang"}', '{"at": 9, "gpu": 0, "clear": true}'
    )
    stage.to(6)
    answers: list[str] = []
    caller = threading.Thread(target=lambda: answers.append(stage.driver.identity(0).gpu))
    caller.start()

    assert stage.driver.identity(1).gpu == "1"
    caller.join(0.2)
    assert caller.is_alive()
    stage.to(9)
    eventually(lambda: answers == ["0"], "the call comes back")
    caller.join()


def test_a_hung_call_comes_back_when_the_driver_is_closed(play: Play) -> None:
    """With an error, so that a thread can end; `close` itself does not wait."""
    stage = play('{"gpu": 0, "fault": "hang"}')
    errors: list[str] = []
    caller = threading.Thread(target=lambda: errors.append(refusal(lambda: stage.driver.read(0))[1]))
    caller.start()
    stage.driver.close()
    caller.join(30)

    assert errors == ["the call to GPU 0 hung until the driver was closed"]


def test_xids_are_reported_once_in_order(play: Play) -> None:
    """Including those of a lost GPU, without those of a GPU that refuses them."""
    stage = play(
        '{"gpu": 1, "device": {"refuses": ["xids"], "uuid": "GPU-mute"}}',
        '{"at": 1, "gpu": 0, "xid": 79}',
        '{"at": 1, "gpu": 0, "fault": "lost"}',
        '{"at": 1, "gpu": 1, "xid": 13}',
        '{"at": 2, "gpu": 0, "xid": 154}',
    )
    uuid = stage.driver.identity(0).uuid

    assert stage.to(0.5).xids(0.0) == []
    assert stage.to(2).xids(0.0) == [Xid(uuid, 79), Xid(uuid, 154)]
    assert stage.to(3).xids(0.0) == []


def test_an_xid_is_waited_for(play: Play) -> None:
    """The call comes back with it before its time is over; or without, when the driver is closed."""
    stage = play('{"at": 1, "gpu": 0, "xid": 79}')
    found: list[list[int]] = []

    def listen() -> None:
        found.append([xid.xid for xid in stage.driver.xids(600.0)])

    for move in (lambda: stage.to(1), stage.driver.close):
        listener = threading.Thread(target=listen)
        listener.start()
        move()
        listener.join(30)

    assert found == [[79], []]


def test_a_host_without_xid_reports_raises_not_supported(play: Play) -> None:
    """Instead of an empty list."""
    stage = play('{"gpu": 0, "device": {"refuses": ["xids"]}}', gpu=False)

    assert refusal(lambda: stage.driver.xids(0.0))[0] == "not_supported"


def test_processes_share_a_scaled_gpu(play: Play) -> None:
    """Processes together never have more time than the device was busy."""
    stage = play('{"gpu": 0, "process": {"pid": 7, "sm": 0.9}}', '{"gpu": 0, "process": {"pid": 8, "sm": 0.9}}')

    shares = [entry.sm_ratio for entry in stage.to(2).process_utilization(0, stage.us(1))]
    assert shares == pytest.approx([0.5, 0.5])
    assert stage.driver.utilization(0, stage.us(1.9))[0].ratio == pytest.approx(1.0)
