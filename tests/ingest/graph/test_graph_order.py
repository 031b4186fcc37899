"""The order of arrival changes no count of the service graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.ingest.graph.counts import graph_of

from foreshock_dashboard.model.span import Kind, Link, Span, Status


def traces() -> st.SearchStrategy[list[Span]]:
    """Spans of one trace: trees of any kinds, services, names, and outcomes."""
    url = st.sampled_from(["http://x/1", "http://x/2"])
    row = st.tuples(
        st.sampled_from(["client", "server", "client", "internal", "server", "internal", "producer", "consumer"]),
        st.sampled_from("abc"),
        st.integers(0, 100),
        st.sampled_from(["GET", "POST"]),
        st.sampled_from(["unset", "error", "ok"]),
        st.integers(0, 5),
        st.integers(0, 5),
        st.dictionaries(st.sampled_from(["http.request.resend_count"]), st.integers(0, 2), max_size=1),
        st.dictionaries(st.sampled_from(["url.full", "peer.service", "db.name"]), url, max_size=2),
        st.lists(st.integers(1, 12), max_size=2),
    )
    return st.lists(row, min_size=1, max_size=12).map(_tree)


Row = tuple[Kind, str, int, str, Status, int, int, dict[str, int], dict[str, str], list[int]]


def _tree(rows: Sequence[Row]) -> list[Span]:
    spans = []
    for number, (kind, service, parent, name, status, start, length, resend, attributes, links) in enumerate(rows, 1):
        above = parent % number
        spans.append(
            Span(
                trace_id=f"{1:032x}",
                span_id=f"{number:016x}",
                parent_id=f"{above:016x}" if above else "",
                name=name,
                kind=kind,
                start_ns=start * 10**9,
                end_ns=(start + length) * 10**9,
                status=status,
                status_message="",
                resource={"service.name": service},
                attributes={**attributes, **resend},
                links=tuple(Link(f"{1:032x}", f"{link:016x}", {}) for link in links),
            )
        )
    return spans


@given(traces(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_no_count(spans: list[Span], random: Random) -> None:
    """A shuffled trace has the same edges, counts, durations, and unpaired spans."""
    shuffled = list(spans)
    random.shuffle(shuffled)
    assert graph_of(shuffled) == graph_of(spans)


@st.composite
def messages(draw: st.DrawFn) -> list[Span]:
    """Nested messages and requests, half of them with links to others or to unknown spans."""
    kinds = st.sampled_from(["producer", "consumer", "server", "client", "internal"])
    rows = draw(
        st.lists(st.tuples(kinds, st.sampled_from("abc"), st.integers(0, 100), st.lists(st.integers(1, 9), max_size=3)),
                 min_size=2, max_size=8)
    )  # fmt: skip
    return _tree([(*row[:3], "GET", "unset", 0, 1, {}, {}, row[3]) for row in rows])  # type: ignore[misc]  # as drawn


@given(messages(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_the_pairs_of_spans_with_links(spans: list[Span], random: Random) -> None:
    """A link is paired, names the caller, or is unpaired once."""
    shuffled = list(spans)
    random.shuffle(shuffled)
    found = graph_of(spans)
    assert graph_of(shuffled) == found
    sides = Counter(f"{one.service}:{one.kind}" for one in spans)
    assert all(count <= sides[name] for name, count in found[1].items())


@given(traces())
def test_counts_are_consistent(spans: list[Span]) -> None:
    """Failures and retries do not exceed requests, and every request has a side."""
    for total in graph_of(spans)[0].values():
        assert 0 <= total.failed <= total.requests
        assert 0 <= total.retries <= total.requests
        assert len(total.client_seconds) <= total.requests
        assert len(total.server_seconds) <= total.requests
        assert total.requests <= len(total.client_seconds) + len(total.server_seconds)
