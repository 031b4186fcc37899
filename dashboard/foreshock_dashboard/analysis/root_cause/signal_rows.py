"""Signals of services and calls from series of any metrics: latency, errors, traffic, availability, resources."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.root_cause.metric_kinds import is_failure, metric_kind, statistic
from foreshock_dashboard.analysis.root_cause.parameters import (
    MIN_BASELINE_POINTS,
    SMOOTHED_STEP_SECONDS,
    SUSTAINED,
)
from foreshock_dashboard.analysis.root_cause.series_owner import HOST_LABELS, call_of, owner, owner_label, replica_key
from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.query import Matrix, MetricSeries
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.histogram_quantile import histogram_quantiles

COUNTER_SUFFIXES = ("_total", "_bucket")
AMBIGUOUS_SUFFIXES = ("_count", "_sum")
"""Suffixes of counters and of OpenTelemetry's UpDownCounters, such as `jvm_thread_count`."""
MAX_RESET_RATIO = 0.1
"""Falls of a counter over its increases, up to which they are resets."""
ROUNDING_RATIO = 1e-9
"""Growth of a counter over its value, up to which it is a rounding error."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
CALLER_SPANS = ("SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "client", "producer")
"""Spans of a caller measure its callee, which the service graph names."""
_MILLISECONDS = re.compile(r"_(milliseconds|ms)$")

Call = tuple[Service, Service]
Entity = Service | Call


class SignalRow(NamedTuple):
    """A signal of a service, or of a call (client, server).

    metric: its name. statistic: of a latency: "mean", "p95", …; "" where there is one only. values: shape (times,), in
    the metric's unit, shares of requests for errors. counts: requests behind each value; None if unknown. side: of a
    call, as its "client" or its "server" measured it; of a service "host" if only a label for hosts names it.
    """

    entity: Entity
    kind: SignalKind
    metric: str
    values: Floats
    statistic: str = ""
    counts: Floats | None = None
    side: str = ""


def signal_rows(metrics: Iterable[MetricSeries], first: int, step: float) -> list[SignalRow]:
    """Signals of all series. first: index of the first grid point after the baseline; step: seconds between points."""
    rows: list[SignalRow] = []
    failures: list[SignalRow] = []
    for series in metrics:
        if not len(series.values):
            continue
        if series.counts is not None:
            made = _distribution_rows(series, series.counts, step)
        elif is_counter(series.metric, series.values.values[:, :first]):
            made = _counter_rows(series.metric, series.values, step)
        else:
            made = _gauge_rows(series.metric, series.values, step)
        for row in made:
            (failures if row.kind == "errors" and row.statistic == "failed" else rows).append(row)
    names = _qualified([*rows, *failures])
    rows, failures = (
        [row._replace(entity=names.get(row.entity, row.entity)) for row in part] for part in (rows, failures)
    )
    rows += _error_rates(failures, rows)
    rows_by_entity = traffic_by_entity(rows)
    rows = [_with_counts(row, rows_by_entity.get(row.entity, ())) for row in rows]
    return rows + calls_per_request(rows_by_entity)


def _in_seconds(metric: str) -> tuple[str, float]:
    """The name of a metric in seconds instead of milliseconds, and the factor of its values."""
    name = _MILLISECONDS.sub("_seconds", metric)
    return name, 1.0 if name == metric else 0.001


def _side(metric: str) -> str:
    name = metric.lower()
    return "server" if "server" in name else "client" if "client" in name else ""


def _entity(metric: str, labels: Mapping[str, str]) -> Entity | None:
    """The service or the call that a series is about; None for one about the callees of a service."""
    if labels.get("span_kind") in CALLER_SPANS:
        return None
    call = call_of(labels)
    return call if call and call[0] != call[1] else owner(metric, labels)


def _groups(
    metric: str, matrix: Matrix, extra: Callable[[Mapping[str, str]], Hashable] = lambda _: None
) -> Mapping[tuple[Entity, Hashable], list[int]]:
    """Rows of each entity, and of each value of `extra`."""
    groups = defaultdict[tuple[Entity, Hashable], list[int]](list)
    for row, labels in enumerate(map(dict, matrix.labels)):
        if (entity := _entity(metric, labels)) is not None:
            groups[entity, extra(labels)].append(row)
    return groups


def _total(values: Floats, rows: Sequence[int]) -> Floats:
    """Sum over rows; NaN only where all are."""
    chosen = values[rows]
    return np.where(np.isnan(chosen).all(axis=0), np.nan, np.nansum(chosen, axis=0))


def window_sums(values: Floats, points: int) -> Floats:
    """Sum of each point and the `points` - 1 before it, along the last axis; NaN only where all are."""
    if points <= 1:
        return values
    known = np.isfinite(values)
    sums, counts = np.cumsum(np.where(known, values, 0.0), axis=-1), np.cumsum(known, axis=-1)
    sums[..., points:] -= sums[..., :-points].copy()
    counts[..., points:] -= counts[..., :-points].copy()
    return np.where(counts > 0, sums, np.nan)


def _distribution_rows(series: MetricSeries, counts: Matrix, step: float) -> list[SignalRow]:
    """Mean and quantiles of each entity from a histogram or summary, its traffic, and its errors by status."""
    (metric, scale), sums = _in_seconds(series.metric), series.values
    kind, points, side = metric_kind(metric), _points(step), _side(metric)
    count_of = window_sums(increases(counts.values, counts.labels), points)
    sum_of = window_sums(increases(sums.values, sums.labels), points) * scale
    rows: list[SignalRow] = []
    sum_groups, by_failure = _groups(metric, sums), _groups(metric, counts, is_failure)
    quantiles = _bucket_quantiles(series, points, scale)
    for (entity, _), members in _groups(metric, counts).items():
        n = _total(count_of, members)
        if kind == "latency":
            total = _total(sum_of, sum_groups.get((entity, None), [])) if (entity, None) in sum_groups else None
            if total is not None:
                with np.errstate(invalid="ignore", divide="ignore"):
                    mean = np.where(n > 0, total / n, np.nan)
                rows.append(SignalRow(entity, kind, metric, mean, "mean", n, side))
            rows += [
                SignalRow(entity, kind, metric, values, name, n, side)
                for name, values in quantiles.get(entity, {}).items()
            ]
            span = points * step
            rows.append(SignalRow(entity, "traffic", f"{metric}_count", n / span, "", n, side))
            if failed := by_failure.get((entity, True)):
                rows.append(_error_rate(entity, f"{metric}_count", _total(count_of, failed), n, side))
        elif (entity, None) in sum_groups and kind != "success":
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = np.where(n > 0, _total(sum_of, sum_groups[entity, None]) / n, np.nan)
            rows.append(SignalRow(entity, kind, metric, mean, "mean"))
    return rows


def _points(step: float) -> int:
    """Points over which counters are summed."""
    return max(1, round(SUSTAINED.at(step) / step))


def _bucket_quantiles(series: MetricSeries, points: int, scale: float) -> Mapping[Entity, Mapping[str, Floats]]:
    if series.buckets is None or metric_kind(series.metric) != "latency":
        return {}
    buckets = series.buckets
    counts = window_sums(increases(buckets.values, buckets.labels), points)
    by_entity: dict[Entity, dict[float, list[int]]] = {}
    for (entity, bound), members in _groups(series.metric, buckets, lambda labels: labels.get("le")).items():
        try:
            by_entity.setdefault(entity, {}).setdefault(float(str(bound)), []).extend(members)
        except ValueError:
            continue
    quantiles: dict[Entity, Mapping[str, Floats]] = {}
    for entity, rows_of in by_entity.items():
        bounds = np.array(sorted(rows_of))
        if len(bounds) >= 2 and np.isinf(bounds[-1]):
            stacked = np.stack([_total(counts, rows_of[bound]) for bound in bounds.tolist()])[None]
            found = histogram_quantiles(bounds * scale, stacked, tuple(QUANTILES.values()))
            quantiles[entity] = {name: row[0] for name, row in zip(QUANTILES, found, strict=True)}
    return quantiles


def _error_rate(entity: Entity, metric: str, failed: Floats, total: Floats, side: str) -> SignalRow:
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(total > 0, np.clip(np.nan_to_num(failed) / total, 0.0, 1.0), np.nan)
    return SignalRow(entity, "errors", metric, share, "", total, side)


def _counter_rows(metric: str, matrix: Matrix, step: float) -> list[SignalRow]:
    """Rates of counters: traffic and errors by entity, everything else by series."""
    kind, points, side = metric_kind(metric), _points(step), _side(metric)
    counted = window_sums(increases(matrix.values, matrix.labels), points)
    span = points * step
    if kind not in ("traffic", "errors"):
        named = [dict(labels) for labels in matrix.labels]
        hosts = ["host" if owner_label(metric, labels) in HOST_LABELS else side for labels in named]
        plain: SignalKind = "other" if kind == "latency" or kind == "success" else kind
        return [
            SignalRow(entity, plain, metric, counted[row] / span, "", None, hosts[row])
            for (entity, _), members in _groups(metric, matrix).items()
            for row in members
        ]
    rows = []
    by_failure = _groups(metric, matrix, is_failure) if kind == "traffic" else {}
    for (entity, _), members in _groups(metric, matrix).items():
        n = _total(counted, members)
        if kind == "errors":
            rows.append(SignalRow(entity, kind, metric, n, "failed", n, side))
        else:
            rows.append(SignalRow(entity, kind, metric, n / span, "", n, side))
            if failed := by_failure.get((entity, True)):
                rows.append(_error_rate(entity, metric, _total(counted, failed), n, side))
    return rows


def _gauge_rows(metric: str, matrix: Matrix, step: float) -> list[SignalRow]:
    """Gauges by series; means and quantiles of latencies by their statistic."""
    metric, scale = _in_seconds(metric)
    kind, side = metric_kind(metric), _side(metric)
    values = scale * (smoothed(matrix.values) if step <= SMOOTHED_STEP_SECONDS else matrix.values)
    rows = []
    for row, labels in enumerate(map(dict, matrix.labels)):
        entity = _entity(metric, labels)
        if entity is None or (kind == "availability" and labels.get("condition", "true") != "true"):
            continue  # kube-state-metrics has a series per condition, of which "false" and "unknown" are complements
        if kind == "latency" and side == "client" and isinstance(entity, Service):
            continue  # it waits for others, which have no name here
        if kind == "latency":
            name = statistic(metric, labels)
            if name not in ("sum", "count", "min"):
                rows.append(SignalRow(entity, kind, metric, values[row], name, None, side))
        elif kind == "success":
            largest = np.nanmax(values[row], initial=0.0)
            whole = 100.0 if largest > 1.5 else 1.0
            failed = np.clip(1 - values[row] / whole, 0.0, 1.0)
            rows.append(SignalRow(entity, "errors", metric, failed, "", None, side))
        elif kind == "errors":
            largest = np.nanmax(values[row], initial=0.0)
            rows.append(SignalRow(entity, kind, metric, values[row], "" if largest <= 1 else "failed", None, side))
        elif kind == "traffic":
            is_count = bool((np.nan_to_num(values[row]) % 1 == 0).all())
            counts = values[row] if is_count else values[row] * step
            rows.append(SignalRow(entity, kind, metric, values[row], "", counts, side))
        else:
            host = "host" if owner_label(metric, labels) in HOST_LABELS else side
            rows.append(SignalRow(entity, kind, metric, values[row], "", None, host))
    return rows


def _qualified(rows: Iterable[SignalRow]) -> Mapping[Entity, Entity]:
    """Services without a namespace that are the only one of their name with one, and calls between such services."""
    entities = {row.entity for row in rows}
    services = {service for entity in entities for service in ([entity] if isinstance(entity, Service) else entity)}
    by_name: dict[str, set[Service]] = {}
    for service in services:
        if service.namespace:
            by_name.setdefault(service.name, set()).add(service)
    full = {
        service: next(iter(by_name[service.name]))
        for service in services
        if not service.namespace and len(by_name.get(service.name, ())) == 1
    }
    return {
        entity: full.get(entity, entity)
        if isinstance(entity, Service)
        else (full.get(entity[0], entity[0]), full.get(entity[1], entity[1]))
        for entity in entities
    }


def traffic_by_entity(rows: Iterable[SignalRow]) -> Mapping[Entity, list[SignalRow]]:
    traffic: dict[Entity, list[SignalRow]] = {}
    for row in rows:
        if row.kind == "traffic" and row.counts is not None:
            traffic.setdefault(row.entity, []).append(row)
    return traffic


def calls_per_request(traffic: Mapping[Entity, Sequence[SignalRow]]) -> list[SignalRow]:
    """How many calls a request of each client makes, with the number of calls that are normal for its requests."""
    made = []
    for call, rows in traffic.items():
        if isinstance(call, Service) or not (served := traffic.get(call[0])):
            continue
        calls, requests = rows[0].counts, served[0].counts
        if calls is None or requests is None:
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(requests > 0, np.nan_to_num(calls) / requests, np.nan)
        normal = float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else 0.0
        made.append(SignalRow(call, "calls", rows[0].metric, ratio, "", requests * normal))
    return made


def _with_counts(row: SignalRow, traffic: Sequence[SignalRow]) -> SignalRow:
    """A latency or an error rate with the requests behind it, where another metric has their number."""
    if row.kind not in ("latency", "errors") or row.counts is not None or not traffic:
        return row
    return row._replace(counts=traffic[0].counts)


def _error_rates(failures: Sequence[SignalRow], rows: Sequence[SignalRow]) -> list[SignalRow]:
    """Counts of errors over the requests of the same entity, where those are known."""
    traffic = traffic_by_entity(rows)
    shares = []
    for row in failures:
        known = traffic.get(row.entity, [])
        base = row.metric.lower().replace("failed_", "").replace("errors_", "").replace("error_", "")
        whole = next((item for item in known if item.metric.lower() == base), known[0] if known else None)
        if (
            whole is None
            or whole.counts is None
            or not np.nanmax(whole.counts, initial=0.0) >= np.nanmax(row.values, initial=0.0)
        ):
            shares.append(row._replace(kind="other", statistic=""))
        else:
            shares.append(_error_rate(row.entity, row.metric, row.values, whole.counts, row.side))
    return shares


def is_counter(metric: str, past: Floats) -> bool:
    """Whether a metric is a counter, by its name or because it almost only increased in the past.

    An ambiguous name needs few increases.
    """
    if metric.endswith(COUNTER_SUFFIXES):
        return True
    steps = np.diff(past, axis=1)
    steps = steps[np.isfinite(steps)]
    if metric.endswith(AMBIGUOUS_SUFFIXES):
        rises, falls = int((steps > 0).sum()), int((steps < 0).sum())
        return rises >= MIN_BASELINE_POINTS and falls <= MAX_RESET_RATIO * rises
    return steps.size >= MIN_BASELINE_POINTS and float((steps > 0).mean()) >= 0.5 and float((steps < 0).mean()) <= 0.01


def increases(values: Floats, labels: Sequence[object] = ()) -> Floats:
    """Increase of a counter from point to point, same shape; its value after a reset, NaN at the first point.

    A counter that appears late on a replica with a history counts a kind of event that had not occurred before: it
    starts at 0.
    """
    steps = np.full_like(values, np.nan)
    steps[:, 1:] = np.diff(values, axis=1)
    steps[np.abs(steps) < ROUNDING_RATIO * (1.0 + np.abs(values))] = 0.0
    steps = np.where(steps < 0, values, steps)
    known = np.isfinite(values)
    begins = np.where(known.any(axis=1), known.argmax(axis=1), values.shape[1])
    if len(labels) == len(values) and len(values):
        replicas = [replica_key(dict(pairs)) for pairs in labels]  # type: ignore[call-overload]
        earliest: dict[tuple[str, ...], int] = {}
        for replica, begin in zip(replicas, begins.tolist(), strict=True):
            earliest[replica] = min(begin, earliest.get(replica, begin))
        for row, (replica, begin) in enumerate(zip(replicas, begins.tolist(), strict=True)):
            if earliest[replica] + MIN_BASELINE_POINTS <= begin < values.shape[1]:
                steps[row, earliest[replica] + 1 : begin] = 0.0
                steps[row, begin] = values[row, begin]
    return steps


def smoothed(values: Floats) -> Floats:
    """Median of each point and the two before it; a missing point counts as the point itself."""
    before, earlier = values.copy(), values.copy()
    before[:, 1:] = np.where(np.isnan(values[:, :-1]), values[:, 1:], values[:, :-1])
    earlier[:, 2:] = np.where(np.isnan(values[:, :-2]), values[:, 2:], values[:, :-2])
    low, high = np.minimum(values, before), np.maximum(values, before)
    return np.maximum(low, np.minimum(high, earlier))
