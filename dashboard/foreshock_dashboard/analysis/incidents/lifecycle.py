"""World → incidents: a pure fold, one step per grid point, so that a replay gives what live gave."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.objectives import Slo, slos
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.detectors.retry_risk import retry_risks
from foreshock_dashboard.analysis.forecast.service_risk import Own, own_risks
from foreshock_dashboard.analysis.incidents.content import (
    Evaluation,
    advisory,
    opened_incident,
    recovering_incident,
    updated_incident,
    with_forecast,
    with_summary,
)
from foreshock_dashboard.analysis.incidents.learned import Learned, relearned
from foreshock_dashboard.analysis.incidents.triage import FINDING_STRENGTH, Trouble, troubles
from foreshock_dashboard.analysis.saturation.batching_model import strains
from foreshock_dashboard.common.identity_cache import IdentityCache
from foreshock_dashboard.model.incident import Incident, Learning
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

MIN_HISTORY_SECONDS = 1800.0
"""Seconds of history before anything is judged."""
FOR_POINTS = 3
"""Grid points in a row that must agree before an incident opens, or becomes a page."""
URGENT_FOR_POINTS = 2
"""The same where no trend has to be waited for."""
SWITCH_POINTS = 6
"""Grid points in a row that must name another cause, culprit or origin before an open incident does."""
PAGED_SWITCH_POINTS = 30
"""The same once somebody was woken: what they act on holds for minutes."""
PROVED_STRENGTH, POSSIBLE_STRENGTH = 0.9, 0.25
"""How sure another cause must be found, and the one that is told not even be suspected, for that not to hold."""
RESOLVE_AFTER_SECONDS = 300.0
"""Seconds that an incident must be *seen* calm before it is over."""
NO_DATA_SECONDS = 3600.0
"""Seconds without data on it after which an incident is given up."""
HISTORY_SECONDS = 3600.0
"""Seconds back in which the history that a baseline needs may lie: a gap does not switch the analysis off."""
KEEP_RESOLVED_SECONDS = 3600.0
"""Seconds that an incident is still listed after it is over."""


@dataclass(frozen=True, slots=True)
class TrackedIncident:
    """A group of services that is being watched.

    members: all that ever belonged to it. hits, pages: grid points in a row that agreed on trouble, on a page. calm:
    seconds of calm seen in a row. seen: when there was last data on it (Unix seconds). other: grid points in a row that
    say something else than the incident does. joined: those in a row at which all of its trouble was another case's.
    incident: set once it opened; as it was last in trouble. shown: as it is
    told while it is seen calm.
    """

    origin: Service
    members: frozenset[Service]
    hits: int
    pages: int
    calm: float
    seen: float
    other: int = 0
    joined: int = 0
    incident: Incident | None = None
    shown: Incident | None = None


class Advisory(NamedTuple):
    """An advisory on what is not wrong yet, and when it was last so (Unix seconds)."""

    incident: Incident
    seen: float


@dataclass(frozen=True, slots=True)
class State:
    """All that one step hands to the next. cache: what need not be worked out anew; it decides nothing."""

    time: float = -np.inf
    learned: Learned = field(default_factory=Learned)
    cases: tuple[TrackedIncident, ...] = ()
    weak: Mapping[Service, Finding] = field(default_factory=dict)
    standing: tuple[Advisory, ...] = ()
    over: tuple[Incident, ...] = ()
    own: Mapping[Service, Own] = field(default_factory=dict)
    cache: IdentityCache = field(default_factory=IdentityCache, repr=False, compare=False)

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Open ones first, then what is weak, then those that are over, newest first."""
        found = [case.shown or case.incident for case in self.cases if case.incident]
        busy = {each.service for each in found}
        weak = [each.incident for each in self.standing if each.incident.service not in busy]
        return (*found, *weak, *self.over)


def learning(world: World) -> Learning:
    """How much history there is at the World's time."""
    return Learning(_history(world, len(world.times) - 1), MIN_HISTORY_SECONDS)


def _history(world: World, at: int) -> float:
    """Seconds in the last hour before grid point `at` at which some service's duration was known."""
    columns = world.red.p95[:, max(0, at - round(HISTORY_SECONDS / world.step)) : at]
    return float((~np.isnan(columns)).any(axis=0).sum()) * world.step


def states(state: State, world: World, promised: Mapping[Service, Slo] | None = None) -> Iterator[State]:
    """The states after each grid point of the World that `state` has not seen. `promised`: objectives configured."""
    for at in np.flatnonzero(world.times > state.time):
        state = advance(state, world, int(at), promised)
        yield state


def fold(state: State, world: World, promised: Mapping[Service, Slo] | None = None) -> State:
    """The last of the `states`; `state` itself where there is no new grid point."""
    return deque(chain((state,), states(state, world, promised)), maxlen=1)[0]


def advance(state: State, world: World, at: int, promised: Mapping[Service, Slo] | None = None) -> State:
    """One step: what the World shows at grid point `at` opens, keeps, worsens or ends incidents."""
    time = float(world.times[at])
    if not state.cases and _history(world, at) < MIN_HISTORY_SECONDS:
        return replace(state, time=time)
    frozen = frozenset(who for case in state.cases for who in case.members)
    cache = state.cache.next_step()
    known = relearned(state.learned, world, at, frozen, cache)
    scan = Scan(world, at, known.usual, cache, strains(world, at, known.laws))
    own = own_risks(scan, slos(scan, promised or {}))
    causes = findings(scan)
    weak = state.weak if known is state.learned else _weak(scan, own)
    cases, ended = _next(state.cases, troubles(scan, own, causes, weak), Evaluation(scan, own, causes))
    well = {who: each for who, each in weak.items() if who in own and not (own[who].missing or own[who].crowded)}
    stood = [each for each in state.standing if time - each.seen > RESOLVE_AFTER_SECONDS]
    ended = (*ended, *(_over(each.incident, time) for each in stood))
    over = [old for old in (*ended, *state.over) if old.until is None or time - old.until <= KEEP_RESOLVED_SECONDS]
    return State(time, known, cases, weak, _standing(state.standing, well, scan), tuple(over), own, cache)


def _over(incident: Incident, time: float) -> Incident:
    """It tells what it was in trouble."""
    return replace(incident, phase="over", until=time)


def _weak(scan: Scan, own: Mapping[Service, Own]) -> Mapping[Service, Finding]:
    """What retries would keep down once it is down; looked at as often as baselines are."""
    loads = {who: risk.strain.load for who, risk in own.items() if risk.strain}
    return {each.service: each for each in retry_risks(scan, loads) if each.strength >= FINDING_STRENGTH}


def _standing(known: Sequence[Advisory], weak: Mapping[Service, Finding], scan: Scan) -> tuple[Advisory, ...]:
    """Advisories on what retries would keep down: nothing is wrong yet. Each stands until it was not so for a while."""
    told = {each.incident.service: each for each in known if scan.time - each.seen <= RESOLVE_AFTER_SECONDS}
    for service, finding in weak.items():
        before = told.get(service)
        told[service] = Advisory(advisory(before.incident if before else None, finding, scan), scan.time)
    return tuple(told[service] for service in sorted(told))


def _next(
    cases: Sequence[TrackedIncident], found: Sequence[Trouble], moment: Evaluation
) -> tuple[tuple[TrackedIncident, ...], tuple[Incident, ...]]:
    """What becomes of the cases, and the incidents that ended.

    A case whose trouble is another's for a while is over: one component has one incident, of which somebody was woken
    or which is older.
    """
    kept: list[TrackedIncident] = []
    ended: list[Incident] = []
    left = list(found)
    for case in sorted(cases, key=_seniority):
        mine = [each for each in left if not case.members.isdisjoint(each.members)]
        left = [each for each in left if each not in mine]
        joined = not mine and any(not case.members.isdisjoint(each.members) for each in found)
        grown = _joined(case, moment.scan) if joined else _grown(case, mine, moment)
        if grown is not None:
            kept.append(grown)
        elif case.incident is not None:
            ended.append(_over(case.incident, moment.scan.time))
    kept += [
        TrackedIncident(each.origin, frozenset(each.members), 1, int(each.page), 0.0, moment.scan.time) for each in left
    ]
    return tuple(kept), tuple(ended)


def _seniority(case: TrackedIncident) -> tuple[bool, bool, float]:
    """Which of several cases goes on where their trouble is one, the first first."""
    incident = case.incident
    return incident is None, incident is None or incident.paged is None, incident.opened if incident else 0.0


def _joined(case: TrackedIncident, scan: Scan) -> TrackedIncident | None:
    """What becomes of a case all of whose trouble is another's; None where it ends."""
    if case.incident is None or case.joined + 1 >= FOR_POINTS:
        return None
    return replace(case, joined=case.joined + 1, calm=0.0, seen=scan.time, shown=None)


def _grown(case: TrackedIncident, mine: Sequence[Trouble], moment: Evaluation) -> TrackedIncident | None:
    """What becomes of one case at this grid point; None where it ends. Missing data neither confirms nor calms."""
    scan = moment.scan
    if not mine:
        if not _seen(scan, case.members):
            blind = case.incident and replace(case.incident, quality="inferred")
            return replace(case, incident=blind, shown=None) if scan.time - case.seen < NO_DATA_SECONDS else None
        calm = case.calm + scan.world.step
        if case.incident is None:
            return None
        if calm >= RESOLVE_AFTER_SECONDS:
            return None
        return replace(
            case, calm=calm, seen=scan.time, pages=0, joined=0, shown=recovering_incident(case.incident, scan)
        )
    worst = _lead(case.incident, mine)
    pages = case.pages + 1 if any(each.page for each in mine) else 0
    grown = replace(
        case,
        origin=worst.origin,
        members=case.members.union(*(each.members for each in mine)),
        hits=case.hits + 1,
        pages=pages,
        calm=0.0,
        seen=scan.time,
        joined=0,
        shown=None,
    )
    needed = URGENT_FOR_POINTS if worst.urgent else FOR_POINTS
    if grown.incident is None:
        if grown.hits < needed:
            return grown
        return replace(
            grown, incident=updated_incident(opened_incident(worst, scan), worst, moment, page=pages >= needed)
        )
    told = updated_incident(grown.incident, worst, moment, page=pages >= needed)
    if _says(told) == _says(grown.incident) or (told.paged is not None and grown.incident.paged is None):
        return replace(grown, incident=told, other=0)
    other = grown.other + 1
    disproved = told.confidence >= PROVED_STRENGTH and not _found(grown.incident, moment.findings)
    if other >= (PAGED_SWITCH_POINTS if grown.incident.paged is not None and not disproved else SWITCH_POINTS):
        return replace(grown, incident=told, other=0)
    kept = replace(grown.incident, phase=told.phase)
    if told.service == kept.service:
        return replace(grown, incident=with_summary(replace(kept, at_risk=told.at_risk), scan), other=other)
    return replace(grown, incident=with_forecast(kept, moment), other=other)


def _found(incident: Incident, findings: Sequence[Finding]) -> bool:
    """Whether what an incident tells may still be so: somebody finds that cause and that culprit."""
    told = (incident.service, incident.cause, incident.culprit.service)
    return any(
        (each.service, each.cause, each.culprit.service) == told and each.strength >= POSSIBLE_STRENGTH
        for each in findings
    )


def _lead(incident: Incident | None, mine: Sequence[Trouble]) -> Trouble:
    """Of which trouble the incident tells: once somebody was woken, of the same service as long as it is in trouble."""
    if incident is None or incident.paged is None:
        return mine[0]
    return next((each for each in mine if each.origin == incident.service), mine[0])


def _says(incident: Incident) -> tuple[object, ...]:
    """What whoever was woken acts on: it is not to change with every scrape."""
    return (incident.service, incident.cause, incident.culprit.service)


def _seen(scan: Scan, members: Set[Service]) -> bool:
    """Whether there is data on any of them now."""
    return any(np.isfinite(scan.value("p95", who)) for who in members)
