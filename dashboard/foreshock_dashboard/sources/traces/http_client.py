"""HTTP client of a trace store's API: limits, credentials, and error messages; and the base of the trace sources."""

from __future__ import annotations

import base64
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import httpx

from foreshock_dashboard.common.connection_error import error_text
from foreshock_dashboard.common.file_version import file_version
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.sources.traces.summary import MAX_TRACE_SPANS

MAX_BODY_BYTES = 64 << 20
"""Largest response after decompression."""
MAX_CONNECTIONS = 8
"""Concurrent requests to one API; further ones wait, so that many open pages do not overload it."""
_MAX_FILE_BYTES = 64 << 10
_MAX_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response: status 200 or 404, the content type in lower case without parameters, and the decompressed body."""

    status: int
    type: str
    body: bytes


class Credentials:
    """Credentials from a file of one line: a bearer token, or `user:password` for basic authentication.

    The file is reloaded when it changes.

    Raises:
        ValueError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version, self._header = file_version(path), _authorization(path)

    def header(self) -> str:
        """Return the Authorization header.

        Raises:
            ValueError: the file has changed and cannot be used.
        """
        with self._lock:
            version = file_version(self._path)
            if version is None or version != self._version:
                self._version, self._header = version, _authorization(self._path)
            return self._header


def _authorization(path: Path) -> str:
    try:
        with path.open("rb") as file:
            line = file.read(_MAX_FILE_BYTES + 1).strip()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    if not line or len(line) > _MAX_FILE_BYTES or any(byte < 0x20 or byte == 0x7F for byte in line):
        raise ValueError(f"{path}: must hold one line, either a token or user:password")
    if b":" in line:  # no bearer token has a colon (RFC 6750, b64token)
        return f"Basic {base64.b64encode(line).decode()}"
    if not line.isascii() or b" " in line:
        raise ValueError(f"{path}: must hold one line, either a token (without 'Bearer') or user:password")
    return f"Bearer {line.decode()}"


class ApiClient:
    """Client of one HTTP API. Thread-safe.

    Args:
        kind: name of the system for messages, such as Tempo.
        url: base URL of the API, such as http://tempo:3200; `user:password@` is used if there are no credentials.
        headers: sent with each request.
        credentials: sent with each request.
        ca: CA bundle, PEM, in place of the system's.
        timeout: seconds for one complete response.
        transport: HTTP transport, for tests. monotonic: clock for the timeout.

    Raises:
        ValueError: the URL is not http or https with a host, or a file cannot be used.
    """

    def __init__(
        self,
        kind: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
        ca: Path | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        base = _base_url(kind, url)
        self.kind = kind
        self.name = f"{kind} {base.copy_with(username=None, password=None)}"
        self._timeout, self._credentials, self._monotonic = timeout, credentials, monotonic
        self._client = httpx.Client(
            base_url=base.copy_with(username=None, password=None) if credentials else base,
            headers=headers,
            timeout=timeout,
            verify=_ssl_context(ca) if ca else True,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, params: Mapping[str, str] | None = None, accept: str = "application/json") -> ApiResponse:
        """Send a GET request; the status of the response is 200 or 404.

        Raises:
            SourceError: the API cannot be reached, refuses, fails, is too slow, or the response is too large.
        """
        headers = {"Accept": accept}
        try:
            if self._credentials:
                headers["Authorization"] = self._credentials.header()
            with self._client.stream("GET", path, params=params, headers=headers) as response:
                body = self._read(response)
        except ValueError as error:
            raise SourceError(f"{self.name}: {error}") from error
        except httpx.TimeoutException as error:
            raise self._timed_out() from error
        except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
            raise SourceError(
                f"{self.name}: cannot be reached ({error_text(error)}); does it run at that address?"
            ) from error
        self._raise_for_status(response, body)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return ApiResponse(response.status_code, kind, body)

    def unexpected(self, problem: str) -> SourceError:
        """Return the error for a response that the API does not specify."""
        return SourceError(f"{self.name}: answers what {self.kind} does not ({problem}); is it another service?")

    def _read(self, response: httpx.Response) -> bytes:
        end = self._monotonic() + self._timeout
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise SourceError(
                    f"{self.name}: the answer is larger than {MAX_BODY_BYTES >> 20} MiB; "
                    "ask for fewer traces or a shorter range"
                )
            if self._monotonic() > end:
                raise self._timed_out()
        return bytes(body)

    def _timed_out(self) -> SourceError:
        return SourceError(
            f"{self.name}: no answer within {self._timeout:.0f} s; ask for a shorter range, or look at its load"
        )

    def _raise_for_status(self, response: httpx.Response, body: bytes) -> None:
        status = response.status_code
        if status in (200, 404):
            return
        text = body[: 4 * _MAX_REASON_CHARACTERS].decode(errors="replace")
        reason = " ".join(text.split())[:_MAX_REASON_CHARACTERS] or "no reason"
        if status in (401, 403):
            raise SourceError(f"{self.name}: answers {status}; give the credentials or the tenant that it asks for")
        if response.is_redirect:
            raise SourceError(f"{self.name}: redirects to {response.headers.get('location', '?')}; use that address")
        if status == 429:
            wait = response.headers.get("retry-after")
            when = f"in {wait} s" if wait and wait.isdecimal() else "later"
            raise SourceError(f"{self.name}: answers 429: {reason}; ask again {when}, or raise the limits it has")
        if status >= 500:
            raise SourceError(f"{self.name}: answers {status}: {reason}; its log has the reason")
        raise SourceError(f"{self.name}: answers {status}: {reason}; ask for a shorter range or other conditions")


def _base_url(kind: str, url: str) -> httpx.URL:
    try:
        base = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise ValueError(f"{kind} {url!r}: {error}; write http://HOST:PORT") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ValueError(f"{kind} {url!r}: write http://HOST:PORT")
    return base


def _ssl_context(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{ca}: is no file of PEM certificates: {error}") from error


class SourceOptions(TypedDict, total=False):
    """Options that all HTTP trace sources have.

    tenant: tenant id. credentials: file as read by `Credentials`. ca, timeout, transport, monotonic: see `ApiClient`.
    max_rounds: limit of requests for one search. max_trace_spans: limit of spans of one trace.
    """

    tenant: str
    credentials: Path | None
    ca: Path | None
    timeout: float
    max_rounds: int
    max_trace_spans: int
    transport: httpx.BaseTransport | None
    monotonic: Callable[[], float]


class HttpTraceSource(ABC):
    """Base of trace sources that read from the HTTP API of a trace store."""

    def __init__(
        self,
        kind: str,
        url: str,
        tenant_header: str,
        default_max_rounds: int,
        *,
        max_rounds: int | None = None,
        tenant: str = "",
        credentials: Path | None = None,
        ca: Path | None = None,
        timeout: float = 30.0,
        max_trace_spans: int = MAX_TRACE_SPANS,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = ApiClient(
            kind,
            url,
            headers={tenant_header: tenant} if tenant else None,
            credentials=Credentials(credentials) if credentials else None,
            ca=ca,
            timeout=timeout,
            transport=transport,
            monotonic=monotonic,
        )
        self.name = self._api.name
        self._max_rounds = default_max_rounds if max_rounds is None else max_rounds
        self._max_trace_spans, self._monotonic = max_trace_spans, monotonic

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def probe(self) -> str:
        """Return why the source cannot answer; "" if it can."""
        try:
            self._check_health()
        except SourceError as error:
            return str(error)
        return ""

    @abstractmethod
    def _check_health(self) -> None:
        """Send a cheap request.

        Raises:
            SourceError: the source cannot answer.
        """
