"""The real exporter over NVML's ABI: what each profile exposes, and what comes of GPUs and drivers that misbehave."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.conftest import Golden
from tests.nvml import layout
from tests.nvml.double import Double
from tests.nvml.packing import UNLOADED, Dialect, Loading
from tests.nvml.profiles import PROFILES, START, samples
from tests.nvml.scene import Scene, read, total

from foreshock_exporter import names
from foreshock_exporter.device import ProcessUtilization, UtilizationSample
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.mock import ScriptDriver
from foreshock_exporter.playback import Playback
from foreshock_exporter.script_files import load
from foreshock_exporter.scripted import Fault, ScriptedGpu, ScriptedHost, ScriptedXid

SceneOf = Callable[..., Scene]


@pytest.fixture
def scene_of(nvml: ModuleType, double: Double) -> Iterator[SceneOf]:
    """Make a scene of a profile, twenty seconds after its start."""
    made: list[Scene] = []

    def make(profile: str, *, per_link: bool = False) -> Scene:
        double.dialects = (PROFILES[profile].dialect,) * layout.MAX_GPUS
        made.append(Scene(nvml, double, PROFILES[profile].at, START + 20.0, per_link=per_link))
        return made[-1]

    yield make
    for scene in made:
        scene.exporter.close()


def without_words(text: bytes) -> str:
    """Without help texts, which the golden file of the mock host has, and the versions."""
    left_out = ("# HELP", names.BUILD_INFO.name)
    return "".join(line for line in text.decode().splitlines(keepends=True) if not line.startswith(left_out))


@pytest.mark.parametrize("profile", PROFILES)
def test_each_generation_of_gpus_gives_its_golden_exposition(profile: str, scene_of: SceneOf, golden: Golden) -> None:
    """What a T4, an A100 with MIG, an H100 and a B200 say, and for what is absent the reason."""
    scene = scene_of(profile)
    scene.run(20.0)
    text = scene.exporter.render()
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert check.returncode == 0, check.stderr.decode()
    golden(f"exporter-{profile}.prom", without_words(text))


def named(gpu: ScriptedGpu, index: int) -> ScriptedGpu:
    """The same as another GPU."""
    bus = f"00000000:{index + 0x1B:02X}:00.0"
    return replace(gpu, identity=replace(gpu.identity, gpu=str(index), uuid=f"GPU-{index}", pci_bus_id=bus))


def hosts(scene: Scene, *faults: Fault, xids: tuple[ScriptedXid, ...] = ()) -> None:
    """From now on the host has as many H100s as there are faults, numbered from 0."""

    def at(time: float) -> ScriptedHost:
        gpu = PROFILES["h100"].at(time).gpus[0]
        return ScriptedHost(
            time, tuple(named(replace(gpu, fault=fault), index) for index, fault in enumerate(faults)), xids
        )

    scene.at = at


def of(scrape: dict[str, Any], family: str, gpu: int) -> float:
    """The value of a family that has one series per GPU."""
    return float(scrape[family][str(gpu), f"GPU-{gpu}"])


@pytest.mark.parametrize("period", [0.1, 0.37, 1.0, 2.3])
def test_the_parts_of_a_gpus_time_sum_to_the_device_at_any_period(period: float, scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.run(40.0, period)
    seen = scene.scrape()
    busy = total(seen["gpu_busy_seconds_total"])
    parts = total(seen["gpu_service_busy_seconds_total"]) + total(seen["gpu_unattributed_busy_seconds_total"])
    assert parts == pytest.approx(busy, rel=1e-9)
    scripted = sum(s.ratio * 0.166667 for time in (30, 40, 50, 60) for s in samples(START + time))
    assert busy == pytest.approx(scripted, abs=0.97 * (period + 0.5)), "but for what lies before the first look"


def test_a_burst_of_300_ms_between_two_scrapes_is_in_the_counter_and_in_the_distribution(scene_of: SceneOf) -> None:
    """Idle for thirty seconds but for two sampling periods in the middle: no gauge could show it."""
    scene = scene_of("h100")
    begins = (START + 32.0) * 1e6

    def at(time: float) -> ScriptedHost:
        gpu = PROFILES["h100"].at(time).gpus[0]
        burst = tuple(s._replace(ratio=0.9 if 0 < s.timestamp_us - begins < 333_334 else 0.0) for s in gpu.samples)
        used = tuple(ProcessUtilization(4001, s.timestamp_us, 0.9) for s in burst if s.ratio)
        idle = replace(gpu.reading, utilization_ratio=0.0)
        return ScriptedHost(time, (replace(gpu, samples=burst, process_samples=used, reading=idle),))

    scene.at = at
    scene.run(1.0)
    before = scene.scrape()
    scene.run(30.0)
    after = scene.scrape()
    assert after["gpu_utilization_ratio"] == before["gpu_utilization_ratio"], "the gauge saw nothing"
    gained = total(after["gpu_busy_seconds_total"]) - total(before["gpu_busy_seconds_total"])
    assert gained == pytest.approx(2 * 0.166667 * 0.9, abs=1e-6)
    idle = {key: value for key, value in after["gpu_busy_ratio_bucket"].items() if "0.0" in key}
    assert total(after["gpu_busy_ratio_count"]) - total(idle) == 2


def test_a_lost_gpu_leaves_the_others_alone_and_counts_on_when_it_is_back(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    hosts(scene, "", "")
    scene.run(5.0)
    before = scene.scrape()
    hosts(scene, "lost", "")
    scene.run(5.0)
    during = scene.scrape()
    assert during["gpu_expected"][()] == 2
    assert during["gpu_present"][()] == 1
    assert during["gpu_lost"] == {("GPU-0",): 1, ("GPU-1",): 0}
    assert ("0", "GPU-0") not in during["gpu_busy_seconds_total"], "what it said before is not repeated"
    assert of(during, "gpu_busy_seconds_total", 1) > of(before, "gpu_busy_seconds_total", 1)
    hosts(scene, "", "")
    scene.run(5.0)
    after = scene.scrape()
    assert after["gpu_lost"] == {("GPU-0",): 0, ("GPU-1",): 0}
    assert of(after, "gpu_busy_seconds_total", 0) > of(before, "gpu_busy_seconds_total", 0)


def test_a_driver_that_is_unloaded_and_loaded_again_is_found_without_a_restart(scene_of: SceneOf) -> None:
    """An open NVML keeps a driver from being unloaded, so it is let go of."""
    scene = scene_of("h100")
    hosts(scene, "")
    scene.run(5.0)
    before = scene.scrape()
    scene.double.loading = UNLOADED
    scene.run(5.0)
    during = scene.scrape()
    assert during["gpu_present"][()] == 0
    assert during["gpu_expected"][()] == 1
    assert scene.double.calls("nvmlShutdown") == 1
    scene.double.loading = Loading(generation=2)
    scene.run(40.0)
    after = scene.scrape()
    assert after["gpu_present"][()] == 1
    for counter in ("gpu_busy_seconds_total", "gpu_energy_joules_total"):
        assert of(after, counter, 0) > of(before, counter, 0)


def test_a_driver_that_comes_after_the_exporter_is_found(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    hosts(scene, "")
    scene.double.loading = UNLOADED
    scene.run(5.0)
    assert scene.scrape()["gpu_present"][()] == 0
    scene.double.loading = Loading()
    scene.run(40.0)
    assert scene.scrape()["gpu_present"][()] == 1


@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_gpu_that_comes_late_is_seen_wherever_it_stands_on_the_bus(late: int, scene_of: SceneOf) -> None:
    """Those behind it get other indices; each is still reported once, and none takes another's counters."""
    scene = scene_of("h100")
    faults: list[Fault] = ["", "", ""]
    faults[late] = "late"
    hosts(scene, *faults)
    scene.run(5.0)
    before = scene.scrape()
    assert before["gpu_present"][()] == 2
    hosts(scene, "", "", "")
    scene.run(90.0, 0.5)
    after = scene.scrape()
    assert after["gpu_present"][()] == 3
    assert sorted(uuid for _, uuid in after["gpu_busy_seconds_total"]) == ["GPU-0", "GPU-1", "GPU-2"]


def test_xids_are_counted_with_the_time_of_the_last(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    hosts(scene, "", "")
    scene.run(1.0)
    seen = (ScriptedXid(0.0, 1, 79), ScriptedXid(0.0, 1, 79), ScriptedXid(0.0, 0, 48))
    hosts(scene, "", "", xids=seen[:1])
    scene.run(1.0)
    hosts(scene, "", "", xids=seen)
    scene.run(1.0)
    last = scene.time
    scene.run(2.0)
    found = scene.scrape()
    assert found["gpu_xid_errors_total"] == {("1", "GPU-1", "79"): 2, ("0", "GPU-0", "48"): 1}
    assert found["gpu_xid_last_timestamp_seconds"]["1", "GPU-1", "79"] == pytest.approx(last, abs=1.0)


def test_xids_of_the_others_are_counted_while_a_gpu_is_lost(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    hosts(scene, "", "")
    scene.run(1.0)
    fell = ScriptedXid(0.0, 0, 79)
    hosts(scene, "lost", "", xids=(fell,))
    scene.run(15.0)
    hosts(scene, "lost", "", xids=(fell, ScriptedXid(0.0, 1, 31)))
    scene.run(15.0)
    assert ("1", "GPU-1", "31") in scene.scrape()["gpu_xid_errors_total"]


def test_process_utilisation_is_asked_for_since_the_newest_sample_seen(scene_of: SceneOf) -> None:
    """Never by a pid, and from the beginning of time but once."""
    scene = scene_of("h100")
    scene.run(20.0)
    asked = scene.double.since(0, "processes")
    assert asked[0] == 0
    assert asked[1:] == sorted(asked[1:])
    assert min(asked[1:]) > (START + 10.0) * 1e6
    assert len(set(asked)) > 50


def test_a_list_that_grows_while_it_is_read_is_read_again(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    hosts(scene, "")
    scene.run(2.0)
    before = scene.scrape()
    scene.double.race(0, 12)
    scene.run(5.0)
    after = scene.scrape()
    assert scene.double.journal().races[0] == 0
    assert after["gpu_service_processes"] == before["gpu_service_processes"]
    assert of(after, "gpu_busy_seconds_total", 0) > of(before, "gpu_busy_seconds_total", 0)


def test_garbage_in_the_samples_makes_no_time(scene_of: SceneOf) -> None:
    """Shares beyond 100 %, entries without a time or a process."""
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(quirks=layout.QUIRK_SIZE_100),)

    def at(time: float) -> ScriptedHost:
        gpu = PROFILES["h100"].at(time).gpus[0]
        garbage = tuple(s._replace(ratio=8083349.05) if n % 7 == 3 else s for n, s in enumerate(gpu.samples))
        return ScriptedHost(time, (replace(gpu, samples=(UtilizationSample(0, 1.0), *garbage)),))

    scene.at = at
    scene.run(20.0)
    seen = scene.scrape()
    assert 0 < total(seen["gpu_busy_seconds_total"]) <= 20.0
    assert total(seen["gpu_service_busy_seconds_total"]) <= total(seen["gpu_busy_seconds_total"])
    assert {key[1] for key in seen["gpu_service_busy_seconds_total"]} == {"train", "embed", "idle"}


def test_counters_that_wrap_or_start_again_never_go_back(scene_of: SceneOf) -> None:
    """PCIe bytes wrap at 2**32 on this GPU, twice in nine seconds; the driver's counters start again half way."""
    scene = scene_of("h100")
    gpu = PROFILES["h100"].at

    def again(time: float) -> ScriptedHost:
        host = gpu(time)
        counters = gpu(time - 30.0).gpus[0].counters
        return replace(host, gpus=(replace(host.gpus[0], counters=counters),))

    watched = [
        "gpu_pcie_transmit_bytes_total",
        "gpu_nvlink_transmit_bytes_total",
        "gpu_energy_joules_total",
        "gpu_throttled_seconds_total",
    ]
    before = dict.fromkeys(watched, 0.0)
    first: dict[str, float] = {}
    for second in range(40):
        if second == 20:
            scene.at = again
        scene.run(1.0)
        now = {name: total(found) for name, found in scene.scrape().items() if name in watched}
        assert all(now[name] >= before[name] for name in watched), (second, before, now)
        before, first = now, first or now
    assert before["gpu_pcie_transmit_bytes_total"] - first["gpu_pcie_transmit_bytes_total"] == pytest.approx(
        39e9, abs=2**32
    )


BROKEN = (
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetSamples",
    "nvmlDeviceGetProcessUtilization",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetNvLinkState",
    "nvmlDeviceRegisterEvents",
)


@pytest.mark.parametrize("code", [3, 4, 6, 10, 15, 16, 28, 999], ids=lambda code: f"code{code}")
def test_one_function_that_fails_costs_one_gpu_at_most_and_its_handle_is_not_used_again(
    code: int, scene_of: SceneOf
) -> None:
    """Each function fails on GPU 0 in turn: not supported, no permission, not found, timeout, lost, reset, unknown.

    That no failed handle was used again is seen by the library, and asserted when the test ends.
    """
    scene = scene_of("h100")
    hosts(scene, "", "")
    scene.run(2.0)
    for function in BROKEN:
        healthy = of(scene.scrape(), "gpu_busy_seconds_total", 1)
        scene.double.dialects = (Dialect(codes={function: code}), Dialect())
        scene.run(11.0, 0.5)
        during = scene.scrape()
        scene.double.dialects = ()
        scene.run(11.0, 0.5)
        after = scene.scrape()
        assert of(during, "gpu_busy_seconds_total", 1) > healthy, function
        assert after["gpu_present"][()] == 2, function
        assert after["gpu_power_watts"].keys() == {("0", "GPU-0"), ("1", "GPU-1")}, function
        assert not scene.double.misused(), function


def test_services_get_their_time_but_for_what_follows_a_rest(scene_of: SceneOf) -> None:
    """NVML answers the mean since the last answer, and after a rest that is a mean over the rest as well."""
    scene = scene_of("h100")
    scene.run(40.0)
    seen = scene.scrape()
    busy = total(seen["gpu_busy_seconds_total"])
    services = {name: seconds for (_, name, *_), seconds in seen["gpu_service_busy_seconds_total"].items()}
    assert services["train"] == pytest.approx(busy * 0.6 / 0.97, rel=0.05)
    assert services["embed"] == pytest.approx(busy * 0.35 / 0.97, rel=0.05)
    assert services["idle"] == 0.0


def test_a_gpu_whose_driver_keeps_no_samples_is_polled(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetSamples": pynvml.NVML_ERROR_NOT_SUPPORTED}),)
    scene.run(70.0)
    seen = scene.scrape()
    assert total(seen["gpu_busy_seconds_total"]) == pytest.approx(70.0 * 0.97 * 5 / 7, rel=0.05)
    assert scene.double.calls("nvmlDeviceGetSamples") <= 2, "it is not asked again and again in vain"


def test_clients_of_mps_are_told_apart_and_not_said_to_wait(scene_of: SceneOf) -> None:
    """They are in two lists of NVML and still counted once."""
    scene = scene_of("h100")

    def at(time: float) -> ScriptedHost:
        gpu = PROFILES["h100"].at(time).gpus[0]
        return ScriptedHost(time, (replace(gpu, processes=tuple(p._replace(mps=True) for p in gpu.processes)),))

    scene.at = at
    scene.run(5.0)
    seen = scene.scrape()
    (info,) = seen["gpu_info"]
    assert "mps" in info
    assert set(seen["gpu_service_processes"].values()) == {1.0}
    assert "gpu_service_stalled_seconds_total" not in seen
    assert ("0", "gpu_service_stalled_seconds_total", "mps", "GPU-h100") in seen["foreshock_exporter_metric_absent"]


def test_the_wider_process_entries_of_driver_535_are_not_misread(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(quirks=layout.QUIRK_WIDE_PROCESSES),)
    scene.run(2.0)
    seen = scene.scrape()
    assert set(seen["gpu_service_processes"].values()) == {1.0}
    assert len(seen["gpu_service_processes"]) == 3
    assert sorted(seen["gpu_service_memory_used_bytes"].values()) == [2.0**31, 2.0**33]


@pytest.mark.parametrize("profile", ["h100", "b200"])
def test_the_bytes_of_each_nvlink_sum_to_those_of_all(profile: str, scene_of: SceneOf) -> None:
    scene = scene_of(profile, per_link=True)
    scene.run(5.0)
    seen = scene.scrape()
    assert len(seen["gpu_nvlink_link_receive_bytes_total"]) == 18
    for way in ("transmit", "receive"):
        links, whole = seen[f"gpu_nvlink_link_{way}_bytes_total"], seen[f"gpu_nvlink_{way}_bytes_total"]
        assert total(links) == pytest.approx(total(whole), rel=1e-6)


def test_what_the_driver_does_not_permit_is_absent_with_that_reason(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetPowerUsage": pynvml.NVML_ERROR_NO_PERMISSION}),)
    scene.run(2.0)
    seen = scene.scrape()
    assert "gpu_power_watts" not in seen
    assert ("0", "gpu_power_watts", "no_permission", "GPU-h100") in seen["foreshock_exporter_metric_absent"]


@pytest.mark.parametrize("script", ["contended", "healthy", "sick"])
def test_a_device_script_is_told_alike_through_nvml_and_by_the_mock_mode(
    script: str, nvml: ModuleType, double: Double
) -> None:
    """For the first two minutes; but for NVML's units: whole percents, which fall in other buckets, KiB, milliwatts."""
    playback = Playback(load(script), START)
    scene = Scene(nvml, double, playback.at, START)
    driver, now = ScriptDriver(playback, scene.now), scene.now
    mock = Exporter(driver, scene.resolve, host_id="1", host_name="host", now=now, timer=lambda: 0.0)
    for _ in range(240):
        scene.run(0.5, 0.5)
        mock.sample()
    real, played = scene.scrape(), read(mock.render())
    scene.exporter.close()
    mock.close()
    families = [family for family in played if family.startswith("gpu_")]
    assert [family for family in real if family.startswith("gpu_")] == families
    for family in set(families) - {"gpu_busy_ratio_bucket"}:
        assert real[family] == pytest.approx(played[family], rel=0.02, abs=0.3), family
