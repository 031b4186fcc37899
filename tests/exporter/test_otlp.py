"""Pushes over OTLP to a receiver on loopback."""

from __future__ import annotations

import gzip
import logging
import re
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource

from foreshock_exporter.exposition.families import snapshot_families
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.gpu.contention import UNATTRIBUTED, ServiceKey, Totals
from foreshock_exporter.gpu.driver_samples import BusyHistogram
from foreshock_exporter.gpu.occupancy import Observation, Occupancy, span_id, trace_id
from foreshock_exporter.gpu.snapshot import GpuSnapshot, GpuState, Snapshot, XidCount
from foreshock_exporter.gpu.tenants import Holding
from foreshock_exporter.model import metrics as metric_names
from foreshock_exporter.model.device import Counters, Health, Identity, Reading
from foreshock_exporter.model.family import Families, Sample
from foreshock_exporter.otlp.metric_pusher import MAX_SERIES, MetricPusher
from foreshock_exporter.otlp.pusher import OtlpPusher
from foreshock_exporter.otlp.readings import INSTRUMENTS, Point, ReadingConverter
from foreshock_exporter.otlp.report import PushReport
from foreshock_exporter.otlp.span_pusher import MAX_QUEUED_SPANS, SpanPusher

if TYPE_CHECKING:
    from tests.conftest import Eventually

T0 = 1_800_000_000.0
A, B = ServiceKey("ml", "chat"), ServiceKey("", "batch")
PATHS = {"/v1/metrics": ExportMetricsServiceRequest, "/v1/traces": ExportTraceServiceRequest}
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "otlp.md"


# --- what is pushed to


@dataclass
class Receiver:
    """An OTLP/HTTP receiver. Answers with `status`; while `held` is set, not before `release` is."""

    url: str = ""
    status: int = 200
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    held: bool = False
    release: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        self.requests.append((path, headers, body))
        if self.held:
            self.release.wait(60)
        return self.status if path in PATHS else 404

    def bodies(self, path: str) -> list[bytes]:
        return [
            gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            for at, headers, body in list(self.requests)
            if at == path
        ]

    def points(self) -> dict[str, list[Point]]:
        """The data points of the last push, by metric."""
        request = ExportMetricsServiceRequest.FromString(self.bodies("/v1/metrics")[-1])
        found: dict[str, list[Point]] = defaultdict(list)
        for scope in (scope for group in request.resource_metrics for scope in group.scope_metrics):
            for metric in scope.metrics:
                data = metric.gauge if metric.WhichOneof("data") == "gauge" else metric.sum
                for point in data.data_points:
                    attributes = {pair.key: pair.value.string_value for pair in point.attributes}
                    found[metric.name].append(Point(point.as_double or float(point.as_int), attributes))
        return dict(found)

    def spans(self) -> list[tuple[Mapping[str, object], Span]]:
        """All spans received, each with its resource."""
        return [
            ({pair.key: pair.value.string_value for pair in group.resource.attributes}, span)
            for body in self.bodies("/v1/traces")
            for group in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.answer(self.path, headers, body)
            try:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:  # the sender did not wait for the answer
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    yield receiver
    receiver.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


# --- what is pushed


def gpu(index: int) -> GpuState:
    """GPU with all values."""
    return GpuState(
        identity=Identity(str(index), f"GPU-{index}", "H100", f"0000:0{index}:00.0", "590.1", "13.0"),
        reading=Reading(
            utilization_ratio=0.93,
            memory_busy_ratio=0.4,
            memory_used_bytes=60e9 + index,
            memory_free_bytes=20e9,
            memory_reserved_bytes=0.5e9,
            memory_total_bytes=80.5e9,
            power_watts=512.5,
            power_limit_watts=700.0,
            temperature_celsius={"gpu": 61.0, "memory": 72.0},
            clock_hertz={"sm": 1.755e9, "memory": 2.619e9},
        ),
        totals=Totals(
            busy=100.0,
            unattributed=4.0,
            contended=50.0,
            service_busy={A: 60.0, B: 36.0},
            gpu_wait={A: 20.0, B: 30.0},
            gpu_wait_by={(A, B): 18.0, (A, UNATTRIBUTED): 2.0, (B, A): 30.0},
        ),
        busy_histogram=BusyHistogram((0,) * (len(metric_names.GPU_UTILIZATION_SAMPLES.bounds) + 1)),
        counters=Counters(
            energy_joules=1.5e6,
            throttled_seconds={"power": 12.0, "hw_thermal": 0.25},
            pcie_transmit_bytes=1e12,
            pcie_receive_bytes=2e12,
            nvlink_transmit_bytes=3e15,
            nvlink_receive_bytes=4e15,
        ),
        health=Health(
            clock_max_hertz={"sm": 1.98e9},
            clock_application_hertz={"sm": 1.83e9},
            ecc_errors={"corrected": 17.0, "uncorrected": 0.0},
            remapped_rows={"corrected": 1.0, "uncorrected": 2.0},
            row_remap_pending=False,
            row_remap_failed=False,
            nvlink_errors={"crc": 3.0, "replay": 0.0, "recovery": 1.0},
            nvlink_links=18,
            nvlink_links_up=17,
            pcie_replays=5.0,
        ),
        sources={A: "otel", B: "systemd"},
        holdings={A: Holding(2, 40e9), B: Holding(1, 20e9)},
    )


def host(*gpus: GpuState, lost: tuple[str, ...] = (), xids: tuple[XidCount, ...] = ()) -> Snapshot:
    """A host with these GPUs."""
    seen = {each.identity.uuid: (each.identity, False) for each in gpus}
    seen |= {uuid: (Identity(uuid[-1], uuid, "", "", "", ""), True) for uuid in lost}
    return Snapshot("id-1", "node-1", "1.0", "3.11", False, GpuSnapshot(len(seen), gpus, seen, xids))


RICH = host(gpu(0), gpu(1), lost=("GPU-2",), xids=(XidCount("0", "GPU-0", "31", 4, T0 - 60),))

MakePush = Callable[..., OtlpPusher]
Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(name="pushing")
def _pushing(receiver: Receiver) -> Iterator[MakePush]:
    """Start a push to the receiver; its own intervals are so long that only `flush` and the sender's beat count."""
    made: list[OtlpPusher] = []
    sdk = logging.getLogger("opentelemetry")
    level = sdk.level

    def start(snapshot: Snapshot = RICH, url: str | None = None, **options: object) -> OtlpPusher:
        attributes = {"host.id": "id-1", "host.name": "node-1", "service.version": "1.0"}
        push = OtlpPusher(url or receiver.url, lambda: snapshot, attributes, 3600.0, lambda: T0, **options)  # type: ignore[arg-type]  # keywords of a test
        made.append(push)
        push.start()
        return push

    yield start
    receiver.release.set()
    for push in made:
        push.close()
    sdk.setLevel(level)


def otlp_counts(emitted: Families) -> dict[tuple[str, ...], float]:
    """The pushes' own counters: (name without its ends, label) to value."""
    return {
        (family.name.removeprefix("foreshock_exporter_otlp_").removesuffix("_total"), *sample.labels): sample.value
        for family, samples in emitted
        for sample in samples
        if isinstance(sample, Sample)
    }


def both(seconds: float, *, uuid: str = "GPU-0", start: float = T0) -> list[Observation]:
    """Two services run for so long, and then one alone."""
    ticks = round(seconds * 10)
    active = [Observation(uuid, "0", start + t / 10, start + (t + 1) / 10, {A: 0.5, B: 0.4}) for t in range(ticks)]
    return [*active, Observation(uuid, "0", start + seconds, start + seconds + 1, {A: 0.9})]


# --- readings

LABELS = {
    "uuid": "hw.id",
    "sensor": "hw.sensor_location",
    "clock": "foreshock.gpu.clock",
    "reason": "foreshock.gpu.throttle.reason",
    "error_type": "error.type",
    "kind": "error.type",
    "xid": "foreshock.gpu.xid",
    "service_name": "foreshock.occupant.name",
    "service_namespace": "foreshock.occupant.namespace",
    "source": "foreshock.occupant.source",
    "aggressor_name": "foreshock.aggressor.name",
    "aggressor_namespace": "foreshock.aggressor.namespace",
}


def documented() -> list[tuple[str, str, str, dict[str, str]]]:
    """The rows of the table in docs/reference/otlp.md: scrape, metric, unit, fixed attributes."""
    rows = re.findall(r"^\| (.*?) \| `((?:hw|foreshock)\.[a-z_.]+)` \| (\S+) \|(.*)\|$", DOCS.read_text(), re.MULTILINE)
    return [
        (scrape.strip("`"), metric, unit, dict(re.findall(r"`([a-z._]+)=([a-z_]+)`", attributes)))
        for scrape, metric, unit, attributes in rows
    ]


def test_what_is_pushed_equals_the_scrape_value_by_value(
    pushing: MakePush,
    receiver: Receiver,
    series: Callable[[bytes], Mapping[tuple[str, frozenset[tuple[str, str]]], float]],
) -> None:
    """Within 1%, with the same set of values, as the table in the documentation pairs them."""
    scrape = series(render(snapshot_families(RICH)))
    pushing().flush()
    points = receiver.points()

    expected: dict[str, dict[frozenset[tuple[str, str]], float]] = defaultdict(dict)
    for family, metric, _, fixed in documented():
        for (name, labels), value in scrape.items():
            if name == family:
                named = {LABELS[label]: text for label, text in labels if label != "gpu"}
                expected[metric][frozenset({**named, **fixed}.items())] = value
    plain = {"hw.name", "hw.type", "hw.vendor", "hw.model", "hw.driver_version"}
    for metric, values in expected.items():
        pushed = {frozenset((k, v) for k, v in p.attributes.items() if k not in plain): p.value for p in points[metric]}
        assert pushed == pytest.approx(values, rel=0.01), metric
        assert values, f"{metric} has no value in this scrape, so nothing was compared"

    assert set(points) == {metric for _, metric, _, _ in documented()}
    assert {p.attributes["hw.id"]: round(p.value, 6) for p in points["hw.gpu.memory.utilization"]} == {
        "GPU-0": round(60e9 / 80.5e9, 6),
        "GPU-1": round(60e9 / 80.5e9, 6),
    }


def test_the_documentation_has_every_instrument_with_its_unit() -> None:
    """Neither more nor fewer."""
    assert {(metric, unit) for _, metric, unit, _ in documented()} == {(i.name, i.unit) for i in INSTRUMENTS}


def test_points_identify_gpu_and_host(pushing: MakePush, receiver: Receiver) -> None:
    """With the attributes of the hardware conventions; the host is in the resource."""
    pushing().flush()

    (utilization, _) = receiver.points()["hw.gpu.utilization"]
    assert utilization.attributes == {
        "hw.id": "GPU-0",
        "hw.name": "GPU 0",
        "hw.type": "gpu",
        "hw.vendor": "NVIDIA",
        "hw.model": "H100",
        "hw.driver_version": "590.1",
        "hw.gpu.task": "general",
    }
    request = ExportMetricsServiceRequest.FromString(receiver.bodies("/v1/metrics")[-1])
    resource = {pair.key: pair.value.string_value for pair in request.resource_metrics[0].resource.attributes}
    assert resource["service.name"] == "foreshock-exporter"
    assert (resource["host.id"], resource["host.name"]) == ("id-1", "node-1")


def test_missing_values_are_not_pushed(pushing: MakePush, receiver: Receiver) -> None:
    """Absent is never zero."""
    poor = replace(gpu(0), reading=Reading(utilization_ratio=0.0), counters=None, health=None)
    pushing(host(poor)).flush()
    points = receiver.points()

    assert [p.value for p in points["hw.gpu.utilization"]] == [0.0]
    absent = ("hw.gpu.memory.usage", "hw.gpu.memory.utilization", "hw.power", "hw.energy", "hw.gpu.io", "hw.errors")
    assert points.keys().isdisjoint(absent)


def test_a_gpu_has_one_state_and_a_lost_one_has_failed() -> None:
    """With the last known identity."""
    readings = ReadingConverter(lambda: T0)
    readings.convert(snapshot_families(host(gpu(0), gpu(1))))
    points = readings.convert(
        snapshot_families(host(gpu(1), lost=("GPU-0", "GPU-9"), xids=(XidCount("1", "GPU-1", "79", 1, T0 - 5),)))
    )

    states = {(p.attributes["hw.id"], p.attributes["hw.state"]): p.value for p in points["hw.status"]}
    assert {uuid for (uuid, name), value in states.items() if value and name == "failed"} == {"GPU-0", "GPU-1", "GPU-9"}
    assert sum(states.values()) == 3
    assert len(states) == 12
    models = {p.attributes["hw.id"]: p.attributes.get("hw.model") for p in points["hw.status"]}
    assert models == {"GPU-0": "H100", "GPU-1": "H100", "GPU-9": None}


def test_a_gpu_that_heat_slows_down_is_degraded_until_it_no_longer_does() -> None:
    """By the seconds it was throttled since the last push."""
    now = T0
    readings = ReadingConverter(lambda: now)

    def current(seconds: float) -> list[str]:
        counters = Counters(throttled_seconds={"hw_thermal": seconds})
        points = readings.convert(snapshot_families(host(replace(gpu(0), counters=counters))))
        return [p.attributes["hw.state"] for p in points["hw.status"] if p.value]

    assert current(100.0) == ["ok"]
    now += 10
    assert current(104.0) == ["degraded"]
    now += 10
    assert current(104.0) == ["ok"]


def test_series_that_ended_do_not_fill_the_sdk(receiver: Receiver) -> None:
    """It keeps ended series and would finally merge new ones."""
    turn = 0

    def read() -> dict[str, list[Point]]:
        name = INSTRUMENTS[0].name
        return {name: [Point(float(turn), {"hw.id": f"GPU-{turn}-{n}"}) for n in range(MAX_SERIES // 2)]}

    metrics = MetricPusher(f"{receiver.url}/v1/metrics", read, Resource({}), 3600.0, "1.0", PushReport(receiver.url))
    metrics.start()
    for turn in range(1, 8):  # noqa: B007 - read by the reading above
        metrics.flush(10)
        metrics.restart_if_full()
    metrics.close(10)

    last = receiver.points()[INSTRUMENTS[0].name]
    assert len(last) == MAX_SERIES // 2
    assert {point.attributes["hw.id"].split("-")[1] for point in last} == {"7"}


# --- occupancy


def test_each_interval_of_a_shared_gpu_is_a_span(pushing: MakePush, receiver: Receiver, eventually: Eventually) -> None:
    """Of the exporter, in the trace of the GPU's minute."""
    push = pushing(join_keys=lambda pid: (f"host/{pid}",))
    for observation in both(0.5):
        push.observe(observation._replace(pids={A: (4242,)}))
    eventually(lambda: len(receiver.spans()) == 2, "both spans arrive")

    resource, span = receiver.spans()[0]
    assert (resource["service.name"], resource["host.id"]) == ("foreshock-exporter", "id-1")
    assert (span.name, span.kind, span.parent_span_id) == ("gpu.occupancy", Span.SPAN_KIND_INTERNAL, b"")
    assert int.from_bytes(span.trace_id) == trace_id("GPU-0", T0)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (round(T0 * 1e9), round((T0 + 0.5) * 1e9))
    attributes = {pair.key: pair.value for pair in span.attributes}
    assert attributes["hw.id"].string_value == "GPU-0"
    assert attributes["foreshock.occupant.name"].string_value == "chat"
    assert attributes["foreshock.occupant.namespace"].string_value == "ml"
    assert attributes["foreshock.occupancy.resolution"].double_value == pytest.approx(0.1, abs=1e-5)
    assert attributes["foreshock.occupancy.share"].double_value == pytest.approx(0.5)
    assert [each.string_value for each in attributes["foreshock.occupant.processes"].array_value.values] == [
        "host/4242"
    ]
    assert {int.from_bytes(span.span_id) for _, span in receiver.spans()} == {
        span_id(Occupancy("GPU-0", "0", service, T0, T0 + 0.5, 0.1)) for service in (A, B)
    }
    eventually(lambda: otlp_counts(push.families()).get(("pushed", "traces")) == 2, "both are counted")


def test_spans_follow_the_wall_clock_when_it_is_set(
    pushing: MakePush, receiver: Receiver, eventually: Eventually
) -> None:
    """The exporter's own clock does not jump, but the spans of the services do."""
    push = pushing(wall=lambda: T0 + 3600.0)
    for observation in both(0.5):
        push.observe(observation)
    eventually(lambda: len(receiver.spans()) == 2, "both spans arrive")

    assert {span.start_time_unix_nano for _, span in receiver.spans()} == {round((T0 + 3600) * 1e9)}
    assert {int.from_bytes(span.trace_id) for _, span in receiver.spans()} == {trace_id("GPU-0", T0 + 3600)}


def test_what_is_open_when_the_exporter_stops_is_pushed(pushing: MakePush, receiver: Receiver) -> None:
    """The last seconds and the last reading are not lost."""
    push = pushing()
    for observation in both(0.5)[:-1]:
        push.observe(observation)
    push.close(10)

    assert len(receiver.spans()) == 2
    assert "hw.gpu.utilization" in receiver.points()


def interval(number: int) -> Occupancy:
    """One of many."""
    return Occupancy("GPU-0", "0", A, T0 + number, T0 + number + 0.5, 0.1)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_spans_that_a_busy_endpoint_does_not_take_are_sent_again(
    receiver: Receiver, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They arrive when it takes spans again; none is counted as lost."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    report = PushReport(receiver.url)
    spans = SpanPusher(f"{receiver.url}/v1/traces", Resource({}), "1.0", report)
    spans.add(interval(number) for number in range(3))
    receiver.status = status
    spans.flush()
    receiver.requests.clear()
    receiver.status = 200
    for _ in range(3):
        spans.flush()
    spans.close()

    assert [span.start_time_unix_nano for _, span in receiver.spans()] == [round((T0 + n) * 1e9) for n in range(3)]
    assert otlp_counts(report.families(0, 0))["failed", "traces"] == 0


def test_spans_that_the_endpoint_refuses_are_lost_and_counted(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused body is not retried. Refusal and recovery are logged once each."""
    caplog.set_level(logging.INFO, "foreshock_exporter")
    report = PushReport(receiver.url)
    spans = SpanPusher(f"{receiver.url}/v1/traces", Resource({}), "1.0", report)
    receiver.status = 400
    for number in range(4):
        spans.add([interval(number)])
        spans.flush()
    receiver.status = 200
    for _ in range(40):
        spans.add([interval(9)])
        spans.flush()
    spans.close()

    assert [record.getMessage() for record in caplog.records if record.name == "foreshock_exporter"] == [
        f"OTLP endpoint {receiver.url}: takes no traces: HTTP 400 Bad Request",
        f"OTLP endpoint {receiver.url}: takes traces again",
    ]
    assert len(receiver.bodies("/v1/traces")) < 44
    counts = otlp_counts(report.families(0, 0))
    assert counts["failed", "traces"] >= 1
    assert counts["pushed", "traces"] + counts["failed", "traces"] == 44


def test_no_more_spans_wait_than_is_allowed(receiver: Receiver) -> None:
    """The oldest go first; each is counted."""
    spans = SpanPusher(f"{receiver.url}/v1/traces", Resource({}), "1.0", PushReport(receiver.url))
    spans.add(interval(number) for number in range(MAX_QUEUED_SPANS + 7))
    spans.flush()
    spans.close()

    assert spans.dropped() == 7
    starts = [span.start_time_unix_nano for _, span in receiver.spans()]
    assert len(starts) == MAX_QUEUED_SPANS
    assert min(starts) == round((T0 + 7) * 1e9)


# --- the endpoint


def test_an_unreachable_endpoint_blocks_nothing_and_is_logged_once(
    pushing: MakePush, eventually: Eventually, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK does not log each attempt."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    url = f"http://127.0.0.1:{closed.server_port}"
    closed.server_close()
    push = pushing(url=url)
    for minute in range(30):
        for observation in both(0.5, start=T0 + 60 * minute):
            push.observe(observation)
    for _ in range(3):
        push.flush()
    eventually(lambda: push._report.failing("traces"), "the spans are tried")
    push.close()

    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert message == f"OTLP endpoint {url}: Connection refused; lost data points and spans are counted"
    assert otlp_counts(push.families())["failed", "metrics"] > 0
    assert otlp_counts(push.families())["pushed", "metrics"] == 0


def test_closing_does_not_wait_for_an_endpoint_that_holds_the_answer_back(
    pushing: MakePush, receiver: Receiver, eventually: Eventually
) -> None:
    """Here it answers only after the exporter has closed; if that waited, neither would ever end."""
    receiver.held = True
    push = pushing()
    for observation in both(0.5):
        push.observe(observation)
    eventually(lambda: "/v1/traces" in {path for path, _, _ in receiver.requests}, "the spans are on their way")
    push.close()
    assert not receiver.release.is_set()

    receiver.release.set()


def test_opentelemetry_variables_for_headers_and_compression_apply(
    pushing: MakePush, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with any SDK."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    push = pushing()
    push.observe(both(0.5)[0])
    push.flush()
    push.close(10)

    assert {path for path, _, _ in receiver.requests} == set(PATHS)
    assert {headers["x-tenant"] for _, headers, _ in receiver.requests} == {"blue"}
    assert {headers["content-encoding"] for _, headers, _ in receiver.requests} == {"gzip"}
    assert receiver.points()


@pytest.mark.parametrize(("signal", "left"), [("METRICS", "/v1/traces"), ("TRACES", "/v1/metrics")])
def test_a_signal_can_be_left_out(pushing: MakePush, receiver: Receiver, signal: str, left: str) -> None:
    """By the variable that OpenTelemetry has for it."""
    push = pushing(environ={f"OTEL_{signal}_EXPORTER": "none"})
    push.observe(both(0.5)[0])
    push.flush()
    push.close(10)

    assert {path for path, _, _ in receiver.requests} == {left}


def test_a_signal_can_go_elsewhere(pushing: MakePush, receiver: Receiver) -> None:
    """Spans to the hub, readings to a Collector."""
    push = pushing(
        url="http://127.0.0.1:1", environ={"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiver.url}/v1/metrics"}
    )
    push.flush()

    assert receiver.points()


def test_its_own_counters_begin_at_zero(pushing: MakePush) -> None:
    """So that a rate sees the first failure."""
    assert otlp_counts(pushing().families()) == {
        ("pushed", "metrics"): 0,
        ("pushed", "traces"): 0,
        ("failed", "metrics"): 0,
        ("failed", "traces"): 0,
        ("spans_dropped", "rate"): 0,
        ("spans_dropped", "queue"): 0,
    }


def test_without_an_endpoint_nothing_of_the_sdk_is_loaded() -> None:
    """It is larger than the whole exporter."""
    script = "import foreshock_exporter.cli, sys; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
