"""Incidents of a database that sends no spans, from the metrics of its clients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.analysis.detectors.platform import (
    FEED,
    FRONT,
    IN,
    LLM,
    QUERY,
    STORE,
    Changes,
    learned_point,
    since,
    world,
)
from tests.analysis.platforms import Course, Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.analysis.incidents.content import opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate, incident_candidates

UNINSTRUMENTED: Changes = {
    **{(name, STORE): math.nan for name in ("rate", "error_rate", "p50", "p95")},
    **{("edge_server", edge): math.nan for edge in (QUERY, FEED)},
}
FAILS: Changes = {
    **UNINSTRUMENTED,
    ("edge_error_rate", QUERY): since(290, 0, 0.4),
    ("edge_error_rate", FEED): since(290, 0, 0.4),
    ("attempts", QUERY): since(290, 1, 1.4),
}


def candidates(changes: Changes) -> tuple[Evaluation, tuple[IncidentCandidate, ...]]:
    """The evaluation of a platform, and its incident candidates."""
    now = learned_point(changes)
    risks, found_ = service_risks(now, slos(now, {})), tuple(dependency(now))
    return Evaluation(now, risks, found_), incident_candidates(now, risks, found_, {})


@pytest.mark.parametrize(("failed", "page"), [(0.16, True), (0.0, False)], ids=["it fails as well", "it is covered"])
def test_a_failing_database_pages_if_a_caller_breaches_its_slo(failed: float, page: bool) -> None:
    _, found_ = candidates(
        {**FAILS, ("error_rate", FRONT): since(290, 0, failed), ("edge_error_rate", IN): since(290, 0, failed)}
    )
    assert [candidate.origin for candidate in found_] in ([STORE], [STORE] if page else [])
    assert [candidate.page for candidate in found_] == [page] * len(found_)


def test_an_uninstrumented_service_is_not_at_risk() -> None:
    evaluation, (candidate,) = candidates({**FAILS, ("error_rate", FRONT): since(290, 0, 0.16)})
    incident = updated_incident(opened_incident(candidate, evaluation.point), candidate, evaluation, page=True)
    assert incident.service == STORE
    assert STORE not in {risk.service for risk in incident.at_risk}
    assert incident.since == evaluation.point.world.times[290]


def test_an_incident_keeps_its_suspected_cause_once_no_time_before_it_is_known() -> None:
    evaluation, (candidate,) = candidates({**FAILS, ("error_rate", FRONT): since(290, 0, 0.16)})
    candidate, evaluation = replace(candidate, cause=None), replace(evaluation, findings=())
    incident = updated_incident(opened_incident(candidate, evaluation.point), candidate, evaluation, page=True)
    old = replace(incident, paged=None, opened=float(evaluation.point.world.times[0]) - 3600.0)

    kept = updated_incident(old, candidate, evaluation, page=True)

    assert incident.candidates[0].reasons
    assert (kept.candidates, kept.suspect) == (incident.candidates, incident.suspect)


@pytest.mark.parametrize(
    ("first", "began"),
    [(300, 299), (0, 0), (200, 200), (290, 290)],
    ids=["unknown", "from the start", "from the first known value", "within the known values"],
)
def test_an_excursion_begins_with_the_first_known_value(first: int, began: int) -> None:
    baselines = baselines_at(world(), 299)
    excursion = world({("p95", LLM): lambda i: math.nan if i < first and first != 290 else 8.0 if i < first else 40.0})
    now = EvaluationPoint(excursion, 299, baselines)
    assert now.since("p95", LLM) == excursion.times[began]


LOCKED: Mapping[str, Mapping[str, Course]] = {
    "each query waits": {"p95": step(0.02, 2.0), "p99": step(0.03, 2.5)},
    "one query in forty waits": {"p95": 0.02, "p99": step(0.03, 2.5)},
}


@pytest.mark.parametrize("queries", [6, 1], ids=["six queries per request", "one query per request"])
@pytest.mark.parametrize("seconds", LOCKED.values(), ids=LOCKED.keys())
def test_a_locked_database_is_the_cause_not_the_service_that_waits_for_it(
    seconds: Mapping[str, Course], queries: int
) -> None:
    """Only client spans of the service report the database."""
    slow = step(0.3, 2.6)
    platform = Platform(
        services={"front": Served(p95=step(0.35, 2.7)), "orders": Served(p95=slow)},
        calls={
            ("user", "front"): Served(p95=step(0.35, 2.7)),
            ("front", "orders"): Served(p95=slow),
            ("orders", "postgres"): Served(rate=10.0 * queries, **seconds),
        },
        unseen=frozenset({"postgres"}),
    )
    now = platform.point()
    found_ = findings(now)
    (candidate,) = incident_candidates(now, service_risks(now, slos(now, {})), found_, {})
    assert candidate.cause is not None
    assert (candidate.origin, candidate.cause.suspect.service) == (service("postgres"), service("postgres"))
    assert candidate.page
    assert {finding.suspect.service for finding in found_ if finding.strength >= 0.5} == {service("postgres")}


def test_a_slow_tail_of_few_queries_is_chance() -> None:
    platform = Platform(
        services={"orders": Served(rate=1.0)},
        calls={
            ("user", "orders"): Served(rate=1.0),
            ("orders", "postgres"): Served(rate=2.0, p95=0.02, p99=step(0.03, 2.5)),
        },
        unseen=frozenset({"postgres"}),
    )
    assert not any(finding.strength >= 0.5 for finding in findings(platform.point()))


@pytest.mark.parametrize(
    ("p99", "is_warned"),
    [(step(0.03, 0.5), True), (step(0.03, 0.2), False), (0.5, False)],
    ids=["as a caller's slow requests", "shorter", "as always"],
)
def test_a_database_is_an_early_warning_once_its_slow_queries_take_as_long_as_a_callers_slow_requests(
    p99: Course, *, is_warned: bool
) -> None:
    """The caller shows nothing yet: p95 of its requests is normal until more of them wait."""
    platform = Platform(
        services={"orders": Served(p95=0.3)},
        calls={
            ("user", "orders"): Served(p95=0.3),
            ("orders", "postgres"): Served(rate=60.0, p95=0.02, p99=p99),
        },
        unseen=frozenset({"postgres"}),
    )
    now = platform.point()
    found_ = incident_candidates(now, service_risks(now, slos(now, {})), findings(now), {})
    assert [(item.origin, item.page) for item in found_] == ([(service("postgres"), False)] if is_warned else [])


@pytest.mark.parametrize(
    ("p95", "queries", "suspects"),
    [
        (0.3, 0.03, set()),
        (0.3, 0.1, set()),
        (0.3, 1.0, {"db"}),
        (0.3, 6.0, {"db"}),
        (step(0.3, 2.6), 0.03, {"orders"}),
        (step(0.3, 2.6), 0.1, {"orders"}),
    ],
)
def test_the_slowest_queries_count_with_about_one_per_request(p95: Course, queries: float, suspects: set[str]) -> None:
    """One in a hundred of the queries of few requests neither breaches an SLO of p95 nor explains a breach."""
    platform = Platform(
        services={"orders": Served(rate=100.0, p95=p95)},
        calls={
            ("user", "orders"): Served(rate=100.0, p95=p95),
            ("orders", "db"): Served(rate=100.0 * queries, p95=0.02, p99=step(0.03, 0.5)),
        },
        unseen=frozenset({"db"}),
    )
    found_ = [finding for finding in findings(platform.point()) if finding.strength >= 0.5]
    assert {str(finding.suspect.service) for finding in found_} == suspects
