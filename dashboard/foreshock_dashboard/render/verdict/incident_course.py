"""How bad an incident is, since when, and why it recovers, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.verdict.course import Breach, ContentionCheck, Impact, Peak, Recovery
from foreshock_dashboard.model.verdict.reading import Reading
from foreshock_dashboard.render.clause import Clause, Text, joined, listed, sentences, text, time
from foreshock_dashboard.render.incident_summary import BREACH_FORECAST, summary_clauses
from foreshock_dashboard.render.units import counted, duration, elapsed, estimate, estimates, percent, rate
from foreshock_dashboard.render.verdict.reading_text import explained_limit, reading_text, value_and_limit, value_text
from foreshock_dashboard.render.words.incidents import SEVERITIES, STATES, TOO_FEW
from foreshock_dashboard.render.words.panels import EMPTY

JUST_NOW_SECONDS = 10.0


def headline_figure(reading: Reading, peak: Peak | None, slo: ServiceSlo | None = None, *, few: bool = False) -> str:
    """The figure of the headline; of what is over, after its worst value: `p95 peaked at 281 s, now 8.77 s (SLO …)`.

    slo: of the reading, to say what a learned one is. few: whether it exceeds the SLO with too few requests for a
    breach.
    """
    if peak is None or peak.metric != reading.metric:
        said = reading_text(reading, slo)
        return f"{said.removesuffix(')')}{TOO_FEW})" if few else said
    now, _ = value_and_limit(reading)
    worst = value_text(reading, peak.peak)
    return f"{reading.metric} peaked at {worst}, now {now} ({explained_limit(reading, slo)})"


def badge(item: Incident, breached: Breach | None, in_breach: int = 0) -> tuple[str, str]:
    """Severity and state of an incident, and the reason for its severity: what its services do to their SLOs.

    `Critical incident · firing` and `2 services in SLO breach`, or `Early warning · not paged`, without a reason.
    in_breach: services that breach their SLO now.
    """
    if item.state == "firing" and item.paged is None and item.severity == "warning":
        return f"{SEVERITIES[item.severity]} · not paged", ""
    return f"{SEVERITIES[item.severity]} · {STATES[item.state]}", _slo_reason(item, breached, in_breach)


def _slo_reason(item: Incident, breached: Breach | None, in_breach: int) -> str:
    if in_breach:
        return f"{counted(in_breach, 'service')} in SLO breach"
    if breached:
        return "still in SLO breach" if breached.until is None else "SLO breach ended"
    is_forecast = item.state == "firing" and any(0 < risk.p50 < math.inf for risk in item.at_risk)
    return BREACH_FORECAST if is_forecast else "no SLO breach"


def latent_risk(item: Incident, now: float) -> Text:
    """A latent risk, with the time of its values, where they are not those of now (Unix seconds)."""
    at = item.evidence_at
    of = text(" Values at ", time(at), ".") if at is not None and at < now else ()
    return text(summary_clauses(item), of)


def lead(
    reading: Reading | None,
    peak: Peak | None,
    breached: Breach | None,
    impact: Impact | None,
    now: float,
    *,
    slo: ServiceSlo | None = None,
    replicas: tuple[int, int] | None = None,
    subject: str = "",
) -> Text:
    """How bad an incident is: its SLO breaches, the requests that they cost, and the replicas that its service lost.

    reading: of the service whose SLO breach is forecast. breached: from the first breach to the end of the last one, of
    whichever services. now: Unix seconds. slo: of the reading, to say what a learned one is. replicas: ready now, and
    before. subject: the service of the headline, which is not named again.
    """
    first = "" if breached is None or breached.service == subject else breached.service
    limit = "" if peak is None or peak.limit is None else f" (SLO {_peak_value(peak, peak.limit)})"
    not_yet = "SLO not breached: " if reading and not breached and reading.usage <= 1 else ""
    parts = (
        text(not_yet, reading_text(reading, slo)) if reading else (),
        text(f"{peak.metric} stayed within its SLO{limit}") if peak and not breached and limit else (),
        breach_text(breached, now, first) if breached else (),
        impact_text(impact, breached, subject) if impact else (),
        _behind_text(impact.behind, subject) if impact and breached else (),
        text("{} of {} replicas ready".format(*replicas)) if replicas else (),
    )
    return sentences(*parts)


def _peak_value(peak: Peak, value: float) -> str:
    return duration(value) if peak.unit == "s" else percent(value)


def breach_text(breached: Breach, now: float, first: str = "") -> Text:
    """How long SLOs are breached: `SLO breach since 08:44:10 (12 min), starting with serving/gateway`.

    Without the interruptions: `(10 min in total, 1 interruption)`.
    """
    who = (", starting with ", Clause(first, "service", (first,))) if first else ()
    before, over = ("before ", "over ") if breached.earlier else ("", "")
    pauses = f" in total, {counted(breached.pauses, 'interruption')}" if breached.pauses else ""
    if breached.until is not None:
        start, end = ("from before ", " to ") if breached.earlier else ("between ", " and ")
        length = f" ({over}{elapsed(breached.until - breached.since - breached.paused)}{pauses})"
        return text(f"SLO breached {start}", time(breached.since), end, time(breached.until), length, *who)
    is_new = not breached.earlier and now - breached.since < JUST_NOW_SECONDS
    length = "just now" if is_new else over + elapsed(now - breached.since - breached.paused) + pauses
    return text(f"SLO breach since {before}", time(breached.since), f" ({length})", *who)


def impact_text(impact: Impact, breached: Breach | None, subject: str = "") -> Text:
    """The requests that failed or were too slow: `About 1,300 of 2,800 requests (46% since then) to llm failed`.

    They are counted since the first breach, which stands before, or without one since the first anomaly. Those
    to the subject alone are not said to be to it. Beside slow requests stands how many an SLO of p95 allows.
    """
    failures, delayed, bad = impact.failed, impact.slow, impact.failed + impact.slow
    if bad >= 0.5 and failures < 1 and delayed < 1:  # one request, of the likelier kind
        bad, failures, delayed = max(1.0, bad), float(failures >= delayed), float(failures < delayed)
    both = failures >= 1 and delayed >= 1
    limit = "" if math.isnan(impact.limit) else duration(impact.limit)
    slo = f"the SLO of {limit}" if failures >= 1 or bad < 1 else f"{limit} (the SLO allows 5%)"
    slow = "exceeded their latency SLO" if math.isnan(impact.limit) else f"took longer than {slo}"
    failed, late = (f" ({estimate(count)})" if both else "" for count in (failures, delayed))
    what = "failed" if delayed < 1 <= bad else slow if failures < 1 <= bad else f"failed{failed} or {slow}{late}"
    none = f"None of {estimate(impact.requests)} requests"
    scope = " since the first anomaly" if breached is None else " since then" if breached.until is None else ""
    count = f"About {estimates(bad, impact.requests, scope)}" if bad >= 1 else f"{none}{scope}"
    where = "entering at" if impact.services[1:] else "to"  # calls between these services are not counted
    who = () if [*map(str, impact.services)] == [subject] else (f" {where} ", _named(impact.services))
    return text(count, *who, f" {what}")


def _behind_text(services: Sequence[Service], subject: str) -> Text:
    """`llm and dependency db breached their SLO`, the subject first; empty without any."""
    if not services:
        return ()
    own = tuple(service for service in services if str(service) == subject)
    others = tuple(service for service in services if str(service) != subject)
    breached = f" breached {'their' if services[1:] else 'its'} SLO"
    if not others:
        return text(*own, breached)
    noun = "dependencies" if others[1:] else "dependency"
    start = text(*own, f" and {noun} ") if own else text(f"{noun.capitalize()} ")
    return text(start, _named(others), breached)


def _named(services: Sequence[Service]) -> Text:
    """`a, b, c and d`; `a, b, c and 2 more`: one more name is as short as its count."""
    if len(services) in (2, 3, 4):
        return text(joined(services[:-1], ", "), " and ", services[-1])
    return listed(services)


def recovery_text(found: Sequence[Recovery]) -> Text:
    """What has returned to normal, or not yet: `web down to 8 req/s (peak 14 req/s, baseline 7 req/s)`."""
    parts: list[str | Clause | Text] = []
    for row in found:
        since = (" since ", time(row.since)) if row.since is not None else ()
        parts += ["; " if parts else "", Clause(row.service, "service", (row.service,)), f" {_recovered(row)}", *since]
    return text(*parts)


def _recovered(row: Recovery) -> str:
    match row.signal:
        case "request rate":
            baseline = "" if row.baseline is None else f", baseline {rate(row.baseline)}"
            return f"down to {rate(row.now)} (peak {rate(row.worst)}{baseline})"
        case "ready replicas" if row.worst == row.baseline:
            return f"scaled from {row.worst:.0f} to {row.now:.0f} ready replicas"
        case "ready replicas":
            return f"back to {row.now:.0f} ready replicas (dropped to {row.worst:.0f})"
        case "GPU time" if row.is_back:
            return f"back to {percent(row.now)} of GPU time"
        case _:
            return f"still at {percent(row.now)} of GPU time"


def contention_text(check: ContentionCheck) -> Text:
    """Whether GPU contention is ruled out: `Not the cause: GPU wait of chat on batch is 23% (baseline 19%) …`."""
    wait, neighbor = f"GPU wait of {check.service} on ", Clause(check.neighbor, "pair", (check.service, check.neighbor))
    if check.peak is not None and check.baseline is not None and not check.is_normal:
        peaked = f" peaked {'on one GPU ' if check.is_on_one_gpu else ''}at {percent(check.peak)}"
        said = f"{peaked} (baseline {percent(check.baseline)}), above its normal range"
        return text(f"May contribute: {wait}", neighbor, said)
    if check.ratio is None or check.peak is None:
        return text(EMPTY["gpu_wait"].removesuffix("."))
    now = f" is {percent(check.ratio)}"
    if check.baseline is None:
        return text(wait, neighbor, f"{now} (no baseline before the first anomaly)")
    said = f"{now} (baseline {percent(check.baseline)}) and has stayed within its normal range since the first anomaly"
    return text(f"Not the cause: {wait}", neighbor, said)


def recovering_action(resolves: float | None) -> Text:
    """What to do while an incident recovers. resolves: Unix seconds."""
    if resolves is None:
        return text("None now")
    return text("No action needed. The incident closes at about ", time(resolves), " unless symptoms return")
