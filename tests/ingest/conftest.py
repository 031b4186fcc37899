"""Spans, OTLP requests and loopback servers for the tests of what enters the hub."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from foreshock_dashboard.model.span import AttributeValue, Kind, Link, Span, Status

NOW = 1_800_000_000.0


@pytest.fixture
def now() -> float:
    """The instant at which the tests' spans arrive, in Unix seconds."""
    return NOW


@pytest.fixture(scope="session")
def span() -> Callable[..., Span]:
    """Make a span from what matters to a test; `id`, `parent` and `trace` are small numbers."""

    def make(
        kind: Kind,
        service: str,
        id: int,  # noqa: A002 the word that reads best in a test
        parent: int = 0,
        *,
        trace: int = 1,
        name: str = "GET",
        seconds: float = 0.1,
        end: float = NOW,
        status: Status = "unset",
        attributes: Mapping[str, AttributeValue] | None = None,
        links: tuple[int, ...] = (),
    ) -> Span:
        namespace, _, plain = service.rpartition("/")
        resource = {"service.name": plain} | ({"service.namespace": namespace} if namespace else {})
        end_ns = round(end * 1e9)
        return Span(
            trace_id=f"{trace:032x}",
            span_id=f"{id:016x}",
            parent_id=f"{parent:016x}" if parent else "",
            name=name,
            kind=kind,
            start_ns=end_ns - round(seconds * 1e9),
            end_ns=end_ns,
            status=status,
            status_message="",
            resource=resource,
            attributes=attributes or {},
            links=tuple(Link(f"{trace:032x}", f"{link:016x}", {}) for link in links),
        )

    return make


@pytest.fixture(scope="session")
def otlp_request() -> Callable[..., ExportTraceServiceRequest]:
    """Make an OTLP request with `count` SERVER spans; `break_span` may spoil the last one."""

    def make(
        count: int = 1, padding: int = 0, break_span: Mapping[str, bytes | int] | None = None
    ) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        name = group.resource.attributes.add(key="service.name")
        name.value.string_value = "checkout"
        spans = group.scope_spans.add().spans
        for number in range(1, count + 1):
            span = spans.add(
                trace_id=number.to_bytes(16, "big"),
                span_id=number.to_bytes(8, "big"),
                name="POST /pay",
                kind=2,
                start_time_unix_nano=round(NOW * 1e9),
                end_time_unix_nano=round(NOW * 1e9) + 1_000_000,
            )
            if padding:
                span.attributes.add(key="padding").value.string_value = "x" * padding
        for field_name, value in (break_span or {}).items():
            setattr(spans[-1], field_name, value)
        return request

    return make


@dataclass
class Page:
    """What a loopback server answers; change it while it runs. `hold` delays the end of the body until it is set."""

    body: str | bytes = ""
    status: int = 200
    content_type: str = "text/plain; version=0.0.4"
    compress: bool = False
    hold: threading.Event | None = None
    seen: list[Mapping[str, str]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def page() -> Iterator[Page]:
    """A real HTTP server on loopback that serves one page."""
    page = Page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page.seen.append(dict(self.headers))
            body = page.body.encode() if isinstance(page.body, str) else page.body
            body = gzip.compress(body) if page.compress else body
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(body)))
            if page.compress:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            if page.hold is not None:
                self.wfile.flush()
                page.hold.wait(30)
            self.wfile.write(body[len(body) // 2 :])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it so
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a scraper that hangs up is part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    page.url = f"http://127.0.0.1:{server.server_address[1]}/metrics"
    yield page
    if page.hold is not None:
        page.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()
