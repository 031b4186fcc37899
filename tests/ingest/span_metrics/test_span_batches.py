"""Spans of a batch are counted like single spans, however the batches are split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.ingest.indexed_attributes import attribute_reader
from foreshock_dashboard.ingest.otlp.decode import decode_spans
from foreshock_dashboard.ingest.otlp.encode import encode_spans
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.samples import Sample
from foreshock_dashboard.model.span import TRACE_KEYS, Attributes, Link, Span

NOW = 1_800_000_000.0
NOTABLE: tuple[Attributes, ...] = (
    {},
    {"server.address": "b", "server.port": 80, "url.full": "http://b/x?id=1", "user.id": "u-1"},
    {"server.address": "b", "server.port": 80, "url.full": "http://b/x?id=2", "http.request.resend_count": 1},
    {"http.response.status_code": 503, "url.full": "http://b/x", "error.type": "é"},
    {"db.system.name": "postgresql", "server.address": "10.0.0.1"},
    {"gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 7},
    {"rpc.grpc.request.metadata.grpc-previous-rpc-attempts": ["1"], "peer.service": "c"},
    {"messaging.system": "kafka", "messaging.operation.type": "receive"},
)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    """Few traces, services, and ids, so that many spans are related."""
    number, parent, trace = draw(st.integers(1, 8)), draw(st.integers(0, 8)), draw(st.integers(1, 2))
    end = round(NOW * 1e9) - draw(st.sampled_from((0, 10**6, 2 * 10**9, 90 * 10**9)))
    return Span(
        trace_id=f"{trace:032x}",
        span_id=f"{number:016x}",
        parent_id=f"{parent:016x}" if parent else "",
        name=draw(st.sampled_from(("GET /a", "POST /b"))),
        kind=draw(st.sampled_from(("internal", "server", "client", "producer", "consumer"))),
        start_ns=end - draw(st.sampled_from((0, 10**6, 5 * 10**8))),
        end_ns=end,
        status=draw(st.sampled_from(("unset", "ok", "error"))),
        status_message="",
        resource={"service.name": draw(st.sampled_from("abc"))},
        attributes=draw(st.sampled_from(NOTABLE)),
        links=draw(st.sampled_from(((), (), (Link(f"{trace:032x}", f"{9 - number:016x}", {}),)))),
    )


def counted(batches: Iterable[Sequence[Span]]) -> tuple[list[Sample], dict[str, float]]:
    """All series after these batches, once nothing is pending; of addresses, which are sampled, there are none."""
    metrics = SpanMetrics()
    for batch in batches:
        metrics.add(batch, NOW)
    metrics.collect(NOW + 60.0)
    metrics.collect(NOW + 300.0)
    samples = (
        sample for sample in metrics.collect(NOW + 600.0) if sample.metric != "foreshock_service_address_spans_total"
    )
    return sorted(samples), dict(metrics.counts)


@given(
    sent=st.lists(spans(), max_size=16, unique_by=lambda span: (span.trace_id, span.span_id)),
    cuts=st.sets(st.integers(1, 15)),
    limit=st.sampled_from((1, 1000)),
)
def test_counts_do_not_depend_on_batches(sent: list[Span], cuts: set[int], limit: int) -> None:
    """For any size of the attribute cache; counts, sums, and buckets are equal."""
    bounds = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    reader = attribute_reader(TRACE_KEYS, max_values_per_key=limit)
    read_together = [decode_spans(encode_spans(sent[first:last]), reader).spans for first, last in pairwise(bounds)]
    assert counted(read_together) == counted([span] for span in sent)
