"""What is made of incidents over time, and of what the first page says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from foreshock_dashboard.model.incident import AtRisk, Candidate, Cause, Phase, SuspectedCause
from foreshock_evaluation.outcome import Run, outcome_of
from foreshock_evaluation.verdict import (
    OPEN,
    PAGING,
    IncidentAt,
    first_in_phases,
    forecast_retry_storm,
    judge_first_page,
)

if TYPE_CHECKING:
    from tests.evaluation.conftest import Stage


def test_an_incident_counts_as_it_was_when_it_first_opened_and_first_paged(stage: type[Stage]) -> None:
    """What it says later is no longer a warning."""
    advisory = replace(stage.incident, phase="advisory", suspect=SuspectedCause())
    later = replace(stage.incident, phase="cascading", suspect=SuspectedCause(stage.other))
    over = replace(later, phase="over")
    history = ((1.0, (advisory,)), (2.0, (stage.incident,)), (3.0, (later,)), (4.0, (over,)))

    assert first_in_phases(history, OPEN) == (IncidentAt(1.0, advisory),)
    assert first_in_phases(history, PAGING) == (IncidentAt(2.0, stage.incident),)


def test_what_cascades_at_once_is_paged(stage: type[Stage]) -> None:
    """There need not be a grid point in between."""
    now = replace(stage.incident, phase="cascading")

    assert first_in_phases(((5.0, (now,)),), PAGING) == (IncidentAt(5.0, now),)


def test_the_first_page_of_a_right_incident_is_right_in_everything(stage: type[Stage]) -> None:
    """Culprit, cause, pair; the gateway is said to breach in 90 s and does in 240."""
    found = judge_first_page(stage.truth, stage.expected, IncidentAt(stage.onset + 60, stage.incident))

    assert (found.named, found.top1, found.top3, found.right_cause, found.pair) == ("ml/batch", True, True, True, True)
    assert [(eta.p10, eta.p90, eta.actual) for eta in found.etas] == [(30.0, 400.0, 240.0)]
    assert found.extent == pytest.approx(2 * 2 / (2 + 3))


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"culprit": SuspectedCause()}, set()),
        ({"culprit": "other"}, {"top1", "pair"}),
        ({"culprit": "other", "candidates": ()}, {"top1", "top3", "pair"}),
        ({"culprit": SuspectedCause(), "candidates": ()}, {"top1", "top3", "pair"}),
        ({"cause": "demand"}, {"right_cause"}),
        ({"pool": "embed"}, {"pair"}),
        ({"gpus": (), "pool": ""}, {"pair"}),
        ({"pool": ""}, set()),
        ({"service": "gateway", "victims": "gateway"}, {"pair"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_each_thing_that_a_page_says_is_judged_by_itself(
    changes: dict[str, Any], wrong: set[str], stage: type[Stage]
) -> None:
    """The culprit may come from the candidates, the place from the GPUs."""
    said = stage.incident
    place = said.suspect
    if changes.get("culprit") == "other":
        place = place._replace(service=stage.other)
    elif "culprit" in changes:
        place = place._replace(service=None)
    place = place._replace(**{key: changes[key] for key in ("gpus", "pool") if key in changes})
    said = replace(said, suspect=place, cause=changes.get("cause", said.cause))
    if "candidates" in changes:
        said = replace(said, candidates=())
    elif changes.get("culprit") == "other":
        said = replace(said, candidates=(Candidate(stage.other, 0.5), Candidate(stage.batch, 0.4)))
    if "service" in changes:
        said = replace(said, service=stage.gateway, victims=(stage.gateway,))

    found = judge_first_page(stage.truth, stage.expected, IncidentAt(stage.onset + 60, said))

    asked = ("top1", "top3", "right_cause", "pair")
    assert {name for name in asked if not getattr(found, name)} == wrong


def test_a_pair_is_asked_for_only_where_a_pool_is_fought_for(stage: type[Stage]) -> None:
    """Elsewhere it is neither right nor wrong."""
    truth = replace(stage.truth, cause="memory")

    found = judge_first_page(
        truth, stage.expected, IncidentAt(stage.onset, replace(stage.incident, cause="memory pressure"))
    )

    assert (found.pair, found.cause, found.right_cause) == (None, "memory", True)


def test_a_path_is_named_by_its_edge_or_either_end(stage: type[Stage]) -> None:
    """The other way round it is another path."""
    edge = (stage.gateway, stage.model)
    expected = replace(stage.expected, culprits=frozenset(edge), edge=edge)
    blank = replace(stage.incident, candidates=())

    def top1(culprit: SuspectedCause) -> bool:
        return judge_first_page(stage.truth, expected, IncidentAt(stage.onset, replace(blank, suspect=culprit))).top1

    assert top1(SuspectedCause(edge=edge))
    assert top1(SuspectedCause(stage.batch, edge=edge))
    assert top1(SuspectedCause(stage.gateway))
    assert not top1(SuspectedCause(edge=(stage.model, stage.gateway)))
    assert not top1(SuspectedCause(stage.batch))


def test_times_are_judged_of_services_that_had_not_breached_and_did_later(stage: type[Stage]) -> None:
    """Not of those that never do, nor of those said to miss their objective already."""
    risks = (
        AtRisk(stage.model, 0.0, 0.0, 0.0),
        AtRisk(stage.entry, 10.0, 20.0, math.inf),
        AtRisk(stage.other, 10.0, 20.0, 30.0),
    )

    found = judge_first_page(
        stage.truth, stage.expected, IncidentAt(stage.onset + 60, replace(stage.incident, at_risk=risks))
    )

    assert [(eta.p50, eta.p80, eta.actual) for eta in found.etas] == [(20.0, math.inf, 300.0)]
    assert math.isnan(found.etas[0].p10)


@pytest.mark.parametrize(
    ("phase", "cause", "since", "foreseen"),
    [
        ("advisory", "retry storm", -600.0, True),
        ("over", "retry storm", -600.0, False),
        ("advisory", "demand", -600.0, False),
        ("advisory", "retry storm", 0.0, False),
    ],
)
def test_a_retry_storm_is_foreseen_by_an_advisory_that_is_open_when_its_trigger_comes(
    phase: Phase, cause: Cause, since: float, foreseen: bool, stage: type[Stage]
) -> None:
    """What opens with the trigger is too late."""
    said = replace(stage.incident, phase=phase, cause=cause)

    assert forecast_retry_storm(stage.truth, ((stage.onset + since, (said,)),)) == foreseen


def test_an_advisory_that_becomes_a_page_warns_twice(stage: type[Stage]) -> None:
    """Pages by when they page, advisories by when they open; services with requests are counted."""
    advisory = replace(stage.incident, phase="advisory")
    history = ((stage.onset + 20, (advisory,)), (stage.onset + 60, (stage.incident,)))
    world = stage.world(points=481, rate={stage.other: lambda _: 0.0})

    found = outcome_of(Run("noisy", "small", 1), stage.truth, stage.expected, world, history)

    assert (found.pages.lead_seconds, found.advisories.lead_seconds) == (240.0, 280.0)
    assert found.verdict is not None
    assert found.verdict.top1
    assert (found.gap, found.services, found.storm) == (300.0, 4, None)
    assert found.service_days == pytest.approx(4 * 2700 / 86_400)


def test_a_runs_name_is_that_of_its_folder() -> None:
    """And can be read again."""
    assert Run.parse(Run("noisy-neighbour", "medium", 12).name) == Run("noisy-neighbour", "medium", 12)
    day = Run("calm", "medium", 101, 86_400.0)
    assert (day.name, Run.parse(day.name)) == ("medium-101-calm-24h", day)
    for name in ("starve", "small-starve", "small-x-starve", "small-11-"):
        with pytest.raises(ValueError, match=f"'{name}' is not of the form SIZE-SEED-SCENARIO"):
            Run.parse(name)
