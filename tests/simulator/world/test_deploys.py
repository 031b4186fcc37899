"""A deploy replaces replicas one after another; its spans carry the new version, and do what it does differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import pytest

from foreshock_exporter.model.family import Sample
from foreshock_simulator.scenarios.load import parse
from foreshock_simulator.simulation import Simulation

Figures = dict[str, float]
SCENARIO = """
description: A deploy.
duration: 10m
platform:
  hosts: [{name: plain, gpus: 0}]
  services:
    - name: shop/front
      hosts: [plain]
      replicas: 2
      version: 1.4.1
      operations:
        - {route: GET /, steps: [cpu: {median: 4ms}, call: {service: back, route: GET /, policy: {timeout: 5s}}]}
    - {name: shop/back, hosts: [plain], operations: [{route: GET /, steps: [cpu: {median: 4ms}]}]}
  pools: []
  tenants: []
  flows: [{name: users, service: front, route: GET /, rate: 2}]
faults: [deploy: {service: front, at: 200s, version: 1.4.2, %s}]
"""


def spans_after(options: str, seconds: float = 600.0) -> list[tuple[float, str, str, str, float]]:
    """End, version, kind, status, and seconds of each span of the deployed service."""
    simulation = Simulation(parse(SCENARIO % options, "deploy.yaml"), 1, 0.0, sample=1.0)
    return [
        (span.ended, str(span.resource["service.version"]), span.kind, span.status, span.ended - span.began)
        for span in simulation.advance(seconds)
        if span.resource["service.name"] == "front"
    ]


def test_replicas_are_replaced_one_after_another() -> None:
    spans = spans_after("pause: 30s")
    first = {version: min(end for end, found, *_ in spans if found == version) for version in ("1.4.1", "1.4.2")}
    last_old = max(end for end, version, *_ in spans if version == "1.4.1")
    assert first["1.4.1"] < 200 < first["1.4.2"] < last_old < 400


def test_a_canary_runs_beside_the_version_before() -> None:
    late = Counter(version for end, version, *_ in spans_after("replicas: 1") if end > 400)
    assert min(late["1.4.1"], late["1.4.2"]) > 20


def kube_state(simulation: Simulation) -> tuple[float, dict[str, str]]:
    """Generation of the deployed service, and the image of each of its pods, as kube-state-metrics reports them."""
    rows = [
        (family.name, dict(zip(family.labels, sample.labels, strict=True)), sample.value)
        for family, samples in simulation.capacity()
        for sample in samples
        if isinstance(sample, Sample)
    ]
    (generation,) = [
        value
        for name, labels, value in rows
        if name == "kube_deployment_metadata_generation" and labels["deployment"] == "front"
    ]
    return generation, {
        labels["pod"]: labels["image"]
        for name, labels, _ in rows
        if name == "kube_pod_container_info" and labels["container"] == "front"
    }


@pytest.mark.parametrize(("options", "kept"), [("pause: 30s", 0), ("replicas: 1", 1)], ids=["all replicas", "a canary"])
def test_kube_state_metrics_shows_a_deploy_by_its_generation_images_and_pods(options: str, kept: int) -> None:
    simulation = Simulation(parse(SCENARIO % options, "deploy.yaml"), 1, 0.0)
    simulation.advance(190.0)
    generation, before = kube_state(simulation)
    assert (generation, [*before.values()]) == (1, ["example.com/shop/front:1.4.1"] * 2)
    simulation.advance(600.0)
    generation, after = kube_state(simulation)
    versions = sorted(image.rpartition(":")[2] for image in after.values())
    assert (generation, versions) == (2, ["1.4.1"] * kept + ["1.4.2"] * (2 - kept))
    assert len(before.keys() & after.keys()) == kept


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        pytest.param("slower: 20", lambda new, old: new["seconds"] > 5 * old["seconds"], id="slower"),
        pytest.param("failing: 50%", lambda new, old: 0.3 < new["failed"] < 0.7 and not old["failed"], id="failing"),
        pytest.param("repeats: 3", lambda new, old: new["calls"] > 2.5 > 1.5 > old["calls"], id="more calls"),
        pytest.param("timeouts: 0.0005", lambda new, old: new["failed"] > 0.5 and not old["failed"], id="cut timeout"),
    ],
)
def test_a_version_does_what_it_does_differently(options: str, difference: Callable[[Figures, Figures], bool]) -> None:
    figures = {}
    for version in ("1.4.1", "1.4.2"):
        own = [span for span in spans_after(options) if span[1] == version]
        served = [span for span in own if span[2] == "server"]
        figures[version] = {
            "seconds": sum(span[4] for span in served) / len(served),
            "failed": sum(span[3] == "error" for span in served) / len(served),
            "calls": (len(own) - len(served)) / len(served),
        }
    assert difference(figures["1.4.2"], figures["1.4.1"])


def test_a_version_that_leaks_memory_is_killed_again_and_again() -> None:
    """A replica serves for so long after each cold start."""
    spans = spans_after("leak: 20s")
    served = sorted(end for end, version, kind, *_ in spans if (version, kind) == ("1.4.2", "server"))
    gaps = [later - earlier for earlier, later in pairwise(served) if earlier > 300]
    assert sum(gap > 5 for gap in gaps) >= 3


WEIGHTS = """
description: A deploy of a model server.
duration: 10m
platform:
  hosts: [{name: gpus, gpus: 1}]
  services:
    - name: shop/embedder
      pool: embed
      version: 1.4.1
      model: {batch_model: {model: e, seconds: 6ms, sm: 0.4, dram: 0.3, memory_bytes: 8GB}}
      operations: [{route: GET /a, steps: [serve: {variant: a}]}, {route: GET /b, steps: [serve: {variant: b}]}]
  pools: [{name: embed, places: [gpus/0]}]
  tenants: []
  flows: [{name: a, service: embedder, route: GET /a, rate: 2}, {name: b, service: embedder, route: GET /b, rate: 2}]
faults: [deploy: {service: embedder, at: 200s, version: 1.4.2, swap: 0.2s}]
"""


def test_a_version_with_a_wrong_cache_of_weights_loads_them_for_each_variant() -> None:
    seconds: dict[str, list[float]] = {}
    for span in Simulation(parse(WEIGHTS, "deploy.yaml"), 1, 0.0, sample=1.0).advance(600.0):
        if span.kind == "server":
            seconds.setdefault(str(span.resource["service.version"]), []).append(span.ended - span.began)
    assert median(seconds["1.4.2"]) > 5 * median(seconds["1.4.1"])
