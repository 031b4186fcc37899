"""Lists of traces by their GPU wait, and exemplars of a pair."""

from __future__ import annotations

import pytest
from tests.web.caller import Caller
from tests.web.occupancy import CONTENDED, HOST, TRACE, ask, contended_traces, hub_of, request_spans
from tests.web.worlds import NOW, SCENES, service

from foreshock_dashboard.model.span import (
    TraceQuery,
)
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.traces import gpu_time
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTime, GpuTimes
from foreshock_dashboard.web.pages.traces.lists import MAX_CANDIDATES, WaitCache, by_wait, exemplars
from foreshock_dashboard.web.pages.traces.parameters import WaitFilter

pytestmark = pytest.mark.slow


def test_lists_hand_down_the_time_that_they_have() -> None:
    """So the last trace that is looked at takes no longer than is left; what was cut short is no wait, and is noted."""
    _, hub = contended_traces(3)
    given: list[float] = []

    class Hurried(GpuTimes):
        def of_trace(self, trace_id: str, patience: float = gpu_time.TIMEOUT_SECONDS) -> GpuTime:
            given.append(patience)
            return GpuTime(left_out=1 if trace_id else 0)

    times, query = Hurried(hub), TraceQuery(NOW - 1e5, NOW)
    ticks = iter(range(1000))
    found = by_wait(hub.traces, WaitCache(times, lambda: float(next(ticks))), query, WaitFilter(None, True))
    assert (given, found["candidates"]["limit_reached"]) == ([7.0, 6.0, 5.0], True)
    given.clear()
    exemplars(hub.traces, times, query, service("train-llm"), lambda: float(next(ticks)))
    assert given == [3.0, 2.0, 1.0]
    given.clear()
    halves = iter(range(1000))
    rows = hub.traces.search(query)
    assert WaitCache(times, lambda: next(halves) / 2).of(rows, NOW + 600) == {}
    assert given == [1.0, 0.5, 0.0]


def test_an_example_of_a_pair_shows_how_long_it_had_work_on_the_gpu_that_it_waited_for() -> None:
    """That may be longer than its caller waited; only of traces that ran on a GPU that others used as well."""
    hub, traces = hub_of([*request_spans(host__id=HOST, process__pid=7), *CONTENDED])
    query = TraceQuery(NOW - 600, NOW)
    for aggressor, seconds in (("train-llm", 0.357), ("batch-eval", 0.0)):
        (row,) = exemplars(traces, GpuTimes(hub), query, service(aggressor))["traces"]
        assert row["aggressor_wait_seconds"] == pytest.approx(seconds)
        assert row["gpu_wait_seconds"] == pytest.approx(0.357)
        assert row["gpu_seconds"] == pytest.approx(0.63)


def test_a_list_by_wait_has_the_longest_first_and_has_the_number_examined() -> None:
    """And each row its wait."""
    _, hub = contended_traces(5)
    body = ask(hub, "/api/traces?order=gpu_wait&limit=3&min_gpu_wait=1ms")

    rows = body["traces"]
    assert [int(row["trace_id"], 16) for row in rows] == [1, 2, 3]
    waits = [row["gpu_wait_seconds"] for row in rows]
    assert waits == sorted(waits, reverse=True)
    assert body["candidates"] == {"examined": 5, "limit": MAX_CANDIDATES, "limit_reached": False}
    assert body["query"]["order"] == "gpu_wait"
    assert body["query"]["min_gpu_wait"] == 0.001
    assert hub.traces.asked[-1].order == "slowest"


def test_a_list_by_wait_leaves_out_traces_that_waited_less_or_ran_on_no_gpu() -> None:
    """In the requested order otherwise."""
    _, hub = contended_traces(3)
    hub.traces.count = 6  # the last three have no spans
    assert len(ask(hub, "/api/traces?order=gpu_wait")["traces"]) == 3
    assert ask(hub, "/api/traces?min_gpu_wait=10s")["traces"] == []
    newest = ask(hub, "/api/traces?min_gpu_wait=1ms")["traces"]
    assert [row["start"] for row in newest] == sorted((r["start"] for r in newest), reverse=True)


def test_a_list_by_wait_says_when_there_were_more_candidates_or_too_little_time() -> None:
    """Then some that waited longer may be missing."""
    _, hub = contended_traces(5)
    hub.traces.count = MAX_CANDIDATES + 20
    query = TraceQuery(NOW - 1e5, NOW, limit=10)
    found = by_wait(hub.traces, WaitCache(GpuTimes(hub)), query, WaitFilter(None, True))
    assert (found["candidates"]["examined"], found["candidates"]["limit_reached"]) == (MAX_CANDIDATES, True)

    hub.traces.count = 5
    ticks = iter(range(0, 1000, 3))
    hurried = by_wait(hub.traces, WaitCache(GpuTimes(hub), lambda: float(next(ticks))), query, WaitFilter(None, True))
    assert (hurried["candidates"]["examined"], hurried["candidates"]["limit_reached"]) == (2, True)


@pytest.mark.parametrize(
    ("path", "words"),
    [("min_gpu_wait=long", "min_gpu_wait='long': is not a valid duration"), ("order=wait", "or gpu_wait")],
)
def test_a_wait_that_is_none_is_refused(path: str, words: str) -> None:
    """400, with its name."""
    answer = Caller(create_app(hub_of([])[0], version="0")).get(f"/api/traces?{path}")
    assert (answer.status_code, words in answer.json()["error"]) == (400, True)


def test_a_list_shows_how_long_each_waited_where_that_is_requested() -> None:
    """What is settled is read once for all lists; without the question nothing is read."""
    hub, traces = hub_of([*request_spans(host__id=HOST, process__pid=7), *CONTENDED])
    rows = ask(hub, "/api/traces?limit=3")["traces"]
    assert (traces.read, "gpu_wait_seconds" in rows[0]) == ([], False)
    app = Caller(create_app(hub, version="0"))
    for query in ("limit=40&waits=true", "limit=40&waits=true", "limit=40&order=gpu_wait", "min_gpu_wait=1ms"):
        rows = app.get(f"/api/traces?{query}").json()["traces"]
        assert [row["gpu_wait_seconds"] for row in rows if row["trace_id"] == TRACE] == [pytest.approx(0.357)]
    assert traces.read.count(TRACE) == 1


def test_a_wait_that_could_not_be_known_yet_is_read_again() -> None:
    """Before the first evaluation the GPUs are unknown, and spans may arrive late: neither is a trace without wait."""
    spans = (*request_spans(host__id=HOST, process__pid=7), *CONTENDED)
    for scene, before in (("empty", spans[: -len(CONTENDED)]), ("contended", ())):
        hub, traces = hub_of(before)
        complete, hub.snapshot = hub.snapshot, SCENES[scene]()
        cache, summaries = WaitCache(GpuTimes(hub)), traces.search(TraceQuery(NOW - 1e5, NOW, limit=1))
        assert cache.of(summaries, NOW + 600) == {TRACE: None}
        hub.snapshot, traces.spans = complete, spans
        assert cache.of(summaries, NOW + 600) == {TRACE: pytest.approx(0.357)}
