"""What the exporter answers at which path: metrics in two formats, its health, and a page that leads there."""

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
    """What is served: the exporter, or whatever else has readings to show."""

    def render(self, openmetrics: bool = False, collectors: frozenset[str] | None = None) -> bytes:
        """What is known now as exposition text.

        Args:
            openmetrics: in OpenMetrics 1.0 instead of the text format 0.0.4.
            collectors: only the families of these collectors; all where None.

        Raises:
            ValueError: `collectors` names one that is not there; the message is shown to the client.
        """
        ...

    def ready(self) -> bool:
        """Whether a scrape would tell of the GPUs."""
        ...


class Routes:
    """The answers. Metrics are rendered and compressed by one thread at a time."""

    def __init__(self, exporter: MetricsSource, metrics_path: str, version: str) -> None:
        self._exporter = exporter
        self._metrics_path = metrics_path
        self._page = landing_page(metrics_path, version).encode()
        self._rendering = threading.Lock()

    def answer(self, request: Request) -> Response:
        """The answer to a request from a client that may ask."""
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
            only = requested_collectors(request.query)
            body = self._body(openmetrics, only, compress=compress)
        except CollectorsError as error:
            return Response(HTTPStatus.BAD_REQUEST, TEXT_PLAIN, f"{error}\n".encode())
        return Response(
            HTTPStatus.OK,
            OPENMETRICS_CONTENT_TYPE if openmetrics else CONTENT_TYPE,
            body,
            (_VARY, ("Content-Encoding", "gzip")) if compress else (_VARY,),
        )

    def _body(self, openmetrics: bool, only: frozenset[str] | None, *, compress: bool) -> bytes:
        with self._rendering:
            try:
                text = self._exporter.render(openmetrics, only)
            except ValueError as error:
                raise CollectorsError(str(error)) from error
            return _gzip(text) if compress else text


class CollectorsError(ValueError):
    """A query asks for collectors in a way that cannot be answered."""


def requested_collectors(query: str) -> frozenset[str] | None:
    """The collectors that a query asks for with `collect[]=name`, as node_exporter has it; None is all.

    Raises:
        CollectorsError: the query has too many fields.
    """
    if not query:
        return None
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise CollectorsError(f"A query has at most {MAX_QUERY_FIELDS} fields") from None
    names = found.get("collect[]")
    return frozenset(names) if names else None


def landing_page(metrics_path: str, version: str) -> str:
    """The landing page."""
    path = html.escape(metrics_path)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>foreshock-exporter</title>'
        f"<h1>foreshock-exporter</h1><p>Version {html.escape(version)}</p>"
        f'<ul><li><a href="{path}">Metrics</a><li><a href="/healthz">Alive</a><li><a href="/readyz">Ready</a></ul>\n'
    )


def _gzip(text: bytes) -> bytes:
    return gzip.compress(text, compresslevel=1, mtime=0)
