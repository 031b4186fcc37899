"""Malformed or expensive payloads are refused or read in bounded pieces; valid spans beside them are kept."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.common.gunzip import MAX_GZIP_MEMBERS, TooLargeError, gunzip, gunzip_chunks
from foreshock_dashboard.ingest.otlp import wire_format
from foreshock_dashboard.ingest.otlp.decode import MAX_ORIGIN_BYTES, MAX_SPAN_BYTES, decode_spans
from foreshock_dashboard.ingest.otlp.encode import encode_spans
from foreshock_dashboard.ingest.otlp.split import TooManyFieldsError, check_field_count, split_request
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.admission import MAX_PENDING_BYTES
from foreshock_dashboard.sources.otlp.receiver import PENDING_PER_JSON_VALUE, Receiver, Refusal, RefusedError

Make = Callable[..., ExportTraceServiceRequest]


# --- slices


@st.composite
def requests(draw: st.DrawFn) -> ExportTraceServiceRequest:
    """Several resources and scopes, empty ones among them, with spans of all sizes."""
    made = ExportTraceServiceRequest()
    number = 0
    for name in draw(st.lists(st.sampled_from(["", "web", "llm", "x" * 300]), max_size=4)):
        group = made.resource_spans.add(schema_url=draw(st.sampled_from(["", "https://example.org/1"])))
        group.resource.attributes.add(key="service.name").value.string_value = name
        for scope in draw(st.lists(st.sampled_from(["", "library"]), max_size=3)):
            scoped = group.scope_spans.add()
            scoped.scope.name = scope
            for padding in draw(st.lists(st.integers(0, 400), max_size=6)):
                number += 1
                span = scoped.spans.add(
                    trace_id=number.to_bytes(16, "big"),
                    span_id=number.to_bytes(8, "big"),
                    name="n" * padding,
                    start_time_unix_nano=1,
                    end_time_unix_nano=2,
                )
                if padding % 7 == 0:
                    span.span_id = b"bad"
    return made


@given(requests(), st.integers(1, 5), st.integers(1, 2000))
def test_a_request_in_slices_has_the_same_spans(made: ExportTraceServiceRequest, spans: int, size: int) -> None:
    """In the same order, with the same resource, scope, and reasons; every slice is within its limits."""
    data = made.SerializeToString()
    check_field_count(data)
    refused: Counter[str] = Counter()
    found: list[Span] = []
    for piece in split_request(data, refused, max_bytes=size, max_spans=spans):
        sizes = [len(span.SerializeToString()) for span in _spans(piece)]
        assert len(sizes) <= spans
        assert sum(sizes) <= size or len(sizes) == 1
        got = decode_spans(piece)
        found += got.spans
        refused.update(got.rejected)
    whole = decode_spans(data)
    assert found == list(whole.spans)
    assert [span.raw for span in found] == [span.raw for span in whole.spans]
    assert refused == Counter(whole.rejected)


def _spans(data: bytes) -> list[OtlpSpan]:
    request = ExportTraceServiceRequest.FromString(data)
    return [span for group in request.resource_spans for scoped in group.scope_spans for span in scoped.spans]


@given(st.binary(max_size=300), st.integers(0, 10_000), st.integers(0, 10_000))
def test_any_bytes_are_walked_or_malformed(otlp_request: Make, noise: bytes, cut: int, end: int) -> None:
    """Noise, a truncated request, and one with noise in its middle; a walked request can be read in slices."""
    good = otlp_request(3, padding=50).SerializeToString()
    at = cut % len(good)
    for data in (noise, good[: end % len(good)], good[:at] + noise + good[at + len(noise) :]):
        refused: Counter[str] = Counter()
        try:
            check_field_count(data)
        except DecodeError:
            continue
        for piece in split_request(data, refused):
            decode_spans(piece)


@pytest.mark.parametrize(
    "element", [b"\x0a\x00", b"\x12\x00", b"\x10\x01", b"\x15abcd", b"\x8a\x00\x00"],
    ids=["resource", "unknown bytes", "unknown number", "unknown float", "long tag"],
)  # fmt: skip
def test_a_request_of_too_many_fields_is_refused_before_it_is_read(
    element: bytes,
) -> None:
    """Protobuf takes a hundred times their bytes."""
    check_field_count(element * 1000, max_fields=1000)
    with pytest.raises(TooManyFieldsError, match="more than 1000 spans, scopes and resources"):
        check_field_count(element * 1001, max_fields=1000)


def test_a_too_large_part_of_a_large_request_is_rejected_alone(otlp_request: Make) -> None:
    """A span, a resource, a scope."""
    made = otlp_request(3)
    made.resource_spans[0].scope_spans[0].spans[1].name = "n" * MAX_SPAN_BYTES
    for holder in ("resource", "scope"):
        other = otlp_request(4).resource_spans[0]
        padded = other.resource if holder == "resource" else other.scope_spans[0].scope
        padded.attributes.add(key="x").value.string_value = "x" * MAX_ORIGIN_BYTES
        made.resource_spans.append(other)
    data = made.SerializeToString()
    refused: Counter[str] = Counter()
    kept = [span for piece in split_request(data, refused) for span in decode_spans(piece).spans]
    assert [int(span.span_id, 16) for span in kept] == [1, 3]
    reasons = {f"larger than {MAX_SPAN_BYTES} bytes": 1, f"resource or scope larger than {MAX_ORIGIN_BYTES} bytes": 8}
    assert refused == reasons
    whole = decode_spans(data)
    assert (list(whole.spans), whole.rejected) == (kept, reasons)


def test_a_large_resource_of_many_scopes_is_walked_and_stored_once(
    otlp_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a request of 1 MiB would cost as much as thousands."""
    made = otlp_request(1)
    made.resource_spans[0].resource.attributes.add(key="x").value.string_value = "x" * 50_000
    scope = made.resource_spans[0].scope_spans[0]
    for number in range(2_000):
        made.resource_spans[0].scope_spans.add(scope={"name": str(number)}).spans.extend(scope.spans)
    data = made.SerializeToString()
    numbers = 0
    varint = wire_format._varint

    def counted(data: memoryview, at: int) -> tuple[int, int]:
        nonlocal numbers
        numbers += 1
        return varint(data, at)

    monkeypatch.setattr(wire_format, "_varint", counted)
    pieces = list(split_request(data, Counter()))
    assert numbers < 20 * 2_000, "each field is read a few times"
    found = [span for piece in pieces for span in decode_spans(piece).spans]
    assert (len(found), {len(span.resource) for span in found}) == (2_001, {2})
    for kept in (b"".join(pieces), encode_spans(found)):
        assert len(kept) < 2 * len(data), "the resource is there once"


def test_a_resource_that_is_no_text_costs_its_own_spans_alone(otlp_request: Make) -> None:
    """One service of a Collector's batch has a name that is no UTF-8: the others are kept."""
    bad = otlp_request(2)
    bad.resource_spans[0].resource.attributes[0].value.string_value = "n@me"
    scope = otlp_request(3)
    scope.resource_spans[0].scope_spans[0].scope.name = "n@me"
    good = otlp_request(1).SerializeToString()
    data = good + (bad.SerializeToString() + scope.SerializeToString()).replace(b"n@me", b"n\xffme")
    found = decode_spans(data)
    assert (len(found.spans), found.rejected) == (1, {"malformed resource or scope": 5})


def test_a_malformed_resource_without_spans_makes_the_request_malformed(otlp_request: Make) -> None:
    """It has no span that could be counted as rejected."""
    bad = ExportTraceServiceRequest()
    bad.resource_spans.add().resource.attributes.add(key="n@me")
    with pytest.raises(DecodeError):
        decode_spans(otlp_request(1).SerializeToString() + bad.SerializeToString().replace(b"n@me", b"n\xffme"))


def test_large_resources_are_not_cached() -> None:
    """A thousand of them would stay in memory."""
    from foreshock_dashboard.ingest.otlp import decode as otlp

    before = otlp._resource.cache.cache_info().currsize
    for number in range(10):
        made = ExportTraceServiceRequest()
        group = made.resource_spans.add()
        service = str(number) + "x" * otlp.MAX_CACHED_MESSAGE_BYTES
        group.resource.attributes.add(key="service.name").value.string_value = service
        group.scope_spans.add().spans.add(
            trace_id=b"\x01" * 16, span_id=b"\x01" * 8, start_time_unix_nano=1, end_time_unix_nano=2
        )
        (span,) = decode_spans(made.SerializeToString()).spans
        assert len(span.service.name) == 512, "what is long is cut where it is kept"
    assert otlp._resource.cache.cache_info().currsize == before


# --- JSON


def refusal_of(body: bytes, max_bytes: int) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        Receiver(accept=lambda _: None, max_bytes=max_bytes).ingest(body, json=True)
    return refused.value


def test_expensive_json_is_refused_before_it_is_decoded() -> None:
    """By bytes and by number of values: `[]` takes twenty times its length in memory."""
    large = refusal_of(b'{"a": "%s"}' % (b"x" * 1000), 4000)
    assert (large.refusal, large.message) == (
        Refusal.TOO_LARGE, "JSON of more than 1000 bytes; send smaller batches, or protobuf"
    )  # fmt: skip
    most = MAX_PENDING_BYTES // PENDING_PER_JSON_VALUE
    many = refusal_of(b'{"a":[' + b"[]," * (most // 2) + b"[]]}", 1 << 30)
    assert (many.refusal, many.message) == (
        Refusal.TOO_LARGE, f"JSON of more than {most} values; send smaller batches, or protobuf"
    )  # fmt: skip


# --- gzip


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(0, 300))
def test_gzip_members_are_joined_and_bounded(members: list[bytes], limit: int) -> None:
    """At the limit and beyond it."""
    data, whole = b"".join(map(gzip.compress, members)), b"".join(members)
    if len(whole) > limit:
        with pytest.raises(TooLargeError, match=f"more than {limit} bytes"):
            gunzip(data, limit)
    else:
        assert gunzip(data, limit) == whole
    for cut in range(1, 9):
        with pytest.raises(ValueError, match="not gzip"):
            gunzip(data[:-cut] or b"\x1f", 1 << 20)


@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
def test_a_bomb_is_stopped_at_the_limit(size: int) -> None:
    """Whatever the compression ratio."""
    bomb = gzip.compress(bytes(20 << 20))
    made: list[int] = []
    with pytest.raises(TooLargeError):
        made.extend(map(len, gunzip_chunks(bomb, size)))
    assert sum(made) <= size


def test_a_body_of_very_many_members_is_refused() -> None:
    """Each member copies the rest, so many take quadratic time."""
    empty = gzip.compress(b"")
    assert gunzip(empty * MAX_GZIP_MEMBERS, 1) == b""
    with pytest.raises(ValueError, match=f"more than {MAX_GZIP_MEMBERS} gzip members"):
        gunzip(empty * 1_000_000, 1)
