"""Placement of GPU instances over NVML's ABI: where they are, or why it is not known."""

from __future__ import annotations

from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.nvml.dialect import Dialect
from tests.nvml.scene import SceneOf

FAMILIES = ("gpu_mig_placement_start", "gpu_mig_placement_size")


def reasons(seen: dict[str, Any]) -> dict[str, str]:
    rows = seen["foreshock_exporter_metric_unavailable"]
    return {metric: reason for _, metric, reason, _, _ in rows if metric in FAMILIES}


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
