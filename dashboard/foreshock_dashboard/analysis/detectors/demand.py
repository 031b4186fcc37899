"""More is asked of a service than usual: who asks for it.

Offered is not served: what counts are first attempts, without the retries of anybody on the way, or else an overload
would look like its own cause. Of a language model it is tokens: requests differ in length more than tokens in number.
Growth is followed upstream by its share, not by correlation: everything that shares the common demand correlates with
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import SMOOTHING_POINTS, Scan
from foreshock_dashboard.analysis.baseline.retry_amplification import (
    WINDOW_SECONDS,
    RequestRates,
    mean_over_time,
    request_rates,
)
from foreshock_dashboard.analysis.baseline.signals import Key, model_servers
from foreshock_dashboard.analysis.detectors.client_timeout import abandoned_work
from foreshock_dashboard.analysis.detectors.evidence import evidence_of, onset, slowdown_confidence
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.request_size import request_size_growth
from foreshock_dashboard.analysis.remediation.rate_limit import against_growth, ahead_of_recurring_load
from foreshock_dashboard.analysis.saturation.overload import has_lasting_reason, is_overloaded, is_overloading
from foreshock_dashboard.model.incident import Culprit, Evidence
from foreshock_dashboard.model.seasonality import SeasonalGrowth
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.nnls import nonnegative_weights
from foreshock_dashboard.stats.robust import median
from foreshock_dashboard.stats.threshold import Threshold

TOKEN_GROWTH = Threshold(1.2, 0.04)
"""Growth of tokens that is as likely one as not, and the width of the doubt: over three minutes they scatter by 4…9 %
of themselves."""
REQUEST_GROWTH = Threshold(1.3, 0.08)
"""The same of requests, which scatter by up to a quarter of themselves."""
MIN_STANDARD_ERRORS = 2.0
"""Standard errors of a count, √n of n, that growth is to be beyond."""
LENGTH_VARIANCE = 2.0
"""By how much more the tokens of n requests vary than their number: 1 + the squared coefficient of variation of
lengths, which is about one."""
FULL_KV_CACHE = Threshold(0.55, 0.06)
"""KV cache in use, mean of minutes, from which the bursts of people fill it up (their peak is 1.4…1.8 times the mean of
minutes, ServeGen), and the width of the doubt."""
GROWTH_WINDOW_SECONDS = 900.0
"""Seconds in which the growth may have come."""
RECENT_SECONDS = 180.0
"""Seconds of these in which it is counted: in an overload calls are counted when they are over."""
ROUTING_SECONDS = 3600.0
"""Seconds from which it is learned whose requests a caller hands on where."""
RIDGE_PENALTY = 0.002
"""Penalty of that regression, small because both sides are counts of the same calls."""
RECENT_ROUTING_SECONDS, RECENT_RIDGE_PENALTY = 300.0, 0.1
"""Seconds from which it is learned what is different by now, and how much that is drawn towards the hour's."""
UNEXPECTED_STRENGTH = 0.5
"""Strength of growth over what this time of the week brings, from which that does not explain it."""
BASE_RATE_SHARE = 0.05
"""Part of its rate that a caller without growth counts for, so that growth of length, not of number, has an origin."""


class LoadOrigin(NamedTuple):
    """The service that those outside ask, and its share 0…1 of what was followed there."""

    service: Service
    share: float


class LoadGrowth(NamedTuple):
    """What is asked of a service over what is usual. signal: the one that tells it."""

    ratio: float
    strength: float
    signal: str


def demand(scan: Scan) -> tuple[Finding, ...]:
    """Services of which more is asked than usual, and that suffer from it or are close to what they can do.

    Growth that comes at this time of the week is nobody's doing: it explains only what nothing else does, and there it
    is not the load that is out of the ordinary, but too few replicas for it.
    """
    load = request_rates(scan)
    growth = edge_growth(scan, load)
    found = []
    for service in _candidates(scan):
        rows, habit = scan.into.get(service, ()), scan.world.season.of(service, scan.time)
        more = load_growth(scan, service, load, rows)
        expected = (
            habit.growth > 1.0 and load_growth(scan, service, load, rows, habit.growth).strength < UNEXPECTED_STRENGTH
        )
        if more.strength < 0.1:
            continue
        strength = min(more.strength, max(slowdown_confidence(scan, service), near_capacity(scan, service)))
        if strength < 0.1:
            continue
        whose = growth if more.signal == "rate" else growth + scan.memo(request_size_growth)
        who = service if expected else load_origin(scan, service, whose).service
        found.append(
            Finding(
                service=service,
                cause="demand",
                culprit=Culprit(who),
                strength=strength,
                severity=more.ratio,
                since=onset(scan, more.signal, service),
                evidence=(*_evidence(scan, service, more, load, rows), *_habit(scan, service, habit)),
                action=ahead_of_recurring_load(scan, service, habit)
                if expected
                else against_growth(scan, service, who, more.ratio),
                expected=expected,
            )
        )
    return tuple(found)


def _habit(scan: Scan, service: Service, habit: SeasonalGrowth) -> tuple[Evidence, ...]:
    """Growth of requests, and what it usually is at this time, where that is known."""
    now = scan.ratio("rate", service)
    if not (habit.growth > 1.0 and math.isfinite(now)):
        return ()
    return (Evidence("requests over those of two hours before", now, habit.growth, "", habit.since, str(service)),)


def _candidates(scan: Scan) -> list[Service]:
    """Services that anything at all grew at: a look at all of them at once."""
    seen: set[Key] = set()
    for name in ("rate", "flight", "tokens", "running"):
        now = scan[name]
        keys = list(now.keys)
        seen.update(keys[row] for row in np.flatnonzero(now.ratio > 1.05))
    return [service for service in scan.world.services if service in seen]


def load_growth(
    scan: Scan, service: Service, load: RequestRates, rows: Sequence[int], habit: float = 1.0
) -> LoadGrowth:
    """What is really asked of a service over what is usual, by tokens where they are counted.

    Both are counted when they are done; what model servers have at once tells of a crowd that has only just come, and
    by what it fell, of what was asked earlier. habit: how many times the usual of the last hours this time of the week
    brings.
    """
    if came := _came(scan, service) / habit:
        return LoadGrowth(came, REQUEST_GROWTH.confidence(came), "running")
    rows = list(rows)
    real = min(1.0, load.real(rows)) if rows else 1.0
    real = 1.0 if math.isnan(real) else real
    late = scan.memo(drained_shares).get(service, 0.0)
    ratio = scan.ratio("tokens", service) * (1 - late) * real / habit
    if math.isfinite(ratio):
        return LoadGrowth(ratio, TOKEN_GROWTH.confidence(ratio - _scatter(scan, service)), "tokens")
    ratio = (load.growth(rows) if rows else _requests(scan, service)) * (1 - late) / habit
    usual = float(np.nansum(load.usual[rows])) if rows else scan.level("rate", service)
    chance = MIN_STANDARD_ERRORS / math.sqrt(usual * WINDOW_SECONDS) if usual > 0 else math.nan
    return LoadGrowth(ratio, REQUEST_GROWTH.confidence(ratio - chance), "rate")


def _scatter(scan: Scan, service: Service) -> float:
    """By how much the tokens of few requests grow by chance beyond what `TOKENS` allows for, as a part of the usual."""
    requests = scan.level("rate", service) * WINDOW_SECONDS
    return (
        max(0.0, MIN_STANDARD_ERRORS * math.sqrt(LENGTH_VARIANCE / requests) - (TOKEN_GROWTH.midpoint - 1))
        if requests > 0
        else 0.0
    )


def _came(scan: Scan, service: Service) -> float:
    """Load of this moment over the usual, where model servers have more than they carry for no other reason; else 0."""
    strain = scan.utilizations.get(service)
    if strain is None or not strain.usual > 0 or not is_overloaded(strain) or has_lasting_reason(scan, service, strain):
        return 0.0
    return strain.loads[0] / strain.usual * (1 - abandoned_work(scan, service))


def drained_shares(scan: Scan) -> Mapping[Service, float]:
    """The share 0…1 of what each service did in the last `MINUTES` that had been asked of it before; where it is any.

    What comes is what is finished and what more is there (flow conservation): once capacity is back, model servers work
    off their queue faster than anybody asks, and whoever waits for them is done as fast, by its part that calls them.
    """
    told = model_servers(scan.world)
    window = slice(max(0, scan.at + 1 - round(WINDOW_SECONDS / scan.world.step)), scan.at + 1)
    finished = mean_over_time(told.finished[:, window]) * WINDOW_SECONDS
    there = told.running[:, window] + np.nan_to_num(told.waiting[:, window])
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.minimum(1.0, (median(there[:, :SMOOTHING_POINTS]) - median(there[:, -SMOOTHING_POINTS:])) / finished)
    found = {service: float(part[row]) for row, service in enumerate(told.services) if part[row] > 0}
    reached = list(found)
    for service in reached:
        for row in scan.into.get(service, ()):
            edge = scan.world.edges[row]
            calls, rate = scan.value("edge_rate", edge), scan.value("rate", edge.client)
            share = found[service] * min(1.0, calls / rate) if rate > 0 and math.isfinite(calls) else 0.0
            if edge.client not in scan.models and share > found.get(edge.client, 0.0):
                found[edge.client] = share
                reached.append(edge.client)
    return found


def _requests(scan: Scan, service: Service) -> float:
    row, level = scan["rate"].keys.get(service), scan.level("rate", service)
    if row is None or not level > 0:
        return math.nan
    first = max(0, scan.at + 1 - round(WINDOW_SECONDS / scan.world.step))
    return float(mean_over_time(scan.world.red.rate[row : row + 1, first : scan.at + 1])[0]) / level


def near_capacity(scan: Scan, service: Service) -> float:
    """How sure it is that a model server is so full that a burst fills it, 0…1, by its load or its KV cache."""
    if is_overloading(scan, service):
        return 1.0
    row = scan.models.get(service)
    if row is None:
        return 0.0
    first = max(0, scan.at + 1 - round(WINDOW_SECONDS / scan.world.step))
    return FULL_KV_CACHE.confidence(
        float(mean_over_time(model_servers(scan.world).cache[row : row + 1, first : scan.at + 1])[0])
    )


def edge_growth(scan: Scan, load: RequestRates) -> Floats:
    """Calls per second by which each edge grew, shape (edges,): over what is usual, and over its low of late.

    Half of either: people come in waves, and what grows out of a trough is no less the reason for the load that grows
    with it. The largest of the last `LATE` seconds counts, as in an overload calls are counted when they have failed.
    """
    means = windowed_means(scan.world.calls.rate, scan.world.attempts, scan.at, scan.world.step)
    lows = np.fmin.accumulate(means, axis=1)
    late = slice(-max(1, round(RECENT_SECONDS / (WINDOW_SECONDS / 2))), None)
    with np.errstate(invalid="ignore"):
        climb = np.fmax.reduce((means - lows)[:, late], axis=1)
        more = np.fmax.reduce(means[:, late], axis=1) - load.usual
    grown: Floats = np.maximum(np.nan_to_num(climb), 0.0) + np.maximum(np.nan_to_num(more), 0.0)
    return grown / 2 + BASE_RATE_SHARE * np.nan_to_num(load.first)


def windowed_means(rate: Floats, attempts: Floats, at: int, step: float) -> Floats:
    """Means over `MINUTES` of first attempts per second, up to `at`, oldest first; shape (edges, windows), NaN if none.

    They overlap by half and reach back `BACK` seconds.
    """
    points = max(1, round(WINDOW_SECONDS / step))
    ends = range(at + 1, max(0, at + 1 - round(GROWTH_WINDOW_SECONDS / step)), -max(1, points // 2))
    windows = [slice(max(0, end - points), end) for end in reversed(ends)]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [mean_over_time(rate[:, each] / np.fmax(attempts[:, each], 1.0)) for each in windows]
    return np.stack(means, axis=1)


def load_origin(scan: Scan, service: Service, growth: Floats) -> LoadOrigin:
    """Walk up to the service that only those outside ask, at each step to the caller that most of the growth is from.

    growth: shape (edges,). Of several who call the same, each counts by its growth times the calls further on that go
    with one of its own: a gateway hands on the requests of many.
    """
    edges = scan.world.edges
    share, seen, before = 1.0, {service}, -1
    while True:
        rows = [row for row in scan.into.get(service, ()) if edges[row].client not in seen and growth[row] > 0]
        if not rows:
            return LoadOrigin(service, share)
        parts = growth[rows] if before < 0 or len(rows) == 1 else growth[rows] * forwarded_calls(scan, before, rows)
        parts = parts if parts.sum() > 0 else growth[rows]
        before = rows[int(np.argmax(parts))]
        share *= float(parts.max() / parts.sum())
        if edges[before].connection == "virtual_node":
            return LoadOrigin(service, share)
        service = edges[before].client
        seen.add(service)


def forwarded_calls(scan: Scan, row: int, callers: Sequence[int]) -> Floats:
    """Calls on the edge `row` that go with one call on each of the edges `callers`, by regression; shape (callers,).

    First attempts of either. Each caller counts by its own size, or what the least of them hands on would be lost.
    Where the last hour does not tell, all hand on as much of what they ask; where the last minutes tell otherwise than
    the hour, somebody asks for something else by now: those outside ask a gateway for many things.
    """
    window = slice(max(0, scan.at + 1 - round(ROUTING_SECONDS / scan.world.step)), scan.at + 1)
    first = scan.world.calls.rate[[row, *callers], window] / np.fmax(scan.world.attempts[[row, *callers], window], 1.0)
    mine, theirs = first[0], np.nan_to_num(first[1:].T)
    known = np.isfinite(mine)
    alike = mine[known].sum() / max(theirs[known].sum(), 1e-9)
    usual = _share(mine, theirs, RIDGE_PENALTY, np.full(len(callers), alike))
    late = slice(-max(1, round(RECENT_ROUTING_SECONDS / scan.world.step)), None)
    return _share(mine[late], theirs[late], RECENT_RIDGE_PENALTY, usual)


def _share(mine: Floats, theirs: Floats, ridge: float, supposed: Floats) -> Floats:
    """Weights of callers, each in units of its own size."""
    size = np.sqrt(np.square(theirs).mean(axis=0))
    size[size == 0] = 1.0
    found: Floats = nonnegative_weights(mine, theirs / size, ridge, supposed * size) / size
    return found


def _evidence(
    scan: Scan, service: Service, more: LoadGrowth, load: RequestRates, rows: Sequence[int]
) -> tuple[Evidence, ...]:
    most = sorted(rows, key=lambda row: -np.nan_to_num(load.fresh[row] - load.usual[row]))[:2]
    edges = [evidence_of(scan, "edge_rate", scan.world.edges[row]) for row in most]
    return (evidence_of(scan, more.signal, service), *edges)
