"""Signals of any series: which are counters, and what their values mean."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause.deviation import (
    AnalysisWindow,
    deviations,
    normal_score,
    sampling_noise,
)
from foreshock_dashboard.analysis.root_cause.metric_kinds import metric_kind
from foreshock_dashboard.analysis.root_cause.signal_rows import is_counter, signal_rows
from foreshock_dashboard.model.query import Matrix, MetricSeries
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.types import Floats

POINTS = 60
RNG = np.random.default_rng(1)
CONSTANT: Floats = np.full(POINTS, 30.0)
WANDERING: Floats = 30.0 + RNG.integers(-1, 2, POINTS).astype(np.float64)
GROWING: Floats = np.cumsum(RNG.poisson(5.0, POINTS)).astype(np.float64)
RARE: Floats = np.cumsum(np.arange(POINTS) % 10 == 0).astype(np.float64)
RESTARTED: Floats = np.concatenate([GROWING[:40], GROWING[:20]])


@pytest.mark.parametrize(
    ("metric", "past", "expected"),
    [
        ("jvm_thread_count", CONSTANT, False),
        ("db_client_connection_count", WANDERING, False),
        ("orders_count", GROWING, True),
        ("orders_sum", RARE, True),
        ("orders_count", RESTARTED, True),
        ("orders_total", CONSTANT, True),
    ],
)
def test_a_metric_named_count_is_a_counter_only_if_it_grew(metric: str, past: Floats, expected: bool) -> None:
    """An UpDownCounter of OpenTelemetry has the same suffix."""
    assert is_counter(metric, past[None]) is expected


@pytest.mark.parametrize(
    ("metric", "labels", "before", "after"),
    [
        ("kube_deployment_status_replicas_available", {}, 3.0, 1.0),
        ("kube_deployment_status_replicas_unavailable", {}, 0.0, 2.0),
        ("envoy_cluster_membership_unhealthy", {}, 0.0, 2.0),
        ("kube_pod_status_ready", {"condition": "true"}, 1.0, 0.0),
        ("kube_pod_status_ready", {"condition": "false"}, 0.0, 1.0),
    ],
)
def test_lost_availability_is_worse_whichever_way_it_is_counted(
    metric: str, labels: dict[str, str], before: float, after: float
) -> None:
    """A series of the opposite condition says the same twice and is left out."""
    times = 60.0 * np.arange(POINTS, dtype=np.float64)
    values = np.where(np.arange(POINTS) < 50, before, after)
    series = MetricSeries(metric, Matrix.of(times, {labels_of({"service": "store", **labels}): values}))
    found = deviations(signal_rows([series], 40, 60.0), AnalysisWindow(times, 40, 45, times[50]))
    assert [row.kind for row in found.rows] == ([] if labels.get("condition") == "false" else ["availability"])
    assert (found.z[:, -1] > 4).all()
    assert found.level.tolist() == [before] * len(found.rows)


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("process_start_time_seconds", "other"),
        ("kube_pod_created", "other"),
        ("node_boot_time_seconds", "other"),
        ("http_server_request_duration_seconds", "latency"),
        ("response_time", "latency"),
    ],
)
def test_a_point_in_time_is_no_latency(metric: str, kind: str) -> None:
    """Every process reports when it started, in seconds."""
    assert metric_kind(metric) == kind


@pytest.mark.parametrize(("failures", "low", "high"), [(1, 0.8, 1.5), (3, 2.0, 2.6), (12, 5.0, 6.5)])
def test_failures_count_as_the_root_of_their_number(failures: int, low: float, high: float) -> None:
    """Of 400 requests of which none fails normally: one failure proves nothing."""
    counts, level, now = np.full((1, 1), 400.0), np.zeros((1, 1)), np.full((1, 1), failures / 400)
    z = now / sampling_noise("errors", [], counts, level, now)
    assert low <= z[0, 0] <= high


@pytest.mark.parametrize(("t", "freedom", "z"), [(3.0, 1e6, 3.0), (30.0, 2.0, 3.5), (-5.6, 7.0, -3.45)])
def test_a_scale_from_few_points_counts_less(t: float, freedom: float, z: float) -> None:
    """As the quantile of a normal distribution that is as unlikely as that of Student's t."""
    assert normal_score(np.array(t), np.array(freedom)) == pytest.approx(z, abs=0.05)


@pytest.mark.parametrize("metric", ["rpc_milliseconds", "rpc_ms"])
def test_latencies_in_milliseconds_are_values_and_names_in_seconds(metric: str) -> None:
    """A gauge here; a name that stays would make 100 ms of 0.1 s."""
    times = 60.0 * np.arange(POINTS, dtype=np.float64)
    values = np.full(POINTS, 100.0)
    series = MetricSeries(f"latency_{metric}", Matrix.of(times, {labels_of({"service": "store"}): values}))
    (row,) = signal_rows([series], 40, 60.0)
    assert (row.metric, row.values[-1]) == ("latency_rpc_seconds", pytest.approx(0.1))


def test_the_level_of_traffic_that_was_never_there_is_zero() -> None:
    """Its logarithm is taken of a positive number."""
    times = 60.0 * np.arange(POINTS, dtype=np.float64)
    rate = np.where(np.arange(POINTS) < 50, 0.0, 7.0)
    series = MetricSeries("requests_rate", Matrix.of(times, {labels_of({"service": "store"}): rate}))
    found = deviations(signal_rows([series], 40, 60.0), AnalysisWindow(times, 40, 45, times[50]))
    assert found.level.tolist() == [0.0]
