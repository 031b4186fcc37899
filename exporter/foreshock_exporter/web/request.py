"""The head of an HTTP request, and what its client accepts. Pure: bytes in, values out; bodies are not read here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD_BYTES = 16_384
"""Bytes of a request line with all its headers."""
MAX_TARGET_BYTES = 4096
"""Bytes of a path with its query."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a name
_REQUEST = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_ABSOLUTE = re.compile(r"(?i:https?)://[^/?]*")
_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")
_GZIP = ("gzip", "x-gzip")


class RefusedError(Exception):
    """A request that is answered with an error and ends its connection."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Names of headers are in lower case; values of a header that came twice are joined by a comma."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    http_1_1: bool

    @property
    def has_body(self) -> bool:
        """Whether bytes follow that are no request."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    @property
    def keeps_alive(self) -> bool:
        """Whether the client may send another request on this connection."""
        wishes = {word.strip().lower() for word in self.headers.get("connection", "").split(",")}
        return not self.has_body and (("close" not in wishes) if self.http_1_1 else "keep-alive" in wishes)


def parse(head: bytes) -> Request:
    r"""The request of a head, given without the empty line that ends it (RFC 9112; lines end with \r\n).

    Raises:
        RefusedError: it is no request that can be answered, with the status that says why.
    """
    first, *rest = head.decode("latin-1").split("\r\n")
    found = _REQUEST.fullmatch(first)
    if found is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "This is no HTTP request")
    method, target, major, minor = found.groups()
    if major != "1":
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1.1 and HTTP/1.0 are spoken here")
    if len(target) > MAX_TARGET_BYTES:
        raise RefusedError(
            HTTPStatus.REQUEST_URI_TOO_LONG, f"A path with its query has at most {MAX_TARGET_BYTES} bytes"
        )
    path, _, query = _ABSOLUTE.sub("", target, count=1).partition("?")
    return Request(method, path or "/", query, _headers(rest), minor != "0")


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "A header line is malformed")
        name, value = found[1].lower(), found[2].strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an answer should be compressed (RFC 9110, 12.5.3): gzip is acceptable and not liked less than none."""
    qualities = {coding: quality for coding, _, quality in _ranges(accept_encoding)}
    gzip = max((qualities[name] for name in _GZIP if name in qualities), default=qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0 is asked for by name and not liked less than the text format.

    A range that names another version of either format, or that is malformed, does not count.
    """
    openmetrics = text = 0.0
    for media, parameters, quality in _ranges(accept):
        version = parameters.get("version")
        if media == "application/openmetrics-text" and version in (None, "1.0.0"):
            openmetrics = max(openmetrics, quality)
        elif media == "text/plain" and version in (None, "0.0.4"):
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def _ranges(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """What a header of the Accept family lists, with parameters and quality (RFC 9110, 12.4.2)."""
    for part in header.split(","):
        value, *given = (piece.strip() for piece in part.split(";"))
        parameters = {
            name.strip().lower(): text.strip().strip('"') for name, _, text in (one.partition("=") for one in given)
        }
        quality = parameters.pop("q", "1")
        if value and _QUALITY.fullmatch(quality):
            yield value.lower(), parameters, float(quality)
