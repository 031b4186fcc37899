"""Factories by settings: clients of remote traces, OTLP listeners, and authentication of the dashboard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.settings.settings import HubError, Settings
from foreshock_dashboard.sources.otlp.auth import BearerTokens, TlsFiles
from foreshock_dashboard.sources.otlp.grpc import GrpcListener
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver
from foreshock_dashboard.sources.traces.jaeger import JaegerTraces
from foreshock_dashboard.sources.traces.tempo import TempoTraces
from foreshock_dashboard.web.http.authentication import Access, Users

Opened = TypeVar("Opened")
Otlp = TypeVar("Otlp", GrpcListener, HttpListener)


@contextmanager
def _naming(flag: str, kind: type[Exception] = FileError) -> Iterator[None]:
    """Raise HubError with the name of an option in place of an error of its value."""
    try:
        yield
    except kind as error:
        raise HubError(f"{flag}: {error}") from error


def remote_traces(settings: Settings) -> TempoTraces | JaegerTraces:
    """The traces of the configured Tempo or Jaeger. Raises HubError for both, or an option that cannot be used."""
    if settings.tempo_url and settings.jaeger_url:
        raise HubError("--tempo-url, --jaeger-url: traces are read from one of them; leave one out")
    flag, source = ("--tempo-url", TempoTraces) if settings.tempo_url else ("--jaeger-url", JaegerTraces)
    with _naming(flag, ValueError):
        return source(
            settings.tempo_url or settings.jaeger_url,
            tenant=settings.traces_tenant,
            credentials=settings.traces_credentials,
            ca=settings.traces_ca,
        )


def token_check(flag: str, file: Path | None) -> Callable[[str], bool] | None:
    """Check of an Authorization header; None without a file of tokens. Raises HubError if the file cannot be used."""
    with _naming(flag):
        return BearerTokens(file).allows if file else None


def page_access(settings: Settings) -> Access:
    """Authentication of the page, the API, and the metrics. Raises HubError if a file cannot be read."""
    allows = token_check("--auth-token-file", settings.auth_token_file)
    with _naming("--auth-basic-file"):
        users = Users(settings.auth_basic_file) if settings.auth_basic_file else None
    return Access(allows, users, settings.auth_header, settings.auth_proxies)


def listen(flag: str, bind: Callable[[], Opened]) -> Opened:
    """The listener that `bind` opens at the address of an option. Raises HubError if it cannot listen there."""
    try:
        return bind()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise HubError(f"{flag}: cannot listen: {reason}; choose another port, or 0 for a free one") from error


def otlp_listener(serve: type[Otlp], receiver: Receiver, settings: Settings) -> Otlp:
    """An OTLP listener. Raises HubError if its port is in use, or the certificate cannot be used."""
    flag, port = "--otlp-http-port", settings.otlp_http_port
    if serve is GrpcListener:
        flag, port = "--otlp-grpc-port", settings.otlp_grpc_port
    tls_files = None
    if settings.otlp_tls_cert and settings.otlp_tls_key:
        tls_files = TlsFiles(settings.otlp_tls_cert, settings.otlp_tls_key, settings.otlp_tls_client_ca)
    with _naming("--otlp-tls-cert"):
        return listen(flag, lambda: serve(receiver, settings.otlp_host or settings.host, port, tls_files))
