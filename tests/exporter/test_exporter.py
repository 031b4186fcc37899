"""The exporter sampled at given times or in threads, and rendered."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from foreshock_exporter.exporter import STALE_AFTER_SECONDS, Exporter
from foreshock_exporter.host import metrics as host_metrics
from foreshock_exporter.model.device import ProcessUtilization, Reading, Xid
from foreshock_exporter.model.family import Families

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost, Series

ETH0 = (("eth0",), {"receive_bytes": 7.0, "up": 1.0})
Values = Callable[[bytes], "Series"]


def test_history_is_made_by_sampling_at_given_times(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Values
) -> None:
    host = scripted(gpu(utilization=1.0))
    exporter = host.exporter()
    for time in (0.0, 15.0, 30.0):
        exporter.sample(time)
    found = series(exporter.render())
    assert found["gpu_busy_seconds_total", frozenset({("gpu", "0"), ("uuid", "GPU-0")})] == 30.0


def test_a_scrape_calls_neither_driver_nor_host(scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]) -> None:
    host = scripted(gpu())
    exporter = host.exporter()
    exporter.sample()
    first = exporter.render()
    host.gpus[0].utilization = 0.1
    asked = list(host.gpus[0].asked_since)
    assert exporter.render() == first
    assert host.gpus[0].asked_since == asked


def test_a_broken_host_reader_costs_only_its_own_metrics(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Values
) -> None:
    host, answers = scripted(gpu()), [ETH0]

    def network() -> Families:
        if not answers:
            raise OSError("no such file: net/dev")
        return host_metrics.families(host_metrics.NETWORK, [answers.pop()])

    pressure = host_metrics.families(host_metrics.PRESSURE, [((), {"cpu some": 2.5})])
    exporter = Exporter(
        host, host.resolve, host_id="1", host_name="n", now=host.now,
        host={"network": network, "pressure": lambda: pressure},
    )  # fmt: skip
    exporter.sample()
    assert ("node_network_receive_bytes_total", frozenset({("device", "eth0")})) in series(exporter.render())
    exporter.sample()
    found = series(exporter.render())
    assert not [name for name, _ in found if name.startswith("node_network")]
    assert found["node_pressure_cpu_waiting_seconds_total", frozenset()] == 2.5
    assert {
        dict(labels)["collector"]: value
        for (name, labels), value in found.items()
        if name == "foreshock_exporter_collector_success"
    } == {"gpu": 1.0, "xid": 1.0, "network": 0.0, "pressure": 1.0}


def test_threads_sample_until_closed_and_then_let_go_of_the_driver(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], eventually: Eventually
) -> None:
    host = scripted(gpu())
    now = itertools.count(1.0).__next__
    exporter = Exporter(host, host.resolve, host_id="1", host_name="n", now=now)
    assert not exporter.ready()
    exporter.start(0.01)
    eventually(lambda: len(host.gpus[0].asked_since) > 3, "several samples")
    assert exporter.ready()
    exporter.close(timeout=30.0)
    assert host.closed
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gpu")]


def test_an_exporter_starts_once(scripted: Callable[..., ScriptedHost]) -> None:
    exporter = scripted().exporter()
    exporter.start(0.01)
    with pytest.raises(RuntimeError, match="has been started"):
        exporter.start(0.01)
    exporter.close(timeout=30.0)


def test_a_pass_that_meets_a_bug_is_logged_and_the_next_goes_on(
    scripted: Callable[..., ScriptedHost],
    gpu: type[ScriptedGpu],
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host, asked = scripted(gpu(memory={1: 1.0})), []

    def resolve(pid: int) -> None:
        asked.append(pid)
        if len(asked) == 1:
            raise ZeroDivisionError

    exporter = Exporter(host, resolve, host_id="1", host_name="n", now=itertools.count(1.0).__next__)
    exporter.start(0.01)
    eventually(lambda: len(asked) > 2, "further samples")
    exporter.close(timeout=30.0)
    assert [record.getMessage() for record in caplog.records] == ["GPU 0: a pass failed: ZeroDivisionError()"]


def test_a_hung_driver_call_hides_the_gpus_but_not_the_host(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], eventually: Eventually, series: Values
) -> None:
    """The GPUs' last readings must not look alive, the scrape must answer, and closing must not wait for the call."""
    host, hang, timer = scripted(gpu(memory={1: 1.0})), threading.Event(), [0.0]
    hung = threading.Event()

    class Hanging:
        count, identity, processes, close = host.count, host.identity, host.processes, host.close
        utilization, counters, health, xids = host.utilization, host.counters, host.health, host.xids
        activity = host.activity

        def read(self, gpu: int) -> Reading:
            if hang.is_set():
                hung.set()
                hang_over.wait(60)
            return host.read(gpu)

        def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
            return host.process_utilization(gpu, since_us)

    hang_over = threading.Event()
    exporter = Exporter(
        Hanging(), host.resolve, host_id="1", host_name="n", now=itertools.count(1.0).__next__,
        host={"network": lambda: host_metrics.families(host_metrics.NETWORK, [ETH0])}, timer=lambda: timer[0],
    )  # fmt: skip
    exporter.start(0.01)
    eventually(exporter.ready, "the first sample")
    hang.set()
    assert hung.wait(30)
    timer[0] += STALE_AFTER_SECONDS + 1
    eth0 = ("node_network_up", frozenset({("device", "eth0")}))
    eventually(lambda: eth0 in series(exporter.render()), "the network read again")
    found = series(exporter.render())
    assert not exporter.ready()
    assert found["gpus_expected", frozenset()] == 1.0
    assert found["gpus_present", frozenset()] == 0.0
    assert [value for (name, _), value in found.items() if name == "gpu_lost"] == [1.0]
    assert "gpu_power_watts" not in {name for name, _ in found}
    assert found["foreshock_exporter_collector_success", frozenset({("collector", "gpu")})] == 0.0
    assert found["foreshock_exporter_driver_call_age_seconds", frozenset({("gpu", "0"), ("call", "state")})] > 10.0
    exporter.close(timeout=0.05)
    hang_over.set()


def test_timestamps_use_the_wall_clock_and_counters_the_steady_clock(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Values
) -> None:
    """After a suspend the steady clock is hours behind."""
    host = scripted(gpu())
    exporter = Exporter(
        host, host.resolve, host_id="1", host_name="n", now=host.now, wall=lambda: 5e9, timer=lambda: 0.0
    )
    exporter.sample()
    host.reported = [Xid("GPU-0", 31)]
    exporter.sample()
    found = series(exporter.render())
    times = {value for (name, _), value in found.items() if name.endswith("_timestamp_seconds")}
    assert times == {5e9}


def test_a_driver_that_does_not_let_go_is_left_behind(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]
) -> None:
    host, never = scripted(gpu()), threading.Event()

    class Clinging:
        count, identity, processes, read = host.count, host.identity, host.processes, host.read
        utilization, counters, health, xids = host.utilization, host.counters, host.health, host.xids
        process_utilization, activity = host.process_utilization, host.activity

        def close(self) -> None:
            never.wait(60)

    exporter = Exporter(Clinging(), host.resolve, host_id="1", host_name="n", now=host.now)
    exporter.sample()
    closing = threading.Thread(target=exporter.close, daemon=True)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
    never.set()


def test_a_hung_call_is_logged_without_a_scrape(
    scripted: Callable[..., ScriptedHost],
    gpu: type[ScriptedGpu],
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host, over, timer = scripted(gpu()), threading.Event(), itertools.count(0.0, 1.0)
    asked = host.read

    def hang(gpu: int) -> Reading:
        over.wait(60)
        return asked(gpu)

    host.read = hang  # type: ignore[method-assign]
    exporter = Exporter(host, host.resolve, host_id="1", host_name="n", now=host.now, timer=lambda: float(next(timer)))
    exporter.start(0.01)
    eventually(lambda: "call state of GPU 0: has not returned" in caplog.text, "a line about the hung call")
    over.set()
    exporter.close()
