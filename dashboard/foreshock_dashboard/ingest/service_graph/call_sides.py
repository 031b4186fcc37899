"""The client side and the server side of a call, read from the attributes of a span."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from math import isfinite
from operator import itemgetter
from typing import NamedTuple
from urllib.parse import urlsplit

from foreshock_dashboard.ingest.otlp.gen_ai import MODEL, OPERATION, PROVIDER, first_text, provider_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Attributes, AttributeValue, Kind, SpanKey, Status

MAX_SIDE_TEXT_CHARACTERS = 200
"""Longest name, and longest attribute, that a side of a pending call keeps."""
MAX_CACHED_FACTS = 10_000
"""Entries of each cache of parsed attributes; a full cache is cleared."""
MAX_CACHED_KEY_SETS = 1000
"""Sets of attribute keys that are cached."""

_DATABASE = ("db.namespace", "db.name", "db.system.name", "db.system")
_PEER = ("service.peer.name", "peer.service")
_HOST = ("server.address", "net.peer.name")
_PORT = ("server.port", "net.peer.port")
_CALLEE = (*_DATABASE, *_PEER, "service.peer.namespace", *_HOST, *_PORT, *PROVIDER, "messaging.system")
_URL = ("url.full", "http.url", "http.target")
_HTTP_RESENDS = ("http.request.resend_count", "http.resend_count")
_GRPC_RESENDS = ("previous-rpc-attempts", "transparent-retry")  # on gRPC's own span of each attempt (gRFC A72)
_RESENDS = (*_HTTP_RESENDS, *_GRPC_RESENDS)
_ERROR = "error.type"
HTTP_CODES = ("http.response.status_code", "http.status_code")
"""Current and old (OpenTelemetry semantic conventions before 1.20) attribute of the status code."""
_RPC_CODES = ("rpc.grpc.status_code", "rpc.response.status_code")
_PREVIOUS_ATTEMPTS = (
    "rpc.grpc.request.metadata.grpc-previous-rpc-attempts",
    "rpc.request.metadata.grpc-previous-rpc-attempts",
)
_RECEIVE = ("messaging.operation.type", "messaging.operation")
_FACTS = (*_CALLEE, *_RESENDS, _ERROR, *HTTP_CODES, *_RPC_CODES, *OPERATION, *MODEL)
CLIENT_KEYS = frozenset((*_FACTS, *_URL, *_RECEIVE))
"""Attributes that pairing reads from CLIENT and PRODUCER spans."""
SERVER_KEYS = frozenset(_PREVIOUS_ATTEMPTS)
"""Attributes that pairing reads from SERVER and CONSUMER spans."""


class Callee(NamedTuple):
    """The callee as the client span describes it; "" where an attribute is missing.

    peer: the service that the span names.
    host: a host name. IP addresses are left out, since an IP address identifies a machine.
    provider: the provider of the requested model.
    messaging: the messaging system of a broker.
    """

    database: str = ""
    peer: Service | None = None
    host: str = ""
    port: str = ""
    provider: str = ""
    messaging: str = ""

    @property
    def service(self) -> Service | None:
        """The virtual node for this callee; None if no attribute names it."""
        if self.peer is not None:
            return self.peer
        name = self.host or self.database if self.database else self.provider or self.host or self.messaging
        return Service("", name) if name else None

    @property
    def is_specific(self) -> bool:
        """Whether more than an address is known: a database, a peer service, or a model provider."""
        return bool(self.database or self.peer or self.provider)


class ClientSide:
    """The client side of a call. `operation` and `model` belong to a call of a model.

    address: where the call went, `host:port`; "" if unknown. The host may be an IP address.
    attempt_failed: whether the span failed, or got a response after which clients retry: HTTP 429 and 5xx, and any RPC
        code except OK.
    outcome_unknown: whether the span reports neither success nor failure. HTTP and RPC client spans report a code, and
        instrumentation sets status `ok` on purpose.
    is_resend: whether the span says that it sends a request again.
    resend_number: HTTP's resend count, which also counts requests sent again after a redirect.
    """

    __slots__ = (
        "address", "attempt_failed", "callee", "end_ns", "failed", "is_resend", "key", "kind", "model", "name",
        "operation", "outcome_unknown", "resend_number", "seconds", "service", "start_ns", "url",
    )  # fmt: skip

    def __init__(
        self,
        service: Service,
        key: SpanKey,
        kind: Kind,
        name: str,
        start: int,
        end: int,
        status: Status,
        attributes: Attributes,
    ) -> None:
        key_set = _key_set(attributes)
        self.service = service
        self.key = key
        self.kind = kind
        self.start_ns, self.end_ns = start, end
        self.seconds = (end - start) / 1e9
        self.name = name[:MAX_SIDE_TEXT_CHARACTERS]
        self.url = ""
        for attribute in key_set.url:
            if url := attributes[attribute]:
                self.url = url.partition("?")[0][:MAX_SIDE_TEXT_CHARACTERS] if isinstance(url, str) else ""
                break
        (
            callee, address, attempt_failed, outcome_unknown, self.resend_number, self.is_resend, self.operation,
            self.model,
        ) = _cached_facts(key_set, attributes)  # fmt: skip
        self.failed = status == "error"
        self.attempt_failed = attempt_failed or self.failed
        self.outcome_unknown = outcome_unknown and status == "unset"
        self.address = address or (_url_address(self.url) if "://" in self.url else "")
        self.callee = callee
        if not (callee.host or callee.is_specific) and "://" in self.url:
            self.callee = _with_address(callee, self.url.partition("://")[2].partition("/")[0])

    @property
    def target(self) -> tuple[str, str]:
        """Span name and URL path, equal for a call and its retry.

        The host is left out: a retry may go to another replica of the same service.
        """
        after_scheme = self.url.partition("://")[2]
        return self.name, after_scheme.partition("/")[2] if after_scheme else self.url

    @property
    def task(self) -> tuple[str, str]:
        """The model operation, or else the `target`; equal for a call and its fallback."""
        return ("", self.operation) if self.operation else self.target


@dataclass(slots=True, eq=False)
class LinkClaim:
    """State of a server side with links: its parent, and each linked span, may be its client side.

    unresolved: number of candidates that are not known yet.
    is_root: whether the span has no parent. Then `user` is the caller if there is no other.
    callers: services of the candidates that turned out not to be client sides.
    dropped: whether the span was counted as dropped.
    """

    unresolved: int
    is_root: bool
    callers: list[Service] = field(default_factory=list)
    paired: bool = False
    dropped: bool = False


class ParentPath(NamedTuple):
    """The path from a server side to its client side, where that is not simply the parent span.

    internal_service: service of the INTERNAL spans between them.
    depth: number of those INTERNAL spans.
    via_attempt: whether one of them is an attempt of the call.
    claim: shared by all paths of a server side with links.
    producer_only: whether only a PRODUCER span may be the client side.
    """

    internal_service: Service | None = None
    depth: int = 0
    via_attempt: bool = False
    claim: LinkClaim | None = None
    producer_only: bool = False


class ServerSide(NamedTuple):
    """The server side of a call. `is_reattempt`: the client's transport has tried before."""

    service: Service
    name: str
    seconds: float
    failed: bool
    kind: Kind
    is_reattempt: bool
    key: SpanKey
    path: ParentPath | None = None


def server_side(
    service: Service, key: SpanKey, kind: Kind, name: str, start: int, end: int, status: Status, attributes: Attributes
) -> ServerSide:
    """Return the server side that a SERVER or CONSUMER span describes, or a CLIENT span that `is_receive`."""
    attempts, grpc_attempts = map(attributes.get, _PREVIOUS_ATTEMPTS) if attributes else (None, None)
    is_reattempt = attempts is not grpc_attempts and (_count(attempts) > 0 or _count(grpc_attempts) > 0)
    return ServerSide(
        service,
        name[:MAX_SIDE_TEXT_CHARACTERS],
        (end - start) / 1e9,
        status == "error",
        "server" if kind == "server" else "consumer",
        is_reattempt,
        key,
    )


def is_receive(attributes: Attributes) -> bool:
    """Whether a CLIENT span receives messages, so that it is the consumer side of the spans it links to.

    OpenTelemetry gives the operation `receive` the kind CLIENT (semantic conventions, messaging spans).
    """
    return any(attributes.get(name) == "receive" for name in _RECEIVE)


class _Facts(NamedTuple):
    """The part of a `ClientSide` that depends on cacheable attributes only."""

    callee: Callee
    address: str
    attempt_failed: bool
    outcome_unknown: bool
    resend_number: int
    is_resend: bool
    operation: str
    model: str


class _KeySet:
    """The relevant keys among a set of attribute keys. Most spans share their set with many others.

    facts: keys that `_Facts` depend on. url: keys of URLs. values: returns the values of `facts`, hashable.
    """

    __slots__ = ("facts", "url", "values")

    def __init__(self, attributes: Attributes) -> None:
        self.facts = tuple(key for key in _FACTS if key in attributes)
        self.url = tuple(key for key in _URL if key in attributes)
        self.values: Callable[[Attributes], Hashable] = itemgetter(*self.facts) if self.facts else lambda _: None


_key_sets: dict[tuple[str, ...], _KeySet] = {}
_facts_cache: dict[tuple[_KeySet, Hashable], _Facts] = {}


def _key_set(attributes: Attributes) -> _KeySet:
    key_set = _key_sets.get(keys := tuple(attributes))
    if key_set is None:
        key_set = _KeySet(attributes)
        if len(_key_sets) >= MAX_CACHED_KEY_SETS:
            _key_sets.clear()
        _key_sets[keys] = key_set
    return key_set


def _cached_facts(key_set: _KeySet, attributes: Attributes) -> _Facts:
    key = key_set, key_set.values(attributes)
    try:
        facts = _facts_cache.get(key)
    except TypeError:  # an attribute is a list
        return _parse_facts(attributes)
    if facts is None:
        facts = _parse_facts(attributes)
        if len(_facts_cache) >= MAX_CACHED_FACTS:
            _facts_cache.clear()
        texts = (value for value in map(attributes.get, key_set.facts) if isinstance(value, str | bytes))
        if all(len(text) <= MAX_SIDE_TEXT_CHARACTERS for text in texts):
            _facts_cache[key] = facts
    return facts


def _parse_facts(attributes: Attributes) -> _Facts:
    get = attributes.get
    callee = _parse_callee(attributes)
    http_codes = [code for code in map(get, HTTP_CODES) if code is not None]
    rpc_ok = [ok for ok in map(_is_rpc_ok, map(get, _RPC_CODES)) if ok is not None]
    has_error = bool(get(_ERROR))
    host, port = (first_text(map(get, keys), MAX_SIDE_TEXT_CHARACTERS) for keys in (_HOST, _PORT))
    return _Facts(
        callee,
        host_and_port(host, port) if host and port else "",
        has_error or any(map(_is_retryable, http_codes)) or not all(rpc_ok),
        not (has_error or http_codes or rpc_ok),
        max(0, *(_count(get(key)) for key in _HTTP_RESENDS)),
        any(_count(get(key)) > 0 for key in _RESENDS),
        first_text(map(get, OPERATION)) if callee.provider else "",
        first_text(map(get, MODEL)) if callee.provider else "",
    )


def _parse_callee(attributes: Attributes) -> Callee:
    def text(*keys: str) -> str:
        return first_text(map(attributes.get, keys), MAX_SIDE_TEXT_CHARACTERS)

    peer, host = text(*_PEER), text(*_HOST)
    return Callee(
        text(*_DATABASE),
        Service(text("service.peer.namespace"), peer) if peer else None,
        "" if _is_ip_address(host) else host,
        text(*_PORT),
        provider_of(text(*PROVIDER)),
        text("messaging.system"),
    )


@lru_cache(MAX_CACHED_FACTS)
def _with_address(callee: Callee, netloc: str) -> Callee:
    try:
        parts = urlsplit(f"//{netloc}")
        host, port = parts.hostname or "", parts.port
    except ValueError:  # brackets that do not match, a port beyond 65535
        return callee
    return callee if not host or _is_ip_address(host) else callee._replace(host=host, port=str(port or ""))


def host_and_port(host: str, port: str | int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


@lru_cache(MAX_CACHED_FACTS)
def _url_address(url: str) -> str:
    """`host:port` of a URL, with the default port of its scheme; "" if it has none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # brackets that do not match, a port beyond 65535
        return ""
    return host_and_port(host, port) if host and port else ""


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_retryable(code: AttributeValue) -> bool:
    return (number := _count(code)) == 429 or number >= 500


def _is_rpc_ok(code: AttributeValue) -> bool | None:
    """Whether an RPC code, a number or a name, is OK; None if it is not a code."""
    if isinstance(code, int | float):
        return code == 0
    return code.upper() in ("OK", "0") if isinstance(code, str) and code else None


def _count(value: AttributeValue) -> int:
    """Return a count from a number, from digits, or from a list that holds them (gRPC metadata); else 0."""
    if isinstance(value, list):
        value = value[0] if value else 0
    if isinstance(value, str):
        return int(value) if len(value) < 10 and value.isascii() and value.isdigit() else 0
    return int(value) if isinstance(value, int | float) and isfinite(value) else 0
