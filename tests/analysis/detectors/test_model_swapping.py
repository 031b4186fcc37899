"""Model swapping: services that wait with idle GPUs since a caller sent more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.detectors.platform import texts

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.model_swapping import model_swapping
from foreshock_dashboard.analysis.incidents.lifecycle import State, states
from foreshock_dashboard.render.incident_summary import incident_sentence

Kit = Any


def thrashing(kit: Kit, **changes: object) -> Kit:
    """`embedder` on idle GPUs: requests take 50 times as long since `ingest` sends three times as many."""
    given: dict[str, object] = {
        "services": {name: kit.Served() for name in ("search", "ingest")}
        | {"embedder": kit.Served(rate=kit.step(10.0, 14.0), p95=kit.step(0.02, 1.0))},
        "calls": {
            ("search", "embedder"): kit.Served(rate=8.0, p95=kit.step(0.02, 1.0)),
            ("ingest", "embedder"): kit.Served(rate=kit.step(2.0, 6.0), p95=kit.step(0.02, 1.0)),
        },
        "busy": {(1, "embedder"): kit.step(0.02, 0.03), (2, "embedder"): kit.step(0.02, 0.03)},
    }
    return kit.Platform(**{**given, **changes})


def test_the_caller_that_grew_as_the_waiting_began_is_suspected(platforms: Kit) -> None:
    """The finding is urgent, and its action names the baseline rate."""
    (finding,) = model_swapping(thrashing(platforms).point(later=4))

    assert (str(finding.service), str(finding.suspect.service)) == ("embedder", "ingest")
    assert [gpu.label for gpu in finding.suspect.gpus] == ["host-1/gpu-0", "host-2/gpu-0"]
    assert finding.strength > 0.9
    assert finding.urgent
    assert finding.since == 1_800_000_000 + 2400
    why = "Requests wait while host-1/gpu-0 and host-2/gpu-0 are 97% idle."
    assert texts(finding.actions) == (
        f"Rate-limit calls from ingest to embedder to 2 req/s. {why} Give ingest dedicated replicas of embedder. {why}"
    )


def test_a_queue_shows_waiting_before_durations(platforms: Kit) -> None:
    """Requests wait, and none of them is answered yet."""
    queue = thrashing(
        platforms,
        services={name: platforms.Served() for name in ("search", "ingest", "embedder")},
        queued={"embedder": platforms.step(0.0, 0.8)},
    )

    (finding,) = model_swapping(queue.point(later=4))

    assert str(finding.suspect.service) == "ingest"
    assert finding.evidence[0].name == "queue time"
    assert finding.strength > 0.5


@pytest.mark.parametrize(("p99", "is_found"), [(1.0, True), (0.1, False)], ids=["50 times slower", "5 times slower"])
def test_the_slowest_requests_show_waiting_before_p95(platforms: Kit, p99: float, *, is_found: bool) -> None:
    """Fewer than one in twenty waits so far."""
    tail = platforms.Served(rate=platforms.step(10.0, 14.0), p95=0.02, p99=platforms.step(0.02, p99))
    services = {name: platforms.Served() for name in ("search", "ingest")} | {"embedder": tail}
    found = [*model_swapping(thrashing(platforms, services=services).point(later=4))]
    assert [(str(item.suspect.service), item.evidence[0].name) for item in found] == [("ingest", "p99")] * is_found


def test_a_queue_without_a_known_median_is_no_evidence(platforms: Kit) -> None:
    """There is no finding."""
    unknown = thrashing(
        platforms,
        services={name: platforms.Served() for name in ("search", "ingest")},
        queued={"embedder": platforms.step(0.0, 0.8)},
    )

    assert np.isnan(unknown.point(later=4).level("p50", platforms.service("embedder")))
    assert list(model_swapping(unknown.point(later=4))) == []


NEW = "POST /embed/documents"


def proxied(kit: Kit, **changes: object) -> Kit:
    """The same behind one gateway: a few calls are of a new kind, and their sum is unchanged."""
    given: dict[str, object] = {
        "services": {"embedder": kit.Served(rate=15.0, p95=kit.step(0.02, 1.0))},
        "calls": {("gateway", "embedder"): kit.Served(rate=15.0, p95=kit.step(0.02, 1.0))},
        "kinds": {("embedder", "POST /embed"): 15.0, ("embedder", NEW): kit.step(np.nan, 0.2)},
    }
    return thrashing(kit, **{**given, **changes})


def test_a_new_kind_of_request_is_suspected(platforms: Kit) -> None:
    """The action concerns that kind alone."""
    (finding,) = model_swapping(proxied(platforms).point(later=4))

    assert str(finding.suspect.service) == "gateway"
    assert finding.strength > 0.9
    assert (finding.evidence[1].name, finding.evidence[1].entity) == (f"call rate {NEW}", "gateway -> embedder")
    assert (finding.evidence[1].value, finding.evidence[1].baseline) == (0.2, 0.0)
    why = "Requests wait while host-1/gpu-0 and host-2/gpu-0 are 97% idle."
    assert texts(finding.actions) == (
        f"Rate-limit {NEW} from gateway to embedder. {why}"
        f" Give {NEW} from gateway dedicated replicas of embedder. {why}"
    )


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (thrashing, "Suspected cause: GPU contention: ingest's requests (high confidence)."),
        (proxied, f"Suspected cause: GPU contention: gateway's {NEW} requests (high confidence)."),
    ],
)
def test_the_summary_names_the_requests_and_no_idle_gpu(
    platforms: Kit, scene: Callable[[Kit], Kit], words: str
) -> None:
    """The caller is on none of these GPUs."""
    *_, state = states(State(), scene(platforms).world())
    (incident,) = state.incidents
    sentence = incident_sentence(incident)
    assert sentence.startswith("embedder is breaching its SLO")
    assert words in sentence
    assert "gpu-" not in sentence


OTHER: dict[str, Callable[[Kit], Kit]] = {
    "its GPUs are busy": lambda kit: thrashing(kit, busy={(1, "embedder"): kit.step(0.3, 0.9)}),
    "requests need as much more GPU time": lambda kit: thrashing(kit, busy={(1, "embedder"): kit.step(0.004, 0.4)}),
    "no caller grows": lambda kit: thrashing(
        kit, calls={("ingest", "embedder"): kit.Served(rate=2.0, p95=kit.step(0.02, 1.0))}
    ),
    "it waits for its callee": lambda kit: thrashing(
        kit,
        calls={
            ("ingest", "embedder"): kit.Served(rate=kit.step(2.0, 6.0)),
            ("embedder", "store"): kit.Served(p95=kit.step(0.01, 0.9)),
        },
    ),
    "it is not slower": lambda kit: thrashing(kit, services={"embedder": kit.Served()}),
    "the kind appeared half an hour before": lambda kit: proxied(
        kit, kinds={("embedder", "POST /embed"): 15.0, ("embedder", NEW): kit.step(np.nan, 0.2, 60)}
    ),
    "a rare kind grows a little": lambda kit: proxied(
        kit, kinds={("embedder", "POST /embed"): 15.0, ("embedder", NEW): kit.step(0.02, 0.03)}
    ),
    "the kind is a small share of all requests": lambda kit: proxied(
        kit,
        services={"embedder": kit.Served(rate=900.0, p95=kit.step(0.02, 1.0))},
        calls={("gateway", "embedder"): kit.Served(rate=900.0, p95=kit.step(0.02, 1.0))},
        kinds={("embedder", "POST /embed"): 900.0, ("embedder", NEW): kit.step(np.nan, 0.2)},
    ),
    "all kinds began with the service, a minute before": lambda kit: proxied(
        kit,
        services={"embedder": kit.Served(rate=kit.step(np.nan, 15.0, 232), p95=kit.step(0.02, 1.0))},
        kinds={("embedder", name): kit.step(np.nan, 7.0, 232) for name in ("POST /embed", NEW)},
    ),
    "it is on no GPU": lambda kit: thrashing(kit, busy={(1, "other"): 0.1}),
}


@pytest.mark.parametrize("name", OTHER)
def test_no_caller_is_suspected(platforms: Kit, name: str) -> None:
    """Slowdowns with another reason have no likely finding."""
    platform = OTHER[name](platforms)

    assert [f for later in range(10) for f in model_swapping(platform.point(later)) if f.strength >= 0.5] == []


HOLES = st.lists(st.tuples(st.integers(0, 2), st.integers(200, 299), st.sampled_from([0.0, np.nan, 1e9])), max_size=60)


@given(rates=HOLES, durations=HOLES, kinds=HOLES)
@settings(max_examples=40, deadline=None)
def test_missing_and_zero_values_have_defined_findings(
    platforms: Kit,
    rates: list[tuple[int, int, float]],
    durations: list[tuple[int, int, float]],
    kinds: list[tuple[int, int, float]],
) -> None:
    """No requests, no samples, extreme values: strength 0 to 1 and finite severity, or no finding."""
    kinds_ = {("embedder", name): platforms.step(5.0, 9.0) for name in "abc"}
    world = thrashing(platforms, kinds=kinds_).world()
    operation_rate = world.operation_red.rate.copy()
    rate, p95, calls = world.red.rate.copy(), world.red.p95.copy(), world.calls.rate.copy()
    for row, column, value in rates:
        rate[row, column] = calls[row % len(calls), column] = value
    for row, column, value in durations:
        p95[row, column] = value
    for row, column, value in kinds:
        operation_rate[row, column] = value
    red, edges = replace(world.red, rate=rate, p95=p95), replace(world.calls, rate=calls)
    operations = replace(world.operation_red, rate=operation_rate)
    holed = replace(world, red=red, calls=edges, operation_red=operations)

    for at in (0, 1, 242, 299):
        for finding in model_swapping(EvaluationPoint(holed, at, baselines_at(holed, min(at, 240)))):
            assert 0 < finding.strength <= 1
            assert 1 <= finding.severity <= 20


def test_a_service_without_finished_requests_has_a_finding(platforms: Kit) -> None:
    """Its rate is 0, and its requests wait."""
    stuck = thrashing(
        platforms,
        services={"embedder": platforms.Served(rate=platforms.step(10.0, 0.0), p95=platforms.step(0.02, 1.0))},
    )

    assert [str(finding.suspect.service) for finding in model_swapping(stuck.point(4))] == ["ingest"]
