"""The impact of an incident: requests that failed or were slow because of it, by ingress service."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import Slo, slos
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Red, World
from foreshock_dashboard.stats.late_share import late_share

REACTION_SECONDS = 120.0
"""Seconds from a page until an action takes effect: to shed load or move a job takes about two minutes."""


class RequestImpact(NamedTuple):
    """Requests from outside at one ingress service during the incident.

    failed: above the baseline ratio. slowed: answered later than the SLO allows, estimated between the quantiles.
    `_after`: those of them that came `REACTION_SECONDS` after the page or later; 0 without a page. slo_seconds: p95 in
    seconds of the configured or learned SLO.
    """

    service: Service
    requests: float
    failed: float
    slowed: float
    failed_after: float
    slowed_after: float
    slo_seconds: float


def ingress_services(world: World) -> tuple[Service, ...]:
    """Ingress services: called from outside, or, without such edges, services without a known caller."""
    outside = {edge.server for edge in world.edges if edge.connection == "virtual_node"}
    called = {edge.server for edge in world.edges if edge.connection != "virtual_node"}
    used = {service for service, rate in zip(world.services, world.red.rate, strict=True) if np.nansum(rate) > 0}
    return tuple(sorted((outside or used - called) & used))


def request_impacts(
    world: World, since: float, until: float, paged: float | None, known: Mapping[Service, Slo] = MappingProxyType({})
) -> tuple[RequestImpact, ...]:
    """The impact at each ingress service from `since` to `until`; paged: time of the page (all in Unix seconds).

    known: SLOs in force; those of other services are learned from the time before.
    """
    first = int(np.searchsorted(world.times, since))
    columns = slice(first, int(np.searchsorted(world.times, until, side="right")))
    point = EvaluationPoint(world, min(first, len(world.times) - 1), baselines_at(world, first))
    slo_by_service = slos(point, known)
    is_after = world.times[columns] >= (math.inf if paged is None else paged + REACTION_SECONDS)
    impacts = []
    for service in ingress_services(world):
        limit = slo_by_service[service].seconds if service in slo_by_service else math.nan
        served = latency_quantiles(world.red, world.services.index(service), columns)
        lost = [_lost(red, row, columns, served, limit) * world.step for red, row in _from_outside(world, service)]
        total = np.sum(lost, axis=0)
        requests, failed, slowed = total.sum(axis=1).tolist()
        _, failed_after, slowed_after = total[:, is_after].sum(axis=1).tolist()
        impacts.append(RequestImpact(service, requests, failed, slowed, failed_after, slowed_after, limit))
    return tuple(impacts)


def _from_outside(world: World, service: Service) -> Sequence[tuple[Red, int]]:
    """Signals, and rows of them, with the requests from outside; all requests if their callers are unknown.

    Requests from other services are counted where they entered the platform.
    """
    reported = [
        (world.calls, row)
        for row, edge in enumerate(world.edges)
        if edge.server == service and edge.connection == "virtual_node" and np.nansum(world.calls.rate[row]) > 0
    ]
    return reported or [(world.red, world.services.index(service))]


def _lost(red: Red, row: int, columns: slice, served: Floats, limit: float) -> Floats:
    """Requests, failed requests, and slowed requests per second, shape (3, times).

    Clients outside seldom report latency; `served`, the quantiles of the service itself, stand for it.
    """
    requests = np.nan_to_num(red.rate[row, columns])
    before = red.error_rate[row, : columns.start]
    before = before[np.isfinite(before)]
    baseline = float(np.median(before)) if len(before) else 0.0
    failed = requests * np.maximum(np.nan_to_num(red.error_rate[row, columns]) - baseline, 0.0)
    reported = latency_quantiles(red, row, columns)
    quantiles = np.where(np.isfinite(reported).all(axis=0), reported, served)
    return np.stack([requests, failed, slowed_requests(requests, failed, quantiles, limit)])


def slowed_requests(requests: Floats, failed: Floats, quantiles: Floats, limit: float) -> Floats:
    """Requests that took longer than `limit` seconds at each time, without the failed ones; 0 where it is unknown.

    quantiles: as of `latency_quantiles`. All others have shape (times,).
    """
    return np.minimum(requests * np.nan_to_num(late_share(limit, *quantiles)), requests - failed)


def latency_quantiles(red: Red, row: int, columns: slice) -> Floats:
    """p50, p95, and p99 of a row in seconds, shape (3, times)."""
    return np.stack([values[row, columns].astype(np.float64) for values in (red.p50, red.p95, red.p99)])
