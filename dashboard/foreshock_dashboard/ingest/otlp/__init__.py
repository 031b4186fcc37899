"""Codec of OTLP spans: the one place that knows how trace.proto encodes a span.

Decoding a span completely costs far more than receiving it, mostly for attributes that are never read. So only what is
searched, paired and counted is decoded, and the bytes of the span are kept for the rest.

Imports: `model`.
"""

from foreshock_dashboard.ingest.otlp.attribute_reader import AttributeReader
from foreshock_dashboard.ingest.otlp.batch import SpanBatch
from foreshock_dashboard.ingest.otlp.decode import (
    MALFORMED,
    MAX_CACHED_MESSAGE_BYTES,
    MAX_ORIGIN_BYTES,
    MAX_SPAN_BYTES,
    ORIGIN_MALFORMED,
    ORIGIN_TOO_LARGE,
    SPAN_TOO_LARGE,
    DecodedSpans,
    decode_spans,
)
from foreshock_dashboard.ingest.otlp.encode import encode_each, encode_spans, join_spans
from foreshock_dashboard.ingest.otlp.values import attributes_of, search_text

__all__ = [
    "MALFORMED",
    "MAX_CACHED_MESSAGE_BYTES",
    "MAX_ORIGIN_BYTES",
    "MAX_SPAN_BYTES",
    "ORIGIN_MALFORMED",
    "ORIGIN_TOO_LARGE",
    "SPAN_TOO_LARGE",
    "AttributeReader",
    "DecodedSpans",
    "SpanBatch",
    "attributes_of",
    "decode_spans",
    "encode_each",
    "encode_spans",
    "join_spans",
    "search_text",
]
