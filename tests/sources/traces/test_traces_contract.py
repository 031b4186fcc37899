"""The contract of trace sources, tested with the embedded store and doubles of the others."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from foreshock_dashboard.model.query import note_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import (
    EXPORTER_NAME,
    OCCUPANCY_NAME,
    Event,
    Link,
    Span,
    TraceQuery,
    TraceSource,
    TraceSummary,
)
from foreshock_dashboard.sources.traces.spans import summary_of

if TYPE_CHECKING:
    from tests.sources.traces.conftest import Load, MakeSpan

T0 = 1_790_000_000


def ids(found: tuple[TraceSummary, ...]) -> list[int]:
    return [int(summary.trace_id, 16) for summary in found]


def platform(span: MakeSpan) -> list[Span]:
    """Traces 1 to 7 of several services, and one of occupancy."""
    return [
        span(1, 1, start=0, duration=0.1, attributes={"http.response.status_code": 200, "http.route": "/"}),
        span(1, 2, parent=1, name="pay", service="checkout", namespace="shop", start=0.01, duration=0.05),
        span(2, 1, name="POST /", start=10, duration=0.5, status="error"),
        span(2, 2, parent=1, name="charge", service="payments", namespace="shop", start=10.1, status="error",
             attributes={"error.type": "timeout"}),
        span(3, 1, name="pay", service="checkout", start=20, duration=2, status="ok"),
        span(4, 1, name="pay", service="checkout", namespace="other", start=30, duration=0.2,
             resource={"host.id": "4f"}),
        span(5, 1, parent=9, start=40, duration=3),
        span(5, 2, parent=1, name="later", service="checkout", namespace="shop", start=41, duration=0.001),
        span(6, 1, name="batch", service="worker", namespace="jobs", start=-100, duration=150),
        span(6, 2, parent=1, name="step", service="worker", namespace="jobs", start=45, duration=1),
        span(7, 1, start=60, duration=0.0),
        span(8, 1, name=OCCUPANCY_NAME, service=EXPORTER_NAME, kind="internal", start=5, duration=1,
             attributes={"hw.id": "GPU-1"}),
    ]  # fmt: skip


SHOP, OTHER, NONE = Service("shop", "checkout"), Service("other", "checkout"), Service("", "checkout")
TABLE: dict[str, tuple[dict[str, Any], list[int]]] = {
    "the newest first": ({}, [7, 5, 4, 3, 2, 1, 6]),
    "the slowest first": ({"order": "slowest"}, [6, 5, 3, 2, 4, 1, 7]),
    "a limit takes the newest": ({"limit": 3}, [7, 5, 4]),
    "a limit takes the slowest": ({"limit": 2, "order": "slowest", "end": 50}, [6, 5]),
    "a service in a namespace": ({"service": SHOP}, [5, 1]),
    "its namesake in another": ({"service": OTHER}, [4]),
    "its namesake in none": ({"service": NONE}, [3]),
    "absent": ({"service": Service("", "absent")}, []),
    "an operation": ({"operation": "pay"}, [4, 3, 1]),
    "of one span both the service and the operation": ({"service": SHOP, "operation": "later"}, [5]),
    "not of two spans of a trace": ({"service": SHOP, "operation": "GET /"}, []),
    "a service in any namespace": ({"service": NONE, "any_namespace": True}, [5, 4, 3, 1]),
    "at least as long": ({"min_duration": 2.0}, [5, 3, 6]),
    "at most as long": ({"max_duration": 0.001}, [7]),
    "between the two": ({"min_duration": 0.2, "max_duration": 1.0}, [4, 2]),
    "as long as the trace took, not its span": ({"min_duration": 3.0, "service": SHOP}, [5]),
    "errors": ({"status": "error"}, [2]),
    "spans that say ok": ({"status": "ok"}, [3]),
    "spans that say nothing": ({"status": "unset", "order": "slowest"}, [6, 5, 4, 1, 7]),
    "another status of the same span": ({"status": "ok", "service": SHOP}, []),
    "errors of a service that has none": ({"status": "error", "service": SHOP}, []),
    "an attribute that is text": ({"attributes": {"error.type": "timeout"}}, [2]),
    "an attribute that is a number": ({"attributes": {"http.response.status_code": "200"}}, [1]),
    "an attribute of the resource": ({"attributes": {"host.id": "4f"}}, [4]),
    "all of several": ({"attributes": {"http.response.status_code": "200", "http.route": "/"}}, [1]),
    "not only one of several": ({"attributes": {"http.response.status_code": "200", "http.route": "/x"}}, []),
    "another value": ({"attributes": {"host.id": "4"}}, []),
    "spans that began in the range, not those that were going on": ({"start": 42, "end": 50}, [6]),
    "to the part of a second": ({"start": 40.5, "end": 59.5}, [5, 6]),
    "both ends belong to it": ({"start": 20, "end": 30}, [4, 3]),
    "a moment": ({"start": 30, "end": 30}, [4]),
    "an empty range": ({"start": 70, "end": 80}, []),
    "occupancy where it is requested": ({"operation": OCCUPANCY_NAME}, [8]),
    "occupancy of a GPU": ({"operation": OCCUPANCY_NAME, "attributes": {"hw.id": "GPU-1"}}, [8]),
}


def query(start: float = -10, end: float = 65, **given: Any) -> TraceQuery:  # noqa: ANN401 - conditions
    return TraceQuery(T0 + start, T0 + end, **given)


@pytest.fixture(scope="module")
def loaded_platform(load_once: Load, span: MakeSpan) -> TraceSource:
    """A source that has the platform's spans."""
    return load_once(platform(span))


@pytest.mark.parametrize("what", TABLE)
def test_a_search_finds(loaded_platform: TraceSource, what: str) -> None:
    """Each row of the table, in that order."""
    given, expected = TABLE[what]
    found = loaded_platform.search(query(**given))
    assert ids(found) == expected
    if not ("limit" in given and "does not return root spans" in note_of(found)):
        assert note_of(found) == ""


def test_a_list_has_the_values_of_whole_traces(loaded_platform: TraceSource, span: MakeSpan) -> None:
    """Service, operation, start, duration, spans, errors and services, whatever matched."""
    expected: dict[str, list[Span]] = {}
    for each in platform(span):
        expected.setdefault(each.trace_id, []).append(each)
    found = loaded_platform.search(query())
    assert len(found) == 7
    for summary in found:
        assert summary == summary_of(summary.trace_id, expected[summary.trace_id])


def test_all_services_of_a_trace_have_their_namespaces(load: Load, span: MakeSpan) -> None:
    """Also the root's."""
    source = load([
        span(1, 1, namespace="edge", service="door"),
        span(1, 2, parent=1, service="mid", namespace="shop"),
        span(1, 3, parent=2, service="end", name="last"),
    ])  # fmt: skip
    (found,) = source.search(query(operation="last"))
    assert found.service == Service("edge", "door")
    assert found.services == (Service("", "end"), Service("edge", "door"), Service("shop", "mid"))


@pytest.mark.parametrize("limit", [1, 2])
def test_clocks_that_are_apart_make_no_trace_longer(load: Load, span: MakeSpan, limit: int) -> None:
    """Listed, filtered and sorted by what the root took, whatever the limit."""
    source = load([
        span(1, 1, kind="client", duration=0.5, resource={"host.id": "h1"}),
        span(1, 2, parent=1, service="model", start=9.05, duration=0.4, resource={"host.id": "h2"}),
        span(2, 1, start=1, duration=0.75),
    ])  # fmt: skip
    found = source.search(query(order="slowest", limit=limit))
    assert [(one.trace_id[-1], one.duration) for one in found] == [("2", 0.75), ("1", 0.5)][:limit]
    assert ids(source.search(query(max_duration=0.5))) == [1]
    assert ids(source.search(query(min_duration=0.6, service=Service("", "model")))) == []


@pytest.mark.parametrize("limit", [1, 10, 60])
@pytest.mark.parametrize("order", ["slowest", "newest"])
def test_a_list_picks_among_all_that_match(load: Load, span: MakeSpan, order: Any, limit: int) -> None:  # noqa: ANN401
    """Not among the first found; most of these are traces of a blink, a few are slow."""
    chance = random.Random(7)
    spans = [span(n, start=n / 100, duration=round(chance.paretovariate(1) / 100, 3)) for n in range(1, 1501)]
    found = load(spans).search(query(order=order, limit=limit))

    def key(one: Span) -> int:
        return one.duration_ns if order == "slowest" else one.start_ns

    best = sorted(spans, key=key, reverse=True)[:limit]
    least = key(best[-1])
    assert len(found) == limit
    assert {*ids(found)} >= {int(one.trace_id, 16) for one in best if key(one) > least}
    assert [summary.duration for summary in found if order == "slowest"] == (
        [one.duration_ns / 1e9 for one in best] if order == "slowest" else []
    )


def test_many_of_one_length_are_no_reason_to_miss_a_longer_one(load: Load, span: MakeSpan) -> None:
    """The other equal traces in the list do not matter."""
    spans = [span(n, start=n / 100, duration=0.1) for n in range(1, 1200)] + [span(2000, start=1, duration=0.2)]
    found = load(spans).search(query(order="slowest", limit=5))
    assert len(found) == 5
    assert ids(found)[0] == 2000


def test_a_trace_is_given_whole_and_as_it_was_sent(load: Load, span: MakeSpan) -> None:
    """By start time, each span once, with attributes of every kind, events and links."""
    spans = platform(span)
    rich = replace(
        spans[0],
        kind="client",
        status="error",
        status_message="it broke",
        scope="lib",
        trace_state="a=b",
        attributes={"text": "ü→\u2028", "whole": -5, "part": 0.25, "yes": True, "no": False, "list": ["a", 1, True]},
        events=(Event(spans[0].start_ns + 5, "exception", {"exception.type": "E"}),),
        links=(Link("ab" * 16, "cd" * 8, {"why": "batch"}),),
    )
    source = load([spans[1], rich, rich, *spans[2:]])
    assert tuple(source.get(rich.trace_id)) == (rich, spans[1])
    assert note_of(source.get(rich.trace_id)) == ""


def test_occupancy_is_given_by_its_trace(loaded_platform: TraceSource, span: MakeSpan) -> None:
    """What ran on a GPU is looked up by an id that follows from it."""
    assert tuple(loaded_platform.get(f"{8:032x}")) == (platform(span)[-1],)


def test_an_unknown_trace_is_empty(loaded_platform: TraceSource) -> None:
    """And no error."""
    assert tuple(loaded_platform.get("f" * 32)) == ()
    assert len(loaded_platform.get(f"{1:032x}")) == 2
    assert tuple(loaded_platform.get("f" * 32)) == ()


@pytest.mark.parametrize("nothing", [[], None])
def test_a_source_that_holds_nothing_answers(load: Load, nothing: Any) -> None:  # noqa: ANN401
    """With nothing."""
    source = load(nothing or [])
    assert tuple(source.search(query())) == ()
    assert tuple(source.search(query(order="slowest"))) == ()


SPECIAL = [
    'q"uote', "back\\slash", "line\nfeed", "tab\tand\x00nul", "ünï→", "🙂", "a{b}", '" || true || "',
    '"} | by(name) {"', "\\", '\\"', "$(x)", "'; drop", "%7B%7D&limit=1", "\ufeffbom", "\u2028", "true", "5", "5ms",
    " ", "`raw`",
]  # fmt: skip


@pytest.fixture(scope="module")
def loaded_special(load_once: Load, span: MakeSpan) -> TraceSource:
    """A source with four traces of each special text: 10 n + 1 to 10 n + 4 of the n-th one."""
    return load_once(
        [span(5, name="other")]
        + [
            each
            for first, value in zip(range(10, 1000, 10), SPECIAL, strict=False)
            for each in (
                span(first + 1, name=value),
                span(first + 2, service=value),
                span(first + 3, service="x", namespace=value),
                span(first + 4, attributes={"http.route": value}),
            )
        ]
    )


@pytest.mark.parametrize("value", SPECIAL)
def test_any_name_can_be_queried(loaded_special: TraceSource, value: str) -> None:
    """Whatever stands in it, it is a value and nothing else."""
    first = 10 + 10 * SPECIAL.index(value)
    assert ids(loaded_special.search(query(operation=value))) == [first + 1]
    assert ids(loaded_special.search(query(service=Service("", value)))) == [first + 2]
    assert ids(loaded_special.search(query(service=Service(value, "x")))) == [first + 3]
    assert ids(loaded_special.search(query(attributes={"http.route": value}))) == [first + 4]
    assert [one.name for one in loaded_special.get(f"{first + 1:032x}")] == [value]
