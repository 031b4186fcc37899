"""The sentences of the Now page name the entity, its state, and the figure with its reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.web.worlds import contended, contention_incident

from foreshock_dashboard.model.incident import State
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.change import no_changes
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.web.pages.now.course import Breach, Peak
from foreshock_dashboard.web.pages.now.impact import Impact
from foreshock_dashboard.web.pages.now.sentences import (
    badge,
    breach_text,
    headline_figure,
    impact_text,
    lead,
)
from foreshock_dashboard.web.pages.now.verdict import breached_row, by_impact
from foreshock_dashboard.web.panels.limit_text import figure_text, lane_figures
from foreshock_dashboard.web.panels.limits import Reading

T = 1_767_600_000.0
"""08:00:00 UTC."""
LLM = Service("", "llm")
P95 = Reading("llm", "p95", 8.42, 13.2, "SLO", "s", 0.64, "ok")
ENDED = Breach("llm", T - 300, T - 60, earlier=False)


@pytest.mark.parametrize(
    ("breached", "words"),
    [
        (Breach("llm", T - 190, None, earlier=False), "SLO breach since 07:56:50 UTC (3 min 10 s)"),
        (Breach("llm", T - 5, None, earlier=False), "SLO breach since 07:59:55 UTC (just now)"),
        (Breach("llm", T - 1800, None, earlier=True), "SLO breach since before 07:30:00 UTC (over 30 min)"),
        (ENDED, "SLO breached between 07:55:00 UTC and 07:59:00 UTC (4 min)"),
    ],
    ids=["lasting", "new", "older than the history", "over"],
)
def test_a_breach_is_dated_by_its_start(breached: Breach, words: str) -> None:
    assert joined_text(breach_text(breached, T)) == words


@pytest.mark.parametrize(
    ("failed", "slow", "words"),
    [
        (0.0, 1312.0, "About 1,300 of 2,800 requests (46%) to llm were slower than 13.2 s (p95 SLO: 5% may be)"),
        (12.0, 0.0, "About 12 of 2,800 requests (0.4%) to llm failed"),
        (
            12.0,
            8.0,
            ("About 20 of 2,800 requests (0.7%) to llm failed (12) or were slower than the SLO of 13.2 s (8)"),
        ),
        (0.2, 0.3, "None of 2,800 requests to llm failed or were slower than the SLO of 13.2 s"),
    ],
)
def test_the_cost_says_what_happened_to_requests(failed: float, slow: float, words: str) -> None:
    assert joined_text(impact_text(Impact((LLM,), 2800.0, failed, slow, limit=13.2), None)) == words


def test_the_service_of_the_headline_is_not_named_again() -> None:
    cost = Impact((LLM,), 2800.0, 12.0, 0.0)
    assert joined_text(impact_text(cost, None, "llm")) == "About 12 of 2,800 requests (0.4%) failed"


def test_the_cost_of_a_breach_is_counted_since_it() -> None:
    cost = Impact((LLM,), 2800.0, 1.0, 0.0)
    assert joined_text(impact_text(cost, ENDED)) == "About 1 of 2,800 requests (<0.1%) to llm failed"


def test_the_cost_at_the_entry_names_it() -> None:
    cost = Impact((Service("", "cart"), Service("", "web")), 1200.0, 900.0, 0.0)
    assert joined_text(impact_text(cost, ENDED)) == "About 900 of 1,200 requests (75%) entering at cart and web failed"


def test_the_cost_of_a_breach_that_lasts_says_since_when_and_counts_the_others_from_the_fifth_service_on() -> None:
    lasting, names = replace(ENDED, until=None), ("a", "b", "c", "d", "e")
    for count, named in ((4, "a, b, c and d"), (5, "a, b, c and 2 more")):
        cost = Impact(tuple(Service("", name) for name in names[:count]), 1200.0, 900.0, 0.0)
        words = f"About 900 of 1,200 requests (75% since then) entering at {named} failed"
        assert joined_text(impact_text(cost, lasting)) == words


def test_services_that_fail_most_requests_stand_before_those_further_beyond_their_slo() -> None:
    found = [
        Reading("slow", "p95", 12.0, 0.1, "SLO", "s", 120.0, "critical"),
        Reading("down", "error rate", 0.9, 0.016, "SLO", "ratio", 56.0, "critical"),
        Reading("down", "p95", 99.0, 1.0, "SLO", "s", 99.0, "critical"),
    ]
    rows = sorted((breached_row(Service("", name), found) for name in ("slow", "down")), key=by_impact)
    assert [(row.service, row.fails, row.figure, row.limit) for row in rows] == [
        ("down", True, "error rate 90%", "SLO 1.6%"),
        ("slow", False, "p95 12.0 s", "SLO 100 ms"),
    ]


def test_a_learned_slo_and_lost_replicas_are_named() -> None:
    assert headline_figure(P95, None, learned=True) == "p95 8.42 s (learned SLO 13.2 s)"
    assert joined_text(lead(None, None, None, None, T, replicas=(4, 6))) == "4 of 6 replicas ready. "


@pytest.mark.parametrize(("load", "words"), [(0.82, "load 82%"), (2.17, "load > 100%")])
def test_a_load_above_capacity_says_that_it_includes_the_queue(load: float, words: str) -> None:
    assert figure_text(Reading("llm", "load", load, 0.76, "safe limit", "ratio", load / 0.76, "critical")) == words


def test_a_recovery_is_compared_with_its_peak() -> None:
    top = Peak("p95", "s", 8.26, 10.2, 13.2)
    assert headline_figure(P95, top) == "p95 peaked at 10.2 s, now 8.42 s (SLO 13.2 s)"
    assert headline_figure(P95, None) == "p95 8.42 s (SLO 13.2 s)"
    assert joined_text(lead(None, top, None, None, T)) == "p95 stayed within its SLO (SLO 13.2 s). "


@pytest.mark.parametrize(
    ("state", "breached", "words"),
    [
        ("firing", None, ("Critical · firing", "")),
        ("recovering", None, ("Recovering", "no SLO breach")),
        ("recovering", ENDED, ("Recovering", "SLO breach ended")),
        ("recovering", Breach("llm", T - 300, None, earlier=False), ("Recovering", "still in SLO breach")),
    ],
)
def test_the_badge_says_whether_a_recovering_service_breached(
    state: State, breached: Breach | None, words: tuple[str, str]
) -> None:
    item = replace(contention_incident(contended()), severity="critical", state=state)
    assert badge(item, breached) == words


def test_the_badge_of_an_early_warning_says_that_it_did_not_page() -> None:
    item = replace(contention_incident(contended(), severity="warning"), paged=None)
    assert badge(item, None) == ("Early warning · not paged", "")


def test_a_missing_change_log_is_no_proof_that_nothing_changed() -> None:
    assert no_changes((), 2, "30 min before the first anomaly") == "None in the 30 min before the first anomaly"
    assert no_changes(("a", "b"), 2, "") == "Unknown: deploys of a and b are not tracked (check their deploy logs)"
    some = "None in the last 3 h, but deploys of a are not tracked (check its deploy log)"
    assert no_changes(("a",), 2, "last 3 h") == some


def test_a_lane_names_every_metric_in_breach() -> None:
    """The furthest beyond its SLO first: a breach may have begun with the other one."""
    p95 = Reading("llm", "p95", 56.5, 13.2, "SLO", "s", 4.28, "critical")
    errors = Reading("llm", "error rate", 0.36, 0.016, "SLO", "ratio", 22.5, "critical")
    for rows in ((p95, errors), (errors, p95)):
        assert lane_figures(rows)["llm", ""] == "error rate 36% (SLO 1.6%), p95 56.5 s (SLO 13.2 s)"
    within = lane_figures((P95,))
    assert ("llm", "") not in within
    assert within["llm", "SLO"] == "p95 8.42 s (SLO 13.2 s)"
