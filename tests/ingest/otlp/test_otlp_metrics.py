"""Metrics that services push: by the real SDK, beside a real Prometheus that takes the same, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from tests.ports import free_port

from foreshock_dashboard.ingest.otlp.metrics.names import label_name, metric_name
from foreshock_dashboard.ingest.otlp.metrics.reader import MetricsReader
from foreshock_dashboard.model.query import Query, SourceError
from foreshock_dashboard.model.samples import SampleBatch, is_stale
from foreshock_dashboard.sources.otlp.grpc import GrpcListener
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver
from foreshock_dashboard.store import Store

pytestmark = pytest.mark.slow

RESOURCE = Resource(
    {
        "service.name": "llm",
        "service.namespace": "serving",
        "service.instance.id": "llm-1",
        "cloud.region": "eu",
        "1st": 2,
    }
)
EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
Eventually = Callable[..., None]


class Kept:
    """A sink that keeps samples, or fails."""

    def __init__(self) -> None:
        self.batches: list[SampleBatch] = []
        self.failing = False

    def __call__(self, batches: Sequence[SampleBatch]) -> None:
        if self.failing:
            raise SourceError("the disk is full")
        self.batches += batches

    def series(self) -> dict[str, float]:
        """The last value of each series, in Prometheus' notation."""
        return {
            f"{sample.metric}{{{','.join(f'{name}={value}' for name, value in sample.labels)}}}": sample.value
            for batch in self.batches
            for sample in batch.samples
        }

    def values(self, metric: str) -> list[float]:
        """All values of a metric, in order."""
        return [sample.value for batch in self.batches for sample in batch.samples if sample.metric == metric]


@pytest.fixture
def kept() -> Kept:
    """A sink."""
    return Kept()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What is closed after the test."""
    with ExitStack() as stack:
        yield stack


def receiver(sink: Callable[[Sequence[SampleBatch]], None], **given: Any) -> Receiver:  # noqa: ANN401 - options
    """A receiver of metrics."""
    return Receiver(accept=lambda _: None, accept_metrics=MetricsReader(sink, time.time, **given).accept)


def measured(*reads: InMemoryMetricReader | PeriodicExportingMetricReader, views: Sequence[View] = ()) -> MeterProvider:
    """A provider of the SDK in which one of each instrument has measured something."""
    bounds = View(instrument_name="request.duration", aggregation=ExplicitBucketHistogramAggregation([0.5, 1, 2.5]))
    provider = MeterProvider(metric_readers=reads, resource=RESOURCE, views=[bounds, *views], shutdown_on_exit=False)
    meter = provider.get_meter("test")
    meter.create_counter("requests", "{request}").add(3, {"http.route": "/v1/chat", "status": 200, "ok": True})
    meter.create_up_down_counter("queue.depth").add(-2)
    meter.create_histogram("request.duration", "s").record(0.7)
    meter.create_observable_gauge("gpu.utilization", [lambda _: [Observation(0.5)]], "1")
    meter.create_observable_gauge("kv_cache.size", [lambda _: [Observation(7)]], "By")
    meter.create_gauge("battery.rate", "By/s").set(1.5)
    return provider


def encoded() -> ExportMetricsServiceRequest:
    """A request of the SDK."""
    reading = InMemoryMetricReader()
    with closing(_Shutdown(measured(reading))):
        data = reading.get_metrics_data()
    assert data is not None
    request = ExportMetricsServiceRequest()
    request.MergeFromString(encode_metrics(data).SerializeToString())
    return request


class _Shutdown:
    def __init__(self, provider: MeterProvider) -> None:
        self.close = provider.shutdown


OF_RESOURCE = {"job", "instance", "service_name", "service_namespace", "service_instance_id", "cloud_region", "key_1st"}


def test_names_labels_and_values_are_those_of_a_real_server(
    kept: Kept, tmp_path: Path, opened: ExitStack, eventually: Eventually
) -> None:
    """VictoriaMetrics takes the same request by its Prometheus naming. All of the resource are labels there."""
    if shutil.which("victoria-metrics") is None:
        pytest.skip("victoria-metrics is not installed; `make setup-tests` installs it")
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        "victoria-metrics",
        f"-storageDataPath={tmp_path / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-opentelemetry.usePrometheusNaming",
    ]
    running = opened.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    opened.callback(running.terminate)
    client = opened.enter_context(httpx.Client(trust_env=False, base_url=url))
    body = encoded().SerializeToString()

    def sent() -> bool:
        try:
            return client.post("/opentelemetry/v1/metrics", content=body).is_success
        except httpx.TransportError:
            return False

    eventually(sent, "it takes the request")

    def exported() -> list[str]:
        client.get("/internal/force_flush")
        return client.get("/api/v1/export", params={"match[]": '{__name__=~".+"}'}).text.splitlines()

    eventually(lambda: len(exported()) > 0, "it has stored the request")
    lines = exported()
    theirs = {}
    for one in map(json.loads, lines):
        name = one["metric"].pop("__name__")
        theirs[name, *sorted(pair for pair in one["metric"].items() if pair[0] not in OF_RESOURCE)] = one["values"][-1]
    assert receiver(kept).ingest_metrics(body, json=False) == b""
    ours = {
        (sample.metric, *(pair for pair in sample.labels if pair[0] not in OF_RESOURCE)): sample.value
        for batch in kept.batches
        for sample in batch.samples
        if sample.metric != "target_info"
    }
    assert ours == theirs
    assert len(ours) == 11


def test_the_resource_is_in_target_info_and_its_identity_in_every_series(kept: Kept) -> None:
    """By OpenTelemetry's rules for `job` and `instance`; the service and its place are labels as well."""
    receiver(kept).ingest_metrics(encoded().SerializeToString(), json=False)
    identity = "instance=llm-1,job=serving/llm"
    service = "service_name=llm,service_namespace=serving"
    assert {f"queue_depth{{{identity},{service}}}": -2.0}.items() <= kept.series().items()
    info = next(name for name in kept.series() if name.startswith("target_info"))
    assert info.startswith(f"target_info{{cloud_region=eu,{identity},key_1st=2,service_instance_id=llm-1,{service}")


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_the_sdk_pushes_into_the_store(
    temporality: str, tmp_path: Path, opened: ExitStack, eventually: Eventually
) -> None:
    """Either kind of counts has the same totals; an exponential histogram has buckets at fixed bounds."""
    store = opened.enter_context(closing(Store.open(tmp_path / "store", now=time.time)))
    listening = opened.enter_context(closing(HttpListener(receiver(store.append_samples), "127.0.0.1", 0)))
    kind = AggregationTemporality.DELTA if temporality == "delta" else AggregationTemporality.CUMULATIVE
    exporter = OTLPMetricExporter(
        f"http://127.0.0.1:{listening.port}/v1/metrics", preferred_temporality={Counter: kind, Histogram: kind}
    )
    pushing = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    views = [View(instrument_name="exp.*", aggregation=ExponentialBucketHistogramAggregation())]
    provider = measured(pushing, views=views)
    opened.callback(provider.shutdown)
    meter = provider.get_meter("more")
    counter, exp = meter.create_counter("tokens"), meter.create_histogram("exp.latency", "ms")
    for amount in (5, 7):
        counter.add(amount)
        for value in (0.3, 3.0, 3.1, 100.0):
            exp.record(value)
        assert provider.force_flush()
    end = math.ceil(time.time())

    def last(metric: str, by: tuple[str, ...] = ()) -> dict[str, float]:
        found = store.fetch(Query(metric, by=by), end, end, 1.0)
        return {
            dict(labels).get("le", ""): float(row[-1]) for labels, row in zip(found.labels, found.values, strict=True)
        }

    eventually(lambda: last("tokens_total") == {"": 12.0}, "the total of both")
    assert last("requests_total") == {"": 3.0}
    assert last("request_duration_seconds_bucket", ("le",)) == {"0.5": 0.0, "1": 1.0, "2.5": 1.0, "+Inf": 1.0}
    buckets = last("exp_latency_milliseconds_bucket", ("le",))
    bounds = {float(le): count for le, count in buckets.items()}
    assert last("exp_latency_milliseconds_sum")[""] == pytest.approx(212.8)
    assert bounds[math.inf] == 8.0
    assert {bound for bound in bounds if 0 < bound < math.inf} <= {2.0 ** (step / 2) for step in range(-10, 20)}
    assert [count for bound, count in sorted(bounds.items()) if bound < math.inf][-1] == 8.0
    assert bounds[2.0**-1.5] == 2.0  # 0.3 is below 0.354
    assert bounds[4.0] == 6.0


def test_grpc_and_json_are_read_as_well(kept: Kept, opened: ExitStack) -> None:
    """All encodings of a request give the same series."""
    shared = receiver(kept)
    grpc_port = opened.enter_context(closing(GrpcListener(shared, "127.0.0.1", 0))).port
    http_port = opened.enter_context(closing(HttpListener(shared, "127.0.0.1", 0))).port
    request = encoded()
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        assert call(request.SerializeToString(), timeout=30) == b""
    by_grpc, kept.batches = kept.series(), []
    answer = httpx.post(
        f"http://127.0.0.1:{http_port}/v1/metrics",
        content=MessageToJson(request),
        headers={"content-type": "application/json"},
        trust_env=False,
    )
    assert (answer.status_code, answer.json()) == (200, {})
    assert kept.series() == by_grpc
    assert shared.stats().points == 12
    answer = httpx.post(
        f"http://127.0.0.1:{http_port}/v1/metrics",
        content=b"\xff",
        headers={"content-type": "application/x-protobuf"},
        trust_env=False,
    )
    assert answer.status_code == 400


def delta(value: float, at: float, name: str = "d", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A request with one delta, in OTLP's JSON."""
    point = {"asDouble": value, "timeUnixNano": str(round(at * 1e9)), **more}
    data = {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [point]}
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": name, "sum": data}]}]}]}


def push(to: Receiver, request: dict[str, Any]) -> str:
    """Send a request; returns what was rejected."""
    response = ExportMetricsServiceResponse()
    body = json.loads(to.ingest_metrics(json.dumps(request).encode(), json=True))
    response.partial_success.error_message = body.get("partialSuccess", {}).get("errorMessage", "")
    return response.partial_success.error_message


def test_a_delta_is_counted_once_however_often_it_is_sent(kept: Kept) -> None:
    """The sender repeats a request without an answer; one that was not stored is counted on the repetition."""
    now, to = time.time(), receiver(kept)
    push(to, delta(5, now - 3))
    push(to, delta(5, now - 3))
    kept.failing = True
    with pytest.raises(Exception, match="the points could not be stored: the disk is full; send again"):
        push(to, delta(2, now - 2))
    kept.failing = False
    push(to, delta(2, now - 2))
    assert kept.values("d_total") == [5.0, 7.0]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (delta(1, 1000.0), "time too far from the hub's (1)"),
        (delta(1, time.time() + 3600), "time too far from the hub's (1)"),
        (delta(1, time.time(), name="…"), "no name (1)"),
        (
            delta(1, time.time(), attributes=[{"key": "a", "value": {"stringValue": "x" * 5000}}]),
            "too many or too long",
        ),
    ],
)
def test_a_point_that_cannot_be_stored_is_rejected_with_the_reason(
    request_: dict[str, Any], reason: str, kept: Kept
) -> None:
    """The others of the request are stored."""
    request_["resourceMetrics"] += delta(1, time.time(), name="good")["resourceMetrics"]
    assert reason in push(receiver(kept), request_)
    assert kept.values("good_total") == [1.0]


def total(value: float, start: float, at: float, **resource: str) -> dict[str, Any]:
    """A request with one cumulative sum."""
    request = delta(value, at, name="c", startTimeUnixNano=str(round(start * 1e9)))
    request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]["aggregationTemporality"] = 2
    pairs = [{"key": key.replace("_", "."), "value": {"stringValue": text}} for key, text in resource.items()]
    request["resourceMetrics"][0]["resource"] = {"attributes": pairs}
    return request


OTHER = "points rejected: another process reports the series; set service.instance.id (1)"


def test_two_processes_do_not_alternate_in_one_series(kept: Kept) -> None:
    """Each change would look like a reset. A restart goes on, and processes that differ have series of their own."""
    now, to = time.time(), receiver(kept)
    sent = [(1000, now - 90), (10, now - 50), (1005, now - 90), (12, now - 50), (1, now - 5)]
    assert [push(to, total(value, start, now)) for value, start in sent] == ["", "", OTHER, "", ""]
    assert kept.values("c_total") == [1000.0, 10.0, 12.0, 1.0]
    for pod, start in (("a", now - 9), ("b", now - 8), ("a", now - 9)):
        assert push(to, total(1, start, now, k8s_pod_name=pod)) == ""
    assert "c_total{instance=b,k8s_pod_name=b}" in kept.series()


def gauge(value: float, **resource: str) -> dict[str, Any]:
    """A request with one gauge."""
    request = total(value, 0, time.time(), **resource)
    metric = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]
    metric["gauge"] = {"dataPoints": metric.pop("sum")["dataPoints"]}
    return request


def test_gauges_of_two_processes_do_not_alternate_in_one_series(kept: Kept) -> None:
    """The one that was seen first later is believed: after a restart that is the new one."""
    to = receiver(kept)
    sent = [(1, "1.0"), (2, "1.1"), (1, "1.0"), (2, "1.1")]
    assert [push(to, gauge(value, service_version=version)) for value, version in sent] == ["", "", OTHER, ""]
    assert kept.values("c") == [1.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("first", "second", "instances"),
    [
        ({"service_instance_id": "a"}, {"service_instance_id": "b"}, ["a", "b"]),
        ({"service_instance_id": "a"}, {"service_instance_id": "a", "service_version": "2"}, ["a", "a"]),
        ({"host_name": "h", "process_pid": "7"}, {"host_name": "h", "process_pid": "8"}, ["h/7", "h/8"]),
        ({"k8s_pod_name": "p", "process_pid": "7"}, {"k8s_pod_name": "q"}, ["p", "q"]),
    ],
)
def test_processes_that_differ_have_series_of_their_own(
    first: dict[str, str], second: dict[str, str], instances: list[str], kept: Kept
) -> None:
    """By their instance id, pod, container, or host and process id."""
    to = receiver(kept)
    for _ in range(2):
        assert [push(to, gauge(1, **resource)) for resource in (first, second)] == ["", ""]
    found = [dict(one.labels)["instance"] for batch in kept.batches for one in batch.samples if one.metric == "c"]
    assert found == instances * 2


def test_deltas_of_a_second_process_are_rejected_with_the_reason(kept: Kept) -> None:
    """They overlap those of the first."""
    now, to = time.time(), receiver(kept)
    sent = [(5, now - 30, now - 20), (7, now - 25, now - 15), (3, now - 20, now - 10)]
    starts = [(value, end, {"startTimeUnixNano": str(round(start * 1e9))}) for value, start, end in sent]
    assert [push(to, delta(value, end, **more)) for value, end, more in starts] == ["", OTHER, ""]
    assert kept.values("d_total") == [5.0, 8.0]


def test_attributes_of_a_point_are_no_identity(kept: Kept) -> None:
    """A service cannot pose as another target by them."""
    keys = ("job", "instance", "__name__", "route")
    pairs = [{"key": key, "value": {"stringValue": "x"}} for key in keys]
    push(receiver(kept), delta(1, time.time(), attributes=pairs))
    assert list(kept.series()) == ["d_total{exported_instance=x,exported_job=x,route=x}"]


def test_a_histogram_with_an_impossible_scale_is_one_rejected_point(kept: Kept) -> None:
    """The others of the request are stored."""
    point = {
        "scale": -2000,
        "count": 1,
        "positive": {"bucketCounts": [1]},
        "timeUnixNano": str(round(time.time() * 1e9)),
    }
    request = delta(1, time.time())
    metric = {"name": "h", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point]}}
    request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].append(metric)
    assert push(receiver(kept), request) == "points rejected: scale outside -10 to 20 (1)"
    assert kept.values("d_total") == [1.0]


def test_series_of_deltas_have_a_limit(kept: Kept) -> None:
    """Those that are known go on."""
    now, to = time.time(), receiver(kept, max_delta_series=2)
    assert [push(to, delta(1, now - 9, name=name)) for name in "abc"] == [
        "",
        "",
        "points rejected: too many series of deltas (1)",
    ]
    assert push(to, delta(1, now - 8, name="a")) == ""
    assert kept.values("a_total") == [1.0, 2.0]


@pytest.mark.parametrize(
    ("kind", "point", "series"),
    [
        ("gauge", {}, ["m"]),
        (
            "histogram",
            {"explicitBounds": [0.5, 2.0], "bucketCounts": [0, 0, 0]},
            ["m_bucket 0.5", "m_bucket 2", "m_bucket +Inf", "m_count", "m_sum"],
        ),
        ("histogram", {"explicitBounds": [0.5]}, ["m_bucket 0.5", "m_bucket +Inf", "m_count", "m_sum"]),
        ("exponentialHistogram", {"scale": 99}, ["m_bucket +Inf", "m_count", "m_sum"]),
    ],
)
def test_a_point_without_a_value_ends_its_series(
    kind: str, point: dict[str, Any], series: list[str], kept: Kept
) -> None:
    """As a staleness marker of each."""
    point = {"flags": 1, "timeUnixNano": str(round(time.time() * 1e9)), **point}
    metric = {"name": "m", kind: {"dataPoints": [point]}}
    push(receiver(kept), {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})
    found = [sample for batch in kept.batches for sample in batch.samples]
    assert [" ".join((one.metric, *dict(one.labels).values())) for one in found] == series
    assert all(is_stale(one.value) for one in found)


NAMES = [
    ("http.server.request.duration", "s", {}, "http_server_request_duration_seconds"),
    ("requests", "1", {"is_counter": True}, "requests_total"),
    ("requests.total", "", {"is_counter": True}, "requests_total"),
    ("gpu.utilization", "1", {"is_gauge": True}, "gpu_utilization_ratio"),
    ("disk.io", "By", {"is_counter": True}, "disk_io_bytes_total"),
    ("io.bytes", "By", {}, "io_bytes"),
    ("net.rate", "By/s", {}, "net_rate_bytes_per_second"),
    ("tokens", "{token}/s", {}, "tokens_per_second"),
    ("vllm:cache usage", "%", {}, "vllm:cache_usage_percent"),
    ("2nd.gen", "foo", {}, "_2nd_gen_foo"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "unit", "kind", "expected"), NAMES)
def test_a_metric_has_the_name_of_the_specification(name: str, unit: str, kind: dict[str, bool], expected: str) -> None:
    """With unit and suffix."""
    assert metric_name(name, unit, **kind) == expected


def test_a_label_has_the_name_of_the_specification() -> None:
    """Letters, digits, and underscores."""
    assert [label_name(key) for key in ("http.route", "1st", "_a", "__b", "ä.c")] == [
        "http_route", "key_1st", "key_a", "__b", "__c",
    ]  # fmt: skip
