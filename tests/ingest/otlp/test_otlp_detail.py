"""Rarely used fields of a span are stored as sent, and decoded when a trace is viewed."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from tests.ingest.full_span import full_request

from foreshock_dashboard.ingest.otlp.decode import MAX_ORIGIN_BYTES, ORIGIN_TOO_LARGE
from foreshock_dashboard.ingest.otlp.detail import SentSpan, sent_span
from foreshock_dashboard.ingest.otlp.split import split_request
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.codec import decode
from foreshock_dashboard.store import Store, StoreLimits

T0 = 1_790_000_000
START = T0 * 10**9

SENT = full_request(START).resource_spans[0]
EXPECTED = SentSpan(
    SENT.scope_spans[0].spans[0],
    SENT.scope_spans[0].scope,
    SENT.resource,
    scope_schema_url="urn:scope",
    resource_schema_url="https://opentelemetry.io/schemas/1.30.0",
)


def test_all_fields_of_a_span_are_stored_as_sent(tmp_path: Path) -> None:
    """From the request, from memory, and from a segment."""
    (span,) = decode(full_request(START).SerializeToString()).spans
    assert sent_span(span) == EXPECTED
    limits = StoreLimits(block_bytes=1, duckdb_threads=1)
    with closing(Store.open(tmp_path / "store", now=lambda: float(T0), limits=limits)) as store:
        store.append_spans([span])
        for _ in range(2):
            assert [sent_span(each) for each in store.get(span.trace_id)] == [EXPECTED]
            store.maintain()


def test_a_large_request_that_is_read_in_slices_keeps_it_too() -> None:
    """They are cut below what all of their spans share."""
    (cut,) = split_request(full_request(START).SerializeToString(), Counter())
    (span,) = decode(cut).spans
    assert sent_span(span) == EXPECTED


@pytest.mark.parametrize("sliced", [False, True])
def test_a_schemas_address_is_bounded_as_a_resource_is(*, sliced: bool) -> None:
    """It is kept again and again, too."""
    made = full_request(START)
    made.resource_spans[0].schema_url = "x" * (MAX_ORIGIN_BYTES + 1)
    refused: Counter[str] = Counter()
    if sliced:
        assert list(split_request(made.SerializeToString(), refused)) == []
    else:
        refused.update(decode(made.SerializeToString()).reasons)
    assert refused == {ORIGIN_TOO_LARGE: 1}


def test_a_span_that_was_not_received_has_its_own_fields_alone() -> None:
    """No more than `Span` has."""
    (span,) = decode(full_request(START).SerializeToString()).spans
    made = Span(
        **{name: getattr(span, name) for name in ("trace_id", "span_id", "parent_id", "name", "kind", "start_ns")},
        end_ns=START + 1, status="unset", status_message="", resource={}, attributes={}, events=span.events,
    )  # fmt: skip
    sent = sent_span(replace(made))
    assert (sent.span.start_time_unix_nano, sent.span.end_time_unix_nano) == (START, START + 1)
    assert [event.dropped_attributes_count for event in sent.span.events] == [0, 0]
    assert sent[1:] == (InstrumentationScope(), Resource(), "", "")
