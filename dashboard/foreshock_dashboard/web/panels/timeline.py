"""The cascade as lanes: who was hit in which order, how badly and since when, and who is next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import AtRisk, Evidence, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.action import reasons_text
from foreshock_dashboard.web.charts.theme import service_colour
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.history_cache import HistoryCache
from foreshock_dashboard.web.state.incident_json import breach_seconds
from foreshock_dashboard.web.state.numbers import number, number_of_time
from foreshock_dashboard.web.state.stages import STAGES, Interval, ServiceHistory, Sign

MAX_LANES = 8
"""Lanes on the Now page; the rest is on the page of the cascade."""
LEAD_IN_SECONDS = 450.0
"""Seconds before the first sign that are shown."""
MIN_SECONDS, MAX_SECONDS = 900.0, 3600.0
"""Seconds that the Now page's lanes cover, forecast apart, at least and at most."""
FORECAST_SECONDS = 600.0
"""Seconds beyond now that a forecast is drawn for."""
RELATED_BEFORE_SECONDS = 120.0
"""Seconds before the first sign from which on trouble belongs to it."""
MAX_GAP_SECONDS = 600.0
"""Seconds of calm after which a new spell of trouble is told apart from the one before."""


class ChosenIncidents(NamedTuple):
    """What lanes are of: open incidents or one that was picked. onset: their first sign, None without any."""

    incidents: tuple[Incident, ...]
    onset: float | None


def chosen_incidents(snapshot: Snapshot, wanted: str = "") -> ChosenIncidents:
    """The incident of an id, or all that are open and that somebody suffers from."""
    if wanted:
        found = tuple(item for item in snapshot.incidents if item.id == wanted)
    else:
        found = tuple(item for item in open_incidents(snapshot) if item.victims)
    return ChosenIncidents(found, min((first_sign(item) for item in found), default=None))


def first_sign(incident: Incident) -> float:
    """Unix seconds of the first that was seen of it."""
    return min(incident.since, incident.opened)


def lanes_start(world: World, chosen: ChosenIncidents) -> float:
    """Since when the Now page shows lanes: from a while before the first sign on."""
    since = world.time if chosen.onset is None else chosen.onset - LEAD_IN_SECONDS
    return min(world.time - MIN_SECONDS, max(world.time - MAX_SECONDS, since))


def affected_order(
    snapshot: Snapshot,
    world: World,
    chosen: ChosenIncidents,
    history: ServiceHistory,
    start: float,
    histories: HistoryCache,
) -> tuple[str, ...]:
    """Who was hit, in the order of the first sign: from before the incident began, whatever stretch is looked at.

    history: the course from `start` on, Unix seconds, which is used where it begins there.
    """
    since = (
        world.time - MIN_SECONDS
        if chosen.onset is None
        else min(world.time - MIN_SECONDS, chosen.onset - LEAD_IN_SECONDS)
    )
    if abs(since - start) >= world.step:
        history, start = histories.get(snapshot, world, chosen.onset, since), since
    lanes = timeline(world, start, history, chosen, len(world.services))["lanes"]
    return tuple(lane["service"] for lane in lanes if lane["part"] == "hit")


def timeline(
    world: World,
    start: float,
    history: ServiceHistory,
    chosen: ChosenIncidents,
    most: int = MAX_LANES,
    order: Sequence[str] = (),
) -> Json:
    """Lanes in the order of the first sign: culprits first, then who was hit, then who is expected to be.

    start: Unix seconds from which on they are drawn. order: who was hit, as `hits` tells it; of an incident nobody
    else was. Times in Unix seconds; stages are indexes into `stages`.
    """
    place = {who: i for i, who in enumerate(order, 1)}
    risks = _soonest(chosen.incidents)
    named = {who for item in chosen.incidents for who in (item.service, *item.victims)}
    hit = _hit(history, named, chosen.onset)
    culprits = {item.culprit.service: item for item in chosen.incidents if item.culprit.service is not None}
    if place and chosen.onset is not None:  # a longer range is looked at more coarsely, and might tell of others
        hit = {who: spells for who, spells in hit.items() if str(who) in place or who in culprits}
    shown = _shown(chosen.incidents)
    lanes = [_hit_lane(who, spells, history, risks, shown.get(str(who))) for who, spells in hit.items()]
    by_name = {lane["service"]: lane for lane in lanes}
    for who, item in culprits.items():
        lane = by_name.get(str(who))
        if lane is None:
            lane = _lane(who, first_sign(item)) | {"forecast": _forecast(risks.get(who))}
            lanes.append(lane)
        lane |= {"part": "culprit", "why": _blame(item), "first": number_of_time(min(lane["first"], first_sign(item)))}
    last = len(place) + 1
    lanes.sort(
        key=lambda lane: (lane["part"] != "culprit", place.get(lane["service"], last), lane["first"], lane["service"])
    )
    lanes += [
        _lane(who, world.time) | {"part": "next", "forecast": _forecast(risk)}
        for who, risk in sorted(risks.items(), key=lambda row: (row[1].p50, row[0]))
        if who not in hit and who not in culprits and _soon(risk)
    ]
    further = count(last)
    for lane in (lane for lane in lanes if lane["part"] == "hit"):
        lane["order"] = place.get(lane["service"]) or next(further)
    end = world.time + (FORECAST_SECONDS if any(lane["forecast"] for lane in lanes) else 0.0)
    return {
        "start": number_of_time(start),
        "now": number_of_time(world.time),
        "end": number_of_time(end),
        "stages": list(STAGES),
        "lanes": lanes[:most],
        "hidden": max(0, len(lanes) - most),
    }


def _soonest(incidents: Sequence[Incident]) -> dict[Service, AtRisk]:
    """Of each service, the nearest breach that an incident tells."""
    found: dict[Service, AtRisk] = {}
    for item in incidents:
        for risk in item.at_risk if item.until is None else ():
            if risk.service not in found or risk.p50 < found[risk.service].p50:
                found[risk.service] = risk
    return found


def _hit(history: ServiceHistory, named: set[Service], onset: float | None) -> dict[Service, tuple[Interval, ...]]:
    """Who is or was in trouble, with the spells that belong together: those named, and whoever is worse than early."""
    found = {}
    for who in history.anomalous_services():
        spells = history.intervals(who)
        if onset is not None:
            spells = tuple(spell for spell in spells if spell.end >= onset - RELATED_BEFORE_SECONDS)
        worst = max((STAGES.index(spell.stage) for spell in spells), default=0)
        if worst >= 2 or (worst and who in named):
            found[who] = spells
    return found


def _shown(incidents: Sequence[Incident]) -> dict[str, Evidence]:
    """Of each service, the first figure that shows an open incident: it has been weighed against others there."""
    found: dict[str, Evidence] = {}
    for item in incidents:
        for each in item.evidence if item.until is None else ():
            who = each.entity.partition(" ")[0] if " -> " not in each.entity else ""
            if who and (who not in found or each.since < found[who].since):
                found[who] = each
    return found


def _hit_lane(
    who: Service,
    spells: Sequence[Interval],
    history: ServiceHistory,
    risks: Mapping[Service, AtRisk],
    shown: Evidence | None,
) -> Json:
    last = [spells[-1]]
    for spell in reversed(spells[:-1]):
        if last[0].start - spell.end > MAX_GAP_SECONDS:
            break
        last.insert(0, spell)
    signs = [sign for sign in history.signs if sign.service == who]
    told = _sign(signs[0]) if signs else None
    if shown is not None and last[0].start - MAX_GAP_SECONDS < shown.since < last[0].start:
        spells = (*spells[: -len(last)], Interval(shown.since, last[0].start, "early"), *last)
        last, told = [spells[-len(last) - 1]], _figure(shown)
    return _lane(who, last[0].start) | {
        "spells": [[number_of_time(s.start), number_of_time(s.end), STAGES.index(s.stage)] for s in spells],
        "sign": told,
        "forecast": _forecast(risks.get(who)),
    }


def _lane(who: Service, first: float) -> Json:
    return {
        "service": str(who),
        "colour": service_colour(str(who)),
        "part": "hit",
        "order": None,
        "first": number_of_time(first),
        "why": "",
        "spells": [],
        "sign": None,
        "forecast": None,
    }


def _sign(sign: Sign) -> Json:
    return {
        "text": sign.text,
        "entity": sign.entity,
        "since": number_of_time(sign.since),
        "value": number(sign.value),
        "level": number(sign.level),
        "unit": sign.unit,
    }


def _figure(shown: Evidence) -> Json:
    return {
        "text": shown.name,
        "entity": shown.entity,
        "since": number_of_time(shown.since),
        "value": number(shown.value),
        "level": number(shown.baseline),
        "unit": shown.unit,
    }


def _soon(risk: AtRisk | None) -> bool:
    """Whether it is near enough to be drawn, and still to come."""
    return risk is not None and risk.p50 > 0 and risk.p20 <= FORECAST_SECONDS


def _forecast(risk: AtRisk | None) -> Json | None:
    """Seconds until its objective is missed; None where it already is, or that is far off."""
    return dict(breach_seconds(risk)) if risk is not None and _soon(risk) else None


def _blame(item: Incident) -> str:
    """Why a culprit is one, in a few words."""
    who = item.culprit.service
    reasons = next((each.reasons for each in item.candidates if each.service == who and each.reasons), ())
    if item.cause == "pool contention" and any(each.entity == f"{who} -> {item.victim}" for each in item.evidence):
        return "asks for what makes others wait"
    if item.cause == "pool contention" and item.culprit.gpus:
        same = (Reason("cause", item.victim, item.cause), Reason("cause", name=item.cause))
        further = reasons_text(each for each in reasons if each not in same)
        return f"takes the time of {_gpus(len(item.culprit.gpus))}" + (f": {further}" if further else "")
    if item.cause == "demand" and reasons in ((), (Reason("cause", name=item.cause),)):
        return "asks for more than usual"
    return reasons_text(reasons) or item.cause


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
