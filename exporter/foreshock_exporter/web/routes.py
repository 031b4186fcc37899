"""Responses by path: metrics in two formats, health endpoints, and a landing page."""

from __future__ import annotations

import gzip
import html
import threading
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs

from foreshock_exporter.exposition.text_format import CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE
from foreshock_exporter.web.connection import TEXT_PLAIN, Response
from foreshock_exporter.web.request import Request, accepts_gzip, wants_openmetrics

MAX_QUERY_FIELDS = 64
_VARY = ("Vary", "Accept, Accept-Encoding")


class MetricsSource(Protocol):
    """Source of metrics, such as `Exporter`. The message of a ValueError is sent to the client."""

    def render(self, openmetrics: bool = False, collectors: frozenset[str] | None = None) -> bytes: ...

    def ready(self) -> bool: ...


class Routes:
    """Request handlers. One thread at a time renders and compresses metrics."""

    def __init__(self, exporter: MetricsSource, metrics_path: str, version: str) -> None:
        self._exporter = exporter
        self._metrics_path = metrics_path
        self._page = landing_page(metrics_path, version).encode()
        self._render_lock = threading.Lock()

    def respond(self, request: Request) -> Response:
        """Response to a request of an authenticated client."""
        if request.method not in ("GET", "HEAD"):
            return Response(
                HTTPStatus.METHOD_NOT_ALLOWED,
                TEXT_PLAIN,
                b"Only GET and HEAD are answered here\n",
                (("Allow", "GET, HEAD"),),
            )
        if request.path == self._metrics_path:
            return self._metrics(request)
        if request.path == "/healthz":
            return Response(HTTPStatus.OK, TEXT_PLAIN, b"ok\n")
        if request.path == "/readyz":
            return self._ready()
        if request.path == "/":
            return Response(HTTPStatus.OK, "text/html; charset=utf-8", self._page)
        return Response(
            HTTPStatus.NOT_FOUND, TEXT_PLAIN, f"Nothing here; metrics are at {self._metrics_path}\n".encode()
        )

    def _ready(self) -> Response:
        if self._exporter.ready():
            return Response(HTTPStatus.OK, TEXT_PLAIN, b"ready\n")
        return Response(
            HTTPStatus.SERVICE_UNAVAILABLE, TEXT_PLAIN, b"not ready: the GPUs have not been sampled lately\n"
        )

    def _metrics(self, request: Request) -> Response:
        openmetrics = wants_openmetrics(request.headers.get("accept", ""))
        compress = accepts_gzip(request.headers.get("accept-encoding", ""))
        try:
            collectors = requested_collectors(request.query)
            with self._render_lock:
                body = self._exporter.render(openmetrics, collectors)
                body = gzip.compress(body, compresslevel=1, mtime=0) if compress else body
        except ValueError as error:
            return Response(HTTPStatus.BAD_REQUEST, TEXT_PLAIN, f"{error}\n".encode())
        return Response(
            HTTPStatus.OK,
            OPENMETRICS_CONTENT_TYPE if openmetrics else CONTENT_TYPE,
            body,
            (_VARY, ("Content-Encoding", "gzip")) if compress else (_VARY,),
        )


def requested_collectors(query: str) -> frozenset[str] | None:
    """Collectors of a query `collect[]=name`, as in node_exporter; None for all.

    Raises:
        ValueError: the query has too many fields.
    """
    if not query:
        return None
    try:
        parameters = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise ValueError(f"A query has at most {MAX_QUERY_FIELDS} fields") from None
    names = parameters.get("collect[]")
    return frozenset(names) if names else None


def landing_page(metrics_path: str, version: str) -> str:
    path = html.escape(metrics_path)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>foreshock-exporter</title>'
        f"<h1>foreshock-exporter</h1><p>Version {html.escape(version)}</p>"
        f'<ul><li><a href="{path}">Metrics</a><li><a href="/healthz">Alive</a><li><a href="/readyz">Ready</a></ul>\n'
    )
