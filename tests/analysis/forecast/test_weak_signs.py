"""Signs of a breach while p95 is still normal: a resource that is nearly used up, and a few slow requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from tests.analysis.platforms import START, STEP, Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import Slo, slos
from foreshock_dashboard.analysis.forecast.bad_requests import NEWEST_SCORE
from foreshock_dashboard.analysis.forecast.exhaustion import ACCUMULATING_RESOURCES, LIMITED_RESOURCES
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk, service_risks
from foreshock_dashboard.analysis.incidents.content import opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.paging import EARLY_WARNING_SCORE, PAGE_SCORE
from foreshock_dashboard.analysis.incidents.triage import incident_candidates
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.world_sections import Resources

FRONT = service("front")
NO_USES: Mapping[str, Callable[[int], float]] = {}
USES: dict[str, tuple[Callable[[int], float], Sequence[str]]] = {
    "grows towards the limit": (lambda i: 0.2 + max(0, i - 230) * 0.02, LIMITED_RESOURCES),
    "grows far below it": (lambda i: 0.05 + max(0, i - 230) * 0.02, ACCUMULATING_RESOURCES),
    "grew far below it": (lambda i: 0.05 + min(max(0, i - 225), 14) * 0.02, ()),
    "warms up far below it": (lambda i: 0.03 + min(max(0, i - 227), 18) / 18 * 0.15, ()),
    "warms up slowly": (lambda i: 0.05 + max(0, i - 215) * 0.005, ()),
    "grows, but is not known now": (
        lambda i: np.nan if i == 245 else 0.05 + max(0, i - 230) * 0.02,
        ACCUMULATING_RESOURCES,
    ),
    "grows, but was not known": (
        lambda i: np.nan if i == 234 else 0.05 + max(0, i - 230) * 0.02,
        ACCUMULATING_RESOURCES,
    ),
    "stepped up while it was not known": (
        lambda i: np.nan if i == 238 else 0.1 if i < 238 else 0.25 + (i - 238) * 0.005,
        (),
    ),
    "has just stepped up": (lambda i: 0.35 if i > 240 else 0.2, ()),
    "rises until memory is freed": (lambda i: 0.1 + 0.02 * (i % 12), ()),
    "is always high": (lambda i: 0.9 + 0.01 * (i % 3), ()),
    "bursts for a moment": (lambda i: 0.95 if i == 244 else 0.2, ()),
    "stepped up long ago": (lambda i: 0.6 if i > 100 else 0.2, ()),
}


def risk_at(
    platform: Platform, uses: Mapping[str, Callable[[int], float]] = NO_USES, later: int = 5, seconds: float = STEP
) -> tuple[EvaluationPoint, ServiceRisk]:
    """The risk of the front, `later` points after the platform's change. uses: used shares of its resources by
    grid index.

    seconds: between grid points.
    """
    world = platform.world()
    world = replace(world, times=START + seconds * np.arange(platform.points, dtype=np.float64), step=seconds)
    nothing = np.full((1, len(world.times)), np.nan)
    rows = {item.name: nothing for item in fields(Resources) if item.name != "services"}
    used = {name: np.array([[use(i) for i in range(len(world.times))]]) for name, use in uses.items()}
    world = replace(world, resources=Resources((FRONT,), **(rows | used)))
    point = EvaluationPoint(world, platform.at + later, baselines_at(world, platform.at + later))
    return point, service_risks(point, slos(point, {}))[FRONT]


@pytest.mark.parametrize("resource", LIMITED_RESOURCES)
@pytest.mark.parametrize(("use", "forecast"), USES.values(), ids=USES)
def test_use_that_grows_towards_its_limit_is_an_early_warning(
    resource: str, use: Callable[[int], float], forecast: Sequence[str]
) -> None:
    """Use that accumulates is one at any share of the limit: it does not vary with load."""
    point, risk = risk_at(Platform(services={"front": Served()}), {resource: use})
    found = incident_candidates(point, {FRONT: risk}, (), {})
    assert [(item.origin, item.page) for item in found] == ([(FRONT, False)] if resource in forecast else [])


@pytest.mark.parametrize("later", range(6))
@pytest.mark.parametrize("held", [1, 3, 6], ids=["10 s", "30 s", "60 s"])
def test_a_leak_is_an_early_warning_at_any_scrape_interval(held: int, later: int) -> None:
    """A value is held until the next scrape, whenever that is."""
    _, risk = risk_at(
        Platform(services={"front": Served()}),
        {"memory": lambda i: 0.1 + max(0, i - 210) // held * held * 0.01},
        later,
    )
    assert risk.resource == "memory"
    assert risk.score > 0.6


@pytest.mark.parametrize("seconds", [1.0, 5.0, 15.0, 30.0, 40.0, 60.0])
def test_a_leak_is_an_early_warning_at_any_evaluation_interval(seconds: float) -> None:
    """One of 6 percentage points a minute, four minutes after it began."""
    began, now = round(3600 / seconds), round(3840 / seconds)
    platform = Platform(services={"front": Served()}, points=now + 1, at=now)
    _, risk = risk_at(platform, {"memory": lambda i: 0.1 + max(0, i - began) * seconds * 0.001}, 0, seconds)
    assert risk.resource == "memory"
    assert risk.score > 0.6


@pytest.mark.parametrize("held", [1, 3, 6], ids=["10 s", "30 s", "60 s"])
def test_a_leak_that_ended_is_no_early_warning_after_the_next_scrapes(held: int) -> None:
    _, risk = risk_at(
        Platform(services={"front": Served()}),
        {"memory": lambda i: 0.1 + min(max(0, i - 210), 21) // held * held * 0.01},
    )
    assert risk.score == 0.0


def test_a_forecast_of_memory_is_no_sooner_than_the_line_through_it() -> None:
    """A leak takes so many bytes a second, whatever was used before."""
    _, risk = risk_at(Platform(services={"front": Served()}), {"memory": lambda i: 0.1 + max(0, i - 215) * 0.08 / 6})
    seconds = (0.95 - 0.5) / 0.08 * 60
    assert seconds <= risk.seconds[2] <= 1.5 * seconds


@pytest.mark.parametrize(
    ("rate", "p99", "is_forecast"),
    [
        (5.0, step(0.5, 3.0), True),
        (5.0, lambda i: 0.5 if i < 244 else 3.0, True),
        (5.0, lambda i: 0.5 if i < 245 else 3.0, True),
        (5.0, lambda i: 0.5 if i < 243 else np.nan if i == 245 else 3.0, True),
        (0.6, step(0.5, 3.0), False),
        (5.0, 3.0, False),
        (5.0, step(0.5, 0.6), False),
        (5.0, lambda i: 3.0 if i > 240 or i % 240 < 4 else 0.5, True),
        (5.0, lambda i: 3.0 if i > 240 or i % 60 < 20 else 0.5, False),
    ],
    ids=[
        "some are slow",
        "at two points",
        "at one point",
        "but none is known now",
        "one or two are slow",
        "as many always were",
        "they are within the SLO",
        "as many were in a sixtieth of the past",
        "as many were in a third of the past",
    ],
)
def test_a_few_requests_slower_than_the_slo_are_an_early_warning(
    rate: float, p99: float | Callable[[int], float], *, is_forecast: bool
) -> None:
    """p95 does not show them: up to 5% of requests may be slower."""
    point, risk = risk_at(Platform(services={"front": Served(rate, p99=p99)}))
    found = incident_candidates(point, {FRONT: risk}, (), {})
    assert not risk.breached
    assert [(item.origin, item.page) for item in found] == ([(FRONT, False)] if is_forecast else [])


def test_the_risk_does_not_fall_while_more_and_more_requests_are_slower_than_the_slo() -> None:
    """From a slow p99, through a p95 above the SLO at one point, to a breach."""
    served = Served(5.0, lambda i: 0.4 if i < 246 else 3.0, p99=lambda i: 0.5 if i < 244 else 3.2)
    scores = [risk_at(Platform(services={"front": served}), later=later)[1].score for later in range(3, 10)]
    assert scores == sorted(scores)
    assert scores[0] == 0.0
    assert 0.3 < scores[3] < 1.0
    assert scores[-1] == 1.0


def test_a_p95_exactly_at_the_slo_is_no_breach() -> None:
    """As many requests are slower as may be."""
    point, _ = risk_at(Platform(services={"front": Served(p95=step(0.2, 0.4), p99=step(0.25, 3.0))}))
    risk = service_risks(point, {FRONT: Slo(0.4, 0.01)})[FRONT]
    assert not risk.breached
    assert risk.score >= 0.9


@pytest.mark.parametrize(
    ("rate", "failed", "is_forecast"),
    [
        (10.0, step(0.0, 0.01), True),
        (10.0, lambda i: 0.0 if i < 245 else 0.01, True),
        (10.0, 0.01, False),
        (0.6, step(0.0, 0.05), False),
        (50.0, step(0.0, 0.002), False),
    ],
    ids=["some fail", "at one point", "as many always did", "one or two fail", "the SLO allows far more"],
)
def test_a_few_more_failed_requests_than_chance_explains_are_an_early_warning(
    rate: float, failed: float | Callable[[int], float], *, is_forecast: bool
) -> None:
    """Before as many fail as the SLO allows."""
    point, risk = risk_at(Platform(services={"front": Served(rate, failed=failed)}))
    found = incident_candidates(point, {FRONT: risk}, (), {})
    assert not risk.breached
    assert [(item.origin, item.page) for item in found] == ([(FRONT, False)] if is_forecast else [])


@pytest.mark.parametrize("seconds", [1.0, 5.0, 15.0, 30.0, 60.0, 300.0])
def test_a_few_slow_requests_are_an_early_warning_at_the_first_point_of_any_evaluation_interval(seconds: float) -> None:
    began = max(60, round(3600 / seconds))
    served = Served(5.0, p99=lambda i: 3.0 if i >= began else 0.5)
    platform = Platform(services={"front": served}, points=began + 1, at=began)
    scores = [risk_at(platform, later=later, seconds=seconds)[1].score for later in (-1, 0)]
    assert scores[0] == 0.0
    assert scores[1] > 0.3


@pytest.mark.parametrize("seconds", [1.0, 10.0, 30.0, 60.0, 300.0])
def test_slow_requests_are_worth_no_page_until_they_last(seconds: float) -> None:
    """Whatever their number is: shorter trouble ends by itself."""
    began = max(60, round(3600 / seconds))
    platform = Platform(services={"front": Served(5.0, p99=step(0.5, 3.0, began))}, points=began + 3, at=began)
    scores = [risk_at(platform, later=later, seconds=seconds)[1].score for later in range(3)]
    assert EARLY_WARNING_SCORE < scores[0] < PAGE_SCORE < scores[2]


@pytest.mark.parametrize(("points", "score"), [(49, 0.0), (241, NEWEST_SCORE)])
def test_slow_requests_are_an_early_warning_only_after_a_history_without_them(points: int, score: float) -> None:
    """Few windows do not show how many are normal."""
    served = Served(2.0, p99=lambda i: 3.0 if i >= points - 1 else 0.5)
    _, risk = risk_at(Platform(services={"front": served}, points=points, at=points - 1), later=0)
    assert risk.score == score


@pytest.mark.parametrize(("requests", "score"), [(10, 0.0), (60, NEWEST_SCORE)])
def test_one_slow_request_of_ten_is_no_early_warning(requests: int, score: float) -> None:
    """Its quantiles alone read as several."""
    served = Served(requests / 60, p95=lambda i: 3.0 if i >= 240 else 0.3, p99=lambda i: 3.2 if i >= 240 else 0.5)
    _, risk = risk_at(Platform(services={"front": served}, points=241, at=240), later=0)
    assert risk.score == score


def test_a_service_that_uses_up_a_resource_is_suspected_itself() -> None:
    """Whatever was ranked before: nothing is slower yet that a ranking could compare."""
    point, risk = risk_at(Platform(services={"front": Served()}), {"memory": USES["grows towards the limit"][0]})
    (candidate,) = incident_candidates(point, {FRONT: risk}, (), {})
    before = replace(opened_incident(candidate, point), candidates=(Candidate(service("store"), 1.0),))
    incident = updated_incident(before, candidate, Evaluation(point, {FRONT: risk}, ()), page=False)
    assert (risk.resource, incident.suspect.service) == ("memory", FRONT)


@pytest.mark.parametrize(("p95", "together"), [(0.4, False), (step(0.4, 3.0), True)], ids=["slow tail", "SLO breach"])
def test_a_database_that_fills_up_is_a_separate_incident_until_a_caller_breaches_its_slo(
    p95: float | Callable[[int], float], *, together: bool
) -> None:
    """Before it is full, it makes no caller slower."""
    store = service("store")
    platform = Platform(
        services={"front": Served(5.0, p95, p99=step(0.5, 3.0))},
        calls={("front", "store"): Served(5.0, 0.02)},
        unseen=frozenset({"store"}),
    )
    point, risk = risk_at(platform)
    full = ServiceRisk(
        False, 1.0, 0.8, risk.seconds, overloaded=False, utilization=None, relevant=True, resource="disk"
    )
    found = incident_candidates(point, {FRONT: risk, store: full}, (), {})
    assert [item.members for item in found] == ([(store, FRONT)] if together else [(store,), (FRONT,)])


@pytest.mark.parametrize(
    ("resource", "overloaded", "p95", "together"),
    [
        ("disk", False, 0.1, False),
        ("memory", False, 0.1, False),
        ("cpu", False, 0.1, True),
        ("memory", True, 0.1, True),
        ("disk", False, step(0.1, 0.25), True),
    ],
    ids=["disk", "memory", "CPU time", "overloaded as well", "slow already"],
)
def test_a_service_that_uses_up_a_resource_is_separate_only_if_it_slows_no_caller_before(
    resource: str, p95: float | Callable[[int], float], *, overloaded: bool, together: bool
) -> None:
    """A throttled, overloaded, or slow service slows its callers long before the limit."""
    store = service("store")
    platform = Platform(
        services={"front": Served(5.0, step(0.4, 0.55), p99=step(0.5, 3.0)), "store": Served(5.0, p95)},
        calls={("front", "store"): Served(5.0, p95)},
    )
    point, risk = risk_at(platform)
    full = ServiceRisk(
        False, 1.0, 0.8, risk.seconds, overloaded=overloaded, utilization=None, relevant=True, resource=resource
    )
    found = incident_candidates(point, {FRONT: risk, store: full}, (), {})
    assert [item.members for item in found] == ([(store, FRONT)] if together else [(store,), (FRONT,)])
