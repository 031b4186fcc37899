"""First page of an incident against the truth: root cause, GPU pair, cause class, times to breach, and extent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.model.incident import Incident, Severity
from foreshock_dashboard.model.service import Service
from foreshock_evaluation.scores.protocol import DetectionScore, Page
from foreshock_evaluation.scores.truth import Expected, Truth

History = Sequence[tuple[float, tuple[Incident, ...]]]
"""All incidents at each time (Unix seconds) at which any of them changed, in order."""

PAGING: Sequence[Severity] = ("critical",)
ALL_SEVERITIES: Sequence[Severity] = ("warning", *PAGING)


class IncidentAt(NamedTuple):
    """An incident as of a time (Unix seconds)."""

    time: float
    incident: Incident

    @property
    def page(self) -> Page:
        """Page about all services that the incident names, but no candidates: a page may not hit by listing many."""
        incident, suspect = self.incident, self.incident.stated_suspect
        root_cause = {suspect.service} if suspect.service else set()
        at_risk = {risk.service for risk in incident.at_risk}
        edge = suspect.edge or ()
        return Page(self.time, frozenset({incident.service, *incident.affected, *at_risk, *root_cause, *edge}))


def first_open(history: History, severities: Sequence[Severity]) -> tuple[IncidentAt, ...]:
    """Each incident as of the first time that it was open with one of the severities, in order of time."""
    first: dict[str, IncidentAt] = {}
    for time, incidents in history:
        for incident in incidents:
            if incident.is_open and incident.severity in severities and incident.id not in first:
                first[incident.id] = IncidentAt(time, incident)
    return tuple(sorted(first.values(), key=lambda item: item.time))


def first_hit(history: History, score: DetectionScore) -> IncidentAt | None:
    """The incident as of the first page that is a hit."""
    return next((item for item in first_open(history, PAGING) if item.page == score.first_hit), None)


def forecast_retry_storm(truth: Truth, history: History) -> bool:
    """Whether an incident that states a retry storm as its cause was open at the fault's onset."""
    if truth.onset is None:
        return False
    before = [incidents for time, incidents in history if time < truth.onset] or [()]
    return any(item.is_open and item.is_cause_stated and item.cause == "retry_storm" for item in before[-1])


class Eta(NamedTuple):
    """Forecast quantiles of the seconds to an SLO breach, and the actual seconds."""

    p10: float
    p20: float
    p50: float
    p80: float
    p90: float
    actual: float

    @property
    def within_80(self) -> bool | None:
        """Whether the breach lies in the 80% interval; None without one."""
        return None if math.isnan(self.p10) else self.p10 <= self.actual <= self.p90

    @property
    def within_60(self) -> bool:
        """Whether the breach lies in the 60% interval."""
        return self.p20 <= self.actual <= self.p80

    @property
    def relative_error(self) -> float:
        """|p50 − actual| / actual; infinite where no breach was forecast."""
        return abs(self.p50 - self.actual) / self.actual


@dataclass(frozen=True, slots=True)
class Verdict:
    """First page, as a user sees it, against the truth.

    named: suspected cause, or the first candidate where none is stated. cause: cause class as in the truth; "" if not
    stated. top1, top3: a right root cause is first, or among the first three. right_cause: the stated cause class is
    right; None if the truth names none. pair: aggressor, victim, and pool are right;
    None without GPU contention. extent: F1 score of the affected and at-risk services. etas: of services that breached
    later.
    """

    named: str
    cause: str
    top1: bool
    top3: bool
    right_cause: bool | None
    pair: bool | None
    extent: float
    etas: tuple[Eta, ...]

    @property
    def is_cause_stated(self) -> bool:
        """Whether the page states a cause."""
        return self.cause != ""


def judge_first_page(truth: Truth, expected: Expected, page: IncidentAt) -> Verdict:
    """Verdict on the first page of a detected cascade."""
    incident, suspect = page.incident, page.incident.stated_suspect
    cause = incident.cause if incident.is_cause_stated else ""
    edge = suspect.edge
    named = suspect.service or (incident.candidates[0].service if incident.candidates else None)
    on_edge = edge is not None and _is_right_edge(edge, expected)
    top1 = on_edge or named in expected.root_causes
    ranked = list(dict.fromkeys((*([named] if named else ()), *(item.service for item in incident.candidates))))
    return Verdict(
        named=f"{edge[0]} -> {edge[1]}" if edge and (on_edge or not named) else str(named or ""),
        cause=cause,
        top1=top1,
        top3=top1 or not expected.root_causes.isdisjoint(ranked[:3]),
        right_cause=cause == truth.cause if truth.cause else None,
        pair=top1 and _is_right_pair(truth, expected, incident) if truth.cause == "gpu_contention" else None,
        extent=f1({incident.service, *incident.affected, *(risk.service for risk in incident.at_risk)}, truth),
        etas=tuple(
            Eta(risk.p10, risk.p20, risk.p50, risk.p80, risk.p90, truth.breached[risk.service] - page.time)
            for risk in incident.at_risk
            if risk.p50 > 0 and truth.breached.get(risk.service, 0.0) > page.time
        ),
    )


def _is_right_edge(edge: tuple[Service, Service], expected: Expected) -> bool:
    """Whether it is the expected path, or joins two right root causes if no path is expected."""
    return edge == expected.edge if expected.edge else expected.root_causes.issuperset(edge)


def _is_right_pair(truth: Truth, expected: Expected, incident: Incident) -> bool:
    """Whether the victim is the origin, and the pool or the GPUs are the contended ones."""
    suspect = incident.stated_suspect
    gpus = {gpu.label for gpu in suspect.gpus}
    in_pool = suspect.pool == truth.pool if suspect.pool else bool(gpus) and gpus <= expected.gpus
    return in_pool and truth.origin in (incident.service, incident.service)


def f1(services: set[Service], truth: Truth) -> float:
    """F1 score of a set of services against those that breached their SLO."""
    right = len(services & truth.breached.keys())
    return 2 * right / (len(services) + len(truth.breached))
