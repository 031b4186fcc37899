"""One HTTP API of another system: bounded answers, who asks, and what is said when it cannot answer."""

from __future__ import annotations

import base64
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from foreshock_dashboard.common.connection_error import error_text
from foreshock_dashboard.model.query import SourceError

MAX_BODY_BYTES = 64 << 20
"""Bytes of one answer after decompression."""
MAX_CONNECTIONS = 8
"""Requests to one API at once; others wait, so that many open pages do not flood it."""
_LONGEST_FILE = 64 << 10
_SAID = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """A status of 200 or 404, the content type in lower case without parameters, and the body decompressed."""

    status: int
    type: str
    body: bytes


class Credentials:
    """Who asks, from a file of one line: a token is sent as a bearer token, `user:password` as basic authentication.

    The file is read again when it changes, so that a renewed token is used.

    Raises:
        ValueError: it cannot be used at the beginning.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp, self._header = _stamp(path), _authorization(path)

    def header(self) -> str:
        """The Authorization header.

        Raises:
            ValueError: the file has changed into one that cannot be used.
        """
        with self._lock:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp, self._header = stamp, _authorization(self._path)
            return self._header


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _authorization(path: Path) -> str:
    try:
        with path.open("rb") as file:
            line = file.read(_LONGEST_FILE + 1).strip()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    if not line or len(line) > _LONGEST_FILE or any(byte < 0x20 or byte == 0x7F for byte in line):
        raise ValueError(f"{path}: must hold one line, either a token or user:password")
    if b":" in line:  # no bearer token has a colon (RFC 6750, b64token)
        return f"Basic {base64.b64encode(line).decode()}"
    if not line.isascii() or b" " in line:
        raise ValueError(f"{path}: must hold one line, either a token (without 'Bearer') or user:password")
    return f"Bearer {line.decode()}"


class ApiClient:
    """Asks one API. Thread-safe.

    Args:
        kind: what it is, for messages, such as Tempo.
        url: the API's base, such as http://tempo:3200; `user:password@` is used where there are no credentials.
        headers: sent with each request.
        credentials: who asks.
        ca: authorities that a server's certificate may come from, PEM, in place of the system's.
        timeout: seconds for one answer, all of it.
        transport: the door to the network.

    Raises:
        ValueError: the URL is not http(s) with a host, or a file cannot be used.
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
        base = _base(kind, url)
        self.kind = kind
        self.name = f"{kind} {base.copy_with(username=None, password=None)}"
        self._timeout, self._credentials, self._monotonic = timeout, credentials, monotonic
        self._client = httpx.Client(
            base_url=base.copy_with(username=None, password=None) if credentials else base,
            headers=headers,
            timeout=timeout,
            verify=_trusting(ca) if ca else True,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, given: Mapping[str, str] | None = None, accept: str = "application/json") -> Answer:
        """Ask; only 200 and 404 come back.

        Raises:
            SourceError: it cannot be reached, refuses, fails, is too slow or answers too much.
        """
        headers = {"Accept": accept}
        try:
            if self._credentials:
                headers["Authorization"] = self._credentials.header()
            with self._client.stream("GET", path, params=given, headers=headers) as response:
                body = self._read(response)
        except ValueError as error:
            raise SourceError(f"{self.name}: {error}") from error
        except httpx.TimeoutException as error:
            raise self._slow() from error
        except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
            raise SourceError(
                f"{self.name}: cannot be reached ({error_text(error)}); does it run at that address?"
            ) from error
        self._refuse(response, body)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Answer(response.status_code, kind, body)

    def strange(self, what: str) -> SourceError:
        """An answer that the API does not give."""
        return SourceError(f"{self.name}: answers what {self.kind} does not ({what}); is it another service?")

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
                raise self._slow()
        return bytes(body)

    def _slow(self) -> SourceError:
        return SourceError(
            f"{self.name}: no answer within {self._timeout:.0f} s; ask for a shorter range, or look at its load"
        )

    def _refuse(self, response: httpx.Response, body: bytes) -> None:
        status = response.status_code
        if status in (200, 404):
            return
        said = " ".join(body[: 4 * _SAID].decode(errors="replace").split())[:_SAID] or "no reason"
        if status in (401, 403):
            raise SourceError(f"{self.name}: answers {status}; give the credentials or the tenant that it asks for")
        if response.is_redirect:
            raise SourceError(f"{self.name}: redirects to {response.headers.get('location', '?')}; use that address")
        if status == 429:
            wait = response.headers.get("retry-after")
            when = f"in {wait} s" if wait and wait.isdecimal() else "later"
            raise SourceError(f"{self.name}: answers 429: {said}; ask again {when}, or raise the limits it has")
        if status >= 500:
            raise SourceError(f"{self.name}: answers {status}: {said}; its log has the reason")
        raise SourceError(f"{self.name}: answers {status}: {said}; ask for a shorter range or other conditions")


def _base(kind: str, url: str) -> httpx.URL:
    try:
        base = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise ValueError(f"{kind} {url!r}: {error}; write http://HOST:PORT") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ValueError(f"{kind} {url!r}: write http://HOST:PORT")
    return base


def _trusting(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{ca}: is no file of PEM certificates: {error}") from error
