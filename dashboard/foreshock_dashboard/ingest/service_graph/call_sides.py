"""What a span tells of its half of a call: the few attributes that pairing reads."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from ipaddress import ip_address
from math import isfinite
from operator import itemgetter
from typing import NamedTuple
from urllib.parse import urlsplit

from foreshock_dashboard.ingest.otlp.gen_ai import MODEL, OPERATION, PROVIDER, first_text, provider_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Attributes, AttributeValue, Id, Kind, Status

MAX_TEXT = 200
"""Characters of a name, and of an attribute, that a waiting half keeps."""
MAX_CALLEES = 10_000
"""What callees and outcomes are told by, kept ready for use; beyond it, all are read anew."""
MAX_SHAPES = 1000
"""Sets of attributes of which it is known what to read."""


_DATABASE = ("db.namespace", "db.name", "db.system.name", "db.system")
_PEER = ("service.peer.name", "peer.service")
_HOST = ("server.address", "net.peer.name")
_PORT = ("server.port", "net.peer.port")
_CALLEE = (*_DATABASE, *_PEER, "service.peer.namespace", *_HOST, *_PORT, *PROVIDER, "messaging.system")
_URL = ("url.full", "http.url", "http.target")
_HTTP_RESENDS = ("http.request.resend_count", "http.resend_count")
_GRPC_RESENDS = ("previous-rpc-attempts", "transparent-retry")  # of gRPC's own spans of each attempt (gRFC A72)
_RESENDS = (*_HTTP_RESENDS, *_GRPC_RESENDS)
_ERROR = "error.type"
_CODES = ("http.response.status_code", "http.status_code")
_RPC_CODES = ("rpc.grpc.status_code", "rpc.response.status_code")
_PREVIOUS_ATTEMPTS = (
    "rpc.grpc.request.metadata.grpc-previous-rpc-attempts",
    "rpc.request.metadata.grpc-previous-rpc-attempts",
)
_RECEIVES = ("messaging.operation.type", "messaging.operation")
_TOLD = (*_CALLEE, *_RESENDS, _ERROR, *_CODES, *_RPC_CODES, *OPERATION, *MODEL)
CLIENT_KEYS = frozenset((*_TOLD, *_URL, *_RECEIVES))
SERVER_KEYS = frozenset(_PREVIOUS_ATTEMPTS)
"""What is asked for of CLIENT and PRODUCER spans, and of SERVER and CONSUMER spans."""


class Callee(NamedTuple):
    """A callee as far as its caller knows it.

    `peer` is named as a service; `host` by an address that is no IP address, for that names a machine; `provider` is
    who offers the model that is asked for; `messaging` is the system of a broker. "" where there is no such thing.
    """

    database: str = ""
    peer: Service | None = None
    host: str = ""
    port: str = ""
    provider: str = ""
    messaging: str = ""

    @property
    def service(self) -> Service | None:
        """Its name in the graph, if it has one."""
        if self.peer is not None:
            return self.peer
        name = self.host or self.database if self.database else self.provider or self.host or self.messaging
        return Service("", name) if name else None


class Client:
    """The calling half. `operation` and `model` are those of a model.

    in_vain: whether it failed, or got an answer after which clients try again: HTTP's 429, 500 and above, and an RPC's
        codes but that of success, for to its client each of them is an error.
    unsure: whether the span tells neither of success nor of failure: by the conventions an HTTP or RPC client's tells
        the code of the answer, and status `ok` is the word of somebody who knows.
    resent: whether the span says that it sends a request again. `resend` is the number that HTTP's conventions have for
        that; they count every time that a request is sent again, after a redirect too.
    """

    __slots__ = (
        "callee", "end_ns", "failed", "id", "in_vain", "kind", "model", "name", "operation", "resend", "resent",
        "seconds", "service", "start_ns", "unsure", "url",
    )  # fmt: skip

    def __init__(
        self, service: Service, id_: Id, kind: Kind, name: str, start: int, end: int, status: Status, found: Attributes
    ) -> None:
        shape = _shape_of(found)
        self.service = service
        self.id = id_
        self.kind = kind
        self.start_ns, self.end_ns = start, end
        self.seconds = (end - start) / 1e9
        self.name = name[:MAX_TEXT]
        self.url = ""
        for key in shape.url:
            if url := found[key]:
                self.url = url.partition("?")[0][:MAX_TEXT] if isinstance(url, str) else ""
                break
        callee, in_vain, unsure, self.resend, self.resent, self.operation, self.model = _told(shape, found)
        self.failed = status == "error"
        self.in_vain = in_vain or self.failed
        self.unsure = unsure and status == "unset"
        self.callee = callee
        if not (callee.host or callee.provider or callee.peer or callee.database) and "://" in self.url:
            self.callee = _addressed(callee, self.url.partition("://")[2].partition("/")[0])

    @property
    def target(self) -> tuple[str, str]:
        """What a call that repeats this one has in common with it: the span's name, and the URL's path.

        The host may be another: the next replica of the same service.
        """
        whole = self.url.partition("://")[2]
        return self.name, whole.partition("/")[2] if whole else self.url

    @property
    def task(self) -> tuple[str, str]:
        """What a call that replaces this one has in common with it: a model's operation, or else the `target`."""
        return ("", self.operation) if self.operation else self.target


class Claim:
    """What becomes of a called half with links: its parent and each span that it links to may be its calling half.

    undecided: of how many of them nothing is known yet. callers: whose those are that turned out to be no calling half.
    root: whether it has no parent, so that `user` has called if nobody else has.
    dropped: whether it was counted as one that there was no room for.
    """

    __slots__ = ("callers", "dropped", "paired", "root", "undecided")

    def __init__(self, undecided: int, *, root: bool) -> None:
        self.undecided, self.root = undecided, root
        self.callers: list[Service] = []
        self.paired = self.dropped = False


class Way(NamedTuple):
    """How a called half comes to its calling half, where that is not simply its parent.

    through: of which service the INTERNAL spans are that were looked through; looked: how many; attempt: one of them is
        a call's attempt.
    claim: of a half with links, what all its ways have in common; strict: this one leads to a PRODUCER span or nowhere.
    """

    through: Service | None = None
    looked: int = 0
    attempt: bool = False
    claim: Claim | None = None
    strict: bool = False


class Server(NamedTuple):
    """The called half. `attempts_before` says that the caller's transport has tried before."""

    service: Service
    name: str
    seconds: float
    failed: bool
    kind: Kind
    attempts_before: bool
    id: Id
    way: Way | None = None


def server_half(
    service: Service, id_: Id, kind: Kind, name: str, start: int, end: int, status: Status, found: Attributes
) -> Server:
    """What a SERVER or CONSUMER span, or one that `receives`, tells."""
    before, grpc_before = map(found.get, _PREVIOUS_ATTEMPTS) if found else (None, None)
    told = (
        service,
        name[:MAX_TEXT],
        (end - start) / 1e9,
        status == "error",
        "server" if kind == "server" else "consumer",
        before is not grpc_before and (_number(before) > 0 or _number(grpc_before) > 0),
        id_,
        None,
    )
    return tuple.__new__(Server, told)  # its own constructor takes three times as long


def receives(found: Attributes) -> bool:
    """Whether a CLIENT span fetches messages: then it is the consumer's half of those that it links to.

    OpenTelemetry gives the operation `receive` the kind CLIENT (semantic conventions, messaging spans).
    """
    return any(found.get(name) == "receive" for name in _RECEIVES)


class _Told(NamedTuple):
    """What the attributes of a `Client` tell, its URL and its status left aside."""

    callee: Callee
    in_vain: bool
    unsure: bool
    resend: int
    resent: bool
    operation: str
    model: str


class _Shape:
    """Which attributes of interest a span has. Most spans have the same as many others, so it is found out once.

    told: those that a `_Told` is read from; values: their values, of a span with these attributes.
    """

    __slots__ = ("told", "url", "values")

    def __init__(self, found: Attributes) -> None:
        self.told = tuple(key for key in _TOLD if key in found)
        self.url = tuple(key for key in _URL if key in found)
        self.values: Callable[[Attributes], Hashable] = itemgetter(*self.told) if self.told else lambda _: None


_shapes: dict[tuple[str, ...], _Shape] = {}
_known: dict[tuple[_Shape, Hashable], _Told] = {}


def _shape_of(found: Attributes) -> _Shape:
    shape = _shapes.get(keys := tuple(found))
    if shape is None:
        shape = _Shape(found)
        if len(_shapes) >= MAX_SHAPES:
            _shapes.clear()
        _shapes[keys] = shape
    return shape


def _told(shape: _Shape, found: Attributes) -> _Told:
    """The same comes with nearly every span."""
    key = shape, shape.values(found)
    try:
        told = _known.get(key)
    except TypeError:  # a list among them
        return _read_told(found)
    if told is None:
        told = _read_told(found)
        if len(_known) >= MAX_CALLEES:
            _known.clear()
        texts = (value for value in map(found.get, shape.told) if isinstance(value, str | bytes))
        if all(len(text) <= MAX_TEXT for text in texts):
            _known[key] = told
    return told


def _read_told(found: Attributes) -> _Told:
    get = found.get
    callee = _read_callee(found)
    codes = [code for code in map(get, _CODES) if code is not None]
    succeeded = [known for known in map(_succeeded, map(get, _RPC_CODES)) if known is not None]
    failed = bool(get(_ERROR))
    return _Told(
        callee,
        failed or any(map(_asks_again, codes)) or not all(succeeded),
        not (failed or codes or succeeded),
        max(0, *(_number(get(key)) for key in _HTTP_RESENDS)),
        any(_number(get(key)) > 0 for key in _RESENDS),
        first_text(map(get, OPERATION)) if callee.provider else "",
        first_text(map(get, MODEL)) if callee.provider else "",
    )


def _read_callee(found: Attributes) -> Callee:
    get = found.get
    peer, host = first_text(map(get, _PEER), MAX_TEXT), first_text(map(get, _HOST), MAX_TEXT)
    return Callee(
        first_text(map(get, _DATABASE), MAX_TEXT),
        Service(first_text((get("service.peer.namespace"),), MAX_TEXT), peer) if peer else None,
        "" if _is_address(host) else host,
        first_text(map(get, _PORT), MAX_TEXT),
        provider_of(first_text(map(get, PROVIDER), MAX_TEXT)),
        first_text((get("messaging.system"),), MAX_TEXT),
    )


@lru_cache(MAX_CALLEES)
def _addressed(callee: Callee, netloc: str) -> Callee:
    """The same, whose address is told by a URL alone."""
    try:
        parts = urlsplit(f"//{netloc}")
        host, port = parts.hostname or "", parts.port
    except ValueError:  # brackets that do not match, a port beyond 65535
        return callee
    return callee if not host or _is_address(host) else callee._replace(host=host, port=str(port or ""))


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _asks_again(code: AttributeValue) -> bool:
    return (number := _number(code)) == 429 or number >= 500


def _succeeded(code: AttributeValue) -> bool | None:
    """Whether an RPC's code, a number or a name, is that of success; None where it is no code."""
    if isinstance(code, int | float):
        return code == 0
    return code.upper() in ("OK", "0") if isinstance(code, str) and code else None


def _number(value: AttributeValue) -> int:
    """An attribute that should be a count: a number, its digits, or a list that holds them (gRPC metadata); else 0."""
    if isinstance(value, list):
        value = value[0] if value else 0
    if isinstance(value, str):
        return int(value) if len(value) < 10 and value.isascii() and value.isdigit() else 0
    return int(value) if isinstance(value, int | float) and isfinite(value) else 0
