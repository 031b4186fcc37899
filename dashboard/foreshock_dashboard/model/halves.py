"""What a span tells of its half of a call: the few attributes that pairing reads."""

from __future__ import annotations

from ipaddress import ip_address
from math import isfinite
from typing import NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import AttributeValue, Kind, Span

_DATABASE = ("db.namespace", "db.name", "db.system.name", "db.system")
_PEER = ("service.peer.name", "peer.service")
_RESENDS = ("http.request.resend_count", "http.resend_count")
_PREVIOUS_ATTEMPTS = (
    "rpc.grpc.request.metadata.grpc-previous-rpc-attempts",
    "rpc.request.metadata.grpc-previous-rpc-attempts",
)


class Client(NamedTuple):
    """The calling half. `database`, `peer` and `port` name the callee as far as the caller knows it.

    `target` is the span's name and the URL without its query; `resent` says that the span repeats a request.
    """

    service: Service
    seconds: float
    failed: bool
    kind: Kind
    start_ns: int
    end_ns: int
    target: tuple[str, str]
    resent: bool
    database: str
    peer: Service | None
    port: str


class Server(NamedTuple):
    """The called half. `attempts_before` says that the caller's transport has tried before."""

    service: Service
    name: str
    seconds: float
    failed: bool
    kind: Kind
    attempts_before: bool


def client_half(span: Span, service: Service) -> Client:
    """What a CLIENT or PRODUCER span tells."""
    get = span.attributes.get
    return Client(
        service,
        span.duration_ns / 1e9,
        span.status == "error",
        span.kind,
        span.start_ns,
        span.end_ns,
        (span.name, str(get("url.full") or get("http.url") or "").partition("?")[0]),
        any(_number(get(name)) > 0 for name in _RESENDS),
        next((str(value) for name in _DATABASE if (value := get(name))), ""),
        _peer(span),
        str(get("server.port") or get("net.peer.port") or ""),
    )


def server_half(span: Span, service: Service) -> Server:
    """What a SERVER or CONSUMER span tells."""
    get = span.attributes.get
    return Server(
        service,
        span.name,
        span.duration_ns / 1e9,
        span.status == "error",
        span.kind,
        any(_number(get(name)) > 0 for name in _PREVIOUS_ATTEMPTS),
    )


def _peer(span: Span) -> Service | None:
    """The callee as the caller names it; an IP address names a machine, not a service."""
    get = span.attributes.get
    for name in _PEER:
        if value := get(name):
            return Service(str(get("service.peer.namespace") or ""), str(value))
    host = str(get("server.address") or get("net.peer.name") or "")
    return Service("", host) if host and not _is_address(host) else None


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _number(value: AttributeValue) -> int:
    """An attribute that should be a count: a number, its digits, or a list that holds them (gRPC metadata); else 0."""
    if isinstance(value, list):
        value = value[0] if value else 0
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() else 0
    return int(value) if isinstance(value, int | float) and isfinite(value) else 0
