"""Incidents as text for a terminal or a document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from foreshock_dashboard.model.incident import NO_FIRST_STEP, AtRisk, Incident, SuspectedCause, Xid
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.clause import in_sentence, in_words, joined, joined_text, place, text
from foreshock_dashboard.render.command import Instructions
from foreshock_dashboard.render.incident_summary import cause_name
from foreshock_dashboard.render.units import (
    breach_forecast,
    clock,
    duration,
    elapsed,
    load_percent,
    printable,
    rate,
    significant,
    utc_timestamp,
)
from foreshock_dashboard.render.words.actions import ACTION_TEXTS
from foreshock_dashboard.render.words.incidents import CAUSES, CONFIDENCE_LEVELS, LOCAL_CAUSES, QUALITIES, UNCERTAIN

MAX_LISTED = 3
"""Candidates and services at risk that are listed."""


def state_changes(history: Sequence[tuple[float, tuple[Incident, ...]]]) -> Iterator[tuple[float, Incident]]:
    """Each change of severity or state: the time in Unix seconds, and the incident as of then.

    history: per evaluation, in order of time, Unix seconds and all incidents of that evaluation.
    """
    states: dict[str, tuple[str, str]] = {}
    for time, incidents in history:
        for item in incidents:
            if states.get(item.id) != (state := (item.severity, item.state)):
                states[item.id] = state
                yield time, item


def change_line(time: float, item: Incident) -> str:
    """One change of severity or state on one line."""
    suspect = suspected_cause(item.stated_suspect)
    where = f"{in_words(item.service)}: {in_sentence(cause_name(item))}{f', {suspect}' if suspect else ''}"
    return f"{utc_timestamp(time)}  {item.severity:<8}  {item.state:<10}  {where}"


def suspected_cause(suspect: SuspectedCause) -> str:
    """The suspected cause and where it acts, as far as known: `ml/batch-embed on pool chat`."""
    edge = f"{suspect.edge[0]} -> {suspect.edge[1]}" if suspect.edge else ""
    return _suspect(str(suspect.service or ""), edge, suspect.pool, suspect.host)


def suspect_text(suspect: Json) -> str:
    """The JSON of a suspected cause as text, as `suspected_cause`."""
    return _suspect(*(suspect[name] or "" for name in ("service", "edge", "pool", "host")))


def _suspect(service: str, edge: str, pool: str, host: str) -> str:
    """Service, and pool or host; calls between two services, `shop/cart -> shop/db`, stand for both."""
    if edge or service == host:
        return in_words(edge or host)
    where = text("pool " if pool else "", place(pool or host))
    return joined_text(text(place(service), " on " if service and (pool or host) else "", where))


def incident_text(incident: Json) -> str:
    """The JSON of an incident as text: state, summary, cause, actions, services at risk, candidates, and evidence."""
    cascading = ", cascading" if incident["cascading"] else ""
    level = CONFIDENCE_LEVELS[incident["confidence_level"]]
    breached = joined_text(joined((place(risk["service"]) for risk in incident["at_risk"] if _is_breached(risk)), ", "))
    at_risk = [risk for risk in incident["at_risk"] if not _is_breached(risk)]
    ahead = {risk["service"] for risk in at_risk[:MAX_LISTED]}
    affected = joined_text(joined((Service.parse(name) for name in incident["affected"] if name not in ahead), ", "))
    change = incident["suspect"]["change"]
    lines = [
        f"{in_words(incident['service'])}: {incident['severity']}, {incident['state']}{cascading}",
        f"  {incident['summary']}",
        f"  Opened: {utc_timestamp(incident['opened'])}, {_course(incident)}",
        f"  Cause: {cause_label(incident)} ({level}, {QUALITIES[incident['quality']]})",
        f"  Suspect: {suspect_text(incident['suspect']) or 'unknown'}",
        *([f"  Change: {change['text']}, {utc_timestamp(change['at'])}"] if change else []),
        *(line for action in incident["actions"] for line in _action_lines(action)),
        *([f"  Affected: {affected}"] if affected else []),
        *([f"  In SLO breach: {breached}"] if breached else []),
        *(f"  At risk: {risk_text(risk)}" for risk in at_risk[:MAX_LISTED]),
        *(f"  Candidate: {candidate_text(candidate)}" for candidate in incident["candidates"][:MAX_LISTED]),
        *(f"  Evidence: {evidence_text(evidence)}" for evidence in incident["evidence"]),
        f"  ID: {incident['id']}",
    ]
    return "\n".join(map(printable, lines))


def _course(incident: Json) -> str:
    """What followed the opening: `paged after 10 s, resolved after 12 min`."""
    opened, paged, resolved = (incident[name] for name in ("opened", "paged", "resolved"))
    page = "no page sent" if paged is None else f"paged after {elapsed(paged - opened)}"
    return f"{page}, {'ongoing' if resolved is None else f'resolved after {elapsed(resolved - opened)}'}"


def _action_lines(action: Json) -> Iterator[str]:
    expected = f" Expected: {action['expected']}." if action["expected"] else ""
    yield f"  Action: {action['text']}.{expected}"
    fields = (action["how_kind"], action["how"] or "", action["command"], action["revert_command"])
    yield from (f"    {ACTION_TEXTS[name]}: {said}" for name, said, _ in Instructions(*fields).rows())


def cause_label(incident: Json) -> str:
    """The cause class of the JSON of an incident: `GPU contention`, or `Local fault` of the affected service itself.

    `Cause uncertain` where none is stated.
    """
    if incident["cause"] is None:
        return UNCERTAIN
    is_local = incident["suspect"]["service"] in (None, incident["service"])
    return LOCAL_CAUSES.get(incident["cause"], CAUSES[incident["cause"]]) if is_local else CAUSES[incident["cause"]]


def risk_text(risk: Json) -> str:
    """The JSON of a service at risk as text: `shop/cart (imminent, 80% interval: 10 s to 3 min)`."""
    if _is_breached(risk):
        return f"{in_words(risk['service'])} in SLO breach"
    low, middle, high = (
        math.inf if (seconds := risk["breach_seconds"][name]) is None else seconds for name in ("p10", "p50", "p90")
    )
    return f"{in_words(risk['service'])} ({breach_forecast(low, middle, high)})"


def _is_breached(risk: Json) -> bool:
    """Whether a service at risk is in breach of its SLO already."""
    median = risk["breach_seconds"]["p50"]
    return median is not None and bool(median <= 0)


def candidate_text(candidate: Json) -> str:
    """A suspected service with the reasons and its score, which is no probability."""
    why = f"{candidate['why']}, " if candidate["why"] else ""
    return f"{in_words(candidate['service'])} ({why}score {candidate['score']:.2f})"


def evidence_text(evidence: Json) -> str:
    """The JSON of a signal as text: `p95 of shop/cart: 412 ms (baseline 95 ms) since 10:42:00`.

    Of an XID error with its severity and what to do: `XID 48 (…) of gpu-1/gpu-0: 1 …; fatal: reset the GPU`.
    """
    name = f"{evidence['signal']} of {in_words(evidence['entity'])}" if evidence["entity"] else evidence["signal"]
    value, baseline = (
        evidence_figure(evidence.get("metric"), math.nan if evidence[key] is None else evidence[key], evidence["unit"])
        for key in ("value", "baseline")
    )
    since = "" if evidence["since"] is None else f" since {clock(evidence['since'])}"
    if xid := evidence.get("xid"):
        return f"{name}: {value}{since}; {xid['text']}"
    return f"{name}: {value} (baseline {baseline}){since}"


def xid_note(xid: Xid) -> str:
    """Severity of an XID error, and what to do first: `fatal: reset the GPU`."""
    return f"{xid.severity}: {xid.action}" if xid.action not in NO_FIRST_STEP else xid.severity


def risk_line(risk: AtRisk) -> str:
    """A service at risk, and when it breaches its SLO."""
    return f"{in_words(risk.service)} ({breach_forecast(risk.p10, risk.p50, risk.p90)})"


def evidence_figure(metric: str | None, value: float, unit: str) -> str:
    """A value of evidence with its unit; a load as in the headline."""
    return load_percent(value) if metric == "load" else figure(value, unit)


def figure(value: float, unit: str) -> str:
    """A value with its unit: `412 ms`, `46%`, `3.2 req/s`; `unknown` for NaN."""
    if value != value:
        return "unknown"
    match unit:
        case "s":
            return duration(value)
        case "ratio":
            return f"{value * 100:.3g}%"
        case "req/s":
            return rate(value)
        case "1/s":
            return f"{significant(value)}/s"
        case _:
            return f"{significant(value)} {unit}".rstrip()
