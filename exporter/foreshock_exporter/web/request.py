"""HTTP request heads and content negotiation. Pure; bodies are not read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD_BYTES = 16_384
"""Request line with all headers."""
MAX_TARGET_BYTES = 4096
"""Path with query."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a name
_REQUEST = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_ABSOLUTE = re.compile(r"(?i:https?)://[^/?]*")
_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")
_GZIP = ("gzip", "x-gzip")


class RefusedError(Exception):
    """Request that gets an error response and ends its connection."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """HTTP request. Header names are lower case; repeated headers are joined by a comma."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    http_1_1: bool

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    @property
    def keeps_alive(self) -> bool:
        """Whether the client may send another request on this connection."""
        options = {word.strip().lower() for word in self.headers.get("connection", "").split(",")}
        return not self.has_body and (("close" not in options) if self.http_1_1 else "keep-alive" in options)


def parse(head: bytes) -> Request:
    r"""The request of a head, given without the empty line that ends it (RFC 9112; lines end with \r\n).

    Raises:
        RefusedError: it is no request that can be answered, with the status that says why.
    """
    request_line, *header_lines = head.decode("latin-1").split("\r\n")
    match = _REQUEST.fullmatch(request_line)
    if match is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Not an HTTP request")
    method, target, major, minor = match.groups()
    if major != "1":
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1.1 and HTTP/1.0 are supported")
    if len(target) > MAX_TARGET_BYTES:
        raise RefusedError(
            HTTPStatus.REQUEST_URI_TOO_LONG, f"A path with its query has at most {MAX_TARGET_BYTES} bytes"
        )
    path, _, query = _ABSOLUTE.sub("", target, count=1).partition("?")
    return Request(method, path or "/", query, _headers(header_lines), minor != "0")


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "A header line is malformed")
        name, value = match[1].lower(), match[2].strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is acceptable and not less preferred than identity (RFC 9110, 12.5.3)."""
    qualities = {coding: quality for coding, _, quality in _media_ranges(accept_encoding)}
    gzip = max((qualities[name] for name in _GZIP if name in qualities), default=qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0 is requested by name and not less preferred than the text format.

    Ranges with another version of either format, and malformed ones, are ignored.
    """
    openmetrics = text = 0.0
    for media, parameters, quality in _media_ranges(accept):
        version = parameters.get("version")
        if media == "application/openmetrics-text" and version in (None, "1.0.0"):
            openmetrics = max(openmetrics, quality)
        elif media == "text/plain" and version in (None, "0.0.4"):
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def _media_ranges(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Ranges of an Accept header with parameters and quality (RFC 9110, 12.4.2)."""
    for part in header.split(","):
        value, *parameter_texts = (piece.strip() for piece in part.split(";"))
        parameters = {
            name.strip().lower(): text.strip().strip('"')
            for name, _, text in (parameter.partition("=") for parameter in parameter_texts)
        }
        quality = parameters.pop("q", "1")
        if value and _QUALITY.fullmatch(quality):
            yield value.lower(), parameters, float(quality)
