"""HTTP client of a system that the hub reads from: limits, credentials, and error messages."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx

from foreshock_dashboard.common.addresses import without_credentials
from foreshock_dashboard.model.query import LimitError, SizeError, SourceError
from foreshock_dashboard.sources.http_config.client import ReloadingClient
from foreshock_dashboard.sources.http_config.values import HttpConfig

MAX_BODY_BYTES = 64 << 20
"""Largest response after decompression."""
_MAX_REASON_CHARACTERS = 200
_ERROR_NUMBER = re.compile(r"\[Errno -?\d+\] ")


def error_text(error: Exception) -> str:
    """The system's message without its error number, such as `Connection refused`; else the name of the class.

    Only the name for a request that cannot be sent: its message quotes the header, which may be a secret.
    """
    if isinstance(error, httpx.LocalProtocolError):
        return type(error).__name__
    return _ERROR_NUMBER.sub("", str(error)) or type(error).__name__


class ApiResponse(NamedTuple):
    """Status, the content type in lower case without parameters, and the decompressed body."""

    status: int
    type: str
    body: bytes


class ApiClient:
    """Client of one HTTP API. Thread-safe.

    Args:
        kind: name of the system for messages, such as Tempo.
        url: base URL of the API, such as http://tempo:3200, without credentials.
        config: credentials, TLS, headers, and parameters. config_option: the option that sets them, for messages.
        timeout: seconds without data. max_seconds: limit of one complete response.
        max_connections: concurrent requests; further ones wait.
        max_body: limit of a response in bytes, after decompression.
        smaller: remedy for a response that is too large.
        transport: HTTP transport, for tests. monotonic: clock for `max_seconds`.

    Raises:
        ValueError: the URL is not http or https with a host, or has credentials.
        FileError: a file of the configuration cannot be used.
    """

    def __init__(
        self,
        kind: str,
        url: str,
        *,
        smaller: str,
        config: HttpConfig | None = None,
        config_option: str,
        timeout: float = 30.0,
        max_seconds: float = math.inf,
        max_connections: int = 100,
        max_body: int = MAX_BODY_BYTES,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        base = _base_url(kind, url, config_option)
        self.kind, self.name = kind, f"{kind} {base}"
        self._timeout, self._max_seconds, self._monotonic = timeout, max_seconds, monotonic
        self._max_body, self._smaller, self._config_option = max_body, smaller, config_option
        self._client = ReloadingClient(
            config or HttpConfig(),
            base_url=base,
            timeout=timeout,
            limits=httpx.Limits(max_connections=max_connections),
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, params: Mapping[str, str] | None = None, accept: str = "application/json") -> ApiResponse:
        """Send a GET request. Statuses other than 200 and 404 raise SourceError, as the failures of `send` do."""
        response, body = self.send("GET", path, params=params, headers={"Accept": accept})
        if response.status_code not in (200, 404):
            raise self.failed(response, body)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return ApiResponse(response.status_code, kind, body)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[httpx.Response, bytes]:
        """Send a request, with `data` as a form or with `json`, and return the response with its body.

        Raises SourceError if the API cannot be reached, demands credentials, redirects, is too slow, or sends too much.
        """
        client = self._client.current()
        try:
            with client.stream(method, path, params=params, data=data, json=json, headers=headers) as response:
                body = self._read(response)
        except SourceError as error:
            if isinstance(error, LimitError):
                raise
            raise SourceError(f"{self.name}: {error}") from error
        except httpx.ReadTimeout as error:  # a smaller answer does not help those that cannot connect
            raise self._timed_out(self._timeout) from error
        except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
            raise SourceError(
                f"{self.name}: cannot be reached ({error_text(error)}). Check that it runs at that address."
            ) from error
        if (status := response.status_code) in (401, 403):
            raise SourceError(
                f"{self.name}: returned {status}; set the required credentials or tenant with {self._config_option}"
            )
        if response.is_redirect:
            raise SourceError(f"{self.name}: redirects to {response.headers.get('location', '?')}; use that address")
        return response, body

    def unexpected(self, problem: str) -> SourceError:
        """Return the error for a response that the API does not specify."""
        return SourceError(f"{self.name}: unexpected response ({problem}); check that the URL points to {self.kind}")

    def _read(self, response: httpx.Response) -> bytes:
        end = self._monotonic() + self._max_seconds
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._max_body:
                raise SizeError(f"{self.name}: the response is larger than {self._max_body >> 20} MiB; {self._smaller}")
            if self._monotonic() > end:
                raise self._timed_out(self._max_seconds)
        return bytes(body)

    def _timed_out(self, seconds: float) -> SourceError:
        return LimitError(f"{self.name}: no response within {seconds:.0f} s; use a shorter range, or check its load")

    def failed(self, response: httpx.Response, body: bytes) -> SourceError:
        """Return the error for a response with a status of failure, with what the API says."""
        status = response.status_code
        text = body[: 4 * _MAX_REASON_CHARACTERS].decode(errors="replace")
        reason = " ".join(text.split())[:_MAX_REASON_CHARACTERS] or "no reason"
        remedy = "use a shorter range or other conditions"
        if status == 429:
            wait = response.headers.get("retry-after", "")
            remedy = f"retry {f'in {wait} s' if wait.isdecimal() else 'later'}, or raise its limits"
        elif status >= 500:
            remedy = "see its log"
        return SourceError(f"{self.name}: returned {status}: {reason}; {remedy}")


def _base_url(kind: str, url: str, config_option: str) -> httpx.URL:
    try:
        base = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL:  # its text quotes the URL
        raise ValueError(f"{kind} {without_credentials(url)!r}: not a valid URL; use http://HOST:PORT") from None
    if base.scheme not in ("http", "https") or not base.host:
        raise ValueError(f"{kind} {without_credentials(url)!r}: not a valid URL; use http://HOST:PORT")
    if base.userinfo:
        raise ValueError(f"{kind} {without_credentials(url)!r}: contains credentials. Move them to {config_option}")
    return base
