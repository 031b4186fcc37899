"""Requests that violate an SLO, and all requests, of services with one."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Matcher, Matrix, Query
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.row import Catalog, CatalogRow, Producer, Readings
from foreshock_dashboard.world.row_math import service_of

Sli = Literal["latency", "availability"]
KEYS = ("served", "served_failed", "served_seconds")
"""Keys of the catalog."""
MIXED_RATIO = 0.99
"""Count of a bucket over that of a lower one, below which only some of the servers have it."""
_NAMES = ("service_name", "service")
"""Labels with the name of a service."""


class SloCount(NamedTuple):
    """What a row counts, per second: requests, or only those that violate the SLO."""

    service: Service
    sli: Sli
    violations: bool


def slo_catalog(catalog: Catalog, services: Collection[Service]) -> Catalog:
    """Rows of requests, failures, and latency buckets, of these services only where the producer names them."""
    matcher = "|".join(sorted({re.escape(service.name) for service in services}))
    return {key: _of_services(catalog[key], matcher) for key in KEYS}


def _of_services(row: CatalogRow, names: str) -> CatalogRow:
    def chosen(query: Query) -> Query:
        label = next((label for label in _NAMES if label in (query.by or ())), None)
        # HTTP server metrics may have the job in place of a name.
        if label is None or "job" in (query.by or ()):
            return query
        return replace(query, matchers=(*query.matchers, Matcher(label, "=~", names)))

    def narrowed(form: Producer) -> Producer:
        return replace(form, query=chosen(form.query))

    return replace(row, ways=tuple(map(narrowed, row.ways)), also=tuple(map(narrowed, row.also)))


def slo_counts(found: Readings, targets: Mapping[Service, float], window: float) -> Mapping[SloCount, Floats]:
    """Rates per second of requests, and of those that fail, or take longer than the bucket of the target.

    Servers may get other buckets: at each time, the bucket is the first from the target on that all of them have then.
    Without one, the time is unknown.

    Args:
        targets: p95 in seconds by service. One without a cluster is of every cluster.
        window: seconds that the buckets cover.
    """
    rows: dict[SloCount, Floats] = {}
    for key, violations in (("served", False), ("served_failed", True)):
        for service, values in _by_service(found[key]):
            if _target(service, targets) is not None:
                rows[SloCount(service, "availability", violations)] = values
    buckets: dict[Service, dict[float, Floats]] = {}
    matrix = found["served_seconds"]
    for labels, values in zip(matrix.labels, matrix.values, strict=True):
        if of := service_of(dict(labels)):
            buckets.setdefault(of, {})[float(dict(labels)["le"])] = values / window
    for service, by_bound in buckets.items():
        target = _target(service, targets)
        if target is None or math.inf not in by_bound or not any(target <= bound < math.inf for bound in by_bound):
            continue
        total = by_bound.pop(math.inf)
        within = _within(target, by_bound)
        rows[SloCount(service, "latency", violations=False)] = np.where(np.isfinite(within), total, np.nan)
        rows[SloCount(service, "latency", violations=True)] = np.maximum(total - within, 0.0)
    return rows


def _within(target: float, by_bound: Mapping[float, Floats]) -> Floats:
    """Requests up to the target by time; NaN where no bucket says so. by_bound: cumulative rates of finite buckets."""
    lower, within = (np.full_like(next(iter(by_bound.values())), start) for start in (0.0, np.nan))
    for bound, values in sorted(by_bound.items()):
        if bound >= target:
            within = np.where(np.isnan(within) & (values >= MIXED_RATIO * lower), values, within)
        lower = np.fmax(lower, values)
    return within


def _by_service(matrix: Matrix) -> Iterator[tuple[Service, Floats]]:
    for labels, values in zip(matrix.labels, matrix.values, strict=True):
        if service := service_of(dict(labels)):
            yield service, values


def _target(service: Service, targets: Mapping[Service, float]) -> float | None:
    return targets.get(service, targets.get(service.local))
