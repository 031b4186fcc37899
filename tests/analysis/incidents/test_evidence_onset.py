"""Since when the evidence of a cause exists."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.analysis.detectors.platform import ASK, FRONT, IN, LLM, START, STEP, point, since

from foreshock_dashboard.analysis.detectors.finding import evidence_of
from foreshock_dashboard.analysis.incidents.cause_candidates import as_in_evidence, with_present_growth
from foreshock_dashboard.analysis.incidents.content import opened_incident, updated_incident
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.evidence import (
    since_first_excess,
    with_first_sign,
    with_load,
    with_sent_load,
)
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.incident import Candidate, Cause, Incident
from foreshock_dashboard.model.service import Service

FIRST, AGAIN = 260, 290


def surge(low: float, high: float) -> Callable[[int], float]:
    """A rate that rises, is normal for some points, and rises again, as requests of an overload end late."""
    return lambda i: high if FIRST <= i < 275 or i >= AGAIN else low


def test_a_signal_is_evidence_since_it_first_left_its_normal_range_in_the_incident() -> None:
    """The last rise alone would place the cause after its effects, and a breach before its signs."""
    now = point({("rate", FRONT): surge(5, 15), ("edge_rate", IN): surge(5, 15), ("p95", FRONT): surge(8, 80)})
    rows = (evidence_of(now, "rate", FRONT), evidence_of(now, "edge_rate", IN), evidence_of(now, "p95", FRONT))
    assert [row.since for row in rows] == [START + AGAIN * STEP] * 3
    found = since_first_excess(rows, (FRONT, IN), now, START + 250 * STEP)
    assert [row.since for row in found] == [START + FIRST * STEP] * 3
    later = since_first_excess(rows, (FRONT, IN), now, START + 280 * STEP)
    assert all(row.since == START + AGAIN * STEP for row in later)  # the rise before the incident does not count


def test_signals_of_other_services_keep_their_onset() -> None:
    now = point({("rate", LLM): surge(5, 15), ("edge_rate", ASK): surge(5, 15)})
    rows = (evidence_of(now, "rate", LLM), evidence_of(now, "edge_rate", ASK))
    assert since_first_excess(rows, (FRONT,), now, START + 250 * STEP) == rows


def test_a_signal_within_its_normal_range_has_no_first_excess() -> None:
    assert point().first_excess("rate", FRONT, START + 250 * STEP) == math.inf


@pytest.mark.parametrize(
    ("cause", "origin", "suspect", "is_named"),
    [
        ("overload", LLM, FRONT, True),
        ("scale_up_lag", LLM, FRONT, True),
        ("dependency", LLM, FRONT, False),
        ("overload", FRONT, FRONT, False),
        ("overload", FRONT, LLM, False),
        ("overload", LLM, None, False),
    ],
)
def test_the_request_rate_of_the_service_that_sends_the_load_is_evidence_of_an_overload(
    cause: Cause, origin: Service, suspect: Service | None, is_named: bool
) -> None:
    """That of another service than the overloaded one, where it grew; and once. It has the onset of the first rise."""
    now = point({("rate", FRONT): surge(5, 15)})
    began = Incident("id", "warning", "firing", cause, origin, START + 250 * STEP, opened=now.time)
    found = with_sent_load((), cause, began, origin, suspect, now)
    first = ("rate", str(FRONT), START + FIRST * STEP)
    assert [(item.metric, item.entity, item.since) for item in found] == ([first] if is_named else [])
    assert with_sent_load(found, cause, began, origin, suspect, now) == found


def test_the_request_rate_of_the_sender_keeps_the_onset_that_it_had() -> None:
    """Also where it left its normal range before the incident began."""
    now = point({("rate", FRONT): surge(5, 15)})
    late = Incident("id", "warning", "firing", "overload", LLM, START + 280 * STEP, opened=now.time)
    (row,) = with_sent_load((), "overload", late, LLM, FRONT, now)
    assert row.since == START + AGAIN * STEP
    (before,) = (row._replace(since=START + FIRST * STEP),)
    assert with_sent_load((), "overload", replace(late, evidence=(before,)), LLM, FRONT, now) == (before,)


@pytest.mark.parametrize(
    ("cause", "load", "is_named"),
    [("overload", 0.81, True), ("scale_up_lag", 1.4, True), ("overload", 0.7, False), ("gpu_contention", 0.81, False)],
)
def test_the_load_of_the_headline_is_evidence_since_an_evaluation_found_it_above_the_safe_limit(
    cause: Cause, load: float, is_named: bool
) -> None:
    now = point(utilization=Utilization(1.0, 0.0, 0.5, 0.0, 60.0, load, (load, load, load), 0.55, 0.6))
    began = Incident("id", "warning", "firing", cause, LLM, now.time - 60, opened=now.time)
    found = with_load((), cause, began, LLM, now)
    row = ("load", str(LLM), load, 0.55, now.time)
    assert [(item.metric, item.entity, item.value, item.baseline, item.since) for item in found] == [row] * is_named
    earlier = tuple(item._replace(since=now.time - 30) for item in found)
    assert with_load((), cause, replace(began, evidence=earlier), LLM, now) == earlier
    assert with_load((), cause, began, FRONT, now) == ()


def test_without_evidence_no_time_is_that_of_its_values() -> None:
    calm, slow = point(), point({("p95", LLM): since(FIRST, 8, 80)})
    candidate = IncidentCandidate(LLM, (LLM,), (), (), None, True, True, False, False, 0.8)
    found = [
        updated_incident(opened_incident(candidate, now), candidate, Evaluation(now, {}, ()), page=True)
        for now in (calm, slow)
    ]
    assert [(bool(item.evidence), item.evidence_at) for item in found] == [(False, None), (True, slow.time)]


@pytest.mark.parametrize(("rate", "expected"), [(15.0, 3.0), (5.2, 2.7)])
def test_the_growth_of_a_suspect_is_that_of_the_evidence(rate: float, expected: float) -> None:
    """Where its requests grew, and not only their length."""
    now = point({("rate", FRONT): since(FIRST, 5, rate)})
    ranked = Candidate(FRONT, 1.0, (Reason("requests_grew", FRONT, value=2.7), Reason("slower", FRONT, value=2.7)))
    grew, slower = with_present_growth(ranked, now).reasons
    assert grew.value == pytest.approx(expected, rel=0.01)
    assert slower.value == 2.7


def test_the_signal_that_came_first_stays_in_the_evidence_with_its_present_value() -> None:
    """Where another signal is evidence of the cause now; NaN where the first one cannot be read again."""
    now = point({("edge_rate", IN): since(FIRST, 5, 15), ("p95", LLM): since(AGAIN, 8, 80)})
    first, later = evidence_of(now, "edge_rate", IN), evidence_of(now, "p95", LLM)
    started = Incident("id", "warning", "firing", "overload", LLM, first.since, opened=now.time)
    for before, value in (
        (first._replace(value=7.0), first.value),
        (first._replace(name="lost GPUs", metric=""), math.nan),
    ):
        kept = with_first_sign((later,), replace(started, evidence=(before,)), now)
        assert [row.name for row in kept] == [before.name, "p95"]
        assert kept[0].since == started.since
        assert kept[0].value == pytest.approx(value, nan_ok=True)
    assert with_first_sign((first, later), replace(started, evidence=(first,)), now) == (first, later)


@pytest.mark.parametrize("onset", [START + AGAIN * STEP, math.nan])
def test_the_signal_that_came_first_is_in_the_evidence_once(onset: float) -> None:
    """Also where its onset moved or is unknown."""
    now = point({("edge_rate", IN): since(FIRST, 5, 15)})
    first = evidence_of(now, "edge_rate", IN)
    started = Incident("id", "warning", "firing", "overload", LLM, first.since, opened=now.time, evidence=(first,))
    assert with_first_sign((first._replace(since=onset),), started, now) == (first,)


def test_the_reasons_of_a_suspect_have_the_figures_of_the_evidence() -> None:
    """A ranking is older; what it dates before the incident has no time."""
    now = point({("per_token", LLM): since(FIRST, 0.02, 0.04)})
    row = evidence_of(now, "per_token", LLM)
    reasons = (
        Reason("metric", LLM, "per_token_seconds", 0.031, 0.02, row.since - 60),
        Reason("metric", LLM, "ready_ratio", 0.6, 1.0, row.since - 60),
    )
    token, ready = as_in_evidence(Candidate(LLM, 1.0, reasons), (row,), row.since).reasons
    assert (token.value, token.baseline, token.since) == (row.value, row.baseline, row.since)
    assert (ready.value, math.isnan(ready.since)) == (0.6, True)
