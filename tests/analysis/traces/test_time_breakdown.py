"""What took the time of a trace, as parts and as a sentence."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import foreshock_dashboard.analysis.traces.time_breakdown as time_breakdown_module
from foreshock_dashboard.analysis.traces.critical_path import critical_path
from foreshock_dashboard.analysis.traces.gpu_lanes import TraceLanes
from foreshock_dashboard.analysis.traces.time_breakdown import QUEUE_ATTRIBUTE, TimePart, time_breakdown
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import AttributeValue, Kind, Span, main_span
from foreshock_dashboard.render.verdict.trace_sentence import trace_sentence

MS = 1_000_000


class Row(NamedTuple):
    """A span; times in milliseconds. error: its error.type; "" for a success."""

    number: int
    parent: int
    kind: Kind
    service: str
    start: int
    end: int
    error: str = ""
    queued: AttributeValue = None


def parts(*rows: Row) -> tuple[TimePart, ...]:
    spans = [
        Span(
            trace_id=f"{1:032x}", span_id=f"{row.number:016x}", parent_id=f"{row.parent:016x}" if row.parent else "",
            name="call", kind=row.kind, start_ns=row.start * MS, end_ns=row.end * MS,
            status="error" if row.error else "unset", status_message="", resource={"service.name": row.service},
            attributes={
                **({"error.type": row.error} if row.error else {}),
                **({QUEUE_ATTRIBUTE: row.queued} if row.queued is not None else {}),
            },
        )
        for row in rows
    ]  # fmt: skip
    return time_breakdown(spans, critical_path(spans))


def sentence(*rows: Row) -> str:
    return trace_sentence(parts(*rows), TraceLanes())


def part(activity: str, service: str, milliseconds: float) -> tuple[str, Service, float]:
    return activity, Service("", service), milliseconds / 1000


def seconds(*rows: Row) -> list[tuple[str, Service, float]]:
    return [(item.activity, item.service, round(item.seconds, 9)) for item in parts(*rows)]


ROOT = Row(1, 0, "server", "gateway", 0, 10_000)


def test_a_call_that_timed_out_and_the_pause_before_the_next_attempt_are_lost_time() -> None:
    """The work below the first attempt counts as lost too, even where it went on after the caller's timeout."""
    rows = (
        ROOT,
        Row(2, 1, "client", "gateway", 0, 4_000, "timeout"),
        Row(3, 2, "server", "model", 100, 6_000),
        Row(4, 1, "client", "gateway", 5_000, 9_000),
        Row(5, 4, "server", "model", 5_000, 9_000),
    )
    assert seconds(*rows) == [
        part("failed_calls", "gateway", 5_000),
        part("work", "model", 4_000),
        part("work", "gateway", 1_000),
    ]
    (lost, *_) = parts(*rows)
    assert (lost.calls, lost.timed_out, lost.retried) == (1, True, True)


def test_the_innermost_failed_call_names_the_service() -> None:
    """A caller times out because the one below it does."""
    rows = (
        Row(1, 0, "server", "feature", 0, 10_000, "504"),
        Row(2, 1, "client", "feature", 0, 10_000, "504"),
        Row(3, 2, "server", "gateway", 0, 10_000, "504"),
        Row(4, 3, "client", "gateway", 0, 5_000, "timeout"),
        Row(5, 3, "client", "gateway", 5_000, 10_000, "timeout"),
    )
    assert seconds(*rows) == [part("failed_calls", "gateway", 10_000)]
    assert sentence(*rows) == "Mostly timeouts and retries in gateway: 10.0 s of 10.0 s (100%)."


def test_each_span_of_a_deep_trace_is_read_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 spans, each below the one before, would otherwise occupy the hub for a minute."""
    read: list[Span] = []
    is_failed = time_breakdown_module._is_failed_call

    def counted(span: Span) -> bool:
        read.append(span)
        return is_failed(span)

    monkeypatch.setattr(time_breakdown_module, "_is_failed_call", counted)
    depth = 500
    rows = [Row(number, number - 1, "client", f"service-{number % 3}", number, 2 * depth) for number in range(1, depth)]
    failed = Row(depth, depth - 1, "client", "caller", depth, 2 * depth, error="timeout")
    longest, *_ = parts(*rows, failed, Row(depth + 1, depth, "server", "callee", depth + 1, 2 * depth))
    assert (longest.activity, longest.service, longest.calls) == ("failed_calls", Service("", "caller"), 1)
    assert len(read) < 10 * depth


@pytest.mark.parametrize("queued", [7.0, 7, "7", True, float("nan"), -1.0])
def test_the_queue_of_a_model_server_is_read_from_its_span(queued: AttributeValue) -> None:
    """Anything but a number of seconds is no queue time."""
    rows = (ROOT, Row(2, 1, "server", "model", 0, 9_000, queued=queued))
    known = queued == 7
    assert (part("queue", "model", 7_000) in seconds(*rows)) is known
    assert sentence(*rows) == (
        "Mostly queue time in model: 7.00 s of 10.0 s (70%)."
        if known
        else "Mostly self time in model: 9.00 s of 10.0 s (90%)."
    )


def test_the_sentence_says_where_nothing_took_most_of_the_time() -> None:
    """It names the longest part."""
    rows = (
        ROOT,
        Row(2, 1, "server", "a", 0, 4_000),
        Row(3, 1, "server", "b", 4_000, 7_000),
        Row(4, 1, "client", "gateway", 7_000, 8_000, "connection_refused"),
    )
    assert sentence(*rows) == "Longest part: self time in a: 4.00 s of 10.0 s (40%)."
    assert sentence(ROOT, Row(2, 1, "client", "gateway", 0, 9_000, "500")) == (
        "Mostly failed calls in gateway: 9.00 s of 10.0 s (90%)."
    )
    assert trace_sentence((), TraceLanes()) == ""


def test_failed_calls_of_several_services_are_one_part_of_the_sentence() -> None:
    """No single service explains most of the time, but their failed calls together do."""
    rows = (
        ROOT,
        Row(2, 1, "client", "gateway", 0, 2_000, "timeout"),
        Row(3, 1, "server", "model", 2_000, 7_000),
        Row(4, 3, "client", "model", 3_000, 7_000, "timeout"),
        Row(5, 1, "server", "cache", 7_000, 10_000),
    )
    assert sentence(*rows) == "Mostly timeouts in model and 1 other service: 6.00 s of 10.0 s (60%)."


_ROWS = st.tuples(
    st.integers(0, 12),
    st.sampled_from(["client", "server", "internal"]),
    st.sampled_from("ab"),
    st.integers(0, 50),
    st.integers(0, 50),
    st.sampled_from(["", "timeout"]),
    st.sampled_from([None, 0.01, 9.0]),
)


@given(st.lists(_ROWS, min_size=1, max_size=12))
def test_the_parts_add_up_to_the_duration_of_the_root_span(
    rows: list[tuple[int, Kind, str, int, int, str, float | None]],
) -> None:
    """For any tree, times, and failures; no part is negative."""
    spans = [
        Row(i, parent if parent != i else 0, kind, service, start, start + length, error, queued)
        for i, (parent, kind, service, start, length, error, queued) in enumerate(rows, 1)
    ]
    known = parts(*spans)
    root = main_span(
        Span(
            trace_id="", span_id=str(row.number), parent_id=str(row.parent or ""), name="", kind=row.kind,
            start_ns=row.start * MS, end_ns=row.end * MS, status="unset", status_message="", resource={}, attributes={},
        )
        for row in spans
    )  # fmt: skip
    assert sum(item.seconds for item in known) == pytest.approx(root.duration_ns / 1e9)
    assert all(item.seconds > 0 for item in known)
