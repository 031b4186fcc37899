"""Overload: a service has more load than at baseline, and the service where that load enters.

Offered load counts, not served: first attempts without any retries on the way, or an overload would look like its own
cause. For language models load is tokens: requests differ more in length than tokens do in number. Growth is followed
upstream by its share, not by correlation: everything that shares the load correlates with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.carried_load import beyond_carried
from foreshock_dashboard.analysis.baseline.counts import MIN_STANDARD_ERRORS
from foreshock_dashboard.analysis.baseline.point import SMOOTHING_POINTS, EvaluationPoint, smoothing_points
from foreshock_dashboard.analysis.baseline.retry_amplification import (
    WINDOW_SECONDS,
    RequestRates,
    edge_ends,
    request_rates,
)
from foreshock_dashboard.analysis.baseline.signals import Key, model_servers
from foreshock_dashboard.analysis.detectors.client_timeout import abandoned_work
from foreshock_dashboard.analysis.detectors.finding import (
    MIN_STRENGTH,
    Finding,
    evidence_of,
    onset,
    slowdown_confidence,
)
from foreshock_dashboard.analysis.remediation.actions import against_growth, ahead_of_recurring_load
from foreshock_dashboard.analysis.saturation.safe_limits import has_lasting_reason, is_overloaded, is_overloading
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.nnls import nonnegative_weights
from foreshock_dashboard.stats.robust import median, nan_mean
from foreshock_dashboard.stats.threshold import Threshold

TOKEN_GROWTH = Threshold(1.2, 0.04)
"""Tokens over their baseline; means of three minutes scatter by 4% to 9%."""
OVERLOAD_REQUEST_GROWTH = Threshold(1.3, 0.08)
"""Requests over their baseline from which load grew; they scatter by up to a quarter."""
LENGTH_VARIANCE = 2.0
"""Variance of the tokens of n requests over that of n: 1 + the squared coefficient of variation of lengths, about one.
"""
OVERLOAD_KV_CACHE_RATIO = Threshold(0.55, 0.06)
"""Ratio of the KV cache in use, mean of minutes, from which bursts fill it: peaks are 1.4 to 1.8 times that mean
(ServeGen)."""
GROWTH_WINDOW_SECONDS = 900.0
"""Seconds within which the growth may have begun."""
RECENT_SECONDS = 180.0
"""Seconds of these in which growth is counted: in an overload calls are counted when they end."""
ROUTING_SECONDS = 3600.0
"""Seconds of history from which forwarding of calls is learned."""
RIDGE_PENALTY = 0.002
"""Ridge penalty of that regression; small, as both sides count the same calls."""
RECENT_ROUTING_SECONDS, RECENT_RIDGE_PENALTY = 300.0, 0.1
"""Seconds from which recent changes of forwarding are learned, and how far these are drawn to the hour's."""
UNEXPECTED_STRENGTH = 0.5
"""Strength of the growth over the seasonal one, from which the season does not explain it."""
BASE_RATE_SHARE = 0.05
"""Share of its rate by which a caller without growth counts, so that longer requests have an origin too."""
OWN_GROWTH = 1.15
"""Slowdown of one caller over that common to all, from which its requests are larger."""
MIN_Z = 2.0
"""Scales above the baseline below which a slowdown is noise."""


class ShownGrowth(NamedTuple):
    """Load of a service over its baseline, the confidence in growth, and the signal that shows it."""

    ratio: float
    strength: float
    signal: str


def overload(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services with more load than at baseline that are slower, or near capacity.

    Seasonal growth has no suspected cause: it explains only what nothing else does, and then replicas are missing.
    """
    load, growth = point.memo(request_rates), point.memo(edge_growth)
    for service in _candidates(point):
        rows, season = point.incoming.get(service, []), point.world.season.of(service, point.time)
        more = load_growth(point, service, load, rows)
        strength = min(more.strength, max(slowdown_confidence(point, service), near_capacity(point, service)))
        if strength < MIN_STRENGTH:
            continue
        unexpected = load_growth(point, service, load, rows, season.growth).strength >= UNEXPECTED_STRENGTH
        expected = season.growth > 1.0 and not unexpected
        growth_by_edge = growth if more.signal == "rate" else growth + point.memo(request_size_growth)
        client = service if expected else load_origin(point, service, growth_by_edge)
        fastest = sorted(rows, key=lambda row: -np.nan_to_num(load.fresh[row] - load.baseline[row]))[:2]
        evidence = [evidence_of(point, more.signal, service)]
        evidence += [evidence_of(point, "edge_rate", point.world.edges[row]) for row in fastest]
        if season.growth > 1.0 and math.isfinite(now := point.ratio("rate", service)):
            text = "request rate over that of two hours before"
            evidence.append(Evidence(text, now, season.growth, "", season.since, str(service)))
        yield Finding(
            service=service,
            cause="overload",
            suspect=SuspectedCause(client),
            strength=strength,
            severity=more.ratio,
            since=onset(point, more.signal, service),
            evidence=tuple(evidence),
            actions=ahead_of_recurring_load(point, service, season)
            if expected
            else against_growth(point, service, client, more.ratio),
            expected=expected,
        )


def _candidates(point: EvaluationPoint) -> list[Service]:
    """Services of which any load signal grew."""
    grown: set[Key] = set()
    for signal in (point[name] for name in ("rate", "flight", "tokens", "running")):
        keys = list(signal.keys)
        grown.update(keys[row] for row in np.flatnonzero(signal.ratio > 1.05))
    return [service for service in point.world.services if service in grown]


def load_growth(
    point: EvaluationPoint, service: Service, load: RequestRates, rows: Sequence[int], season: float = 1.0
) -> ShownGrowth:
    """Offered load of a service over its baseline, by tokens where these are counted.

    Tokens and requests are counted when they end. The concurrency of model servers shows a crowd before that, and its
    decrease the load that was offered earlier. season: seasonal growth over the last hours.
    """
    if growth := _overload_growth(point, service) / season:
        return ShownGrowth(growth, OVERLOAD_REQUEST_GROWTH.confidence(growth), "running")
    real = min(1.0, load.real(rows)) if rows else 1.0
    offered_now = 1 - point.memo(drained_shares).get(service, 0.0)
    ratio = point.ratio("tokens", service) * offered_now * (1.0 if math.isnan(real) else real) / season
    if math.isfinite(ratio):
        return ShownGrowth(ratio, TOKEN_GROWTH.confidence(ratio - _scatter(point, service)), "tokens")
    ratio = (load.growth(rows) if rows else _requests(point, service)) * offered_now / season
    baseline = float(np.nansum(load.baseline[rows])) if rows else point.level("rate", service)
    chance = MIN_STANDARD_ERRORS / math.sqrt(baseline * WINDOW_SECONDS) if baseline > 0 else math.nan
    strength = min(OVERLOAD_REQUEST_GROWTH.confidence(ratio - chance), beyond_carried(point, service))
    return ShownGrowth(ratio, strength, "rate")


def _scatter(point: EvaluationPoint, service: Service) -> float:
    """Scatter of tokens of few requests beyond `TOKEN_GROWTH`, as a ratio of the baseline."""
    requests = point.level("rate", service) * WINDOW_SECONDS
    if not requests > 0:
        return 0.0
    return max(0.0, MIN_STANDARD_ERRORS * math.sqrt(LENGTH_VARIANCE / requests) - (TOKEN_GROWTH.midpoint - 1))


def _overload_growth(point: EvaluationPoint, service: Service) -> float:
    """Current load over its baseline for overloaded model servers without another reason; else 0."""
    utilization = point.utilizations.get(service)
    if (
        utilization is None
        or not utilization.baseline > 0
        or not is_overloaded(utilization)
        or has_lasting_reason(point, service, utilization)
    ):
        return 0.0
    return utilization.loads[0] / utilization.baseline * (1 - abandoned_work(point, service))


def drained_shares(point: EvaluationPoint) -> Mapping[Service, float]:
    """Share (0 to 1) of the work of the last minutes that had been offered before, by service, where there is any.

    Offered load is what finished plus the growth of what is in progress (flow conservation). Once capacity is back,
    model servers drain their queue faster than requests arrive, and their callers finish as fast, by the share of their
    requests that calls them. The largest shares are final first, since a caller's is never larger than its callee's.
    """
    servers, window = model_servers(point.world), point.window(WINDOW_SECONDS)
    finished = nan_mean(servers.finished[:, window]) * WINDOW_SECONDS
    there = servers.running[:, window] + np.nan_to_num(servers.waiting[:, window])
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.minimum(1.0, (median(there[:, :SMOOTHING_POINTS]) - median(there[:, -SMOOTHING_POINTS:])) / finished)
    shares = {service: float(part[row]) for row, service in enumerate(servers.services) if part[row] > 0}
    largest = [(-share, service) for service, share in shares.items()]
    heapify(largest)
    edges, edge_rate, incoming = point.world.edges, point["edge_rate"].value, point.incoming
    while largest:
        known, service = heappop(largest)
        for row in incoming.get(service, ()) if shares[service] == -known else ():
            client, calls = edges[row].client, edge_rate.item(row)
            rate = point.value("rate", client)
            share = shares[service] * min(1.0, calls / rate) if rate > 0 and math.isfinite(calls) else 0.0
            if client not in point.models and share > shares.get(client, 0.0):
                shares[client] = share
                heappush(largest, (-share, client))
    return shares


def _requests(point: EvaluationPoint, service: Service) -> float:
    row, level = point["rate"].keys.get(service), point.level("rate", service)
    if row is None or not level > 0:
        return math.nan
    return float(nan_mean(point.world.red.rate[[row], point.window(WINDOW_SECONDS)])[0]) / level


def near_capacity(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that a burst fills a model server, by its load or its KV cache."""
    if is_overloading(point, service):
        return 1.0
    row = point.models.get(service)
    if row is None:
        return 0.0
    cache = nan_mean(model_servers(point.world).cache[[row], point.window(WINDOW_SECONDS)])
    return OVERLOAD_KV_CACHE_RATIO.confidence(float(cache[0]))


def edge_growth(point: EvaluationPoint) -> Floats:
    """Growth of each edge in calls per second, shape (edges,): over its baseline and over its recent low.

    Half of each: load comes in waves, and what grows out of a trough is as much a reason. The largest of the last
    `RECENT_SECONDS` counts, as in an overload calls are counted when they fail. So does the current rate: a crowd fills
    model servers before it shows in a mean of minutes.
    """
    world, end, load = point.world, point.column + 1, point.memo(request_rates)
    points = world.points(WINDOW_SECONDS)
    ends = range(end, max(0, end - world.points(GROWTH_WINDOW_SECONDS)), -max(1, points // 2))  # half overlapping
    windows = [slice(max(0, last - points), last) for last in reversed(ends)]
    windows.append(slice(max(0, end - smoothing_points(world)), end))
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = [nan_mean(world.calls.rate[:, past] / np.fmax(world.attempts[:, past], 1.0)) for past in windows]
    means = np.stack(rates, axis=1)
    lows = np.fmin.accumulate(means, axis=1)
    late = slice(-max(1, round(RECENT_SECONDS / (WINDOW_SECONDS / 2))) - 1, None)
    with np.errstate(invalid="ignore"):
        climb = np.fmax.reduce((means - lows)[:, late], axis=1)
        more = np.fmax.reduce(means[:, late], axis=1) - load.baseline
    growth: Floats = np.maximum(np.nan_to_num(climb), 0.0) + np.maximum(np.nan_to_num(more), 0.0)
    return growth / 2 + BASE_RATE_SHARE * np.nan_to_num(load.first)


def load_origin(point: EvaluationPoint, service: Service, growth: Floats) -> Service:
    """Follow load upstream to an ingress service, at each step to the caller with most of the growth.

    growth: shape (edges,). Among several callers each counts by its growth times the calls that one of its calls
    causes further down: a gateway forwards requests of many.
    """
    edges, visited, followed = point.world.edges, {service}, -1
    while rows := [
        row for row in point.incoming.get(service, ()) if edges[row].client not in visited and growth[row] > 0
    ]:
        parts = growth[rows]
        if followed >= 0 and len(rows) > 1:
            forwarded = parts * forwarded_calls(point, followed, rows)
            parts = forwarded if forwarded.sum() > 0 else parts
        followed = rows[int(np.argmax(parts))]
        if edges[followed].connection == "virtual_node":
            break
        service = edges[followed].client
        visited.add(service)
    return service


def forwarded_calls(point: EvaluationPoint, row: int, callers: Sequence[int]) -> Floats:
    """Calls on the edge `row` per call on each of the edges `callers`, by regression; shape (callers,).

    Of first attempts. Each caller is scaled by its own size, so that small ones are not lost. Without information in
    the last hour all forward alike; where the last minutes differ from the hour, the mix of requests has changed.
    """
    window = point.window(ROUTING_SECONDS)
    first = point.world.calls.rate[[row, *callers], window] / np.fmax(
        point.world.attempts[[row, *callers], window], 1.0
    )
    callee_rates, caller_rates = first[0], np.nan_to_num(first[1:].T)
    known = np.isfinite(callee_rates)
    alike = callee_rates[known].sum() / max(caller_rates[known].sum(), 1e-9)
    baseline = _share(callee_rates, caller_rates, RIDGE_PENALTY, np.full(len(callers), alike))
    late = slice(-point.world.points(RECENT_ROUTING_SECONDS), None)
    return _share(callee_rates[late], caller_rates[late], RECENT_RIDGE_PENALTY, baseline)


def _share(callee_rates: Floats, caller_rates: Floats, ridge: float, supposed: Floats) -> Floats:
    """Regression weights of callers, each in units of its size."""
    size = np.sqrt(np.square(caller_rates).mean(axis=0))
    size[size == 0] = 1.0
    weights: Floats = nonnegative_weights(callee_rates, caller_rates / size, ridge, supposed * size) / size
    return weights


def request_size_growth(point: EvaluationPoint) -> Floats:
    """Extra load per edge from larger requests, as equivalent calls per second; shape (edges,).

    A slowdown that all callers of a service see is the service's. What one caller sees beyond that is due to its own
    requests.
    """
    now = point["edge_server"]
    _, server, indices = edge_ends(point.world.edges)
    common = np.full(len(indices), np.inf)
    np.fmin.at(common, server, now.ratio)
    with np.errstate(invalid="ignore"):
        own = now.ratio / np.maximum(common[server], 1.0)
        is_larger = (own >= OWN_GROWTH) & (now.z >= MIN_Z)
    return np.where(is_larger, np.nan_to_num(point["edge_rate"].value) * (own - 1), 0.0)
