"""The exporter over the kernel's files: as a process, beside NVIDIA's GPUs, and up to the hub's World."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from types import ModuleType

import pytest
from tests.conftest import Eventually
from tests.drm.conftest import Bench
from tests.drm.double import ADDRESS, MI300X, KernelDouble, gpu_metrics
from tests.exporter.test_command import ask, once, served
from tests.exporter.whole.exposition import refused_by_promtool, series_by_gpu
from tests.nvml.conftest import double, nvml, nvml_library
from tests.nvml.double import Double
from tests.nvml.profiles import PROFILES, START
from tests.nvml.scene import read
from tests.world.scraped import INTERVAL, world_scraped
from tests.world.scraped import START as SCRAPED_FROM

from foreshock_dashboard.model.service import Service
from foreshock_exporter.attribution.service_resolver import ProcResolver
from foreshock_exporter.daemon import Daemon, build
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.gpu.combined import CombinedDriver
from foreshock_exporter.model import device
from foreshock_exporter.model.device import DeviceError, Identity, Reading
from foreshock_exporter.options import parse

__all__ = ("double", "nvml", "nvml_library")

ROOT = Path(__file__).parents[2]
AMD = "GPU-1f9de0957d137942"


def shared(kernel: KernelDouble) -> None:
    """An MI300X that two services use."""
    throttlers = dict.fromkeys(("prochot", "ppt", "socket_thm", "vr_thm", "hbm_thm"), 0)
    links = {"xgmi_width": 16, "xgmi_speed": 32, "xgmi_read_0": 5, "xgmi_write_0": 7, "xgmi_status_0": 1}
    kernel.gpu({**MI300X, "gpu_metrics": gpu_metrics(7, energy=1 << 26, cycles=1, **links, **throttlers)})
    kernel.node()
    kernel.write(kernel.sysfs / f"bus/pci/devices/{ADDRESS}/aer_dev_fatal", "TOTAL_ERR_FATAL 0")
    for pid, name, units in ((4101, "chat", 60), (4102, "batch", 180)):
        kernel.process(pid, name)
        kernel.compute(pid, units)


def arguments_of(kernel: KernelDouble) -> tuple[str, ...]:
    root = kernel.root
    return f"--path.procfs={root}/proc", f"--path.sysfs={root}/sys", f"--path.rootfs={root}"


@pytest.mark.slow
def test_the_command_exports_an_amd_gpu_and_its_services(kernel: KernelDouble) -> None:
    """Without NVIDIA's driver, and without any library of AMD."""
    shared(kernel)
    ended = once("--once", *arguments_of(kernel))
    found = read(ended.stdout)
    assert found["gpus_expected"] == found["gpus_present"] == {(): 1.0}
    ((info, _),) = found["gpu_info"].items()
    assert {"AMD", "AMD Instinct MI300X OAM", ADDRESS, "concurrent"} <= set(info)
    assert found["gpu_power_watts"] == {("0", AMD): 650.0}
    assert found["gpu_energy_joules_total"] == {("0", AMD): 1024.0}
    busy = {key[1]: seconds for key, seconds in found["gpu_service_busy_seconds_total"].items()}
    assert busy["batch"] == pytest.approx(3 * busy["chat"])
    assert busy["batch"] > 0.0
    assert found["gpu_xgmi_transmit_bytes_total"] == {("0", AMD): 7000.0}
    assert not [name for name in found if "nvlink" in name or "xid" in name]
    assert not refused_by_promtool(ended.stdout)
    assert series_by_gpu(ended.stdout)[AMD].itself <= 94
    assert b"ERROR" not in ended.stderr
    of_gpus = {re.sub("_(bucket|sum|count)$", "", name) for name in found if name.startswith("gpu_")}
    assert of_gpus - {"gpu_lost", "gpu_host_cpu_steal_seconds_total"} == documented("AMD")


def documented(vendor: str) -> set[str]:
    """Metrics that the table of docs/reference/exporter.md has for a vendor."""
    text = (ROOT / "docs/reference/exporter.md").read_text().partition("<!-- vendor-table -->\n")[2]
    table = text.partition("<!-- /vendor-table -->")[0].splitlines()
    column = [cell.strip() for cell in table[0].split("|")].index(vendor)
    cells = [line.split("|") for line in table if line.startswith("| `")]
    return {name for row in cells if row[column].strip() != "–" for name in re.findall(r"`(\w+)`", row[1])}


def busy_seconds(port: int) -> dict[tuple[str, ...], float]:
    return dict(read(ask(port, "/metrics")[2]).get("gpu_service_busy_seconds_total", {(): 0.0}))


@pytest.mark.slow
def test_a_served_gpu_that_is_unplugged_is_lost_and_returns(kernel: KernelDouble, eventually: Eventually) -> None:
    """At `/metrics` of a running exporter; its services' counters go on."""
    shared(kernel)
    with served(*arguments_of(kernel)) as (_, port):

        def is_lost(expected: float) -> bool:
            lost = read(ask(port, "/metrics")[2]).get("gpu_lost", {})
            return bool(lost.get(("0", ADDRESS, AMD)) == expected)

        eventually(lambda: is_lost(0.0), "a GPU that responds")
        eventually(lambda: all(busy_seconds(port).values()), "two services at work")
        busy = busy_seconds(port)
        kernel.unplug()
        eventually(lambda: is_lost(1.0), "a lost GPU")
        assert "gpu_power_watts" not in read(ask(port, "/metrics")[2])
        shared(kernel)
        eventually(lambda: is_lost(0.0), "the GPU again")
        eventually(lambda: busy_seconds(port).keys() >= busy.keys(), "both services again")
        found = read(ask(port, "/metrics")[2])
        assert found["gpus_expected"] == found["gpus_present"] == {(): 1.0}
        after = found["gpu_service_busy_seconds_total"]
        assert all(after[key] >= seconds > 0.0 for key, seconds in busy.items())


def test_contention_on_an_amd_gpu_reaches_the_world_of_the_hub(kernel: KernelDouble, tmp_path: Path) -> None:
    """With the names that the analysis reads: shares, GPU wait, and the noisy neighbor."""
    shared(kernel)
    bench = Bench(kernel)
    exporter = Exporter(
        CombinedDriver((("AMD", bench.driver),)),
        ProcResolver(kernel.procfs, kernel.root),
        host_id="1",
        host_name="node-9",
        now=lambda: SCRAPED_FROM + bench.clock.time,
        timer=lambda: 0.0,
    )
    pages: dict[float, str] = {}
    for second in range(121):
        bench.clock.time = float(second)
        exporter.sample_gpus()
        if second % INTERVAL == 0:
            pages[float(second)] = exporter.render().decode()
    world = world_scraped(tmp_path / "store", {("foreshock-exporter", "a:1"): lambda at: pages[at]})
    assert [(gpu.model, gpu.uuid) for gpu in world.gpus] == [("AMD Instinct MI300X OAM", AMD)]
    assert world.utilization[0, -1] == pytest.approx(0.95)
    assert world.contended[0, -1] == pytest.approx(1.0)
    shares = {tenant.service: world.busy[row, -1] for row, tenant in enumerate(world.tenants)}
    assert shares == pytest.approx({Service("", "chat"): 0.2375, Service("", "batch"): 0.7125})
    waits = {
        (pair.affected.name, pair.noisy_neighbor.name): world.gpu_wait_by[row, -1]
        for row, pair in enumerate(world.gpu_wait_pairs)
    }
    assert waits == pytest.approx({("chat", "batch"): 0.7125, ("batch", "chat"): 0.2375})


@pytest.fixture
def mixed(kernel: KernelDouble, nvml: ModuleType, double: Double) -> Daemon:
    """The daemon of a host with an H100 and an MI300X."""
    assert nvml is not None
    shared(kernel)
    double.show(PROFILES["h100"].at(START + 20.0))
    return build(parse([*arguments_of(kernel), "--compat=dcgm"], {}), lambda: START + 20.0)


def test_gpus_of_two_vendors_are_on_one_host(mixed: Daemon) -> None:
    """NVIDIA's keep the indexes of nvidia-smi, and dcgm-exporter's names are theirs alone."""
    mixed.exporter.sample()
    mixed.exporter.sample()
    found = read(mixed.exporter.render())
    mixed.close()
    uuids = {key[0]: key[1] for key in found["gpu_utilization_ratio"]}
    assert uuids["1"] == AMD
    assert len(uuids) == 2
    assert found["gpus_expected"] == {(): 2.0}
    assert {AMD} == {uuid for uuid in uuids.values() if uuid not in str(found["DCGM_FI_DEV_POWER_USAGE"])}
    assert AMD not in str(found["DCGM_FI_DEV_XID_ERRORS"])


def test_a_driver_that_lists_none_of_its_gpus_beside_another_vendors_is_down(
    kernel: KernelDouble, nvml: ModuleType, double: Double
) -> None:
    """The PCI bus has an NVIDIA GPU; the collector fails, which the alert ForeshockExporterCollectorFailing reports."""
    assert nvml is not None
    shared(kernel)
    for name, text in (("vendor", "0x10de"), ("class", "0x030200")):
        kernel.write(kernel.sysfs / f"bus/pci/devices/0000:1b:00.0/{name}", text)
    daemon = build(parse([*arguments_of(kernel)], {}), lambda: START + 20.0)
    daemon.exporter.sample()
    found = read(daemon.exporter.render())
    assert (found["gpus_expected"], found["gpus_present"]) == ({(): 2.0}, {(): 1.0})
    assert found["foreshock_exporter_driver_up"] == {("drm",): 1.0, ("nvml",): 0.0}
    assert found["foreshock_exporter_collector_success"]["gpu",] == 0.0
    double.show(PROFILES["h100"].at(START + 20.0))
    daemon.exporter.sample()
    daemon.exporter.sample()
    found = read(daemon.exporter.render())
    daemon.close()
    assert found["foreshock_exporter_driver_up"] == {("drm",): 1.0, ("nvml",): 1.0}
    assert found["foreshock_exporter_collector_success"]["gpu",] == 1.0


@pytest.mark.parametrize(
    ("file", "call", "expected"), [("uevent", ("count", ""), None), ("gpu_metrics", ("state", "0"), {(): 1.0})]
)
def test_a_file_that_hangs_at_the_start_shows_as_a_hung_call(
    file: str,
    call: tuple[str, str],
    expected: dict[tuple[str, ...], float] | None,
    kernel: KernelDouble,
    eventually: Eventually,
) -> None:
    """The exporter is built and serves, and the GPU is there once the file is readable."""
    shared(kernel)
    path = kernel.sysfs / "class/drm/card1/device" / file
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    daemon = build(parse([*arguments_of(kernel)], {}), time.monotonic)
    daemon.start(0.1)

    def age() -> float:
        calls = read(daemon.exporter.render()).get("foreshock_exporter_driver_call_age_seconds", {})
        return float(calls.get(call, 0.0))

    eventually(lambda: age() > 0.2, "a call in flight")
    assert read(daemon.exporter.render()).get("gpus_expected") == expected, "unknown, not 0"
    assert not daemon.exporter.ready()

    def returns() -> bool:
        """Let those who wait for the file read it, and the next ones a normal one."""
        if path.is_fifo():
            waiting = path.rename(path.with_name("waiting"))
            kernel.write(path, content)
            os.close(os.open(waiting, os.O_WRONLY))
        return "gpu_power_watts" in read(daemon.exporter.render())

    eventually(returns, "the GPU")
    daemon.close()


class Listed:
    """Driver with GPUs of names, or an error."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.broken: DeviceError | None = None

    def count(self) -> int:
        if self.broken:
            raise self.broken
        return len(self.names)

    def identity(self, gpu: int) -> Identity:
        return Identity(str(gpu), self.names[gpu], "", "", "", "")

    def read(self, gpu: int) -> Reading:
        return Reading(absent={self.names[gpu]: "lost"})

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


def combined(*drivers: Listed) -> CombinedDriver:
    pairs: list[tuple[str, device.Driver]] = [(str(n), driver) for n, driver in enumerate(drivers)]  # type: ignore[misc] # as far as needed
    return CombinedDriver(pairs)


def test_indexes_shift_with_an_earlier_driver_but_calls_do_not() -> None:
    """Between the count and the identification of a GPU, a call still goes to the one that was known."""
    first, second = Listed(), Listed("amd")
    driver = combined(first, second)
    assert driver.count() == 1
    assert driver.identity(0).uuid == "amd"
    first.names = ("nvidia",)
    assert driver.count() == 2
    assert set(driver.read(0).absent) == {"amd"}
    assert [driver.identity(gpu).uuid for gpu in (0, 1)] == ["nvidia", "amd"]
    assert [set(driver.read(gpu).absent) for gpu in (0, 1)] == [{"nvidia"}, {"amd"}]
    with pytest.raises(DeviceError, match="index 2"):
        driver.identity(2)


def test_a_driver_that_fails_costs_only_its_own_gpus() -> None:
    """Without other GPUs, its error is that of all."""
    first, second = Listed("nvidia"), Listed()
    driver = combined(first, second)
    assert driver.count() == 1
    assert driver.drivers_up() == {"0": True}, "the other has no GPU"
    first.broken = DeviceError("driver", "reset")
    assert driver.count() == 1
    second.names = ("amd",)
    assert driver.count() == 2
    assert driver.drivers_up() == {"0": False, "1": True}
    first.broken = None
    driver.count()
    assert driver.drivers_up() == {"0": True, "1": True}
    first.broken = DeviceError("driver", "reset")
    first.names, alone = (), combined(first, Listed())
    with pytest.raises(DeviceError, match="reset"):
        alone.count()
