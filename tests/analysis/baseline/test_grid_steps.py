"""Findings at grid steps of a second to five minutes: every duration is one of seconds and of points."""

from __future__ import annotations

import pytest
from tests.analysis.detectors.platform import POINTS, Changes, Shape, world
from tests.analysis.detectors.test_detectors import CASES, Case

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws, utilizations

STEPS = (1.0, 10.0, 60.0, 300.0)
LEARNED_UNTIL = 215
"""Grid index before which no case changes anything."""


def point_at(changes: Changes, step: float) -> EvaluationPoint:
    """The platform three minutes or ten grid points after the change, with half an hour of history or more before it.

    The baselines are those from before any change.
    """
    more, after = max(0, round(1800 / step) - LEARNED_UNTIL), max(0, round(180 / step) - 10)

    def later(shape: Shape | float) -> Shape | float:
        return (lambda index: shape(index - more)) if callable(shape) else shape

    built = world({key: later(shape) for key, shape in changes.items()}, POINTS + more + after, step)
    learned, at = more + LEARNED_UNTIL, len(built.times) - 1
    laws = fit_batching_laws(built, learned)
    return EvaluationPoint(built, at, baselines_at(built, learned), utilizations=utilizations(built, at, laws))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_fault_is_found_at_every_step(case: Case, step: float) -> None:
    found = [item for item in findings(point_at(case.changes, step)) if item.service == case.service]
    assert (case.cause, case.suspect) in [(item.cause, item.suspect.service) for item in found if item.strength > 0.5]


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_found_and_no_service_is_at_risk_where_nothing_happens(step: float) -> None:
    now = point_at({}, step)
    assert [finding for finding in findings(now) if finding.strength > 0.1] == []
    assert not any(risk.breached or risk.score > 0.1 for risk in service_risks(now, slos(now, {})).values())
