"""The real exporter over NVML's ABI, per GPU generation."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from functools import partial
from types import ModuleType

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.conftest import Golden
from tests.nvml import layout
from tests.nvml.dialect import Dialect
from tests.nvml.double import Double
from tests.nvml.packing_fields import RELEASES
from tests.nvml.profiles import PROFILES, START, samples
from tests.nvml.scene import Scene, SceneOf, read, total
from tests.nvml.scripted import ScriptedHost
from tests.nvml.scripted import played as scripted_host

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.dcgm import DcgmCounters
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import ProcessUtilization
from foreshock_exporter.script.events import Device
from foreshock_exporter.script.files import load_script
from foreshock_exporter.script.lines import Script
from foreshock_exporter.script.mock import ScriptDriver
from foreshock_exporter.script.playback import Playback


def without_words(text: bytes) -> str:
    """Without help texts, which the golden file of the mock host has, and the versions."""
    left_out = ("# HELP", metrics.BUILD_INFO.name)
    return "".join(line for line in text.decode().splitlines(keepends=True) if not line.startswith(left_out))


def on_driver(version: str, script: Script) -> Script:
    """The script with this driver, which decides what the fields of NVML mean."""
    events = (
        event._replace(action=replace(event.action, driver_version=version))
        if isinstance(event.action, Device)
        else event
        for event in script.events
    )
    return replace(script, events=tuple(events))


@pytest.mark.parametrize("profile", PROFILES)
def test_each_generation_of_gpus_gives_its_golden_exposition(profile: str, scene_of: SceneOf, golden: Golden) -> None:
    """Values of a T4, an A100 with MIG, an H100, and a B200, with reasons for absent ones."""
    scene = scene_of(profile)
    scene.run(20.0)
    text = scene.exporter.render()
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert check.returncode == 0, check.stderr.decode()
    golden(f"exporter-{profile}.prom", without_words(text))


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
    idle = {key: value for key, value in after["gpu_utilization_sample_ratio_bucket"].items() if "0.0" in key}
    assert total(after["gpu_utilization_sample_ratio_count"]) - total(idle) == 2


def test_process_samples_are_requested_since_the_newest_one(scene_of: SceneOf) -> None:
    """Never by PID, and from time 0 only once."""
    scene = scene_of("h100")
    scene.run(20.0)
    asked = scene.double.since(0, "processes")
    assert asked[0] == 0
    assert asked[1:] == sorted(asked[1:])
    assert min(asked[1:]) > (START + 10.0) * 1e6
    assert len(set(asked)) > 50


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


def test_services_get_their_time_also_after_a_rest(scene_of: SceneOf) -> None:
    """NVML answers the mean since the last answer, and after a rest that is a mean over the rest as well."""
    scene = scene_of("h100")
    scene.run(40.0)
    seen = scene.scrape()
    busy = total(seen["gpu_busy_seconds_total"])
    services = {name: seconds for (_, name, *_), seconds in seen["gpu_service_busy_seconds_total"].items()}
    assert services["train"] == pytest.approx(busy * 0.6 / 0.97, rel=0.02)
    assert services["embed"] == pytest.approx(busy * 0.35 / 0.97, rel=0.02)
    assert services["idle"] == 0.0


def test_a_gpu_without_driver_samples_is_polled(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetSamples": pynvml.NVML_ERROR_NOT_SUPPORTED}),)
    scene.run(70.0)
    seen = scene.scrape()
    assert total(seen["gpu_busy_seconds_total"]) == pytest.approx(70.0 * 0.97 * 5 / 7, rel=0.05)
    assert scene.double.calls("nvmlDeviceGetSamples") <= 2, "it is not called again after failures"


def test_mps_clients_are_distinguished_and_have_no_stalls(scene_of: SceneOf) -> None:
    """They are in two NVML lists and count once."""
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
    assert "gpu_service_wait_seconds_total" not in seen
    assert ("0", "gpu_service_wait_seconds_total", "mps", "", "GPU-h100") in seen[
        "foreshock_exporter_metric_unavailable"
    ]


def test_the_wider_process_entries_of_driver_535_are_not_misread(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(quirks=layout.QUIRK_WIDE_PROCESSES),)
    scene.run(2.0)
    seen = scene.scrape()
    assert set(seen["gpu_service_processes"].values()) == {1.0}
    assert len(seen["gpu_service_processes"]) == 3
    assert sorted(seen["gpu_service_memory_used_bytes"].values()) == [2.0**31, 2.0**33]


def test_the_newest_throttle_fields_are_those_of_the_installed_release_of_nvidia_ml_py() -> None:
    kinds = ("SW_THERM_SLOWDOWN", "HW_THERM_SLOWDOWN", "HW_POWER_BRAKE_SLOWDOWN")
    ids = tuple(getattr(pynvml, f"NVML_FI_DEV_CLOCKS_EVENT_REASON_{kind}") for kind in kinds)
    assert RELEASES[max(RELEASES)] == ids


@pytest.mark.parametrize("release", RELEASES)
def test_throttled_time_is_never_read_from_fields_of_power_smoothing(
    release: tuple[int, ...], scene_of: SceneOf
) -> None:
    """Fields 251 to 253 and 269 to 271 changed places with those of power smoothing, twice."""
    driver = ".".join(map(str, (*release, 0)))
    reasons = {"power", "thermal", "sync_boost"} | ({"hw_thermal", "power_brake"} if RELEASES[release] else set())
    scene = scene_of("b200")

    def at(time: float) -> ScriptedHost:
        gpu = PROFILES["b200"].at(time).gpus[0]
        return ScriptedHost(time, (replace(gpu, identity=replace(gpu.identity, driver_version=driver)),))

    scene.at = at
    scene.run(20.0)
    seen = scene.scrape()
    throttled = {reason: seconds for (_, reason, _), seconds in seen["gpu_throttled_seconds_total"].items()}
    absent = {
        kind: reason
        for _, metric, reason, kind, _ in seen["foreshock_exporter_metric_unavailable"]
        if metric == "gpu_throttled_seconds_total"
    }
    assert absent == ({} if RELEASES[release] else {"hw_thermal": "not_supported", "power_brake": "not_supported"})
    assert throttled == pytest.approx(dict.fromkeys(reasons, 0.05 * 40.0), rel=0.05)


@pytest.mark.parametrize("profile", ["h100", "b200"])
def test_the_bytes_of_each_nvlink_sum_to_those_of_all(profile: str, scene_of: SceneOf) -> None:
    scene = scene_of(profile, per_link=True)
    scene.run(5.0)
    seen = scene.scrape()
    assert len(seen["gpu_nvlink_port_receive_bytes_total"]) == 18
    for way in ("transmit", "receive"):
        links, whole = seen[f"gpu_nvlink_port_{way}_bytes_total"], seen[f"gpu_nvlink_{way}_bytes_total"]
        assert total(links) == pytest.approx(total(whole), rel=1e-6)


def test_forbidden_values_are_absent_with_that_reason(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetPowerUsage": pynvml.NVML_ERROR_NO_PERMISSION}),)
    scene.run(2.0)
    seen = scene.scrape()
    assert "gpu_power_watts" not in seen
    assert ("0", "gpu_power_watts", "no_permission", "", "GPU-h100") in seen["foreshock_exporter_metric_unavailable"]


@pytest.mark.parametrize("script", ["contended", "healthy", "sick"])
def test_a_device_script_is_equal_through_nvml_and_in_mock_mode(script: str, nvml: ModuleType, double: Double) -> None:
    """For two minutes, except for NVML's units: whole percents (other buckets), KiB, milliwatts."""
    playback = Playback(on_driver("590.48.01", load_script(script)), START)
    scene = Scene(nvml, double, partial(scripted_host, playback), START)
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
    for family in set(families) - {"gpu_utilization_sample_ratio_bucket"}:
        assert real[family] == pytest.approx(played[family], rel=0.02, abs=0.3), family


@pytest.mark.parametrize("profile", ["h100", "a100-mig"])
def test_the_counters_of_dcgm_exporter_are_golden(profile: str, scene_of: SceneOf, golden: Golden) -> None:
    """An H100 with activity, and an A100 by GPU instance, without what NVML does not report there."""
    scene = scene_of(profile)
    counters = DcgmCounters(scene.exporter.snapshot)
    for _ in range(12):
        scene.run(1.0, 0.5)
        families = counters()
    golden(f"exporter-dcgm-{profile}.prom", without_words(render(families)))
