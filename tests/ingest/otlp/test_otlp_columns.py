"""Fields of spans decoded together equal those of each span decoded alone, for any bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.otlp.columns import SPAN_END, SpanFields, span_fields

LAST = {
    "trace_ids": "trace_id",
    "ids": "span_id",
    "parents": "parent_span_id",
    "names": "name",
    "kinds": "kind",
    "starts": "start_time_unix_nano",
    "ends": "end_time_unix_nano",
}
WHOLE = OtlpSpan(
    trace_id=b"t" * 16, span_id=b"s" * 8, parent_span_id=b"p" * 8, name="POST /x", kind=OtlpSpan.SPAN_KIND_SERVER,
    start_time_unix_nano=1 << 60, end_time_unix_nano=(1 << 60) + 7, attributes=[KeyValue(key="a"), KeyValue(key="b")],
    events=[OtlpSpan.Event(name="e")], links=[OtlpSpan.Link(trace_id=b"l" * 16)], trace_state="k=v",
).SerializeToString()  # fmt: skip
FIELDS = st.sampled_from(
    [
        *(b"\x0a\x00", b"\x0a\x02t1", b"\x0a\x02t2", b"\x12\x00", b"\x12\x01s", b"\x22\x00", b"\x22\x02p1"),
        *(b"\x2a\x00", b"\x2a\x02\xc3\xa9", b"\x2a\x01n", b"\x30\x00", b"\x30\x03", b"\x30\x63"),
        *(b"\x39" + bytes(8), b"\x39" + b"\1" * 8, b"\x41" + bytes(8), b"\x41" + b"\2" * 8),
        *(
            b"\x4a\x00",
            b"\x4a\x03\x0a\x01k",
            b"\x5a\x00",
            b"\x5a\x03\x12\x01e",
            b"\x6a\x00",
            b"\x7a\x00",
            b"\x7a\x02\x18\x02",
        ),
        *(b"\x1a\x01s", b"\x85\x01abcd", b"\xc2\x3e\x01x", b"\x0b\x10\x01\x0c", b"\x08\x07"),
    ]
)
"""Fields of a span, also such as say nothing, a group, and some that OTLP does not have."""


def alone(span: bytes) -> dict[str, object]:
    """What OpenTelemetry's own type reads of it; raises DecodeError."""
    read = OtlpSpan.FromString(span)
    return {
        **{column: getattr(read, field) for column, field in LAST.items()},
        "attributes": [*read.attributes],
        "status": read.status,
    }


def together(spans: Sequence[bytes]) -> list[dict[str, object]]:
    """The same of all."""
    fields = span_fields(spans)
    of_each: list[list[bytes]] = [[]]
    for pair in fields.attributes:
        if pair == SPAN_END:
            of_each.append([])
        else:
            of_each[-1].append(pair)
    assert of_each.pop() == []
    return [
        {
            **{column: fields[SpanFields._fields.index(column)][row] for column in LAST},
            "attributes": [*map(KeyValue.FromString, pairs)],
            "status": OtlpSpan.FromString(b"\x7a" + bytes([len(fields.statuses[row])]) + fields.statuses[row]).status,
        }
        for row, pairs in enumerate(of_each)
    ]


@given(st.lists(st.lists(FIELDS, max_size=12).map(b"".join), max_size=5))
def test_fields_that_are_missing_doubled_or_empty_stay_with_their_span(spans: list[bytes]) -> None:
    """Of several values the last holds, also an empty one (protobuf, "Last One Wins")."""
    assert together(spans) == [*map(alone, spans)]


@given(st.lists(st.lists(FIELDS, max_size=12).map(b"".join), min_size=1, max_size=5))
def test_events_and_links_are_seen_where_they_are(spans: list[bytes]) -> None:
    """An empty one behind them may be overlooked: it has nothing to be read, and those before it were looked at."""
    fields = span_fields(spans)
    for span, event, link in zip(spans, fields.events, fields.links, strict=True):
        read = OtlpSpan.FromString(span)
        assert bool(event) <= bool(read.events)
        assert bool(link) <= bool(read.links)
        assert bool(event) >= bool(read.events and read.events[-1].ByteSize())


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_span_that_is_cut_off_takes_nothing_from_the_next_one(cut: int) -> None:
    """It is malformed, or it ends where one of its fields does."""
    spans = [WHOLE, WHOLE[:cut], WHOLE]
    try:
        expected = [*map(alone, spans)]
    except DecodeError:
        with pytest.raises(DecodeError):
            span_fields(spans)
    else:
        assert together(spans) == expected


@pytest.mark.parametrize("behind", [b"", WHOLE])
@pytest.mark.parametrize("tag", [b"\x0a", b"\x2a", b"\x4a", b"\x7a", b"\xc2\x3e"])
def test_a_field_that_reaches_beyond_its_span_is_malformed(tag: bytes, behind: bytes) -> None:
    """It may reach into the marker after the span, to its end, or into the next span."""
    for size in range(1, 128):
        with pytest.raises(DecodeError):
            span_fields([WHOLE + tag + bytes([size]), behind])
    with pytest.raises(DecodeError):
        span_fields([WHOLE + b"\x0b", b"\x0c" + behind])  # a group that the next span would end


@pytest.mark.parametrize("tag", [b"\x5a", b"\x6a"])
def test_an_empty_event_behind_a_malformed_one_does_not_hide_it(tag: bytes) -> None:
    """Nor an empty link: what is kept has to be readable as a whole."""
    malformed = tag + b"\x03\xff\xff\xff"
    with pytest.raises(DecodeError):
        span_fields([WHOLE, malformed + tag + b"\x00"])
    with pytest.raises(DecodeError):
        span_fields([tag + b"\x00" + malformed + tag + b"\x00", WHOLE])
