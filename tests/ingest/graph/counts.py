"""What a service graph counts of spans, by edge."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from foreshock_dashboard.ingest.service_graph.call_pairing import ServiceGraph
from foreshock_dashboard.model.span import Span

Make = Callable[..., Span]
TTL = 10.0
PATIENCE = 60.0


class Total(NamedTuple):
    """All counts of one edge."""

    requests: int = 0
    failed: int = 0
    retries: int = 0
    client_seconds: tuple[float, ...] = ()
    server_seconds: tuple[float, ...] = ()


def graph_of(spans: Iterable[Span], max_items: int = 1000) -> tuple[dict[str, Total], Counter[str], int]:
    """Edges as `client>server[:connection]`, unpaired spans as `service:kind`, and the number of dropped ones."""
    graph = ServiceGraph(TTL, max_items, PATIENCE)
    for span in spans:
        graph.add(span, now=0.0)
    graph.expire(TTL)
    graph.expire(PATIENCE)
    assert len(graph) == 0
    found = graph.take()
    totals: dict[str, Total] = defaultdict(Total)
    for step in found.increments:
        assert min(step.requests, step.failed, step.retries) >= 0
        client, server, connection = step.edge
        name = f"{client}>{server}" + (f":{connection}" if connection else "")
        total = totals[name]
        totals[name] = Total(
            total.requests + step.requests,
            total.failed + step.failed,
            total.retries + step.retries,
            tuple(sorted(total.client_seconds + ((step.client_seconds,) if step.client_seconds is not None else ()))),
            tuple(sorted(total.server_seconds + ((step.server_seconds,) if step.server_seconds is not None else ()))),
        )
    return dict(totals), Counter(f"{alone.service}:{alone.kind}" for alone in found.unpaired), found.dropped


Edges = Callable[..., dict[str, Total]]
