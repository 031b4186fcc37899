"""Signals of services and calls from series of any metrics: latency, errors, traffic, availability, resources."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.root_cause.counters import increases, is_counter, smoothed, window_sums
from foreshock_dashboard.analysis.root_cause.metric_kinds import is_failure, metric_kind, statistic
from foreshock_dashboard.analysis.root_cause.parameters import (
    SMOOTHED_STEP_SECONDS,
    SUSTAINED,
)
from foreshock_dashboard.analysis.root_cause.series_owner import HOST_LABELS, call_of, owner, owner_label
from foreshock_dashboard.analysis.root_cause.usage_limits import METRICS, SHARED, UsageLimits
from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.query import Matrix, MetricSeries
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.stats.histogram_quantile import histogram_quantiles
from foreshock_dashboard.stats.robust import median

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
CALLER_SPANS = ("SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "client", "producer")
"""Spans of a caller measure its callee, which the service graph names."""
REPORTED = "reported"
"""Whether anything of a service that stopped reporting is reported."""
MIN_PRESENT_SHARE = 0.95
"""Share of the baseline in which a service has to report, so that its end is not that of a job."""
MIN_VANISHED_POINTS = 2
"""Points without anything from a service, from which it vanished."""
MAX_VANISHED_SHARE = 0.5
"""Share of all services up to which they vanished; more are a gap of the source."""
SPAN_METRICS = "traces_"
"""Prefix of metrics counted from spans, by the Collector, Tempo, or Foreshock: one source for all services."""
MIN_REPORTING, MAX_ZERO_SHARE = 3, 0.05
"""Services of such a metric that counts nothing of any of them only if its source is down, and how often at most."""
_PERCENT = re.compile(r"percent|(^|_)(pct|perc)(_|$)")
_SHARE = re.compile(r"(^|_)(ratio|share)(_|$)")
MAX_SHARE = 1.5
"""Value up to which a share is one of 1, with tolerance for rounding; a larger one is in percent."""
_MILLISECONDS = re.compile(r"_(milliseconds|ms)$")
MAX_STACKED_CALLS = 64
"""Calls that are compared with their requests at once: copies stay in a core's cache, and malloc reuses them."""

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
    metrics, made = [*metrics], list[SignalRow]()
    usage: dict[str, Matrix] = {}
    for series in metrics:
        if series.metric in METRICS:
            usage[series.metric] = series.values
        if series.metric not in SHARED:
            made += _rows_of(series, first, step)
    limits = UsageLimits(usage, step)
    for metric, matrix in limits.not_shared():
        made += _rows_of(MetricSeries(metric, matrix), first, step)
    made += [SignalRow(service, "resource", name, values) for (service, name), values in limits.shares(first).items()]
    failures = [row for row in made if row.kind == "errors" and row.statistic == "failed"]
    rows = [row for row in made if row.kind != "errors" or row.statistic != "failed"]
    rows = _without_silence(rows, first)
    names = _of_known_volumes(metrics, _qualified([*rows, *failures]))
    rows, failures = (
        [row._replace(entity=names.get(row.entity, row.entity)) for row in part] for part in (rows, failures)
    )
    rows += _error_rates(failures, rows)
    if times := _vanished_times(rows, first):
        rows = with_vanished(rows, _without_gaps(times, metrics, names, first))
    rows_by_entity = traffic_by_entity(rows)
    rows = [_with_counts(row, rows_by_entity.get(row.entity, ())) for row in rows]
    return rows + calls_per_request(rows_by_entity)


def _without_silence(rows: Sequence[SignalRow], first: int) -> list[SignalRow]:
    """The signals, with traffic unknown while a metric of spans counts nothing of any of its services, which is rare
    before index `first`: the tracing pipeline delivers nothing then. Zeros that each service reports itself stay.
    """
    by_metric = defaultdict[str, list[int]](list)
    for i, row in enumerate(rows):
        if row.kind == "traffic" and row.metric.startswith(SPAN_METRICS):
            by_metric[row.metric].append(i)
    known = [*rows]
    for members in by_metric.values():
        values = np.stack([rows[i].values for i in members])
        known_at = np.asarray(np.isfinite(values).any(axis=0))
        is_zero = known_at & np.asarray(np.nansum(values, axis=0) == 0)
        before = is_zero[:first].sum() / max(1, known_at[:first].sum())
        if len({rows[i].entity for i in members}) < MIN_REPORTING or before > MAX_ZERO_SHARE:
            continue
        for i in members:
            counts = rows[i].counts
            known[i] = rows[i]._replace(
                values=np.where(is_zero, np.nan, rows[i].values),
                counts=None if counts is None else np.where(is_zero, np.nan, counts),
            )
    return known


def _rows_of(series: MetricSeries, first: int, step: float) -> list[SignalRow]:
    """Signals of one metric; counts of errors have the statistic `failed`."""
    if not len(series.values):
        return []
    if series.counts is not None:
        return _distribution_rows(series, series.counts, step)
    if is_counter(series.metric, series.values.values[:, :first]):
        return _counter_rows(series.metric, series.values, step)
    return _gauge_rows(series.metric, series.values, step)


def with_vanished(rows: Sequence[SignalRow], times: Mapping[Service, Bools]) -> list[SignalRow]:
    """The signals, with the availability of services that stopped reporting after the baseline while others did not.

    Such a service has no traffic either. times: when, see `_vanished_times`.
    """
    lost = [times.get(row.entity if isinstance(row.entity, Service) else row.entity[1]) for row in rows]
    return [
        row if gone is None or row.kind != "traffic" else row._replace(values=np.where(gone, 0.0, row.values))
        for row, gone in zip(rows, lost, strict=True)
    ] + [SignalRow(service, "availability", REPORTED, np.where(gone, 0.0, 1.0)) for service, gone in times.items()]


def _vanished_times(rows: Iterable[SignalRow], first: int) -> Mapping[Service, Bools]:
    """When services that reported all the time did not after index `first`; without gaps of the source.

    What comes from requests, others report as well. It counts only for services that report nothing else.
    """
    own, of_requests = defaultdict[Service, list[Floats]](list), defaultdict[Service, list[Floats]](list)
    for row in rows:
        if isinstance(row.entity, Service) and row.side != "host":
            (own if row.kind in ("resource", "availability", "other") else of_requests)[row.entity].append(row.values)
    reports = {service: np.isfinite(values).any(axis=0) for service, values in {**of_requests, **own}.items()}
    if not reports:
        return {}
    number = np.sum(list(reports.values()), axis=0)
    is_gap = number < (1 - MAX_VANISHED_SHARE) * np.median(number[:first])
    lost = {service: ~present & ~is_gap for service, present in reports.items()}
    return {
        service: gone
        for service, gone in lost.items()
        if gone[1:first].mean() <= 1 - MIN_PRESENT_SHARE and gone[first:].sum() >= MIN_VANISHED_POINTS
    }


def _without_gaps(
    times: Mapping[Service, Bools],
    metrics: Iterable[MetricSeries],
    names: Mapping[Entity, Entity],
    first: int,
) -> Mapping[Service, Bools]:
    """The vanished services, without those of a job or a target that reported several and then nothing: it is not
    scraped. names: see `_qualified`."""
    reported = defaultdict[tuple[str, ...], dict[Entity, bool]](dict)
    present = dict[tuple[str, ...], Bools]()
    for series in metrics:
        finite = np.isfinite(series.values.values)
        for labels, row in zip(map(dict, series.values.labels), finite, strict=True):
            if (entity := _entity(series.metric, labels)) is None or not (job := labels.get("job", "")):
                continue
            for source in ((job,), (job, labels.get("instance", ""))):
                reported[source][names.get(entity, entity)] = True
                present[source] = present.get(source, np.False_) | row

    def is_gap(service: Service, gone: Bools) -> bool:
        sources = [source for source, entities in reported.items() if service in entities]
        lost = [len(reported[each]) > 1 and not (present[each] & gone)[first:].any() for each in sources]
        return any(
            all(is_lost for source, is_lost in zip(sources, lost, strict=True) if len(source) == level)
            for level in {len(source) for source in sources}
        )

    return {service: gone for service, gone in times.items() if not is_gap(service, gone)}


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
    largest = float(np.nanmax(values, initial=0.0))  # one unit for all series of a metric
    is_percent = bool(_PERCENT.search(metric))
    is_share = is_percent or largest <= 1 or bool(_SHARE.search(metric))
    whole = 100.0 if is_percent or largest > MAX_SHARE else 1.0
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
            failed = np.clip(1 - values[row] / whole, 0.0, 1.0)
            rows.append(SignalRow(entity, "errors", metric, failed, "", None, side))
        elif kind == "errors":
            failed = np.clip(values[row] / whole, 0.0, 1.0) if is_share else values[row]
            rows.append(SignalRow(entity, kind, metric, failed, "" if is_share else "failed", None, side))
        elif kind == "traffic":
            is_count = bool((np.nan_to_num(values[row]) % 1 == 0).all())
            counts = values[row] * _points(step) * (1.0 if is_count else step)  # of the window of counters
            rows.append(SignalRow(entity, kind, metric, values[row], "", counts, side))
        else:
            host = "host" if owner_label(metric, labels) in HOST_LABELS else side
            rows.append(SignalRow(entity, kind, metric, values[row], "", None, host))
    return rows


def _qualified(rows: Iterable[SignalRow]) -> Mapping[Entity, Entity]:
    """Services without a namespace that are the only one of their name with one, and calls between such services."""
    entities = {row.entity for row in rows}
    services = {service for entity in entities for service in ([entity] if isinstance(entity, Service) else entity)}
    by_name: dict[tuple[str, str], set[Service]] = {}
    for service in services:
        if service.local.namespace:
            by_name.setdefault((service.cluster, service.name), set()).add(service)
    full = {
        service: next(iter(by_name[service.cluster, service.name]))
        for service in services
        if not service.local.namespace and len(by_name.get((service.cluster, service.name), ())) == 1
    }
    return {
        entity: full.get(entity, entity)
        if isinstance(entity, Service)
        else (full.get(entity[0], entity[0]), full.get(entity[1], entity[1]))
        for entity in entities
    }


def _of_known_volumes(metrics: Iterable[MetricSeries], names: Mapping[Entity, Entity]) -> Mapping[Entity, Entity]:
    """The names with those guessed from claims, `data-cart` of `x-data-cart-0`, replaced by a known service `cart`."""
    guessed, known = set[Service](), set[Service]()
    for series in metrics:
        for labels in map(dict, series.values.labels):
            is_claim = owner_label(series.metric, labels) == "persistentvolumeclaim"
            (guessed if is_claim else known).add(owner(series.metric, labels))
    renamed = dict(names)
    for guess in guessed - known:
        ends = [
            service for service in known if guess.name.endswith(f"-{service.name}") and service.cluster == guess.cluster
        ]
        if ends and guess in renamed:
            service = max(ends, key=lambda item: (len(item.name), item))
            renamed[guess] = names.get(service, service)
    return renamed


def traffic_by_entity(rows: Iterable[SignalRow]) -> Mapping[Entity, list[SignalRow]]:
    traffic: dict[Entity, list[SignalRow]] = {}
    for row in rows:
        if row.kind == "traffic" and row.counts is not None:
            traffic.setdefault(row.entity, []).append(row)
    return traffic


def calls_per_request(traffic: Mapping[Entity, Sequence[SignalRow]]) -> list[SignalRow]:
    """How many calls a request of each client makes, with the number of calls that are normal for its requests."""
    known: list[tuple[Call, str, Floats, Floats]] = []
    for call, rows in traffic.items():
        if isinstance(call, Service) or not (served := traffic.get(call[0])):
            continue
        calls, requests = rows[0].counts, served[0].counts
        if calls is not None and requests is not None:
            known.append((call, rows[0].metric, calls, requests))
    found: list[SignalRow] = []
    for first in range(0, len(known), MAX_STACKED_CALLS):
        block = known[first : first + MAX_STACKED_CALLS]
        called, asked = (np.stack([item[side] for item in block]) for side in (2, 3))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = np.where(asked > 0, np.nan_to_num(called) / asked, np.nan)
        counts = asked * np.nan_to_num(median(ratios))[:, None]
        found += [
            SignalRow(call, "calls", metric, ratio, "", count)
            for (call, metric, _, _), ratio, count in zip(block, ratios, counts, strict=True)
        ]
    return found


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
