"""Activity of GPUs by GPM over NVML's ABI: means over any interval, by GPU and MIG instance, and its failures."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import replace

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.nvml import layout
from tests.nvml.dialect import Dialect
from tests.nvml.packing import Loading
from tests.nvml.profiles import PROFILES, START, activity
from tests.nvml.scene import Scene, SceneOf, total
from tests.nvml.scripted import ScriptedGpu, ScriptedHost

from foreshock_exporter.model.device import Activity, Instance

FAMILIES = (
    "gpu_sm_active_seconds_total",
    "gpu_sm_occupancy_seconds_total",
    "gpu_tensor_active_seconds_total",
    "gpu_pipe_active_seconds_total",
    "gpu_dram_active_seconds_total",
    "gpu_engine_active_seconds_total",
    "gpu_context_switch_seconds_total",
)
MIG_FAMILIES = tuple(family.replace("gpu_", "gpu_mig_", 1) for family in FAMILIES)


def change(scene: Scene, changed: Callable[[ScriptedGpu, float], ScriptedGpu], gpus: int = 1) -> None:
    """Let every GPU of the scene be the profile's, changed; `changed` gets it with the seconds since the start."""
    at = PROFILES["h100"].at

    def host(time: float) -> ScriptedHost:
        gpu = at(time).gpus[0]
        named = (replace(gpu, identity=replace(gpu.identity, gpu=str(n), uuid=f"GPU-{n}")) for n in range(gpus))
        return ScriptedHost(time, tuple(changed(gpu, time - START) for gpu in named))

    scene.at = host


def missing(scene: Scene, gpu: str = "GPU-0") -> set[tuple[str, str]]:
    """Metrics that the exporter reports missing for a GPU, with their reasons."""
    rows = scene.scrape().get("foreshock_exporter_metric_unavailable", {})
    return {(metric, reason) for _, metric, reason, resource, uuid in rows if uuid == gpu and not resource}


def value(scene: Scene, family: str) -> float:
    return total(scene.scrape().get(family, {}))


@pytest.mark.parametrize("period", [0.25, 1.0, 2.3])
def test_the_rate_of_activity_is_its_mean_over_the_interval_of_each_reader(period: float, scene_of: SceneOf) -> None:
    """The SMs work for ten seconds and rest for ten; one reader looks every 10 s, the other every 40 s."""
    scene = scene_of("h100")

    def worked(age: float) -> float:
        whole, rest = divmod(age, 20.0)
        return 10.0 * whole + min(rest, 10.0)

    change(scene, lambda gpu, age: replace(gpu, activity=Activity(sm_seconds=worked(age))))
    scene.run(20.0, period)
    often = [value(scene, "gpu_sm_active_seconds_total")]
    for _ in range(4):
        scene.run(10.0, period)
        often.append(value(scene, "gpu_sm_active_seconds_total"))
    slack = max(1.0, period) / 10.0  # a reading is up to a pass old
    assert [(after - before) / 10.0 for before, after in itertools.pairwise(often)] == pytest.approx(
        [1.0, 0.0, 1.0, 0.0], abs=slack
    )
    assert (often[-1] - often[0]) / 40.0 == pytest.approx(0.5, abs=slack / 4)


def test_each_pipe_and_engine_has_its_own_time_and_engines_have_the_mean_of_their_units(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.run(1.0)
    scene.run(10.0)
    seen = scene.scrape()
    pipes = {pipe: seconds for (_, pipe, _), seconds in seen["gpu_pipe_active_seconds_total"].items()}
    assert pipes == pytest.approx({"tensor_hmma": 3.0, "fp32": 0.5, "integer": 1.0})
    engines = {engine: seconds for (engine, *_), seconds in seen["gpu_engine_active_seconds_total"].items()}
    assert engines == pytest.approx({"graphics": 9.0, "nvdec": 1.0, "nvjpg": 0.0, "nvofa": 0.0})
    assert value(scene, "gpu_tensor_active_seconds_total") == pytest.approx(3.0)
    assert value(scene, "gpu_context_switch_seconds_total") == pytest.approx(0.1)


def with_instances(gpu: ScriptedGpu, age: float, ids: tuple[int, ...] = (2, 2, 5)) -> ScriptedGpu:
    """MIG instances in these GPU instances, each with half of the activity of the whole GPU."""
    instances = tuple(Instance(f"MIG-{n}", id_, n, "1c.3g.40gb", 2.0**30, 2.0**35) for n, id_ in enumerate(ids))
    half = activity(age / 2)
    return replace(
        gpu,
        identity=replace(gpu.identity, sharing="mig"),
        reading=replace(gpu.reading, instances=instances),
        activity=replace(activity(age), instances=dict.fromkeys(ids, half)),
    )


def test_gpu_instances_have_their_own_activity_once_for_all_their_compute_instances(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    change(scene, with_instances)
    scene.run(1.0)
    scene.run(10.0)
    seen = scene.scrape()
    of_instances = {instance: seconds for (_, instance, _), seconds in seen["gpu_mig_sm_active_seconds_total"].items()}
    assert of_instances == pytest.approx({"2": 2.5, "5": 2.5})
    assert value(scene, "gpu_sm_active_seconds_total") == pytest.approx(5.0)
    assert {labels[1] for labels in seen["gpu_mig_pipe_active_seconds_total"]} == {"2", "5"}


def test_gpu_instances_are_reported_even_if_the_whole_gpu_has_no_samples(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(codes={"nvmlGpmSampleGet": pynvml.NVML_ERROR_NOT_SUPPORTED}),)
    change(scene, with_instances)
    scene.run(3.0)
    assert len(scene.scrape()["gpu_mig_dram_active_seconds_total"]) == 2
    assert ("gpu_sm_active_seconds_total", "not_supported") in missing(scene)


@pytest.mark.parametrize("whole", [pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_SUPPORTED])
def test_gpu_instances_that_may_not_be_read_have_that_reason_and_are_logged(
    whole: int, scene_of: SceneOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    scene = scene_of("h100")
    codes = {"nvmlGpmSampleGet": whole, "nvmlGpmMigSampleGet": pynvml.NVML_ERROR_NO_PERMISSION}
    scene.double.dialects = (Dialect(codes=codes),)
    change(scene, with_instances)
    scene.run(3.0)
    assert {(family, "no_permission") for family in MIG_FAMILIES} <= missing(scene)
    assert ("gpu_sm_active_seconds_total" in scene.scrape()) == (whole == pynvml.NVML_SUCCESS)
    assert "activity of GPU 0" in caplog.text
    assert "Insufficient Permissions" in caplog.text


def test_gpu_instances_of_a_gpu_without_gpm_have_the_reason_not_supported(scene_of: SceneOf) -> None:
    scene = scene_of("a100-mig")
    scene.run(3.0)
    assert {(family, "not_supported") for family in MIG_FAMILIES} <= missing(scene, "GPU-a100")


def test_mig_devices_are_enumerated_once_for_state_and_activity(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    change(scene, with_instances)
    scene.run(5.0)
    assert scene.double.calls("nvmlDeviceGetGpuInstanceId") == 3 * scene.double.calls("nvmlDeviceGetUtilizationRates")


@pytest.mark.parametrize(
    ("dialect", "reason", "lost"),
    [
        (Dialect(gpm_codes={2: pynvml.NVML_ERROR_NO_PERMISSION}), "no_permission", FAMILIES[:1]),
        (Dialect(gpm_codes={10: pynvml.NVML_ERROR_UNKNOWN}), "driver", FAMILIES[4:5]),
        (Dialect(gpm_codes={174: pynvml.NVML_ERROR_NOT_SUPPORTED}), "not_supported", FAMILIES[6:]),
        (Dialect(codes={"nvmlGpmMetricsGet": pynvml.NVML_ERROR_UNKNOWN}), "driver", FAMILIES),
        (Dialect(codes={"nvmlGpmSampleGet": pynvml.NVML_ERROR_UNKNOWN}), "driver", FAMILIES),
        (Dialect(codes={"nvmlGpmQueryDeviceSupport": pynvml.NVML_ERROR_NO_PERMISSION}), "no_permission", FAMILIES),
    ],
    ids=["one metric forbidden", "one metric broken", "one metric unknown", "all metrics", "samples", "support"],
)
def test_a_failing_gpm_call_costs_only_its_metrics_on_its_gpu(
    dialect: Dialect, reason: str, lost: tuple[str, ...], scene_of: SceneOf
) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (dialect, Dialect())
    change(scene, lambda gpu, _: gpu, gpus=2)
    scene.run(4.0)
    seen = scene.scrape()
    for family in FAMILIES:
        gpus = {uuid for labels in seen[family] for uuid in labels if uuid.startswith("GPU-")}
        assert gpus == ({"GPU-1"} if family in lost else {"GPU-0", "GPU-1"}), family
    assert {(family, reason) for family in lost} <= missing(scene)
    assert (
        len(seen["gpu_power_watts"]) == len(seen["gpu_energy_joules_total"]) == len(seen["gpu_busy_seconds_total"]) == 2
    )


def test_metrics_that_an_older_driver_does_not_know_are_left_out(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(gpm_max=98),)
    scene.run(4.0)
    seen = scene.scrape()
    assert set(FAMILIES) - seen.keys() == {"gpu_context_switch_seconds_total"}


def test_a_gpu_without_gpm_has_its_video_engines_and_the_reason_for_the_rest(scene_of: SceneOf) -> None:
    scene = scene_of("t4")
    scene.run(1.0)
    scene.run(10.0)
    seen = scene.scrape()
    engines = {engine: seconds for (engine, *_), seconds in seen["gpu_engine_active_seconds_total"].items()}
    assert engines == pytest.approx({"nvdec": 3.0, "nvenc": 0.0})
    lacking = set(FAMILIES) - {"gpu_engine_active_seconds_total"}
    assert {(family, "not_supported") for family in lacking} <= missing(scene, "GPU-t4")


def test_the_utilization_of_video_engines_does_not_stand_for_a_pause_before_it(scene_of: SceneOf) -> None:
    scene = scene_of("t4")
    scene.run(3.0)
    before = value(scene, "gpu_engine_active_seconds_total")
    scene.run(60.0, 60.0)
    assert value(scene, "gpu_engine_active_seconds_total") - before <= 0.3 * 2.0 + 1e-6


@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetFieldValues"]
)
def test_another_call_that_keeps_failing_costs_no_activity(function: str, scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(codes={function: pynvml.NVML_ERROR_UNKNOWN}),)
    scene.run(2.0)
    scene.run(10.0)
    assert value(scene, "gpu_sm_active_seconds_total") == pytest.approx(0.5 * 11.0)


def test_a_gpu_that_keeps_timing_out_has_a_reason_for_its_missing_activity(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetComputeRunningProcesses_v3": pynvml.NVML_ERROR_TIMEOUT}),)
    change(scene, lambda gpu, _: gpu)
    scene.run(5.0)
    assert {(family, "driver") for family in FAMILIES} <= missing(scene)


def test_a_metric_that_is_no_longer_supported_is_missing_until_it_is_again(scene_of: SceneOf) -> None:
    family = "gpu_dram_active_seconds_total"
    scene = scene_of("h100")
    change(scene, lambda gpu, _: gpu)
    scene.run(3.0)
    before = value(scene, family)
    scene.double.dialects = (Dialect(gpm_codes={10: pynvml.NVML_ERROR_NOT_SUPPORTED}),)
    scene.run(3.0)
    assert family not in scene.scrape()
    assert (family, "not_supported") in missing(scene)
    scene.double.dialects = ()
    scene.run(3.0)
    assert before < value(scene, family) <= before + 0.4 * 3.0 + 1e-6


def test_an_interval_whose_metrics_failed_is_counted_with_the_next_one(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    change(scene, lambda gpu, _: gpu)
    scene.run(3.0)
    before = value(scene, "gpu_sm_active_seconds_total")
    scene.double.dialects = (Dialect(codes={"nvmlGpmMetricsGet": pynvml.NVML_ERROR_UNKNOWN}),)
    scene.run(5.0)
    assert ("gpu_sm_active_seconds_total", "driver") in missing(scene)
    scene.double.dialects = ()
    scene.run(5.0)
    assert value(scene, "gpu_sm_active_seconds_total") - before == pytest.approx(0.5 * 10.0)


def test_fewer_gpus_cost_the_others_no_activity(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    change(scene, lambda gpu, _: gpu, gpus=3)
    scene.run(3.0)
    before = value(scene, "gpu_sm_active_seconds_total")
    change(scene, lambda gpu, _: gpu, gpus=2)
    for _ in range(10):
        scene.run(0.5, 0.5)
        assert {"GPU-0", "GPU-1"} <= {labels[1] for labels in scene.scrape()["gpu_sm_active_seconds_total"]}
    assert value(scene, "gpu_sm_active_seconds_total") >= before * 2 / 3 + 2 * 0.5 * 5.0 - 1e-6
    assert scene.double.held_samples() == 2 * 2


def test_pcie_bytes_come_from_gpm_where_the_driver_does_not_count_them(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(no_fields=frozenset({197, 198})),)
    scene.run(1.0)
    scene.run(10.0)
    assert value(scene, "gpu_pcie_transmit_bytes_total") == pytest.approx(10e9)
    assert value(scene, "gpu_pcie_receive_bytes_total") == pytest.approx(20e9)


def test_pcie_bytes_come_from_gpm_where_the_counters_of_the_driver_wrap_too_often(scene_of: SceneOf) -> None:
    """50 GB/s, of a link of generation 5, wrap 32 bits more than once between two passes."""
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(pcie_bits=32),)

    def changed(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
        sent = 50e9 * age
        return replace(
            gpu,
            counters=replace(gpu.counters, pcie_transmit_bytes=sent % 2.0**32),
            activity=replace(activity(age), pcie_transmit_bytes=sent),
        )

    change(scene, changed)
    scene.run(2.0)
    before = value(scene, "gpu_pcie_transmit_bytes_total")
    calls = scene.double.journal().calls[0][layout.CALLS.index("nvmlDeviceGetFieldValues")]
    scene.run(10.0)
    assert value(scene, "gpu_pcie_transmit_bytes_total") - before == pytest.approx(10 * 50e9)
    calls = scene.double.journal().calls[0][layout.CALLS.index("nvmlDeviceGetFieldValues")] - calls
    assert calls <= 2 * 10 + 4, "state and counters each second, health each ten; none for each pass"


def test_missing_pcie_bytes_have_the_reason_of_gpm_where_the_driver_does_not_count_them(
    scene_of: SceneOf,
) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(no_fields=frozenset({197, 198}), gpm_codes={20: pynvml.NVML_ERROR_UNKNOWN}),)
    scene.run(3.0)
    pcie = {row for row in missing(scene, "GPU-h100") if row[0].startswith("gpu_pcie_t")}
    assert pcie == {("gpu_pcie_transmit_bytes_total", "driver")}


def test_an_impossible_pcie_rate_is_not_counted(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(no_fields=frozenset({197, 198})),)

    def changed(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
        sent = math.inf if 23.0 < age <= 24.0 else 1e9 * age
        return replace(gpu, activity=replace(activity(age), pcie_transmit_bytes=sent))

    change(scene, changed)
    scene.run(10.0)
    assert 5e9 < value(scene, "gpu_pcie_transmit_bytes_total") < 10e9


def test_a_gpu_takes_two_samples_and_none_is_left_behind(scene_of: SceneOf) -> None:
    """After instances left, GPUs were lost, the driver was reloaded, and the exporter was closed."""
    scene = scene_of("h100")
    held = scene.double.held_samples
    change(scene, with_instances)
    scene.run(3.0)
    assert held() == 2 * 3, "of the GPU and of two GPU instances"
    change(scene, lambda gpu, age: with_instances(gpu, age, (5,)))
    scene.run(2.0)
    assert held() == 2 * 2
    change(scene, lambda gpu, _: replace(gpu, fault="lost"))
    scene.run(2.0)
    change(scene, lambda gpu, _: gpu)
    scene.run(3.0)
    assert held() == 2
    before = value(scene, "gpu_sm_active_seconds_total")
    scene.double.loading = Loading(generation=2)
    scene.run(40.0, 1.0)
    assert held() == 2
    assert value(scene, "gpu_sm_active_seconds_total") > before, "and the counter goes on"
    scene.exporter.close()
    assert held() == 0
