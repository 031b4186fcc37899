"""Request heads and content negotiation."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.web.request import MAX_TARGET_BYTES, RefusedError, accepts_gzip, parse, wants_openmetrics
from foreshock_exporter.web.routes import requested_collectors

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;"
    "version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        (BROWSER, False),
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/openmetrics-text; version=0.0.1", False),
        ("application/openmetrics-text; version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.000, text/plain", False),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", False),
        ("application/openmetrics-text;q=0.5, text/plain;version=0.0.4;q=0.4", True),
        ("application/openmetrics-text;q=0.5, text/plain;version=1.0.0;q=0.9", True),
        ("application/openmetrics-text;q=2, text/plain;q=0.1", False),
        ("application/openmetrics-text;q=high", False),
        (",,;q=1,;", False),
    ],
)
def test_openmetrics_is_served_where_it_is_accepted_at_least_as_much(accept: str, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "compressed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("*", True),
        ("gzip;q=0.5", True),
        ("gzip;q=0.5, identity;q=0.4", True),
        ("", False),
        ("identity", False),
        ("br, zstd", False),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("*;q=0", False),
        ("gzip;q=0.4, identity;q=0.5", False),
        ("notgzip", False),
    ],
)
def test_an_answer_is_compressed_where_gzip_is_accepted(accept_encoding: str, compressed: bool) -> None:
    assert accepts_gzip(accept_encoding) is compressed


def test_a_request_is_read_as_it_was_sent() -> None:
    request = parse(b"GET /metrics?a=b HTTP/1.1\r\nHost: x\r\nACCEPT:text/plain\r\nAccept:  */* \r\nX-Empty:")
    assert (request.method, request.path, request.query) == ("GET", "/metrics", "a=b")
    assert request.headers == {"host": "x", "accept": "text/plain, */*", "x-empty": ""}


@pytest.mark.parametrize("target", ["http://node-1:10877/metrics", "HTTPS://node-1/metrics", "/metrics"])
def test_a_proxy_may_send_the_whole_address(target: str) -> None:
    assert parse(f"GET {target} HTTP/1.1".encode()).path == "/metrics"


@pytest.mark.parametrize(
    ("head", "keeps_alive"),
    [
        ("GET / HTTP/1.1", True),
        ("GET / HTTP/1.1\r\nConnection: keep-alive", True),
        ("GET / HTTP/1.1\r\nConnection: Upgrade, Close", False),
        ("GET / HTTP/1.0", False),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive", True),
        ("GET / HTTP/1.1\r\nContent-Length: 0", True),
        ("GET / HTTP/1.1\r\nContent-Length: 5", False),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked", False),
    ],
)
def test_a_connection_is_kept_alive_by_default(head: str, keeps_alive: bool) -> None:
    assert parse(head.encode()).keeps_alive is keeps_alive


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"GET /", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"G\x00T / HTTP/1.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET / HTTP/1.1\r\nno colon", 400),
        (b"GET / HTTP/1.1\r\n: empty", 400),
        (b"GET / HTTP/1.1\r\nName : x", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nA: b\nB: c", 400),
        (b"GET / HTTP/1.1\r\nA: \x00", 400),
        (b"PRI * HTTP/2.0", 505),
        (b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1", 414),
    ],
)
def test_a_malformed_request_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        parse(head)
    assert refused.value.status == HTTPStatus(status)


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: f"GET /{text} HTTP/1.1\r\n{text}".encode()))
def test_any_bytes_are_either_a_request_or_refused(head: bytes) -> None:
    try:
        request = parse(head)
    except RefusedError:
        return
    assert request.path


@given(st.text(max_size=100))
def test_no_header_breaks_the_negotiation(header: str) -> None:
    assert wants_openmetrics(header) in (True, False)
    assert accepts_gzip(header) in (True, False)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", None),
        ("a=b", None),
        ("collect[]=gpu", {"gpu"}),
        ("collect%5B%5D=gpu&collect[]=network&collect[]=gpu", {"gpu", "network"}),
        ("collect[]=", {""}),
    ],
)
def test_a_query_names_collectors_as_for_node_exporter(query: str, names: set[str] | None) -> None:
    assert requested_collectors(query) == names


def test_a_query_of_too_many_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 64 fields"):
        requested_collectors("&".join(["collect[]=gpu"] * 65))
