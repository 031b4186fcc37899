"""Incidents as JSON: one versioned form for the API, the pages, and the commands. docs/incidents.md is its schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from typing_extensions import TypedDict

from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.incident import (
    AtRisk,
    Candidate,
    Cause,
    Evidence,
    Incident,
    Phase,
    Quality,
    SuspectedCause,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.action import action_clauses, action_text, reasons_text
from foreshock_dashboard.render.clause import ClauseKind, Text, joined_text
from foreshock_dashboard.render.incident_summary import summary_clauses
from foreshock_dashboard.web.state.numbers import number, number_of_time

VERSION = 1
"""Increases when a key changes its meaning or is removed; new keys do not change it."""


class ClauseJson(TypedDict):
    """A part of a text, and the entities that it names."""

    text: str
    kind: ClauseKind
    services: tuple[str, ...]
    gpus: tuple[str, ...]
    at: float | None


class ReasonJson(TypedDict):
    """The reason of a suspicion or an action."""

    kind: str
    service: str | None
    name: str | None
    value: float | None
    baseline: float | None
    since: float | None


class EffectJson(TypedDict):
    """The projected effect of an action."""

    signal: str
    entity: str
    unit: str
    now: float | None
    projected: float | None
    at_least: bool
    condition: str | None


class ActionStep(TypedDict):
    """An action."""

    kind: str
    service: str | None
    callee: str | None
    callers: list[str]
    gpus: list[str]
    target: str | None
    requests: str | None
    amount: float | None
    current: float | None
    at: float | None
    delay_seconds: float | None
    reason: ReasonJson | None
    effect: EffectJson | None
    alternatives: list[ActionStep]


class ActionJson(ActionStep):
    """An action with its text."""

    clauses: list[ClauseJson]


class CulpritJson(TypedDict):
    """The suspected cause, and where it is felt."""

    service: str | None
    gpus: list[str]
    pool: str | None
    edge: str | None
    host: str | None


class BreachSeconds(TypedDict):
    """Seconds until an SLO breach, by percentile; null beyond the horizon."""

    p10: float | None
    p20: float | None
    p50: float | None
    p80: float | None
    p90: float | None


class AtRiskJson(TypedDict):
    """A service at risk."""

    service: str
    breach_seconds: BreachSeconds


class CandidateJson(TypedDict):
    """A suspected service."""

    service: str
    score: float | None
    why: str
    reasons: list[ReasonJson]


class EvidenceJson(TypedDict):
    """A figure that supports an incident."""

    signal: str
    entity: str
    value: float | None
    baseline: float | None
    unit: str
    since: float | None
    name: str


class Judgement(TypedDict):
    """The fields of an incident that may change while it is open."""

    cause: str
    confidence: float | None
    culprit: CulpritJson
    victims: list[str]
    at_risk: list[AtRiskJson]
    candidates: list[CandidateJson]
    next_step: str
    action: ActionJson | None
    sentence: str
    summary: list[ClauseJson]


class IncidentJson(Judgement):
    """An incident."""

    id: str
    state: Phase
    opened: float | None
    paged: float | None
    closed: float | None
    since: float | None
    service: str
    evidence: list[EvidenceJson]
    quality: Quality
    phase: Phase
    until: float | None
    victim: str
    aggressor: str | None
    gpus: list[str]
    slowed: list[str]


class ReplayedIncident(IncidentJson):
    """An incident of a replay, with its text when it paged."""

    at_page: Judgement | None


class Replay(TypedDict):
    """The incidents of a replay."""

    version: int
    incidents: list[ReplayedIncident]


def document(incidents: Iterable[Incident], key: str = "incidents") -> Json:
    """The versioned document, in the given order."""
    return {"version": VERSION, key: [incident(item) for item in incidents]}


def replayed(final: Iterable[Incident], paged: Mapping[str, Incident]) -> Replay:
    """The document of a replay: the final state of each incident, and under `at_page` its judgement at the page.

    paged: the incidents as of their page, by id.
    """
    rows: list[ReplayedIncident] = [
        {**incident(item), "at_page": judgement(paged[item.id]) if item.id in paged else None} for item in final
    ]
    return {"version": VERSION, "incidents": rows}


def incident(item: Incident) -> IncidentJson:
    """One incident. Times in Unix seconds; null where something has not happened or is unknown."""
    return {
        "id": item.id,
        "state": item.phase,
        "opened": number_of_time(item.opened),
        "paged": number_of_time(item.paged),
        "closed": number_of_time(item.until),
        "since": number_of_time(item.since),
        "service": str(item.service),
        **judgement(item),
        "evidence": [evidence(one) for one in item.evidence],
        "quality": item.quality,
        # What the pages say for short.
        "phase": item.phase,
        "until": number_of_time(item.until),
        "victim": str(item.victim),
        "aggressor": None if item.aggressor is None else str(item.aggressor),
        "gpus": [gpu.label for gpu in item.gpus],
        "slowed": [str(service) for service in item.other_affected],
    }


def judgement(item: Incident) -> Judgement:
    """The fields that may change while an incident is open: cause, affected services, action."""
    summary = summary_clauses(item)
    return {
        "cause": cause(item.cause),
        "confidence": number(item.confidence),
        "culprit": culprit(item.suspect),
        "victims": [str(service) for service in item.victims],
        "at_risk": [at_risk(one) for one in item.at_risk],
        "candidates": [candidate(one) for one in item.candidates],
        "next_step": action_text(item.action),
        "action": action(item.action),
        "sentence": joined_text(summary),
        "summary": clauses(summary),
    }


def clauses(text: Text) -> list[ClauseJson]:
    """A text in parts: words, and the services, GPUs, and times (Unix seconds) that it names."""
    return [
        {
            "text": clause.text,
            "kind": clause.kind,
            "services": clause.services,
            "gpus": clause.gpus,
            "at": clause.at,
        }
        for clause in text
    ]


def action(action_: Action | None) -> ActionJson | None:
    """The recommended action in full, with its text in clauses; None for no action."""
    return None if action_ is None else {**_action(action_), "clauses": clauses(action_clauses(action_))}


def _action(action_: Action) -> ActionStep:
    return {
        "kind": action_.kind,
        "service": _name(action_.service),
        "callee": _name(action_.callee),
        "callers": [str(service) for service in action_.callers],
        "gpus": [gpu.label for gpu in action_.gpus],
        "target": action_.target or None,
        "requests": action_.requests or None,
        "amount": number(action_.amount),
        "current": number(action_.current),
        "at": number_of_time(action_.at),
        "delay_seconds": number(action_.delay_seconds),
        "reason": reason(action_.reason) if action_.reason else None,
        "effect": effect(action_.effect) if action_.effect else None,
        "alternatives": [_action(alternative) for alternative in action_.alternatives],
    }


def effect(effect_: Effect) -> EffectJson:
    """The projected effect of an action. `now` is null where `projected` is a ratio of the present value."""
    subject = effect_.subject
    return {
        "signal": effect_.signal,
        "entity": str(subject) if isinstance(subject, Service | str) else " -> ".join(map(str, subject)),
        "unit": effect_.unit,
        "now": number(effect_.now),
        "projected": number(effect_.projected),
        "at_least": effect_.at_least,
        "condition": effect_.condition,
    }


def reason(reason_: Reason) -> ReasonJson:
    """Why a service is suspected, or an action recommended."""
    return {
        "kind": reason_.kind,
        "service": _name(reason_.service),
        "name": reason_.name or None,
        "value": number(reason_.value),
        "baseline": number(reason_.baseline),
        "since": number_of_time(reason_.since),
    }


def _name(service: Service | None) -> str | None:
    return None if service is None else str(service)


def cause(name: Cause) -> str:
    """A cause class as one word."""
    return "memory" if name == "memory pressure" else name.replace(" ", "_")


def culprit(culprit_: SuspectedCause) -> CulpritJson:
    """The suspected cause, and where it is felt; an edge is written `client -> server`."""
    return {
        "service": None if culprit_.service is None else str(culprit_.service),
        "gpus": [gpu.label for gpu in culprit_.gpus],
        "pool": culprit_.pool or None,
        "edge": None if culprit_.edge is None else " -> ".join(map(str, culprit_.edge)),
        "host": culprit_.host or None,
    }


def at_risk(risk: AtRisk) -> AtRiskJson:
    """A service at risk, with seconds until its SLO breach."""
    return {"service": str(risk.service), "breach_seconds": breach_seconds(risk)}


def breach_seconds(risk: AtRisk) -> BreachSeconds:
    """Seconds until an SLO breach, by percentile."""
    return {
        "p10": number(risk.p10),
        "p20": number(risk.p20),
        "p50": number(risk.p50),
        "p80": number(risk.p80),
        "p90": number(risk.p90),
    }


def candidate(candidate_: Candidate) -> CandidateJson:
    """A suspected service, with the reasons as text and as values."""
    return {
        "service": str(candidate_.service),
        "score": number(candidate_.score),
        "why": reasons_text(candidate_.reasons),
        "reasons": [reason(reason_) for reason_ in candidate_.reasons],
    }


def evidence(item: Evidence) -> EvidenceJson:
    """One figure. `signal` and `name` are the same."""
    return {
        "signal": item.name,
        "entity": item.entity,
        "value": number(item.value),
        "baseline": number(item.baseline),
        "unit": item.unit,
        "since": number_of_time(item.since),
        "name": item.name,
    }
