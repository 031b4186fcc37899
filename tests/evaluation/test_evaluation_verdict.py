"""First pages of incidents, and their verdicts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from foreshock_dashboard.model.incident import AtRisk, Candidate, Cause, State, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_evaluation.scores.outcome import Run, outcome_of
from foreshock_evaluation.scores.verdict import (
    ALL_SEVERITIES,
    PAGING,
    IncidentAt,
    first_open,
    forecast_retry_storm,
    judge_first_page,
)

if TYPE_CHECKING:
    from tests.evaluation.conftest import Stage

PARTS = ("top1", "top3", "right_cause", "pair", "is_cause_stated")


def test_an_incident_counts_as_of_its_opening_and_its_first_page(stage: type[Stage]) -> None:
    """Later states are no warning."""
    early = replace(stage.incident, severity="warning", suspect=SuspectedCause())
    later = replace(stage.incident, cascading=True, suspect=SuspectedCause(stage.other))
    over = replace(later, state="resolved")
    history = ((1.0, (early,)), (2.0, (stage.incident,)), (3.0, (later,)), (4.0, (over,)))

    assert first_open(history, ALL_SEVERITIES) == (IncidentAt(1.0, early),)
    assert first_open(history, PAGING) == (IncidentAt(2.0, stage.incident),)


def test_an_incident_that_cascades_at_once_counts_as_paged(stage: type[Stage]) -> None:
    now = replace(stage.incident, cascading=True)

    assert first_open(((5.0, (now,)),), PAGING) == (IncidentAt(5.0, now),)


def test_a_right_first_page_is_right_in_every_part(stage: type[Stage]) -> None:
    """Root cause, cause class, pair; the gateway is forecast to breach in 90 s and does in 240 s."""
    verdict = judge_first_page(stage.truth, stage.expected, IncidentAt(stage.onset + 60, stage.incident))

    assert (verdict.named, verdict.top1, verdict.top3, verdict.right_cause, verdict.pair) == (
        "ml/batch",
        True,
        True,
        True,
        True,
    )
    assert [(eta.p10, eta.p90, eta.actual) for eta in verdict.etas] == [(30.0, 400.0, 240.0)]
    assert verdict.extent == pytest.approx(2 * 2 / (2 + 3))


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"root_cause": SuspectedCause()}, set()),
        ({"root_cause": "other"}, {"top1", "pair"}),
        ({"root_cause": "other", "candidates": ()}, {"top1", "top3", "pair"}),
        ({"root_cause": SuspectedCause(), "candidates": ()}, {"top1", "top3", "pair"}),
        ({"cause": "overload"}, {"right_cause"}),
        ({"confidence": 0.49}, {"right_cause", "pair", "is_cause_stated"}),
        ({"confidence": 0.49, "root_cause": "other"}, {"top1", "right_cause", "pair", "is_cause_stated"}),
        ({"confidence": 0.49, "candidates": ()}, {"top1", "top3", "right_cause", "pair", "is_cause_stated"}),
        ({"pool": "embed"}, {"pair"}),
        ({"gpus": (), "pool": ""}, {"pair"}),
        ({"pool": ""}, set()),
        ({"service": "gateway", "victims": "gateway"}, {"pair"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_each_part_of_a_page_is_judged_by_itself(changes: dict[str, Any], wrong: set[str], stage: type[Stage]) -> None:
    """The root cause may come from the candidates, the place from the GPUs; at low confidence no cause is stated."""
    incident = stage.incident
    suspect = incident.suspect
    if changes.get("root_cause") == "other":
        suspect = suspect._replace(service=stage.other)
    elif "root_cause" in changes:
        suspect = suspect._replace(service=None)
    suspect = suspect._replace(**{key: changes[key] for key in ("gpus", "pool") if key in changes})
    incident = replace(incident, suspect=suspect, cause=changes.get("cause", incident.cause))
    incident = replace(incident, confidence=changes.get("confidence", incident.confidence))
    if "candidates" in changes:
        incident = replace(incident, candidates=())
    elif changes.get("root_cause") == "other":
        incident = replace(incident, candidates=(Candidate(stage.other, 0.5), Candidate(stage.batch, 0.4)))
    if "service" in changes:
        incident = replace(incident, service=stage.gateway, affected=(stage.gateway,))

    verdict = judge_first_page(stage.truth, stage.expected, IncidentAt(stage.onset + 60, incident))

    assert {name for name in PARTS if not getattr(verdict, name)} == wrong


def test_a_pair_is_judged_for_gpu_contention_only(stage: type[Stage]) -> None:
    """For other causes it is None."""
    truth = replace(stage.truth, cause="kv_cache_pressure")

    verdict = judge_first_page(
        truth, stage.expected, IncidentAt(stage.onset, replace(stage.incident, cause="kv_cache_pressure"))
    )

    assert (verdict.pair, verdict.cause, verdict.right_cause) == (None, "kv_cache_pressure", True)


def test_a_cause_class_is_judged_only_where_the_truth_names_one(stage: type[Stage]) -> None:
    """Some faults of real systems belong to no class."""
    verdict = judge_first_page(replace(stage.truth, cause=""), stage.expected, IncidentAt(stage.onset, stage.incident))

    assert verdict.right_cause is None


def test_a_path_is_named_by_its_edge_or_either_end(stage: type[Stage]) -> None:
    """The reverse edge is another path."""
    edge = (stage.gateway, stage.model)
    expected = replace(stage.expected, root_causes=frozenset(edge), edge=edge)
    blank = replace(stage.incident, candidates=())

    def top1(root_cause: SuspectedCause) -> bool:
        return judge_first_page(stage.truth, expected, IncidentAt(stage.onset, replace(blank, suspect=root_cause))).top1

    assert top1(SuspectedCause(edge=edge))
    assert top1(SuspectedCause(stage.batch, edge=edge))
    assert top1(SuspectedCause(stage.gateway))
    assert not top1(SuspectedCause(edge=(stage.model, stage.gateway)))
    assert not top1(SuspectedCause(stage.batch))


def test_a_path_between_right_root_causes_is_right_where_no_path_is_expected(stage: type[Stage]) -> None:
    """Of a service with several callers, any path to it counts."""
    expected = replace(stage.expected, root_causes=frozenset({stage.gateway, stage.entry, stage.model}))
    blank = replace(stage.incident, candidates=())

    def top1(edge: tuple[Service, Service]) -> bool:
        incident = replace(blank, suspect=SuspectedCause(edge=edge))
        return judge_first_page(stage.truth, expected, IncidentAt(stage.onset, incident)).top1

    assert top1((stage.gateway, stage.model))
    assert top1((stage.entry, stage.model))
    assert not top1((stage.batch, stage.model))


def test_times_to_breach_are_judged_for_services_that_breach_later(stage: type[Stage]) -> None:
    """Not for those that never breach, nor for those reported in breach already."""
    risks = (
        AtRisk(stage.model, 0.0, 0.0, 0.0),
        AtRisk(stage.entry, 10.0, 20.0, math.inf),
        AtRisk(stage.other, 10.0, 20.0, 30.0),
    )

    verdict = judge_first_page(
        stage.truth, stage.expected, IncidentAt(stage.onset + 60, replace(stage.incident, at_risk=risks))
    )

    assert [(eta.p50, eta.p80, eta.actual) for eta in verdict.etas] == [(20.0, math.inf, 300.0)]
    assert math.isnan(verdict.etas[0].p10)


@pytest.mark.parametrize(
    ("state", "cause", "since", "foreseen"),
    [
        ("firing", "retry_storm", -600.0, True),
        ("resolved", "retry_storm", -600.0, False),
        ("firing", "overload", -600.0, False),
        ("firing", "retry_storm", 0.0, False),
    ],
)
def test_a_retry_storm_is_forecast_by_an_early_warning_open_at_its_trigger(
    state: State, cause: Cause, since: float, foreseen: bool, stage: type[Stage]
) -> None:
    """One that opens with the trigger is too late."""
    incident = replace(stage.incident, severity="warning", state=state, cause=cause)

    assert forecast_retry_storm(stage.truth, ((stage.onset + since, (incident,)),)) == foreseen


def test_an_outcome_has_lead_times_of_the_early_warning_and_of_the_page(stage: type[Stage]) -> None:
    """Only services with requests are counted."""
    early = replace(stage.incident, severity="warning")
    history = ((stage.onset + 20, (early,)), (stage.onset + 60, (stage.incident,)))
    world = stage.world(points=481, rate={stage.other: lambda _: 0.0})

    outcome = outcome_of(Run("noisy", "small", 1), stage.truth, stage.expected, world, history)

    assert (outcome.pages.lead_seconds, outcome.early_warnings.lead_seconds) == (240.0, 280.0)
    assert outcome.verdict is not None
    assert outcome.verdict.top1
    assert (outcome.gap, outcome.services, outcome.storm) == (300.0, 4, None)
    assert outcome.service_days == pytest.approx(4 * 2700 / 86_400)


def test_a_page_in_time_announces_a_cascade_though_its_incident_was_open_before_the_fault(stage: type[Stage]) -> None:
    """Its opening warns of nothing that comes later."""
    early = replace(stage.incident, severity="warning")
    history = ((stage.onset - 60, (early,)), (stage.onset + 60, (stage.incident,)))

    outcome = outcome_of(Run("noisy", "small", 1), stage.truth, stage.expected, stage.world(points=481), history)

    assert (outcome.early_warnings.early, outcome.pages.early, outcome.is_announced) == (False, True, True)


def test_a_run_name_is_parsed_from_its_folder() -> None:
    assert Run.parse(Run("noisy-neighbor", "medium", 12).name) == Run("noisy-neighbor", "medium", 12)
    day = Run("calm", "medium", 101, 86_400.0)
    assert (day.name, Run.parse(day.name)) == ("medium-101-calm-24h", day)
    for name in ("starve", "small-starve", "small-x-starve", "small-11-"):
        with pytest.raises(ValueError, match=f"'{name}' is not of the form SIZE-SEED-SCENARIO"):
            Run.parse(name)
