"""What an incident said when it first paged, against the truth: culprit, pair, cause, times to breach, extent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.evaluation.protocol import Page
from foreshock_dashboard.evaluation.truth import Expected, Truth
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service

History = Sequence[tuple[float, tuple[Incident, ...]]]
"""All incidents at each time (Unix seconds) at which any of them changed, in order."""

PAGING = ("page", "cascading")


class Said(NamedTuple):
    """An incident as it was at a time."""

    time: float
    incident: Incident

    @property
    def page(self) -> Page:
        """Whom it tells of."""
        found = self.incident
        culprit = {found.culprit.service} if found.culprit.service else set()
        risk = {each.service for each in found.at_risk}
        return Page(self.time, frozenset({found.service, *found.victims, *risk, *culprit, *(found.culprit.edge or ())}))


def first_said(history: History, phases: Sequence[str]) -> tuple[Said, ...]:
    """Each incident as it was when it first was in one of the phases, in order of time."""
    found: dict[str, Said] = {}
    for time, incidents in history:
        for incident in incidents:
            if incident.phase in phases and incident.id not in found:
                found[incident.id] = Said(time, incident)
    return tuple(sorted(found.values(), key=lambda said: said.time))


def paged(history: History) -> tuple[Said, ...]:
    """Each incident as it was when it first paged."""
    return first_said(history, PAGING)


def opened(history: History) -> tuple[Said, ...]:
    """Each incident as it was when it opened, if only as an advisory."""
    return first_said(history, ("advisory", *PAGING))


def foresaw_storm(truth: Truth, history: History) -> bool:
    """Whether an incident that tells of a retry storm was open when the trigger came."""
    if truth.onset is None:
        return False
    standing = [incidents for time, incidents in history if time < truth.onset][-1:]
    return any(each.phase != "over" and each.cause == "retry storm" for each in (standing[0] if standing else ()))


class Eta(NamedTuple):
    """Seconds to a breach as they were told, with a chance of 10, 20, 50, 80 and 90 %, and as they came to be."""

    p10: float
    p20: float
    p50: float
    p80: float
    p90: float
    actual: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the first page said.

    named: whom it names first; cause: as the truth writes causes. top1, top3: the culprit is the first named, or among
    the first three. pair: aggressor, victim and pool are right; None where no pool is fought for. extent: F1 of the
    services said to be victims or at risk. etas: of those that had not breached by then and did later.
    """

    named: str
    cause: str
    top1: bool
    top3: bool
    right_cause: bool
    pair: bool | None
    extent: float
    etas: tuple[Eta, ...]


def judged(truth: Truth, expected: Expected, said: Said) -> Verdict:
    """Judge the first page of a cascade that was warned of."""
    incident = said.incident
    edge = incident.culprit.edge
    named = incident.culprit.service or (incident.candidates[0].service if incident.candidates else None)
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
        pair=top1 and _right_place(truth, expected, incident) if truth.cause == "pool_contention" else None,
        extent=f1({incident.service, *incident.victims, *(each.service for each in incident.at_risk)}, truth),
        etas=tuple(
            Eta(each.p10, each.p20, each.p50, each.p80, each.p90, truth.breached[each.service] - said.time)
            for each in incident.at_risk
            if each.p50 > 0 and truth.breached.get(each.service, 0.0) > said.time
        ),
    )


def _right_place(truth: Truth, expected: Expected, incident: Incident) -> bool:
    """Whether the victim is the service where it begins, and the pool, or the GPUs, are those fought for."""
    place = incident.culprit
    gpus = {gpu.label for gpu in place.gpus}
    in_pool = place.pool == truth.pool if place.pool else bool(gpus) and gpus <= expected.gpus
    return in_pool and truth.origin in (incident.victim, incident.service)


def cause_of(incident: Incident) -> str:
    """The cause as truths and JSON write it."""
    return "memory" if incident.cause == "memory pressure" else incident.cause.replace(" ", "_")


def f1(said: set[Service], truth: Truth) -> float:
    """F1 of a set of services against those that missed their objective."""
    right = len(said & truth.breached.keys())
    return 2 * right / (len(said) + len(truth.breached))
