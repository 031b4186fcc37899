"""Spans ↔ OTLP's bytes: the one place that knows how trace.proto lays out a span.

Reading a span whole costs far more than receiving it: nearly all of that is making Python values of attributes that
nobody looks at. So a span is read as far as it is searched and paired by, and its bytes are kept for the rest.

Imports: `model`.
"""

from foreshock_dashboard.ingest.otlp.attribute_filter import Pickers
from foreshock_dashboard.ingest.otlp.batch import SpanBatch
from foreshock_dashboard.ingest.otlp.decode import (
    MAX_KNOWN,
    MAX_ORIGIN,
    MAX_SPAN,
    ORIGIN_TOO_LARGE,
    SPAN_TOO_LARGE,
    Read,
    read,
)
from foreshock_dashboard.ingest.otlp.encode import encode, encoded, joined
from foreshock_dashboard.ingest.otlp.salvage import MALFORMED, ORIGIN_MALFORMED
from foreshock_dashboard.ingest.otlp.values import attributes_of, searched

__all__ = [
    "MALFORMED",
    "MAX_KNOWN",
    "MAX_ORIGIN",
    "MAX_SPAN",
    "ORIGIN_MALFORMED",
    "ORIGIN_TOO_LARGE",
    "SPAN_TOO_LARGE",
    "Pickers",
    "Read",
    "SpanBatch",
    "attributes_of",
    "encode",
    "encoded",
    "joined",
    "read",
    "searched",
]
