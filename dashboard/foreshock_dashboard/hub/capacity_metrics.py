"""The capacity forecast as metrics. Unknown values have no series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from prometheus_client import Metric

from foreshock_dashboard.analysis.capacity.headroom import Headroom, headrooms, peaks_within
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, LoadKind, ShortageBasis, Subject
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn
from foreshock_dashboard.model.service import Service, qualified, split_cluster

HORIZONS = {"30m": 1800.0, "2h": 7200.0, "24h": 86_400.0, "7d": 7 * 86_400.0}
"""Seconds by the value of the label `horizon`."""
QUANTILES = ("0.1", "0.5", "0.9")
PEAK_QUANTILES = QUANTILES[1:]
"""Quantiles of peaks: autoscalers plan for no less than the median."""
REPLICATED_KINDS = (LoadKind.REQUESTS, LoadKind.TOKENS)
"""Kinds of load that replicas share: each takes its part."""
SUBJECT = ("service_name", "service_namespace", "pool")
Row = tuple[tuple[str, ...], float]
"""Label values and value of a series."""
Table = tuple[str, str, tuple[str, ...], Iterable[Row]]
"""Name without its prefix, help text, labels, and series of a metric."""


def capacity_families(forecast: CapacityForecast, now: float) -> Iterator[Metric]:
    """All metrics of a capacity forecast. now: Unix seconds from which horizons count."""
    step = math.floor(now / FORECAST_STEP_SECONDS) * FORECAST_STEP_SECONDS
    for name, text, labels, series in _tables(forecast, step):
        family = Metric(f"foreshock_forecast_{name}", text, "summary" if "quantile" in labels else "gauge")
        for values, value in series:
            family.add_sample(family.name, dict(zip(labels, values, strict=True)), value)
        yield family


@lru_cache(1)
def _tables(forecast: CapacityForecast, now: float) -> tuple[Table, ...]:
    """The metrics without unknown values; the same until the next forecast or the next step of time."""
    rows = headrooms(forecast, now)
    tables: Sequence[Table] = (
        (
            "load_ratio",
            "Highest hourly load forecast within the horizon divided by capacity, by quantile.",
            (*SUBJECT, "horizon", "quantile"),
            (series for row in rows for series in _load_ratios(row, now)),
        ),
        (
            "needed_replicas",
            "Replicas needed to keep the highest load within the horizon below its hourly safe limit, by quantile.",
            (*SUBJECT, "horizon", "quantile"),
            _needed_replicas(forecast, now).items(),
        ),
        (
            "safe_load_ratio",
            "Hourly safe limit for the forecast load ratio.",
            SUBJECT,
            ((_labels(row.subject), _ratio(row.load.safe, row.load.capacity)) for row in rows),
        ),
        (
            "shortage_timestamp_seconds",
            "Unix time when load is forecast to exceed its hourly safe limit, by quantile.",
            (*SUBJECT, "quantile"),
            (series for row in rows for series in _shortage_times(row)),
        ),
        (
            "recent_shortage_timestamp_seconds",
            "Unix time when load may exceed its hourly safe limit, as it did in the last seven days.",
            SUBJECT,
            (
                (_labels(row.subject), row.shortage.at)
                for row in rows
                if row.shortage and row.shortage.basis is ShortageBasis.RECENT
            ),
        ),
        (
            "shortage_replicas",
            "Replicas of a service, or GPUs of a pool, to add to prevent the forecast shortage.",
            SUBJECT,
            ((_labels(row.subject), float(row.shortage.replicas)) for row in rows if row.shortage),
        ),
        (
            "shortage_max_replicas",
            "Autoscaler maximum that prevents the forecast shortage; absent if the maximum need not be raised.",
            SUBJECT,
            (
                (_labels(row.subject), row.shortage.ready + row.shortage.replicas)
                for row in rows
                if row.shortage and row.shortage.is_autoscaler_limited
            ),
        ),
        (
            "resource_full_timestamp_seconds",
            "Unix time when a slowly filling resource is forecast to reach its limit, by quantile.",
            ("kind", "resource", "service_name", "service_namespace", "quantile"),
            (series for burn in forecast.slow_burns for series in _full_times(burn)),
        ),
        ("computed_timestamp_seconds", "Unix time of the latest forecast.", (), [((), forecast.computed_at)]),
    )
    return tuple(
        (name, text, labels, [row for row in series if math.isfinite(row[1])]) for name, text, labels, series in tables
    )


def _load_ratios(row: Headroom, now: float) -> Iterator[Row]:
    for horizon, peak in zip(HORIZONS, peaks_within(row.load, now, HORIZONS.values()), strict=True):
        for quantile, value in zip(PEAK_QUANTILES, peak[1:3], strict=True):
            yield (*_labels(row.subject), horizon, quantile), _ratio(value, row.load.capacity)


def _ratio(load: float, capacity: float) -> float:
    """Load over capacity; NaN where nothing is ready, or unknown."""
    return load / capacity if capacity > 0 else math.nan


def _needed_replicas(forecast: CapacityForecast, now: float) -> dict[tuple[str, ...], float]:
    """By labels, for the kind of load that needs most. It does not depend on how many replicas there are now."""
    needed: dict[tuple[str, ...], float] = {}
    for load in forecast.loads:
        per_replica = load.safe / load.replicas if load.replicas > 0 else math.nan
        if load.subject.service is None or load.kind not in REPLICATED_KINDS or not per_replica > 0:
            continue
        for horizon, peak in zip(HORIZONS, peaks_within(load, now, HORIZONS.values()), strict=True):
            for quantile, value in zip(PEAK_QUANTILES, peak[1:3], strict=True):
                if math.isfinite(value):
                    labels = (*_labels(load.subject), horizon, quantile)
                    needed[labels] = max(needed.get(labels, 1.0), math.ceil(value / per_replica))
    return needed


def _shortage_times(row: Headroom) -> Iterator[Row]:
    if row.shortage and row.shortage.basis is ShortageBasis.FORECAST:
        times = (row.shortage.earliest, row.shortage.at, row.shortage.latest)
        yield from (((*_labels(row.subject), quantile), at) for quantile, at in zip(QUANTILES, times, strict=True))


def _full_times(burn: SlowBurn) -> Iterator[Row]:
    name, namespace, resource = _labels(Subject(burn.service, burn.name))
    for quantile, at in zip(QUANTILES, (burn.earliest, burn.at, burn.latest), strict=True):
        yield (burn.kind.value, split_cluster(resource)[1], name, namespace, quantile), at


def _labels(subject: Subject) -> tuple[str, str, str]:
    """Values of `SUBJECT`. A namespace says the cluster also where there is no service."""
    service = subject.service or Service(qualified(split_cluster(subject.pool)[0], ""), "")
    return service.name, service.namespace, subject.pool
