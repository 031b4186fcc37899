"""The headline of the Now page: the worst incident, a healthy platform, or the reason for no verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from typing_extensions import TypedDict

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.render.clause import Clause, Text, joined_text, text, time
from foreshock_dashboard.render.incident_summary import condition_clauses, starving_verb, summary_clauses
from foreshock_dashboard.render.units import gpu_list, name_list, plural
from foreshock_dashboard.web.state.conditions import conditions, open_incidents
from foreshock_dashboard.web.state.freshness import Freshness, fresh_seconds, freshness
from foreshock_dashboard.web.state.incident_json import (
    BreachSeconds,
    ClauseJson,
    IncidentJson,
    breach_seconds,
    clauses,
    incident,
)
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time

State = Literal["critical", "warning", "calm", "blind", "learning", "empty", "error"]


MAX_NAMED_GPUS = 2
"""Largest number of GPUs that a headline names; more are counted."""
MAX_NEXT_BREACH_SECONDS = 1800.0
"""Longest time to an SLO breach with which the next service at risk is named."""


class NextBreach(Row):
    """The next service at risk, and the services that breach their SLO."""

    service: str | None
    seconds: BreachSeconds | None
    objective: float | None
    missing: list[str]


class VerdictJson(TypedDict):
    """The verdict as JSON."""

    state: State
    headline: str
    clauses: list[ClauseJson]
    detail: list[str]
    notes: list[list[ClauseJson]]
    since: float | None
    incident: IncidentJson | None
    next: NextBreach | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The headline and the notes below it.

    The headline changes only with its meaning, as screen readers read it aloud; `notes` may change with every
    evaluation. clauses: the headline in parts that link to their evidence. since: Unix seconds since which it holds,
    None if unknown. incident: the worst one. slos: p95 in seconds by service.
    """

    state: State
    clauses: Text
    notes: tuple[Text, ...] = ()
    since: float | None = None
    incident: Incident | None = None
    slos: Mapping[Service, float] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The clauses as one sentence."""
        return joined_text(self.clauses)

    @property
    def detail(self) -> tuple[str, ...]:
        """Each note as one text."""
        return tuple(map(joined_text, self.notes))

    def payload(self) -> VerdictJson:
        """As JSON."""
        return {
            "state": self.state,
            "headline": self.headline,
            "clauses": clauses(self.clauses),
            "detail": list(self.detail),
            "notes": [clauses(note) for note in self.notes],
            "since": number_of_time(self.since),
            "incident": incident(self.incident) if self.incident else None,
            "next": next_breach(self.incident, self.slos) if self.incident else None,
        }


def verdict(snapshot: Snapshot, now: float | None = None) -> Verdict:
    """The verdict on a snapshot. now: the hub's time in Unix seconds; default: the World's."""
    world = snapshot.world
    if world is None:
        if snapshot.error:
            return Verdict("error", text(f"foreshock cannot read its source: {snapshot.error}"))
        return Verdict("empty", text("No data yet: the hub has not finished its first look."), (text(_FIRST_STEPS),))
    seen = freshness(world)
    gaps = _gaps(snapshot, world, seen)
    still = bool(snapshot.error) and now is not None and now - world.time > fresh_seconds(world.step)
    since = world.time if still else seen.since
    blind = _blind("anybody" if still else seen.no_data and f"any {seen.no_data}", since)
    current = tuple(item for item in open_incidents(snapshot) if item.affected)
    unseen = bool(gaps)
    gaps = (*gaps, *(summary_clauses(item) for item in open_incidents(snapshot) if not item.affected))
    if current:
        headline = _starving(world, current, (text("This may have changed. ", blind), *gaps) if blind else gaps)
        slos = {slo.service: slo.seconds for slo in snapshot.forecast.slos}
        return replace(headline, slos=slos)
    if not world.services and not world.gpus and not seen.stale_targets:
        return Verdict("empty", text("No services and no GPUs are known yet."), (text(_FIRST_STEPS), *gaps))
    if blind and (since is not None or snapshot.learning.done or seen.stale_targets):
        return Verdict("blind", blind, gaps, since)
    size = f"{seen.services} {plural(seen.services, 'service')} on {seen.gpus} {plural(seen.gpus, 'GPU')}"
    if not snapshot.learning.done:
        have, need = (f"{seconds / 60:.0f}" for seconds in snapshot.learning)
        until_then = text(f"No warnings can be given until then; the figures of {size} are live.")
        return Verdict("learning", text(f"Learning what is usual: {have} of {need} min."), (until_then, *gaps))
    starved = "No service that can be seen is starved" if unseen else "No service is starved"
    erring = [str(service) for service, state in conditions(snapshot).items() if state.word == "errors"]
    if erring:
        errors = text(
            f"Errors in {len(erring)} {plural(len(erring), 'service')}: {name_list(erring)}. Watching {size}."
        )
        return Verdict("warning", text(f"{starved} of GPU time, but some services fail."), (errors, *gaps))
    over = [item.resolved for item in snapshot.incidents if item.resolved is not None]
    ended = max(over, default=None)
    return Verdict("calm", text(f"{starved} of GPU time."), (text(f"Watching {size}."), *gaps), ended)


_FIRST_STEPS = (
    "Start foreshock-exporter on the GPU hosts and name them with --targets (FORESHOCK_TARGETS), and let the services "
    "send OTLP spans to this hub: gRPC on port 4317, HTTP on port 4318."
)


def _starving(world: World, current: tuple[Incident, ...], gaps: tuple[Text, ...]) -> Verdict:
    worst = current[0]
    if worst.suspect.service and worst.suspect.gpus:
        pair = (str(worst.service), str(worst.suspect.service))
        starves = Clause(starving_verb(worst), "pair", pair)
        gpus = Clause(_where(world, worst.suspect.gpus), "gpus", gpus=tuple(gpu.label for gpu in worst.suspect.gpus))
        condition = text(worst.suspect.service, " ", starves, " ", worst.service, " on ", gpus)
    else:
        condition = condition_clauses(worst)
    cascading = ", and its callers slow down too" if worst.cascading else ""
    others = len(current) - 1
    more = (text(f"{others} {plural(others, 'more warning')} below."),) if others else ()
    state: State = "warning" if worst.severity == "warning" else "critical"
    return Verdict(state, text(condition, cascading, "."), (*more, *gaps), worst.since, worst)


def _where(world: World, gpus: Sequence[Gpu]) -> str:
    """Up to two GPUs by name; for more, their number, their pool or hosts, and the first."""
    if len(gpus) <= MAX_NAMED_GPUS:
        return gpu_list(gpus)
    pool = pool_of(world, gpus)
    hosts = len({gpu.host for gpu in gpus})
    of = f"pool {pool}" if pool else f"{hosts} {plural(hosts, 'host')}"
    return f"{len(gpus)} GPUs of {of} ({gpus[0].label} …)"


def next_breach(item: Incident, slo_seconds: Mapping[Service, float]) -> NextBreach | None:
    """The next service to breach its SLO, and the services that already breach theirs; None without services at risk.

    slo_seconds: SLO target (p95) by service.
    """
    if not item.at_risk:
        return None
    hit = [str(risk.service) for risk in item.at_risk if risk.p50 <= 0]
    ahead = sorted((risk.p50, risk.service, risk) for risk in item.at_risk if 0 < risk.p50 <= MAX_NEXT_BREACH_SECONDS)
    if not ahead:
        return NextBreach(None, None, None, hit)
    _, service, risk = ahead[0]
    return NextBreach(str(service), breach_seconds(risk), number(slo_seconds.get(service, math.nan)), hit)


def _blind(whom: str, since: float | None) -> Text:
    """Why nothing is known; empty if no data is missing. since: Unix seconds of the last data."""
    if not whom:
        return ()
    if since is None:
        return text(f"Cannot tell: no data from {whom} yet.")
    return text(f"Cannot tell: no fresh data from {whom} since ", time(since), ".")


def _gaps(snapshot: Snapshot, world: World, seen: Freshness) -> tuple[Text, ...]:
    """Missing and stale data, one sentence each: no data must not look healthy."""
    sentences = []
    if snapshot.error:
        sentences.append(f"These figures stand still: {snapshot.error}")
    silent = (
        ("target", len(world.targets), [target.instance for target in seen.stale_targets]),
        ("GPU", len(world.gpus), [gpu.label for gpu in seen.stale_gpus]),
        ("service", len(world.services), [str(service) for service in seen.stale_services]),
    )
    for noun, count, names in silent:
        if names:
            sentences.append(f"No fresh data from {len(names)} of {count} {plural(count, noun)}: {name_list(names)}.")
    if not world.gpus:
        sentences.append("No GPUs are seen: no exporter gives gpu_info.")
    if world.gpus and not world.services:
        sentences.append("No services are seen: no spans have arrived.")
    return tuple(map(text, sentences))
