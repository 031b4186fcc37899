"""The GPUs of a trace on the API: joined, inferred, bounded, and honest where something cannot be read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.web.caller import Caller, answer_schema, properties
from tests.web.worlds import NOW, SCENES, FakeHub, FakeTraces, request, service, span

from foreshock_dashboard.model.query import Matrix, MetricSource, Partial, Query, SourceError
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.span import (
    EXPORTER_NAME,
    OCCUPANCY_NAME,
    AttributeValue,
    Span,
    TraceQuery,
    TraceSummary,
)
from foreshock_dashboard.render.trace_text import trace_text
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.traces import gpu_time
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTime, GpuTimes
from foreshock_dashboard.web.pages.traces.lists import MAX_CANDIDATES, WaitCache, by_wait, exemplars
from foreshock_dashboard.web.pages.traces.parameters import WaitFilter
from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.gpu.occupancy import Occupancy, attributes, span_id, trace_id

if TYPE_CHECKING:
    from tests.conftest import Golden

START = NOW - 60
"""When the request of the scenes starts, which is when a minute does."""
HOST = "id-of-host-0"
TRACE = f"{1:032x}"


def told(who: str, start: float, end: float, share: float, words: tuple[str, ...] = (), uuid: str = "GPU-0-0") -> Span:
    """An occupancy span of a GPU of host-0, in seconds after the request's start."""
    gpu = uuid.rpartition("-")[2]
    occupancy = Occupancy(uuid, gpu, ServiceKey("", who), START + start, START + end, 0.1, share, words)
    said: dict[str, AttributeValue] = {}
    for name, value in attributes(occupancy).items():
        said[name] = [*value] if isinstance(value, tuple) else value
    made = span("gpu.occupancy", "foreshock-exporter", 1, 0, start, end - start)
    return replace(
        made,
        trace_id=f"{trace_id(uuid, START + start):032x}",
        span_id=f"{span_id(occupancy):016x}",
        kind="internal",
        resource={"service.name": "foreshock-exporter", "host.id": HOST, "host.name": "host-0"},
        attributes=said,
    )


def asked_of(who: str = "embedder", **resource: str | int) -> tuple[Span, ...]:
    """The request, in which one service says where it runs."""
    said = {name.replace("__", "."): value for name, value in resource.items()}
    return tuple(
        replace(each, resource={**each.resource, **said}) if each.service.name == who else each for each in request()
    )


@dataclass
class Traces(FakeTraces):
    """A source that holds some spans."""

    spans: Sequence[Span] = ()
    read: list[str] = field(default_factory=list)
    broken: frozenset[str] = frozenset()

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """Of occupancy, those that it has; else as any."""
        if query.operation != OCCUPANCY_NAME or self.error:
            return super().search(query)
        self.asked.append(query)
        ids = sorted({each.trace_id for each in self.spans if each.occupancy})
        first, last = round(query.start * 1e9), round(query.end * 1e9)
        inside = {each.trace_id for each in self.spans if each.occupancy and first <= each.start_ns <= last}
        return tuple(replace(self._row(0), trace_id=each) for each in ids if each in inside)

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """Those of one trace."""
        self.read.append(trace_id)
        if trace_id in self.broken:
            raise SourceError("the source is away")
        return tuple(each for each in self.spans if each.trace_id == trace_id)


@dataclass
class Metrics(MetricSource):
    """A source that knows hosts, and shares of services by (uuid, service)."""

    shares: Mapping[tuple[str, str], float] = field(default_factory=dict)
    asked: list[Query] = field(default_factory=list)
    broken: bool = False

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """The hosts, or the shares."""
        del end, step
        self.asked.append(query)
        rows: dict[Labels, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
        if query.metric == "target_info":
            for host in range(4):
                labels = {
                    "host_id": f"id-of-host-{host}",
                    "host_name": f"host-{host}",
                    "instance": f"host-{host}:10877",
                }
                rows[labels_of(labels)] = np.array([1.0])
        elif self.broken:
            raise SourceError("the metrics are away")
        for (uuid, who), share in self.shares.items() if query.metric.startswith("gpu_service_busy") else ():
            if query.matchers[0].accepts(uuid):
                rows[labels_of({"uuid": uuid, "service_name": who})] = np.array([share])
        return Matrix.of(np.array([start]), rows)

    def metric_names(self) -> frozenset[str]:
        """Not asked for here."""
        return frozenset()


def hub_of(spans: Sequence[Span], metrics: Metrics | None = None) -> tuple[FakeHub, Traces]:
    """A hub whose World has embedder on host-0/gpu-0 … gpu-3, and train-llm on the first two."""
    traces = Traces(spans=spans)
    return FakeHub(SCENES["starving"](), traces=traces, metrics=metrics or Metrics()), traces


def ask(hub: FakeHub, path: str = f"/api/traces/{TRACE}") -> Any:  # noqa: ANN401  # JSON
    """The answer, which must be one."""
    answer = Caller(create_app(hub, version="0")).get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


MINE = ("host/7",)
STARVED = (
    told("embedder", 0.0, 0.2, 0.9, MINE),
    told("train-llm", 0.2, 0.46, 0.95),
    told("embedder", 0.46, 1.0, 0.5, MINE),
    told("train-llm", 0.46, 1.0, 0.5),
)


def test_golden_trace_with_the_lanes_of_its_gpus(golden: Golden) -> None:
    """The whole answer, to see what a change changes."""
    hub, _ = hub_of([*asked_of(host__id=HOST, process__pid=7), *STARVED])
    golden("web-trace-lanes.json", json.dumps(ask(hub), indent=1) + "\n")


def test_a_span_tells_how_long_its_gpu_was_held_and_by_whom() -> None:
    """And the others, which ran on no GPU, tell nothing."""
    hub, _ = hub_of([*asked_of(host__id=HOST, process__pid=7), *STARVED])
    body = ask(hub)

    waits = {row["span_id"]: row["gpu"] for row in body["spans"] if row["gpu"]}
    assert {int(span_id, 16): round(wait["waited_seconds"], 6) for span_id, wait in waits.items()} == {7: 0.257, 9: 0.1}
    assert all(wait["quality"] == "measured" and wait["gpus"] == ["host-0/gpu-0"] for wait in waits.values())
    assert body["gpu_wait_seconds"] == pytest.approx(0.357)
    assert body["sentence"] == "Up to 357 of 1,000 ms waited for host-0/gpu-0; 100 % of that it ran train-llm."
    assert (body["lanes_settled"], body["lanes_left_out"], body["lanes_error"]) == (True, 0, "")


def test_without_a_process_the_mean_of_the_services_gpus_is_told_as_inferred() -> None:
    """embedder is on four GPUs of the host, of which one is known to have been shared."""
    hub, _ = hub_of([*asked_of(host__id=HOST), *STARVED])
    body = ask(hub)

    row = next(row for row in body["spans"] if row["gpu"])
    assert (row["gpu"]["quality"], row["gpu"]["found_by"], len(row["gpu"]["gpus"])) == ("inferred", "service", 4)
    assert row["gpu"]["waited_seconds"] == pytest.approx(0.257 / 4)
    assert [lane["gpu"] for lane in body["lanes"]] == ["host-0/gpu-0"]


def test_where_nobody_sends_occupancy_counters_tell_the_mean_as_inferred() -> None:
    """Over a minute around the trace, on the GPUs of the span's own host."""
    metrics = Metrics({("GPU-0-0", "embedder"): 0.2, ("GPU-0-0", "train-llm"): 0.8, ("GPU-1-0", "vllm-70b"): 1.0})
    hub, _ = hub_of(asked_of(host__id=HOST, process__pid=7), metrics)
    body = ask(hub)

    (lane,) = body["lanes"]
    assert (lane["gpu"], lane["quality"]) == ("host-0/gpu-0", "inferred")
    assert {each["quality"] for each in lane["intervals"]} == {"inferred"}
    assert lane["by"]["train-llm"] == pytest.approx(0.8 * 0.63)
    assert body["sentence"] == ""


def test_a_host_that_sends_occupancy_is_not_judged_by_its_counters() -> None:
    """That it told of no sharing at the time of the trace is a statement."""
    metrics = Metrics({("GPU-0-0", "embedder"): 0.2, ("GPU-0-0", "train-llm"): 0.8})
    calm = [told("embedder", -10, -5, 0.5, MINE), told("train-llm", -10, -5, 0.5)]
    hub, _ = hub_of([*asked_of(host__id=HOST, process__pid=7), *calm], metrics)
    body = ask(hub)

    assert body["gpu_wait_seconds"] == 0.0
    shares = [query for query in metrics.asked if query.metric == "gpu_service_busy_seconds_total"]
    assert not any(query.matchers[0].accepts("GPU-0-0") for query in shares)
    assert body["sentence"] == ("It did not wait for host-0/gpu-0: no other service was seen to hold it meanwhile.")


def test_a_trace_is_told_although_its_gpus_cannot_be_read() -> None:
    """With the reason."""
    spans = asked_of(host__id=HOST, process__pid=7)
    hub, traces = hub_of([*spans, *STARVED])
    traces.broken = frozenset({STARVED[0].trace_id})
    body = ask(hub)
    assert (len(body["spans"]), body["lanes"]) == (7, [])
    assert body["lanes_error"] == "the source is away"

    body = ask(hub_of(spans, Metrics(broken=True))[0])
    assert (len(body["spans"]), body["lanes_error"]) == (7, "the metrics are away")


def test_of_a_trace_that_has_just_ended_nothing_is_claimed_that_may_still_change() -> None:
    """Its last intervals are on their way: that none was seen says nothing yet."""
    calm = [told("embedder", -10, -5, 0.5, MINE), told("train-llm", -10, -5, 0.5)]
    hub, _ = hub_of([*asked_of(host__id=HOST, process__pid=7), *calm])
    hub.time = START + 5
    body = ask(hub)
    assert (body["lanes_settled"], body["sentence"]) == (False, "")


def test_a_hub_in_the_past_waits_for_nothing_that_is_still_on_its_way() -> None:
    """The last seconds of a recording are as settled as all others: nothing more will come."""
    hub, _ = hub_of([*asked_of(host__id=HOST, process__pid=7), *STARVED])
    hub.time = START + 5
    newest = "/api/traces?limit=40&waits=true"
    assert "gpu_wait_seconds" not in next(row for row in ask(hub, newest)["traces"] if row["trace_id"] == TRACE)
    hub.snapshot = replace(hub.snapshot, bounds=(START - 900, START + 5))
    listed = next(row for row in ask(hub, newest)["traces"] if row["trace_id"] == TRACE)
    assert listed["gpu_wait_seconds"] == pytest.approx(0.357)
    assert ask(hub)["lanes_settled"]


@pytest.mark.parametrize("scene", ["empty", "error"])
def test_without_gpus_there_are_no_lanes(scene: str) -> None:
    """A hub that has not looked yet, or sees no exporter; the answer says what is missing."""
    hub = FakeHub(SCENES[scene](), traces=Traces(spans=request()), metrics=Metrics())
    body = ask(hub)
    assert (body["lanes"], body["sentence"], body["gpu_wait_seconds"]) == ([], "", None)
    why = f" ({hub.snapshot.error})" if scene == "error" else ""
    told = f"the hub has no metrics of GPUs{why}, {gpu_time.NO_OCCUPANCY}"
    assert body["lanes_note"] == told
    assert f"nothing is known of its GPUs: {told}"[:60] in trace_text(body)


@pytest.mark.parametrize("scene", ["empty", "error"])
def test_occupancy_spans_tell_the_gpus_of_a_trace_where_there_are_no_metrics_of_them(scene: str) -> None:
    """They name the GPU and its host, so nothing of the lanes is missing; each minute is searched for once."""
    traces = Traces(spans=[*asked_of(host__id=HOST, process__pid=7), *STARVED])
    hub = FakeHub(SCENES[scene](), traces=traces, metrics=Metrics())
    hub.time = NOW + 600
    body = ask(hub)
    with_metrics = ask(hub_of(traces.spans)[0])
    for name in ("lanes", "spans", "sentence", "gpu_wait_seconds"):
        assert body[name] == with_metrics[name]
    assert body["lanes"]
    assert (body["lanes_note"], body["lanes_error"], body["lanes_left_out"]) == ("", "", 0)

    times = GpuTimes(hub)
    times.of(traces.spans)
    count = len(traces.asked)
    assert times.of(traces.spans).waited == pytest.approx(0.357)
    assert len(traces.asked) == count


def unmeasured(traces: Traces, seconds: float = 600.0) -> FakeHub:
    """A hub without metrics of GPUs, so many seconds after the request."""
    hub = FakeHub(SCENES["empty"](), traces=traces, metrics=Metrics())
    hub.time = NOW + seconds
    return hub


def test_before_the_first_tick_nothing_is_said_of_metrics_but_that_they_are_not_read_yet() -> None:
    """A hub that has just started has no World, and no error either."""
    hub = unmeasured(Traces(spans=request()))
    hub.snapshot = replace(hub.snapshot, world=None)
    assert ask(hub)["lanes_note"] == f"the hub has not read its metrics yet, {gpu_time.NO_OCCUPANCY}"


def test_of_a_trace_that_is_not_settled_it_is_not_said_that_nobody_sent_its_occupancy() -> None:
    """It may still be on its way."""
    body = ask(unmeasured(Traces(spans=request()), START + 5 - NOW))
    assert (body["lanes_settled"], body["lanes_note"]) == (False, "")
    assert gpu_time.NO_OCCUPANCY not in trace_text(body)


@dataclass
class Incomplete(Traces):
    """A source that finds traces of one service at a time, as Jaeger does, or says that some are missing."""

    note: str = ""

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """Nothing, and a note, where no service is named."""
        found = super().search(query)
        if not (query.service and query.service.name == EXPORTER_NAME and query.any_namespace):
            return Partial((), "30 of 80 services were asked for; name one")
        return Partial(found, self.note)


def test_the_exporter_is_asked_for_its_occupancy_by_its_name() -> None:
    """A source elsewhere may find traces of one service at a time, and not ask all of them."""
    found = GpuTimes(unmeasured(Incomplete(spans=STARVED))).of(asked_of(host__id=HOST, process__pid=7))
    assert found.waited == pytest.approx(0.357)
    assert found.left_out == 0


@pytest.mark.parametrize("why", ["some may be missing", ""], ids=["a note", "as many as were asked for"])
def test_occupancy_of_which_some_may_be_missing_is_left_out_and_searched_again(
    monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Each minute counts once; it is not said that nobody sent any, and a list does not keep such a wait for good."""
    traces = Incomplete(spans=request(), note=why)
    if not why:
        monkeypatch.setattr(gpu_time, "MAX_READS", 2)
        traces.spans = [*request(), *(replace(told("a", 0, 1, 0.5), trace_id=f"{n:032x}") for n in (80, 81))]
    hub, wall = unmeasured(traces), [0.0]
    times = GpuTimes(hub, lambda: wall[0])
    found = times.of(request())
    assert (found.left_out, found.note, found.settled) == (2, "", True)
    first = len(traces.asked)
    rows = [row for row in traces.search(TraceQuery(0, NOW, any_namespace=True)) if row.trace_id == TRACE]
    assert WaitCache(times).of(rows, hub.time) == {}
    wall[0] += gpu_time.INCOMPLETE_CACHE_SECONDS
    traces.note, traces.spans = "", STARVED
    assert times.of(asked_of(host__id=HOST, process__pid=7)).waited == pytest.approx(0.357)
    assert len(traces.asked) > first


@pytest.mark.parametrize("error", ["", "the source is away"])
def test_that_there_is_nothing_and_that_a_search_failed_hold_for_a_while(error: str) -> None:
    """A list reads the same minutes for every trace, and again for every viewer; the trace itself is not lost."""
    spans = asked_of(host__id=HOST, process__pid=7)
    traces, wall = Traces(spans=spans, error=error), [0.0]
    hub = unmeasured(traces, 0.0)
    times = GpuTimes(hub, lambda: wall[0])
    found = times.of(spans)
    assert (found.lanes.lanes, found.error) == ((), error)
    count = len(traces.asked)
    wall[0] += gpu_time.INCOMPLETE_CACHE_SECONDS - 0.1
    assert times.of(spans) == found
    assert len(traces.asked) == count
    wall[0] += 0.1
    times.of(spans)
    assert len(traces.asked) == 2 * count


def test_a_search_from_before_a_trace_was_settled_settles_nothing() -> None:
    """What it lacks may have come since: the next search tells."""
    spans = asked_of(host__id=HOST, process__pid=7)
    traces, wall = Traces(spans=spans), [0.0]
    hub = unmeasured(traces, START + 20 - NOW)
    times = GpuTimes(hub, lambda: wall[0])
    assert not times.of(spans).settled
    traces.spans = [*spans, *STARVED]
    hub.time += 5
    found = times.of(spans)
    assert (found.settled, found.note, found.waited) == (False, "", None)
    wall[0] += gpu_time.INCOMPLETE_CACHE_SECONDS
    found = times.of(spans)
    assert found.settled
    assert found.waited == pytest.approx(0.357)


def test_one_thread_searches_a_minute_for_all_who_ask() -> None:
    """Who comes meanwhile waits for what it finds."""

    class Slow(Traces):
        def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
            time.sleep(0.005)
            return super().search(query)

    traces, spans = Slow(spans=STARVED), asked_of(host__id=HOST, process__pid=7)
    times, ready = GpuTimes(unmeasured(traces)), threading.Barrier(8)

    def read(_: int) -> float | None:
        ready.wait(30)
        return times.of(spans).waited

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(8))) == [pytest.approx(0.357)] * 8
    assert len(traces.asked) == len({query.start for query in traces.asked}) == 2


def test_the_ids_that_are_remembered_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet has hundreds of GPUs in each minute; those least lately asked for are searched again."""
    monkeypatch.setattr(gpu_time, "MAX_CACHED_IDS", 12)
    many = [replace(told("a", 0, 1, 0.5), trace_id=f"{n:032x}") for n in range(100, 108)]
    later = [
        replace(each, start_ns=each.start_ns + 240 * 10**9, end_ns=each.end_ns + 240 * 10**9) for each in request()
    ]
    traces = Traces(spans=[*many, *(replace(each, start_ns=each.start_ns + 240 * 10**9) for each in many)])
    times = GpuTimes(unmeasured(traces))
    for spans, searches in [(request(), 2), (request(), 2), (later, 4), (request(), 6)]:
        times.of(spans)
        assert len(traces.asked) == searches


@pytest.mark.parametrize("measured", [True, False], ids=["metrics", "no metrics"])
def test_reading_a_trace_takes_no_longer_than_its_caller_has(measured: bool) -> None:
    """What there was no time for is left out; a minute that was searched is read before the next."""
    spans = asked_of(host__id=HOST, process__pid=7)
    hub, traces = hub_of([*spans, *STARVED])
    if not measured:
        hub = unmeasured(traces)

    def wall() -> float:  # each question takes a second
        return float(len(traces.read) + len(traces.asked))

    for patience in (0.5, 1.5, 2.5):
        begun = wall()
        assert GpuTimes(hub, wall).of_trace(TRACE, patience).left_out > 0
        assert wall() - begun <= patience + 1  # one was in flight


def test_lists_hand_down_the_time_that_they_have() -> None:
    """So the last trace that is looked at takes no longer than is left; what was cut short is no wait, and is told."""
    _, hub = many(3)
    given: list[float] = []

    class Hurried(GpuTimes):
        def of_trace(self, trace_id: str, patience: float = gpu_time.TIMEOUT_SECONDS) -> GpuTime:
            given.append(patience)
            return GpuTime(left_out=1 if trace_id else 0)

    times, query = Hurried(hub), TraceQuery(NOW - 1e5, NOW)
    ticks = iter(range(1000))
    found = by_wait(hub.traces, times, query, WaitFilter(None, True), lambda: float(next(ticks)))
    assert (given, found["candidates"]["bound_reached"]) == ([7.0, 6.0, 5.0], True)
    given.clear()
    exemplars(hub.traces, times, query, service("train-llm"), lambda: float(next(ticks)))
    assert given == [3.0, 2.0, 1.0]
    given.clear()
    halves = iter(range(1000))
    rows = hub.traces.search(query)
    assert WaitCache(times, lambda: next(halves) / 2).of(rows, NOW + 600) == {}
    assert given == [1.0, 0.5, 0.0]


def test_occupancy_itself_has_no_lanes() -> None:
    """It is looked at as any trace."""
    hub, _ = hub_of(STARVED)
    body = ask(hub, f"/api/traces/{STARVED[0].trace_id}")
    assert body["lanes"] == []
    assert {row["name"] for row in body["spans"]} == {"gpu.occupancy"}


def test_a_minute_that_is_over_is_read_once_and_a_new_one_again_after_seconds() -> None:
    """Of each GPU on which a service of the trace is."""
    spans = asked_of(host__id=HOST, process__pid=7)
    hub, traces = hub_of([*spans, *STARVED])
    wall = [0.0]
    times = GpuTimes(hub, lambda: wall[0])
    first = times.of(spans)
    count = len(traces.read)
    times.of(spans)
    assert len(traces.read) == count
    wall[0] += gpu_time.CACHE_SECONDS
    times.of(spans)
    assert len(traces.read) == 2 * count

    hub.time = NOW + 600
    for _ in range(3):
        wall[0] += 100.0
        assert times.of(spans) == first
    assert len(traces.read) == 3 * count


def test_an_example_of_a_pair_tells_how_long_it_had_work_on_the_gpu_that_it_waited_for() -> None:
    """That may be longer than its caller waited; only of traces that ran on a GPU that others used as well."""
    hub, traces = hub_of([*asked_of(host__id=HOST, process__pid=7), *STARVED])
    query = TraceQuery(NOW - 600, NOW)
    for aggressor, seconds in (("train-llm", 0.357), ("batch-eval", 0.0)):
        (row,) = exemplars(traces, GpuTimes(hub), query, service(aggressor))["traces"]
        assert row["for_aggressor_seconds"] == pytest.approx(seconds)
        assert row["gpu_wait_seconds"] == pytest.approx(0.357)
        assert row["gpu_seconds"] == pytest.approx(0.63)


def test_more_gpu_minutes_than_the_bound_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPUs of the trace's services come first, the last minutes before others."""
    monkeypatch.setattr(gpu_time, "MAX_READS", 6)
    long = [replace(each, start_ns=each.start_ns - 120 * 10**9) for each in asked_of(host__id=HOST, process__pid=7)]
    hub, traces = hub_of([*long, *STARVED])
    found = GpuTimes(hub).of(long)
    assert len(traces.read) == 6
    assert found.left_out > 0
    assert found.lanes.longest is not None


def test_gpu_minutes_that_take_too_long_to_read_are_left_out_and_counted() -> None:
    """The trace is told with those that were read in time."""
    spans = asked_of(host__id=HOST, process__pid=7)
    hub, traces = hub_of([*spans, *STARVED])
    ticks = iter(range(1000))
    found = GpuTimes(hub, lambda: float(next(ticks))).of(spans)
    assert 0 < len(traces.read) <= gpu_time.TIMEOUT_SECONDS
    assert found.left_out > 0
    assert found.waited == pytest.approx(0.357)


def many(count: int) -> tuple[list[Span], FakeHub]:
    """As many traces of the starved request; the i-th waits less than the one before."""
    spans = []
    for i in range(count):
        made = asked_of(host__id=HOST, process__pid=7)
        end = made[3].start_ns + 10**6 * (400 - i)
        spans += [
            replace(each, trace_id=f"{i + 1:032x}", end_ns=min(each.end_ns, end)) for each in made if each is made[3]
        ]
    hub, traces = hub_of([*spans, *STARVED])
    traces.count = count
    return spans, hub


def test_a_list_by_wait_has_the_longest_first_and_tells_how_many_were_looked_at() -> None:
    """And each row its wait."""
    _, hub = many(5)
    body = ask(hub, "/api/traces?order=gpu_wait&limit=3&min_gpu_wait=1ms")

    rows = body["traces"]
    assert [int(row["trace_id"], 16) for row in rows] == [1, 2, 3]
    waits = [row["gpu_wait_seconds"] for row in rows]
    assert waits == sorted(waits, reverse=True)
    assert body["candidates"] == {"looked_at": 5, "bound": MAX_CANDIDATES, "bound_reached": False}
    assert body["query"]["order"] == "gpu_wait"
    assert body["query"]["min_gpu_wait"] == 0.001
    assert hub.traces.asked[-1].order == "slowest"


def test_a_list_by_wait_leaves_out_traces_that_waited_less_or_ran_on_no_gpu() -> None:
    """In the order that was asked for otherwise."""
    _, hub = many(3)
    hub.traces.count = 6  # the last three have no spans
    assert len(ask(hub, "/api/traces?order=gpu_wait")["traces"]) == 3
    assert ask(hub, "/api/traces?min_gpu_wait=10s")["traces"] == []
    newest = ask(hub, "/api/traces?min_gpu_wait=1ms")["traces"]
    assert [row["start"] for row in newest] == sorted((r["start"] for r in newest), reverse=True)


def test_a_list_by_wait_says_when_there_were_more_candidates_or_too_little_time() -> None:
    """Then some that waited longer may be missing."""
    _, hub = many(5)
    hub.traces.count = MAX_CANDIDATES + 20
    query = TraceQuery(NOW - 1e5, NOW, limit=10)
    found = by_wait(hub.traces, GpuTimes(hub), query, WaitFilter(None, True))
    assert (found["candidates"]["looked_at"], found["candidates"]["bound_reached"]) == (MAX_CANDIDATES, True)

    hub.traces.count = 5
    ticks = iter(range(0, 1000, 3))
    hurried = by_wait(hub.traces, GpuTimes(hub), query, WaitFilter(None, True), lambda: float(next(ticks)))
    assert (hurried["candidates"]["looked_at"], hurried["candidates"]["bound_reached"]) == (2, True)


@pytest.mark.parametrize(
    ("path", "words"), [("min_gpu_wait=long", "min_gpu_wait='long': is not a duration"), ("order=wait", "nor gpu_wait")]
)
def test_a_wait_that_is_none_is_refused(path: str, words: str) -> None:
    """400, with its name."""
    answer = Caller(create_app(hub_of([])[0], version="0")).get(f"/api/traces?{path}")
    assert (answer.status_code, words in answer.json()["error"]) == (400, True)


def test_the_answer_is_described_for_machines() -> None:
    """Every field of a trace and of a span's GPU."""
    hub, _ = hub_of([*asked_of(host__id=HOST, process__pid=7), *STARVED])
    document = ask(hub, "/api/openapi.json")
    known = answer_schema(document, "/api/traces/{trace_id}")
    body = ask(hub)
    assert {name for name in body if "lanes" in name or name in ("sentence", "gpu_wait_seconds")} <= known.keys()
    gpu = next(row["gpu"] for row in body["spans"] if row["gpu"])
    span = properties(document, known["spans"]["items"])
    assert gpu.keys() == properties(document, span["gpu"]).keys()


def test_summaries_of_the_fake_are_those_of_the_protocol() -> None:
    """A guard of this file: rows and spans name the same traces."""
    _, hub = many(2)
    rows: tuple[TraceSummary, ...] = hub.traces.search(TraceQuery(0, NOW))
    assert all(hub.traces.get(row.trace_id) for row in rows)
    assert {row.service for row in rows} == {service("gateway")}


def test_a_list_tells_how_long_each_waited_where_that_is_asked_for() -> None:
    """What is settled is read once; without the question nothing is read."""
    hub, traces = hub_of([*asked_of(host__id=HOST, process__pid=7), *STARVED])
    rows = ask(hub, "/api/traces?limit=3")["traces"]
    assert (traces.read, "gpu_wait_seconds" in rows[0]) == ([], False)
    app = Caller(create_app(hub, version="0"))
    for _ in range(2):
        rows = app.get("/api/traces?limit=40&waits=true").json()["traces"]
        assert [row["gpu_wait_seconds"] for row in rows if row["trace_id"] == TRACE] == [pytest.approx(0.357)]
    assert traces.read.count(TRACE) == 1


def test_the_critical_path_of_a_trace_adds_up_to_its_duration() -> None:
    """By service, and on the spans; what nothing explains is a gap."""
    body = ask(hub_of(request())[0])
    assert sum(body["critical_seconds"].values()) == pytest.approx(body["duration_seconds"])
    assert next(iter(body["critical_seconds"])) == "embedder"
    on = {row["name"]: row["critical"] for row in body["spans"]}
    assert on["search"] == [[pytest.approx(0.71), pytest.approx(0.06)]]
    assert sum(length for row in body["spans"] for _, length in row["critical"]) == pytest.approx(1.0)
