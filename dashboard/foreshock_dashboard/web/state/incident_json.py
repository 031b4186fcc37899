"""Incidents as JSON: one versioned form for API, pages, and commands. Schema: docs/reference/incidents.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from typing_extensions import TypedDict

from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.explanation import Explanation, Period
from foreshock_dashboard.model.incident import (
    AtRisk,
    Candidate,
    Cause,
    ConfidenceLevel,
    Evidence,
    Incident,
    Quality,
    Severity,
    State,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.model.world import Gpu
from foreshock_dashboard.render.action import (
    action_change,
    action_clauses,
    action_expected,
    action_outcome,
    action_reason,
    action_timing,
    reason_unit,
    reasons_text,
)
from foreshock_dashboard.render.clause import ClauseKind, Text, joined_text, with_clusters
from foreshock_dashboard.render.command import InstructionKind, instructions, side_effect
from foreshock_dashboard.render.incident_summary import headline, later_cause_clauses, summary_clauses, suspect_clauses
from foreshock_dashboard.render.incident_text import xid_note
from foreshock_dashboard.web.state.change_json import ChangeJson, change_row
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time

VERSION = 3
"""Increases when a key changes its meaning or is removed; new keys do not change it."""
EXPLAIN_VERSION = 1
"""The same, of the ranked root causes."""


class ClauseJson(Row):
    """A part of a text, and the entities that it names."""

    text: str
    kind: ClauseKind
    services: tuple[str, ...]
    gpus: tuple[str, ...]
    at: float | None


class ReasonJson(Row):
    """The reason of a suspicion or an action.

    value: now, in the unit of the baseline; without a baseline the change. ratio: of value to baseline, of latency.
    """

    kind: str
    service: str | None
    name: str | None
    value: float | None
    baseline: float | None
    since: float | None
    ratio: float | None
    unit: str


class EffectJson(Row):
    """The projected effect of an action. `now` is null where `projected` is a ratio of the present value."""

    signal: str
    entity: str
    unit: str
    now: float | None
    projected: float | None
    limit: float | None
    limit_kind: str | None
    at_least: bool


class ActionJson(TypedDict):
    """An action with its texts: what to do, why, the effect, that of all steps, the commands, or how to take it."""

    kind: str
    service: str | None
    callee: str | None
    callers: list[str]
    candidates: list[str]
    gpus: list[str]
    target: str | None
    requests: str | None
    amount: float | None
    current: float | None
    ready: float | None
    maximum: float | None
    at: float | None
    until_seconds: float | None
    reason: ReasonJson | None
    effect: EffectJson | None
    effective_seconds: float | None
    enough: bool | None
    too_late: bool
    text: str
    clauses: list[ClauseJson]
    why: str | None
    expected: str | None
    change: str | None
    when: str | None
    outcome: str | None
    command: str | None
    revert_command: str | None
    side_effect: str | None
    how: str | None
    how_kind: InstructionKind


class SuspectJson(Row):
    """The suspected cause, and where it acts; an edge is written `client -> server`."""

    service: str | None
    gpus: list[str]
    pool: str | None
    edge: str | None
    host: str | None
    text: str
    clauses: list[ClauseJson]
    change: ChangeJson | None


class LaterCauseJson(Row):
    """A cause that began after the page."""

    service: str
    cause: Cause
    suspect: str | None
    since: float | None
    text: str
    clauses: list[ClauseJson]


class BreachSeconds(Row):
    """Seconds until an SLO breach, by percentile; null beyond the horizon."""

    p10: float | None
    p20: float | None
    p50: float | None
    p80: float | None
    p90: float | None


class AtRiskJson(Row):
    """A service at risk."""

    service: str
    breach_seconds: BreachSeconds


class CandidateJson(Row):
    """A suspected service."""

    service: str
    score: float | None
    why: str
    reasons: list[ReasonJson]


class XidJson(Row):
    """An XID error by NVIDIA's catalog. action: what to do first; `none` where nothing is to do. text: both."""

    number: int
    name: str
    severity: str
    action: str
    text: str


class EvidenceJson(Row):
    """A signal that supports an incident. metric: its name in the analysis; null for a figure of one detector.

    xid: the XID error that the figure counts; null for other figures.
    """

    signal: str
    entity: str
    value: float | None
    baseline: float | None
    unit: str
    since: float | None
    metric: str | None
    xid: XidJson | None


class Assessment(TypedDict):
    """The fields of an incident that follow the analysis while it is open.

    cause: None at low confidence, as are the fields of `suspect`; `candidates` then has the services to check first.
    """

    cause: Cause | None
    confidence: float | None
    confidence_level: ConfidenceLevel
    suspect: SuspectJson
    later: LaterCauseJson | None
    affected: list[str]
    at_risk: list[AtRiskJson]
    candidates: list[CandidateJson]
    actions: list[ActionJson]
    headline: str
    summary: str
    summary_clauses: list[ClauseJson]


class IncidentJson(Assessment):
    """An incident."""

    id: str
    severity: Severity
    state: State
    stage: Stage | None
    cascading: bool
    service: str
    since: float | None
    opened: float | None
    paged: float | None
    paged_service: str | None
    recovering_since: float | None
    resolved: float | None
    evidence: list[EvidenceJson]
    evidence_at: float | None
    ranked_at: float | None
    quality: Quality


class ReplayedIncident(IncidentJson):
    """An incident of a replay, with its text when it paged."""

    at_page: Assessment | None


class Replay(TypedDict):
    """The incidents of a replay."""

    version: int
    incidents: list[ReplayedIncident]


class SignalCountJson(TypedDict):
    """How many series of a kind were compared with their baselines, and of how many services."""

    kind: str
    series: int
    services: int


class PeriodJson(TypedDict):
    """A time range."""

    start: float | None
    end: float | None


class Explained(TypedDict):
    """Ranked root causes; only weak candidates where the evidence is within what is normal.

    service: null if the question was which of all services. confidence: in the anomaly; null without `candidates`.
    missing: kinds of signals that no source has. baseline, analyzed: the times that were compared. changes: the newest
    first.
    """

    version: int
    service: str | None
    at: float | None
    confidence: ConfidenceLevel | None
    candidates: list[CandidateJson]
    weak_candidates: list[CandidateJson]
    signals: list[SignalCountJson]
    missing: list[str]
    baseline: PeriodJson | None
    analyzed: PeriodJson | None
    changes: list[ChangeJson]


def explained(item: Explanation) -> Explained:
    """The answer to which service is the root cause. Time in Unix seconds."""
    return {
        "version": EXPLAIN_VERSION,
        "service": _text(item.service),
        "at": number_of_time(item.at),
        "confidence": item.candidates[0].confidence if item.candidates else None,
        "candidates": list(map(candidate, item.candidates)),
        "weak_candidates": list(map(candidate, item.weak_candidates)),
        "signals": [{"kind": row.kind, "series": row.series, "services": row.services} for row in item.signals],
        "missing": [row.kind for row in item.missing],
        "baseline": _period(item.baseline),
        "analyzed": _period(item.analyzed),
        "changes": list(map(change_row, item.changes)),
    }


def _period(item: Period | None) -> PeriodJson | None:
    return None if item is None else {"start": number_of_time(item.start), "end": number_of_time(item.end)}


def replayed(final: Iterable[Incident], paged: Mapping[str, Incident]) -> Replay:
    """The document of a replay: the final state of each incident, and under `at_page` its assessment at the page.

    paged: the incidents as of their page, by id.
    """
    rows: list[ReplayedIncident] = [
        {**incident(item), "at_page": _assessment(paged[item.id]) if item.id in paged else None} for item in final
    ]
    return {"version": VERSION, "incidents": rows}


def incident(item: Incident) -> IncidentJson:
    """One incident. Times in Unix seconds; null where something has not happened or is unknown."""
    return {
        "id": item.id,
        "severity": item.severity,
        "state": item.state,
        "stage": item.stage,
        "cascading": item.cascading,
        "service": str(item.service),
        "since": number_of_time(item.since),
        "opened": number_of_time(item.opened),
        "paged": number_of_time(item.paged),
        "paged_service": _text(item.paged_service),
        "recovering_since": number_of_time(item.recovering_since),
        "resolved": number_of_time(item.resolved),
        **_assessment(item),
        "evidence": list(map(_evidence, item.evidence)),
        "evidence_at": number_of_time(item.evidence_at),
        "ranked_at": number_of_time(item.ranked_at),
        "quality": item.quality,
    }


def _assessment(item: Incident) -> Assessment:
    summary = summary_clauses(item)
    return {
        "cause": item.cause if item.is_cause_stated else None,
        "confidence": number(item.confidence),
        "confidence_level": item.confidence_level,
        "suspect": _suspect(item),
        "later": _later(item),
        "affected": list(map(str, item.affected)),
        "at_risk": [AtRiskJson(str(risk.service), breach_seconds(risk)) for risk in item.at_risk],
        "candidates": list(map(candidate, item.candidates)),
        "actions": actions(item),
        "headline": headline(item),
        "summary": joined_text(summary),
        "summary_clauses": clauses(summary),
    }


def _suspect(item: Incident) -> SuspectJson:
    suspect, words = item.stated_suspect, suspect_clauses(item) if item.is_cause_stated else ()
    where = suspect.pool or None, _edge(suspect.edge) if suspect.edge else None, suspect.host or None
    return SuspectJson(
        _text(suspect.service),
        _labels(suspect.gpus),
        *where,
        joined_text(words),
        clauses(words),
        change_row(suspect.change) if suspect.change else None,
    )


def _later(item: Incident) -> LaterCauseJson | None:
    if (later := item.later) is None:
        return None
    service, suspect, since = str(later.service), _text(later.suspect.service), number_of_time(later.since)
    words = later_cause_clauses(item, later)
    return LaterCauseJson(service, later.cause, suspect, since, joined_text(words), clauses(words))


def _evidence(figure: Evidence) -> EvidenceJson:
    value, baseline, since = number(figure.value), number(figure.baseline), number_of_time(figure.since)
    metric, xid = figure.metric or None, XidJson(*figure.xid, xid_note(figure.xid)) if figure.xid else None
    return EvidenceJson(figure.name, figure.entity, value, baseline, figure.unit, since, metric, xid)


def clauses(text: Text) -> list[ClauseJson]:
    """A text in parts: words, and the services, GPUs, and times (Unix seconds) that it names."""
    return [ClauseJson(*clause) for clause in with_clusters(text)]


def actions(item: Incident) -> list[ActionJson]:
    """The recommended actions of an incident in full, with their texts."""
    return [_action(action) for action in item.actions]


def _action(action_: Action) -> ActionJson:
    imperative, effect, taken = action_clauses(action_), action_.effect, instructions(action_)
    return {
        "kind": action_.kind,
        "service": _text(action_.service),
        "callee": _text(action_.callee),
        "callers": list(map(str, action_.callers)),
        "candidates": list(map(str, action_.candidates)),
        "gpus": _labels(action_.gpus),
        "target": action_.target or None,
        "requests": action_.requests or None,
        "amount": number(action_.amount),
        "current": number(action_.current),
        "ready": number(action_.ready),
        "maximum": number(action_.maximum),
        "at": number_of_time(action_.at),
        "until_seconds": number(action_.until_seconds),
        "reason": _reason(action_.reason) if action_.reason else None,
        "effect": _effect(effect) if effect else None,
        "effective_seconds": number(action_.effective_seconds),
        "enough": effect.is_enough if effect else None,
        "too_late": action_.too_late,
        "text": joined_text(imperative),
        "clauses": clauses(imperative),
        "why": action_reason(action_) or None,
        "expected": action_expected(action_) or None,
        "change": action_change(action_) or None,
        "when": action_timing(action_) or None,
        "outcome": action_outcome(action_) or None,
        "command": taken.command,
        "revert_command": taken.revert_command,
        "side_effect": side_effect(action_) or None,
        "how": taken.text or None,
        "how_kind": taken.kind,
    }


def _effect(effect: Effect) -> EffectJson:
    entity = str(effect.subject) if isinstance(effect.subject, Service | str) else _edge(effect.subject)
    now, projected, limit = number(effect.now), number(effect.projected), number(effect.limit)
    return EffectJson(effect.signal, entity, effect.unit, now, projected, limit, effect.limit_kind, effect.at_least)


def _reason(reason: Reason) -> ReasonJson:
    value = number(reason.now if math.isfinite(reason.now) else reason.value)
    baseline, since = number(reason.baseline), number_of_time(reason.since)
    ratio, unit = number(reason.value) if reason.kind == "slower" else None, reason_unit(reason)
    return ReasonJson(reason.kind, _text(reason.service), reason.name or None, value, baseline, since, ratio, unit)


def breach_seconds(risk: AtRisk) -> BreachSeconds:
    """Seconds until an SLO breach, by percentile."""
    return BreachSeconds(*map(number, (risk.p10, risk.p20, risk.p50, risk.p80, risk.p90)))


def candidate(item: Candidate) -> CandidateJson:
    """A suspected service, with the reasons as text and as values."""
    reasons = list(map(_reason, item.reasons))
    return CandidateJson(str(item.service), number(item.score), reasons_text(item.reasons), reasons)


def _text(service: Service | None) -> str | None:
    return None if service is None else str(service)


def _labels(gpus: Iterable[Gpu]) -> list[str]:
    return [gpu.label for gpu in gpus]


def _edge(services: Iterable[Service]) -> str:
    return " -> ".join(map(str, services))
