"""The edges that a service graph counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.ingest.graph.calls import NOW, Call
from tests.ingest.graph.counts import Make, Total, graph_of

from foreshock_dashboard.model.span import Span, Status


@pytest.fixture
def edges() -> Callable[..., dict[str, Total]]:
    """The edges of spans, which are equal for the reverse order."""

    def of(*spans: Span) -> dict[str, Total]:
        forwards, unpaired, dropped = graph_of(spans)
        assert graph_of(reversed(spans)) == (forwards, unpaired, dropped)
        return forwards

    return of


@pytest.fixture
def call(span: Make) -> Call:
    """Return a function that makes both sides of a call under span 9 in second `number`."""

    def make(
        number: int, callee: str, status: Status = "unset", url: str = "/v1/chat", seconds: float = 0.5
    ) -> list[Span]:
        client = span(
            "client", "web", 10 + number, 9, end=NOW + number, status=status, seconds=seconds,
            attributes={"url.full": f"http://{callee}:80{url}?n={number}"},
        )  # fmt: skip
        return [client, span("server", callee, 50 + number, 10 + number, end=NOW + number, status=status)]

    return make
