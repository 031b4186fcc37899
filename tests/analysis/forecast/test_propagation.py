"""Propagation of the risk of an SLO breach over calls and shared GPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.forecast.propagation import (
    DELAY_RATIOS,
    FIRST_DELAY_SECONDS,
    MAX_PROPAGATED_SHARE,
    MEDIAN_INDEX,
    PropagatedRisk,
    RiskEdges,
    RiskPropagation,
    propagate,
)
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.level_crossing import QUANTILES

Kit = Any


def own_risk(probability: float, seconds: tuple[float, ...] = (0.0,) * len(QUANTILES)) -> ServiceRisk:
    """The risk of a service by its own signals."""
    return ServiceRisk(False, probability, probability, seconds, False, None)


def chain(kit: Kit) -> Kit:
    """front → gateway → model, each as long as its callee; front → cache, seldom and quickly."""
    return kit.Platform(
        services={
            "front": kit.Served(p95=2.1),
            "gateway": kit.Served(p95=2.0),
            "model": kit.Served(p95=2.0),
            "cache": kit.Served(rate=0.1, p95=0.001),
        },
        calls={
            ("user", "front"): kit.Served(p95=2.1),
            ("front", "gateway"): kit.Served(p95=2.0),
            ("gateway", "model"): kit.Served(p95=2.0),
            ("front", "cache"): kit.Served(rate=0.1, p95=0.001),
        },
    )


def risks(point: EvaluationPoint, own: Mapping[Service, ServiceRisk]) -> tuple[PropagatedRisk, ...]:
    """Risks of all services, from their own ones."""
    return RiskPropagation(point, own).risks()


def by_name(at_risk: tuple[PropagatedRisk, ...]) -> dict[str, PropagatedRisk]:
    """Risks by service."""
    return {str(risk.service): risk for risk in at_risk}


def test_risk_propagates_to_callers_and_their_callers_soonest_first(platforms: Kit) -> None:
    """Each step reduces the probability and adds a delay; callees are not at risk."""
    at_risk = risks(chain(platforms).point(), {platforms.service("model"): own_risk(1.0)})

    assert [str(risk.service) for risk in at_risk] == ["model", "gateway", "front"]
    assert [str(risk.through) for risk in at_risk] == ["None", "model", "gateway"]
    probabilities = [risk.score for risk in at_risk]
    assert probabilities == [1.0, pytest.approx(MAX_PROPAGATED_SHARE), pytest.approx(MAX_PROPAGATED_SHARE**2, rel=0.05)]
    medians = [risk.seconds[MEDIAN_INDEX] for risk in at_risk]
    assert medians == pytest.approx([0.0, FIRST_DELAY_SECONDS + 2.0, FIRST_DELAY_SECONDS + 4.1])


def test_the_interval_widens_with_the_path(platforms: Kit) -> None:
    """Quantiles are in order and add up along the path."""
    model = platforms.service("model")
    at_risk = by_name(risks(chain(platforms).point(), {model: own_risk(0.8, (60.0, 80.0, 120.0, 200.0, 300.0))}))

    assert at_risk["gateway"].seconds == pytest.approx(
        np.array((60, 80, 120, 200, 300)) + (FIRST_DELAY_SECONDS + 2.0) * DELAY_RATIOS
    )
    assert list(at_risk["front"].seconds) == sorted(at_risk["front"].seconds)


def test_a_callee_of_few_requests_adds_little_risk(platforms: Kit) -> None:
    """One request in a hundred, and a thousandth of its time."""
    at_risk = by_name(risks(chain(platforms).point(), {platforms.service("cache"): own_risk(1.0)}))

    assert at_risk["front"].score < 0.15


def test_a_services_own_risk_counts_where_it_is_larger(platforms: Kit) -> None:
    """So does its own time."""
    own = {
        platforms.service("model"): own_risk(0.5, (90.0,) * 5),
        platforms.service("gateway"): own_risk(0.9, (30.0,) * 5),
    }

    gateway = by_name(risks(chain(platforms).point(), own))["gateway"]

    assert (gateway.score, gateway.seconds, gateway.through) == (0.9, (30.0,) * 5, None)


def test_the_earliest_path_with_much_of_the_risk_gives_the_time(platforms: Kit) -> None:
    """A caller breaches no later than its callee makes it, whatever its own trend is."""
    gateway, model = platforms.service("gateway"), platforms.service("model")
    soon, late = (10.0,) * len(QUANTILES), (800.0,) * len(QUANTILES)

    likely = by_name(risks(chain(platforms).point(), {gateway: own_risk(0.9, late), model: own_risk(0.9, soon)}))[
        "gateway"
    ]
    unlikely = by_name(risks(chain(platforms).point(), {gateway: own_risk(0.9, late), model: own_risk(0.4, soon)}))[
        "gateway"
    ]

    assert likely.score == unlikely.score == 0.9
    assert likely.seconds[MEDIAN_INDEX] == pytest.approx(10.0 + FIRST_DELAY_SECONDS + 2.0)
    assert unlikely.seconds[MEDIAN_INDEX] == 800.0


def test_a_batch_job_is_not_at_risk(platforms: Kit) -> None:
    """It calls the model, and no service calls it; without any request rates every service counts as serving."""
    platform = chain(platforms)
    calls = {**platform.calls, ("batch", "model"): platforms.Served(p95=2.0)}
    silent = platforms.Served(math.nan, math.nan, math.nan)
    beside = replace(platform, calls=calls, services={**platform.services, "batch": silent})
    unreported = replace(beside, services=dict.fromkeys(beside.services, silent))
    own = {platforms.service("model"): own_risk(1.0)}

    assert by_name(risks(beside.point(), own)).keys() == {"model", "gateway", "front"}
    assert by_name(risks(unreported.point(), own)).keys() == {"model", "gateway", "front", "batch"}


def test_a_growing_share_of_a_full_gpu_puts_its_other_services_at_risk(platforms: Kit) -> None:
    """In proportion to their share that it took; services on GPUs with idle time are not at risk."""
    platform = platforms.Platform(
        services={name: platforms.Served() for name in ("grows", "shares", "apart")},
        busy={
            (1, "grows"): platforms.windowed(0.5, 0.7),
            (1, "shares"): platforms.windowed(0.45, 0.29),
            (2, "grows"): platforms.windowed(0.1, 0.3),
            (2, "apart"): 0.2,
        },
    )

    at_risk = by_name(risks(platform.point(10), {platforms.service("grows"): own_risk(1.0)}))

    assert at_risk.keys() == {"grows", "shares"}
    assert at_risk["shares"].score == pytest.approx(MAX_PROPAGATED_SHARE * 0.2 / 0.45, rel=0.05)


def test_without_own_risks_no_service_is_at_risk(platforms: Kit) -> None:
    """Risks of services outside the World are ignored."""
    assert risks(chain(platforms).point(), {}) == ()
    assert risks(chain(platforms).point(), {platforms.service("elsewhere"): own_risk(1.0)}) == ()
    assert risks(chain(platforms).point(), {platforms.service("model"): own_risk(math.nan)}) == ()


SERVICES = 12
GRAPHS = st.lists(
    st.tuples(st.integers(0, SERVICES - 1), st.integers(0, SERVICES - 1), st.floats(0, 1) | st.just(math.nan)),
    max_size=60,
)


def edges_of(edges: list[tuple[int, int, float]]) -> RiskEdges:
    """Edges as arrays; a request of the target takes a second more for each."""
    source, target, weight = zip(*edges, strict=True) if edges else ((), (), ())
    rows = np.array(source, dtype=np.intp), np.array(target, dtype=np.intp)
    return RiskEdges(*rows, np.array(weight, dtype=np.float64), 1.0 + np.arange(len(edges), dtype=np.float64))


@given(edges=GRAPHS, own=st.lists(st.floats(0, 1), min_size=SERVICES, max_size=SERVICES))
@settings(max_examples=100, deadline=None)
def test_on_any_graph_the_risk_is_the_largest_over_all_paths(
    edges: list[tuple[int, int, float]], own: list[float]
) -> None:
    """The fixed point by its definition, cycles and self-calls included."""
    risk_edges = edges_of(edges)
    probability, when, through = propagate(np.array(own), np.zeros((SERVICES, len(QUANTILES))), risk_edges)

    offered = np.array(own)
    np.maximum.at(
        offered,
        risk_edges.target,
        MAX_PROPAGATED_SHARE * np.nan_to_num(risk_edges.weight) * probability[risk_edges.source],
    )
    assert probability == pytest.approx(offered, abs=2e-3)
    assert np.isfinite(when).all()
    assert all(probability[i] == own[i] for i in np.flatnonzero(through < 0))


@given(edges=GRAPHS, order=st.permutations(range(SERVICES)))
@settings(max_examples=50, deadline=None)
def test_another_order_of_services_permutes_the_risks(edges: list[tuple[int, int, float]], order: list[int]) -> None:
    own = np.linspace(0, 1, SERVICES)
    place = np.argsort(order)
    never = np.full((SERVICES, len(QUANTILES)), math.inf)
    turned = [(int(place[a]), int(place[b]), weight) for a, b, weight in edges]

    assert propagate(own[order], never, edges_of(turned))[0] == pytest.approx(
        propagate(own, never, edges_of(edges))[0][order]
    )


def test_a_service_graph_alone_is_enough(platforms: Kit) -> None:
    """Where services report no latencies, those of their clients replace them."""
    platform = chain(platforms)
    unreported = replace(
        platform, services=dict.fromkeys(platform.services, platforms.Served(math.nan, math.nan, math.nan))
    )

    at_risk = risks(unreported.point(), {platforms.service("model"): own_risk(1.0)})

    assert [(str(risk.service), round(risk.score, 2)) for risk in at_risk] == [
        ("model", 1.0),
        ("gateway", 0.85),
        ("front", 0.71),
    ]
    assert at_risk[1].seconds[MEDIAN_INDEX] == pytest.approx(FIRST_DELAY_SECONDS + 2.0)
