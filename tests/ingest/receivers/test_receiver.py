"""What both OTLP listeners share: limits of a request, its refusals and their log, and what a sender gets to know."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no type marker
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # it ships no type marker
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.ingest.receivers.listeners import EXPORT

from foreshock_dashboard.sources.otlp.admission import MAX_PENDING_BYTES, MAX_REQUEST_BYTES, Admission
from foreshock_dashboard.sources.otlp.codec import decode_groups, decode_json, encode_status
from foreshock_dashboard.sources.otlp.grpc import GrpcListener
from foreshock_dashboard.sources.otlp.receiver import (
    JSON_SIZE_FACTOR,
    LOG_INTERVAL_SECONDS,
    PENDING_PER_JSON_VALUE,
    Receiver,
    Refusal,
    RefusedError,
)

Make = Callable[..., ExportTraceServiceRequest]
LIMIT = 1000


@pytest.fixture
def receiver() -> Receiver:
    """A receiver of requests of at most `LIMIT` bytes."""
    return Receiver(accept=lambda _: None, max_bytes=LIMIT, retry_after=lambda: 2.5)


def refusal(call: Callable[[], object]) -> RefusedError:
    """The refusal that a call raises."""
    with pytest.raises(RefusedError) as caught:
        call()
    return caught.value


def test_a_request_has_at_most_the_limit_announced_and_received(receiver: Receiver) -> None:
    with receiver.request() as request:
        request.expect(LIMIT)
        assert refusal(lambda: request.expect(LIMIT + 1)).refusal is Refusal.TOO_LARGE
        request.hold(LIMIT - 1)
        request.hold(1)
        assert (request.held, receiver.stats().pending_bytes) == (LIMIT, LIMIT)
        assert (
            str(refusal(lambda: request.hold(1))) == f"the request is larger than {LIMIT} bytes; send smaller batches"
        )
    assert receiver.stats().pending_bytes == 0


def test_decompressed_bytes_are_pending_too_and_have_the_same_limit(otlp_request: Make) -> None:
    body: bytes = otlp_request(1, padding=5000).SerializeToString()
    pending: list[int] = []
    admission = Admission()
    receiver = Receiver(
        accept=lambda _: pending.append(admission.pending_bytes), admission=admission, max_bytes=len(body)
    )
    with receiver.request() as request:
        compressed = gzip.compress(body)
        request.hold(len(compressed))
        assert request.handle(compressed, gzip=True) == b""
        assert pending == [len(compressed) + len(body)]
        assert refusal(lambda: request.handle(gzip.compress(body + b"\0"), gzip=True)).refusal is Refusal.TOO_LARGE
    assert receiver.stats().pending_bytes == 0


@pytest.mark.parametrize(
    ("pending", "limit"), [(MAX_PENDING_BYTES, MAX_REQUEST_BYTES), (4000, 3000), (MAX_REQUEST_BYTES, 48 << 20)]
)
def test_without_a_limit_a_request_has_that_of_large_ones(pending: int, limit: int) -> None:
    assert Receiver(accept=lambda _: None, admission=Admission(pending)).max_bytes == limit


def test_json_has_a_quarter_of_the_bytes(receiver: Receiver) -> None:
    """It is decoded as a whole."""
    most = LIMIT // JSON_SIZE_FACTOR
    assert receiver.ingest(b"{}".ljust(most), json=True) == b"{}"
    refused = refusal(lambda: receiver.ingest(b"{}".ljust(most + 1), json=True))
    assert refused.refusal is Refusal.TOO_LARGE
    assert str(refused) == f"JSON of more than {most} bytes; send smaller batches, or protobuf"
    assert receiver.stats().requests == 1


def test_json_has_a_limit_of_values() -> None:
    """Counted by the characters that begin them."""
    most = 10
    receiver = Receiver(accept=lambda _: None, admission=Admission(most * PENDING_PER_JSON_VALUE), max_bytes=10_000)
    body = b'{"a": [%s]}'
    assert receiver.ingest(body % b",".join([b"1"] * (most - 1)), json=True) == b"{}"
    refused = refusal(lambda: receiver.ingest(body % b",".join([b"1"] * most), json=True))
    assert str(refused) == f"JSON of more than {most} values; send smaller batches, or protobuf"


@pytest.mark.parametrize(
    ("trace_id", "hint"),
    [("zz", "spans rejected: invalid trace_id (1); ids in OTLP's JSON are hex digits"), ("01" * 16, "")],
)
def test_a_sender_of_json_with_ids_in_base64_learns_of_hex(receiver: Receiver, trace_id: str, hint: str) -> None:
    span = {"traceId": trace_id, "spanId": "01" * 8, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    answer = json.loads(receiver.ingest(body, json=True))
    assert answer.get("partialSuccess", {}).get("errorMessage", "") == hint


def test_the_message_names_each_reason_and_its_spans(otlp_request: Make) -> None:
    """Sorted, in protobuf without the hint."""
    receiver = Receiver(accept=lambda _: None)
    body = otlp_request(4)
    spans = body.resource_spans[0].scope_spans[0].spans
    spans[0].span_id = spans[1].span_id = spans[2].trace_id = b""
    partial = ExportTraceServiceResponse.FromString(
        receiver.ingest(body.SerializeToString(), json=False)
    ).partial_success
    assert partial.rejected_spans == 3
    assert partial.error_message == "spans rejected: invalid span_id (2), invalid trace_id (1)"
    stats = receiver.stats()
    assert (stats.requests, stats.spans, stats.rejected) == (1, 1, {"invalid span_id": 2, "invalid trace_id": 1})


@pytest.mark.parametrize(
    ("authorization", "problem"), [("", "has no bearer token"), ("Bearer x", "has no right bearer token")]
)
def test_a_sender_without_the_token_learns_what_to_send(authorization: str, problem: str) -> None:
    receiver = Receiver(accept=lambda _: None, allows=lambda given: given == "Bearer right")
    receiver.authorize("Bearer right")
    refused = refusal(lambda: receiver.authorize(authorization))
    assert refused.refusal is Refusal.UNAUTHENTICATED
    assert str(refused) == f"the request {problem}; send Authorization: Bearer TOKEN"
    Receiver(accept=lambda _: None).authorize(authorization)


def test_each_kind_of_refusal_is_logged_once_a_minute_and_always_counted(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = [5.0]
    monkeypatch.setattr("foreshock_dashboard.sources.otlp.receiver.time.monotonic", lambda: seconds[0])
    for at, kind in (
        (5.0, Refusal.TIMEOUT),
        (6.0, Refusal.TIMEOUT),
        (6.0, Refusal.CROWDED),
        (5.0 + LOG_INTERVAL_SECONDS, Refusal.TIMEOUT),
    ):
        seconds[0] = at
        receiver.record_refusal(RefusedError(kind, f"at {at:g}"))
    assert caplog.messages == [
        "OTLP request refused with 408: at 5",
        "OTLP request refused: at 6",
        f"OTLP request refused with 408: at {5 + LOG_INTERVAL_SECONDS:g}",
    ]
    assert receiver.stats().refused == {"timeout": 3, "crowded": 1}


@pytest.mark.parametrize("json_", [False, True])
def test_an_error_of_the_hub_is_logged_with_its_traceback_and_a_sender_s_is_not(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, json_: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(receiver, "_parts", fail)
    for body in (b"{}", b"{}"):
        with (
            pytest.raises(RefusedError, match="the request could not be read: KeyError: 'bug'"),
            receiver.request() as request,
        ):
            request.handle(body, json=json_)
    [logged] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert logged.exc_info is not None
    assert isinstance(logged.exc_info[1], KeyError)
    caplog.clear()
    receiver.record_refusal(RefusedError(Refusal.MALFORMED, "x"))
    assert not caplog.records[0].exc_info
    assert receiver.stats().refused == {"internal": 2, "malformed": 1}
    assert receiver.stats().requests == 0


def test_a_refusal_of_the_store_keeps_its_kind_and_another_failure_asks_to_retry(otlp_request: Make) -> None:
    errors: list[Exception] = [RefusedError(Refusal.READ_ONLY, "the past"), OSError("no space")]

    def accept(_: object) -> None:
        raise errors.pop(0)

    receiver = Receiver(accept=accept, retry_after=lambda: 2.5)
    body = otlp_request(1).SerializeToString()
    found = [refusal(lambda: receiver.ingest(body, json=False)) for _ in range(2)]
    assert [(one.refusal, str(one), one.retry_after) for one in found] == [
        (Refusal.READ_ONLY, "the past", None),
        (Refusal.UNAVAILABLE, "the spans could not be stored: no space; send again", 2.5),
    ]
    assert (receiver.stats().spans, receiver.stats().requests) == (0, 0)


def test_without_spans_nothing_is_stored() -> None:
    """An empty batch costs the store no transaction."""
    stored: list[object] = []
    receiver = Receiver(accept=stored.append)
    assert receiver.ingest(b"", json=False) == b""
    assert stored == []


def test_senders_retry_at_different_times() -> None:
    """Between 1 and 5 s, so that a restart does not make all of them come at once."""
    receiver = Receiver(accept=lambda _: None)
    delays = [receiver.overloaded().retry_after or 0.0 for _ in range(200)]
    assert min(delays) >= 1
    assert max(delays) <= 5
    assert len({*delays}) > 100


@pytest.mark.parametrize("delay", [None, 0.0, 1.0, 2.25])
def test_a_status_has_the_delay_of_a_retry(delay: float | None) -> None:
    status = RpcStatus.FromString(encode_status(8, "why", delay, json=False))
    assert (status.code, status.message, len(status.details)) == (8, "why", int(delay is not None))
    if delay is not None:
        info = RetryInfo()
        assert status.details[0].Unpack(info)
        assert info.retry_delay.seconds + info.retry_delay.nanos / 1e9 == delay
    as_json = json.loads(encode_status(8, "why", delay, json=True))
    assert (as_json["code"], as_json["message"]) == (8, "why")


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))
def test_ids_of_a_trace_store_may_be_hex_or_base64(trace: bytes, identity: bytes) -> None:
    """OTLP's are hex; those of some versions of Tempo are protobuf's base64."""
    trace, identity = b"\1" + trace[1:], b"\1" + identity[1:]
    for encode in (bytes.hex, lambda data: base64.b64encode(data).decode()):
        span = {"traceId": encode(trace), "spanId": encode(identity), "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
        decoded = decode_groups([{"scopeSpans": [{"spans": [span]}]}])
        assert [(span.trace_id, span.span_id) for span in decoded.spans] == [(trace.hex(), identity.hex())]


def test_an_id_with_other_characters_is_neither_hex_nor_base64() -> None:
    span = {"traceId": "*" + base64.b64encode(b"\1" * 16).decode(), "spanId": "01" * 8}
    decoded = decode_groups([{"scopeSpans": [{"spans": [span]}]}])
    assert (len(decoded.spans), decoded.rejected) == (0, 1)


@pytest.mark.parametrize("identity", ["", "zz", "0g" * 16, "AQEBAQEBAQEBAQEBAQEBAQ==", 7, [], "01" * 15])
def test_an_id_that_is_no_hex_costs_its_span_alone(identity: object) -> None:
    good = {"traceId": "01" * 16, "spanId": "01" * 8, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    spans = [good, good | {"traceId": identity}, good | {"spanId": "02" * 8}]
    decoded = decode_json(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode())
    assert [span.span_id for span in decoded.spans] == ["01" * 8, "02" * 8]
    assert (decoded.rejected, sum(decoded.reasons.values())) == (1, 1)


def test_invalid_parts_of_json_are_counted_by_their_spans() -> None:
    """A span that is none, a scope, and a resource; the rest of the request is kept."""
    good = {"traceId": "01" * 16, "spanId": "01" * 8, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    groups = [
        {"scopeSpans": [{"spans": [good, good | {"name": 7}, good | {"kind": []}]}, {"scope": 7, "spans": [good] * 2}]},
        {"resource": 7, "scopeSpans": [{"spans": [good] * 3}, {"spans": [good]}]},
        {"scopeSpans": [{"spans": [good | {"spanId": "02" * 8}]}]},
    ]
    decoded = decode_json(json.dumps({"resourceSpans": groups}).encode())
    assert [span.span_id for span in decoded.spans] == ["01" * 8, "02" * 8]
    assert decoded.rejected == 2 + 2 + 4


def test_a_message_that_does_not_come_is_refused_with_its_seconds() -> None:
    """A single sender has all of the time."""
    ended = threading.Event()

    def stalled() -> Iterator[bytes]:
        ended.wait(60)
        yield b""

    listening = GrpcListener(
        Receiver(accept=lambda _: None), "127.0.0.1", 0, body_seconds=0.3, contended_body_seconds=0.2
    )
    with closing(listening) as listener, grpc.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        begin: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(EXPORT)
        slow = begin.future(stalled())
        assert slow.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert slow.details() == "the message did not arrive within 0.3 s"
        ended.set()
