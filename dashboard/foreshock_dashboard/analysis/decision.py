"""World → incidents: a pure fold, one step per grid point, so that a replay gives what live gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from foreshock_dashboard.analysis.contention import (
    GUARD,
    HISTORY,
    Pressure,
    Usual,
    pressures,
    recent,
    slowdowns,
    usual_at,
)
from foreshock_dashboard.analysis.sentence import contention_sentence
from foreshock_dashboard.model.incident import Culprit, Evidence, Incident, Learning, Phase
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

SLOWDOWN = 1.4
Z = 3.0
STALLED_GROWTH = 0.08
BUSY_GROWTH = 0.10
CONFIDENCE = 0.5
PERSIST = 3
"""Grid points in a row that must agree before an incident opens."""
CLEAR = 300.0
"""Seconds that an incident must be *seen* calm (less than half of what opened it) before it is over."""
BLIND = 3600.0
"""Seconds without data on it after which an incident is given up."""
MEMORY = 3600.0
"""Seconds back in which the history that a baseline needs may lie: a gap does not switch the analysis off."""
PAGE_SLOWDOWN = 2.0
PAGE_FAILED = 0.05
KEEP_OVER = 3600.0
"""Seconds that an incident is still listed after it is over."""


@dataclass(frozen=True, slots=True)
class Case:
    """A victim that is being watched.

    hits: grid points in a row that agreed. calm: seconds of calm seen in a row. seen: when there was last data on it
    (Unix seconds). usual: the baseline as it was when the watch began, so that what lasts does
    not become what is usual. incident: set once it opened.
    """

    victim: Service
    hits: int
    calm: float
    seen: float
    usual: Usual
    incident: Incident | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that one step hands to the next."""

    time: float = -np.inf
    cases: tuple[Case, ...] = ()
    over: tuple[Incident, ...] = ()

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Open ones first, then those that are over, newest first."""
        return (*(case.incident for case in self.cases if case.incident), *self.over)


def learning(world: World) -> Learning:
    """How much history there is at the World's time."""
    return Learning(_history(world, len(world.times) - 1), HISTORY)


def _history(world: World, at: int) -> float:
    """Seconds in the last hour before grid point `at` at which some service's duration was known."""
    columns = world.red.p95[:, max(0, at - round(MEMORY / world.step)) : at]
    return float((~np.isnan(columns)).any(axis=0).sum()) * world.step


def fold(state: State, world: World) -> State:
    """Advance over every grid point of the World that the state has not seen."""
    for at in np.flatnonzero(world.times > state.time):
        state = advance(state, world, int(at))
    return state


def advance(state: State, world: World, at: int) -> State:
    """One step: what the World shows at grid point `at` opens, keeps, worsens or ends incidents."""
    time = float(world.times[at])
    if not state.cases and _history(world, at) < HISTORY:
        return replace(state, time=time)
    watched = [
        (case, _next(case, _strongest(world, at, case.usual).get(case.victim), world, at)) for case in state.cases
    ]
    kept = [case for _, case in watched if case]
    ended = [replace(old.incident, phase="over", until=time) for old, case in watched if case is None and old.incident]
    if _history(world, at) >= HISTORY:
        base = usual_at(world, at)
        watched_already = {case.victim for case in kept}
        for victim, pair in sorted(_strongest(world, at, base).items()):
            if victim not in watched_already and _starves(pair):
                kept.append(Case(victim, 1, 0.0, time, base))
    over = [old for old in (*ended, *state.over) if old.until is None or time - old.until <= KEEP_OVER]
    return State(time, tuple(kept), tuple(over))


def _strongest(world: World, at: int, base: Usual) -> dict[Service, Pressure]:
    found: dict[Service, Pressure] = {}
    for pair in pressures(world, at, base):
        found.setdefault(pair.victim, pair)
    return found


def _starves(pair: Pressure, share: float = 1.0) -> bool:
    """Whether the pair meets `share` of what opens an incident. All of it must hold: its own slow-down too."""
    return (
        pair.slowdown - 1 >= share * (SLOWDOWN - 1)
        and pair.z >= share * Z
        and pair.stalled - pair.stalled_usual >= share * STALLED_GROWTH
        and pair.growth >= share * BUSY_GROWTH
        and pair.growth > pair.own_growth
        and pair.confidence >= share * CONFIDENCE
    )


def _next(case: Case, pair: Pressure | None, world: World, at: int) -> Case | None:
    """What becomes of a watch at this grid point; None where it ends. Missing data neither confirms nor calms."""
    time = float(world.times[at])
    if pair is None or not pair.seen:
        blind = case.incident and replace(case.incident, quality="inferred")
        return replace(case, incident=blind) if time - case.seen < BLIND else None
    if case.incident is None:
        if not _starves(pair):
            return None
        opened = replace(case, hits=case.hits + 1, seen=time)
        return replace(opened, incident=_open(pair, case.usual, world, at)) if opened.hits >= PERSIST else opened
    if _starves(pair, 0.5):
        return replace(case, calm=0.0, seen=time, incident=_update(case.incident, pair, case.usual, world, at))
    calm = case.calm + world.step
    return replace(case, calm=calm, seen=time) if calm < CLEAR else None


def _open(pair: Pressure, base: Usual, world: World, at: int) -> Incident:
    time = float(world.times[at])
    since = _onset(pair, world, at)
    opened = datetime.fromtimestamp(time, UTC).strftime("%Y%m%dT%H%M%SZ")
    blank = Incident(
        id=f"{opened}-{pair.victim}".replace("/", "."),
        phase="advisory",
        cause="pool contention",
        service=pair.victim,
        culprit=Culprit(pair.aggressor, pair.gpus),
        victims=(pair.victim,),
        at_risk=(),
        candidates=(),
        since=since,
        opened=time,
        paged=None,
        until=None,
        evidence=(),
        confidence=pair.confidence,
        quality="sampled",
        next_step="",
        sentence="",
    )
    return _update(blank, pair, base, world, at)


def _onset(pair: Pressure, world: World, at: int) -> float:
    """Walk back to where the victim's stalled time on these GPUs left its usual level."""
    rows = [
        i
        for i, stall in enumerate(world.stalls)
        if stall.victim == pair.victim and stall.aggressor == pair.aggressor and stall.gpu in pair.gpus
    ]
    level = np.nan_to_num(world.stalled_by[rows]).mean(axis=0)
    threshold = pair.stalled_usual + 0.25 * (pair.stalled - pair.stalled_usual)
    first = at
    while first > 0 and at - first < round(GUARD / world.step) and level[first - 1] > threshold:
        first -= 1
    return float(world.times[first])


def _update(incident: Incident, pair: Pressure, base: Usual, world: World, at: int) -> Incident:
    hurt = callers_hurt(world, at, pair.victim, base)
    rank: Sequence[Phase] = ("advisory", "page", "cascading")
    severe = pair.slowdown >= PAGE_SLOWDOWN or pair.failed - pair.failed_usual >= PAGE_FAILED
    phase: Phase = "cascading" if _breaching(world, at, hurt, base) else "page" if severe else "advisory"
    since = incident.since
    return replace(
        incident,
        phase=max(phase, incident.phase, key=rank.index),
        culprit=Culprit(pair.aggressor, pair.gpus),
        victims=(pair.victim, *hurt),
        confidence=pair.confidence,
        evidence=(
            Evidence("p95 of the victim", pair.p95, pair.p95_usual, "s", since),
            Evidence("GPU time the victim waits", pair.stalled, pair.stalled_usual, "ratio", since),
            Evidence("GPU time the aggressor takes", pair.busy, pair.busy_usual, "ratio", since),
            Evidence("failed requests of the victim", pair.failed, pair.failed_usual, "ratio", since),
        ),
        quality="sampled",
        sentence=contention_sentence(pair, hurt, since),
    )


def callers_hurt(world: World, at: int, victim: Service, base: Usual) -> tuple[Service, ...]:
    """The services that call the victim, directly or through others, and are slow as well, nearest first."""
    slow = slowdowns(world, at, base)
    calls = [(edge.client, edge.server) for edge in world.edges if edge.connection != "virtual_node"]
    found: list[Service] = []
    seen, frontier = {victim}, {victim}
    while frontier:
        frontier = {client for client, server in calls if server in frontier} - seen
        seen |= frontier
        found += [who for who in sorted(frontier) if who in slow and slow[who].ratio >= SLOWDOWN and slow[who].z >= Z]
    return tuple(found)


def _breaching(world: World, at: int, callers: Sequence[Service], base: Usual) -> bool:
    """Whether a slow caller is as bad as what pages for a victim: then it is no longer one service's trouble."""
    slow = slowdowns(world, at, base)
    failed = dict(zip(world.services, np.nan_to_num(recent(world.red.failed, at)).tolist(), strict=True))
    return any(
        slow[who].ratio >= PAGE_SLOWDOWN or failed[who] - base.failed.get(who, 0.0) >= PAGE_FAILED for who in callers
    )
