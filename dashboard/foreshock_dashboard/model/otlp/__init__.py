"""Spans ↔ OTLP's bytes: the one place that knows how trace.proto lays out a span.

Reading a span whole costs far more than receiving it: nearly all of that is making Python values of attributes that
nobody looks at. So a span is read as far as it is searched and paired by, and its bytes are kept for the rest.
"""

from foreshock_dashboard.model.otlp.batch import SpanBatch
from foreshock_dashboard.model.otlp.malformed import MALFORMED, ORIGIN_MALFORMED
from foreshock_dashboard.model.otlp.picker import Pickers
from foreshock_dashboard.model.otlp.reading import (
    MAX_KNOWN,
    MAX_ORIGIN,
    MAX_SPAN,
    ORIGIN_TOO_LARGE,
    SPAN_TOO_LARGE,
    Read,
    read,
)
from foreshock_dashboard.model.otlp.values import attributes_of, searched
from foreshock_dashboard.model.otlp.writing import encode, encoded, joined

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
