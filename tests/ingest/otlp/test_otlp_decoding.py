"""OTLP requests become spans; what is wrong with one span costs that span, what is wrong with the bytes is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status as OtlpStatus

from foreshock_dashboard.model.span import Event, Link
from foreshock_dashboard.sources.otlp.codec import DecodedRequest, MalformedError, decode, decode_json

Make = Callable[..., ExportTraceServiceRequest]


_IDS = {"traceId": "trace_id", "spanId": "span_id", "parentSpanId": "parent_span_id"}


def as_otlp_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """OTLP's JSON of a request: protobuf's, with hex ids and integer enums."""
    body: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    for group, group_json in zip(request.resource_spans, body.get("resourceSpans", []), strict=True):
        for scope, scope_json in zip(group.scope_spans, group_json.get("scopeSpans", []), strict=True):
            for span, span_json in zip(scope.spans, scope_json.get("spans", []), strict=True):
                _put_hex(span, span_json)
                for link, link_json in zip(span.links, span_json.get("links", []), strict=True):
                    _put_hex(link, link_json)
    return body


def _put_hex(message: Message, target: dict[str, Any]) -> None:
    for key, field in _IDS.items():
        if key in target:
            target[key] = getattr(message, field).hex().upper()


def test_a_span_arrives_whole(otlp_request: Make) -> None:
    """Every field that the rest of foreshock reads, of every type of attribute."""
    request = otlp_request(1)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.parent_span_id = b"\x00" * 7 + b"\x09"
    span.trace_state = "ot=th:8"
    span.status.CopyFrom(OtlpStatus(code=OtlpStatus.STATUS_CODE_ERROR, message="out of memory"))
    request.resource_spans[0].scope_spans[0].scope.name = "library"
    values = {
        "text": AnyValue(string_value="é"),
        "empty": AnyValue(string_value=""),
        "count": AnyValue(int_value=-5),
        "flag": AnyValue(bool_value=False),
        "share": AnyValue(double_value=0.5),
        "raw": AnyValue(bytes_value=b"\x00\xff"),
    }
    for key, value in values.items():
        span.attributes.add(key=key, value=value)
    span.attributes.add(key="count").value.int_value = 7
    span.attributes.add(key="nothing")
    span.attributes.add(key="list").value.array_value.values.add().int_value = 1
    span.attributes.add(key="map").value.kvlist_value.values.add(key="k").value.string_value = "v"
    span.events.add(time_unix_nano=5, name="exception").attributes.add(key="type").value.string_value = "OOM"
    span.links.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8)
    for decoded in (decode(request.SerializeToString()), decode_json(json.dumps(as_otlp_json(request)).encode())):
        (found,) = decoded.spans
        assert (found.trace_id, found.span_id, found.parent_id) == (f"{1:032x}", f"{1:016x}", f"{9:016x}")
        assert (found.name, found.kind, found.duration_ns, found.clamped) == ("POST /pay", "server", 1_000_000, False)
        assert (found.status, found.status_message) == ("error", "out of memory")
        assert (found.scope, found.trace_state) == ("library", "ot=th:8")
        assert found.service == ("", "checkout")
        assert found.attributes == {
            "text": "é",
            "empty": "",
            "count": -5,
            "flag": False,
            "share": 0.5,
            "raw": b"\x00\xff",
            "nothing": None,
            "list": [1],
            "map": {"k": "v"},
        }
        assert found.events == (Event(5, "exception", {"type": "OOM"}),)
        assert found.links == (Link("01" * 16, "02" * 8, {}),)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"trace_id": b""}, "invalid trace_id"),
        ({"trace_id": bytes(16)}, "invalid trace_id"),
        ({"trace_id": b"\x01" * 24}, "invalid trace_id"),
        ({"span_id": b"\x01" * 7}, "invalid span_id"),
        ({"span_id": bytes(8)}, "invalid span_id"),
        ({"parent_span_id": b"\x01"}, "invalid parent_span_id"),
        ({"start_time_unix_nano": 0}, "invalid time"),
        ({"end_time_unix_nano": 2**64 - 1}, "invalid time"),
    ],
)
def test_one_bad_span_costs_only_itself(otlp_request: Make, broken: Mapping[str, bytes | int], reason: str) -> None:
    """The others of its request are kept, and it is counted with its reason."""
    request = otlp_request(3, break_span=broken)
    for decoded in (decode(request.SerializeToString()), decode_json(json.dumps(as_otlp_json(request)).encode())):
        assert (len(decoded.spans), decoded.rejected, decoded.reasons) == (2, 1, {reason: 1})


def test_a_span_that_ends_before_it_starts_is_clamped(otlp_request: Make) -> None:
    """Its clock was set back: 0 s, marked, not refused."""
    (span,) = decode(otlp_request(1, break_span={"end_time_unix_nano": 1}).SerializeToString()).spans
    assert (span.duration_ns, span.clamped) == (0, True)


def test_a_parent_id_of_zeros_means_no_parent(otlp_request: Make) -> None:
    """Some senders write a root so."""
    (span,) = decode(otlp_request(1, break_span={"parent_span_id": bytes(8)}).SerializeToString()).spans
    assert span.parent_id == ""


def test_a_service_without_a_name_has_open_telemetry_s_name_for_it() -> None:
    """An empty resource is no reason to lose a span."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\x01" * 16, span_id=b"\x01" * 8, start_time_unix_nano=1, end_time_unix_nano=2
    )
    (span,) = decode(request.SerializeToString()).spans
    assert (span.service.name, span.kind) == ("unknown_service", "internal")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"resourceSpans": []},
        {"resourceSpans": [{"scopeSpans": [{"spans": []}]}]},
        {"someday": {"new": 1}, "resourceSpans": [{"later": 2}]},
    ],
)
def test_an_empty_request_is_fine_and_unknown_fields_are_ignored(body: dict[str, Any]) -> None:
    """Newer senders must not be refused."""
    assert decode_json(json.dumps(body).encode()) == DecodedRequest((), 0, {})
    assert decode(b"") == DecodedRequest((), 0, {})


@pytest.mark.parametrize("number", ["1800000000000000000", 1_800_000_000_000_000_000])
def test_json_numbers_of_64_bits_may_be_strings(number: str | int) -> None:
    """Both are allowed by protobuf's JSON mapping."""
    span = {"traceId": "0A" * 16, "spanId": "0b" * 8, "startTimeUnixNano": number, "endTimeUnixNano": number}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    (found,) = decode_json(json.dumps(body).encode()).spans
    assert (found.trace_id, found.start_ns) == ("0a" * 16, 1_800_000_000_000_000_000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff{}",
        b'{"resourceSpans": 1}',
        b'{"resourceSpans": [{"scopeSpans": "x"}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_json_that_is_not_a_request_is_malformed(body: bytes) -> None:
    """The message says so; nothing else happens."""
    with pytest.raises(MalformedError, match="not a JSON ExportTraceServiceRequest"):
        decode_json(body)


GOOD: dict[str, Any] = {"traceId": "ab" * 16, "spanId": "cd" * 8, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}


def nested(depth: int) -> dict[str, Any]:
    """A value within so many others."""
    value: dict[str, Any] = {"stringValue": "bottom"}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    return value


@pytest.mark.parametrize(
    "bad",
    [
        GOOD | {"name": 5},
        GOOD | {"startTimeUnixNano": "abc"},
        GOOD | {"attributes": [{"key": "n", "value": {"intValue": 2**70}}]},
        GOOD | {"attributes": [{"key": "n", "value": {"intValue": 1, "stringValue": "x"}}]},
        GOOD | {"links": [5]},
        GOOD | {"attributes": [{"key": "n", "value": nested(60)}]},
        5,
    ],
)
def test_a_span_in_json_that_cannot_be_read_is_rejected_alone(bad: object) -> None:
    """Whatever about it is wrong; a whole request that is refused would not be sent again."""
    body = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [GOOD, bad]}]}]}
    decoded = decode_json(json.dumps(body).encode())
    assert ([span.span_id for span in decoded.spans], decoded.reasons) == (["cd" * 8], {"malformed span": 1})


@pytest.mark.parametrize("holder", ["resource", "scope"])
def test_a_resource_or_scope_in_json_that_cannot_be_read_costs_its_own_spans(holder: str) -> None:
    """Those of others are kept."""
    group = {"scopeSpans": [{"spans": [GOOD] * 2}]}
    bad = json.loads(json.dumps(group))
    (bad if holder == "resource" else bad["scopeSpans"][0])[holder] = {"attributes": 5}
    decoded = decode_json(json.dumps({"resourceSpans": [bad, group]}).encode())
    assert (len(decoded.spans), decoded.reasons) == (2, {"malformed resource or scope": 2})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\udE00 tail", "\ufffd tail"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\\ud83d", "\\ud83d"),
        (r"\n\ud83d\"", '\n\ufffd"'),
    ],
)
def test_half_of_a_character_in_json_costs_that_character(written: str, read: str) -> None:
    """JavaScript writes it of a text that was cut; a backslash that is itself written stays."""
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [GOOD | {"name": "?", "\ud800": 1}, GOOD | {"name": "!"}]}]}]}
    text = json.dumps(body).replace("?", written)
    assert [span.name for span in decode_json(text.encode()).spans] == [read, "!"]


@pytest.mark.parametrize("body", [r'{"resourceSpans":"\ud800"}', r'{"\ud800', '{"a":"\ud800"}'])
def test_the_error_for_half_a_character_can_be_sent(body: str) -> None:
    """A refusal is an answer in UTF-8."""
    with pytest.raises(MalformedError) as refused:
        decode_json(body.encode(errors="surrogatepass"))
    assert str(refused.value).encode()


def test_null_in_json_stands_for_nothing() -> None:
    """As protobuf's mapping says: a span with a parent of null is a root."""
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [GOOD | {"parentSpanId": None, "links": None}]}]}]}
    (span,) = decode_json(json.dumps(body).encode()).spans
    assert span.parent_id == ""


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05ab", b"<html></html>", b'{"resourceSpans":[]}', b"\x0a\x02\x0a"])
def test_bytes_that_are_not_a_protobuf_request_are_malformed(body: bytes) -> None:
    """The message says so; nothing else happens."""
    with pytest.raises(MalformedError, match="not a protobuf ExportTraceServiceRequest"):
        decode(body)


@given(st.binary(max_size=300), st.integers(0, 10_000))
def test_any_bytes_are_decoded_or_malformed(otlp_request: Make, noise: bytes, cut: int) -> None:
    """Noise, and a good request with noise in its middle."""
    good = otlp_request(2).SerializeToString()
    at = cut % len(good)
    for payload in (noise, good[:at] + noise + good[at + len(noise) :]):
        for read in (decode, decode_json):
            try:
                decoded = read(payload)
            except MalformedError:
                continue
            assert all(span.end_ns >= span.start_ns and len(span.trace_id) == 32 for span in decoded.spans)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["traceId", "spanId", "parentSpanId", "name", "kind", "attributes", "links", "status", "flags"]
        ),
        json_values,
    )
)
def test_any_json_span_is_decoded_rejected_or_malformed(span: dict[str, Any]) -> None:
    """Values of the wrong type anywhere in a span."""
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    try:
        decoded = decode_json(json.dumps(body).encode())
    except MalformedError:
        return
    assert len(decoded.spans) + decoded.rejected == 1
