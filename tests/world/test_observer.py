"""Incremental reading of a source: new grid points only, in pieces, from any producer."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SizeError, SourceError, grid
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.observer import (
    FIRST_CHUNK_POINTS,
    LARGER_AFTER_PIECES,
    MAX_CHUNK_POINTS,
    MAX_CHUNK_VALUES,
    Observer,
    align_down,
    fold_start,
)
from foreshock_dashboard.world.row import Producer

NOW = 1_800_000_003.0
STEP = 10.0


class Source(MetricSource):
    """Answers one series per known metric with the time as its value; records the queries."""

    def __init__(self, known: dict[str, Labels] | None = None) -> None:
        self.known = known or {}
        self.queries: list[tuple[str, float, float]] = []
        self.broken_from = np.inf

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        if end >= self.broken_from:
            raise SourceError("the source is away")
        times = grid(start, end, step)
        self.queries.append((query.metric, start, end))
        if query.metric not in self.known:
            return Matrix.empty(times)
        return Matrix.of(times, {self.known[query.metric]: times.copy()})

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return frozenset(self.known)


def observer(source: Source, step: float = STEP, max_chunk_values: int = MAX_CHUNK_VALUES) -> Observer:
    """An observer of the whole catalog."""
    return Observer(source, catalog(59.0), step, lambda answers: answers, max_chunk_values=max_chunk_values)


def test_it_begins_at_the_last_full_hour_at_least_two_hours_back() -> None:
    """And ends at the last grid point that is not in the future."""
    readings = observer(Source({"up": labels_of({"job": "x"})})).read(NOW)

    assert readings["up"].times[0] == fold_start(NOW) == 1_799_992_800.0
    assert readings["up"].times[-1] == align_down(NOW, STEP) == 1_800_000_000.0
    assert readings["up"].values[0].tolist() == readings["up"].times.tolist()


def test_it_begins_at_the_given_time() -> None:
    """A replay reads a recording from its start, however large its steps are."""
    watch = Observer(
        Source({"up": labels_of({"job": "x"})}),
        catalog(59.0),
        STEP,
        reduce=lambda answers: answers,
        keep=86_400.0,
        begin=lambda _: NOW - 43_203.0,
    )

    assert watch.read(NOW - 30_000.0)["up"].times[0] == NOW - 43_203.0
    assert len(watch.read(NOW)["up"].times) == 4321


def test_a_query_has_a_limited_number_of_points() -> None:
    """After a restart, hours are read in pieces."""
    source = Source()
    observer(source, step=1.0).read(NOW)

    assert max((end - start) / 1.0 + 1 for _, start, end in source.queries) <= MAX_CHUNK_POINTS


def test_a_large_platform_is_read_in_smaller_pieces() -> None:
    """As soon as the number of series is known: one of `up`, and two of `gpu_info`, which two readings need."""
    source = Source({"up": labels_of({"job": "x"}), "gpu_info": labels_of({"uuid": "a"})})
    readings = observer(source, max_chunk_values=90).read(NOW)

    assert {(end - start) / STEP + 1 for _, start, end in source.queries} <= {FIRST_CHUNK_POINTS, 30.0, *range(1, 30)}
    assert max(end - start for _, start, end in source.queries) == 29 * STEP
    assert readings["up"].values[0].tolist() == readings["up"].times.tolist()


def test_only_new_points_are_read() -> None:
    """One point per step, and none within a step."""
    source = Source()
    watching = observer(source)
    watching.read(NOW)
    source.queries.clear()

    watching.read(NOW + 3)
    assert source.queries == []
    watching.read(NOW + STEP)
    assert {(start, end) for _, start, end in source.queries} == {(1_800_000_010.0, 1_800_000_010.0)}


def test_readings_survive_a_failure_of_the_source() -> None:
    """The next read continues after the last answer."""
    source = Source({"up": labels_of({"job": "x"})})
    source.broken_from = fold_start(NOW) + 300 * STEP
    watching = observer(source)
    with pytest.raises(SourceError):
        watching.read(NOW)
    read = {start for _, start, _ in source.queries}
    source.queries.clear()
    source.broken_from = np.inf

    readings = watching.read(NOW)

    assert read.isdisjoint({start for _, start, _ in source.queries})
    assert np.array_equal(readings["up"].values[0], readings["up"].times)


def test_a_missing_metric_is_listed_with_the_feature_lost() -> None:
    """An empty panel has a reason."""
    watching = observer(Source({"gpu_info": labels_of({"uuid": "a"})}))
    watching.read(NOW)

    assert "gpu_info (GPUs)" not in watching.missing()
    assert "traces_service_graph_request_total (service map)" in watching.missing()


@pytest.mark.parametrize(
    ("metric", "labels"),
    [
        ("traces_span_metrics_duration_seconds", {"service_name": "llm", "le": "2.5"}),
        ("traces_span_metrics_duration_milliseconds", {"service_name": "llm", "le": "2500"}),
        ("traces_spanmetrics_latency", {"service": "llm", "le": "2.5"}),
    ],
)
def test_span_metrics_of_other_producers_are_read(metric: str, labels: dict[str, str]) -> None:
    """The Collector's in seconds or milliseconds, and Tempo's with another label."""
    readings = observer(Source({metric: labels_of(labels)})).read(NOW)

    assert readings["served_seconds"].labels == ((("le", "2.5"), ("service_name", "llm")),)


def test_a_producer_is_used_through_a_short_silence() -> None:
    """A restart of the Collector does not rename services that a mesh also reports."""
    spans, mesh = "traces_span_metrics_calls_total", "istio_requests_total"
    ends = {"destination_workload": "chat-v1", "destination_workload_namespace": "shop"}
    source = Source({spans: labels_of({"service_name": "chat"}), mesh: labels_of(ends)})
    watch = observer(source)
    services = []
    for minutes, known in ((0, True), (3, False), (6, True), (9, False), (40, False)):
        source.known.pop(spans, None)
        if known:
            source.known[spans] = labels_of({"service_name": "chat"})
        *_, newest = watch.pieces(NOW + 60.0 * minutes)
        services.append([dict(labels)["service_name"] for labels in newest["served"].labels])
    assert services == [["chat"], [], ["chat"], [], ["chat-v1"]]


def test_one_read_of_an_hour_uses_the_producers_that_evaluations_used() -> None:
    """A producer that stops within a piece is replaced as soon as it was live, and one that pauses is not."""
    spans, mesh = "traces_span_metrics_calls_total", "istio_requests_total"
    ends = {"destination_workload": "chat-v1", "destination_workload_namespace": "shop"}

    class Paused(Source):
        """Span metrics pause for 10 minutes after NOW, and end 20 minutes after it."""

        def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
            answer = super().fetch(query, start, end, step)
            minute = (answer.times - NOW) / 60.0
            silent = ((minute > 0) & (minute < 10)) | (minute > 20)
            if query.metric != spans or not len(answer):
                return answer
            return Matrix.ordered(answer.times, answer.labels, np.where(silent, np.nan, answer.values))

    def services(grid_points: list[float]) -> dict[float, list[str]]:
        watch = observer(Paused({spans: labels_of({"service_name": "chat"}), mesh: labels_of(ends)}))
        watch.read(NOW)
        pieces = [piece["served"] for now in grid_points for piece in watch.pieces(now)]
        return {
            float(time): [
                dict(labels)["service_name"] for labels, value in zip(piece.labels, row, strict=True) if value > 0
            ]
            for piece in pieces
            for time, row in zip(piece.times, piece.values.T, strict=True)
        }

    live = services([NOW + STEP * i for i in range(1, 361)])
    assert services([NOW + 3600.0]) == live
    assert {name for names in live.values() for name in names} == {"chat", "chat-v1"}


def test_a_service_graph_is_used_until_its_producer_exports_span_metrics() -> None:
    """Until then, servers of calls are services, with failures and durations of the same graph."""
    calls = {"client": "web", "server": "chat", "server_service_namespace": "shop"}
    graph = "traces_service_graph_request"
    source = Source({f"{graph}_{part}total": labels_of(calls) for part in ("", "failed_")})
    source.known[f"{graph}_server_seconds"] = labels_of(calls | {"le": "1.0"})
    watch = observer(source)
    *_, newest = watch.pieces(NOW)
    chat = {"service_name": "chat", "service_namespace": "shop"}
    for key, more in (("served", {}), ("served_failed", {}), ("served_seconds", {"le": "1.0"})):
        (labels,) = newest[key].labels
        assert {name: value for name, value in labels if name != "client"} == chat | more

    source.known["istio_requests_total"] = labels_of({"destination_workload": "chat-v1"})
    services = []
    for minutes in (3, 6):  # the Collector is restarted, and a mesh also reports services
        kept = {name: source.known.pop(name) for name in list(source.known) if name.startswith(graph)}
        *_, newest = watch.pieces(NOW + 60.0 * minutes)
        services.append([dict(labels)["service_name"] for labels in newest["served"].labels])
        source.known |= kept
        *_, newest = watch.pieces(NOW + 60.0 * minutes + STEP)
        services.append([dict(labels)["service_name"] for labels in newest["served"].labels])
    assert services == [[], ["chat"], [], ["chat"]]

    source.known["traces_span_metrics_calls_total"] = labels_of({"service_name": "gpt", "span_name": "ask"})
    *_, newest = watch.pieces(NOW + 400)
    assert [dict(labels)["service_name"] for labels in newest["served"].labels] == ["gpt"]
    assert len(newest["served_seconds"]) == 0


def test_a_failed_query_is_repeated_in_smaller_pieces() -> None:
    """Otherwise no later evaluation could continue."""

    class Bounded(Source):
        max_points = np.inf

        def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
            if (end - start) / step + 1 > self.max_points:
                raise SourceError("the answer is too large")
            return super().fetch(query, start, end, step)

    source = Bounded({"up": labels_of({"job": "x"})})
    source.max_points = 5
    watch = observer(source, max_chunk_values=12)
    for _ in range(2):
        with pytest.raises(SourceError):
            watch.read(NOW)
    pieces = watch.pieces(NOW)
    assert len(next(pieces)["up"].times) == 3


def test_an_answer_that_is_too_large_is_read_in_smaller_pieces_at_once() -> None:
    """The first page of a large fleet must not wait for another evaluation."""

    class Bounded(Source):
        def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
            if (end - start) / step + 1 > 1:
                raise SizeError("the answer is too large")
            return super().fetch(query, start, end, step)

    known, begin = {"up": labels_of({"job": "x"})}, align_down(NOW, STEP) - 5 * STEP
    watch = Observer(Bounded(known), catalog(59.0), STEP, lambda answers: answers, begin=lambda _: begin)
    pieces = [*watch.pieces(NOW)]
    assert [len(piece["up"].times) for piece in pieces] == [1] * 6
    times = np.concatenate([piece["up"].times for piece in pieces])
    assert times.tolist() == grid(begin, align_down(NOW, STEP), STEP).tolist()


def test_pieces_grow_again_after_enough_of_them() -> None:
    """A server that was too small once, such as while it compacted, must not slow down all later starts."""

    begin = align_down(NOW, STEP) - (LARGER_AFTER_PIECES + 10) * STEP

    class Busy(Source):
        def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
            if start == begin + STEP < end:
                raise SizeError("the answer is too large")
            return super().fetch(query, start, end, step)

    source, up = Busy({"up": labels_of({"job": "x"})}), {"up": catalog(59.0)["up"]}
    watch = Observer(source, up, STEP, lambda answers: answers, begin=lambda _: begin)
    sizes = [len(piece["up"].times) for piece in watch.pieces(NOW)]
    assert sizes == [1] * (1 + LARGER_AFTER_PIECES) + [2] * 5


def test_infinite_values_are_absent() -> None:
    """An exporter divided by zero."""

    class Infinite(Source):
        def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
            found = super().fetch(query, start, end, step)
            return Matrix(found.times, found.labels, np.where(found.times % 20, np.inf, found.values))

    values = observer(Infinite({"up": labels_of({"job": "x"})})).read(NOW)["up"].values[0]
    assert np.isnan(values).tolist() == [bool(time % 20) for time in observer(Source()).read(NOW)["up"].times]


class Listing(Source):
    """A source that lists its metrics unless it refuses to; records the ranges."""

    refuses = False

    def __init__(self, known: dict[str, Labels]) -> None:
        super().__init__(known)
        self.ranges: list[tuple[float, float]] = []

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """As `NamedMetricSource.names_between`."""
        self.ranges.append((start, end))
        return None if self.refuses else frozenset(self.known)


def test_absent_metrics_are_not_queried_where_the_source_lists_its_metrics() -> None:
    """The answers are the same; without a list, each metric is queried."""
    known = {"up": labels_of({"job": "x"}), "gpu_info": labels_of({"uuid": "u"})}
    plain, listing, refusing = Source(known), Listing(known), Listing(known)
    refusing.refuses = True
    one, two, three = (observer(source).read(NOW) for source in (plain, listing, refusing))
    assert {metric for metric, _, _ in listing.queries} == {"up", "gpu_info"}
    assert len(listing.queries) < len(plain.queries) / 20
    assert refusing.queries == plain.queries
    labels = [{key: matrix.labels for key, matrix in found.items()} for found in (one, two, three)]
    assert labels[0] == labels[1] == labels[2]


def test_the_list_of_metrics_is_renewed_once_a_minute_while_it_is_stable() -> None:
    """It covers the rate window. Metrics outside the catalog do not matter."""
    source = Listing({"up": labels_of({"job": "x"})})
    watch = observer(source)
    watch.read(NOW)
    first = align_down(NOW, STEP)
    assert source.ranges == [(fold_start(NOW) - 59.0, first)]

    for tick in range(1, 21):
        if tick == 13:
            source.known["gpu_info"] = labels_of({"uuid": "u"})
        source.known[f"another_{tick}"] = ()
        watch.read(NOW + tick * STEP)
    listed = [first + later for later in (10, 20, 40, 80, 140, 150, 160, 180)]
    assert source.ranges[1:] == [(end - 59.0, end) for end in listed]
    assert min(start for metric, start, _ in source.queries if metric == "gpu_info") == first + 140


def test_standard_labels_are_made_of_those_of_the_answer() -> None:
    """At 100,000 series, new pairs for each evaluation would be the largest part of its memory."""
    answer = Matrix.of(grid(0, 0, 1), {labels_of({"a": "1", "b": "2"}): np.ones(1)})
    (labels,) = answer.labels
    assert Producer(Query("m")).standard(answer).labels[0] is labels
    (renamed,) = Producer(Query("m"), {"a": "c"}).standard(answer).labels
    assert renamed == labels_of({"b": "2", "c": "1"})
    assert renamed[0] is labels[1]
