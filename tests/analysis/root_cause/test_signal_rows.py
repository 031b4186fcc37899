"""Signals of any series: which are counters, and what their values mean."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause.counters import is_counter
from foreshock_dashboard.analysis.root_cause.deviation import (
    AnalysisWindow,
    deviations,
    normal_score,
    sampling_noise,
)
from foreshock_dashboard.analysis.root_cause.metric_kinds import is_share, metric_kind
from foreshock_dashboard.analysis.root_cause.parameters import ANOMALOUS_Z
from foreshock_dashboard.analysis.root_cause.signal_rows import SignalRow, signal_rows
from foreshock_dashboard.analysis.root_cause.usage_limits import SHARES
from foreshock_dashboard.model.query import Matrix, MetricSeries
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.service import Service
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


@pytest.mark.parametrize(("gpu", "is_compared"), [("GPU-0", True), ("GPU-1", False)])
def test_a_new_replica_on_its_own_gpu_has_no_past_to_deviate_from(gpu: str, is_compared: bool) -> None:
    """A service that begins to use a GPU of another one does: it is new there."""
    times = 60.0 * np.arange(POINTS, dtype=np.float64)
    busy = np.cumsum(np.full(POINTS, 30.0))
    series = {
        labels_of({"instance": "host-1:9400", "service_name": service, "uuid": uuid}): values
        for service, uuid, values in (
            ("chat", "GPU-0", busy),
            ("batch", gpu, np.where(np.arange(POINTS) < 50, np.nan, busy)),
        )
    }
    rows = signal_rows([MetricSeries("gpu_service_busy_seconds_total", Matrix.of(times, series))], 40, 60.0)
    found = deviations(rows, AnalysisWindow(times, 40, 45, times[50]))
    assert (Service("", "batch") in found.by_entity) is is_compared


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("process_start_time_seconds", "other"),
        ("kube_pod_created", "other"),
        ("node_boot_time_seconds", "other"),
        ("http_server_request_duration_seconds", "latency"),
        ("response_time", "latency"),
        ("node_memory_MemAvailable_bytes", "resource"),
        ("traces_span_metrics_responses_total", "traffic"),
        ("http_response_size_bytes", "resource"),
    ],
)
def test_a_name_with_words_of_two_kinds_has_the_kind_that_it_means(metric: str, kind: str) -> None:
    """Every process reports when it started, in seconds, and memory that is available is memory."""
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


TIMES = 60.0 * np.arange(POINTS, dtype=np.float64)
IN_FAULT = np.arange(POINTS) >= 50


def rows_of(metrics: Mapping[str, Mapping[Labels, Floats]]) -> list[SignalRow]:
    """Signals with a baseline of 40 minutes."""
    series = [MetricSeries(name, Matrix.of(TIMES, dict(rows))) for name, rows in metrics.items()]
    return signal_rows(series, 40, 60.0)


def container(name: str, **labels: str) -> Labels:
    """Labels of cAdvisor and of kube-state-metrics."""
    return labels_of({"namespace": "shop", "pod": f"{name}-0", "container": name, **labels})


@pytest.mark.parametrize(
    ("metrics", "share", "now"),
    [
        (
            {
                "container_memory_working_set_bytes": {container("cart"): np.where(IN_FAULT, 95e6, 50e6)},
                "kube_pod_container_resource_limits": {container("cart", resource="memory"): np.full(POINTS, 1e8)},
            },
            "memory_ratio",
            0.95,
        ),
        (
            {
                "container_cpu_usage_seconds_total": {container("cart"): np.cumsum(np.where(IN_FAULT, 30.0, 6.0))},
                "container_spec_cpu_quota": {container("cart"): np.full(POINTS, 50_000.0)},
                "container_spec_cpu_period": {container("cart"): np.full(POINTS, 100_000.0)},
            },
            "cpu_ratio",
            1.0,
        ),
        (
            {
                "container_cpu_cfs_throttled_periods_total": {
                    container("cart"): np.cumsum(np.where(IN_FAULT, 300, 0.0))
                },
                "container_cpu_cfs_periods_total": {container("cart"): np.cumsum(np.full(POINTS, 600.0))},
            },
            "cpu_throttled_ratio",
            0.5,
        ),
        (
            {
                "kubelet_volume_stats_used_bytes": {
                    labels_of({"persistentvolumeclaim": "data-cart-0"}): np.where(IN_FAULT, 99.0, 40.0)
                },
                "kubelet_volume_stats_capacity_bytes": {
                    labels_of({"persistentvolumeclaim": "data-cart-0"}): np.full(POINTS, 100.0)
                },
            },
            "disk_ratio",
            0.99,
        ),
        (
            {
                "process_open_fds": {labels_of({"job": "cart", "instance": "a:1"}): np.where(IN_FAULT, 1000.0, 50.0)},
                "process_max_fds": {labels_of({"job": "cart", "instance": "a:1"}): np.full(POINTS, 1024.0)},
            },
            "files_ratio",
            1000 / 1024,
        ),
    ],
)
def test_a_resource_that_reaches_its_limit_is_a_separate_signal(
    metrics: Mapping[str, Mapping[Labels, Floats]], share: str, now: float
) -> None:
    """Usage alone does not say that the container is limited by it."""
    found = {row.metric: row for row in rows_of(metrics) if row.metric in SHARES}
    assert list(found) == [share]
    assert found[share].entity == Service("", "cart")
    assert found[share].values[-1] == pytest.approx(now)


def test_memory_and_cpu_count_by_their_limits() -> None:
    """Each once. Far below the limit, twice as many bytes are nothing, nor is far more CPU of an idle container."""
    limits = {container("cart", resource="memory"): np.full(POINTS, 10e9), container("cart", resource="cpu"): CONSTANT}
    seconds = np.cumsum(np.where(IN_FAULT, 6.0, 0.06))
    rows = rows_of(
        {
            "container_memory_working_set_bytes": {container("cart"): np.where(IN_FAULT, 100e6, 50e6)},
            "container_memory_usage_bytes": {container("cart"): np.where(IN_FAULT, 100e6, 50e6)},
            "container_cpu_usage_seconds_total": {container("cart"): seconds},
            "kube_pod_container_resource_limits": limits,
        }
    )
    assert {row.metric for row in rows} - {"kube_pod_container_resource_limits"} == {"cpu_ratio", "memory_ratio"}
    found = deviations(rows, AnalysisWindow(TIMES, 40, 45, TIMES[50]))
    assert np.nanmax(found.z) < ANOMALOUS_Z


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("memory_ratio", True), ("instance:node_memory_utilisation:ratio", True), ("gc_duration_seconds_count", False)],
)
def test_a_share_has_the_word_in_its_name(metric: str, expected: bool) -> None:
    """Duration, operations, and generation contain its letters."""
    assert is_share(metric) == expected


@pytest.mark.parametrize("unit", [1.0, 100.0], ids=["share", "percent"])
@pytest.mark.parametrize(("now", "anomalous"), [(0.06, False), (0.9, True)])
def test_a_host_is_anomalous_by_the_share_of_it_that_is_used(now: float, anomalous: bool, unit: float) -> None:
    """An idle host that is six times as busy is still idle."""
    busy = unit * np.where(IN_FAULT, now, 0.01)
    rows = rows_of({"instance:node_cpu_utilisation:rate1m": {labels_of({"instance": "node-1:9100"}): busy}})
    found = deviations(rows, AnalysisWindow(TIMES, 40, 45, TIMES[50]))
    assert bool(np.nanmax(found.z) >= ANOMALOUS_Z) == anomalous


@pytest.mark.parametrize("gone", [("cart",), ("cart", "store", "web")])
def test_a_service_that_stops_reporting_is_unavailable(gone: tuple[str, ...]) -> None:
    """It has no traffic either. Where most stop at once, the source has a gap."""
    names = ("cart", "store", "web", "ads")
    cpu = {container(name): np.where(IN_FAULT & (name in gone), np.nan, WANDERING) for name in names}
    requests = {labels_of({"service": name}): np.where(IN_FAULT & (name in gone), np.nan, 9.5) for name in names}
    rows = rows_of({"cpu_usage": cpu, "requests_per_second": requests})
    vanished = {row.entity: row.values for row in rows if row.metric == "reported"}
    if len(gone) > 2:
        assert not vanished
        return
    assert list(vanished) == [Service("", "cart")]
    assert vanished[Service("", "cart")].tolist() == np.where(IN_FAULT, 0.0, 1.0).tolist()
    traffic = next(row for row in rows if row.kind == "traffic" and row.entity == Service("", "cart"))
    assert traffic.values[-1] == 0


@pytest.mark.parametrize(
    ("gone", "source", "vanished"),
    [
        pytest.param((0, 1), "job", (), id="a job that is not scraped"),
        pytest.param((0, 1), "instance", (), id="a target that is not scraped"),
        pytest.param((0,), "job", (0,), id="one of the services of a job"),
        pytest.param((4,), "job", (4,), id="the only service of a job"),
    ],
)
def test_services_that_vanish_with_all_that_reports_them_are_a_gap(
    gone: tuple[int, ...], source: str, vanished: tuple[int, ...]
) -> None:
    """Their traffic is unknown, not zero. Two of five services are of one job, or of one target of a job."""
    series = {}
    for number in range(5):
        group = str(number // 2)
        place = {"job": group} if source == "job" else {"job": "apps", "instance": f"host-{group}:80"}
        series[labels_of({"service": f"s{number}", **place})] = np.where(IN_FAULT & (number in gone), np.nan, 9.5)
    rows = rows_of({"cpu_usage": series, "requests_per_second": series})
    assert [row.entity for row in rows if row.metric == "reported"] == [Service("", f"s{n}") for n in vanished]
    (traffic,) = (row for row in rows if row.kind == "traffic" and row.entity == Service("", f"s{gone[0]}"))
    assert traffic.values[-1] == (0 if vanished else pytest.approx(np.nan, nan_ok=True))


def test_a_job_that_ends_is_no_outage() -> None:
    """It was absent before as well."""
    nightly = np.where(np.arange(POINTS) % 20 < 10, WANDERING, np.nan)
    rows = rows_of({"cpu_usage": {container("backup"): nightly, container("cart"): WANDERING}})
    assert not [row for row in rows if row.metric == "reported"]


@pytest.mark.parametrize(
    ("metric", "values"),
    [("error_percent", np.where(IN_FAULT, 12.0, 2.0)), ("error_ratio", np.where(IN_FAULT, 0.12, 0.02))],
)
def test_an_error_rate_in_percent_is_a_share(metric: str, values: Floats) -> None:
    """Values above 1 are not a number of failed requests."""
    row = next(row for row in rows_of({metric: {labels_of({"service": "cart"}): values}}))
    assert (row.kind, row.values[-1]) == ("errors", pytest.approx(0.12))


@pytest.mark.parametrize(
    "metric",
    ["node_netstat_Tcp_RetransSegs", "pod_retransmit_packets_total", "container_network_receive_packets_dropped_total"],
)
def test_lost_packets_are_no_failed_requests_and_no_traffic(metric: str) -> None:
    """They are a cause that lies with the pod or the host."""
    assert metric_kind(metric) == "resource"


@pytest.mark.parametrize("metric", ["payment_receive_errors_total", "tx_errors_total", "transmit_errors"])
def test_errors_of_an_application_that_receives_or_transmits_are_failures(metric: str) -> None:
    """Only those of a network interface lie with the pod or the host."""
    assert metric_kind(metric) == "errors"
    assert metric_kind("node_network_receive_errs_total") == metric_kind("container_network_transmit_errors_total")
    assert metric_kind("eth0_rx_errors") == metric_kind("nic_tx_dropped") == "resource"


@pytest.mark.parametrize("metric", ["http_error_percent", "http_error_rate"])
def test_all_series_of_an_error_rate_have_one_unit(metric: str) -> None:
    """One that stays below 1% is in percent as well."""
    low, high = labels_of({"service": "cart"}), labels_of({"service": "store"})
    rows = rows_of({metric: {low: np.where(IN_FAULT, 0.9, 0.2), high: np.where(IN_FAULT, 3.0, 0.2)}})
    shares = {str(row.entity): float(row.values[-1]) for row in rows if row.kind == "errors"}
    if metric.endswith("percent"):
        assert shares == pytest.approx({"cart": 0.009, "store": 0.03})
    else:
        assert not shares  # numbers of failures, of unknown requests


def test_an_availability_in_percent_is_one_for_all_services() -> None:
    """One that nearly always fails stays below 1.5%."""
    low, high = labels_of({"service": "cart"}), labels_of({"service": "store"})
    rows = rows_of({"availability": {low: np.full(POINTS, 1.0), high: np.full(POINTS, 99.0)}})
    assert {str(row.entity): float(row.values[-1]) for row in rows} == pytest.approx({"cart": 0.99, "store": 0.01})


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(4.0, 8.0, False), (4.0, 40.0, True), (400.0, 800.0, True), (4.5, 8.5, True)]
)
def test_a_few_connections_more_are_no_anomaly(before: float, after: float, expected: bool) -> None:
    """A number of things that come and go varies by its root, however constant it was."""
    rows = rows_of({"redis_connected_clients": {labels_of({"job": "cache"}): np.where(IN_FAULT, after, before)}})
    found = deviations(rows, AnalysisWindow(TIMES, 40, 45, TIMES[50]))
    assert (found.z[0, -1] > 4) is np.bool_(expected)


@pytest.mark.parametrize(
    ("metric", "before", "after"),
    [
        ("DCGM_FI_DEV_GPU_TEMP", 60.0, 85.0),
        ("node_hwmon_temp_celsius", 60.0, 85.0),
        ("gpu_power_watts", 200.0, 300.0),
        ("db_pool_active_connections", 20.0, 40.0),
    ],
)
def test_whole_numbers_of_a_measure_vary_by_their_resolution_not_by_their_root(
    metric: str, before: float, after: float
) -> None:
    """A temperature in whole degrees is no count. A pool twice as full is an anomaly."""
    rows = rows_of({metric: {labels_of({"service": "llm"}): np.where(IN_FAULT, after, before + WANDERING - 30)}})
    found = deviations(rows, AnalysisWindow(TIMES, 40, 45, TIMES[50]))
    assert found.z.max() > ANOMALOUS_Z


def compose(name: str, **labels: str) -> Labels:
    """Labels of a cAdvisor beside Docker Compose."""
    named = {"name": f"shop-{name}-1", "container_label_com_docker_compose_service": name, "id": f"/docker/{name}"}
    return labels_of({"job": "cadvisor", "instance": "cadvisor:8080", **named, **labels})


def test_containers_without_pods_have_limits_of_their_own() -> None:
    """All are of one job and one instance."""
    used = {compose("cart"): np.where(IN_FAULT, 0.99e9, 0.2e9), compose("store"): np.full(POINTS, 0.3e9)}
    limits = {compose("cart"): np.full(POINTS, 1e9), compose("store"): np.full(POINTS, 2e9), compose("web"): CONSTANT}
    rows = rows_of(
        {
            "container_memory_usage_bytes": {**used, compose("ads"): np.full(POINTS, 0.3e9)},
            "container_spec_memory_limit_bytes": limits,
        }
    )
    found = {(str(row.entity), row.metric): float(row.values[-1]) for row in rows if "spec" not in row.metric}
    assert found == pytest.approx(
        {
            ("cart", "memory_ratio"): 0.99,
            ("store", "memory_ratio"): 0.15,
            ("ads", "container_memory_usage_bytes"): 0.3e9,
        }
    )


def test_a_restarted_container_keeps_the_memory_that_it_reached() -> None:
    """It has another series after it was killed."""
    old = np.where(np.arange(POINTS) < 50, np.where(np.arange(POINTS) < 45, 0.2e9, 0.99e9), np.nan)
    new = np.where(IN_FAULT, 0.2e9, np.nan)
    rows = rows_of(
        {
            "container_memory_usage_bytes": {container("cart", id="a"): old, container("cart", id="b"): new},
            "container_spec_memory_limit_bytes": {container("cart", id="a"): np.full(POINTS, 1e9)},
        }
    )
    share = next(row.values for row in rows if row.metric == "memory_ratio")
    assert (share[49], share[-1]) == pytest.approx((0.99, 0.2))


def test_the_use_of_all_cpus_of_a_container_counts_against_its_limit() -> None:
    """cAdvisor may report each."""
    busy = np.cumsum(np.where(IN_FAULT, 30.0, 6.0))
    rows = rows_of(
        {
            "container_cpu_usage_seconds_total": {container("cart", cpu=f"cpu0{i}"): busy for i in range(2)},
            "kube_pod_container_resource_limits": {container("cart", resource="cpu"): np.full(POINTS, 1.0)},
        }
    )
    assert next(row.values[-1] for row in rows if row.metric == "cpu_ratio") == pytest.approx(1.0)


def test_a_claim_belongs_to_the_known_service_at_its_end() -> None:
    """Names of volumes contain hyphens as well."""
    claims = ("redis-data-redis-master-0", "prometheus-db-prometheus-k8s-0", "data-alone-0")
    known = ("redis-master", "master", "prometheus-k8s")
    rows = rows_of(
        {
            "kubelet_volume_stats_used_bytes": {
                labels_of({"persistentvolumeclaim": item}): CONSTANT for item in claims
            },
            "cpu_usage": {container(name): WANDERING for name in known},
        }
    )
    of_volumes = sorted(str(row.entity) for row in rows if row.metric.startswith("kubelet"))
    assert of_volumes == ["alone", "prometheus-k8s", "redis-master"]


def test_a_volume_counts_by_its_size() -> None:
    """A third more of a nearly empty one is nothing; its bytes are no signal beside."""
    labels = labels_of({"persistentvolumeclaim": "store-data"})
    rows = rows_of(
        {
            "kubelet_volume_stats_used_bytes": {labels: np.where(IN_FAULT, 60e6, 45e6)},
            "kubelet_volume_stats_capacity_bytes": {labels: np.full(POINTS, 10e9)},
        }
    )
    assert {(row.entity, row.metric) for row in rows} == {
        (Service("", "store"), "disk_ratio"),
        (Service("", "store"), "kubelet_volume_stats_capacity_bytes"),
    }
    assert deviations(rows, AnalysisWindow(TIMES, 40, 45, TIMES[50])).z.max() < 1


@pytest.mark.parametrize(("step", "expected"), [(1.0, 600.0), (10.0, 600.0), (60.0, 600.0), (300.0, 3000.0)])
def test_the_rate_of_a_gauge_stands_for_the_requests_of_a_minute(step: float, expected: float) -> None:
    """As those of a counter: at 1 s, quantiles would otherwise seem to be of ten requests each."""
    cart, times = labels_of({"service": "cart"}), step * np.arange(40, dtype=np.float64)
    gauges = {"requests_rate": 10.0 + 0.5 * (np.arange(40) % 2), "latency_p95_seconds": np.full(40, 0.2)}
    rows = signal_rows([MetricSeries(name, Matrix.of(times, {cart: row})) for name, row in gauges.items()], 30, step)
    counts = [row.counts for row in rows if row.kind in ("latency", "traffic")]
    assert [float(values[0]) for values in counts if values is not None] == [expected, expected]


@pytest.mark.parametrize(
    ("metric", "silent", "expected"),
    [
        ("traces_span_metrics_calls_total", ("web", "cart", "store"), True),
        ("traces_spanmetrics_calls_total", ("web", "cart", "store"), True),
        ("traces_span_metrics_calls_total", ("cart", "store"), False),
        ("http_requests_total", ("web", "cart", "store"), False),
    ],
)
def test_no_spans_of_any_service_are_no_data_but_zeros_that_each_reports_are_lost_traffic(
    metric: str, silent: tuple[str, ...], expected: bool
) -> None:
    """A tracing pipeline that is down counts nothing of any service. Counters of the services themselves stop
    in a full outage only."""
    times = 60.0 * np.arange(60, dtype=np.float64)
    stopped = times >= 3000.0
    counters = {
        labels_of({"service_name": name}): np.cumsum(np.where(stopped & (name in silent), 0.0, 300.0))
        for name in ("web", "cart", "store")
    }
    rows = signal_rows([MetricSeries(metric, Matrix.of(times, counters))], 45, 60.0)
    (traffic,) = [row for row in rows if row.kind == "traffic" and str(row.entity) == "store"]
    assert np.isnan(traffic.values[55]) == expected
    assert traffic.values[40] == 5.0
    found = deviations([traffic], AnalysisWindow(times, 45, 50, times[50]))
    assert [z < -2 for z in found.z[:, -1]] == ([] if expected else [True])
