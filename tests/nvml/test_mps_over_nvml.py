"""GPU time of MPS clients over NVML's ABI, in each way a driver may report it; NVML documents none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.nvml.dialect import Dialect
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


def reasons(seen: dict[str, Any], *families: str) -> dict[str, str]:
    rows = seen["foreshock_exporter_metric_unavailable"]
    return {metric: reason for _, metric, reason, _, _ in rows if metric in (families or (BUSY_FAMILY,))}


def sharing(seen: dict[str, Any]) -> set[str]:
    return {labels[-3] for labels in seen["gpu_info"]}


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


CLIENT_FAMILIES = (
    "gpu_mps_clients",
    "gpu_service_mps_clients",
    "gpu_service_mps_sm_limit_ratio",
    "gpu_service_mps_memory_limit_bytes",
)
WAIT_FAMILIES = ("gpu_contended_seconds_total", "gpu_service_wait_seconds_total")
SERVER_FAMILIES = ("gpu_mps_servers", "gpu_mps_servers_ended_total")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_UNKNOWN, "driver"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "no_permission"),
        (pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, "not_supported"),
    ],
)
def test_a_list_of_clients_that_fails_is_no_list_of_no_clients(code: int, reason: str, scene_of: SceneOf) -> None:
    """Clients are in the list of compute processes, too, so their processes, memory, and time stay known."""
    scene = scene_of("h100")
    show(scene, "clients")
    scene.run(5.0)
    assert total(scene.scrape()["gpu_mps_clients"]) == 3.0
    processes = scene.scrape()["gpu_service_processes"]
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetMPSComputeRunningProcesses_v3": code}),)
    scene.run(5.0)
    seen = scene.scrape()
    assert not set(CLIENT_FAMILIES) & seen.keys()
    assert reasons(seen, *CLIENT_FAMILIES) == dict.fromkeys(CLIENT_FAMILIES, reason)
    assert [total(seen[family]) for family in SERVER_FAMILIES] == [1.0, 0.0], "it is in the list of compute processes"
    assert seen["gpu_service_processes"] == processes
    assert sharing(seen) == {"mps"}, "its server is seen"
    assert not set(WAIT_FAMILIES) & seen.keys()
    assert reasons(seen, *WAIT_FAMILIES) == dict.fromkeys(WAIT_FAMILIES, "mps")
    assert reasons(seen) == {}
    assert by_name(seen[BUSY_FAMILY])["train"] > 0.0
    scene.double.dialects = ()
    scene.run(5.0)
    assert total(scene.scrape()["gpu_mps_clients"]) == 3.0
    assert reasons(scene.scrape(), "gpu_mps_clients") == {}


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND])
def test_a_list_of_clients_that_fails_on_an_empty_gpu_is_unknown_too(code: int, scene_of: SceneOf) -> None:
    """After a server was seen, that there is no process does not make the list known."""
    scene = scene_of("h100")
    show(scene, "clients")
    scene.run(5.0)
    scene.at = lambda time: ScriptedHost(time, (replace(PROFILES["h100"].at(time).gpus[0], processes=()),))
    scene.run(5.0)
    assert total(scene.scrape()["gpu_mps_clients"]) == 0.0, "the list is known, and empty"
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetMPSComputeRunningProcesses_v3": code}),)
    scene.run(5.0)
    seen = scene.scrape()
    assert not set(CLIENT_FAMILIES) & seen.keys()
    expected = "not_supported" if code == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND else "no_permission"
    assert reasons(seen, *CLIENT_FAMILIES) == dict.fromkeys(CLIENT_FAMILIES, expected)
    assert [total(seen[family]) for family in SERVER_FAMILIES] == [0.0, 1.0]


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND])
@pytest.mark.parametrize("one_service", [True, False])
def test_time_of_a_server_whose_clients_are_not_listed_is_that_of_the_sole_service(
    one_service: bool, code: int, scene_of: SceneOf
) -> None:
    """With several services it is unknown, not 0."""
    scene = scene_of("h100")
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetMPSComputeRunningProcesses_v3": code}),)
    show(scene, "server", one_service=one_service)
    scene.run(40.0)
    seen = scene.scrape()
    assert not set(WAIT_FAMILIES) & seen.keys()
    if one_service:
        assert by_name(seen[BUSY_FAMILY]) == {"train": pytest.approx(total(seen["gpu_busy_seconds_total"]), rel=0.02)}
    else:
        assert BUSY_FAMILY not in seen
    assert reasons(seen) == ({} if one_service else {BUSY_FAMILY: "mps"})


def test_a_sharing_mode_that_cannot_be_read_holds_for_ten_seconds_and_is_then_unknown(scene_of: SceneOf) -> None:
    """Unknown is no time-slicing: waits have a reason, and do not count."""
    scene = scene_of("h100")
    scene.run(20.0)
    before = total(scene.scrape()["gpu_contended_seconds_total"])
    code = pynvml.NVML_ERROR_UNKNOWN
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetMPSComputeRunningProcesses_v3": code}),)
    scene.run(5.0)
    assert sharing(scene.scrape()) == {"time-slicing"}
    scene.run(10.0)
    seen = scene.scrape()
    assert sharing(seen) == {"unknown"}
    assert reasons(seen, *WAIT_FAMILIES) == dict.fromkeys(WAIT_FAMILIES, "unknown")
    assert by_name(seen[BUSY_FAMILY])["train"] > 0.0
    scene.run(20.0)
    scene.double.dialects = ()
    scene.run(2.0)
    seen = scene.scrape()
    assert sharing(seen) == {"time-slicing"}
    assert before < total(seen["gpu_contended_seconds_total"]) < before + 20.0


def test_processes_that_cannot_be_listed_are_a_reason_for_missing_clients_and_servers(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    show(scene, "clients")
    scene.run(5.0)
    code = pynvml.NVML_ERROR_NO_PERMISSION
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetComputeRunningProcesses_v3": code}),)
    scene.run(5.0)
    seen = scene.scrape()
    families = (*CLIENT_FAMILIES, *SERVER_FAMILIES)
    assert not set(families) & seen.keys()
    assert reasons(seen, *families) == dict.fromkeys(families, "no_permission")


def test_a_driver_that_cannot_list_clients_is_no_sign_of_mps(scene_of: SceneOf) -> None:
    scene = scene_of("h100")
    code = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    scene.double.dialects = (Dialect(codes={"nvmlDeviceGetMPSComputeRunningProcesses_v3": code}),)
    scene.run(5.0)
    seen = scene.scrape()
    assert not {"gpu_mps_clients", "gpu_mps_servers"} & seen.keys()
    assert reasons(seen, *CLIENT_FAMILIES, *SERVER_FAMILIES) == {}
