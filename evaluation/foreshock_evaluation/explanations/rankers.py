"""Baseline rankings from any metrics: robust scorer, N-sigma, traversal, and random walk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.root_cause.counters import increases, is_counter
from foreshock_dashboard.analysis.root_cause.series_owner import call_of, owner
from foreshock_dashboard.ingest.span_metrics.names import ACCOUNTING_FAMILIES
from foreshock_dashboard.model.query import Matrix, MetricSource, grid
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.all_series import read_all_series
from foreshock_evaluation.scores.ranking import Scores, random_walk, traverse

PRESENT_SECONDS = 60.0
"""Time before the question that belongs to the anomalous time, as one scrape may take so long."""
HISTORY_SECONDS, FUTURE_SECONDS = 7200.0, 600.0
"""Time read before and after the question."""
MIN_BASELINE_POINTS = 5
ANOMALOUS_SCORE = 3.0
"""Score from which a baseline names a service: the rule of three sigma."""
_OWN = frozenset(family.name for family in ACCOUNTING_FAMILIES)
"""Metrics of the hub about itself."""


class MetricScores(NamedTuple):
    """Highest score of each service's series, by two scorers, and the map of calls."""

    robust: Scores
    sigma: Scores
    calls: Mapping[Service, tuple[Service, ...]]


def metric_scores(source: MetricSource, at: float, start: float, end: float, step: float) -> MetricScores:
    """Scores of all services at a time (Unix seconds) from data between `start` and `end`.

    Raises:
        SourceError: the source cannot answer.
    """
    times = grid(max(start, at - HISTORY_SECONDS), max(start + step, min(end, at + FUTURE_SECONDS)), step)
    first = int(np.searchsorted(times, at - PRESENT_SECONDS, side="right"))
    robust: dict[Service, float] = {}
    sigma: dict[Service, float] = {}
    calls: dict[Service, dict[Service, None]] = {}
    for metric, series, counts, _ in read_all_series(source, float(times[0]), float(times[-1]), step):
        if metric in _OWN:
            continue
        if counts is not None:
            means = _histogram_means(series, counts)
            tables = [(counts, increases(counts.values)), (means, means.values)]
        else:
            counter = is_counter(metric, series.values[:, :first])
            tables = [(series, increases(series.values) if counter else series.values)]
        for table, values in tables:
            for scores, found in ((robust, robust_scores(values, first)), (sigma, sigma_scores(values, first))):
                for labels, score in zip(table.labels, found.tolist(), strict=True):
                    service = owner(metric, dict(labels))
                    scores[service] = max(scores.get(service, 0.0), score)
        for labels in series.labels:
            if call := call_of(dict(labels)):
                calls.setdefault(call[0], {})[call[1]] = None
    return MetricScores(robust, sigma, {client: tuple(servers) for client, servers in calls.items()})


def _histogram_means(sums: Matrix, counts: Matrix) -> Matrix:
    """Mean observation of a histogram or summary between grid points; NaN without observations."""
    row_of = {labels: row for row, labels in enumerate(counts.labels)}
    counted, summed = increases(counts.values), increases(sums.values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = {
            labels: np.where(counted[row_of[labels]] > 0, increase / counted[row_of[labels]], np.nan)
            for labels, increase in zip(sums.labels, summed, strict=True)
            if labels in row_of
        }
    return Matrix.of(sums.times, means)


def robust_scores(values: Floats, first: int) -> Floats:
    """Largest |x − median| / IQR of each row from index `first` on (BARO's RobustScorer, FSE 2024); 0 if unknown."""
    low, middle, high = _quantiles(values[:, :first])
    return _largest(values[:, first:], middle, high - low, np.isfinite(values[:, :first]).sum(axis=1, dtype=np.float64))


def sigma_scores(values: Floats, first: int) -> Floats:
    """Largest |x − mean| / standard deviation of each row from index `first` on (N-sigma); 0 if unknown."""
    past = np.ma.masked_invalid(values[:, :first])
    mean, deviation = (np.ma.filled(part, np.nan) for part in (past.mean(axis=1), past.std(axis=1)))
    return _largest(values[:, first:], mean, deviation, np.asarray(past.count(axis=1), np.float64))


def _quantiles(past: Floats) -> Floats:
    masked = np.where(np.isfinite(past).any(axis=1, keepdims=True), past, 0.0)
    if not past.size:
        return np.full((3, len(past)), np.nan)
    return np.asarray(np.nanquantile(masked, (0.25, 0.5, 0.75), axis=1))


def _largest(now: Floats, level: Floats, scale: Floats, points: Floats) -> Floats:
    """Largest distance from a level in scales; a scale of 0 counts as 1, as in scikit-learn's scalers."""
    distance = np.abs(now - level[:, None]) / np.where(scale > 0, scale, 1.0)[:, None]
    known = np.where(np.isfinite(distance), distance, 0.0)
    return np.where(points >= MIN_BASELINE_POINTS, known.max(axis=1, initial=0.0), 0.0)


def _starts(scores: MetricScores, asked: Service | None) -> frozenset[Service]:
    """The service asked about; without one, all services without a caller."""
    if asked is not None:
        return frozenset({asked})
    called = {server for servers in scores.calls.values() for server in servers}
    return frozenset(client for client in scores.calls if client not in called)


RANKERS: Mapping[str, Callable[[MetricScores, Service | None], Scores]] = {
    "robust scorer": lambda scores, _: scores.robust,
    "N-sigma": lambda scores, _: scores.sigma,
    "traversal": lambda scores, asked: traverse(scores.robust, scores.calls, _starts(scores, asked)),
    "random walk": lambda scores, asked: random_walk(scores.robust, scores.calls, _starts(scores, asked)),
}
