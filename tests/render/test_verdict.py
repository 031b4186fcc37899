"""The sentences of a verdict name the entity, its state, and the figure with its reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.web.worlds import contended, contention_incident

from foreshock_dashboard.analysis.baseline.slos import LEARNED_SLO_FACTORS
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import AtRisk, State
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.verdict.course import Breach, Impact, Peak, Recovery
from foreshock_dashboard.model.verdict.healthy import Coverage, Exceedance
from foreshock_dashboard.model.verdict.reading import Reading, SloStatus
from foreshock_dashboard.render.change import no_changes
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.verdict.incident_course import (
    badge,
    breach_text,
    headline_figure,
    impact_text,
    lead,
    recovering_action,
    recovery_text,
)
from foreshock_dashboard.render.verdict.platform import coverage_text, slo_summary, uncounted
from foreshock_dashboard.render.verdict.reading_text import figure_text, lane_figures, reading_text, risk_reason
from foreshock_dashboard.render.words.panels import TILE_TEXTS

T = 1_767_600_000.0
"""08:00:00 UTC."""
LLM = Service("", "llm")
P95 = Reading("llm", "p95", 8.42, 13.2, "SLO", "s", 0.64, "ok")
LEARNED = ServiceSlo(LLM, 13.2, 0.016, learned=True, baseline_seconds=8.25, baseline_error_rate=0.006)
ENDED = Breach("llm", T - 300, T - 60)


@pytest.mark.parametrize(
    ("breached", "words"),
    [
        (Breach("llm", T - 190, None), "SLO breach since 07:56:50 UTC (3 min 10 s)"),
        (
            Breach("llm", T - 190, None, pauses=1, paused=60),
            "SLO breach since 07:56:50 UTC (2 min 10 s in total, 1 interruption)",
        ),
        (Breach("llm", T - 5, None), "SLO breach since 07:59:55 UTC (just now)"),
        (Breach("llm", T - 1800, None, earlier=True), "SLO breach since before 07:30:00 UTC (over 30 min)"),
        (ENDED, "SLO breached between 07:55:00 UTC and 07:59:00 UTC (4 min)"),
        (
            replace(ENDED, pauses=2, paused=60),
            "SLO breached between 07:55:00 UTC and 07:59:00 UTC (3 min in total, 2 interruptions)",
        ),
    ],
    ids=["lasting", "paused", "new", "older than the history", "over", "over after pauses"],
)
def test_a_breach_is_dated_by_its_start(breached: Breach, words: str) -> None:
    assert joined_text(breach_text(breached, T)) == words


@pytest.mark.parametrize(
    ("failed", "slow", "words"),
    [
        (
            0.0,
            1312.0,
            (
                "About 1,300 of 2,800 requests (46% since the first anomaly) to llm "
                "took longer than 13.2 s (the SLO allows 5%)"
            ),
        ),
        (12.0, 0.0, "About 12 of 2,800 requests (0.4% since the first anomaly) to llm failed"),
        (
            12.0,
            8.0,
            (
                "About 20 of 2,800 requests (0.7% since the first anomaly) to llm "
                "failed (12) or took longer than the SLO of 13.2 s (8)"
            ),
        ),
        (
            0.2,
            0.2,
            "None of 2,800 requests since the first anomaly to llm failed or took longer than the SLO of 13.2 s",
        ),
    ],
)
def test_the_cost_says_what_happened_to_requests(failed: float, slow: float, words: str) -> None:
    assert joined_text(impact_text(Impact((LLM,), 2800.0, failed, slow, limit=13.2), None)) == words


def test_the_service_of_the_headline_is_not_named_again() -> None:
    cost = Impact((LLM,), 2800.0, 12.0, 0.0)
    assert (
        joined_text(impact_text(cost, None, "llm"))
        == "About 12 of 2,800 requests (0.4% since the first anomaly) failed"
    )


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


def test_each_service_that_breached_its_slo_is_in_the_impact() -> None:
    """Requests count where they come in; dependencies that breached as well are named without a count of their own."""
    web, (llm, image) = Service("", "web"), (LLM, Service("", "image"))
    for behind, words in (
        ((), ""),
        ((image,), " Dependency image breached its SLO."),
        ((image, llm), " Dependencies image and llm breached their SLO."),
    ):
        cost = Impact((web,), 1200.0, 900.0, 0.0, behind=behind)
        shown = joined_text(lead(None, None, ENDED, cost, T))
        assert shown.endswith(f"About 900 of 1,200 requests (75%) to web failed.{words}")


def test_the_service_of_the_headline_is_no_dependency_in_the_impact() -> None:
    for behind, words in (
        ((LLM,), " llm breached its SLO."),
        ((Service("", "image"), LLM), " llm and dependency image breached their SLO."),
    ):
        cost = Impact((Service("", "web"),), 1200.0, 900.0, 0.0, behind=behind)
        assert joined_text(lead(None, None, ENDED, cost, T, subject="llm")).endswith(f"failed.{words}")


def test_a_large_part_of_a_request_that_an_estimate_has_counts_as_one() -> None:
    """Beside a p95 above the SLO, of few requests, none would be a contradiction."""
    cost = Impact((LLM,), 58.0, 0.2, 0.5, limit=3.56)
    assert joined_text(impact_text(cost, None, "llm")) == (
        "About 1 of 58 requests (1.7% since the first anomaly) took longer than 3.56 s (the SLO allows 5%)"
    )


def test_halves_of_a_request_are_one_and_not_two() -> None:
    for failed, slow, kind in ((0.5, 0.5, "failed"), (0.6, 0.3, "failed"), (0.5, 0.6, "took longer")):
        cost = Impact((LLM,), 58.0, failed, slow, limit=3.56)
        assert joined_text(impact_text(cost, None, "llm")).startswith(
            f"About 1 of 58 requests (1.7% since the first anomaly) {kind}"
        )


def test_a_learned_slo_and_lost_replicas_are_named() -> None:
    assert headline_figure(P95, None, LEARNED) == "p95 8.42 s (learned SLO 13.2 s = 1.6x baseline)"
    assert joined_text(lead(None, None, None, None, T, replicas=(4, 6))) == "4 of 6 replicas ready."


def test_a_learned_slo_says_what_it_is_beside_its_baseline() -> None:
    """Whatever made it: variation, the least SLO, or the margin of an error rate. A configured one needs no words."""
    errors = Reading("llm", "error rate", 0.15, 0.016, "SLO", "ratio", 9.4, "critical")
    load = Reading("llm", "load", 0.82, 0.76, "safe limit", "ratio", 1.08, "critical")
    for reading, slo, words in (
        (errors, LEARNED, "error rate 15% (learned SLO 1.6% = baseline + 1.0 pp)"),
        (P95, LEARNED._replace(baseline_seconds=1.1), "p95 8.42 s (learned SLO 13.2 s = 12x baseline)"),
        (P95, ServiceSlo(LLM, 13.2, 0.016, learned=True), "p95 8.42 s (learned SLO 13.2 s)"),
        (P95, ServiceSlo(LLM, 13.2, 0.016, learned=False), "p95 8.42 s (SLO 13.2 s)"),
        (load, LEARNED, "load 82% (safe limit 76%)"),
    ):
        assert reading_text(reading, slo) == words


def test_words_state_the_factor_of_a_learned_slo() -> None:
    factor = LEARNED_SLO_FACTORS[0]
    assert f"at least {factor} times the baseline p95" in TILE_TEXTS["learned_slo"]
    assert f"at least {factor}x baseline p95" in joined_text(coverage_text(Coverage(1, 1, 0, 0, (), 2, 2)))


@pytest.mark.parametrize(("load", "words"), [(0.82, "load 82%"), (2.17, "load > 100%")])
def test_a_load_above_capacity_says_that_it_includes_the_queue(load: float, words: str) -> None:
    assert figure_text(Reading("llm", "load", load, 0.76, "safe limit", "ratio", load / 0.76, "critical")) == words


def test_a_recovery_is_compared_with_its_peak() -> None:
    top = Peak("p95", "s", 8.26, 10.2, 13.2)
    assert headline_figure(P95, top) == "p95 peaked at 10.2 s, now 8.42 s (SLO 13.2 s)"
    assert headline_figure(P95, None) == "p95 8.42 s (SLO 13.2 s)"
    few = headline_figure(replace(P95, value=14.0), None, LEARNED, few=True)
    assert few == "p95 14.0 s (learned SLO 13.2 s = 1.6x baseline, too few requests to count)"
    assert joined_text(lead(None, top, None, None, T)) == "p95 stayed within its SLO (SLO 13.2 s)."


@pytest.mark.parametrize(
    ("state", "breached", "in_breach", "words"),
    [
        ("firing", None, 0, ("Critical incident · firing", "SLO breach forecast")),
        ("firing", replace(ENDED, until=None), 1, ("Critical incident · firing", "1 service in SLO breach")),
        ("firing", replace(ENDED, until=None), 3, ("Critical incident · firing", "3 services in SLO breach")),
        ("firing", ENDED, 0, ("Critical incident · firing", "SLO breach ended")),
        ("recovering", None, 0, ("Critical incident · recovering", "no SLO breach")),
        ("recovering", ENDED, 0, ("Critical incident · recovering", "SLO breach ended")),
        ("recovering", replace(ENDED, until=None), 1, ("Critical incident · recovering", "1 service in SLO breach")),
    ],
)
def test_the_badge_says_of_what_the_severity_is_and_why(
    state: State, breached: Breach | None, in_breach: int, words: tuple[str, str]
) -> None:
    """An incident is critical while its services are only at risk, each of which has its own state."""
    soon = (AtRisk(LLM, 60.0, 120.0, 240.0),)
    item = replace(contention_incident(contended()), severity="critical", state=state, at_risk=soon)
    assert badge(item, breached, in_breach) == words


def test_the_badge_of_an_incident_that_paged_without_a_forecast_says_that_no_slo_is_breached() -> None:
    item = replace(contention_incident(contended()), severity="critical", at_risk=())
    assert badge(item, None) == ("Critical incident · firing", "no SLO breach")


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


@pytest.mark.parametrize(
    ("counts", "summary"),
    [
        ((0, 0, 0, 14, 0), "All 14 services within SLO"),
        ((0, 0, 0, 5, 1), "5 of 6 services within SLO, 1 without an SLO"),
        ((0, 3, 1, 7, 3), "SLO status: 11 within SLO (3 degraded, 1 at risk), 3 without an SLO"),
        ((1, 0, 0, 1, 0), "SLO status: 1 breached, 1 within SLO"),
        ((1, 0, 0, 0, 2), "SLO status: 1 breached, 2 without an SLO"),
        (
            (0, 0, 0, 10, 3, 1, 2),
            "10 of 16 services within SLO, 1 with low traffic, 3 without an SLO, 2 without data",
        ),
        ((0, 0, 0, 0, 2), "2 services without an SLO"),
    ],
)
def test_the_services_are_summed_up_in_the_words_of_the_tile(counts: tuple[int, ...], summary: str) -> None:
    status = SloStatus(*counts)
    assert slo_summary(status) == summary
    assert status.is_all_within is (summary == "All 14 services within SLO")


def test_before_a_breach_the_lead_says_so_with_the_metric_that_is_forecast() -> None:
    cost = Impact((LLM,), 3600.0, 0.0, 50.0, limit=13.2)
    said = joined_text(lead(P95, None, None, cost, T, slo=LEARNED, subject="llm"))
    assert said == (
        "SLO not breached: p95 8.42 s (learned SLO 13.2 s = 1.6x baseline). "
        "About 50 of 3,600 requests (1.4% since the first anomaly) took longer than 13.2 s (the SLO allows 5%)."
    )
    assert joined_text(lead(P95, None, ENDED, None, T, subject="llm")).startswith(
        "p95 8.42 s (SLO 13.2 s). SLO breached"
    )
    beyond = replace(P95, value=14.0, usage=1.06)  # a single value beyond the SLO is no breach yet
    assert joined_text(lead(beyond, None, None, None, T)) == "p95 14.0 s (SLO 13.2 s)."


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            Recovery("web", "request rate", 14.2, 5.22, baseline=8.62),
            "web down to 5.22 req/s (peak 14.2 req/s, baseline 8.62 req/s)",
        ),
        (Recovery("web", "request rate", 14.2, 5.22), "web down to 5.22 req/s (peak 14.2 req/s)"),
        (Recovery("llm", "ready replicas", 2.0, 4.0, baseline=4.0), "llm back to 4 ready replicas (dropped to 2)"),
        (Recovery("llm", "ready replicas", 4.0, 6.0, baseline=4.0), "llm scaled from 4 to 6 ready replicas"),
        (
            Recovery("batch", "GPU time", 0.8, 0.1, is_back=True, since=T),
            "batch back to 10% of GPU time since 08:00:00 UTC",
        ),
        (Recovery("batch", "GPU time", 0.8, 0.6, is_back=False), "batch still at 60% of GPU time"),
    ],
)
def test_a_recovery_says_from_what_and_what_is_normal(row: Recovery, words: str) -> None:
    assert joined_text(recovery_text([row])) == words


def test_a_recovering_incident_says_how_long_to_watch_it() -> None:
    assert joined_text(recovering_action(None)) == "None now"
    assert joined_text(recovering_action(T)) == (
        "No action needed. The incident closes at about 08:00:00 UTC unless symptoms return"
    )


def test_a_p95_on_too_few_requests_says_why_it_is_not_counted() -> None:
    ((label, said),) = uncounted([Exceedance("image-gen", T, 40.0, 15.0, 30.0)])
    assert f"{label}: {joined_text(said)}" == (
        "Not counted: image-gen p95 was above its SLO for 40 s from 08:00:00 UTC, with too few requests "
        "to count (up to 15 per minute, 30 needed)"
    )
    assert list(uncounted([])) == []


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            Coverage(4, 5, 32, 32, (LLM,), 2, 2),
            (
                "Data from 4 of 5 scrape targets and 32 of 32 GPUs. Low traffic, not judged: llm. "
                "SLOs: learned (at least 1.6x baseline p95)."
            ),
        ),
        (
            Coverage(0, 0, 32, 32, (), 2, 1),
            "Data from 32 of 32 GPUs. SLOs: 1 of 2 learned (at least 1.6x baseline p95).",
        ),
        (Coverage(0, 0, 0, 0, (), 2, 0), "SLOs: configured."),
        (Coverage(0, 0, 0, 0, (), 0, 0), ""),
    ],
)
def test_a_healthy_platform_says_on_which_data_that_rests(seen: Coverage, words: str) -> None:
    assert joined_text(coverage_text(seen)) == words


@pytest.mark.parametrize(
    ("reading", "callee", "state", "is_suspect", "words"),
    [
        (None, LLM, "", False, "calls llm"),
        (None, LLM, "", True, "suspected cause; calls llm"),
        (P95, LLM, "degraded", False, "p95 8.42 s, SLO 13.2 s"),
        (None, LLM, "degraded", False, "degraded"),
        (None, LLM, "degraded", True, "suspected cause; degraded"),
        (None, None, "", True, "suspected cause"),
        (None, None, "", False, ""),
    ],
)
def test_a_service_at_risk_says_why(
    reading: Reading | None, callee: Service | None, state: str, is_suspect: bool, words: str
) -> None:
    assert risk_reason(reading, callee, state, is_suspect=is_suspect) == words
