"""Reading a source on the grid: what is new only, in pieces that it can answer, in whatever form it has it."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError, grid
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.world.catalogue import catalogue
from foreshock_dashboard.world.observer import FIRST_CHUNK_POINTS, MAX_CHUNK_POINTS, Observer, align_down, fold_start

NOW = 1_800_000_003.0
STEP = 10.0


class Source(MetricSource):
    """Answers one series per known metric whose value is the time; remembers what it was asked."""

    def __init__(self, known: dict[str, Labels] | None = None) -> None:
        self.known = known or {}
        self.asked: list[tuple[str, float, float]] = []
        self.broken_from = np.inf

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        if end >= self.broken_from:
            raise SourceError("the source is away")
        times = grid(start, end, step)
        self.asked.append((query.metric, start, end))
        if query.metric not in self.known:
            return Matrix.empty(times)
        return Matrix.of(times, {self.known[query.metric]: times.copy()})

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return frozenset(self.known)


def observer(source: Source, step: float = STEP) -> Observer:
    """An observer of the whole catalogue."""
    return Observer(source, catalogue(59.0), step, reduce=lambda answers: answers)


def test_it_begins_at_the_last_full_hour_at_least_two_hours_back() -> None:
    """And ends at the last grid point that is not in the future."""
    readings = observer(Source({"up": labels_of({"job": "x"})})).read(NOW)

    assert readings["up"].times[0] == fold_start(NOW) == 1_799_992_800.0
    assert readings["up"].times[-1] == align_down(NOW, STEP) == 1_800_000_000.0
    assert readings["up"].values[0].tolist() == readings["up"].times.tolist()


def test_it_begins_where_it_is_told_to() -> None:
    """A replay reads a recording from its start, however large its steps are."""
    watch = Observer(
        Source({"up": labels_of({"job": "x"})}),
        catalogue(59.0),
        STEP,
        reduce=lambda answers: answers,
        keep=86_400.0,
        begin=lambda _: NOW - 43_203.0,
    )

    assert watch.read(NOW - 30_000.0)["up"].times[0] == NOW - 43_203.0
    assert len(watch.read(NOW)["up"].times) == 4321


def test_no_question_is_for_more_points_than_a_source_can_answer() -> None:
    """The hours after a restart are read in pieces."""
    source = Source()
    observer(source, step=1.0).read(NOW)

    assert max((end - start) / 1.0 + 1 for _, start, end in source.asked) <= MAX_CHUNK_POINTS


def test_a_large_platform_is_read_in_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it is known how many series there are."""
    monkeypatch.setattr("foreshock_dashboard.world.observer.MAX_CHUNK_VALUES", 60)
    source = Source({"up": labels_of({"job": "x"}), "gpu_info": labels_of({"uuid": "a"})})
    readings = observer(source).read(NOW)

    assert {(end - start) / STEP + 1 for _, start, end in source.asked} <= {FIRST_CHUNK_POINTS, 30.0, *range(1, 30)}
    assert max(end - start for _, start, end in source.asked) == 29 * STEP
    assert readings["up"].values[0].tolist() == readings["up"].times.tolist()


def test_only_what_is_new_is_read_again() -> None:
    """One grid point later, one point is asked for; within the same one, nothing."""
    source = Source()
    watching = observer(source)
    watching.read(NOW)
    source.asked.clear()

    watching.read(NOW + 3)
    assert source.asked == []
    watching.read(NOW + STEP)
    assert {(start, end) for _, start, end in source.asked} == {(1_800_000_010.0, 1_800_000_010.0)}


def test_what_was_read_before_a_source_went_away_is_kept() -> None:
    """The next read goes on where the last one stopped."""
    source = Source({"up": labels_of({"job": "x"})})
    source.broken_from = fold_start(NOW) + 300 * STEP
    watching = observer(source)
    with pytest.raises(SourceError):
        watching.read(NOW)
    read = {start for _, start, _ in source.asked}
    source.asked.clear()
    source.broken_from = np.inf

    readings = watching.read(NOW)

    assert read.isdisjoint({start for _, start, _ in source.asked})
    assert np.array_equal(readings["up"].values[0], readings["up"].times)


def test_a_missing_family_is_named_with_what_is_lost() -> None:
    """So that an empty panel has a reason."""
    watching = observer(Source({"gpu_info": labels_of({"uuid": "a"})}))
    watching.read(NOW)

    assert "gpu_info (GPUs)" not in watching.missing()
    assert "traces_service_graph_request_total (the service map)" in watching.missing()


@pytest.mark.parametrize(
    ("metric", "labels"),
    [
        ("traces_span_metrics_duration_seconds", {"service_name": "llm", "le": "2.5"}),
        ("traces_span_metrics_duration_milliseconds", {"service_name": "llm", "le": "2500"}),
        ("traces_spanmetrics_latency", {"service": "llm", "le": "2.5"}),
    ],
)
def test_span_metrics_of_others_are_read_as_our_own(metric: str, labels: dict[str, str]) -> None:
    """The Collector's in seconds or milliseconds, and Tempo's with its own label."""
    readings = observer(Source({metric: labels_of(labels)})).read(NOW)

    assert readings["served_seconds"].labels == ((("le", "2.5"), ("service_name", "llm")),)


def test_who_tells_of_services_is_kept_to_while_it_is_silent_for_a_while() -> None:
    """A Collector that is restarted makes no other services of those that a mesh tells of too."""
    spans, mesh = "traces_span_metrics_calls_total", "istio_requests_total"
    ends = {"destination_workload": "chat-v1", "destination_workload_namespace": "shop"}
    source = Source({spans: labels_of({"service_name": "chat"}), mesh: labels_of(ends)})
    watch = observer(source)
    told = []
    for minutes, known in ((0, True), (3, False), (6, True), (9, False), (40, False)):
        source.known.pop(spans, None)
        if known:
            source.known[spans] = labels_of({"service_name": "chat"})
        *_, newest = watch.pieces(NOW + 60.0 * minutes)
        told.append([dict(labels)["service_name"] for labels in newest["served"].labels])
    assert told == [["chat"], [], ["chat"], [], ["chat-v1"]]


def test_a_service_graph_tells_of_services_only_until_its_maker_counts_spans() -> None:
    """Servers of calls are services then, with the failures and durations of the same graph; nobody keeps to it."""
    calls = {"client": "web", "server": "chat", "server_service_namespace": "shop"}
    graph = "traces_service_graph_request"
    source = Source({f"{graph}_{each}_total".replace("_all", ""): labels_of(calls) for each in ("all", "failed")})
    source.known[f"{graph}_server_seconds"] = labels_of(calls | {"le": "1.0"})
    watch = observer(source)
    *_, newest = watch.pieces(NOW)
    chat = {"service_name": "chat", "service_namespace": "shop"}
    for key, more in (("served", {}), ("served_failed", {}), ("served_seconds", {"le": "1.0"})):
        (labels,) = newest[key].labels
        assert {name: value for name, value in labels if name != "client"} == chat | more

    source.known["istio_requests_total"] = labels_of({"destination_workload": "chat-v1"})
    told = []
    for minutes in (3, 6):  # the Collector is restarted, and a mesh tells of services too
        kept = {name: source.known.pop(name) for name in list(source.known) if name.startswith(graph)}
        *_, newest = watch.pieces(NOW + 60.0 * minutes)
        told.append([dict(labels)["service_name"] for labels in newest["served"].labels])
        source.known |= kept
        *_, newest = watch.pieces(NOW + 60.0 * minutes + STEP)
        told.append([dict(labels)["service_name"] for labels in newest["served"].labels])
    assert told == [[], ["chat"], [], ["chat"]]

    source.known["traces_span_metrics_calls_total"] = labels_of({"service_name": "gpt", "span_name": "ask"})
    *_, newest = watch.pieces(NOW + 400)
    assert [dict(labels)["service_name"] for labels in newest["served"].labels] == ["gpt"]
    assert len(newest["served_seconds"]) == 0


def test_what_is_too_much_to_answer_is_asked_for_in_smaller_pieces() -> None:
    """Or no later tick would get on either."""

    class Bounded(Source):
        most = np.inf

        def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
            if (end - start) / step + 1 > self.most:
                raise SourceError("the answer is too large")
            return super().fetch(query, start, end, step)

    source = Bounded({"up": labels_of({"job": "x"})})
    source.most = 5
    watch = observer(source)
    for _ in range(2):
        with pytest.raises(SourceError):
            watch.read(NOW)
    pieces = watch.pieces(NOW)
    assert len(next(pieces)["up"].times) == 3


def test_what_is_infinite_is_no_measurement() -> None:
    """A division by nothing in an exporter: floors and sums of it would stop a tick."""

    class Infinite(Source):
        def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
            found = super().fetch(query, start, end, step)
            return Matrix(found.times, found.labels, np.where(found.times % 20, np.inf, found.values))

    values = observer(Infinite({"up": labels_of({"job": "x"})})).read(NOW)["up"].values[0]
    assert np.isnan(values).tolist() == [bool(each % 20) for each in observer(Source()).read(NOW)["up"].times]


class Telling(Source):
    """A source that tells which metrics it has, or refuses to; remembers for which ranges it was asked."""

    silent = False

    def __init__(self, known: dict[str, Labels]) -> None:
        super().__init__(known)
        self.ranges: list[tuple[float, float]] = []

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """As `NamedMetricSource.names_between`."""
        self.ranges.append((start, end))
        return None if self.silent else frozenset(self.known)


def test_a_source_that_tells_its_metrics_is_asked_for_no_others_and_answers_the_same() -> None:
    """Nor is it where it refuses to tell: then each is asked for."""
    known = {"up": labels_of({"job": "x"}), "gpu_info": labels_of({"uuid": "u"})}
    plain, telling, silent = Source(known), Telling(known), Telling(known)
    silent.silent = True
    one, two, three = (observer(source).read(NOW) for source in (plain, telling, silent))
    assert {metric for metric, _, _ in telling.asked} == {"up", "gpu_info"}
    assert len(telling.asked) < len(plain.asked) / 20
    assert silent.asked == plain.asked
    labels = [{key: each.labels for key, each in found.items()} for found in (one, two, three)]
    assert labels[0] == labels[1] == labels[2]


def test_which_metrics_there_are_is_asked_for_all_that_rates_look_back_at_and_once_a_minute_where_it_stays() -> None:
    """What comes later is asked for from then on; of what nobody wants, nothing is noticed."""
    source = Telling({"up": labels_of({"job": "x"})})
    watch = observer(source)
    watch.read(NOW)
    first = align_down(NOW, STEP)
    assert source.ranges == [(fold_start(NOW) - 59.0, first)]

    for tick in range(1, 21):
        if tick == 13:
            source.known["gpu_info"] = labels_of({"uuid": "u"})
        source.known[f"another_{tick}"] = ()
        watch.read(NOW + tick * STEP)
    asked = [first + later for later in (10, 20, 40, 80, 140, 150, 160, 180)]
    assert source.ranges[1:] == [(end - 59.0, end) for end in asked]
    assert min(start for metric, start, _ in source.asked if metric == "gpu_info") == first + 140
