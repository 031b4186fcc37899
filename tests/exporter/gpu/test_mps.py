"""MPS: servers, the control daemon, clients, and limits, as a scrape shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from foreshock_exporter.gpu.tenants import MpsState, Tenants
from foreshock_exporter.model.device import DeviceError, GpuProcess, Processes
from foreshock_exporter.model.service import AttributedService, MpsProcess

if TYPE_CHECKING:
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost, Series

SERVER, OTHER_SERVER = 90, 91
CHAT, FREE = AttributedService("shop", "chat", "otel"), AttributedService("shop", "free", "otel")


def server(limit: float | None = None, daemon: bool | None = True) -> AttributedService:
    return AttributedService("", "nvidia-mps", "systemd", mps=MpsProcess(limit, None, True, daemon))


@pytest.fixture
def host(scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu]) -> ScriptedHost:
    """A GPU with a server and three clients: two of a service with limits, one of a service without."""
    clients = (1, 2, 3)
    made = scripted(gpu(sharing="mps", memory=dict.fromkeys((*clients, SERVER), 1.0), mps_clients=frozenset(clients)))
    limited = (MpsProcess(0.5, 2.0**30), MpsProcess(0.3))
    made.services = {pid: CHAT._replace(mps=limits) for pid, limits in zip(clients, limited, strict=False)}
    made.services |= {3: FREE, SERVER: server()}
    return made


@pytest.fixture
def seen(host: ScriptedHost, series: Callable[[bytes], Series]) -> Callable[[], Mapping[str, object]]:
    """Metrics of MPS after one more second: the value, or the values by service."""
    exporter = host.exporter()

    def sample() -> Mapping[str, object]:
        host.time += 1.0
        exporter.sample()
        found: dict[str, object] = {}
        for (name, labels), value in series(exporter.render()).items():
            service = dict(labels).get("service_name")
            if "_mps_" in name and service is None:
                found[name] = value
            elif "_mps_" in name:
                found[name] = {**found.get(name, {}), service: value}  # type: ignore[dict-item] # by service so far
        return found

    return sample


def test_clients_and_limits_are_shown_by_service_and_the_server_is_no_service(
    host: ScriptedHost, seen: Callable[[], Mapping[str, object]], series: Callable[[bytes], Series]
) -> None:
    shown = seen()
    assert shown == {
        "gpu_service_mps_sm_limit_ratio": {"chat": 0.3},
        "gpu_service_mps_memory_limit_bytes": {"chat": 2.0**30},
        "gpu_service_mps_clients": {"chat": 2.0, "free": 1.0},
        "gpu_mps_clients": 3.0,
        "gpu_mps_servers": 1.0,
        "gpu_mps_servers_ended_total": 0.0,
        "gpu_mps_control_daemon_up": 1.0,
    }
    exporter = host.exporter()
    exporter.sample()
    services = {dict(labels).get("service_name") for _, labels in series(exporter.render())}
    assert services == {None, "chat", "free"}


@pytest.mark.parametrize(
    ("of_servers", "limits"),
    [
        ((0.4,), {"chat": 0.3, "free": 0.4}),
        ((0.2,), {"chat": 0.2, "free": 0.2}),
        ((0.4, 0.4), {"chat": 0.3, "free": 0.4}),
        ((0.4, None), {"chat": 0.3}),
    ],
    ids=["a default", "the lower one holds", "of two servers", "unknown which server"],
)
def test_a_client_can_only_lower_the_limit_of_its_server(
    of_servers: tuple[float | None, ...],
    limits: Mapping[str, float],
    host: ScriptedHost,
    seen: Callable[[], Mapping[str, object]],
) -> None:
    """The environment of the server is that of its control daemon (NVIDIA's MPS guide, 5.2.5)."""
    for pid, limit in zip((SERVER, OTHER_SERVER), of_servers, strict=False):
        host.services[pid] = server(limit)
        host.gpus[0].memory[pid] = 1.0
    assert seen()["gpu_service_mps_sm_limit_ratio"] == limits


def test_a_server_that_ended_is_counted_also_if_another_follows(
    host: ScriptedHost, seen: Callable[[], Mapping[str, object]]
) -> None:
    seen()
    del host.gpus[0].memory[SERVER]
    shown = seen()
    assert (shown["gpu_mps_servers"], shown["gpu_mps_servers_ended_total"]) == (0.0, 1.0)
    assert "gpu_mps_control_daemon_up" not in shown, "nothing shows it"
    host.services[OTHER_SERVER] = server(daemon=False)
    host.gpus[0].memory[OTHER_SERVER] = 1.0
    shown = seen()
    assert (shown["gpu_mps_servers"], shown["gpu_mps_servers_ended_total"]) == (1.0, 1.0)
    assert shown["gpu_mps_control_daemon_up"] == 0.0


@pytest.mark.parametrize(
    ("shares", "reasons"),
    [
        ({1: 0.3, 2: 0.3, 3: 0.3}, set()),
        ({SERVER: 0.9}, {"mps"}),
        ({1: 0.2, SERVER: 0.7}, {"mps"}),
        ({}, {"mps"}),
    ],
    ids=["by client", "of the server", "mostly of the server", "unknown"],
)
def test_time_of_clients_without_a_known_service_is_divided_all_the_same(
    shares: Mapping[int, float], reasons: set[str], host: ScriptedHost, series: Callable[[bytes], Series]
) -> None:
    """That a service is unknown has other reasons, such as PIDs of another namespace, and another remedy."""
    host.gpus[0].shares = dict(shares)
    host.services = {1: CHAT, SERVER: server()}
    exporter = host.exporter()
    for _ in range(10):
        host.time += 1.0
        exporter.sample()
    shown = series(exporter.render())
    rows = [dict(labels) for name, labels in shown if name == "foreshock_exporter_metric_unavailable"]
    assert {row["reason"] for row in rows if row["metric"] == "gpu_service_busy_seconds_total"} == reasons
    assert ("gpu_service_busy_seconds_total" in {name for name, _ in shown}) == (not reasons)


@pytest.mark.parametrize("fault", ["lost", "processes"])
def test_a_server_that_is_not_seen_for_a_fault_did_not_end(
    fault: str, host: ScriptedHost, seen: Callable[[], Mapping[str, object]]
) -> None:
    seen()
    error = DeviceError("lost" if fault == "lost" else "driver", "broken")
    host.gpus[0].broken, host.gpus[0].broken_processes = (error, None) if fault == "lost" else (None, error)
    assert seen() == {}
    host.gpus[0].broken = host.gpus[0].broken_processes = None
    seen()
    assert seen()["gpu_mps_servers_ended_total"] == 0.0


def test_servers_are_unknown_until_one_is_seen_and_a_gpu_without_mps_has_none_of_this(
    host: ScriptedHost, seen: Callable[[], Mapping[str, object]]
) -> None:
    del host.gpus[0].memory[SERVER]
    assert seen().keys() >= {"gpu_mps_clients", "gpu_service_mps_clients"}
    assert not seen().keys() & {"gpu_mps_servers", "gpu_mps_servers_ended_total", "gpu_mps_control_daemon_up"}
    host.gpus[0].mps_clients = frozenset()
    assert seen() == {}


def test_clients_of_some_instances_are_no_number_of_clients() -> None:
    """Under MIG, the list of one instance may fail. A list that fails is no sign of MPS."""
    services = {1: CHAT, 2: FREE}
    tenants = Tenants(lambda pid: services.get(pid))
    tenants.update(Processes((GpuProcess(2, 1.0),), "driver"), 0.0)
    assert tenants.mps is not None
    assert not tenants.used_mps
    tenants.update(Processes((GpuProcess(1, 1.0, is_mps_client=True), GpuProcess(2, 1.0)), "driver"), 1.0)
    assert tenants.mps == MpsState(clients_unknown="driver")
    assert tenants.used_mps
