"""Spans become the standard metrics, within limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.ingest.service_graph.pending import MAX_INTERNAL_DEPTH
from foreshock_dashboard.ingest.span_metrics import names as families
from foreshock_dashboard.ingest.span_metrics.counters import MAX_MODELS, MAX_SPAN_NAMES
from foreshock_dashboard.ingest.span_metrics.histogram import BUCKET_BOUNDS, LE_VALUES, Histograms
from foreshock_dashboard.ingest.span_metrics.registry import SERIES_PER_HISTOGRAM, Family
from foreshock_dashboard.ingest.span_metrics.span_metrics import MAX_SERIES, SpanMetrics
from foreshock_dashboard.model.samples import Sample, labels_of
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.prometheus.text_format import parse

Make = Callable[..., Span]
SUCCEEDED = {"status_code": "STATUS_CODE_UNSET"}
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def values(samples: tuple[Sample, ...]) -> dict[str, float]:
    """Samples by `metric{label="value",…}`, without buckets."""
    return {
        sample.metric + "{" + ",".join(f'{name}="{value}"' for name, value in sample.labels) + "}": sample.value
        for sample in samples
        if not sample.metric.endswith("_bucket")
    }


def of(samples: tuple[Sample, ...], metric: str, **labels: str) -> list[float]:
    """Return the values of the series of a metric with these labels."""
    wanted = set(labels.items())
    return [sample.value for sample in samples if sample.metric == metric and wanted <= set(sample.labels)]


def after_a_call(span: Make, now: float, **options: float) -> SpanMetrics:
    """Metrics after one complete call from shop/web to llm, read once."""
    metrics = SpanMetrics(**options)  # type: ignore[arg-type]  # one table of int and float options
    metrics.add([span("client", "shop/web", 1, seconds=0.3), span("server", "llm", 2, 1, seconds=0.2)], now)
    metrics.collect(now + 10)
    return metrics


def test_a_call_has_the_metric_names_of_other_tools(span: Make, now: float) -> None:
    """Names and labels are those of the OpenTelemetry connectors and Tempo."""
    edge = '{client="web",client_service_namespace="shop",server="llm"}'
    get, failed = (f'span_name="GET",status_code="STATUS_CODE_{status}"' for status in ("UNSET", "ERROR"))
    web = 'service_name="web",service_namespace="shop",span_kind="SPAN_KIND_CLIENT"'
    llm = 'service_name="llm",span_kind="SPAN_KIND_SERVER"'
    client, server = f"{{{web},{get}}}", f"{{{llm},{get}}}"
    assert values(after_a_call(span, now).collect(now)) == {
        f"traces_service_graph_request_total{edge}": 1,
        f"traces_service_graph_request_failed_total{edge}": 0,
        f"traces_service_graph_request_client_seconds_sum{edge}": 0.3,
        f"traces_service_graph_request_client_seconds_count{edge}": 1,
        f"traces_service_graph_request_server_seconds_sum{edge}": 0.2,
        f"traces_service_graph_request_server_seconds_count{edge}": 1,
        f"foreshock_retry_attempts_total{edge}": 0,
        f"traces_span_metrics_calls_total{client}": 1,
        f"traces_span_metrics_calls_total{server}": 1,
        f"traces_span_metrics_calls_total{{{web},{failed}}}": 0,
        f"traces_span_metrics_calls_total{{{llm},{failed}}}": 0,
        f"traces_span_metrics_duration_seconds_sum{client}": 0.3,
        f"traces_span_metrics_duration_seconds_count{client}": 1,
        f"traces_span_metrics_duration_seconds_sum{server}": 0.2,
        f"traces_span_metrics_duration_seconds_count{server}": 1,
        "foreshock_spans_late_total{}": 0,
        "foreshock_spans_early_total{}": 0,
        "foreshock_spans_duplicate_total{}": 0,
        "foreshock_spans_clamped_total{}": 0,
        "foreshock_service_graph_dropped_spans_total{}": 0,
        "foreshock_spans_uncounted_total{}": 0,
        "foreshock_span_metrics_overflow_total{}": 0,
    }


def test_spans_of_several_clusters_are_counted_by_cluster(span: Make, now: float) -> None:
    """A peer without spans, and the user, are in the cluster of the other side."""

    def at(cluster: str, one: Span) -> Span:
        return replace(one, resource={**one.resource, "k8s.cluster.name": cluster})

    metrics = SpanMetrics()
    database = {"db.system.name": "postgresql"}
    for trace, (caller, callee) in enumerate((("eu", "eu"), ("us", "us"), ("eu", "us")), 1):
        spans = [
            at(caller, span("server", "shop/web", 1, trace=trace)),
            at(caller, span("client", "shop/web", 2, 1, trace=trace)),
            at(callee, span("server", "llm", 3, 2, trace=trace)),
            at(callee, span("client", "llm", 4, 3, trace=trace, attributes=database)),
        ]
        metrics.add(spans, now)
    metrics.collect(now + 200)
    found = metrics.collect(now + 200)
    calls = [dict(sample.labels) for sample in found if sample.metric == "traces_service_graph_request_total"]
    names = ("client_k8s_cluster_name", "client", "server_k8s_cluster_name", "server")
    assert sorted(" ".join(labels[name] for name in names) for labels in calls) == [
        "eu llm eu postgresql",
        "eu user eu web",
        "eu web eu llm",
        "eu web us llm",
        "us llm us postgresql",
        "us user us web",
        "us web us llm",
    ]
    assert {labels.get("client_service_namespace", "") for labels in calls} == {"", "shop"}
    web = {"service_name": "web", "service_namespace": "shop", "span_kind": "SPAN_KIND_SERVER", **SUCCEEDED}
    counts = [of(found, "traces_span_metrics_calls_total", k8s_cluster_name=name, **web) for name in ("eu", "us")]
    assert counts == [[2.0], [1.0]]


def test_a_duration_falls_into_the_bucket_that_holds_it_and_all_above(span: Make, now: float) -> None:
    """A server's 0.2 s lie within le=0.2, which is inclusive; the client's 0.3 s do not."""
    samples = after_a_call(span, now).collect(now)
    for side, seconds in (("client", 0.3), ("server", 0.2)):
        for le in LE_VALUES:
            found = of(samples, f"traces_service_graph_request_{side}_seconds_bucket", le=le)
            assert found == [float(seconds <= float(le))], (side, le)


def test_a_request_of_several_server_spans_has_one_duration_and_one_exemplar(span: Make, now: float) -> None:
    """Spans of a web framework and a model server, in separate requests: counts of both families agree."""
    server = "traces_service_graph_request_server_seconds"
    for first in (2, 3):
        metrics = SpanMetrics(zero_for=0)
        metrics.add([span("client", "web", 1, 9, seconds=2.2)], now)
        for number in (first, 5 - first):
            name, seconds = {2: ("POST /v1", 2.1), 3: ("llm_request", 2.0)}[number]
            metrics.add([span("server", "llm", number, 1, name=name, seconds=seconds)], now + 1)
        for later in (5, 10, 11):
            samples = metrics.collect(now + later)
        assert of(samples, f"{server}_count") == of(samples, "traces_service_graph_request_total") == [1.0]
        assert of(samples, f"{server}_sum") == [2.1]
        metrics.text(now + 12)
        page = metrics.text(now + 13, openmetrics=True)
        assert re.findall(rf'^{server}_bucket.* # .*span_id="(\w+)"', page, re.MULTILINE) == [f"{2:016x}"]


def test_every_metric_made_of_spans_is_in_the_documentation_with_its_bounds() -> None:
    """docs/reference/otlp.md: each name in the table, each number in the text."""
    text = (Path(__file__).parents[3] / "docs/reference/otlp.md").read_text()
    section = text[text.index("## Derived metrics") : text.index("## Join a service")]
    names = [family.name for family in vars(families).values() if isinstance(family, Family)]
    assert [name for name in names if f"`{name}`" not in section] == []
    for words in (
        f"total series limit is {MAX_SERIES:,} (`--span-metrics-max-series`)",
        f"An operation uses {SERIES_PER_HISTOGRAM + 1} per",
        f"service is limited to {MAX_SPAN_NAMES} span names and {MAX_MODELS} models",
        f"up to {MAX_INTERNAL_DEPTH} INTERNAL spans",
    ):
        assert words in " ".join(section.split()), words


def test_a_new_series_is_shown_as_0_first(span: Make, now: float) -> None:
    """A rate sees differences: without the 0 the first requests of an edge would be lost."""
    metrics = SpanMetrics()
    spans = [span("client", "a", 1), span("server", "b", 2, 1)]
    metrics.add(spans, now)
    assert set(values(metrics.collect(now)).values()) == {0.0}
    assert of(metrics.collect(now), "traces_service_graph_request_total") == [1.0]
    assert of(parse(metrics.text(now), {}), "traces_service_graph_request_total") == [0.0]
    assert of(parse(metrics.text(now + 60), {}), "traces_service_graph_request_total") == [1.0]
    metrics.add([span("client", "a", 3), span("server", "c", 4, 3)], now)
    later = metrics.collect(now)
    assert of(later, "traces_service_graph_request_total", server="b") == [1.0]
    assert of(later, "traces_service_graph_request_total", server="c") == [0.0]


@pytest.mark.parametrize("interval", [1.0, 15.0, 60.0])
def test_each_of_two_prometheus_sees_the_0_of_a_new_series_and_then_its_value(
    span: Make, now: float, interval: float
) -> None:
    """A pair for high availability scrapes at one interval, but not at the same moments."""
    metrics = SpanMetrics()
    calls = "traces_span_metrics_calls_total"
    seen: dict[str, list[float]] = {"one": [], "two": []}
    for number in range(200):
        scraped = now + number * interval / 2
        if number == 3:
            metrics.add([span("server", "a", 1, end=scraped)], scraped)
        seen["one" if number % 2 else "two"] += of(parse(metrics.text(scraped), {}), calls, **SUCCEEDED)
    for values in seen.values():
        assert (values[0], values[-1]) == (0.0, 1.0)
        assert values.count(0.0) * interval <= 60 + interval, "the value does not wait longer than it must"


def test_a_series_born_later_has_its_own_0_on_the_page(span: Make, now: float) -> None:
    """Earlier series keep their values meanwhile, also when the clock is set back."""
    metrics = SpanMetrics()
    calls = "traces_span_metrics_calls_total"
    metrics.add([span("server", "a", 1)], now)
    metrics.text(now)
    metrics.add([span("server", "b", 2, trace=2, end=now + 50)], now + 50)
    metrics.text(now + 50)
    page = parse(metrics.text(now + 60), {})
    assert [of(page, calls, service_name=name, **SUCCEEDED) for name in "ab"] == [[1.0], [0.0]]
    assert of(parse(metrics.text(now - 3600), {}), calls, service_name="b", **SUCCEEDED) == [1.0]


def test_a_prometheus_sees_the_first_error_of_a_known_operation_at_once(span: Make, now: float) -> None:
    """Its counter is 0 since the first span of the operation, also after 15 minutes without an error."""
    metrics = SpanMetrics(stale_after=900)
    failed = {"service_name": "a", "status_code": "STATUS_CODE_ERROR"}
    calls = "traces_span_metrics_calls_total"
    for number in range(1, 200):
        at = now + 10 * number
        metrics.add([span("server", "a", number, trace=number, end=at)], at)
        assert of(parse(metrics.text(at), {}), calls, **failed) == [0.0]
    metrics.add([span("server", "a", 200, trace=200, end=at, status="error")], at)
    assert of(parse(metrics.text(at + 1), {}), calls, **failed) == [1.0]
    assert of(metrics.collect(at + 901), calls, **failed) == []


def test_the_text_has_the_samples_of_collect(span: Make, now: float) -> None:
    """For names with quotes, backslashes, newlines, and other alphabets."""
    metrics = SpanMetrics()
    metrics.add([span("server", 'a"b\\c\nd é', 1, name='GET /"x"\\n\n')], now)
    metrics.collect(now)
    metrics.text(now)
    text = metrics.text(now + 60)
    assert sorted(parse(text, {})) == sorted(metrics.collect(now))
    assert "# TYPE traces_span_metrics_duration_seconds histogram\n" in text
    assert "# HELP traces_span_metrics_calls_total Number of spans, by operation.\n" in text


def test_duplicate_spans_change_nothing(span: Make, now: float) -> None:
    """A sender that missed a response repeats its batch, also after both sides were paired."""
    metrics = after_a_call(span, now)
    once = values(metrics.collect(now))
    again = [span("client", "shop/web", 1, seconds=0.3), span("server", "llm", 2, 1, seconds=0.2)]
    for later in (now, now + 5, now + 25):
        metrics.add(again, later)
    twice = values(metrics.collect(now + 25))
    assert twice.pop("foreshock_spans_duplicate_total{}") == 6
    assert twice == {name: value for name, value in once.items() if "duplicate" not in name}


@pytest.mark.parametrize(
    ("end", "counter"),
    [(-31.0, "foreshock_spans_late_total"), (31.0, "foreshock_spans_early_total")],
)
def test_spans_from_another_time_are_counted_apart(span: Make, now: float, end: float, counter: str) -> None:
    """A backlog that arrives an hour later must not look like traffic of this minute."""
    metrics = after_a_call(span, now)
    before = values(metrics.collect(now))
    metrics.add([span("client", "a", 7, end=now + end), span("server", "b", 8, 7, end=now + end)], now)
    after = values(metrics.collect(now))
    assert after.pop(f"{counter}{{}}") == 2
    assert after == {name: value for name, value in before.items() if counter not in name}


def test_gpu_occupancy_and_internal_spans_are_not_requests(span: Make, now: float) -> None:
    """They are stored in traces only."""
    metrics = SpanMetrics()
    spans = [span("internal", "a", 1), span("server", "foreshock-exporter", 2, name="gpu.occupancy")]
    metrics.add(spans, now)
    metrics.collect(now)
    assert set(values(metrics.collect(now)).values()) == {0.0}


def test_a_service_may_call_a_span_as_the_exporter_does(span: Make, now: float) -> None:
    """Only the exporter's own are occupancy."""
    metrics = SpanMetrics()
    metrics.add([span("server", "impostor", 2, name="gpu.occupancy")], now)
    metrics.collect(now)
    assert of(metrics.collect(now), "traces_span_metrics_calls_total", service_name="impostor") == [1.0, 0.0]


def test_an_unpaired_span_is_counted_after_the_ttl(span: Make, now: float) -> None:
    """By service and side."""
    metrics = SpanMetrics()
    metrics.add([span("server", "b", 2, 1)], now)
    assert of(metrics.collect(now + 9), "foreshock_service_graph_unpaired_spans_total") == []
    metrics.collect(now + 10)
    unpaired = of(
        metrics.collect(now + 10),
        "foreshock_service_graph_unpaired_spans_total",
        service_name="b",
        span_kind="SPAN_KIND_SERVER",
    )
    assert unpaired == [1.0]


def test_a_late_server_side_after_a_client_timeout_adds_no_node(span: Make, now: float) -> None:
    """The client times out after 5 s; the model finishes the abandoned generation after 35 s."""
    metrics = SpanMetrics()
    address = {"server.address": "llm.internal", "error.type": "timeout"}
    metrics.add([span("client", "web", 1, 9, seconds=5, end=now + 5, status="error", attributes=address)], now + 6)
    for later in range(7, 40):
        metrics.collect(now + later)
    metrics.add([span("server", "llm", 2, 1, seconds=35, end=now + 35)], now + 40)
    for later in range(41, 200, 10):
        samples = metrics.collect(now + later)
    total = "traces_service_graph_request_total"
    assert of(samples, total) == of(samples, total, client="web", server="llm") == [1.0]
    assert of(samples, "traces_service_graph_request_failed_total") == [1.0]
    assert of(samples, "traces_service_graph_request_client_seconds_sum") == [5.0]
    assert of(samples, "traces_service_graph_request_server_seconds_sum") == [35.0]
    assert of(samples, "foreshock_service_graph_unpaired_spans_total") == []


def test_a_clamped_span_is_counted(span: Make, now: float) -> None:
    """Its duration counts as 0 s."""
    metrics = SpanMetrics()
    whole: Span = span("server", "a", 1, seconds=0)
    metrics.add([replace(whole, clamped=True)], now)
    assert of(metrics.collect(now), "foreshock_spans_clamped_total") == [0.0]
    assert of(metrics.collect(now), "foreshock_spans_clamped_total") == [1.0]


def test_an_unused_series_expires_and_starts_again_at_0(span: Make, now: float) -> None:
    """Edges of removed services leave the map."""
    metrics = after_a_call(span, now, stale_after=900)
    assert of(metrics.collect(now + 909), "traces_service_graph_request_total") == [1.0]
    assert of(metrics.collect(now + 910), "traces_service_graph_request_total") == []
    later = now + 911
    metrics.add([span("client", "shop/web", 5, end=later), span("server", "llm", 6, 5, end=later)], later)
    assert of(metrics.collect(later), "traces_service_graph_request_total") == [0.0]
    assert of(metrics.collect(later), "traces_service_graph_request_total") == [1.0]


def test_series_beyond_the_limit_are_counted_together(span: Make, now: float) -> None:
    """Span names with identifiers cannot fill the memory; the sums stay right."""
    metrics = SpanMetrics(max_series=100)
    spans = [
        span("server", f"s{n}", n, trace=n, name=f"GET /{n}", status="error" if n % 2 else "unset")
        for n in range(1, 100)
    ]
    metrics.add(spans, now)
    metrics.collect(now)
    samples = metrics.collect(now)
    of_other = [sample for sample in samples if ("service_name", "(other)") in sample.labels]
    assert len([sample for sample in samples if sample.metric.startswith("traces_span")]) <= 100 + len(of_other)
    calls = "traces_span_metrics_calls_total"
    assert sum(of(samples, calls)) == sum(of(samples, "traces_service_graph_request_total")) == 99
    assert of(samples, calls, service_name="(other)", span_name="(other)", span_kind="SPAN_KIND_SERVER")
    assert sum(of(samples, calls, status_code="STATUS_CODE_ERROR")) == 50, "failures stay failures"
    assert sum(of(samples, "traces_service_graph_request_server_seconds_count")) == 99
    assert of(samples, "foreshock_span_metrics_overflow_total")[0] > 0


def test_a_service_s_further_span_names_are_counted_together(span: Make, now: float) -> None:
    """The sum over its names stays right."""
    metrics = SpanMetrics()
    metrics.add([span("server", "a", n, trace=n, name=f"GET /{n}") for n in range(1, MAX_SPAN_NAMES + 51)], now)
    metrics.collect(now)
    samples = metrics.collect(now)
    assert of(samples, "traces_span_metrics_calls_total", span_name="(other)") == [50.0, 0.0]
    assert sum(of(samples, "traces_span_metrics_calls_total", service_name="a")) == MAX_SPAN_NAMES + 50


def test_a_long_name_is_cut(span: Make, now: float) -> None:
    """A label has 200 characters at most."""
    metrics = SpanMetrics()
    metrics.add([span("server", "a", 1, name="x" * 10_000)], now)
    assert max(len(value) for sample in metrics.collect(now) for _, value in sample.labels) == 200


def test_labels_are_in_their_canonical_form(span: Make, now: float) -> None:
    """Sorted, and without empty values."""
    for sample in after_a_call(span, now).collect(now):
        assert sample.labels == labels_of(dict(sample.labels))


@given(st.lists(st.floats(0, 1000) | st.sampled_from(BUCKET_BOUNDS), max_size=90))
def test_a_histogram_counts_each_duration_once_and_grows_with_its_bounds(durations: list[float]) -> None:
    """Every bucket equals a direct count."""
    histograms = Histograms()
    rows = [histograms.add() for _ in range(100)]
    for number, seconds in enumerate(durations):
        histograms.observe([(rows[-1], seconds, None)])
        histograms.observe([(rows[number], 1.0, None)])
    histograms.flush(0.0)
    assert histograms.cumulative(rows[-1]) == [sum(seconds <= float(le) for seconds in durations) for le in LE_VALUES]
    assert histograms.sum(rows[-1]) == pytest.approx(sum(durations))
