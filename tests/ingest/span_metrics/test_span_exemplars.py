"""Each bucket has an exemplar in OpenMetrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as Read

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.ingest.span_metrics.histogram import Exemplar, Histograms
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.settings.settings import Settings

Make = Callable[..., Span]
OPERATION = "traces_span_metrics_duration_seconds"
BY_SERVER = "traces_service_graph_request_server_seconds"


def read(text: str) -> list[Read]:
    """The samples of an OpenMetrics page, by a strict parser."""
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # it has no types
    return [sample for family in families for sample in family.samples]


def test_a_bucket_has_its_newest_span() -> None:
    """And none without durations, or without known spans."""
    histograms = Histograms()
    other, row = histograms.add(), histograms.add()
    for seconds, span, now in ((0.2, b"\x11" * 24, 10.0), (0.19, b"\x22" * 24, 11.0), (7.0, None, 11.0)):
        histograms.observe([(row, seconds, span)])
        histograms.flush(now)
    known = [exemplar for exemplar in histograms.exemplars(row) if exemplar]
    assert not any(histograms.exemplars(other))
    assert known == [Exemplar("2" * 32, "2" * 16, 0.19, 11.0)]


def test_a_reused_row_starts_empty() -> None:
    """Without counts, sum, time, and spans of the previous histogram."""
    histograms = Histograms()
    histograms.observe([(row := histograms.add(), 0.2, b"\x11" * 24)])
    histograms.flush(10.0)
    histograms.remove(row)
    assert histograms.add(11.0) == row
    assert (histograms.cumulative(row)[-1], histograms.sum(row), histograms.updated_at(row)) == (0, 0.0, 11.0)
    assert not any(histograms.exemplars(row))


def test_openmetrics_shows_each_bucket_s_span_within_its_bounds(span: Make, now: float) -> None:
    """With ids of trace and span; counters have no suffix in their TYPE."""
    metrics = SpanMetrics(zero_for=0)
    calls = [span("server", 'a"\\\nb', n, trace=n, seconds=0.01 * n) for n in range(1, 60)]
    metrics.add(calls, now)
    metrics.text(now)
    samples = read(metrics.text(now + 1, openmetrics=True) + "# EOF\n")
    shown = [sample for sample in samples if sample.exemplar]
    assert {sample.name for sample in shown} == {f"{OPERATION}_bucket", f"{BY_SERVER}_bucket"}
    ends = sorted({float(sample.labels["le"]) for sample in samples if "le" in sample.labels})
    by_trace = {call.trace_id: call for call in calls}
    for sample in shown:
        exemplar = sample.exemplar
        assert exemplar is not None
        one, le = by_trace[exemplar.labels["trace_id"]], float(sample.labels["le"])
        assert (exemplar.labels["span_id"], exemplar.value) == (one.span_id, one.duration_ns / 1e9)
        below = ends[ends.index(le) - 1] if le > ends[0] else 0.0
        assert below < exemplar.value <= le
    assert [s.value for s in samples if s.name == "traces_span_metrics_calls_total"] == [59.0, 0.0]


def test_the_plain_format_has_no_exemplars(span: Make, now: float) -> None:
    """Its readers would refuse the line."""
    metrics = SpanMetrics(zero_for=0)
    metrics.add([span("server", "a", 1)], now)
    metrics.text(now)
    assert " # " not in "".join(line for line in metrics.text(now + 1).splitlines() if not line.startswith("#"))


def test_either_side_of_a_call_has_its_own_span(span: Make, now: float) -> None:
    """The client's duration is shown by the client's span."""
    metrics = SpanMetrics(zero_for=0)
    metrics.add([span("client", "web", 1, 9, seconds=0.3), span("server", "llm", 2, 1, seconds=0.2)], now)
    metrics.text(now + 10)
    found = {
        (sample.name, sample.labels["le"]): sample.exemplar.labels["span_id"]
        for sample in read(metrics.text(now + 11, openmetrics=True) + "# EOF\n")
        if sample.exemplar and sample.labels.get("client") == "web"
    }
    assert found == {
        ("traces_service_graph_request_client_seconds_bucket", "0.4"): f"{1:016x}",
        ("traces_service_graph_request_server_seconds_bucket", "0.2"): f"{2:016x}",
    }


def test_the_hub_s_status_reports_an_exceeded_series_limit(tmp_path: Path, span: Make) -> None:
    """As `--span-metrics-max-series` bounds them."""
    hub = Hub(
        Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, store_path=tmp_path, span_metrics_max_series=100), Clock()
    )
    try:
        hub.start()
        url = f"http://127.0.0.1:{hub.web.port}/api/status"
        for number, full in ((1, False), (2, True)):
            hub.pipeline.accept([span("server", "a", number, trace=number, name=f"GET /{number}", end=hub.now())])
            usage = httpx.get(url, trust_env=False).json()["hub"]["spans"]
            assert (
                usage["series"] <= usage["series_limit"] == 100,
                "--span-metrics-max-series" in usage["warning"],
            ) == (
                True,
                full,
            )
    finally:
        hub.close()


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", True),
        ("text/plain;version=0.0.4;q=0.3,*/*;q=0.1", False),
        ("*/*", False),
    ],
)
def test_the_hub_writes_openmetrics_on_request(tmp_path: Path, span: Make, accept: str, openmetrics: bool) -> None:
    """The whole page, by a strict parser."""
    hub = Hub(
        Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, store_path=tmp_path, evaluation_interval=1.0), Clock()
    )
    try:
        hub.start()
        now = hub.now()
        hub.pipeline.accept([span("server", "a", 1, end=now)])
        url = f"http://127.0.0.1:{hub.web.port}/metrics"
        answer = httpx.get(url, headers={"Accept": accept}, trust_env=False)
        assert answer.headers["content-type"].startswith("application/openmetrics" if openmetrics else "text/plain")
        assert answer.text.endswith("# EOF\n") is openmetrics
        if openmetrics:
            names = {sample.name for sample in read(answer.text)}
            assert {"traces_span_metrics_calls_total", "foreshock_build_info", "foreshock_store_series"} <= names
    finally:
        hub.close()
