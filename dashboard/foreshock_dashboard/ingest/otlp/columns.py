"""The fields of many spans, each as one column.

Messages of protobuf behind each other are one message, whose repeated fields have the values of all of them (protobuf's
documentation, "Encoding"). So spans are read together, as a message of which every field is repeated, and no object is
made for each. What is put behind each of them tells where its values end.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.otlp.messages import LastOfSpan, SpanColumns

END = secrets.token_bytes(16)
"""Stands behind the attributes of each span. A span that is cut off swallows it, and is found out by that; nobody
outside knows it, and so can put it anywhere else."""
_ENDS: dict[str, Any] = {
    "trace_ids": b"", "ids": b"", "parents": END[:8], "names": "", "kinds": 0, "starts": 0, "ends": 0, "events": b"",
    "links": b"", "statuses": END[:8],
}  # fmt: skip
"""What stands behind the values of each column: a nothing, but where there are senders that write one down themselves,
as OpenTelemetry's Collector does with parents and statuses."""
_BEHIND = SpanColumns(attributes=[END]).SerializeToString() + b"".join(
    SpanColumns(**{column: [end]}).SerializeToString() for column, end in _ENDS.items()
)


class Fields(NamedTuple):
    """Of each span its fields, or what stands for their absence: b"", "" or 0. Of several values the last holds, of
    several statuses all they say together.

    events, links: what is not empty says that there are some.
    attributes: the encoded KeyValues of all spans, with `END` behind those of each.
    """

    trace_ids: list[bytes]
    ids: list[bytes]
    parents: list[bytes]
    names: list[str]
    kinds: list[int]
    starts: list[int]
    ends: list[int]
    events: list[bytes]
    links: list[bytes]
    statuses: list[bytes]
    attributes: list[bytes]


def fields_of(spans: Sequence[bytes]) -> Fields:
    """The fields of encoded spans.

    Raises:
        DecodeError: one of them is malformed.
    """
    found = _fields(spans) or _fields([*map(_plain, spans)])
    if found is None:
        raise DecodeError("the spans' fields cannot be told apart")
    return found


def _fields(spans: Sequence[bytes]) -> Fields | None:
    """None where a span is cut off, or has a field twice, or one that says nothing."""
    read = SpanColumns.FromString(_BEHIND.join((*spans, b"")))
    attributes = read.attributes[:]
    if attributes.count(END) != len(spans):
        return None
    columns: list[Any] = [_each(getattr(read, column), end, len(spans)) for column, end in _ENDS.items()]
    return None if None in columns else Fields._make([*columns, attributes])


def _each(values: Sequence[Any], end: Any, spans: int) -> list[Any] | None:  # noqa: ANN401 - bytes, str or int, all of them
    """The value of each span, behind which stands `end`, as many times as there are spans; None where one has several,
    or an `end` of its own."""
    nothing = type(end)()
    if len(values) == spans:  # so these are the ends
        return [nothing] * spans
    if len(values) == 2 * spans:
        first = list(values[::2])
        if all(first) if end == nothing else end not in first:  # so the others are the ends
            return first
    coming = list(values)
    last = [before for before, value in zip([end, *coming], coming, strict=False) if value == end]
    alone = last.count(end) + len(coming) == 2 * spans  # as many values as there are spans that have one
    return [value if value != end else nothing for value in last] if alone else None


def _plain(span: bytes) -> bytes:
    """A span whose fields are there once, if they say anything. Of several events or links the last tells of all, so
    all are looked at here."""
    OtlpSpan.FromString(span)
    read = LastOfSpan.FromString(span)
    read.DiscardUnknownFields()
    return bytes(read.SerializeToString())
