"""Attributes read from bytes equal fully decoded ones, whatever the cache holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from foreshock_dashboard.ingest.otlp.attribute_reader import AttributeReader
from foreshock_dashboard.ingest.otlp.decode import decode_spans
from foreshock_dashboard.ingest.otlp.values import attributes_of, search_text

LONG = "long." * 30
SEARCHED, CALLS, TRIGGERS, TRIGGERED = ("a", "b", LONG), ("url",), ("tokens",), ("model",)
KEYS = (*SEARCHED, *CALLS, *TRIGGERS, *TRIGGERED, "", "other")
VALUES = (
    st.builds(AnyValue, string_value=st.sampled_from(("", "x", "é", "y" * 600)) | st.text(max_size=5))
    | st.builds(AnyValue, int_value=st.integers(-3, 3))
    | st.builds(AnyValue, bool_value=st.booleans())
    | st.just(AnyValue())
)
SPANS = st.lists(
    st.tuples(st.sampled_from((2, 3)), st.lists(st.builds(KeyValue, key=st.sampled_from(KEYS), value=VALUES))),
    max_size=6,
)


def request(spans: Sequence[tuple[int, list[KeyValue]]]) -> bytes:
    """A TracesData of spans of these kinds with these attributes."""
    data = TracesData()
    made = data.resource_spans.add().scope_spans.add().spans
    for number, (kind, attributes) in enumerate(spans, 1):
        made.append(
            OtlpSpan(
                trace_id=bytes(15) + b"\1",
                span_id=number.to_bytes(8, "big"),
                kind=kind,  # type: ignore[arg-type]  # an enum's number
                start_time_unix_nano=1,
                end_time_unix_nano=2,
                attributes=attributes,
            )
        )
    return data.SerializeToString()


@pytest.mark.parametrize("limit", [1, 3, 10_000])
@given(requests=st.lists(SPANS, min_size=1, max_size=4))
def test_the_attribute_cache_does_not_change_results(
    limit: int, requests: list[list[tuple[int, list[KeyValue]]]]
) -> None:
    """The first value of a key is used, search texts are cut, and only the attributes needed for a kind are read."""
    reader = AttributeReader(SEARCHED, CALLS, TRIGGERS, TRIGGERED, max_cached=2 * limit, max_values_per_key=limit)
    for spans in requests:
        batch = decode_spans(request(spans), reader).spans
        for row, (kind, pairs) in enumerate(spans):
            whole = attributes_of(pairs)
            own = {key: batch.search_columns.texts[codes[row]] for key, codes in batch.search_columns.columns.items()}
            texts = {key: search_text(whole[key]) for key in SEARCHED if whole.get(key) is not None}
            assert {key: text for key, text in own.items() if text is not None} == texts
            needed = {*SEARCHED, *TRIGGERS, *TRIGGERED, *(CALLS if kind == 3 else ())}
            is_read = kind == 3 or not whole.keys().isdisjoint(TRIGGERS)
            found = {key: value for key, value in batch.outlines.attributes[row].items() if key in KEYS and key}
            assert found == ({key: whole[key] for key in needed & whole.keys()} if is_read else {})


def test_a_text_that_is_not_utf_8_is_rejected_also_for_a_key_with_many_values() -> None:
    """It is rejected alone, although the next text begins with the missing bytes."""
    reader = AttributeReader("a", max_values_per_key=1)
    for text in ("xy", "yz", "zx"):
        decode_spans(request([(2, [KeyValue(key="a", value=AnyValue(string_value=text))])]), reader)
    sound = request([(2, [KeyValue(key="a", value=AnyValue(string_value=text))]) for text in ("o1", "o2", "o3")])
    found = decode_spans(sound.replace(b"o1", b"o\xc3").replace(b"o2", b"\xa9o"), reader)
    assert found.rejected == {"malformed span": 2}
    assert [found.spans.search_columns.texts[code] for code in found.spans.search_columns.columns["a"]] == ["o3"]


def test_a_value_before_its_key_is_decoded() -> None:
    """No known sender writes it, but protobuf allows it (protobuf.dev, "Encoding")."""
    backwards = b"\x12\x03\x0a\x01x" + b"\x0a\x01a"
    assert KeyValue.FromString(backwards) == KeyValue(key="a", value=AnyValue(string_value="x"))
    span = OtlpSpan(trace_id=b"1" * 16, span_id=b"2" * 8, start_time_unix_nano=1, end_time_unix_nano=2)
    raw = span.SerializeToString() + b"\x4a" + bytes([len(backwards)]) + backwards
    scoped = b"\x12" + bytes([len(raw)]) + raw
    group = b"\x12" + bytes([len(scoped)]) + scoped
    reader = AttributeReader("a")
    for _ in range(2):
        found = decode_spans(b"\x0a" + bytes([len(group)]) + group, reader).spans.search_columns
        assert [found.texts[code] for code in found.columns["a"]] == ["x"]
