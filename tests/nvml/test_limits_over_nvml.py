"""Shared resources at their limit over NVML's ABI: DRAM by GPM, PCIe and NVLink against their links, and power."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.nvml.dialect import Dialect
from tests.nvml.profiles import PROFILES, START, activity
from tests.nvml.scene import Scene, SceneOf
from tests.nvml.scripted import ScriptedGpu, ScriptedHost

FAMILY, WAIT = "gpu_resource_saturated_seconds_total", "gpu_service_resource_wait_seconds_total"
PCIE5_X16 = 63.0e9
LINKS = 17 * 26.562e9
Change = Callable[[ScriptedGpu, float], ScriptedGpu]


def at_limit(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
    """DRAM at 96%, PCIe at 80% in one direction, NVLink at 74%, and half of the time at the power limit."""
    counters = replace(
        gpu.counters,
        pcie_receive_bytes=0.8 * PCIE5_X16 * age,
        nvlink_transmit_bytes=0.74 * LINKS * age,
        nvlink_links={},
        throttled_seconds={"power": 0.5 * age},
    )
    return replace(gpu, counters=counters, activity=replace(activity(age), dram_seconds=0.96 * age))


def show(scene: Scene, changed: Change, profile: str = "h100") -> None:
    """Let the GPU of the scene be the profile's, changed with the seconds since its start."""
    at = PROFILES[profile].at

    def host(time: float) -> ScriptedHost:
        return ScriptedHost(time, (changed(at(time).gpus[0], time - START),))

    scene.at = host


def by_resource(series: dict[tuple[str, ...], Any], service: str = "") -> dict[str, Any]:
    """Seconds by resource, of the GPU or of a service on it."""
    resources = ("dram", "pcie", "nvlink", "power")
    return {
        next(name for name in labels if name in resources): seconds
        for labels, seconds in series.items()
        if not service or service in labels
    }


def reasons(scene: Scene) -> dict[str, str]:
    rows = scene.scrape().get("foreshock_exporter_metric_unavailable", {})
    return {resource: reason for _, metric, reason, resource, _ in rows if metric == FAMILY}


def test_each_resource_at_its_limit_is_counted_with_a_bound_for_the_services_that_share_it(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(),)
    show(scene, at_limit)
    scene.run(3.0)
    before = scene.scrape()
    scene.run(20.0)
    after = scene.scrape()
    grown = {key: after[FAMILY][key] - before[FAMILY][key] for key in after[FAMILY]}
    assert by_resource(grown) == pytest.approx({"dram": 20.0, "pcie": 20.0, "nvlink": 0.0, "power": 10.0})
    assert reasons(scene) == {}
    lost = by_resource(after[WAIT], "train")
    assert 0.0 < lost["dram"] < by_resource(after[WAIT], "embed")["dram"], "who runs less waits longer for DRAM"
    assert 0.0 < lost["power"] <= 0.1 * 11.5, "the clock lacks a tenth"
    assert set(by_resource(after[WAIT], "idle").values()) == {0.0}, "it runs nothing"
    assert lost.keys() == {"dram", "pcie", "nvlink", "power"}, "also before its first loss"


def test_a_service_that_returns_is_not_charged_with_its_earlier_time(scene_of: SceneOf) -> None:
    def at(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
        gone = 28.5 < age < 36.5
        held = tuple(each for each in gpu.processes if not gone or each.service[1] != "embed")
        ran = tuple(
            each for each in gpu.process_samples if each.pid != 4002 or each.timestamp_us < (START + 28.0) * 1e6
        )
        return replace(at_limit(gpu, age), processes=held, process_samples=ran)

    scene = scene_of("h100")
    scene.double.dialects = (Dialect(),)
    show(scene, at)
    scene.run(12.0)
    left = by_resource(scene.scrape()[WAIT], "embed")
    scene.run(6.0)
    assert 0.0 < left["pcie"] == by_resource(scene.scrape()[WAIT], "embed")["pcie"], "it runs nothing since it returned"


def test_mps_clients_have_a_bound_although_they_have_no_gpu_wait(scene_of: SceneOf) -> None:
    def at(gpu: ScriptedGpu, age: float) -> ScriptedGpu:
        return replace(at_limit(gpu, age), processes=tuple(each._replace(mps=True) for each in gpu.processes))

    scene = scene_of("h100")
    show(scene, at)
    scene.run(10.0)
    seen = scene.scrape()
    assert "gpu_service_wait_seconds_total" not in seen
    assert 4.0 <= by_resource(seen[WAIT], "train")["dram"] <= 9.0, "while both ran"


def test_mig_instances_share_the_power_limit_but_no_dram(scene_of: SceneOf) -> None:
    scene = scene_of("a100-mig")
    scene.run(10.0)
    seen = scene.scrape()
    assert by_resource(seen[FAMILY]).keys() == {"pcie", "nvlink", "power"}
    assert by_resource(seen[WAIT], "train") == by_resource(seen[WAIT], "embed")
    assert reasons(scene) == {"dram": "mig"}


@pytest.mark.parametrize(
    ("profile", "dialect", "missing"),
    [
        ("t4", PROFILES["t4"].dialect, {"dram": "not_supported", "nvlink": "not_supported", "pcie": "not_supported"}),
        ("h100", Dialect(gpm_codes={10: pynvml.NVML_ERROR_NO_PERMISSION}), {"dram": "no_permission"}),
        ("h100", Dialect(no_fields=frozenset({74})), {}),
        ("h100", Dialect(no_fields=frozenset({90, 164})), {"nvlink": "link_unknown"}),
        ("h100", Dialect(no_fields=frozenset({164})), {}),
        ("h100", Dialect(codes={"nvmlDeviceGetMaxPcieLinkGeneration": pynvml.NVML_ERROR_UNKNOWN}),
         {"pcie": "link_unknown"}),
    ],
    ids=["before Hopper", "GPM forbidden", "other throttling", "no link speed", "common link speed", "no generation"],
)  # fmt: skip
def test_a_resource_that_cannot_be_known_is_missing_with_its_reason(
    profile: str, dialect: Dialect, missing: dict[str, str], scene_of: SceneOf
) -> None:
    scene = scene_of(profile)
    scene.double.dialects = (dialect,)
    show(scene, lambda gpu, _: gpu, profile)
    scene.run(4.0)
    assert reasons(scene) == missing | ({"power": "not_supported"} if 74 in dialect.no_fields else {})
    assert not reasons(scene).keys() & by_resource(scene.scrape()[FAMILY]).keys()
