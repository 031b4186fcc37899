"""MIG over NVML's ABI: its mode, and where GPU instances are, or why that is not known."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.nvml.dialect import Dialect
from tests.nvml.scene import SceneOf

FAMILIES = ("gpu_mig_placement_start", "gpu_mig_placement_size")


def reasons(seen: dict[str, Any], families: Collection[str] = FAMILIES) -> dict[str, str]:
    rows = seen["foreshock_exporter_metric_unavailable"]
    return {metric: reason for _, metric, reason, _, _ in rows if metric in families}


def sharing(seen: dict[str, Any]) -> set[str]:
    return {labels[-3] for labels in seen["gpu_info"]}


def test_each_gpu_instance_has_the_place_that_its_compute_instances_share(scene_of: SceneOf) -> None:
    scene = scene_of("a100-mig")
    scene.run(2.0)
    seen = scene.scrape()
    assert [seen[family] for family in FAMILIES] == [
        {("0", "2", "GPU-a100"): 4.0, ("0", "5", "GPU-a100"): 0.0},
        {("0", "2", "GPU-a100"): 4.0, ("0", "5", "GPU-a100"): 2.0},
    ]
    assert reasons(seen) == {}
    scene.run(30.0)
    assert scene.scrape()[FAMILIES[0]] == seen[FAMILIES[0]]
    assert scene.double.calls("nvmlGpuInstanceGetInfo") == 2, "once for a GPU instance of two: it is constant"


@pytest.mark.parametrize("function", ["nvmlDeviceGetGpuInstanceById", "nvmlGpuInstanceGetInfo"])
def test_a_refused_placement_is_read_again_every_ten_seconds(function: str, scene_of: SceneOf) -> None:
    scene = scene_of("a100-mig")
    scene.double.dialects = (Dialect(codes={function: pynvml.NVML_ERROR_NO_PERMISSION}),)
    scene.run(30.0)
    assert reasons(scene.scrape()) == dict.fromkeys(FAMILIES, "no_permission")
    assert 6 <= scene.double.calls(function) <= 10, "two GPU instances"
    scene.double.dialects = ()
    scene.run(12.0)
    seen = scene.scrape()
    assert len(seen[FAMILIES[0]]) == 2
    assert reasons(seen) == {}


@pytest.mark.parametrize("function", ["nvmlDeviceGetGpuInstanceById", "nvmlGpuInstanceGetInfo"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_NO_PERMISSION, "no_permission"),
        (pynvml.NVML_ERROR_NOT_SUPPORTED, "not_supported"),
        (pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, "not_supported"),
        (pynvml.NVML_ERROR_INVALID_ARGUMENT, "driver"),
        (pynvml.NVML_ERROR_UNKNOWN, "driver"),
    ],
)
def test_a_place_that_may_not_be_read_is_absent_with_its_reason_and_costs_nothing_else(
    function: str, code: int, reason: str, scene_of: SceneOf
) -> None:
    """Without root, which NVML requires, and as other drivers fail."""
    scene = scene_of("a100-mig")
    scene.double.dialects = (Dialect(codes={function: code}, gpm=False),)
    scene.run(2.0)
    seen = scene.scrape()
    assert not set(FAMILIES) & seen.keys()
    assert reasons(seen) == dict.fromkeys(FAMILIES, reason)
    assert {labels[-1] for labels in seen["gpu_mig_info"]} == {"GPU-a100"}
    assert len(seen["gpu_mig_memory_used_bytes"]) == 3
    assert len(seen["gpu_service_processes"]) == 3
    assert not scene.double.misused()


def test_a_gpu_without_mig_has_no_place_and_no_reason(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.run(2.0)
    assert reasons(scene.scrape()) == {}
    assert scene.double.calls("nvmlDeviceGetGpuInstanceById") == 0


INSTANCES = ("gpu_mig_info", "gpu_mig_memory_used_bytes", "gpu_mig_memory_total_bytes")
PROCESSES = ("gpu_service_processes", "gpu_service_memory_used_bytes")
MODE_FAILS = Dialect(codes={"nvmlDeviceGetMigMode": pynvml.NVML_ERROR_UNKNOWN}, gpm=False)


@pytest.mark.parametrize(("profile", "mode"), [("a100-mig", "mig"), ("h100", "time-slicing")])
def test_a_mode_that_cannot_be_read_holds_for_ten_seconds_and_is_then_unknown(
    profile: str, mode: str, scene_of: SceneOf
) -> None:
    scene = scene_of(profile)
    scene.run(5.0)
    before = scene.scrape()
    scene.double.dialects = (MODE_FAILS,)
    scene.run(9.0)
    seen = scene.scrape()
    assert sharing(seen) == {mode}
    for family in (*INSTANCES, *PROCESSES):
        assert seen.get(family) == before.get(family), family
    assert reasons(seen, (*INSTANCES, *PROCESSES)) == {}
    scene.run(4.0)
    seen = scene.scrape()
    assert sharing(seen) == {"unknown"}
    families = (*INSTANCES, *FAMILIES, *PROCESSES)
    assert not set(families) & seen.keys()
    assert reasons(seen, families) == dict.fromkeys(families, "driver")
    assert seen["gpu_memory_used_bytes"].keys() == before["gpu_memory_used_bytes"].keys()
    scene.double.dialects = ()
    scene.run(2.0)
    seen = scene.scrape()
    assert sharing(seen) == {mode}
    assert [len(seen.get(family, ())) for family in (*INSTANCES, *PROCESSES)] == [
        len(before.get(family, ())) for family in (*INSTANCES, *PROCESSES)
    ]
    assert not scene.double.misused()


def test_a_mode_that_was_never_read_is_unknown_from_the_start(scene_of: SceneOf) -> None:
    scene = scene_of("a100-mig")
    scene.double.dialects = (MODE_FAILS,)
    scene.run(3.0)
    seen = scene.scrape()
    assert sharing(seen) == {"unknown"}
    assert reasons(seen, INSTANCES) == dict.fromkeys(INSTANCES, "driver")


def test_the_mode_is_read_once_a_second(scene_of: SceneOf) -> None:
    scene = scene_of("a100-mig")
    scene.run(10.0)
    assert 9 <= scene.double.calls("nvmlDeviceGetMigMode") <= 12
