"""GPU time of MPS clients over NVML's ABI, in each way a driver may report it; NVML documents none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
from tests.nvml.profiles import BUSY, PROFILES, SHARES
from tests.nvml.scene import Scene, SceneOf, total
from tests.nvml.scripted import ScriptedHost, ScriptedProcess

from foreshock_exporter.model.device import ProcessUtilization
from foreshock_exporter.model.service import MpsProcess

SERVER = 4000
BUSY_FAMILY = "gpu_service_busy_seconds_total"
Reported = Literal["clients", "server", "nothing"]


def show(scene: Scene, reported: Reported, *, one_service: bool = False) -> None:
    """Let the H100 run its services as clients of an MPS server, whose time the driver reports as reported."""

    def at(time: float) -> ScriptedHost:
        gpu = PROFILES["h100"].at(time).gpus[0]
        names = {"service": ("shop", "train")} if one_service else {}
        clients = tuple(process._replace(mps=True, **names) for process in gpu.processes)  # type: ignore[arg-type] # one
        server = ScriptedProcess(SERVER, ("", "mps"), 30 * 2.0**20, says=MpsProcess(is_server=True))
        of_server = (
            ProcessUtilization(SERVER, sample.timestamp_us, BUSY) for sample in gpu.samples if sample.ratio > 0.0
        )
        samples = {"clients": gpu.process_samples, "server": tuple(of_server), "nothing": ()}[reported]
        return ScriptedHost(time, (replace(gpu, processes=(*clients, server), process_samples=samples),))

    scene.at = at


def by_name(series: dict[tuple[str, ...], Any]) -> dict[str, float]:
    return {name: value for (_, name, *_), value in series.items()}


def reasons(seen: dict[str, Any]) -> dict[str, str]:
    rows = seen["foreshock_exporter_metric_unavailable"]
    return {metric: reason for _, metric, reason, _, _ in rows if metric == BUSY_FAMILY}


def test_clients_have_their_time_where_the_driver_reports_it(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    show(scene, "clients")
    scene.run(40.0)
    seen = scene.scrape()
    busy = total(seen["gpu_busy_seconds_total"])
    services = by_name(seen[BUSY_FAMILY])
    assert services["train"] == pytest.approx(busy * SHARES[4001] / BUSY, rel=0.02)
    assert services["embed"] == pytest.approx(busy * SHARES[4002] / BUSY, rel=0.02)
    assert reasons(seen) == {}


def test_time_of_the_server_is_that_of_the_service_to_which_all_clients_belong(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    show(scene, "server", one_service=True)
    scene.run(40.0)
    seen = scene.scrape()
    assert by_name(seen[BUSY_FAMILY]) == {"train": pytest.approx(total(seen["gpu_busy_seconds_total"]), rel=0.02)}
    assert reasons(seen) == {}


@pytest.mark.parametrize("reported", ["server", "nothing"])
def test_time_that_the_driver_does_not_divide_is_unknown_for_services_with_the_reason(
    reported: Reported, scene_of: SceneOf
) -> None:
    """Not 0: what is known by service are memory, processes, and clients."""
    scene = scene_of("h100")
    show(scene, reported)
    scene.run(40.0)
    seen = scene.scrape()
    assert BUSY_FAMILY not in seen
    assert reasons(seen) == {BUSY_FAMILY: "mps"}
    assert total(seen["gpu_unattributed_busy_seconds_total"]) == total(seen["gpu_busy_seconds_total"]) > 20.0
    assert by_name(seen["gpu_service_mps_clients"]) == {"train": 1.0, "embed": 1.0, "idle": 1.0}
    assert by_name(seen["gpu_service_memory_used_bytes"]) == {"train": 2.0**33, "embed": 2.0**31}
    show(scene, "clients")
    scene.run(20.0)
    assert by_name(scene.scrape()[BUSY_FAMILY])["train"] > 0.0, "another driver, or the sole process left MPS"
