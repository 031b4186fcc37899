"""Ranking of suspected causes over calls, findings, and load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.rank import CauseRanker
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.incident import SuspectedCause
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.action import reasons_text

Kit = Any
CHAIN = (("user", "front"), ("front", "gateway"), ("gateway", "model"), ("front", "store"), ("gateway", "auth"))
NAMES = ("front", "gateway", "model", "store", "auth")


def chain(kit: Kit, **given: Kit) -> Kit:
    """user → front → gateway → model; front → store; gateway → auth. Others are at their baseline."""
    served = {name: given.get(name, kit.Served()) for name in NAMES}
    also = [("model", "gateway")] if "model_gateway" in given else []
    calls = {(a, b): given.get(f"{a}_{b}", served[b]) for a, b in (*CHAIN, *also)}
    return kit.Platform(services=served, calls=calls)


def slow(kit: Kit, times: float, at: int = 240, normal: float = 0.4, **more: Any) -> Kit:  # noqa: ANN401 - courses
    """A service with latencies `times` the baseline from grid point `at` on."""
    return kit.Served(p95=kit.step(normal, normal * times, at), **more)


def names(
    kit: Kit, point: EvaluationPoint, *victims: str, findings: tuple[Finding, ...] = ()
) -> list[tuple[str, float]]:
    """Candidates by name with their scores."""
    candidates = CauseRanker(GraphWalk(point, findings)).candidates([kit.service(name) for name in victims], point.time)
    return [(str(item.service), item.score) for item in candidates]


PLATFORMS: dict[str, tuple[Callable[[Kit], Kit], str]] = {
    "the last of a chain of slow ones": (
        lambda kit: chain(kit, model=slow(kit, 5), gateway=slow(kit, 4), front=slow(kit, 3.5)),
        "model",
    ),
    "not a slow one that no service on the way waits for": (
        lambda kit: chain(kit, front=slow(kit, 4), gateway=slow(kit, 4), auth=slow(kit, 1.05)),
        "gateway",
    ),
    "not a callee with too small an excess to explain its caller": (
        lambda kit: chain(kit, front=slow(kit, 5, normal=8.0), store=slow(kit, 5, normal=0.01)),
        "front",
    ),
    "not one that became slow afterwards": (
        lambda kit: chain(kit, front=slow(kit, 4), store=slow(kit, 4, at=258)),
        "front",
    ),
    "one that fails, where its callers fail": (
        lambda kit: chain(kit, model=fails(kit, 0.4), gateway=fails(kit, 0.3), front=fails(kit, 0.3)),
        "model",
    ),
    "one that keeps its callers waiting until they time out": (
        lambda kit: chain(
            kit,
            model=slow(kit, 40),
            gateway_model=slow(kit, 40, failed=kit.step(0.0, 0.5)),
            gateway=fails(kit, 0.5),
            front=fails(kit, 0.4),
        ),
        "model",
    ),
    "the caller with failed calls although the callee reports no errors": (
        lambda kit: chain(kit, gateway=fails(kit, 0.3), gateway_model=fails(kit, 0.3), front=fails(kit, 0.3)),
        "gateway",
    ),
    "the ingress service with growing requests, where a model server is slow under load": (
        lambda kit: chain(
            kit,
            model=slow(kit, 4, rate=kit.step(10.0, 24.0)),
            gateway=slow(kit, 3.5, rate=kit.step(10.0, 24.0)),
            front=slow(kit, 3, rate=kit.step(10.0, 24.0)),
            user_front=kit.Served(rate=kit.step(10.0, 24.0)),
        ),
        "front",
    ),
    "a caller with more calls per request": (
        lambda kit: chain(
            kit, model=slow(kit, 4, rate=kit.step(10.0, 30.0)), gateway=slow(kit, 3.5), front=slow(kit, 3)
        ),
        "gateway",
    ),
    "a slow service with too little growth of load": (
        lambda kit: chain(
            kit,
            model=slow(kit, 60, rate=kit.step(10.0, 13.0)),
            gateway=slow(kit, 50, rate=kit.step(10.0, 13.0)),
            front=slow(kit, 40, rate=kit.step(10.0, 13.0)),
        ),
        "model",
    ),
    "a caller with far more calls and a few more requests": (
        lambda kit: chain(
            kit,
            model=slow(kit, 4, rate=kit.step(10.0, 40.0)),
            gateway=slow(kit, 3.5, rate=kit.step(10.0, 12.5)),
            front=slow(kit, 3, rate=kit.step(10.0, 12.5)),
            user_front=kit.Served(rate=kit.step(10.0, 12.5)),
        ),
        "gateway",
    ),
    "a slow callee with its own metrics rather than one that only clients report": (
        lambda kit: replace(
            chain(
                kit,
                front=slow(kit, 5),
                store=kit.Served(rate=np.nan, p95=np.nan, failed=np.nan),
                front_store=slow(kit, 6),
                gateway=slow(kit, 5),
            ),
            unseen=frozenset({"store"}),
        ),
        "gateway",
    ),
    "a callee that is slow for other callers, with two calls per request and a slow tail": (
        lambda kit: chain(
            kit, front=tail(kit), front_gateway=kit.Served(rate=20.0), model_gateway=slow(kit, 2), gateway=kit.Served()
        ),
        "gateway",
    ),
    "a service with a slow tail and one call per request": (
        lambda kit: chain(kit, front=tail(kit), model_gateway=slow(kit, 2), gateway=kit.Served()),
        "front",
    ),
    "a service with a slow tail, less slow than its callee for other callers": (
        lambda kit: chain(
            kit, front=tail(kit), front_gateway=kit.Served(rate=20.0), model_gateway=slow(kit, 9), gateway=kit.Served()
        ),
        "front",
    ),
    "a service with all requests slow, with any number of calls": (
        lambda kit: chain(
            kit,
            front=slow(kit, 2),
            front_gateway=kit.Served(rate=20.0),
            model_gateway=slow(kit, 2),
            gateway=kit.Served(),
        ),
        "front",
    ),
    "the one that is called more often only because it is slow": (
        lambda kit: chain(
            kit,
            model=slow(kit, 6, rate=kit.step(10.0, 30.0)),
            gateway_model=slow(kit, 6, rate=kit.step(10.0, 30.0), attempts=kit.step(1.0, 3.0)),
            gateway=slow(kit, 5),
            front=slow(kit, 4),
        ),
        "model",
    ),
}


def tail(kit: Kit) -> Kit:
    """A service with a doubled p95 and an unchanged median from grid point 240 on."""
    return slow(kit, 2, tailless=0.4)


def fails(kit: Kit, share: float) -> Kit:
    """A service that fails a share of its requests from grid point 240 on."""
    return kit.Served(failed=kit.step(0.0, share))


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_first_candidate_is(platforms: Kit, name: str) -> None:
    """The walk ends where nothing further explains an anomaly."""
    make, suspect = PLATFORMS[name]

    candidates = names(platforms, make(platforms).point(later=20), "front", "gateway")

    assert candidates[0][0] == suspect
    assert sum(score for _, score in candidates) == pytest.approx(1.0, abs=0.05)


def finding(kit: Kit, victim: str, suspect: SuspectedCause, **more: Any) -> Finding:  # noqa: ANN401 - any field
    """A sure finding of contention."""
    sure = Finding(kit.service(victim), "gpu_contention", suspect, 0.95, 3.0, 1_800_002_400.0, (), (Action("restart"),))
    return replace(sure, **more)


def test_a_neighbor_of_a_finding_is_suspected_through_all_callers_of_the_affected_service(platforms: Kit) -> None:
    """No call edge leads to the batch job."""
    point = chain(platforms, model=slow(platforms, 5), gateway=slow(platforms, 4), front=slow(platforms, 3.5)).point(20)
    contended = finding(platforms, "model", SuspectedCause(platforms.service("batch")))

    candidates = names(platforms, point, "front", findings=(contended,))

    assert candidates[0][0] == "batch"
    ranked = CauseRanker(GraphWalk(point, (contended,))).candidates([platforms.service("front")], point.time)
    assert ranked[0].reasons == (Reason("cause", platforms.service("model"), "gpu_contention"),)


def test_the_earlier_of_two_findings_is_suspected(platforms: Kit) -> None:
    """GPU contention makes the autoscaler request replicas that do not come: scale-up lag is its consequence."""
    point = chain(platforms, model=slow(platforms, 5)).point(20)
    squeeze = finding(platforms, "model", SuspectedCause(platforms.service("batch")))
    lag = finding(
        platforms, "model", SuspectedCause(platforms.service("front")), cause="scale_up_lag", since=1_800_002_580.0
    )

    assert names(platforms, point, "model", findings=(lag, squeeze))[0][0] == "batch"


def test_the_surer_of_two_explanations_takes_nearly_all_suspicion(platforms: Kit) -> None:
    """They exclude each other: odds are compared, not strengths."""
    point = chain(platforms, model=slow(platforms, 5)).point(20)
    sure, unsure = (
        finding(platforms, "model", SuspectedCause(platforms.service(name)), strength=strength)
        for name, strength in (("batch", 0.97), ("eval", 0.6))
    )

    (name, score), *_ = names(platforms, point, "model", findings=(unsure, sure))

    assert name == "batch"
    assert score > 0.9


def test_retries_are_not_load_growth(platforms: Kit) -> None:
    """A slow service with retrying callers is reported as slow."""
    make, _ = PLATFORMS["the one that is called more often only because it is slow"]

    point = make(platforms).point(20)
    reasons = CauseRanker(GraphWalk(point)).candidates([platforms.service("model")], point.time)[0].reasons
    assert (reasons[0].kind, reasons[0].service) == ("slower", platforms.service("model"))
    assert reasons_text(reasons[:1]).startswith("p99 400 ms → 2.40 s since ")
    assert "requests_grew" not in {reason.kind for reason in reasons}


@pytest.mark.parametrize(("factor", "suspect"), [(5.0, "postgres"), (1.0, "front")])
def test_a_database_is_suspected_if_clients_outside_the_incident_find_it_slow(
    platforms: Kit, factor: float, suspect: str
) -> None:
    """Nothing but its clients measures it, and the other client shares no caller and no callee with the first."""
    point = platforms.Platform(
        services={"front": slow(platforms, 5), "report": slow(platforms, factor)},
        calls={
            ("user", "front"): slow(platforms, 5),
            ("front", "postgres"): slow(platforms, 5),
            ("report", "postgres"): slow(platforms, factor),
        },
        unseen=frozenset({"postgres"}),
    ).point(20)

    assert names(platforms, point, "front")[0][0] == suspect


@pytest.mark.parametrize("times", [1.4, 2.0])
def test_a_long_incident_does_not_become_its_own_baseline(platforms: Kit, times: float) -> None:
    """Its suspected cause stays as long as the World holds the time before it, and is dated to its begin or not."""
    platform = replace(
        chain(platforms, **{name: slow(platforms, times, 540) for name in ("model", "gateway", "front")}),
        points=1081, at=540,
    )  # fmt: skip
    world = platform.world()
    for minutes in (5, 15, 30, 60, 90):
        point = EvaluationPoint(world, 540 + minutes * 6, baselines_at(world, 540))
        candidates = CauseRanker(GraphWalk(point)).candidates([platforms.service("front")], float(world.times[543]))
        assert [item.service.name for item in candidates[:1]] == ["model"], minutes
        assert not any(reason.since > world.times[545] for item in candidates for reason in item.reasons), minutes


def test_the_client_of_a_lossy_edge_is_suspected(platforms: Kit) -> None:
    """A candidate is a service; the edge is in the finding."""
    point = chain(platforms, gateway=slow(platforms, 4), front=slow(platforms, 4)).point(20)
    edge = platforms.service("gateway"), platforms.service("model")

    candidates = names(
        platforms, point, "front", findings=(finding(platforms, "gateway", SuspectedCause(edge=edge), cause="network"),)
    )

    assert candidates[0][0] == "gateway"


def test_a_healthy_platform_has_no_candidates(platforms: Kit) -> None:
    """Also for small excursions, for unknown services, and for none."""
    tremor, unfelt = (
        chain(platforms, front=slow(platforms, 1.15)).point(20),
        chain(platforms, model=slow(platforms, 5)).point(20),
    )

    assert names(platforms, tremor, "front", "gateway", "unheard of") == []
    assert names(platforms, tremor) == []
    assert names(platforms, unfelt, "front") == []


def test_an_uninstrumented_callee_is_suspected_by_its_clients_view(platforms: Kit) -> None:
    """A database without spans: only the edge has latencies."""
    silent = platforms.Served(rate=np.nan, p95=np.nan, failed=np.nan)
    platform = chain(platforms, store=silent, front_store=slow(platforms, 5), front=slow(platforms, 4))
    point = platform.point(20)

    assert names(platforms, point, "front")[0][0] == "store"


def ring(kit: Kit) -> Kit:
    """Three services that call each other in a cycle, all equally slow."""
    served = {name: slow(kit, 5) for name in ("a", "b", "c")}
    return kit.Platform(services=served, calls={pair: slow(kit, 5) for pair in (("a", "b"), ("b", "c"), ("c", "a"))})


def test_the_walk_ends_on_a_cycle(platforms: Kit) -> None:
    """No service in it explains the others; all suspicion is absorbed all the same."""
    candidates = names(platforms, ring(platforms).point(20), "a")

    assert sum(score for _, score in candidates) == pytest.approx(1.0)


def slowed(kit: Kit) -> World:
    """A World with one suspected cause and two affected services."""
    made: World = chain(kit, model=slow(kit, 5), gateway=slow(kit, 4), front=slow(kit, 3.5)).world()
    return made


@given(factor=st.floats(0.001, 1000))
@settings(max_examples=20, deadline=None)
def test_candidates_do_not_depend_on_the_unit_of_latencies(platforms: Kit, factor: float) -> None:
    world = slowed(platforms)
    red, calls = (replace(item, p50=item.p50 * factor, p95=item.p95 * factor) for item in (world.red, world.calls))
    scaled = replace(world, red=red, calls=calls, server_p95=world.server_p95 * factor)

    assert _ranking(scaled, platforms) == pytest.approx(_ranking(world, platforms))


@given(order=st.permutations(range(len(CHAIN))), services=st.permutations(range(len(NAMES))))
@settings(max_examples=30, deadline=None)
def test_candidates_do_not_depend_on_row_order(platforms: Kit, order: list[int], services: list[int]) -> None:
    world = slowed(platforms)
    turned = replace(
        world,
        services=tuple(world.services[i] for i in services),
        red=_rows(world.red, services),
        edges=tuple(world.edges[i] for i in order),
        calls=_rows(world.calls, order),
        server_p95=world.server_p95[order],
        attempts=world.attempts[order],
    )

    assert _ranking(turned, platforms) == pytest.approx(_ranking(world, platforms))


def _rows(red: Any, order: list[int]) -> Any:  # noqa: ANN401 - Red in, Red out
    return type(red)(*(getattr(red, name)[order] for name in ("rate", "error_rate", "p50", "p95", "p99")))


def _ranking(world: World, kit: Kit) -> dict[str, float]:
    return dict(names(kit, EvaluationPoint(world, 260, baselines_at(world, 240)), "front", "gateway"))


@given(
    holes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 299)), max_size=400),
    at=st.sampled_from([0, 1, 245, 299]),
)
@settings(max_examples=40, deadline=None)
def test_scores_are_shares_with_any_missing_values(platforms: Kit, holes: list[tuple[int, int]], at: int) -> None:
    """Between 0 and 1, at most 1 in total."""
    world = slowed(platforms)
    p95, rate = world.red.p95.copy(), world.calls.rate.copy()
    for row, column in holes:
        p95[row, column] = rate[row, column] = np.nan
    holed = replace(world, red=replace(world.red, p95=p95), calls=replace(world.calls, rate=rate))

    candidates = names(platforms, EvaluationPoint(holed, at, baselines_at(holed, min(at, 240))), "front", "model")

    assert all(0 < score <= 1 for _, score in candidates)
    assert sum(score for _, score in candidates) <= 1 + 1e-9


def test_a_service_graph_alone_is_enough(platforms: Kit) -> None:
    """No service reports its requests: those of its edges replace them."""
    platform = chain(platforms, model=slow(platforms, 5), gateway=slow(platforms, 4), front=slow(platforms, 3.5))
    unreported = replace(
        platform, services=dict.fromkeys(NAMES, platforms.Served(rate=np.nan, p95=np.nan, failed=np.nan))
    )

    assert names(platforms, unreported.point(20), "front")[0][0] == "model"


def test_growth_on_edges_alone_is_followed_to_the_ingress_service(platforms: Kit) -> None:
    """The users' requests to the front grow, and so do its calls."""
    busy = slow(platforms, 4, rate=platforms.step(10.0, 24.0))
    grown = chain(platforms, model=busy, gateway=busy, front=busy, user_front=busy)
    unreported = replace(grown, services=dict.fromkeys(NAMES, platforms.Served(rate=np.nan, p95=np.nan, failed=np.nan)))

    assert names(platforms, unreported.point(20), "gateway")[0][0] == "front"


def test_incidents_that_share_a_ranking_get_what_each_gets_alone(platforms: Kit) -> None:
    """Those of the same services, of other ones, and of another time of opening."""
    platform = chain(platforms, model=slow(platforms, 5), gateway=slow(platforms, 4), store=slow(platforms, 4, at=250))
    point = platform.point(20)
    asked = [
        ([platforms.service(name) for name in affected], point.time - before)
        for affected in (["gateway"], ["gateway", "front"], ["front", "store"], ["store"])
        for before in (0.0, 60.0)
    ]
    shared = CauseRanker(GraphWalk(point))

    together = [shared.candidates(*incident) for incident in (*asked, *asked)]

    alone = [CauseRanker(GraphWalk(point)).candidates(*incident) for incident in asked]
    assert together == [*alone, *alone]
    assert len(set(alone)) > 2
