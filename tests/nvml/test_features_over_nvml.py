"""What only newer GPUs report, over NVML's ABI: a GB200 with everything, faults of each, and GPUs without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.nvml.packing import FABRIC_MASKS
from tests.nvml.profiles import PROFILES, START
from tests.nvml.scene import Scene, SceneOf
from tests.nvml.scripted import ScriptedGpu, ScriptedHost

from foreshock_exporter.model.device import ConfidentialComputing, FabricCondition
from foreshock_exporter.nvml import features

CLUSTER = "7c3f1b2a-55d0-4f11-9a8e-0123456789ab"
Change = Callable[[ScriptedGpu, float], ScriptedGpu]
FEATURES = {
    "gpu_nvlink_bit_error_ratio",
    "gpu_fabric_info",
    "gpu_fabric_health",
    "gpu_platform_info",
    "gpu_c2c_links",
    "gpu_c2c_links_up",
    "gpu_c2c_bytes_per_second",
    "gpu_c2c_transmit_bytes_total",
    "gpu_c2c_receive_bytes_total",
    "gpu_c2c_errors_total",
    "gpu_module_power_watts",
    "gpu_module_power_limit_watts",
    "gpu_temperature_margin_celsius",
    "gpu_power_profile",
    "gpu_power_smoothing_enabled",
    "gpu_power_smoothing_lifetime_ratio",
    "gpu_confidential_computing",
    "gpu_confidential_computing_ready",
    "gpu_sram_ecc_threshold_exceeded",
    "gpu_repair_pending",
    "gpu_bank_remaps",
    "gpu_bank_remap_pending",
}


def gb200(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
    """A GPU of a GB200, with a fault of each kind."""
    health = replace(
        gpu.health,
        fabric_info={(CLUSTER, "32766"): 1.0},
        fabric_health={"degraded_bandwidth": 1.0, "incorrect_configuration": 1.0},
        platform={("1821124240070", "26", "12", "1", "3"): 1.0},
        confidential_computing={("on", "production"): 1.0},
        confidential_computing_ready=True,
        sram_ecc_threshold_exceeded=True,
        repair_pending={"memory_channel": 1.0, "tpc": 0.0},
        temperature_margin_celsius=23.0,
        power_profiles={("llm_training", "requested"): 1.0, ("max_q", "requested"): 1.0, ("max_q", "enforced"): 1.0},
        power_smoothing_enabled=True,
        power_smoothing_lifetime_ratio=0.97,
        c2c_links=10.0,
        c2c_links_up=9.0,
        c2c_bytes_per_second=9 * 44.8e9,
        c2c_errors={"crc": 3.0, "replay": 2.0, "replay_repeated": 1.0},
        nvlink_errors={
            "crc": 9.0,
            "recovery": 2.0,
            "recovery_failed": 1.0,
            "overrun": 4.0,
            "integrity": 5.0,
            "discard": 6.0,
            "effective": 7.0,
            "symbol": 8.0,
        },
        nvlink_bit_error_ratio={"effective": 2e-12, "symbol": 3e-9},
        bank_remaps=2.0,
        bank_remap_pending=False,
    )
    reading = replace(gpu.reading, module_power_watts=1850.0, module_power_limit_watts=2700.0)
    activity = replace(gpu.activity, c2c_transmit_bytes=3e9 * age, c2c_receive_bytes=5e9 * age)
    return replace(gpu, health=health, reading=reading, activity=activity)


def shown(scene: Scene, change: Change = gb200, profile: str = "b200") -> dict[str, Any]:
    """What a scrape shows of the profile's GPU, changed, after three seconds."""
    at = PROFILES[profile].at

    def host(time: float) -> ScriptedHost:
        return ScriptedHost(time, (change(at(time).gpus[0], time - START),))

    scene.at = host
    scene.run(3.0)
    return scene.scrape()


def test_a_gb200_reports_its_features(scene_of: SceneOf) -> None:
    seen = shown(scene_of("b200"))
    ids = ("0", "GPU-b200")
    values = {
        "gpu_c2c_links": 10.0,
        "gpu_c2c_links_up": 9.0,
        "gpu_c2c_bytes_per_second": 9 * 44.8e9,
        "gpu_module_power_watts": 1850.0,
        "gpu_module_power_limit_watts": 2700.0,
        "gpu_temperature_margin_celsius": 23.0,
        "gpu_power_smoothing_enabled": 1.0,
        "gpu_power_smoothing_lifetime_ratio": 0.97,
        "gpu_confidential_computing_ready": 1.0,
        "gpu_sram_ecc_threshold_exceeded": 1.0,
        "gpu_bank_remaps": 2.0,
        "gpu_bank_remap_pending": 0.0,
    }
    assert {name: seen[name][ids] for name in values} == pytest.approx(values)
    by_label = {
        "gpu_fabric_info": {("32766", CLUSTER, *ids): 1.0},
        "gpu_fabric_health": {("degraded_bandwidth", *ids): 1.0, ("incorrect_configuration", *ids): 1.0},
        "gpu_platform_info": {("1821124240070", "0", "1", "3", "26", "12", "GPU-b200"): 1.0},
        "gpu_confidential_computing": {("production", "0", "on", "GPU-b200"): 1.0},
        "gpu_repair_pending": {("0", "memory_channel", "GPU-b200"): 1.0, ("0", "tpc", "GPU-b200"): 0.0},
        "gpu_power_profile": {
            ("0", "llm_training", "requested", "GPU-b200"): 1.0,
            ("0", "max_q", "requested", "GPU-b200"): 1.0,
            ("0", "max_q", "enforced", "GPU-b200"): 1.0,
        },
    }
    assert {name: seen[name] for name in by_label} == by_label
    by_kind = {
        "gpu_c2c_errors_total": {"crc": 3.0, "replay": 2.0, "replay_repeated": 1.0},
        "gpu_nvlink_bit_error_ratio": {"effective": 2e-12, "symbol": 3e-9},
    }
    for name, expected in by_kind.items():
        assert {kind: value for (_, kind, _), value in seen[name].items()} == pytest.approx(expected, rel=1e-6, abs=0.0)
    errors = {kind: count for (_, kind, _), count in seen["gpu_nvlink_errors_total"].items()}
    assert errors == {"crc": 9.0, "recovery": 2.0, "recovery_failed": 1.0, "overrun": 4.0, "integrity": 5.0,
                      "discard": 6.0, "effective": 7.0, "symbol": 8.0}  # fmt: skip
    assert seen.keys() >= FEATURES


def test_bytes_over_c2c_are_counted(scene_of: SceneOf) -> None:
    scene = scene_of("b200")
    first = shown(scene)
    scene.run(10.0)
    second = scene.scrape()
    for name, rate in (("gpu_c2c_transmit_bytes_total", 3e9), ("gpu_c2c_receive_bytes_total", 5e9)):
        ((_, before),), ((_, after),) = first[name].items(), second[name].items()
        assert after - before == pytest.approx(10.0 * rate, rel=0.01)


@pytest.mark.parametrize("profile", ["t4", "a100-mig", "h100"])
def test_gpus_without_the_features_have_none_of_them_and_no_reason(profile: str, scene_of: SceneOf) -> None:
    """Absent is not 0, and that an older GPU lacks them is no news."""
    seen = shown(scene_of(profile), lambda gpu, _: gpu, profile)
    assert not seen.keys() & FEATURES
    reasons = {metric for _, metric, *_ in seen["foreshock_exporter_metric_unavailable"]}
    assert not reasons & FEATURES


def test_a_feature_that_needs_privileges_has_its_reason(scene_of: SceneOf) -> None:
    scene = scene_of("b200")
    scene.double.dialects = (
        replace(PROFILES["b200"].dialect, codes={"nvmlDeviceGetSramEccErrorStatus": pynvml.NVML_ERROR_NO_PERMISSION}),
    )
    seen = shown(scene)
    assert "gpu_sram_ecc_threshold_exceeded" not in seen
    rows = {(metric, reason) for _, metric, reason, *_ in seen["foreshock_exporter_metric_unavailable"]}
    assert ("gpu_sram_ecc_threshold_exceeded", "no_permission") in rows


@pytest.mark.parametrize("condition", FABRIC_MASKS)
def test_each_condition_of_the_fabric_is_read_from_its_bits(condition: FabricCondition, scene_of: SceneOf) -> None:
    def change(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
        own = gb200(gpu, age)
        return replace(own, health=replace(own.health, fabric_health={condition: 1.0}))

    assert shown(scene_of("b200"), change)["gpu_fabric_health"] == {(condition, "0", "GPU-b200"): 1.0}


@pytest.mark.parametrize("mode", get_args(ConfidentialComputing))
def test_confidential_computing_has_its_mode_and_is_ready_only_if_on(
    mode: ConfidentialComputing, scene_of: SceneOf
) -> None:
    def change(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
        own = gb200(gpu, age)
        return replace(own, health=replace(own.health, confidential_computing={(mode, "production"): 1.0}))

    seen = shown(scene_of("b200"), change)
    assert seen["gpu_confidential_computing"] == {("production", "0", mode, "GPU-b200"): 1.0}
    assert ("gpu_confidential_computing_ready" in seen) == (mode != "off")


@pytest.mark.parametrize("driver", ["570.172.08", "575.57.08", "580.65.06"])
def test_power_smoothing_is_not_read_before_its_fields_have_their_numbers(driver: str, scene_of: SceneOf) -> None:
    """Under these drivers, fields 251 and 258 mean something else."""

    def change(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
        own = gb200(gpu, age)
        return replace(own, identity=replace(own.identity, driver_version=driver))

    assert not [name for name in shown(scene_of("b200"), change) if "smoothing" in name]


def test_the_numbers_of_fields_and_profiles_are_those_of_the_installed_release_of_nvidia_ml_py() -> None:
    fields = {
        170: "DEV_C2C_LINK_COUNT",
        171: "DEV_C2C_LINK_GET_STATUS",
        172: "DEV_C2C_LINK_GET_MAX_BW",
        207: "DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS",
        211: "DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS",
        212: "DEV_NVLINK_COUNT_XMIT_DISCARDS",
        214: "DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS",
        219: "DEV_NVLINK_COUNT_EFFECTIVE_ERRORS",
        220: "DEV_NVLINK_COUNT_EFFECTIVE_BER",
        221: "DEV_NVLINK_COUNT_SYMBOL_ERRORS",
        222: "DEV_NVLINK_COUNT_SYMBOL_BER",
        231: "DEV_C2C_LINK_ERROR_INTR",
        232: "DEV_C2C_LINK_ERROR_REPLAY",
        233: "DEV_C2C_LINK_ERROR_REPLAY_B2B",
        251: "PWR_SMOOTHING_ENABLED",
        258: "PWR_SMOOTHING_HW_CIRCUITRY_PERCENT_LIFETIME_REMAINING",
        303: "DEV_ACTIVE_BANK_REMAPPINGS",
        307: "DEV_PENDING_BANK_REMAPPING",
    }
    assert {number: getattr(pynvml, f"NVML_FI_{name}") for number, name in fields.items()} == {n: n for n in fields}
    profiles = [getattr(pynvml, f"NVML_POWER_PROFILE_{name.upper()}") for name in features.PROFILES]
    assert profiles == list(range(len(profiles)))
