"""GPU time of traces is read in bounded time, and cached no longer than it may change."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from tests.web.occupancy import (
    CONTENDED,
    HOST,
    START,
    TRACE,
    Traces,
    hub_of,
    hub_without_metrics,
    occupancy_span,
    request_spans,
)
from tests.web.worlds import NOW, request

from foreshock_dashboard.model.query import Partial
from foreshock_dashboard.model.span import (
    EXPORTER_NAME,
    TraceQuery,
    TraceSummary,
)
from foreshock_dashboard.web.pages.traces import gpu_time
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTimes
from foreshock_dashboard.web.pages.traces.lists import WaitCache


@dataclass
class Incomplete(Traces):
    """A source that finds traces of one service at a time, as Jaeger does, or says that some are missing."""

    note: str = ""

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """Nothing, and a note, where no service is named."""
        found = super().search(query)
        if not (query.service and query.service.name == EXPORTER_NAME and query.any_namespace):
            return Partial((), "30 of 80 services were queried; name one")
        return Partial(found, self.note)


def test_the_occupancy_is_queried_by_the_exporters_name() -> None:
    """A source elsewhere may find traces of one service at a time, and not ask all of them."""
    found = GpuTimes(hub_without_metrics(Incomplete(spans=CONTENDED))).of(request_spans(host__id=HOST, process__pid=7))
    assert found.waited == pytest.approx(0.357)
    assert found.left_out == 0


@pytest.mark.parametrize("why", ["some may be missing", ""], ids=["a note", "as many as requested"])
def test_occupancy_of_which_some_may_be_missing_is_left_out_and_searched_again(why: str) -> None:
    """Each minute counts once; the note claims no absence, and a list does not keep such a wait for good."""
    traces = Incomplete(spans=request(), note=why)
    if not why:
        traces.spans = [*request(), *(replace(occupancy_span("a", 0, 1, 0.5), trace_id=f"{n:032x}") for n in (80, 81))]
    hub, wall = hub_without_metrics(traces), [0.0]
    times = GpuTimes(hub, lambda: wall[0], max_reads=512 if why else 2)
    found = times.of(request())
    assert (found.left_out, found.note, found.settled) == (2, "", True)
    first = len(traces.asked)
    rows = [row for row in traces.search(TraceQuery(0, NOW, any_namespace=True)) if row.trace_id == TRACE]
    assert WaitCache(times).of(rows, hub.time) == {}
    wall[0] += gpu_time.INCOMPLETE_CACHE_SECONDS
    traces.note, traces.spans = "", CONTENDED
    assert times.of(request_spans(host__id=HOST, process__pid=7)).waited == pytest.approx(0.357)
    assert len(traces.asked) > first


@pytest.mark.parametrize("error", ["", "the source is away"])
def test_that_there_is_nothing_and_that_a_search_failed_hold_for_a_while(error: str) -> None:
    """A list reads the same minutes for every trace, and again for every viewer; the trace itself is not lost."""
    spans = request_spans(host__id=HOST, process__pid=7)
    traces, wall = Traces(spans=spans, error=error), [0.0]
    hub = hub_without_metrics(traces, 0.0)
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
    """What it lacks may have come since: the next search decides."""
    spans = request_spans(host__id=HOST, process__pid=7)
    traces, wall = Traces(spans=spans), [0.0]
    hub = hub_without_metrics(traces, START + 20 - NOW)
    times = GpuTimes(hub, lambda: wall[0])
    assert not times.of(spans).settled
    traces.spans = [*spans, *CONTENDED]
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

    traces, spans = Slow(spans=CONTENDED), request_spans(host__id=HOST, process__pid=7)
    times, ready = GpuTimes(hub_without_metrics(traces)), threading.Barrier(8)

    def read(_: int) -> float | None:
        ready.wait(30)
        return times.of(spans).waited

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(8))) == [pytest.approx(0.357)] * 8
    assert len(traces.asked) == len({query.start for query in traces.asked}) == 2


def test_the_ids_that_are_remembered_are_bounded_together() -> None:
    """A fleet has hundreds of GPUs in each minute; those least recently queried are searched again."""
    many = [replace(occupancy_span("a", 0, 1, 0.5), trace_id=f"{n:032x}") for n in range(100, 108)]
    later = [
        replace(each, start_ns=each.start_ns + 240 * 10**9, end_ns=each.end_ns + 240 * 10**9) for each in request()
    ]
    traces = Traces(spans=[*many, *(replace(each, start_ns=each.start_ns + 240 * 10**9) for each in many)])
    times = GpuTimes(hub_without_metrics(traces), max_cached_ids=12)
    for spans, searches in [(request(), 2), (request(), 2), (later, 4), (request(), 6)]:
        times.of(spans)
        assert len(traces.asked) == searches


@pytest.mark.parametrize("measured", [True, False], ids=["metrics", "no metrics"])
def test_reading_a_trace_takes_no_longer_than_its_caller_has(measured: bool) -> None:
    """What there was no time for is left out; a minute that was searched is read before the next."""
    spans = request_spans(host__id=HOST, process__pid=7)
    hub, traces = hub_of([*spans, *CONTENDED])
    if not measured:
        hub = hub_without_metrics(traces)

    def wall() -> float:  # each question takes a second
        return float(len(traces.read) + len(traces.asked))

    for patience in (0.5, 1.5, 2.5):
        begun = wall()
        assert GpuTimes(hub, wall).of_trace(TRACE, patience).left_out > 0
        assert wall() - begun <= patience + 1  # one was in flight


def test_a_minute_that_is_over_is_read_once_and_a_new_one_again_after_seconds() -> None:
    """Of each GPU on which a service of the trace is."""
    spans = request_spans(host__id=HOST, process__pid=7)
    hub, traces = hub_of([*spans, *CONTENDED])
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


def test_more_gpu_minutes_than_the_bound_are_left_out_and_counted() -> None:
    """The GPUs of the trace's services come first, the last minutes before others."""
    long = [
        replace(each, start_ns=each.start_ns - 120 * 10**9) for each in request_spans(host__id=HOST, process__pid=7)
    ]
    hub, traces = hub_of([*long, *CONTENDED])
    found = GpuTimes(hub, max_reads=6).of(long)
    assert len(traces.read) == 6
    assert found.left_out > 0
    assert found.lanes.longest is not None


def test_gpu_minutes_that_take_too_long_to_read_are_left_out_and_counted() -> None:
    """The trace is shown with those that were read in time."""
    spans = request_spans(host__id=HOST, process__pid=7)
    hub, traces = hub_of([*spans, *CONTENDED])
    ticks = iter(range(1000))
    found = GpuTimes(hub, lambda: float(next(ticks))).of(spans)
    assert 0 < len(traces.read) <= gpu_time.TIMEOUT_SECONDS
    assert found.left_out > 0
    assert found.waited == pytest.approx(0.357)
