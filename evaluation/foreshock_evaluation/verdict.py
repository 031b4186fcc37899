"""First page of an incident against the truth: root cause, GPU pair, cause class, times to breach, and extent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_evaluation.protocol import Page
from foreshock_evaluation.truth import Expected, Truth

History = Sequence[tuple[float, tuple[Incident, ...]]]
"""All incidents at each time (Unix seconds) at which any of them changed, in order."""

PAGING = ("page", "cascading")


class IncidentAt(NamedTuple):
    """An incident as of a time (Unix seconds)."""

    time: float
    incident: Incident

    @property
    def page(self) -> Page:
        """Page about all services that the incident names."""
        incident = self.incident
        culprit = {incident.suspect.service} if incident.suspect.service else set()
        at_risk = {each.service for each in incident.at_risk}
        edge = incident.suspect.edge or ()
        return Page(self.time, frozenset({incident.service, *incident.victims, *at_risk, *culprit, *edge}))


def first_in_phase(history: History, phases: Sequence[str]) -> tuple[IncidentAt, ...]:
    """Each incident as of its first time in one of the phases, in order of time."""
    first: dict[str, IncidentAt] = {}
    for time, incidents in history:
        for incident in incidents:
            if incident.phase in phases and incident.id not in first:
                first[incident.id] = IncidentAt(time, incident)
    return tuple(sorted(first.values(), key=lambda each: each.time))


def first_pages(history: History) -> tuple[IncidentAt, ...]:
    """Each incident as of its first page."""
    return first_in_phase(history, PAGING)


def first_advisories(history: History) -> tuple[IncidentAt, ...]:
    """Each incident as of its opening, as an early warning or a page."""
    return first_in_phase(history, ("advisory", *PAGING))


def forecast_retry_storm(truth: Truth, history: History) -> bool:
    """Whether an incident with a retry storm as its cause was open at the fault's onset."""
    if truth.onset is None:
        return False
    before = [incidents for time, incidents in history if time < truth.onset][-1:]
    return any(each.phase != "over" and each.cause == "retry storm" for each in (before[0] if before else ()))


class Eta(NamedTuple):
    """Forecast quantiles of the seconds to an SLO breach, and the actual seconds."""

    p10: float
    p20: float
    p50: float
    p80: float
    p90: float
    actual: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """First page against the truth.

    named: first suspected cause. cause: cause class as in the truth. top1, top3: a right root cause is first, or among
    the first three. pair: aggressor, victim, and pool are right; None without GPU contention. extent: F1 score of the
    affected and at-risk services. etas: of services that breached later.
    """

    named: str
    cause: str
    top1: bool
    top3: bool
    right_cause: bool
    pair: bool | None
    extent: float
    etas: tuple[Eta, ...]


def judge_first_page(truth: Truth, expected: Expected, page: IncidentAt) -> Verdict:
    """Verdict on the first page of a detected cascade."""
    incident = page.incident
    edge = incident.suspect.edge
    named = incident.suspect.service or (incident.candidates[0].service if incident.candidates else None)
    on_edge = edge is not None and edge == expected.edge
    top1 = on_edge or named in expected.culprits
    ranked = list(dict.fromkeys([*([named] if named else []), *(each.service for each in incident.candidates)]))
    cause = cause_of(incident)
    return Verdict(
        named=f"{edge[0]} -> {edge[1]}" if edge and (on_edge or not named) else str(named or ""),
        cause=cause,
        top1=top1,
        top3=top1 or not expected.culprits.isdisjoint(ranked[:3]),
        right_cause=cause == truth.cause,
        pair=top1 and _is_right_pair(truth, expected, incident) if truth.cause == "pool_contention" else None,
        extent=f1({incident.service, *incident.victims, *(each.service for each in incident.at_risk)}, truth),
        etas=tuple(
            Eta(each.p10, each.p20, each.p50, each.p80, each.p90, truth.breached[each.service] - page.time)
            for each in incident.at_risk
            if each.p50 > 0 and truth.breached.get(each.service, 0.0) > page.time
        ),
    )


def _is_right_pair(truth: Truth, expected: Expected, incident: Incident) -> bool:
    """Whether the victim is the origin, and the pool or the GPUs are the contended ones."""
    culprit = incident.suspect
    gpus = {gpu.label for gpu in culprit.gpus}
    in_pool = culprit.pool == truth.pool if culprit.pool else bool(gpus) and gpus <= expected.gpus
    return in_pool and truth.origin in (incident.victim, incident.service)


def cause_of(incident: Incident) -> str:
    """Cause class as in truths and JSON."""
    return "memory" if incident.cause == "memory pressure" else incident.cause.replace(" ", "_")


def f1(services: set[Service], truth: Truth) -> float:
    """F1 score of a set of services against those that breached their SLO."""
    right = len(services & truth.breached.keys())
    return 2 * right / (len(services) + len(truth.breached))
