"""The exporter's driver over simulated GPUs: exact means, physical counters, and errors as in NVML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from foreshock_exporter.model.device import DeviceError
from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.emit.driver import SimDriver, SimResolver
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import GpuWork, Worker, sm_activity
from foreshock_simulator.spec.platform import Sharing

START = 1_800_000_000.0
CHAT, BATCH = ServiceName("serving", "llm-chat"), ServiceName("ml", "batch-embed")


class World:
    """One host with two GPUs, and the clock of its driver."""

    def __init__(self, mig_slices: tuple[int, ...] = ()) -> None:
        self.start, self.engine = START, Engine()
        model = MODELS["H100"]
        sharing: Sharing = "mig" if mig_slices else "time-slicing"
        self.gpus = [Gpu(self.engine, model, "host-1", index, sharing, mig_slices) for index in range(2)]
        self.driver = SimDriver("host-1", self.gpus, self)

    @contextmanager
    def present(self) -> Iterator[float]:
        yield self.engine.now

    def worker(self, pid: int, service: ServiceName, instance: int | None = None) -> Worker:
        return Worker((self.gpus[0],), pid, service, 10e9, instance)


def test_a_reading_is_the_mean_since_the_last_one() -> None:
    """Half a second of work within two is a quarter. A second reading at the same time is the same."""
    world = World()
    world.driver.read(0)
    world.worker(1, CHAT).run(GpuWork(0.5, sm=1.0, dram=0.5))
    world.engine.run(2.0)
    first = world.driver.read(0)
    assert first.utilization_ratio == pytest.approx(0.25, rel=0.02)
    assert first.memory_busy_ratio == pytest.approx(0.125, rel=0.02)
    assert world.driver.read(0) == first
    world.engine.run(3.0)
    assert world.driver.read(0).utilization_ratio == 0.0


def test_each_process_has_its_share_of_the_time_since_the_last_sample() -> None:
    """Two processes that want all of a GPU get half each.

    An idle process is omitted, and the shares add up to the device.
    """
    world = World()
    one, other = world.worker(11, CHAT), world.worker(12, BATCH)
    world.driver.process_utilization(0, 0)
    one.run(GpuWork(1.0, sm=1.0))
    other.run(GpuWork(10.0, sm=1.0))
    world.engine.run(1.0)
    shares = {each.pid: each.sm_ratio for each in world.driver.process_utilization(0, int(START * 1e6))}
    assert shares == {11: pytest.approx(0.5, abs=0.01), 12: pytest.approx(0.5, abs=0.01)}
    world.engine.run(4.0)
    world.driver.process_utilization(0, int((START + 1.0) * 1e6))
    world.engine.run(5.0)
    latest = world.driver.process_utilization(0, int((START + 4.0) * 1e6))
    assert [(each.pid, each.timestamp_us) for each in latest] == [(12, int((START + 5.0) * 1e6))]
    assert world.driver.process_utilization(1, 0) == []


def test_idle_time_does_not_dilute_the_next_sample() -> None:
    """A call while all processes are idle returns no sample, so there is no timestamp to pass on."""
    world = World()
    worker = world.worker(5, CHAT)
    world.engine.run(1.0)
    assert world.driver.process_utilization(0, int(START * 1e6)) == []
    worker.run(GpuWork(5.0, sm=1.0))
    world.engine.run(2.0)
    assert [each.sm_ratio for each in world.driver.process_utilization(0, int(START * 1e6))] == [pytest.approx(1.0)]


def test_processes_hold_memory_until_they_end() -> None:
    """The resolver knows their services."""
    world = World()
    worker = world.worker(7, CHAT)
    assert [(each.pid, each.memory_used_bytes) for each in world.driver.processes(0).listed] == [(7, 10e9)]
    assert world.driver.read(0).memory_used_bytes == 10e9
    resolver = SimResolver({7: CHAT})
    found = resolver(7)
    assert found is not None
    assert (found.namespace, found.name, resolver(8)) == ("serving", "llm-chat", None)
    worker.stop()
    assert world.driver.processes(0).listed == ()


def test_counters_follow_energy_links_and_throttling() -> None:
    """They grow with use. A lower power limit shows as throttled time and as a lower clock."""
    world = World()
    gpu = world.gpus[0]
    world.worker(1, CHAT).run(GpuWork(100.0, sm=1.0, dram=0.9, tensor=0.9, nvlink=0.5, pcie=0.25))
    world.engine.run(1.0)
    before, baseline = world.driver.counters(0), world.driver.read(0)
    gpu.power_limit_ratio = 0.4
    world.engine.run(3.0)
    after, held = world.driver.counters(0), world.driver.read(0)
    assert before.energy_joules is not None
    assert after.energy_joules is not None
    assert after.energy_joules - before.energy_joules == pytest.approx(2.0 * 0.4 * 700.0, rel=0.01)
    assert after.throttled_seconds["power"] - before.throttled_seconds["power"] == pytest.approx(2.0)
    assert held.clock_hertz["sm"] < baseline.clock_hertz["sm"]
    assert held.power_limit_watts == pytest.approx(0.4 * 700.0)
    activity = world.driver.activity(0, ())
    assert activity.sm_seconds == pytest.approx(3.0 * sm_activity(CHAT))
    assert activity.tensor_seconds is not None
    assert 0.9 * 1.0 < activity.tensor_seconds < 0.9 * 3.0, "slower under the limit"
    assert before.nvlink_transmit_bytes is not None
    assert before.nvlink_transmit_bytes > 0.0


def test_kernels_of_a_service_have_work_for_a_part_of_the_sms() -> None:
    """A constant one, by the name of the service. What a process did stays counted after its end."""
    world = World()
    chat, batch = world.worker(1, CHAT), world.worker(2, BATCH)
    chat.run(GpuWork(2.0, sm=1.0))
    world.engine.run(3.0)
    chat.stop()
    batch.run(GpuWork(1.0, sm=1.0))
    world.engine.run(5.0)
    activity = world.driver.activity(0, ())

    assert activity.sm_seconds == pytest.approx(2.0 * sm_activity(CHAT) + 1.0 * sm_activity(BATCH))
    assert sm_activity(CHAT) != sm_activity(BATCH)
    assert all(0.5 <= sm_activity(service) <= 0.9 for service in (CHAT, BATCH))


def test_mig_instances_have_their_profile() -> None:
    """Profile names as in nvidia-smi."""
    world = World((3, 2, 1))
    world.worker(1, CHAT, 1)
    instances = world.driver.read(0).instances
    assert [each.profile for each in instances] == ["3g.40gb", "2g.20gb", "1g.10gb"]
    assert [each.memory_used_bytes for each in instances] == [0.0, 10e9, 0.0]
    assert len({each.uuid for each in instances}) == 3
    assert world.driver.identity(0).sharing == "mig"


def test_a_gpu_error_is_reported_once_and_shows_in_its_health() -> None:
    """XID 94 is a contained uncorrectable ECC error."""
    world = World()
    world.gpus[1].xids.append((0.5, 94))
    assert [(each.uuid, each.xid) for each in world.driver.xids(0.0)] == [(world.driver.identity(1).uuid, 94)]
    assert world.driver.xids(0.0) == []
    assert world.driver.health(1).ecc_errors["uncorrected"] == 1.0
    assert world.driver.health(0).ecc_errors["uncorrected"] == 0.0


def test_an_unknown_gpu_raises_not_found() -> None:
    """With the reason of the driver interface."""
    world = World()
    for call in (world.driver.identity, world.driver.read, world.driver.processes, world.driver.counters):
        with pytest.raises(DeviceError, match="no GPU 2") as error:
            call(2)
        assert error.value.reason == "not_found"
