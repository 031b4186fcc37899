"""A list of traces is in the order of what it shows, and a limit cuts it: nothing is picked by another figure."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.sources.matching import matches, takes
from foreshock_dashboard.sources.summary import summary_of
from foreshock_dashboard.store import Sealing, Store, spans

if TYPE_CHECKING:
    from tests.sources_traces.conftest import MakeSpan

T0 = 1_790_000_000


def traffic_of(span: MakeSpan, seed: int) -> list[Span]:
    """Two hundred traces of up to six spans: some without a root, some with two, clocks apart, calls left behind."""
    chance = random.Random(seed)
    made: list[Span] = []
    for trace in range(1, 201):
        count, start = chance.randint(1, 6), chance.uniform(-60, 660)
        roots = chance.choice((1, 1, 1, 1, 0, 2))
        skew = chance.choice((0, 0, 0, 9, -9))
        for number in range(1, count + 1):
            made.append(
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
            )
    chance.shuffle(made)
    return made


def expected(sent: list[Span], query: TraceQuery) -> list[TraceSummary]:
    """By looking at everything."""
    traces: dict[str, list[Span]] = {}
    for each in sent:
        traces.setdefault(each.trace_id, []).append(each)
    found = [summary_of(trace, of) for trace, of in traces.items() if any(matches(each, query) for each in of)]
    found = [each for each in found if takes(round(each.duration * 1e9), query)]
    slowest = query.order == "slowest"
    found.sort(key=lambda each: (-(each.duration if slowest else each.start), each.trace_id))
    return found[: query.limit]


QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"limit": 200},
    {"service": Service("shop", "service-1")},
    {"service": Service("", "service-1")},
    {"service": Service("", "service-1"), "any_namespace": True},
    {"operation": "step 2", "errors_only": True},
    {"min_duration": 0.5},
    {"max_duration": 0.1},
    {"min_duration": 0.1, "max_duration": 1.0, "service": Service("shop", "service-2")},
    {"service": Service("", "nobody")},
    {"min_duration": 1e6},
)


@pytest.mark.parametrize(
    ("few", "look"), [(10**6, 1), (0, 1), (0, 16), (0, 10**5)], ids=["few match", "grouped", "looked", "all looked at"]
)
@pytest.mark.parametrize("sealed", [False, True], ids=["memory", "segments"])
@pytest.mark.parametrize("order", ["newest", "slowest"])
def test_the_store_lists_what_looking_at_everything_gives(
    span: MakeSpan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, look: int, sealed: bool, order: Any
) -> None:
    """Whichever way the store takes to find them: each is the fast one for some question."""
    monkeypatch.setattr(spans, "_FEW", few)
    monkeypatch.setattr(spans, "_LOOK", look)
    sent = traffic_of(span, 5)
    sealing = Sealing(bytes=1) if sealed else Sealing()
    with closing(Store.open(tmp_path / "store", now=lambda: float(T0), sealing=sealing, threads=1)) as store:
        for first in range(0, len(sent), 250):
            store.append_spans(sent[first : first + 250])
            store.maintain()
        for question in QUESTIONS:
            asked = TraceQuery(T0, T0 + 600, order=order, **{"limit": 20, **question})
            assert list(store.search(asked)) == expected(sent, asked), question
