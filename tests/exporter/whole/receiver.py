"""OTLP/HTTP receiver on loopback that may start late."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver:
    """Stores pushes. Its address is fixed from the start; it refuses connections until `open`."""

    def __init__(self) -> None:
        self._bodies: list[tuple[str, bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._bodies), bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.server_bind()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def open(self) -> None:
        """Answer from now on."""
        self._server.server_activate()
        self._thread.start()

    def close(self) -> None:
        """Answer no longer."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def readings(self) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
        """The points of the last push by name and attributes."""
        found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for body in self._of("/v1/metrics")[-1:]:
            for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                    data = metric.gauge if metric.WhichOneof("data") == "gauge" else metric.sum
                    found[metric.name] = {
                        frozenset(attributes(point.attributes).items()): point.as_double or float(point.as_int)
                        for point in data.data_points
                    }
        return found

    def spans(self) -> list[tuple[dict[str, str], Span]]:
        """All spans so far, each with the attributes of its resource."""
        return [
            (attributes(group.resource.attributes), span)
            for body in self._of("/v1/traces")
            for group in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def _of(self, path: str) -> list[bytes]:
        return [body for at, body in list(self._bodies) if at == path]


def attributes(pairs: object) -> dict[str, str]:
    """String attributes."""
    found: list[KeyValue] = list(pairs)  # type: ignore[call-overload] # a container of protobuf
    return {pair.key: pair.value.string_value for pair in found}


def _handler(bodies: list[tuple[str, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            bodies.append((self.path, gzip.decompress(body) if zipped else body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that ends with the test; to be opened."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
