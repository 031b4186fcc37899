"""Calls under any nesting of spans: nothing depends on the order of arrival, and totals are consistent."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.ingest.graph.calls import counts, found

from foreshock_dashboard.model.span import Span, Status

Row = tuple[str, int, str, Status, int, str]


@st.composite
def agents(draw: st.DrawFn) -> list[Span]:
    """Nested model calls under a few spans, some with HTTP calls, of any outcome."""
    rows: list[Row] = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["model", "http", "internal", "server", "internal"]),
                st.integers(0, 9), st.sampled_from("ab"),
                st.sampled_from(["unset", "error", "ok"]), st.integers(0, 6), st.sampled_from(["openai", "anthropic"]),
            ),
            min_size=1, max_size=10,
        )
    )  # fmt: skip
    return [_span(number, *row) for number, row in enumerate(rows, 1)]


def _span(number: int, what: str, above: int, service: str, status: Status, start: int, provider: str) -> Span:
    attributes: dict[str, str] = {"server.address": f"{provider}.example"}
    if what == "model":
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider}
    parent = above % number or 99
    return Span(
        trace_id=f"{1:032x}", span_id=f"{number:016x}", parent_id=f"{parent:016x}", name=what,
        kind="server" if what == "server" else "internal" if what == "internal" else "client",
        start_ns=start * 10**9, end_ns=(start + 1) * 10**9, status=status, status_message="",
        resource={"service.name": service}, attributes=attributes,
    )  # fmt: skip


@given(agents(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_neither_retries_nor_fallbacks(spans: list[Span], random: Random) -> None:
    """For any nesting."""
    shuffled = list(spans)
    random.shuffle(shuffled)
    one, other = found(spans), found(shuffled)
    assert counts(one) == counts(other)
    assert Counter(one.fallbacks) == Counter(other.fallbacks)
    assert Counter(one.unpaired) == Counter(other.unpaired)


@given(agents())
def test_totals_are_consistent(spans: list[Span]) -> None:
    """Fallbacks are failed requests; retries are requests; a span is in an edge, within one, or unpaired."""
    result = found(spans)
    sums = counts(result)
    for requests, failed, retries in sums.values():
        assert 0 <= failed <= requests
        assert 0 <= retries <= requests
    calls = [one for one in spans if one.kind == "client"]
    assert sum(total[0] for total in sums.values()) <= len(calls) + sum(one.kind == "server" for one in spans)
    assert len(result.fallbacks) <= sum(one.status == "error" for one in spans)
