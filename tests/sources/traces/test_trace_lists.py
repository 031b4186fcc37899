"""A list of traces is in the order of what it shows, and a limit cuts it: nothing is picked by another figure."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import pytest
from tests.conftest import soak

from foreshock_dashboard.model.query import note_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.sources.traces.spans import duration_matches, matches, summary_of
from foreshock_dashboard.store import Store, StoreLimits
from foreshock_dashboard.store.spans.queries import SpanReader
from foreshock_dashboard.store.spans.search import SearchBounds

if TYPE_CHECKING:
    from tests.sources.traces.conftest import Load, MakeSpan

T0 = 1_790_000_000


def traffic_of(span: MakeSpan, seed: int, traces: int, *, orderly: bool = False) -> list[Span]:
    """Traces of up to six spans, which may outlast their parents.

    Unless `orderly`, some have no root, some two, and clocks are apart.
    """
    chance = random.Random(seed)
    made: list[Span] = []
    for trace in range(1, traces + 1):
        count, start = chance.randint(1, 6), chance.uniform(-60, 660)
        roots = 1 if orderly else chance.choice((1, 1, 1, 1, 0, 2))
        skew = 0 if orderly else chance.choice((0, 0, 0, 9, -9))
        made += [
            span(
                trace,
                number,
                parent=0 if number <= roots else chance.choice((1, 99)),
                service=f"service-{chance.randrange(4)}",
                namespace=chance.choice(("", "shop")),
                name=f"step {chance.randrange(3)}",
                start=round(start + (skew + number / 100 if number > 1 else 0), 6),
                duration=round(chance.choice((0.0, 0.1, chance.random(), chance.paretovariate(1))), 6),
                status=chance.choice(("unset", "unset", "error")),
            )
            for number in range(1, count + 1)
        ]
    chance.shuffle(made)
    return made


def expected(sent: list[Span], query: TraceQuery) -> list[TraceSummary]:
    """By looking at everything."""
    traces: dict[str, list[Span]] = {}
    for each in sent:
        traces.setdefault(each.trace_id, []).append(each)
    found = [summary_of(trace, of) for trace, of in traces.items() if any(matches(each, query) for each in of)]
    found = [each for each in found if duration_matches(round(each.duration * 1e9), query)]
    slowest = query.order == "slowest"
    found.sort(key=lambda each: (-(each.duration if slowest else each.start), each.trace_id))
    return found[: query.limit]


QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"limit": 200},
    {"service": Service("shop", "service-1")},
    {"service": Service("", "service-1")},
    {"service": Service("", "service-1"), "any_namespace": True},
    {"operation": "step 2", "status": "error"},
    {"status": "ok"},
    {"service": Service("shop", "service-1"), "status": "unset"},
    {"min_duration": 0.5},
    {"max_duration": 0.1},
    {"min_duration": 0.1, "max_duration": 1.0, "service": Service("shop", "service-2")},
    {"service": Service("", "absent")},
    {"min_duration": 1e6},
)


WAYS = {
    "few match": (10**6, (1,), 5000),
    "grouped": (0, (1,), 5000),
    "looked": (0, (1, 16), 5000),
    "looked part by part": (0, (1, 16), 7),
    "all looked at": (0, (10**5,), 5000),
}
"""Bounds of a search that make the store take one way, by its name."""


@pytest.mark.parametrize(
    ("way", "sealed"),
    [("looked", False), *((way, True) for way in WAYS), *soak(*((way, False) for way in WAYS if way != "looked"))],
)
@pytest.mark.parametrize("order", ["newest", "slowest"])
def test_the_store_lists_the_same_as_a_full_scan(
    span: MakeSpan,
    tmp_path: Path,
    way: str,
    sealed: bool,
    order: Literal["newest", "slowest"],
) -> None:
    """Whichever way the store takes to find them: each is the fast one for some question."""
    sent = traffic_of(span, 5, 200)
    few, looks, heap = WAYS[way]
    limits = StoreLimits(block_bytes=1 if sealed else StoreLimits().block_bytes, duckdb_threads=1)
    with closing(Store.open(tmp_path / "store", now=lambda: float(T0), limits=limits)) as store:
        for first in range(0, len(sent), 250):
            store.append_spans(sent[first : first + 250])
            store.maintain()
        bounds = SearchBounds(few, looks[0], heap, spans_per_trace=looks, one_pass_traces=50)
        reader = SpanReader(store._spans, store._engine, store._trace_keys, 100_000, bounds, maintenance=Lock())
        for question in QUESTIONS:
            asked = TraceQuery(T0, T0 + 600, order=order, **{"limit": 20, **question})
            assert list(reader.search(asked)) == expected(sent, asked), question


@pytest.mark.parametrize(
    ("order", "head"), [("slowest", (-65.0, 60.0)), ("newest", (602.0, 1.0))], ids=["ended before", "began after"]
)
def test_a_trace_is_found_by_a_child_in_the_range_though_its_head_lies_outside(
    tmp_path: Path, span: MakeSpan, order: Literal["newest", "slowest"], head: tuple[float, float]
) -> None:
    """A consumer works on after its producer has ended, and clocks are apart."""
    start, duration = head
    sent = [span(number, 1, parent=0, start=float(number), duration=1.5) for number in range(2, 502)]
    sent += [span(1, 1, parent=0, start=start, duration=duration), span(1, 2, parent=1, start=300.0, duration=0.01)]
    with closing(Store.open(tmp_path / "store", now=lambda: float(T0), limits=StoreLimits(duckdb_threads=1))) as store:
        store.append_spans(sent)
        asked = TraceQuery(T0, T0 + 600, order=order, limit=5)
        assert list(store.search(asked)) == expected(sent, asked)
        assert store.search(asked)[0].trace_id == sent[-1].trace_id


@pytest.mark.parametrize("order", ["newest", "slowest"])
def test_every_source_lists_the_same_as_a_full_scan_or_has_a_note(
    load: Load, span: MakeSpan, order: Literal["newest", "slowest"]
) -> None:
    """HTTP sources return the same, except namespaces of names that several services share."""
    sent = traffic_of(span, 6, 80, orderly=True)
    source = load(sent)
    rank = attrgetter("duration" if order == "slowest" else "start")
    sure = 0
    for question in QUESTIONS:
        asked = TraceQuery(T0, T0 + 600, order=order, **{"limit": 20, **question})
        found = source.search(asked)
        if not note_of(found):
            sure += 1
            best, fitting = expected(sent, asked), expected(sent, replace(asked, limit=1000))
            assert list(map(rank, found)) == list(map(rank, best)), question  # of equal ones, any
            assert {row(each) for each in found} <= {row(each) for each in fitting}
    assert sure >= 3


def row(found: TraceSummary) -> tuple[object, ...]:
    """What a list shows of a trace."""
    return found.trace_id, found.operation, found.start, found.duration, found.spans, found.errors, found.root
