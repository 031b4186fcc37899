"""A simulated host answers an exporter as a real one does, and its figures are those of the model."""

from __future__ import annotations

import threading
from statistics import fmean

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreshock_exporter.device import DeviceError, Driver
from foreshock_exporter.service import Resolver
from foreshock_simulator.simulation import SimHost, Simulation, exporters

START = 1_800_000_000.0


def simulation(scenario: str = "calm", onset: float = 20.0) -> Simulation:
    return Simulation(scenario, 1, START, START + onset)


def test_four_hosts_have_eight_gpus_each_that_differ() -> None:
    """Identities are complete and unique, the hosts' too."""
    hosts = simulation().hosts
    drivers: list[Driver] = [host.driver for host in hosts]
    identities = [driver.identity(gpu) for driver in drivers for gpu in range(driver.count())]
    assert len({host.host_id for host in hosts}) == len({host.host_name for host in hosts}) == 4
    assert len({identity.uuid for identity in identities}) == 32
    assert {identity.gpu for identity in identities} == set("01234567")
    assert {identity.sharing for identity in identities} == {"time-slicing"}


def test_a_gpu_that_is_not_there_is_an_error_that_says_so() -> None:
    """The reason is one of the few words of the driver's contract."""
    driver = simulation().hosts[0].driver
    for call in (driver.identity, driver.read, driver.processes, lambda gpu: driver.process_utilization(gpu, 0)):
        with pytest.raises(DeviceError, match="no GPU 8") as error:
            call(8)
        assert error.value.reason == "not_found"


def test_readings_lie_within_what_the_device_can_do() -> None:
    """Ratios in 0…1, memory that adds up, power between idle and the limit, temperature that follows."""
    running = simulation()
    for second in range(1, 60):
        running.advance(START + second)
        for host in running.hosts:
            for gpu in range(host.driver.count()):
                reading = host.driver.read(gpu)
                assert reading.utilization_ratio is not None
                assert 0.0 <= reading.utilization_ratio <= 1.0
                assert reading.memory_busy_ratio is not None
                assert 0.0 <= reading.memory_busy_ratio <= 1.0
                parts = (reading.memory_used_bytes, reading.memory_free_bytes, reading.memory_reserved_bytes)
                assert sum(part or 0.0 for part in parts) == reading.memory_total_bytes
                assert min(part or 0.0 for part in parts) >= 0.0
                assert reading.power_watts is not None
                assert 60.0 <= reading.power_watts <= (reading.power_limit_watts or 0.0)
                assert 25.0 <= reading.temperature_celsius["gpu"] <= 80.0


def test_a_busy_gpu_draws_more_and_is_warmer_than_an_idle_one() -> None:
    """Power and temperature follow the load."""
    running = simulation()
    for second in range(1, 120):
        running.advance(START + second)
        trained, idle = running.hosts[2].driver.read(0), running.hosts[0].driver.read(5)
    assert (trained.power_watts or 0.0) > (idle.power_watts or 0.0) + 200.0
    assert trained.temperature_celsius["gpu"] > idle.temperature_celsius["gpu"] + 10.0
    joules = [running.hosts[host].driver.counters(gpu).energy_joules or 0.0 for host, gpu in ((2, 0), (0, 5))]
    assert joules[0] > joules[1]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.05, 7.0), min_size=1, max_size=12))
@example([1.5, 0.25, 1.0])
def test_shares_are_exact_whatever_the_times_of_asking(gaps: list[float]) -> None:
    """Share times length, summed over all processes, is the time that the GPU was busy; never over 1 at once."""
    running = simulation("starve", onset=2.0)
    host = running.hosts[0]
    seen_us, until, integrated, busy = 0, START, 0.0, 0.0
    for gap in gaps:
        until += gap
        running.advance(until)
        reading = host.driver.read(0)
        samples = host.driver.process_utilization(0, seen_us)
        total = sum(sample.sm_ratio for sample in samples)
        assert total <= 1.0 + 1e-6
        assert total == pytest.approx(reading.utilization_ratio or 0.0, abs=1e-6)
        integrated += total * gap
        busy += (reading.utilization_ratio or 0.0) * gap
        seen_us = max((sample.timestamp_us for sample in samples), default=seen_us)
        assert host.driver.process_utilization(0, seen_us) == []
    assert integrated == pytest.approx(busy, abs=1e-5)


def test_a_second_reader_with_a_mark_of_its_own_gets_its_own_mean() -> None:
    """Two exporters on one host do not spoil each other's figures."""
    running = simulation()
    driver = running.hosts[2].driver
    running.advance(START + 10)
    mark = driver.process_utilization(0, 0)[0].timestamp_us
    singles, seen = [], mark
    for second in range(11, 21):
        running.advance(START + second)
        sample = driver.process_utilization(0, seen)[0]
        singles.append(sample.sm_ratio)
        seen = sample.timestamp_us
    running.advance(START + 21)
    last = driver.process_utilization(0, seen)[0].sm_ratio
    assert driver.process_utilization(0, mark)[0].sm_ratio == pytest.approx(fmean([*singles, last]), abs=1e-4)


def test_every_process_on_a_gpu_has_a_service() -> None:
    """What runs is known to the resolver by its pid, what does not is not."""
    running = simulation("starve", onset=1.0)
    running.advance(START + 60)
    for host in running.hosts:
        resolver: Resolver = host.resolver
        for gpu in range(host.driver.count()):
            held = host.driver.processes(gpu)
            active = {sample.pid for sample in host.driver.process_utilization(gpu, 0)}
            assert active <= {process.pid for process in held}
            for process in held:
                service = resolver(process.pid)
                assert service is not None
                assert service.source == "simulated"
        assert resolver(1) is None


def test_spans_and_gpu_processes_agree_on_host_and_pid() -> None:
    """host.id and process.pid of a model's spans lead to its processes on that host's GPUs."""
    running = simulation()
    spans = running.advance(START + 60)
    hosts = {host.host_id: host for host in running.hosts}
    checked = 0
    for span in spans:
        if span.kind == "server" and span.resource["service.name"] == "llm-chat":
            host = hosts[str(span.resource["host.id"])]
            pid = int(span.resource["process.pid"])
            service = host.resolver(pid)
            assert service is not None
            assert service.name == "llm-chat"
            assert any(pid == process.pid for gpu in range(8) for process in host.driver.processes(gpu))
            checked += 1
    assert checked > 10


def test_the_aggressors_new_workers_appear_where_the_truth_says() -> None:
    """After the onset there are more processes on exactly those GPUs."""
    running = simulation("starve", onset=10.0)
    running.advance(START + 9)
    before = processes(running.hosts)
    running.advance(START + 60)
    after = processes(running.hosts)
    grown = {place for place in after if after[place] > before[place]}
    assert grown == {tuple(place) for place in running.truth().gpus}


def processes(hosts: tuple[SimHost, ...]) -> dict[tuple[str, int], int]:
    return {(host.host_name, gpu): len(host.driver.processes(gpu)) for host in hosts for gpu in range(8)}


def test_bytes_that_one_host_sends_another_receives() -> None:
    """The counters grow, and what leaves the hosts arrives at the hosts."""
    running = simulation()
    running.advance(START + 30)
    totals: dict[str, float] = {}
    for host in running.hosts:
        for family, samples in host.network():
            totals[family.name] = totals.get(family.name, 0.0) + sum(
                getattr(sample, "value", 0.0) for sample in samples
            )
    assert totals["node_network_transmit_bytes_total"] == totals["node_network_receive_bytes_total"] > 0.0


def test_exporters_tell_of_the_simulation_and_say_that_it_is_one() -> None:
    """The exposition of each host has its GPUs, its services and the mark of simulated data."""
    running = simulation("starve", onset=1.0)
    ours = exporters(running, lambda: running.now)
    for second in range(1, 50):
        running.advance(START + second)
        for exporter in ours:
            exporter.sample(running.now)
    text = ours[0].render().decode()
    assert "foreshock_exporter_mock 1" in text
    assert 'host_name="host-1"' in text
    for metric in ("gpu_utilization_ratio", "gpu_service_stalled_by_seconds_total", "node_network_receive_bytes_total"):
        assert f"\n{metric}{{" in text
    assert 'service_name="llm-chat"' in text
    assert 'by_service_name="batch-embed"' in text


def test_devices_may_be_read_while_the_model_runs() -> None:
    """A reader in another thread never meets a half-made state."""
    running = simulation("starve", onset=30.0)
    done = threading.Event()
    problems: list[str] = []

    def read() -> None:
        while not done.is_set():
            for host in running.hosts:
                for gpu in range(8):
                    total = sum(sample.sm_ratio for sample in host.driver.process_utilization(gpu, 0))
                    if total > 1.0 + 1e-6:
                        problems.append(f"{host.host_name}/gpu-{gpu} gave {total}")

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(1, 400):
        running.advance(START + step * 0.25)
    done.set()
    reader.join()
    assert problems == []
