"""The fields of many spans, each as one column.

Messages of protobuf behind each other are one message, whose repeated fields have the values of all of them (protobuf's
documentation, "Encoding"). So spans are read together, as a message of which every field is repeated, and no object is
made for each. What is put behind each of them tells where its values end.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.model.otlp.light import LastOfSpan, SpanColumns

_Value = TypeVar("_Value", bytes, str, int)

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
    columns: list[Any] = [_each(getattr(read, column)[:], end, len(spans)) for column, end in _ENDS.items()]
    attributes = read.attributes[:]
    if None in columns or attributes.count(END) != len(spans):
        return None
    return Fields._make([*columns, attributes])


def _each(values: list[_Value], end: _Value, spans: int) -> list[_Value] | None:
    """The value of each span, behind which stands `end`; None where one has several, or an `end` of its own."""
    nothing = type(end)()
    first, second = values[::2], values[1::2]
    if len(first) == len(second) == spans and (
        second.count(end) == spans and end not in first if end else not any(second) and all(first)
    ):
        return first
    found = []
    last = nothing
    for value in values:
        if value == end:
            found.append(last)
            last = nothing
        elif last:
            return None
        else:
            last = value
    return found if len(found) == spans else None


def _plain(span: bytes) -> bytes:
    """A span whose fields are there once, if they say anything. Of several events or links the last tells of all, so
    all are looked at here."""
    OtlpSpan.FromString(span)
    read = LastOfSpan.FromString(span)
    read.DiscardUnknownFields()
    return bytes(read.SerializeToString())
