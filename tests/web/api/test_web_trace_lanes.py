"""The GPUs of a trace on the API: joined, inferred, and honest where something cannot be read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.web.caller import answer_schema, properties
from tests.web.worlds import NOW, SCENES, FakeHub, request

from foreshock_dashboard.render.trace_text import trace_text
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTimes

if TYPE_CHECKING:
    from tests.conftest import Golden

from tests.web.occupancy import (
    CONTENDED,
    HOST,
    PROCESS,
    START,
    TRACE,
    Metrics,
    Traces,
    ask,
    hub_of,
    hub_without_metrics,
    occupancy_span,
    request_spans,
)

pytestmark = pytest.mark.slow

MOSTLY_OWN_WORK = "Mostly self time in embedder: 630 ms of 1.00 s (63%)."


def test_golden_trace_with_the_lanes_of_its_gpus(golden: Golden) -> None:
    """The whole answer, to see what a change changes."""
    hub, _ = hub_of([*request_spans(host__id=HOST, process__pid=7), *CONTENDED])
    golden("web-trace-lanes.json", json.dumps(ask(hub), indent=1) + "\n")


def test_a_span_shows_how_long_its_gpu_was_held_and_by_whom() -> None:
    """And the others, which ran on no GPU, show nothing."""
    hub, _ = hub_of([*request_spans(host__id=HOST, process__pid=7), *CONTENDED])
    body = ask(hub)

    waits = {row["span_id"]: row["gpu"] for row in body["spans"] if row["gpu"]}
    assert {int(span_id, 16): round(wait["waited_seconds"], 6) for span_id, wait in waits.items()} == {7: 0.257, 9: 0.1}
    assert all(wait["quality"] == "measured" and wait["gpus"] == ["host-0/gpu-0"] for wait in waits.values())
    assert body["gpu_wait_seconds"] == pytest.approx(0.357)
    assert body["sentence"] == (
        f"{MOSTLY_OWN_WORK} GPU wait up to 357 ms of 1.00 s (36%) on host-0/gpu-0 while train-llm was running."
    )
    assert (body["lanes_settled"], body["lanes_left_out"], body["lanes_error"]) == (True, 0, "")


def test_without_a_process_the_mean_of_the_services_gpus_is_shown_as_inferred() -> None:
    """embedder is on four GPUs of the host, of which one is known to have been shared."""
    hub, _ = hub_of([*request_spans(host__id=HOST), *CONTENDED])
    body = ask(hub)

    row = next(row for row in body["spans"] if row["gpu"])
    assert (row["gpu"]["quality"], row["gpu"]["matched_by"], len(row["gpu"]["gpus"])) == ("inferred", "service", 4)
    assert row["gpu"]["waited_seconds"] == pytest.approx(0.257 / 4)
    assert [lane["gpu"] for lane in body["lanes"]] == ["host-0/gpu-0"]


def test_without_occupancy_counters_give_the_mean_as_inferred() -> None:
    """Over a minute around the trace, on the GPUs of the span's own host."""
    metrics = Metrics({("GPU-0-0", "embedder"): 0.2, ("GPU-0-0", "train-llm"): 0.8, ("GPU-1-0", "vllm-70b"): 1.0})
    hub, _ = hub_of(request_spans(host__id=HOST, process__pid=7), metrics)
    body = ask(hub)

    (lane,) = body["lanes"]
    assert (lane["gpu"], lane["quality"]) == ("host-0/gpu-0", "inferred")
    assert {each["quality"] for each in lane["intervals"]} == {"inferred"}
    assert lane["by"]["train-llm"] == pytest.approx(0.8 * 0.63)
    assert body["sentence"] == f"{MOSTLY_OWN_WORK} GPU wait unknown: GPU samples are 60.0 s apart."


def test_a_host_that_sends_occupancy_is_not_judged_by_its_counters() -> None:
    """That it reported no sharing at the time of the trace is a statement."""
    metrics = Metrics({("GPU-0-0", "embedder"): 0.2, ("GPU-0-0", "train-llm"): 0.8})
    healthy = [occupancy_span("embedder", -10, -5, 0.5, PROCESS), occupancy_span("train-llm", -10, -5, 0.5)]
    hub, _ = hub_of([*request_spans(host__id=HOST, process__pid=7), *healthy], metrics)
    body = ask(hub)

    assert body["gpu_wait_seconds"] == 0.0
    shares = [query for query in metrics.asked if query.metric == "gpu_service_busy_seconds_total"]
    assert not any(query.matchers[0].accepts("GPU-0-0") for query in shares)
    assert body["sentence"] == f"{MOSTLY_OWN_WORK} No GPU wait: no other service ran on host-0/gpu-0."


def test_a_trace_is_shown_although_its_gpus_cannot_be_read() -> None:
    """With the reason."""
    spans = request_spans(host__id=HOST, process__pid=7)
    hub, traces = hub_of([*spans, *CONTENDED])
    traces.broken = frozenset({CONTENDED[0].trace_id})
    body = ask(hub)
    assert (len(body["spans"]), body["lanes"]) == (7, [])
    assert body["lanes_error"] == "the source is away"

    body = ask(hub_of(spans, Metrics(broken=True))[0])
    assert (len(body["spans"]), body["lanes_error"]) == (7, "the metrics are away")


def test_of_a_trace_that_has_just_ended_nothing_is_claimed_that_may_still_change() -> None:
    """Its last intervals are on their way: that none was seen says nothing yet."""
    healthy = [occupancy_span("embedder", -10, -5, 0.5, PROCESS), occupancy_span("train-llm", -10, -5, 0.5)]
    hub, _ = hub_of([*request_spans(host__id=HOST, process__pid=7), *healthy])
    hub.time = START + 5
    body = ask(hub)
    assert (body["lanes_settled"], body["sentence"]) == (False, MOSTLY_OWN_WORK)


def test_a_hub_in_the_past_waits_for_nothing_that_is_still_on_its_way() -> None:
    """The last seconds of a recording are as settled as all others: nothing more will come."""
    hub, _ = hub_of([*request_spans(host__id=HOST, process__pid=7), *CONTENDED])
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
    assert (body["lanes"], body["sentence"], body["gpu_wait_seconds"]) == (
        [],
        MOSTLY_OWN_WORK,
        None,
    )
    why = f" ({hub.snapshot.error})" if scene == "error" else ""
    result = f"no GPU metrics{why}, no GPU occupancy spans"
    assert body["lanes_note"] == result
    assert f"GPU wait unknown: {result}"[:60] in trace_text(body)


@pytest.mark.parametrize("scene", ["empty", "error"])
def test_occupancy_spans_name_the_gpus_of_a_trace_where_there_are_no_metrics_of_them(scene: str) -> None:
    """They name the GPU and its host, so nothing of the lanes is missing; each minute is searched for once."""
    traces = Traces(spans=[*request_spans(host__id=HOST, process__pid=7), *CONTENDED])
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


def test_before_the_first_evaluation_metrics_are_not_read_yet() -> None:
    """A hub that has just started has no World, and no error either."""
    hub = hub_without_metrics(Traces(spans=request()))
    hub.snapshot = replace(hub.snapshot, world=None)
    assert ask(hub)["lanes_note"] == "no evaluation yet, no GPU occupancy spans"


def test_a_trace_that_is_not_settled_is_not_said_to_lack_occupancy() -> None:
    """It may still be on its way."""
    body = ask(hub_without_metrics(Traces(spans=request()), START + 5 - NOW))
    assert (body["lanes_settled"], body["lanes_note"]) == (False, "")
    assert "no GPU occupancy spans" not in trace_text(body)


def test_occupancy_itself_has_no_lanes() -> None:
    """It is looked at as any trace."""
    hub, _ = hub_of(CONTENDED)
    body = ask(hub, f"/api/traces/{CONTENDED[0].trace_id}")
    assert body["lanes"] == []
    assert {row["name"] for row in body["spans"]} == {"gpu.occupancy"}


def test_the_answer_is_described_for_machines() -> None:
    """Every field of a trace and of a span's GPU."""
    hub, _ = hub_of([*request_spans(host__id=HOST, process__pid=7), *CONTENDED])
    document = ask(hub, "/api/openapi.json")
    known = answer_schema(document, "/api/traces/{trace_id}")
    body = ask(hub)
    assert {name for name in body if "lanes" in name or name in ("sentence", "gpu_wait_seconds")} <= known.keys()
    gpu = next(row["gpu"] for row in body["spans"] if row["gpu"])
    span = properties(document, known["spans"]["items"])
    assert gpu.keys() == properties(document, span["gpu"]).keys()


def test_the_critical_path_of_a_trace_adds_up_to_its_duration() -> None:
    """By service, and on the spans; what nothing explains is a gap."""
    body = ask(hub_of(request())[0])
    assert sum(body["critical_seconds"].values()) == pytest.approx(body["duration_seconds"])
    assert next(iter(body["critical_seconds"])) == "embedder"
    on = {row["name"]: row["critical"] for row in body["spans"]}
    assert on["search"] == [[pytest.approx(0.71), pytest.approx(0.06)]]
    assert sum(length for row in body["spans"] for _, length in row["critical"]) == pytest.approx(1.0)
