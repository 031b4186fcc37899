"""Anomaly scores of metrics of any meaning, and the service of each.

The score of a series is its distance from its own past: (x - median) / max(IQR, floor), as BARO's RobustScorer (Pham et
al., FSE 2024). The floor keeps constant and heavy-tailed series from dominating.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

MIN_BASELINE_POINTS = 5
MIN_SCALE_TO_LEVEL_RATIO = 0.05
"""Least scale over the level: a change of a few percent is never an anomaly."""
MIN_SCALE_TO_PEAK_RATIO = 0.02
"""Least scale over the largest value: a series that was always 0 scores at most 50."""
TAIL_SCALES = 1.5
"""Scales that the 99% excursion of the past counts at most: recurring peaks are no anomaly."""
DROP_WEIGHT = 0.5
"""Weight of a decrease against an increase: a failing service makes others idle, and a level cannot fall below 0."""
ANOMALOUS_SCORE = 3.0
"""Score from which a series is anomalous: at least twice as far from the median as 99% of its past."""
MIN_ANOMALY_SECONDS = 60.0
"""Duration for which a series must keep its distance; shorter peaks are rare events, not anomalies."""
ROUNDING_RATIO = 1e-9
"""Growth of a counter over its value, up to which it is a rounding error."""
COUNTER_SUFFIXES = ("_total", "_count", "_sum", "_bucket")


@dataclass(frozen=True, slots=True)
class AnalysisWindow:
    """Grid times (Unix seconds): those before index `first` are the baseline, the rest is analyzed."""

    times: Floats
    first: int


class MetricAnomaly(NamedTuple):
    """Anomaly score of a metric of a service. since: Unix seconds; baseline, now: in the metric's unit."""

    service: Service
    metric: str
    score: float
    since: float
    baseline: float
    now: float


class AnomalyScores(NamedTuple):
    """Scores of several series, arrays of shape (series,); NaN without enough points.

    onset: index of the first anomalous point. baseline: median of the past. now: value at the highest score.
    """

    score: Floats
    onset: NDArray[np.int64]
    baseline: Floats
    now: Floats


def metric_anomalies(
    metric: str, series: Matrix, window: AnalysisWindow, counter: bool | None = None
) -> tuple[MetricAnomaly, ...]:
    """The highest-scoring series of each service among those of one metric, anomalous or not.

    counter: whether the metric only increases; None: derived from its name and past.
    """
    if not len(series):
        return ()
    values = series.values
    events = False
    if is_counter(metric, values[:, : window.first]) if counter is None else counter:
        values = _with_leading_zeros(series.labels, increases(values), window.first)
        events = bool((np.nan_to_num(values) % 1 == 0).all())
    step = float(window.times[1] - window.times[0])
    scores = anomaly_scores(values, window.first, max(1, round(MIN_ANOMALY_SECONDS / step)), events=events)
    highest: dict[Service, MetricAnomaly] = {}
    for row, labels in enumerate(map(dict, series.labels)):
        score = float(scores.score[row])
        if np.isnan(score):
            continue
        service = owner(metric, labels)
        if service not in highest or score > highest[service].score:
            since = float(window.times[scores.onset[row]])
            baseline, now = float(scores.baseline[row]), float(scores.now[row])
            highest[service] = MetricAnomaly(service, metric, score, since, baseline, now)
    return tuple(highest[service] for service in sorted(highest))


def is_counter(metric: str, past: Floats) -> bool:
    """Whether a metric is a counter, by its name or because it almost only increased in the past."""
    if metric.endswith(COUNTER_SUFFIXES):
        return True
    steps = np.diff(past, axis=1)
    steps = steps[np.isfinite(steps)]
    return steps.size >= MIN_BASELINE_POINTS and float((steps > 0).mean()) >= 0.5 and float((steps < 0).mean()) <= 0.01


def increases(values: Floats) -> Floats:
    """Increase of a counter from point to point, same shape; its value after a reset, NaN at the first point."""
    steps = np.full_like(values, np.nan)
    steps[:, 1:] = np.diff(values, axis=1)
    steps[np.abs(steps) < ROUNDING_RATIO * (1.0 + np.abs(values))] = 0.0
    return np.where(steps < 0, values, steps)


def _with_leading_zeros(labels: tuple[Labels, ...], values: Floats, first: int) -> Floats:
    """Increases with zeros instead of NaN for counters that appear late on a replica with a baseline.

    Such a counter counts a kind of event that had not occurred before.
    """
    replicas = [replica_key(dict(pairs)) for pairs in labels]
    has_baseline = np.isfinite(values[:, :first]).sum(axis=1) >= MIN_BASELINE_POINTS
    alive = {replica for replica, has in zip(replicas, has_baseline, strict=True) if has}
    late = np.array([replica in alive for replica in replicas]) & ~has_baseline
    if late.any():
        values = values.copy()
        values[late] = np.nan_to_num(values[late])
    return values


def histogram_means(sums: Matrix, counts: Matrix) -> Matrix:
    """Mean observation of a histogram or summary between grid points; NaN without observations."""
    rows = {labels: row for row, labels in enumerate(counts.labels)}
    means: dict[Labels, Floats] = {}
    sum_increases, count_increases = increases(sums.values), increases(counts.values)
    for labels, increase in zip(sums.labels, sum_increases, strict=True):
        if (row := rows.get(labels)) is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                means[labels] = np.where(count_increases[row] > 0, increase / count_increases[row], np.nan)
    return Matrix.of(sums.times, means)


def anomaly_scores(values: Floats, first: int, min_points: int = 1, *, events: bool = False) -> AnomalyScores:
    """Distance of each row from its own past, sustained for `min_points` points in a row from index `first` on.

    events: the values count events, whose standard deviation is at least the root of their number.
    """
    smooth = smoothed(values)
    past, after = smooth[:, :first], smooth[:, first:]
    rows = len(values)
    score, baseline, now = np.full(rows, np.nan), np.full(rows, np.nan), np.full(rows, np.nan)
    onset = np.full(rows, first, np.int64)
    known = (np.isfinite(past).sum(axis=1) >= MIN_BASELINE_POINTS) & np.isfinite(after).any(axis=1)
    if not known.any():
        return AnomalyScores(score, onset, baseline, now)
    past, after = past[known], after[known]
    p01, p25, median, p75, p99 = np.nanquantile(past, (0.01, 0.25, 0.5, 0.75, 0.99), axis=1)
    peak = np.maximum(np.nanmax(np.abs(past), axis=1), np.nanmax(np.abs(after), axis=1))
    floor = np.maximum(MIN_SCALE_TO_LEVEL_RATIO * np.abs(median), MIN_SCALE_TO_PEAK_RATIO * peak)
    floor = np.maximum(floor, np.finfo(float).tiny)
    if events:
        floor = np.maximum(floor, np.sqrt(median + 1.0))
    scale = np.maximum(p75 - p25, floor)
    up = (after - median[:, None]) / np.maximum(scale, (p99 - median) / TAIL_SCALES)[:, None]
    down = DROP_WEIGHT * (median[:, None] - after) / np.maximum(scale, (median - p01) / TAIL_SCALES)[:, None]
    distance = np.fmax(sustained(up, min_points), sustained(down, min_points))
    highest, at = np.nanmax(distance, axis=1), np.nanargmax(distance, axis=1)
    anomalous = np.nan_to_num(distance, nan=-np.inf) >= np.maximum(ANOMALOUS_SCORE, highest / 4)[:, None]
    score[known], baseline[known] = np.maximum(highest, 0.0), median
    now[known] = after[np.arange(len(after)), at]
    onset[known] = first + np.where(anomalous.any(axis=1), anomalous.argmax(axis=1), at)
    return AnomalyScores(score, onset, baseline, now)


def sustained(values: Floats, points: int) -> Floats:
    """Minimum over each point and the `points` - 1 after it; missing points are skipped."""
    minimum = values.copy()
    for offset in range(1, min(points, values.shape[1])):
        later = np.full_like(values, np.nan)
        later[:, : values.shape[1] - offset] = values[:, offset:]
        minimum = np.where(np.isnan(later), minimum, np.minimum(minimum, later))
    return minimum


def smoothed(values: Floats) -> Floats:
    """Median of each point and the two before it; a missing point counts as the point itself."""
    before, earlier = values.copy(), values.copy()
    before[:, 1:] = np.where(np.isnan(values[:, :-1]), values[:, 1:], values[:, :-1])
    earlier[:, 2:] = np.where(np.isnan(values[:, :-2]), values[:, 2:], values[:, :-2])
    low, high = np.minimum(values, before), np.maximum(values, before)
    return np.maximum(low, np.minimum(high, earlier))


SERVICE_LABELS = (
    *("service_name", "service", "app", "app_kubernetes_io_name"),
    *("deployment", "statefulset", "daemonset", "workload", "horizontalpodautoscaler", "k8s_deployment_name"),
    *("container", "k8s_container_name", "container_label_com_docker_compose_service", "container_name"),
    *("pod", "k8s_pod_name", "pod_name", "job", "instance", "node", "host"),
)
"""Labels that name a service, the most specific first: OpenTelemetry's, then those of applications, of the cluster
(kube-state-metrics, cAdvisor, Istio), and of scrape configurations."""

NAMESPACE_LABELS = {"service_name": "service_namespace"}
"""Only OpenTelemetry's namespace is part of the service's name; that of a cluster is a location."""

POD_LABELS = frozenset({"pod", "k8s_pod_name", "pod_name"})

HOST_LABELS = frozenset({"instance", "node", "host"})

REPLICA_LABELS = (*sorted(POD_LABELS | HOST_LABELS), "container_id", "id", "uid", "endpoint", "name")
"""Labels that distinguish replicas."""

_EXPORTER_PREFIXES = ("node_", "container_", "kube_", "machine_", "gpu_", "gpus_", "DCGM_")
"""Prefixes of metrics whose `job` label names the exporter, not the service."""

_PLACEHOLDERS = frozenset({"", "POD", "none", "null"})
"""Label values without a name; cAdvisor's POD is the container that holds a pod's network."""

_POD_NAME = re.compile(
    r"(?P<name>.+?)(?:-[0-9]+|-[a-z0-9]{5}|-[a-f0-9]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}"
    r"|-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5})"
)
"""Pod name as Deployments, StatefulSets, and DaemonSets generate it (k8s.io/apimachinery/pkg/util/rand: no vowels)."""

CALL_LABELS = (
    ("client", "server", "client_service_namespace", "server_service_namespace"),
    ("source_workload", "destination_workload", "", ""),
    ("source_app", "destination_app", "", ""),
    ("source_service", "destination_service_name", "", ""),
)
"""Labels of client and server, and of their namespaces: the service graph (OpenTelemetry, Tempo), and Istio."""


def call_of(labels: Mapping[str, str]) -> tuple[Service, Service] | None:
    """Client and server of a series about calls; None for other series."""
    for client, server, client_namespace, server_namespace in CALL_LABELS:
        if labels.get(client) and labels.get(server):
            return (
                Service(labels.get(client_namespace, ""), labels[client]),
                Service(labels.get(server_namespace, ""), labels[server]),
            )
    return None


def owner(metric: str, labels: Mapping[str, str]) -> Service:
    """The service of a series: the server of a call, else by the first label of `SERVICE_LABELS`.

    A series without such a label belongs to a service named after the metric without its last word.
    """
    if call := call_of(labels):
        return call[1]
    for label in SERVICE_LABELS:
        value = labels.get(label, "")
        if value in _PLACEHOLDERS or (label == "job" and metric.startswith(_EXPORTER_PREFIXES)):
            continue
        if label in POD_LABELS:
            value = without_pod_suffix(value)
        elif label in HOST_LABELS:
            value = re.sub(r":\d+$", "", value)
        return Service(labels.get(NAMESPACE_LABELS.get(label, ""), ""), value)
    head, _, _ = metric.rpartition("_")
    return Service("", head or metric)


def without_pod_suffix(pod: str) -> str:
    """`checkout` for `checkout-6c5bd6d5f4-x2x9k`, `checkout-0`, and `checkout-x2x9k`."""
    match = _POD_NAME.fullmatch(pod)
    return match["name"] if match and any(char.isdigit() for char in pod[len(match["name"]) :]) else pod


def replica_key(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Values of the labels that distinguish replicas."""
    return tuple(labels.get(label, "") for label in REPLICA_LABELS)
