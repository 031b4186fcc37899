"""Spans in the store: they are returned as received, and searches consider all matching traces."""

from __future__ import annotations

import math
import struct
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.conftest import CUT_ALWAYS

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import (
    EXPORTER_NAME,
    OCCUPANCY_NAME,
    AttributeValue,
    Event,
    Link,
    Span,
    TraceQuery,
    TraceSummary,
    UnsearchableError,
)
from foreshock_dashboard.model.trace_heatmap import Bins
from foreshock_dashboard.store import Retention, Store, StoreError
from foreshock_dashboard.store.spans.codec import SpanCodec
from foreshock_dashboard.store.spans.queries import SpanReader
from foreshock_dashboard.store.spans.search import SearchBounds

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.store.conftest import Bench, MakeSpan

T0 = 1_790_000_000


def ids(summaries: tuple[TraceSummary, ...]) -> list[int]:
    return [int(summary.trace_id, 16) for summary in summaries]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves: st.SearchStrategy[AttributeValue] = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(), texts, st.binary()
)
keys = texts | st.sampled_from(["$bytes", "$float", "$map", "$", "a.b"])
attribute_values: st.SearchStrategy[AttributeValue] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
attributes = st.dictionaries(keys, attribute_values, max_size=5)


def same(one: object, other: object) -> bool:
    """Whether values and types are equal; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("d", one) == struct.pack("d", other) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return one == other


def without_attributes(span: Span) -> Span:
    """The span without the fields that hold attributes."""
    return replace(span, resource={}, attributes={}, events=(), links=())


@settings(max_examples=settings().max_examples // 4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(resource=attributes, own=attributes, moment=st.integers(0, (1 << 62)), length=st.integers(0, 1 << 61))
def test_a_span_is_returned_as_it_was_received(
    tmp_path_factory: pytest.TempPathFactory,
    resource: dict[str, AttributeValue],
    own: dict[str, AttributeValue],
    moment: int,
    length: int,
) -> None:
    """From head and block, with events and links."""
    folder = tmp_path_factory.mktemp("span")
    sent = Span(
        trace_id="ab" * 16,
        span_id="cd" * 8,
        parent_id="ef" * 8,
        name="GET /\u2028\x00",
        kind="client",
        start_ns=moment,
        end_ns=moment + length,
        status="error",
        status_message="bad",
        resource=resource,
        attributes=own,
        events=(Event(moment, 'e"vent', own),),
        links=(Link("12" * 16, "34" * 8, own),),
        scope="scope",
        trace_state="a=b",
        clamped=length == 0 and moment > 0,
    )
    never = Retention(metrics_seconds=1e18, spans_seconds=1e18)
    store = Store.open(folder, now=lambda: 0.0, limits=CUT_ALWAYS, retention=never)
    store.append_spans([sent])
    for _ in range(2):
        (back,) = store.get(sent.trace_id)
        assert without_attributes(back) == without_attributes(sent)
        assert same(back.resource, resource)
        assert same(dict(back.attributes), own)
        assert (back.events[0][:2], back.links[0][:2]) == (sent.events[0][:2], sent.links[0][:2])
        assert same(back.events[0].attributes, own)
        assert same(back.links[0].attributes, own)
        store.maintain()
    assert len(store._spans.blocks()) == 1
    store.close()


def test_invalid_unicode_costs_only_its_characters(bench: Bench, span: MakeSpan) -> None:
    """A lone surrogate becomes a question mark."""
    store = bench.open()
    store.append_spans([span(1, name="a\ud800b", attributes={"k\udfff": ["x\ud800", 1]}), span(2)])
    (back,) = store.get(f"{1:032x}")
    assert (back.name, back.attributes) == ("a?b", {"k?": ["x?", 1]})
    assert len(store.get(f"{2:032x}")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"start_ns": -1},
        {"start_ns": 2},
        {"end_ns": 1 << 63},
        {"trace_id": "x" * 32},
        {"trace_id": "f" * 30},
        {"span_id": "1" * 14},
        {"parent_id": "1" * 14},
        {"parent_id": "x" * 16},
    ],
    ids=str,
)
def test_a_span_with_invalid_times_or_ids_is_dropped_and_counted(
    bench: Bench, span: MakeSpan, changes: dict[str, Any]
) -> None:
    """The other spans of the request are stored."""
    store = bench.open()
    valid = Span("f" * 32, "1" * 16, "", "x", "server", 1, 1, "unset", "", {}, {})
    store.append_spans([replace(valid, **changes), span(2)])
    assert store.stats().dropped_spans == 1
    assert store.get("f" * 32) == ()
    assert len(store.get(f"{2:032x}")) == 1
    store.append_spans([valid, replace(valid, span_id="2" * 16, parent_id="1" * 16, end_ns=(1 << 63) - 1)])
    assert len(store.get("f" * 32)) == 2


def test_a_span_received_twice_is_returned_and_counted_once(bench: Bench, span: MakeSpan) -> None:
    """Client and server may share an id (B3): they are two spans."""
    store = bench.open()
    store.append_spans([span(1, 1), span(1, 1), span(1, 1, kind="client"), span(1, 2, parent=1)])
    store.maintain()
    store.append_spans([span(1, 1), span(1, 2, parent=1)])
    returned = sorted((one.span_id[-1], one.kind) for one in store.get(f"{1:032x}"))
    assert returned == [("1", "client"), ("1", "server"), ("2", "server")]
    (summary,) = store.search(TraceQuery(T0 - 1, T0 + 1))
    assert summary.spans == 3


def test_a_trace_is_returned_by_start_time_from_head_and_blocks(bench: Bench, span: MakeSpan) -> None:
    """Part in a segment, part in memory."""
    store = bench.open()
    store.append_spans([span(1, 3, parent=1, start=2), span(1, 1, start=0)])
    store.maintain()
    store.append_spans([span(1, 2, parent=1, start=1), span(2, 9)])
    assert [s.span_id[-1] for s in store.get(f"{1:032x}")] == ["1", "2", "3"]
    assert store.get("0" * 32) == ()


@pytest.mark.parametrize("where", ["head", "block", "both"])
def test_a_search_returns_the_slowest_or_newest_of_all_traces(bench: Bench, span: MakeSpan, where: str) -> None:
    """Not of the first ones read."""
    store = bench.open()
    for trace in range(1, 41):
        store.append_spans([span(trace, start=trace, duration=(trace * 7 % 41) / 10)])
        if where == "block" or (where == "both" and trace == 20):
            store.maintain()
    assert ids(store.search(TraceQuery(T0, T0 + 100, order="newest", limit=3))) == [40, 39, 38]
    by_duration = sorted(range(1, 41), key=lambda trace: -(trace * 7 % 41))
    assert ids(store.search(TraceQuery(T0, T0 + 100, order="slowest", limit=3))) == by_duration[:3]


CONDITIONS: list[tuple[dict[str, object], list[int]]] = [
    ({}, [4, 3, 2, 1]),
    ({"service": Service("", "gateway")}, [3, 2, 1]),
    ({"service": Service("prod", "gateway")}, [4]),
    ({"service": Service("", "model")}, [2]),
    ({"operation": "infer"}, [2]),
    ({"service": Service("", "gateway"), "operation": "infer"}, []),
    ({"status": "error"}, [3]),
    ({"status": "unset", "service": Service("", "gateway")}, [2, 1]),
    ({"status": "ok"}, []),
    ({"min_duration": 1.0}, [1]),
    ({"min_duration": 0.1, "max_duration": 0.5, "service": Service("", "gateway")}, [3, 2]),
    ({"start": T0 + 1.5}, [4, 3, 2]),
    ({"end": T0 + 2.5}, [2, 1]),
    ({"limit": 2}, [4, 3]),
    ({"service": Service("", "'; drop table spans_1; --")}, []),
]


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS)
def test_a_search_returns_the_traces_with_a_matching_span(
    bench: Bench, span: MakeSpan, condition: dict[str, object], expected: list[int]
) -> None:
    """All conditions apply to one and the same span."""
    store = bench.open()
    store.append_spans([span(1, 1, start=1, duration=2.0)])
    inner = span(2, 2, parent=1, name="infer", service="model", start=2.02, duration=0.01)
    store.append_spans([span(2, 1, start=2), inner])
    store.maintain()
    store.append_spans([span(3, 1, start=3, duration=0.2, status="error"), span(4, 1, start=4, namespace="prod")])
    arguments = {"start": T0, "end": T0 + 10, **condition}
    assert ids(store.search(TraceQuery(**arguments))) == expected  # type: ignore[arg-type]  # a table of conditions


def test_a_summary_covers_the_whole_trace(bench: Bench, span: MakeSpan) -> None:
    """Including spans outside the range or received before the root, whose duration counts."""
    store = bench.open()
    store.append_spans([span(1, 2, parent=1, name="infer", service="model", start=0.5, duration=3, status="error")])
    (early,) = store.search(TraceQuery(T0, T0 + 0.6))
    assert (early.root, str(early.service), early.operation) == (False, "model", "infer")
    store.append_spans([span(1, 1, start=0.2, duration=1)])
    (summary,) = store.search(TraceQuery(T0 + 0.4, T0 + 0.6, service=Service("", "model")))
    assert summary.root
    assert (str(summary.service), summary.operation) == ("gateway", "GET /")
    assert summary.start == T0 + 0.2
    assert (early.duration, summary.duration) == (3.0, 1.0)
    assert (summary.spans, summary.errors) == (2, 1)
    assert summary.services == (Service("", "gateway"), Service("", "model"))


@st.composite
def some_spans(draw: st.DrawFn) -> list[tuple[int, int, int, str, float, float]]:
    """Tuples of trace, span, parent, service, start and duration; some traces lack a root, some rank equally."""
    count = draw(st.integers(20, 60))
    chance = draw(st.randoms(use_true_random=False))
    quick = draw(st.booleans())
    spans = []
    for number in range(1, count + 1):
        service = chance.choice(["gateway", "gateway", "model"])
        length = chance.randint(1, 3) / 100 if quick and service == "model" else chance.randint(1, 40) / 10
        start = round(chance.random() * 9, 1)
        spans.append((chance.randint(1, count), number, chance.choice([0, 0, 99]), service, start, length))
    return spans


@settings(max_examples=settings().max_examples // 5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=some_spans(),
    blocks=st.integers(0, 10),
    service=st.sampled_from([None, Service("", "model")]),
    order=st.sampled_from(["newest", "slowest"]),
    limit=st.integers(1, 4),
    shortest=st.sampled_from([None, 0.5]),
    bounds=st.builds(
        SearchBounds,
        few_spans=st.integers(1, 9),
        min_read_spans=st.integers(1, 3),
        max_heap_rows=st.integers(1, 9),
        spans_per_trace=st.just(SearchBounds().spans_per_trace),
        one_pass_traces=st.just(SearchBounds().one_pass_traces),
    ),
)
def test_a_search_result_does_not_depend_on_the_strategy(
    tmp_path_factory: pytest.TempPathFactory,
    span: MakeSpan,
    made: list[tuple[int, int, int, str, float, float]],
    blocks: int,
    service: Service | None,
    order: Literal["newest", "slowest"],
    limit: int,
    shortest: float | None,
    bounds: SearchBounds,
) -> None:
    """Wherever the spans are, and whatever the thresholds."""
    store = Store.open(tmp_path_factory.mktemp("s") / "store", now=lambda: T0, limits=CUT_ALWAYS)
    spans = [
        span(trace, number, parent=parent, service=name, start=start, duration=length)
        for trace, number, parent, name, start, length in made
    ]
    size = len(spans) // (blocks + 1)
    for at in range(blocks):
        store.append_spans(spans[at * size : (at + 1) * size])
        store.maintain()
    store.append_spans(spans[blocks * size :])
    query = TraceQuery(T0, T0 + 20, service=service, order=order, limit=limit, min_duration=shortest)
    reader = SpanReader(store._spans, store._engine, store._trace_keys, 100_000, bounds, maintenance=threading.Lock())
    best = "duration" if order == "slowest" else "start"
    found, expected = reader.search(query), store.search(query)
    store.close()
    assert [getattr(one, best) for one in found] == [getattr(one, best) for one in expected]
    assert found == expected


@pytest.mark.parametrize("order", ["newest", "slowest"])
@pytest.mark.parametrize("service", [None, Service("", "model")])
def test_a_summary_covers_all_blocks_and_the_head(
    bench: Bench, span: MakeSpan, order: Literal["newest", "slowest"], service: Service | None
) -> None:
    """And only the spans of its trace."""
    store = bench.open()
    for number in (1, 2, 3):
        inner = span(1, 9 + number, parent=1, service="model", start=9 + number / 10, status="error")
        alone = span(1 + number, 1, service="model", start=number, duration=0.1)
        store.append_spans([inner, alone, *([span(1, 1, start=9, duration=5)] if number == 2 else [])])
        if number < 3:
            store.maintain()
    assert len(store._spans.blocks()) == 2
    found = store.search(TraceQuery(T0, T0 + 20, order=order, limit=2, service=service))
    assert [(one.root, one.spans, one.errors) for one in found] == [(True, 4, 3), (True, 1, 0)]
    assert found[0].services == (Service("", "gateway"), Service("", "model"))


@pytest.mark.parametrize("in_block", [False, True])
def test_occupancy_spans_are_searched_by_operation_only(bench: Bench, span: MakeSpan, in_block: bool) -> None:
    """A trace view reads them by id, or by name and attribute."""
    store = bench.open()
    for trace, uuid in ((1, "GPU-1"), (2, "GPU-2")):
        attributes: dict[str, AttributeValue] = {"hw.id": uuid}
        made = span(trace, name=OCCUPANCY_NAME, service=EXPORTER_NAME, kind="internal", attributes=attributes)
        store.append_spans([made])
    store.append_spans([span(2, 2), span(3, name=OCCUPANCY_NAME, service="impostor")])
    if in_block:
        store.maintain()

    (both, impostor) = store.search(TraceQuery(T0, T0 + 10, order="slowest"))
    assert (both.trace_id, both.spans, both.services) == (f"{2:032x}", 1, (Service("", "gateway"),))
    assert impostor.services == (Service("", "impostor"),)
    assert ids(store.search(TraceQuery(T0, T0 + 10, service=Service("", EXPORTER_NAME)))) == []
    assert set(ids(store.search(TraceQuery(T0, T0 + 10, operation=OCCUPANCY_NAME)))) == {1, 2, 3}
    query = TraceQuery(T0, T0 + 10, operation=OCCUPANCY_NAME, attributes={"hw.id": "GPU-2"})
    (summary,) = store.search(query)
    assert (summary.trace_id, summary.spans) == (f"{2:032x}", 2)
    assert len(store.get(f"{1:032x}")) == 1


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"hw.id": "GPU-1"}, [1]),
        ({"host.name": "host-1"}, [1, 2]),
        ({"http.response.status_code": "200"}, [1]),
        ({"user.id": "true"}, [1]),
        ({"http.route": "/ü"}, [1]),
        ({"hw.id": "GPU-1", "http.route": "/ü"}, [1]),
        ({"hw.id": "GPU-2", "http.route": "/ü"}, []),
        ({"hw.id": "GPU"}, []),
        ({"session.id": "1"}, []),
        ({"url.path": "/" + "x" * 900}, [2]),
        ({"url.path": "/" + "x" * 100}, []),
    ],
)
def test_a_search_by_attributes(
    bench: Bench, span: MakeSpan, wanted: dict[str, str], expected: list[int], in_block: bool
) -> None:
    """Attributes of the span, or else of its resource; all of one span, by their text."""
    store = bench.open()
    own: dict[str, AttributeValue] = {
        "hw.id": "GPU-1",
        "http.response.status_code": 200,
        "user.id": True,
        "http.route": "/ü",
    }
    first, second = span(1, attributes=own), span(2, attributes={"hw.id": "GPU-2", "url.path": "/" + "x" * 900})
    elsewhere = span(3, attributes={"host.name": "other"})
    store.append_spans([replace(one, resource={**one.resource, "host.name": "host-1"}) for one in (first, second)])
    store.append_spans([replace(elsewhere, resource={**elsewhere.resource, "host.name": "host-1"})])
    if in_block:
        store.maintain()
    assert ids(store.search(TraceQuery(T0, T0 + 10, attributes=wanted))) == expected


def test_an_unsearchable_attribute_is_refused_with_the_searchable_ones(bench: Bench, span: MakeSpan) -> None:
    """An empty result must mean that nothing matched."""
    store = bench.open(trace_keys=("a.b", "c"))
    store.append_spans([span(1, attributes={"a.b": 1, "d": 2})])
    assert ids(store.search(TraceQuery(T0, T0 + 10, attributes={"a.b": "1"}))) == [1]
    with pytest.raises(UnsearchableError, match=r"attribute 'd' is not searched by; use one of a\.b, c"):
        store.search(TraceQuery(T0, T0 + 10, attributes={"d": "2"}))


def test_an_added_key_is_searched_in_later_spans(bench: Bench, span: MakeSpan) -> None:
    """Blocks with and without the key are read and compacted together; a key in no block matches nothing."""
    for keys in (("a",), ("b",), ("a", "b")):
        store = bench.open(trace_keys=keys)
        for n in range(2):
            number = len(keys) * 10 + (keys == ("b",)) * 5 + n
            store.append_spans([span(number, start=number, attributes={"a": "x", "b": "y"})])
            store.maintain()
        store.close()
    store = bench.open(trace_keys=("a", "b", "c"))
    for _ in range(3):
        assert ids(store.search(TraceQuery(T0, T0 + 99, attributes={"c": "z"}))) == []
        assert ids(store.search(TraceQuery(T0, T0 + 99, attributes={"a": "x"}))) == [21, 20, 11, 10]
        assert ids(store.search(TraceQuery(T0, T0 + 99, attributes={"b": "y"}))) == [21, 20, 16, 15]
        store.maintain()
    assert len(store._spans.blocks()) == 1


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_malformed_payloads_are_refused(data: bytes) -> None:
    """With one kind of error."""
    with pytest.raises(ValueError, match="not a row of spans"):
        SpanCodec(()).unpack(data)


def test_a_wal_payload_of_spans_decodes_to_the_same_columns(span: MakeSpan) -> None:
    """The same columns that went into memory when it was accepted."""
    codec = SpanCodec(("hw.id", "service.name"))
    chunk = codec.rows([span(n, n, parent=n - 1, service=f"s{n % 3}", attributes={"hw.id": n}) for n in range(1, 200)])
    back = codec.unpack(chunk.body)
    assert (back.rows, back.start, back.end, back.bytes) == (chunk.rows, chunk.start, chunk.end, chunk.bytes)
    assert {name: column.tolist() for name, column in back.columns.items()} == {
        name: column.tolist() for name, column in chunk.columns.items()
    }


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize(
    ("conditions", "counts"),
    [
        ({}, {(0, 0): 2, (1, 0): 1, (2, 1): 1}),
        ({"service": Service("", "embedder")}, {(0, 0): 1}),
        ({"status": "error"}, {(2, 1): 1}),
        ({"min_duration": 1.0}, {(2, 1): 1}),
        ({"service": Service("", "absent")}, {}),
    ],
)
def test_the_heat_map_counts_matching_traces_by_their_root(
    bench: Bench, span: MakeSpan, in_block: bool, conditions: dict[str, object], counts: dict[tuple[int, int], int]
) -> None:
    """In bins of ten seconds and of decades; too short traces are in the edge bin, late ones are not counted."""
    store = bench.open()
    store.append_spans(
        [
            span(1, 1, start=1, duration=0.02),
            span(1, 2, parent=1, service="embedder", start=1, duration=0.01),
            span(2, 1, start=9, duration=0.001),
            span(3, 1, start=2, duration=0.2),
            span(4, 1, start=15, duration=2.0, status="error"),
            span(5, 2, parent=9, start=3, duration=0.02),
            span(6, 1, start=25, duration=0.02),
        ]
    )
    if in_block:
        store.maintain()
    bins = Bins(T0, T0 + 20, 2, 0.01, 10.0, 3)
    heat = store.heat(TraceQuery(T0, T0 + 20, **conditions), bins)  # type: ignore[arg-type]  # the cases have these fields
    assert {(y, x): heat[y, x] for y, x in zip(*heat.nonzero(), strict=True)} == counts


def test_a_statement_without_memory_is_executed_again_after_the_maintenance(bench: Bench) -> None:
    """A merge may take all of it. Other errors are reported at once."""
    store, maintained = bench.open(), []

    class FullOnce:
        def execute(self, sql: str, _parameters: object) -> FullOnce:
            maintained.append(store._compactor.lock.locked())
            if len(maintained) == 1 or sql == "still full":
                raise duckdb.OutOfMemoryException(sql)
            return self

        def fetchall(self) -> list[tuple[int]]:
            return [(1,)]

    run = store._span_reader._run
    assert run(cast("duckdb.DuckDBPyConnection", FullOnce()), "full once") == [(1,)]
    assert maintained == [False, True]
    with pytest.raises(StoreError, match="cannot read spans: still full"):
        run(cast("duckdb.DuckDBPyConnection", FullOnce()), "still full")
    assert maintained[2:] == [False, True]
