"""The exporter's HTTP server: read-only, a bounded number of connections at a time, every one with a deadline."""

from __future__ import annotations

import gzip
import html
import socket
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from foreshock_exporter.exporter import Exporter, version
from foreshock_exporter.log import log
from foreshock_exporter.text import CONTENT_TYPE

MAX_CONNECTIONS = 32
"""Connections answered at once; the next is told 503."""
TIMEOUT = 10.0
"""Seconds for which a client may be silent."""

_TEXT = "text/plain; charset=utf-8"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server:
    """A running server. `port` is the one it listens on, also where 0 was asked for."""

    def __init__(self, listener: _Listener) -> None:
        self._listener = listener
        self.port: int = listener.server_address[1]
        self._thread = threading.Thread(
            target=partial(listener.serve_forever, poll_interval=0.1), daemon=True, name="http"
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Answers on their way are not waited for."""
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()


def serve(exporter: Exporter, host: str, port: int, *, metrics_path: str = "/metrics") -> Server:
    """Serve an exporter. An empty `host` is every interface, IPv6 as well where the system has it; port 0 a free one.

    Raises:
        OSError: the address cannot be listened on.
    """
    return Server(_Listener(host, port, partial(_Handler, exporter, metrics_path)))


class _Listener(ThreadingMixIn, TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, handler: partial[_Handler]) -> None:
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__((host, port), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = _bound(host, port)
        self.server_address = self.socket.getsockname()
        self.server_activate()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        if not self._free.acquire(blocking=False):
            request.settimeout(0.1)
            try:
                request.sendall(_BUSY)
            except OSError:
                log.debug("a client beyond the limit of connections left before it was told")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - as socketserver has it
        """A client that went away is not worth a stack trace; anything else is."""
        log.debug("connection from %s ended early", client_address, exc_info=True)


def _bound(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            # A kernel may offer IPv6 and refuse its addresses; a taken port is refused again below.
            log.debug("listening on IPv4 alone: %s", error)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "foreshock-exporter"
    sys_version = ""
    timeout = TIMEOUT

    def __init__(self, exporter: Exporter, metrics_path: str, *connection: Any) -> None:  # noqa: ANN401 - socketserver's
        self._exporter = exporter
        self._metrics_path = metrics_path
        super().__init__(*connection)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == self._metrics_path:
            self._answer(HTTPStatus.OK, CONTENT_TYPE, self._exporter.render(), compress=True)
        elif path == "/healthz":
            self._answer(HTTPStatus.OK, _TEXT, b"ok\n")
        elif path == "/readyz":
            self._ready()
        elif path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", _page(self._metrics_path).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, f"Nothing here; metrics are at {self._metrics_path}\n".encode())

    do_HEAD = do_GET  # noqa: N815 - http.server's names

    def do_POST(self) -> None:
        self.close_connection = True  # the body is not read
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"Only GET and HEAD are answered here\n")

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - http.server's names

    def _ready(self) -> None:
        if self._exporter.ready():
            self._answer(HTTPStatus.OK, _TEXT, b"ready\n")
        else:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"not ready: the GPUs have not been sampled lately\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes, *, compress: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        if compress:
            self.send_header("Vary", "Accept-Encoding")
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                self.send_header("Content-Encoding", "gzip")
                body = gzip.compress(body, compresslevel=1, mtime=0)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as http.server has it
        log.debug("%s " + format, self.client_address[0], *arguments)


def _page(metrics_path: str) -> str:
    path = html.escape(metrics_path)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>foreshock-exporter</title>'
        f"<h1>foreshock-exporter</h1><p>Version {html.escape(version())}</p>"
        f'<ul><li><a href="{path}">Metrics</a><li><a href="/healthz">Alive</a><li><a href="/readyz">Ready</a></ul>\n'
    )
