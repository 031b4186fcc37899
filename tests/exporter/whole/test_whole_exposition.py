"""Exposition of all kinds of hosts: number of series, promtool, both formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.exporter.whole.conftest import HOSTS, HostOf
from tests.exporter.whole.exposition import (
    SeriesOf,
    families,
    from_openmetrics,
    from_text,
    refused_by_promtool,
    series_by_gpu,
)
from tests.nvml.profiles import PROFILES
from tests.nvml.scene import Scene
from tests.nvml.scripted import ScriptedHost

from foreshock_exporter.gpu.limits import RESOURCES
from foreshock_exporter.model.device import Instance

MOST = 90
"""Series of a GPU by the design, besides 4 for each service on it, one for each resource that it
lost time to, and one for each pair of which one may stall."""
OF_A_XID, OF_AN_INSTANCE, OF_A_PLACE, OF_A_LINK = 2, 3, 2, 2
"""Series for each kind of error that was reported, each MIG instance, and each NVLink where it is enabled."""
MOMENTS = {"sick": (10.0, 110.0, 200.0, 270.0, 330.0, 450.0, 500.0, 590.0), "contended": (30.0, 100.0)}
"""When a script is looked at, so as to see each thing that happens in it. Seconds."""


def played(scene: Scene, name: str) -> list[bytes]:
    """The expositions of a host at several moments."""
    start, found = scene.time, []
    for moment in MOMENTS.get(name, (30.0,)):
        scene.run(start + moment - scene.time, 2.0)
        found.append(scene.exporter.render())
    return found


def early(scene: Scene) -> Mapping[str, SeriesOf]:
    """The series of each GPU soon after the beginning."""
    scene.run(12.0, 1.0)
    return series_by_gpu(scene.exporter.render())


def bounded(found: Mapping[str, SeriesOf]) -> None:
    assert found
    for uuid, series in found.items():
        assert series.of_services <= (4 + len(RESOURCES)) * series.services, (uuid, series)
        assert series.pairs <= series.services**2, (uuid, series)
        assert series.itself - series.xids <= MOST, (uuid, series)


def seven_instances(time: float) -> ScriptedHost:
    """The A100 divided as far as it goes."""
    (gpu,) = PROFILES["a100-mig"].at(time).gpus
    instances = tuple(Instance(f"MIG-{n}", n, 0, "1g.10gb", 2.0**30, 9.5 * 2.0**30, n, 1) for n in range(7))
    processes = tuple(process._replace(instance="MIG-0") for process in gpu.processes)
    divided = replace(gpu, reading=replace(gpu.reading, instances=instances), processes=processes)
    return ScriptedHost(time, (divided,))


@pytest.mark.parametrize("name", HOSTS)
def test_a_gpu_has_at_most_80_series_besides_those_of_its_services_and_errors(name: str, host_of: HostOf) -> None:
    """Every series with its index or UUID counts, including those about the exporter."""
    scene = host_of(name)
    for text in played(scene, name):
        bounded(series_by_gpu(text))
        assert all(series.links == 0 for series in series_by_gpu(text).values())


def test_an_error_that_was_reported_adds_two_series(host_of: HostOf) -> None:
    texts = played(host_of("sick"), "sick")
    kinds = sum(name == "gpu_xid_errors_total" for name, _ in from_text(texts[-1]))
    assert kinds == 4, "94, 63 and 74 on one GPU, 79 on another"
    assert sum(series.xids for series in series_by_gpu(texts[-1]).values()) == OF_A_XID * kinds


def test_a_mig_instance_adds_three_series_and_the_place_of_a_gpu_instance_two(host_of: HostOf) -> None:
    scene = host_of("a100-mig")
    (three,) = early(scene).values()
    assert three.instances == 3 * OF_AN_INSTANCE + 2 * OF_A_PLACE, "two of them share a GPU instance"
    scene.at = seven_instances
    (seven,) = early(scene).values()
    assert seven.instances == 7 * (OF_AN_INSTANCE + OF_A_PLACE)
    assert seven.all - seven.instances == three.all - three.instances


@pytest.mark.parametrize("name", HOSTS)
def test_per_link_counters_add_two_series_per_link(name: str, host_of: HostOf) -> None:
    apart, together = (early(host_of(name, per_link=per_link)) for per_link in (True, False))
    bounded(apart)
    links = {"t4": 0, "a100-mig": 12}.get(name, 18)
    for uuid, series in apart.items():
        assert series.links == OF_A_LINK * links
        assert series.all - series.links == together[uuid].all


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("per_link", [False, True], ids=["", "per-link"])
def test_promtool_accepts_both_formats_and_they_are_equal(name: str, per_link: bool, host_of: HostOf) -> None:
    scene = host_of(name, per_link=per_link)
    seen: set[str] = set()
    for text in played(scene, name):
        assert not refused_by_promtool(text)
        seen |= families(text)
    assert from_openmetrics(scene.exporter.render(openmetrics=True)) == from_text(scene.exporter.render())
    assert ("gpu_nvlink_port_receive_bytes" in seen) == (per_link and name != "t4")
