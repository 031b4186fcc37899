"""Anomaly scores of arbitrary metrics, the owner of a series, and the ranking by anomalies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock_dashboard.analysis.root_cause.anomaly_ranking import GenericAnomalies, group_by_service, rank_by_anomaly
from foreshock_dashboard.analysis.root_cause.metric_anomalies import (
    ANOMALOUS_SCORE,
    AnalysisWindow,
    anomaly_scores,
    call_of,
    histogram_means,
    increases,
    is_counter,
    metric_anomalies,
    owner,
    without_pod_suffix,
)
from foreshock_dashboard.analysis.root_cause.rank import blended
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.render.action import reasons_text

POINTS, FIRST, STEP = 200, 150, 15.0
WINDOW = AnalysisWindow(np.arange(POINTS, dtype=np.float64) * STEP, FIRST)


def noise(seed: int, level: float = 10.0) -> Floats:
    """A level with 5% of noise."""
    return level * (1 + 0.05 * np.random.default_rng(seed).standard_normal(POINTS))


def stepped(seed: int, times: float, level: float = 10.0) -> Floats:
    """The same, so many times as high from `FIRST` on."""
    values = noise(seed, level)
    values[FIRST:] *= times
    return values


def matrix(rows: dict[str, Floats], label: str = "app") -> Matrix:
    """One series for each service."""
    return Matrix.of(WINDOW.times, {labels_of({label: name}): values for name, values in rows.items()})


@pytest.mark.parametrize(
    ("pod", "name"),
    [
        ("checkout-6c5bd6d5f4-x2x9k", "checkout"),
        ("redis-cart-7d9bbd8c5-kzbvm", "redis-cart"),
        ("ts-order-service-v1-0", "ts-order-service-v1"),
        ("fluentd-x7k2p", "fluentd"),
        ("front-end", "front-end"),
        ("ts-auth-service", "ts-auth-service"),
        ("llm-a100", "llm-a100"),
    ],
)
def test_a_generated_suffix_of_a_pod_name_is_removed(pod: str, name: str) -> None:
    """Hyphens and digits of service names stay."""
    assert without_pod_suffix(pod) == name


@pytest.mark.parametrize(
    ("metric", "labels", "expected"),
    [
        ("x", {"service_name": "a", "service_namespace": "n", "job": "j"}, Service("n", "a")),
        ("x", {"service": "a", "namespace": "n", "pod": "p-0"}, Service("", "a")),
        ("container_cpu_usage_seconds_total", {"container": "POD", "pod": "a-0", "job": "kubelet"}, Service("", "a")),
        ("container_cpu_usage_seconds_total", {"container": "a", "pod": "b-0", "job": "kubelet"}, Service("", "a")),
        ("node_load1", {"job": "node-exporter", "instance": "host-1:9100"}, Service("", "host-1")),
        ("gpus_present", {"job": "foreshock-exporter", "instance": "host-1:10877"}, Service("", "host-1")),
        ("http_requests_total", {"job": "a", "instance": "10.0.0.1:80"}, Service("", "a")),
        ("x", {"client": "a", "server": "b", "server_service_namespace": "n", "job": "j"}, Service("n", "b")),
        ("checkout_cpu", {}, Service("", "checkout")),
        ("up", {}, Service("", "up")),
    ],
)
def test_a_series_belongs_to_the_service_of_its_most_specific_label(
    metric: str, labels: dict[str, str], expected: Service
) -> None:
    """A call belongs to its server; a series without such a label, to the metric's name."""
    assert owner(metric, labels) == expected


def test_calls_are_recognized_by_the_labels_of_service_graphs_and_meshes() -> None:
    """OpenTelemetry's, Tempo's and Istio's."""
    assert call_of({"client": "a", "server": "b"}) == (Service("", "a"), Service("", "b"))
    assert call_of({"source_workload": "a", "destination_workload": "b"}) == (Service("", "a"), Service("", "b"))
    assert call_of({"client": "a"}) is None


@pytest.mark.parametrize(
    ("values", "anomalous"),
    [
        (noise(1), False),
        (stepped(1, 3.0), True),
        (stepped(1, 0.1), True),
        (np.full(POINTS, 4.0), False),
        (np.where(np.arange(POINTS) >= FIRST, 4.04, 4.0), False),
        (np.where(np.arange(POINTS) == FIRST + 5, 90.0, 0.0), False),
        (np.where(np.arange(POINTS) % 30 < 5, 90.0, 1.0), False),
        (np.where(np.arange(POINTS) < FIRST - 3, math.nan, 9.0), False),
        (np.where(np.arange(POINTS) >= FIRST, math.nan, 9.0), False),
        (np.full(POINTS, math.nan), False),
    ],
)
def test_only_a_sustained_deviation_from_the_past_is_anomalous(values: Floats, anomalous: bool) -> None:
    """Not a constant, a blip, a recurring peak, or a series without past or present."""
    score = anomaly_scores(values[None], FIRST, min_points=4)[0][0]
    assert bool(score >= ANOMALOUS_SCORE) == anomalous


@given(st.floats(1e-6, 1e6), st.integers(0, 1000))
def test_scores_do_not_depend_on_the_unit(scale: float, seed: int) -> None:
    """Seconds or milliseconds, bytes or gigabytes."""
    values = stepped(seed, 2.0)[None]
    assert anomaly_scores(values * scale, FIRST)[0][0] == pytest.approx(anomaly_scores(values, FIRST)[0][0], rel=1e-6)


def test_a_counter_scores_by_its_increases_also_after_a_reset() -> None:
    """A counter is recognized by its name, or because it only grew."""
    counted = np.cumsum(np.full(POINTS, 3.0))
    counted[100:] -= counted[100] - 1.0
    grown = increases(counted[None])[0]
    assert math.isnan(grown[0])
    assert set(np.round(np.delete(grown[1:], 99), 9)) == {3.0}
    assert grown[100] == 1.0
    assert is_counter("a_total", noise(1)[None])
    assert is_counter("a", np.cumsum(np.full(POINTS, 3.0))[None])
    assert not is_counter("a", noise(1)[None])


def test_a_late_counter_starts_at_zero_where_its_replica_has_a_baseline() -> None:
    """The first error creates a series; a new replica creates many, and none of them is anomalous."""
    old = np.cumsum(np.full(POINTS, 9.0))
    new = np.where(np.arange(POINTS) >= FIRST, np.cumsum(np.where(np.arange(POINTS) >= FIRST, 50.0, 0.0)), math.nan)

    def score(instance: str) -> float:
        rows = {
            labels_of({"app": "a", "code": "200", "instance": "x:1"}): old,
            labels_of({"app": "a", "code": "500", "instance": instance}): new,
        }
        (scores_of,) = metric_anomalies("requests_total", Matrix.of(WINDOW.times, rows), WINDOW)
        return scores_of.score

    assert score("x:1") >= ANOMALOUS_SCORE
    assert score("y:1") < ANOMALOUS_SCORE


def test_a_histogram_gives_the_mean_observation() -> None:
    """Increase of the sum over that of the count; NaN without observations."""
    count = np.cumsum(np.where(np.arange(POINTS) == 50, 0.0, 4.0))
    total = np.cumsum(np.where(np.arange(POINTS) == 50, 0.0, 2.0))
    (mean,) = histogram_means(matrix({"a": total}), matrix({"a": count})).values
    assert math.isnan(mean[50])
    assert set(np.delete(mean, [0, 50])) == {0.5}


def scores_of(rows: dict[str, Floats]) -> dict[Service, float]:
    """Suspected causes of the anomaly of `front`, with their scores."""
    seen = group_by_service(metric_anomalies("latency", matrix(rows), WINDOW))
    return {
        item.service: item.score for item in rank_by_anomaly(Service("", "front"), GenericAnomalies(seen, {}, STEP))
    }


ROWS = {"front": stepped(1, 2.0), "cart": stepped(2, 5.0), "pay": noise(3), "ship": stepped(4, 1.6)}


@settings(max_examples=25)
@given(st.floats(1e-3, 1e3))
def test_scaling_all_of_a_metric_changes_no_ranking(scale: float) -> None:
    """Only the distance from the own past counts."""
    assert list(scores_of({name: values * scale for name, values in ROWS.items()})) == list(scores_of(ROWS))


@settings(max_examples=25)
@given(st.permutations(["cart", "pay", "ship"]))
def test_permuting_services_permutes_the_answer(names: list[str]) -> None:
    """Names do not matter."""
    swap = dict(zip(("cart", "pay", "ship"), names, strict=True)) | {"front": "front"}
    other = scores_of({swap[name]: values for name, values in ROWS.items()})
    for service, score in scores_of(ROWS).items():
        assert other[Service("", swap[service.name])] == pytest.approx(score)


def test_a_silent_extra_service_changes_nothing() -> None:
    """Nor does one that is constant."""
    extra = {"idle": np.zeros(POINTS), "gone": np.full(POINTS, math.nan)}
    assert scores_of(ROWS | extra) == scores_of(ROWS)


def test_the_walk_ends_on_a_cycle_of_calls() -> None:
    """Mass moves to the more anomalous service; scores sum to 1."""
    seen = group_by_service(metric_anomalies("latency", matrix(ROWS), WINDOW))
    front, cart, ship = (Service("", name) for name in ("front", "cart", "ship"))
    calls = {front: (cart, ship), cart: (front,), ship: (cart, front)}
    candidates = rank_by_anomaly(front, GenericAnomalies(seen, calls, STEP))
    assert candidates[0].service == cart
    assert sum(item.score for item in candidates) == pytest.approx(1.0)


def test_a_service_without_namespace_is_the_only_one_of_that_name() -> None:
    """A container's label and a span's resource name the same service; of two such, neither is meant."""
    seen = metric_anomalies("latency", matrix(ROWS), WINDOW)
    assert Service("shop", "cart") in group_by_service(seen, [Service("shop", "cart")])
    both = group_by_service(seen, [Service("shop", "cart"), Service("test", "cart")])
    assert Service("", "cart") in both


def test_the_graph_walk_counts_three_times_as_much_as_generic_anomalies() -> None:
    """Reasons of both are reported."""
    a, b = Service("", "a"), Service("", "b")
    known, odd = (Reason("cause", name="overload"),), (Reason("metric", b, "load", 2.0, 1.0, 1_800_000_000.0),)
    candidates = blended((Candidate(a, 0.6, known), Candidate(b, 0.4, known)), (Candidate(b, 1.0, odd),))
    assert [(item.service, round(item.score, 2), item.reasons) for item in candidates] == [
        (b, 0.55, known + odd),
        (a, 0.45, known),
    ]
    assert reasons_text(known + odd) == "overload; load 2 (baseline 1) since 08:00:00"
