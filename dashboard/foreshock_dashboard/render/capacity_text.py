"""The capacity forecast as sentences: shortages, what fills up or runs out, and why there is no forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.capacity.forecast import MIN_HISTORY_HOURS, CapacityForecast
from foreshock_dashboard.model.capacity.load import LoadKind, Shortage, ShortageBasis, Subject
from foreshock_dashboard.model.capacity.move import Move
from foreshock_dashboard.model.capacity.replicas import MORE_TRAFFIC_FACTOR, ReplicaNeed, ReplicaState
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.render.action import action_clauses, effect_time
from foreshock_dashboard.render.clause import Clause, Text, filled_text, in_sentence, in_words, place, text
from foreshock_dashboard.render.incident_summary import OVERLOADED
from foreshock_dashboard.render.units import counted, elapsed, estimate, headroom_ratio, load_percent, percent
from foreshock_dashboard.render.words.capacity import (
    BURN_UNITS,
    CAPACITY_TEXTS,
    LIMIT_METRICS,
    SAFE_LIMITS,
    SLOW_BURN_USE,
    SLOW_BURN_USES,
    SLOW_BURNS,
)

SHORTAGE_GRAIN_SECONDS, BURN_GRAIN_SECONDS = 600.0, 3600.0
"""Times are rounded to these: a forecast is no more exact."""
WEEKDAY_DAYS = 7
"""Days within which a weekday names a day."""
FULL_WEEKS_HOURS = 14 * 24.0
"""History from which a weekly pattern has been seen twice."""


def moment(at: float, now: float, grain: float = SHORTAGE_GRAIN_SECONDS, after: float | None = None) -> Clause:
    """A time with its day: `tomorrow at 10:40 UTC`. Scripts write it in the reader's time zone.

    at, now: Unix seconds. grain: seconds to which it is rounded. after: the moment before it in a sentence; on its day
    the time alone is written. A time that has come is `now`.
    """
    rounded = math.floor(at / grain + 0.5) * grain
    if rounded < now + grain / 2:
        return Clause(CAPACITY_TEXTS["now"])
    then, today = (datetime.fromtimestamp(seconds, UTC) for seconds in (rounded, now))
    known_day = datetime.fromtimestamp(after, UTC).date() if after is not None else None
    day = "" if then.date() == known_day else f"{_day(then, today)} {CAPACITY_TEXTS['at']} "
    return Clause(f"{day}{then:%H:%M} UTC", "moment", at=rounded)


def _day(then: datetime, today: datetime) -> str:
    """`today`, `tomorrow`, `Thursday`, `Dec 12`."""
    days = (then.date() - today.date()) // timedelta(days=1)
    if days <= 1:
        return CAPACITY_TEXTS["tomorrow" if days else "today"]
    return f"{then:%A}" if days < WEEKDAY_DAYS else f"{then:%b} {then.day}"


def shortage_text(shortage: Shortage, now: float) -> Text:
    """`llm-chat exceeds its hourly safe limit tomorrow at 10:40 UTC (80% interval 09:50 to 11:30 UTC) unless …`.

    `llm-chat may exceed …` where it only did on the last days. now: Unix seconds.
    """
    service = shortage.subject.service
    who = text(service) if service else text("Pool ", place(shortage.subject.pool))
    when = moment(shortage.at, now)
    is_recent = shortage.basis is ShortageBasis.RECENT
    verb = "may exceed" if is_recent else "exceeds"
    exceeds = text(who, f" {verb} its {SAFE_LIMITS[shortage.kind]} ", when)
    if not when.kind:
        return text(exceeds, ". " if shortage.replicas > 0 else "", *_remedy(shortage, is_order=True), ".")
    reason = text(f" ({CAPACITY_TEXTS['recent']})")
    interval = _interval(shortage.earliest, shortage.latest, when, now, SHORTAGE_GRAIN_SECONDS)
    unless = " unless " if shortage.replicas > 0 else ""
    return text(exceeds, reason if is_recent else interval, unless, *_remedy(shortage, is_order=False), ".")


def _interval(earliest: float, latest: float, when: Clause, now: float, grain: float) -> Text:
    """` (80% interval 09:50 to 11:30 UTC)`; empty where it is unknown."""
    if math.isnan(earliest):
        return ()
    first = moment(earliest, now, grain, when.at)
    if math.isinf(latest):
        return text(" (80% interval from ", first, ", or not at all in 7 days)")
    last = moment(latest, now, grain, first.at or when.at)
    return text(" (80% interval ", first._replace(text=first.text.removesuffix(" UTC")), " to ", last, ")")


def _remedy(shortage: Shortage, *, is_order: bool) -> Text:
    """`Add 2 replicas. Pool chat has room for only 1` as an order, else `2 replicas are added. …`; () if none."""
    if shortage.replicas <= 0:
        return ()
    of_service = shortage.subject.service is not None
    count = counted(shortage.replicas, "replica" if of_service else "GPU")
    if shortage.is_autoscaler_limited:
        most = f"from {shortage.max_replicas:g} to {shortage.ready + shortage.replicas:g} replicas"
        done = f"Raise its autoscaler's maximum {most}" if is_order else f"its autoscaler's maximum is raised {most}"
    else:
        done = f"Add {count}" if is_order else f"{count} {'is' if shortage.replicas == 1 else 'are'} added"
    if not of_service:
        return text(done)
    pool = text("pool ", place(shortage.subject.pool)) if shortage.subject.pool else text("its pool")
    if math.isnan(shortage.room):
        return text(done, ". Room in ", pool, " is unknown")
    pool = text("Pool ", place(shortage.subject.pool)) if shortage.subject.pool else text("Its pool")
    room = max(0, math.floor(shortage.room))
    if room >= shortage.replicas:
        return text(done, ". ", pool, f" has room for {'it' if shortage.replicas == 1 else 'them'}")
    if shortage.is_autoscaler_limited:
        return text(done, ". ", pool, f" has room for only {shortage.ready + room:g} in total")
    return text(done, ". ", pool, f" has room for only {room}" if room else " has no room")


def act_text(shortage: Shortage, now: float) -> Text:
    """`Add by today at 09:40 UTC: a replica takes 8 min to start.`; empty where unknown. The time is rounded down."""
    if math.isnan(shortage.provisioning_seconds) or shortage.replicas <= 0:
        return ()
    start, at = elapsed(shortage.provisioning_seconds), moment(shortage.act_by - SHORTAGE_GRAIN_SECONDS / 2, now)
    order = "Raise it" if shortage.is_autoscaler_limited else "Add"
    return text(f"{order} by " if at.kind else f"{order} ", at, f": a replica takes {start} to start.")


def peak_text(shortage: Shortage, now: float) -> Text:
    """`Forecast peak: 15% above the hourly safe limit, tomorrow at 14:40 UTC.`; empty for a pool: no load."""
    if shortage.subject.service is None or not shortage.peak > shortage.safe > 0:
        return ()
    above = f"{shortage.peak / shortage.safe - 1:.0%}"
    limit = SAFE_LIMITS[shortage.kind]
    return text(f"Forecast peak: {above} above the {limit}, ", moment(shortage.peak_at, now), ".")


def slow_burn_name(burn: SlowBurn) -> Text:
    """`Host memory of host-3`, `Error budget of cart (latency, 30 days)`, `Certificate for shop.example.com`."""
    days = "" if math.isnan(burn.period_seconds) else f", {counted(round(burn.period_seconds / DAY_SECONDS), 'day')}"
    detail = f"{burn.name}{days}"
    of = text(burn.service, f" ({detail})" if detail else "") if burn.service else text(place(burn.name))
    link = "for" if burn.kind in (SlowBurnKind.CERTIFICATE, SlowBurnKind.QUEUE) else "of"
    return text(f"{SLOW_BURNS[burn.kind][0]} {link} ", of)


def slow_burn_figures(burn: SlowBurn) -> str:
    """`Used: 78%, +10 pp per day`; "" for a certificate, which has none."""
    if burn.kind is SlowBurnKind.CERTIFICATE:
        return ""
    label = SLOW_BURN_USES.get(burn.kind, SLOW_BURN_USE)
    if burn.kind in BURN_UNITS:
        return f"{label}: {estimate(burn.value)}, +{estimate(burn.growth * 3600)} per hour"
    return f"{label}: {percent(burn.value)}, +{percent(burn.growth * DAY_SECONDS).replace('%', ' pp')} per day"


def slow_burn_text(burn: SlowBurn, now: float, *, with_interval: bool = True) -> Text:
    """`Host memory of host-3 fills up Thursday at 14:00 UTC (80% interval …).`.

    `Error budget of cart (latency, 30 days) runs out …`, `Certificate for shop.example.com expired 2 d ago.`
    """
    what, happens = slow_burn_name(burn), SLOW_BURNS[burn.kind][1]
    when = moment(burn.at, now, BURN_GRAIN_SECONDS)
    is_range = with_interval and when.kind and burn.earliest < burn.latest
    interval = _interval(burn.earliest, burn.latest, when, now, BURN_GRAIN_SECONDS) if is_range else ()
    if burn.kind is SlowBurnKind.CERTIFICATE and burn.at < now:
        return text(what, f" {CAPACITY_TEXTS['expired']} {elapsed(now - burn.at)} ago.")
    return text(what, f" {happens} ", when, interval, ".")


def headline(forecast: CapacityForecast, now: float) -> Text:
    """The first shortage, that there is none, or why there is no forecast, and when to expect it."""
    if reason := no_forecast(forecast):
        return text(reason, *_expected(forecast, now))
    if forecast.shortages:
        return shortage_text(forecast.shortages[0], now)
    return text("No shortage in the next 7 days.")


def headroom_text(service: Service, load: float, safe: float) -> Text:
    """`chat is 7% above its safe limit: load 81% (safe limit 76%).`; `… has the least headroom, 57%: …` below it.

    By how much load exceeds the capacity is not said, as in `load_percent`.
    """
    over = -headroom_ratio(load, safe)
    points = math.floor(100 * abs(over) + 0.5)  # as a script rounds it in the table
    state = f"is {points}% above its safe limit" if over > 0 else f"has the least headroom, {points}%"
    state = OVERLOADED if load > 1 else state if points else "is at its safe limit"
    return text(service, f" {state}: load {load_percent(load)} (safe limit {percent(safe)}).")


def closest_text(service: Service, kind: LoadKind, share: float, at: float, now: float) -> Text:
    """`llm-chat comes closest: peak 92% of its hourly safe limit, tomorrow at 14:40 UTC.`

    share: peak over the safe limit. at: time of the peak, Unix seconds.
    """
    return text(service, f" comes closest: peak {percent(share)} of its {SAFE_LIMITS[kind]}, ", moment(at, now), ".")


def measured_peak(seconds: float, *, is_since_start: bool) -> str:
    """What a measured peak is of. seconds: that it covers. is_since_start: the data is no longer than that."""
    if is_since_start:
        return f"the peak since the start of data ({elapsed(seconds)})"
    return f"the peak of the last {elapsed(seconds)}"


def unlearned_text(reported: Sequence[bool]) -> str:
    """Why a safe limit is not learned, in words. reported: whether each of `LIMIT_METRICS` has samples."""
    missing = [name for name, known in zip(LIMIT_METRICS, reported, strict=True) if not known]
    if missing:
        return filled_text(CAPACITY_TEXTS["no_limit_metrics"], metrics=", ".join(missing))
    return CAPACITY_TEXTS["no_load_range"]


def need_text(
    state: ReplicaState, need: ReplicaNeed, peak: str, *, is_over: bool = False, is_forecast: bool = False
) -> Text:
    """`Add 1 replica now (4 → 5) for this peak: pool chat has room for 1. At traffic x 1.3: add 2 (pool is 1 short). …`

    Where nothing is to add, that the ready ones are enough; an unknown need is left out. peak: what the need is of.
    is_over: the load of now is above the safe limit. is_forecast: the peak is to come; until then, an autoscaler may
    start replicas.
    """
    here = state.added_for(need.peak)
    if math.isnan(here.added):
        ready = f"{state.ready:.0f} ready" if math.isfinite(state.ready) else CAPACITY_TEXTS["unknown"]
        needed = f" Needed for {peak}: {need.peak:.0f}." if math.isfinite(need.peak) else ""
        return text(f"Replicas: {ready}.{needed} ", _room(state, is_start=True), ".")
    if here.added:
        said = text(
            _order(state, need, is_over=is_over, is_forecast=is_forecast),
            f" for {peak}: ",
            _room(state, only=here.short > 0),
            ".",
        )
    else:
        are = "replica is" if state.ready == 1 else "replicas are"
        said = text(f"{state.ready:.0f} ready {are} enough for {peak}. ", _room(state, is_start=True), ".")
    cases = (
        (f"At traffic x {MORE_TRAFFIC_FACTOR:g}", state.added_for(need.more_traffic)),
        ("With one host lost at the peak", state.added_for(need.host_lost)),
    )
    least = "at least " if need.is_lower_bound else ""
    for case, more in cases:
        if more.added > 0:
            short = f" (pool is {more.short:.0f} short)" if more.short > 0 else ""
            said = text(said, f" {case}: add {least}{more.added:.0f}{short}.")
        elif math.isfinite(more.added):
            said = text(said, f" {case}: {state.ready:.0f} are enough.")
    return said


def until_ready_text(actions: Sequence[Action]) -> Text:
    """`Until new replicas are ready (within 7 min), rate-limit front to 5 req/s, which takes effect within 1 min.`

    actions: of an incident, the first one first. Empty where that one adds replicas, is too late, takes effect no
    sooner than they, or has an unknown time to effect.
    """
    replicas = next((action for action in actions if action.kind == "add_replicas"), None)
    soonest = replicas.effective_seconds if replicas else math.inf
    if not actions or actions[0] is replicas or actions[0].too_late or actions[0].effective_seconds >= soonest:
        return ()
    when, ready = effect_time(actions[0]), effect_time(replicas) if replicas else ""
    if not when:
        return ()
    verb, *rest = action_clauses(actions[0])
    start = f"Until new replicas are ready{f' ({ready})' if ready else ''}, "
    return text(start, verb._replace(text=in_sentence(verb.text)), *rest, f", which takes effect {when}.")


def _order(state: ReplicaState, need: ReplicaNeed, *, is_over: bool, is_forecast: bool) -> str:
    """`Add at least 1 replica now (4 → 5)`; that an autoscaler's maximum is raised, below which it undoes replicas.

    `Its autoscaler may start 1 more replica (4 → 5)` for a peak to come: nothing is to do.
    """
    now = f" {CAPACITY_TEXTS['now']}" if is_over else ""
    least = "at least " if need.is_lower_bound else ""
    if state.max_replicas < need.peak:
        return f"Raise its autoscaler's maximum from {state.max_replicas:g} to {least}{need.peak:g} replicas{now}"
    count, change = round(need.peak - state.ready), f"({state.ready:.0f} → {need.peak:.0f})"
    if is_forecast and state.max_replicas >= need.peak:
        return f"Its autoscaler may start {counted(count, 'more replica')} {change}"
    return f"Add {least}{counted(count, 'replica')}{now} {change}"


def _room(state: ReplicaState, *, only: bool = False, is_start: bool = False) -> Text:
    """`pool chat has room for only 1`, `Pool chat has no room`. only: it is less than what is to add."""
    first = str.capitalize if is_start else str
    if math.isnan(state.room):
        pool = text("pool ", place(state.pool)) if state.pool else text("its pool")
        return text(f"{first('room')} in ", pool, " is unknown")
    pool = text(first("pool "), place(state.pool)) if state.pool else text(first("its pool"))
    count = f"for {'only ' if only else ''}{state.room:.0f}{' more' if is_start else ''}"
    return text(pool, f" has room {count}" if state.room > 0 else " has no room")


def case_text(traffic: float, lost: str, move: Move | None = None) -> str:
    """`What if: traffic x 1.3, host-3 lost, 2 replicas of llm-chat moved to pool batch. This is not the forecast.`

    "" for the forecast itself.
    """
    parts = [f"traffic x {traffic:g}"] if traffic != 1.0 else []
    parts += [f"{in_words(lost)} lost"] if lost else []
    if move is not None:
        count = "all replicas" if math.isinf(move.replicas) else counted(int(move.replicas), "replica")
        parts.append(f"{count} of {in_words(move.service)} moved to pool {in_words(move.pool)}")
    return f"What if: {', '.join(parts)}. This is not the forecast." if parts else ""


def gone_text(subject: Subject) -> Text:
    """`llm-chat has no replicas left.`, `Pool chat has no GPUs left.`."""
    if subject.service:
        return text(subject.service, " has no replicas left.")
    return text("Pool ", place(subject.pool), " has no GPUs left.")


def no_forecast(forecast: CapacityForecast) -> str:
    """Why there is no forecast, and the remedy; "" if there is one."""
    if forecast.loads:
        return ""
    if forecast.error:
        return f"No forecast: {forecast.error}"
    if math.isnan(forecast.computed_at):
        return (
            f"No forecast yet. The first one is being computed (needs at least {MIN_HISTORY_HOURS:.0f} h of history)."
        )
    if not forecast.is_known:
        have = f"{forecast.history_hours:.0f} h" if forecast.history_hours >= 1 else "less than 1 h"
        return f"No forecast yet: {have} of history, {MIN_HISTORY_HOURS:.0f} h needed."
    return "No forecast: no service reports its load. Send spans, or scrape the model servers."


def _expected(forecast: CapacityForecast, now: float) -> Text:
    """` It is expected today at 14:00 UTC.`; empty where more than time is missing, or where that time has passed."""
    at = forecast.computed_at + (MIN_HISTORY_HOURS - forecast.history_hours) * 3600.0
    if forecast.error or forecast.is_known or not forecast.history_hours > 0 or at < now:
        return ()
    return text(" It is expected ", moment(at, now, BURN_GRAIN_SECONDS), ".")


def quality_notes(forecast: CapacityForecast, now: float) -> tuple[Text, ...]:
    """What limits the forecast: its age after a failure, unread data, and a short history. now: Unix seconds."""
    notes = []
    if forecast.loads and forecast.error:
        notes.append(text(f"The forecast is {elapsed(now - forecast.computed_at)} old: {forecast.error}"))
    if forecast.loads and forecast.history_hours < FULL_WEEKS_HOURS:
        have = elapsed(forecast.history_hours * 3600)
        notes.append(text(f"Based on {have} of history; weekly patterns need 14 d."))
    if forecast.slow_burns_error:
        notes.append(text(f"Slow burns may be missing: {forecast.slow_burns_error}"))
    return tuple(notes)
