"""Each collector can be disabled or deselected, with exactly its own families."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import pytest
from tests.conftest import Eventually
from tests.exporter.conftest import Tree
from tests.exporter.whole.exposition import families, from_openmetrics, from_text, refused_by_promtool
from tests.exporter.whole.host_tree import HOST, process
from tests.nvml.double import Double
from tests.nvml.profiles import PROFILES, START
from tests.nvml.scripted import ScriptedHost

from foreshock_exporter.daemon import Daemon, build
from foreshock_exporter.options import parse
from foreshock_exporter.script.playback import ScriptedXid
from foreshock_exporter.web.server import serve

HEALTH = {
    "gpu_clock_application_hertz",
    "gpu_clock_max_hertz",
    "gpu_ecc_errors",
    "gpu_ecc_location_errors",
    "gpu_fabric_state",
    "gpu_nvlink_errors",
    "gpu_nvlink_links",
    "gpu_nvlink_links_up",
    "gpu_pcie_link_generation",
    "gpu_pcie_link_generation_max",
    "gpu_pcie_link_width",
    "gpu_pcie_link_width_max",
    "gpu_pcie_replays",
    "gpu_recovery_action",
    "gpu_remapped_rows",
    "gpu_row_remap_failed",
    "gpu_row_remap_pending",
}
HOST_WAITS = ("gpu_host_", "gpu_service_cpu_", "gpu_service_io_", "gpu_service_memory_wait", "gpu_service_page_cache_")
OURS: Mapping[str, Callable[[str], bool]] = {
    "network": lambda family: family.startswith("node_network_"),
    "infiniband": lambda family: family.startswith("node_infiniband_"),
    "netstat": lambda family: family.startswith("node_netstat_"),
    "pressure": lambda family: family.startswith("node_pressure_"),
    "service-cpu": lambda family: family.startswith(HOST_WAITS),
    "health": lambda family: family in HEALTH,
    "xid": lambda family: family.startswith("gpu_xid_"),
}
"""Which families are a collector's."""
SCRAPED = ("gpu", "network", "infiniband", "netstat", "pressure", "service_cpu")
"""The collectors that a scrape may ask for."""


@pytest.fixture
def started(tree: Tree, nvml: ModuleType, double: Double, eventually: Eventually) -> Callable[..., Daemon]:
    """Build the daemon of these arguments over an H100 with an XID error, and sample it until it has its activity."""
    root = tree({**HOST, **process(4001, "train")})
    assert nvml is not None

    def start(*arguments: str) -> Daemon:
        paths = (f"--path.procfs={root}/proc", f"--path.sysfs={root}/sys", f"--path.rootfs={root}")
        time = [START + 20.0]
        daemon = build(parse([*paths, *arguments], {}), lambda: time[0])

        def has_activity() -> bool:  # which needs two samples 0.1 s apart by the real clock
            time[0] += 1.0
            shown(double, time[0])
            daemon.exporter.sample()
            return time[0] >= START + 23.0 and b"gpu_sm_active_seconds_total{" in daemon.exporter.render()

        eventually(has_activity, "the activity of the GPU")
        return daemon

    return start


def shown(double: Double, time: float) -> None:
    host = PROFILES["h100"].at(time)
    xids = (ScriptedXid(0.0, 0, 31),) if time > START + 21.5 else ()
    double.show(ScriptedHost(time, host.gpus, xids))


@pytest.mark.parametrize("collector", OURS)
def test_a_collector_that_is_switched_off_leaves_exactly_its_families_out(
    collector: str, started: Callable[..., Daemon]
) -> None:
    whole, without = started(), started(f"--no-collector.{collector}")
    everything, left = families(whole.exporter.render()), families(without.exporter.render())
    for daemon in (whole, without):
        daemon.close()
    missing = everything - left
    assert missing == {family for family in everything if OURS[collector](family)}
    assert missing
    assert left <= everything


def test_all_collectors_can_be_switched_off_together(started: Callable[..., Daemon]) -> None:
    """As beside node_exporter, on a host where nothing but sharing is of interest."""
    daemon = started(*(f"--no-collector.{collector}" for collector in OURS))
    left = families(daemon.exporter.render())
    daemon.close()
    assert not [family for family in left for ours in OURS.values() if ours(family)]
    assert {"gpu_busy_seconds", "gpu_service_busy_seconds", "gpu_power_watts", "foreshock_exporter_mock"} <= left


def ask(port: int, *collectors: str) -> set[str]:
    query = "&".join(f"{quote('collect[]')}={collector}" for collector in collectors)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?{query}", timeout=30) as answer:
        return families(answer.read())


@pytest.fixture
def port(started: Callable[..., Daemon]) -> Iterator[int]:
    """Of a server of such a host."""
    daemon = started()
    server = serve(daemon.exporter, "127.0.0.1", 0)
    yield server.port
    server.close()
    daemon.close()


def test_a_scrape_may_select_collectors(port: int) -> None:
    """Families of the exporter and its host are always included, for joins."""
    everything, common = ask(port), set.intersection(*(ask(port, name) for name in SCRAPED))
    assert {"target_info", "foreshock_exporter_mock", "foreshock_exporter_collector_success"} <= common
    assert not [family for family in common if family.startswith(("gpu_", "node_"))]
    found = {name: ask(port, name) - common for name in SCRAPED}
    assert all(found.values())
    assert sum(map(len, found.values())) + len(common) == len(everything)
    for name in SCRAPED[1:]:
        assert found[name] == {family for family in everything if OURS[name.replace("_", "-")](family)}
    assert ask(port, "gpu", "netstat") == found["gpu"] | found["netstat"] | common


def test_an_unknown_collector_gets_an_error_with_the_known_ones(port: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(port, "gpu", "infinityband")
    known = b"dcgm, gpu, infiniband, netstat, network, pod_resources, pressure, service_cpu"
    with refused.value as answer:
        assert (answer.status, answer.read()) == (400, b"Unknown collector infinityband (known: " + known + b")\n")


def test_a_scrape_may_select_disabled_collectors_but_no_unknown_ones(started: Callable[..., Daemon]) -> None:
    """One scrape configuration fits all hosts; a typo is an error."""
    daemon = started("--no-collector.netstat")
    assert b"node_" not in daemon.exporter.render(collectors=frozenset({"netstat"}))
    with pytest.raises(ValueError, match=r"Unknown collector netsat \(known: dcgm, gpu, "):
        daemon.exporter.render(collectors=frozenset({"netsat"}))
    daemon.close()


def test_the_families_of_a_whole_host_are_accepted_and_alike_in_both_formats(started: Callable[..., Daemon]) -> None:
    daemon = started()
    text, openmetrics = daemon.exporter.render(), daemon.exporter.render(openmetrics=True)
    daemon.close()
    assert all(any(map(ours, families(text))) for ours in OURS.values())
    assert not refused_by_promtool(text)
    assert from_openmetrics(openmetrics) == from_text(text)


def test_the_paths_of_the_host_are_those_of_the_fixture(started: Callable[..., Daemon], tmp_path: Path) -> None:
    """Otherwise the tests above would read this machine."""
    daemon = started()
    text = daemon.exporter.render().decode()
    daemon.close()
    assert 'device="eth9"' in text
    assert 'service_name="train"' in text
    assert 'host_id="abc"' in text
    assert (tmp_path / "proc/net/dev").exists()
