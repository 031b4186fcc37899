"""Changes of suspects: when one raises a service's rank, and how the answer shows it."""

from __future__ import annotations

import math

import pytest

from foreshock_dashboard.analysis.incidents.change_cause import with_changes
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.action import reasons_text

CART, STORE = Service("shop", "cart"), Service("shop", "store")
ONSET = 10_000.0
CANDIDATES = tuple(
    Candidate(service, score, (Reason("slower", service, "latency_seconds", 3.0, 0.1, ONSET),))
    for service, score in ((STORE, 0.55), (CART, 0.45))
)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (Change(ONSET - 60, "deployment", CART, after="v2"), CART),
        (Change(ONSET - 60, "deployment", Service("", "cart"), after="v2"), CART),
        (Change(ONSET + 60, "configuration", CART), CART),
        (Change(ONSET - 1700, "deployment", CART), STORE),
        (Change(ONSET - 7200, "deployment", CART), STORE),
        (Change(ONSET + 300, "deployment", CART), STORE),
        (Change(ONSET - 60, "scaling", CART), STORE),
        (Change(ONSET - 60, "deployment", STORE), STORE),
    ],
)
def test_a_change_just_before_the_first_sign_raises_the_rank_of_its_service(change: Change, first: Service) -> None:
    """One long before, or after it, does not."""
    ranked = with_changes(CANDIDATES, [change], {CART, STORE}, ONSET - 120, ONSET + 600)
    assert ranked[0].service == first
    assert sum(item.score for item in ranked) == pytest.approx(1.0)


def test_a_change_is_shown_as_evidence_after_the_first_sign() -> None:
    """The figures stay in front."""
    change = Change(ONSET - 60, "deployment", CART, before="v1", after="v2")
    ranked = with_changes(CANDIDATES, [change], {CART, STORE}, ONSET - 120, ONSET + 600)
    assert [reason.kind for reason in ranked[0].reasons] == ["slower", "changed"]
    assert "changed to v2 at 02:45:40" in reasons_text(ranked[0].reasons)
    assert [reason.kind for reason in ranked[1].reasons] == ["slower"]


def test_without_the_time_of_a_first_sign_the_analyzed_time_counts() -> None:
    """A signal may have deviated all the time."""
    unknown = [
        item._replace(reasons=(Reason("metric", item.service, "cpu", 1.0, 0.1, math.nan),)) for item in CANDIDATES
    ]
    ranked = with_changes(unknown, [Change(ONSET - 180, "deployment", CART)], {CART, STORE}, ONSET - 120, ONSET)
    assert ranked[0].service == CART


@pytest.mark.parametrize(("score", "reasons"), [(0.38, CANDIDATES[1].reasons), (0.45, ())])
def test_a_harmless_change_does_not_outweigh_stronger_signals(score: float, reasons: tuple[Reason, ...]) -> None:
    """Of a service with weaker ones, or with none."""
    candidates = (CANDIDATES[0]._replace(score=1 - score), CANDIDATES[1]._replace(score=score, reasons=reasons))
    ranked = with_changes(candidates, [Change(ONSET, "deployment", CART)], {CART, STORE}, ONSET, ONSET + 600)
    assert ranked[0].service == STORE


def test_candidates_without_a_score_keep_it() -> None:
    """Nothing is divided by their sum."""
    ranked = with_changes((Candidate(STORE, 0.0, ()),), [], {STORE}, ONSET, ONSET + 600)
    assert [item.score for item in ranked] == [0.0]


def test_no_candidates_stay_none() -> None:
    """A change alone is no finding."""
    assert with_changes((), [Change(ONSET, "deployment", CART)], {CART}, ONSET - 120, ONSET) == ()
