"""Intel GPUs: what i915 and xe report, and what they do not."""

from __future__ import annotations

import pytest
from tests.drm.conftest import Bench
from tests.drm.double import ARC, KernelDouble, fdinfo

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.drm.intel import MeanPower
from foreshock_exporter.gpu.collector import GpuCollector, GpuOptions
from foreshock_exporter.model.device import DeviceError, GpuProcess

ARC_ADDRESS = "0000:03:00.0"


@pytest.fixture
def arc(kernel: KernelDouble) -> Bench:
    """A host with one discrete GPU of the driver xe."""
    kernel.gpu(ARC, ARC_ADDRESS, driver="xe")
    bench = Bench(kernel)
    bench.driver.count()
    bench.driver.identity(0)
    return bench


def test_energy_is_counted_and_power_is_its_mean(arc: Bench) -> None:
    assert arc.driver.read(0).power_watts is None, "no mean before the second reading"
    assert arc.driver.counters(0).energy_joules == 5.0
    arc.clock.time += 2.0
    arc.kernel.write(arc.kernel.sysfs / "class/drm/card1/device/hwmon/hwmon3/energy1_input", "305000000")
    reading = arc.driver.read(0)
    assert reading.power_watts == 150.0
    assert reading.power_limit_watts == 190.0
    assert reading.temperature_celsius == pytest.approx({"gpu": 55.0, "memory": 60.0})
    assert reading.clock_hertz == {"sm": 2.4e9}
    assert reading.memory_used_bytes is None


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("hwmon/hwmon3/energy1_input", "energy_joules"),
        ("hwmon/hwmon3/energy1_input", "power_watts"),
        ("hwmon/hwmon3/power1_max", "power_limit_watts"),
        ("hwmon/hwmon3/temp2_input", "temperature_celsius"),
    ],
)
def test_a_file_that_fails_leaves_out_its_value_with_a_reason(file: str, field: str, arc: Bench) -> None:
    """An I/O error is one of the driver; a missing file is not supported, which needs no reason."""
    path = arc.kernel.sysfs / "class/drm/card1/device" / file
    read = arc.driver.counters if field == "energy_joules" else arc.driver.read
    arc.kernel.fail(path)
    assert read(0).absent == {field: "driver"}
    path.unlink()
    part = read(0)
    assert part.absent == {}
    value = getattr(part, field)
    assert value == {"memory": 60.0} if field == "temperature_celsius" else value is None


def test_a_gpu_without_sensors_of_the_card_has_those_of_its_package(arc: Bench) -> None:
    """Energy and limit on xe, the temperature on i915."""
    hwmon = arc.kernel.sysfs / "class/drm/card1/device/hwmon/hwmon3"
    for old, new in (("energy1_input", "energy2_input"), ("power1_max", "power2_max"), ("temp2_input", "temp1_input")):
        (hwmon / old).rename(hwmon / new)
    reading = arc.driver.read(0)
    assert (reading.power_limit_watts, reading.temperature_celsius["gpu"]) == (190.0, 55.0)
    assert arc.driver.counters(0).energy_joules == 5.0


def test_without_permission_all_time_is_absent_for_that_reason_and_nothing_fails(arc: Bench) -> None:
    """As with the packaged unit: its user may not list the open files of others, which lasts."""
    (arc.kernel.procfs / "1/cmdline").unlink()
    (arc.kernel.procfs / "1").rmdir()
    collector = GpuCollector(0, arc.driver, lambda pid: None, {}, ProblemLog(), GpuOptions())
    for _ in range(3):
        collector.collect(arc.clock.time)
        arc.clock.time += 1.0
    assert not collector.failed
    assert collector.state is not None
    names = ("gpu_busy_seconds_total", "gpu_service_busy_seconds_total", "gpu_service_processes")
    assert [collector.state.absent.get(name) for name in names] == ["no_permission"] * 3


def test_a_counter_that_starts_again_has_no_mean_power() -> None:
    power = MeanPower()
    assert [power.watts(joules, now) for joules, now in ((9.0, 1.0), (1.0, 2.0), (3.0, 3.0), (None, 4.0))] == [
        None,
        None,
        2.0,
        None,
    ]


def test_processes_have_the_cycles_of_their_engines_and_the_gpu_has_no_load(arc: Bench) -> None:
    """Only privileged performance events have the load of the whole GPU."""
    lines = "drm-resident-vram0:\t1 MiB", "drm-cycles-ccs:\t0", "drm-total-cycles-ccs:\t1000"
    arc.kernel.process(60, "chat")
    arc.kernel.client(60, "4", fdinfo(*lines, driver="xe", address=ARC_ADDRESS))
    assert list(arc.driver.processes(0).listed) == [GpuProcess(60, 2.0**20)]
    assert arc.driver.process_utilization(0, 0) == ()
    arc.clock.time += 1.0
    later = "drm-cycles-ccs:\t300", "drm-total-cycles-ccs:\t2000"
    arc.kernel.client(60, "4", fdinfo(*later, driver="xe", address=ARC_ADDRESS))
    assert [(entry.pid, entry.sm_ratio) for entry in arc.driver.process_utilization(0, 0)] == [(60, 0.3)]
    with pytest.raises(DeviceError) as failed:
        arc.driver.utilization(0, 0)
    assert failed.value.reason == "not_supported"


@pytest.mark.parametrize(("mode", "expected"), [("auto", 1), ("on", 2), ("off", 0)])
def test_the_graphics_of_a_cpu_is_on_bus_0(mode: str, expected: int, kernel: KernelDouble) -> None:
    kernel.gpu(ARC, ARC_ADDRESS, driver="xe")
    kernel.gpu({}, "0000:00:02.0", driver="i915", card="card0")
    assert Bench(kernel, modes={"Intel": mode}).driver.count() == expected


def test_a_gpu_that_is_unplugged_is_lost_until_it_returns(arc: Bench) -> None:
    """As it is for a reset of the driver: it keeps its index and UUID, also as another card."""
    uuid = arc.driver.identity(0).uuid
    arc.kernel.unplug()
    assert arc.driver.count() == 1
    for call in (arc.driver.identity, arc.driver.read, arc.driver.counters, arc.driver.health):
        with pytest.raises(DeviceError) as failed:
            call(0)
        assert failed.value.reason == "lost"
    arc.kernel.gpu(ARC, ARC_ADDRESS, driver="xe", card="card7")
    assert arc.driver.count() == 1
    assert arc.driver.identity(0).uuid == uuid
    assert arc.driver.read(0).power_limit_watts == 190.0


def test_a_suspended_gpu_is_idle_and_stays_suspended(arc: Bench) -> None:
    """The file of its energy is a trap: xe would resume the GPU to answer."""
    folder = arc.kernel.gpu({"power/runtime_status": "suspended"}, ARC_ADDRESS, driver="xe")
    arc.kernel.fail(folder / "hwmon/hwmon3/energy1_input")
    arc.driver.identity(0)
    assert arc.driver.read(0).utilization_ratio == 0.0
    assert arc.driver.read(0).absent["power_watts"] == "suspended"
    assert arc.driver.counters(0).absent["energy_joules"] == "suspended"


@pytest.mark.parametrize("text", ["", "drm-cycles-ccs:\tx", "drm-cycles-ccs:\t-5\ndrm-total-cycles-ccs:\t0"])
def test_a_client_whose_text_is_malformed_has_no_time(text: str, arc: Bench) -> None:
    arc.kernel.process(60, "chat")
    for _ in range(3):
        arc.kernel.client(60, "4", fdinfo(text, driver="xe", address=ARC_ADDRESS))
        assert arc.driver.process_utilization(0, 0) == ()
        arc.clock.time += 1.0
