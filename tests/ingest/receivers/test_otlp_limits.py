"""docs/reference/otlp.md says what the receiver answers and where its limits are."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import grpc
import pytest

from foreshock_dashboard.common import gunzip, http_limits
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.ingest.otlp import decode, split
from foreshock_dashboard.ingest.span_metrics import counters, names, span_metrics
from foreshock_dashboard.model import span
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.otlp import admission, receiver
from foreshock_dashboard.sources.otlp import grpc as otlp_grpc
from foreshock_dashboard.sources.otlp import http as otlp_http
from foreshock_dashboard.sources.otlp.receiver import Refusal
from foreshock_dashboard.store import StoreLimits
from foreshock_dashboard.web.pages.traces import parameters

DOCUMENT = (Path(__file__).parents[3] / "docs" / "reference" / "otlp.md").read_text()
ROWS = [[cell.strip() for cell in row.split("|")] for row in re.findall(r"^\|(.*)\|$", DOCUMENT, re.MULTILINE)]
UNANSWERED = {Refusal.CANCELLED, Refusal.CROWDED}
OVER_HTTP_ALONE = {Refusal.NOT_FOUND, Refusal.METHOD, Refusal.CONTENT_TYPE, Refusal.MISDIRECTED}


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.name)
def test_every_refusal_is_documented_with_its_codes_and_its_reason(refusal: Refusal) -> None:
    (row,) = [row for row in ROWS if row[-1] == f"`{refusal.name.lower()}`"]
    http, rpc = (str(refusal.http) if refusal.http and refusal not in UNANSWERED else ""), ""
    if refusal not in UNANSWERED | OVER_HTTP_ALONE:
        rpc = f"`{next(code for code in grpc.StatusCode if code.value[0] == refusal.grpc).name}`"
    assert (row[1].partition(" ")[0], row[2].partition(" ")[0]) == (http, rpc)


def size(number: int) -> str:
    """As the document writes bytes."""
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"


def default(function: object, name: str) -> int:
    """The value of a parameter that is not given."""
    assert callable(function)
    return int(inspect.signature(function).parameters[name].default)


MEMORY = Memory(Settings().memory_limit)
SMALL = Memory(300 << 20)
RECEIVER = receiver.Receiver(accept=lambda _: None, admission=admission.Admission(MEMORY.request_bytes))
LIMITS = {
    "size, as sent": size(RECEIVER.max_bytes),
    "size of JSON": size(RECEIVER.max_bytes // receiver.JSON_SIZE_FACTOR),
    "number of objects": f"{RECEIVER.admission.max_pending_bytes // receiver.PENDING_PER_JSON_VALUE:,}",
    "size of a gRPC message": size(RECEIVER.admission.max_pending_bytes // otlp_grpc.MAX_RECEIVING),
    "spans, scopes, and resources": f"{split.MAX_FIELDS:,}",
    "gzip members": f"{gunzip.MAX_GZIP_MEMBERS:,}",
    "time to arrive": f"{otlp_http.BODY_SECONDS:g} s",
    "size": size(decode.MAX_SPAN_BYTES),
    "size of its resource": f"{size(decode.MAX_ORIGIN_BYTES)} each",
    "size of requests": size(RECEIVER.admission.max_pending_bytes),
    f"part of it for requests of more than {size(admission.SMALL_REQUEST_BYTES)}": size(
        RECEIVER.admission.max_large_bytes
    ),
    "connections per port": f"a quarter of the process's limit for open files, at most {http_limits.MAX_CONNECTIONS:,}",
    "messages that gRPC receives": f"{otlp_grpc.MAX_RECEIVING}",
    "such messages per connection": f"{otlp_grpc.MAX_STREAMS_PER_CONNECTION}",
    "time of a connection": f"{otlp_http.IDLE_SECONDS:g} s",
    "time of a gRPC handshake": f"{otlp_grpc.HANDSHAKE_SECONDS:g} s",
    "characters in the name": f"{span.MAX_SERVICE_CHARS}",
    "characters in a label": f"{names.MAX_LABEL_CHARACTERS}",
    "span names of one service": f"{counters.MAX_SPAN_NAMES}",
    "series derived from spans": f"{default(span_metrics.SpanMetrics, 'max_series'):,} "
    f"({SMALL.span_series:,} at a memory limit of 300 MiB)",
    "span IDs that wait": f"{default(span_metrics.SpanMetrics, 'max_items'):,} ({SMALL.pending_spans:,} at 300 MiB)",
    "spans of one trace that are read": f"{StoreLimits().max_trace_spans:,}",
    "spans of one trace in one API response": f"{parameters.MAX_SPANS:,}",
}
BOUNDS = (
    f"the size of a request is still limited to {size(admission.MAX_REQUEST_BYTES)}.",
    f"gRPC messages of at least {size(otlp_grpc.MIN_MESSAGE_BYTES)} are accepted.",
)


@pytest.mark.parametrize("what", LIMITS)
def test_every_limit_is_documented_as_it_is(what: str) -> None:
    assert [row[1] for row in ROWS if row[0] == what or (what != "size" and row[0].startswith(what))] == [LIMITS[what]]


@pytest.mark.parametrize("bound", BOUNDS)
def test_the_bounds_of_limits_that_follow_the_memory_limit_are_documented(bound: str) -> None:
    assert bound in " ".join(DOCUMENT.split())


def test_both_listeners_have_the_same_timeouts() -> None:
    assert (otlp_grpc.BODY_SECONDS, otlp_grpc.IDLE_SECONDS) == (otlp_http.BODY_SECONDS, otlp_http.IDLE_SECONDS)


@pytest.mark.parametrize(
    "reason",
    [
        *(decode._fault(*given, 2, 9) for given in (
            (b"", b"", b"", 1, 1, 0),
            (b"1" * 16, b"", b"", 1, 1, 0),
            (b"1" * 16, b"1" * 8, b"1", 1, 1, 0),
            (b"1" * 16, b"1" * 8, b"", 1, 1, decode.MAX_SPAN_BYTES + 1),
            (b"1" * 16, b"1" * 8, b"", 0, 1, 0),
            (b"1" * 16, b"1" * 8, b"", 1, 1, 0),
        )),
        decode.ORIGIN_TOO_LARGE,
        decode.ORIGIN_MALFORMED,
        "malformed span",
    ],
)  # fmt: skip
def test_every_reason_for_which_a_span_is_rejected_is_documented(reason: str) -> None:
    assert [row for row in ROWS if f"`{reason}`" in row[-1]]
