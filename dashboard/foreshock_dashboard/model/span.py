"""A span as every layer sees it, and what may be asked of a trace source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service

AttributeValue = str | bool | int | float | bytes | list["AttributeValue"] | dict[str, "AttributeValue"] | None
Attributes = Mapping[str, AttributeValue]
Kind = Literal["internal", "server", "client", "producer", "consumer"]
Status = Literal["unset", "ok", "error"]

OCCUPANCY, EXPORTER = "gpu.occupancy", "foreshock-exporter"
"""Name and service of the spans that tell which service ran on a GPU when (`Span.occupancy`)."""

LONGEST_SERVICE = 512
"""Characters of a service's name, and of its namespace: they are kept long after the span."""

TRACE_KEYS = (
    "http.request.method", "http.response.status_code", "http.route", "url.path",
    "rpc.service", "rpc.method", "db.system.name", "messaging.destination.name", "error.type",
    "gen_ai.provider.name", "gen_ai.operation.name", "gen_ai.request.model",
    "user.id", "session.id",
    "host.id", "host.name", "k8s.namespace.name", "k8s.pod.name", "service.instance.id", "service.version",
    "hw.id", "foreshock.occupant.name",
)  # fmt: skip
"""Attributes that the store searches by unless told otherwise (names of OpenTelemetry's conventions, and ours)."""


class UnsearchableError(SourceError):
    """A source does not search by an attribute that was asked for; the message names those that it does."""


class Event(NamedTuple):
    """Something that happened during a span."""

    time_ns: int
    name: str
    attributes: Attributes


class Link(NamedTuple):
    """A span's tie to a span that is not its parent."""

    trace_id: str
    span_id: str
    attributes: Attributes


class Origin(NamedTuple):
    """What a span shares with its neighbours, as it came: OTLP's Resource and InstrumentationScope, and schemas."""

    resource: bytes
    scope: bytes
    resource_schema_url: bytes = b""
    scope_schema_url: bytes = b""


class _Came:
    """Where a span came from: apart from its values, so that neither equality nor `replace` knows of it."""

    __slots__ = ("_came",)

    _came: tuple[Origin, bytes]

    @property
    def raw(self) -> tuple[Origin, bytes] | None:
        """The encoded OTLP span that this one was read from, and what it shares; `None` where it was made otherwise."""
        try:
            return self._came
        except AttributeError:
            return None


Id = bytes
"""Of a span: its trace's (16 bytes) and its own (8), one behind the other."""


class Outline(NamedTuple):
    """A span as far as it is paired and counted; a `Span` can stand in for one.

    key: its id; `above` its parent's, b"" at a root. Times as a Span's.
    attributes: at least those that are asked for of such a span.
    """

    key: Id
    above: Id
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    status: Status
    clamped: bool
    resource: Attributes
    service: Service
    attributes: Attributes
    links: tuple[Link, ...]

    @property
    def occupancy(self) -> bool:
        """As `Span.occupancy`."""
        return self.name == OCCUPANCY and self.resource.get("service.name") == EXPORTER


@dataclass(frozen=True, slots=True)
class Span(_Came):
    """One OpenTelemetry span.

    trace_id and span_id are lower-case hex of 32 and 16 characters; parent_id is "" at a root. Times are Unix
    nanoseconds; end_ns ≥ start_ns always (a span that ended before it started is clamped and `clamped` says so).
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    status: Status
    status_message: str
    resource: Attributes
    attributes: Attributes
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    scope: str = ""
    trace_state: str = ""
    clamped: bool = field(default=False)

    @property
    def service(self) -> Service:
        """The pair (service.namespace, service.name), each cut to `LONGEST_SERVICE`; OpenTelemetry's `unknown_service`
        where there is no name.
        """
        return service_of(self.resource)

    @property
    def key(self) -> Id:
        """Its id."""
        return bytes.fromhex(self.trace_id + self.span_id)

    @property
    def above(self) -> Id:
        """Its parent's id, b"" at a root."""
        return bytes.fromhex(self.trace_id + self.parent_id) if self.parent_id else b""

    @property
    def occupancy(self) -> bool:
        """Whether it tells which service ran on a GPU when.

        Such spans are kept and can be read, but are no traffic: they are left out of the service graph, of span metrics
        and so of the list of services, of traces that have other spans, and of every list that does not ask for them.
        """
        return self.name == OCCUPANCY and self.resource.get("service.name") == EXPORTER

    @property
    def duration_ns(self) -> int:
        """Nanoseconds, never negative."""
        return self.end_ns - self.start_ns


class Outlines(NamedTuple):
    """Outlines of spans that came together, as columns; no object for each of them."""

    key: list[Id]
    above: list[Id]
    name: list[str]
    kind: list[Kind]
    start_ns: list[int]
    end_ns: list[int]
    status: list[Status]
    clamped: list[bool]
    resource: list[Attributes]
    service: list[Service]
    attributes: list[Attributes]
    links: list[tuple[Link, ...]]

    def rows(self) -> Iterator[OutlineRow]:
        """The fields of each."""
        return zip(*self, strict=True)


def outlines_of(spans: Sequence[Outlined]) -> Outlines:
    """Spans as far as they are paired and counted."""
    return Outlines._make([getattr(span, name) for span in spans] for name in Outlines._fields)


Outlined = Span | Outline
"""What is paired."""

OutlineRow = tuple[Id, Id, str, Kind, int, int, Status, bool, Attributes, Service, Attributes, tuple[Link, ...]]
"""The fields of an `Outline`."""


def service_of(resource: Attributes) -> Service:
    """As `Span.service`."""
    name = resource.get("service.name")
    namespace = resource.get("service.namespace")
    return Service(
        str(namespace)[:LONGEST_SERVICE] if namespace else "",
        str(name)[:LONGEST_SERVICE] if name else "unknown_service",
    )


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """What is asked of a trace list. Times in Unix seconds, durations in seconds; `None`: no condition.

    A trace is found if one of its spans began in the range and is all that is asked: its service (of that name in
    `any_namespace`, or in its own), operation, attributes (as text; of the span, or else of its resource; a source may
    know some keys only) and status. The durations, and `order`, are of the trace: those of its head (`head_of`).
    `order` picks among *all* that match, not among the first found; the list is in that order.
    """

    start: float
    end: float
    service: Service | None = None
    any_namespace: bool = False
    operation: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    min_duration: float | None = None
    max_duration: float | None = None
    status: Status | None = None
    order: Literal["slowest", "newest"] = "newest"
    limit: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 1000:
            raise ValueError(f"limit {self.limit} is not in 1..1000")
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")

    @property
    def occupancy(self) -> bool:
        """Whether it asks for occupancy spans, by their name."""
        return self.operation == OCCUPANCY


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One row of a trace list. Service, operation, `start` (Unix seconds) and `duration` (seconds) are its head's.

    `root` is False where the root span has not (yet) arrived.
    """

    trace_id: str
    service: Service
    operation: str
    start: float
    duration: float
    spans: int
    errors: int
    services: tuple[Service, ...]
    root: bool


def traffic(spans: Sequence[Span]) -> Sequence[Span]:
    """The spans of a trace without occupancy; all of them where it has nothing else."""
    return [span for span in spans if not span.occupancy] or spans


def head_of(spans: Iterable[Span]) -> Span:
    """The span that stands for a trace: its root, or its longest span where that is missing; of several the longest.

    A trace takes as long as its head did. From the first start to the last end it would be longer by whatever the
    clocks of its hosts are apart.
    """
    return max(spans, key=_headship)


def _headship(span: Span) -> tuple[bool, int, int, Service, str]:
    return not span.parent_id, span.duration_ns, -span.start_ns, span.service, span.name


class TraceSource(Protocol):
    """A place that holds traces."""

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """List traces that have a matching span, in the order that was asked for.

        Raises:
            SourceError: the source cannot answer, or does not search by a key that was asked for; then it names those
                that it does.
        """
        ...

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """All spans of one trace by start time, or the first of many (`Partial`); empty where the trace is unknown.

        Raises:
            SourceError: the source cannot answer.
        """
        ...
