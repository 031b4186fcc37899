"""The edges that a service graph counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.ingest.graph.counts import Total, graph_of

from foreshock_dashboard.model.span import Span


@pytest.fixture
def edges() -> Callable[..., dict[str, Total]]:
    """The edges of spans, which are equal for the reverse order."""

    def of(*spans: Span) -> dict[str, Total]:
        forwards, unpaired, dropped = graph_of(spans)
        assert graph_of(reversed(spans)) == (forwards, unpaired, dropped)
        return forwards

    return of
