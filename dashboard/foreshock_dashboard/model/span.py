"""Spans, trace queries, and the protocol of trace sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import CLUSTER_MARK, Service

AttributeValue = str | bool | int | float | bytes | list["AttributeValue"] | dict[str, "AttributeValue"] | None
Attributes = Mapping[str, AttributeValue]
Kind = Literal["internal", "server", "client", "producer", "consumer"]
Status = Literal["unset", "ok", "error"]

OCCUPANCY_NAME, EXPORTER_NAME = "gpu.occupancy", "foreshock-exporter"
"""Name and service of occupancy spans, which record the services that ran on a GPU (`Span.occupancy`)."""

CLUSTER_ATTRIBUTE = "k8s.cluster.name"
"""Resource attribute with the cluster (OpenTelemetry conventions)."""

MAX_SERVICE_CHARS = 512
"""Limit of a service's name and of its namespace, because both are stored longer than the span."""

TRACE_KEYS = (
    "http.request.method", "http.response.status_code", "http.route", "url.path",
    "rpc.service", "rpc.method", "db.system.name", "messaging.destination.name", "error.type",
    "gen_ai.provider.name", "gen_ai.operation.name", "gen_ai.request.model",
    "user.id", "session.id",
    "host.id", "host.name", CLUSTER_ATTRIBUTE, "k8s.namespace.name", "k8s.pod.name",
    "service.instance.id", "service.version", "hw.id", "foreshock.occupant.name",
)  # fmt: skip
"""Attributes that the store indexes by default: names of OpenTelemetry's conventions, and foreshock's own."""


class UnsearchableError(SourceError):
    """A source cannot search by an attribute of the query; the message lists its searchable attributes."""


class Event(NamedTuple):
    """A timestamped event of a span."""

    time_ns: int
    name: str
    attributes: Attributes


EXCEPTION_EVENT, EXCEPTION_TYPE = "exception", "exception.type"
"""Name of an event that records an exception, and the attribute with its type (OpenTelemetry conventions)."""


def exceptions_of(events: Iterable[Event]) -> tuple[str, ...]:
    """Types of the recorded exceptions, `unknown` without a type."""
    if not events:
        return ()
    return tuple(
        str(event.attributes.get(EXCEPTION_TYPE) or "unknown") for event in events if event.name == EXCEPTION_EVENT
    )


class Link(NamedTuple):
    """A link to a span other than the parent."""

    trace_id: str
    span_id: str
    attributes: Attributes


class Origin(NamedTuple):
    """The encoded Resource and InstrumentationScope that a span shares with its OTLP batch, and their schema URLs."""

    resource: bytes
    scope: bytes
    resource_schema_url: bytes = b""
    scope_schema_url: bytes = b""


SpanKey = bytes
"""Trace id (16 bytes) followed by span id (8 bytes)."""


class Outline(NamedTuple):
    """The fields of a span that pairing and span metrics need; a `Span` has all of them.

    parent_key: b"" for a root span. start_ns, end_ns: as in `Span`. attributes: at least those that span metrics read.
    exceptions: types of the recorded exceptions.
    """

    key: SpanKey
    parent_key: SpanKey
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
    exceptions: tuple[str, ...] = ()

    @property
    def occupancy(self) -> bool:
        """See `Span.occupancy`."""
        return self.name == OCCUPANCY_NAME and self.resource.get("service.name") == EXPORTER_NAME


@dataclass(frozen=True, slots=True)
class Span:
    """One OpenTelemetry span.

    trace_id and span_id are lower-case hex of 32 and 16 characters; parent_id is "" at a root. Times are Unix
    nanoseconds; end_ns ≥ start_ns always (a span that ended before it started is clamped and `clamped` says so).
    raw: the batch's origin and the encoded OTLP span, for a span decoded from OTLP; `replace` drops it.
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
    clamped: bool = False
    raw: tuple[Origin, bytes] | None = field(default=None, init=False, compare=False, repr=False)

    def attach_raw(self, raw: tuple[Origin, bytes]) -> None:
        """Set the encoded form of a span that was just decoded."""
        object.__setattr__(self, "raw", raw)

    @property
    def service(self) -> Service:
        """The pair (service.namespace, service.name), each cut to `MAX_SERVICE_CHARS`.

        A missing name becomes OpenTelemetry's `unknown_service`.
        """
        return service_of(self.resource)

    @property
    def key(self) -> SpanKey:
        """Trace id and span id in bytes."""
        return bytes.fromhex(self.trace_id + self.span_id)

    @property
    def parent_key(self) -> SpanKey:
        """The parent's key; b"" for a root span."""
        return bytes.fromhex(self.trace_id + self.parent_id) if self.parent_id else b""

    @property
    def occupancy(self) -> bool:
        """Whether the span records the services that ran on a GPU.

        Occupancy spans are stored but are not traffic. The service graph, span metrics, and the list of services
        exclude them, as do traces with other spans and searches by other operations.
        """
        return self.name == OCCUPANCY_NAME and self.resource.get("service.name") == EXPORTER_NAME

    @property
    def exceptions(self) -> tuple[str, ...]:
        """Types of the exceptions that the span's events record."""
        return exceptions_of(self.events)

    @property
    def duration_ns(self) -> int:
        """Duration in nanoseconds, ≥ 0."""
        return self.end_ns - self.start_ns


class Outlines(NamedTuple):
    """The outlines of a batch, stored as columns."""

    key: list[SpanKey]
    parent_key: list[SpanKey]
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
    exceptions: list[tuple[str, ...]]

    def rows(self) -> Iterator[OutlineRow]:
        """Iterate over the outlines as tuples."""
        return zip(*self, strict=True)


def outlines_of(spans: Sequence[SpanLike]) -> Outlines:
    """The outlines of spans."""
    return Outlines._make([getattr(span, name) for span in spans] for name in Outlines._fields)


SpanLike = Span | Outline
"""A span that can be paired."""

OutlineRow = tuple[
    SpanKey, SpanKey, str, Kind, int, int, Status, bool, Attributes, Service, Attributes, tuple[Link, ...],
    tuple[str, ...],
]  # fmt: skip
"""The fields of an `Outline`, in order."""


def service_of(resource: Attributes) -> Service:
    """The service of a resource; see `Span.service`."""
    name = resource.get("service.name")
    namespace = resource.get("service.namespace")
    return Service(
        str(namespace)[:MAX_SERVICE_CHARS] if namespace else "",
        str(name)[:MAX_SERVICE_CHARS] if name else "unknown_service",
    )


def in_clusters(outlines: Outlines) -> Outlines:
    """The outlines with each service in the cluster of its resource; the same ones where no resource names one."""
    clusters = [resource.get(CLUSTER_ATTRIBUTE) for resource in outlines.resource]
    if not any(clusters):
        return outlines
    pairs = zip(outlines.service, clusters, strict=True)
    return outlines._replace(
        service=[_in_cluster(service, str(cluster)) if cluster else service for service, cluster in pairs]
    )


@lru_cache(1024)
def _in_cluster(service: Service, cluster: str) -> Service:
    return service.in_cluster(cluster[:MAX_SERVICE_CHARS].replace(CLUSTER_MARK, "/"))


def version_of(resource: Attributes) -> str:
    """The version that a process runs: `service.version`, else the tag of its container image; "" if unknown."""
    if version := resource.get("service.version"):
        return str(version)
    tags = resource.get("container.image.tags")
    if isinstance(tags, list) and tags:
        return str(tags[0])
    return image_tag(str(resource.get("container.image.name") or ""))


def image_tag(image: str) -> str:
    """The tag of a container image, else the first twelve digits of its digest; "" without either."""
    name, _, digest = image.rpartition("/")[2].partition("@")
    return name.partition(":")[2] or digest.partition(":")[2][:12]


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """A search for traces. Times in Unix seconds, durations in seconds; `None`: no condition.

    A trace matches if one of its spans starts in the range and meets all conditions on service, operation, attributes,
    and status. `any_namespace` ignores the service's namespace. Attributes are compared as text, first the span's, then
    its resource's; a source may support some keys only. The durations and `order` apply to the trace's `main_span`.
    `order` and `limit` apply to all matching traces.
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
        """Whether the query is for occupancy spans, by their name."""
        return self.operation == OCCUPANCY_NAME


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One row of a trace list.

    service, operation, start (Unix seconds), duration (seconds): of the trace's `main_span`. root: whether the root
    span has arrived.
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


def traffic_spans(spans: Sequence[Span]) -> Sequence[Span]:
    """The spans of a trace without occupancy spans; all spans if the trace has no others."""
    return [span for span in spans if not span.occupancy] or spans


def main_span(spans: Iterable[Span]) -> Span:
    """The longest root span of a trace, or its longest span if the root is missing.

    Its duration is that of the trace. The time from first start to last end would include the clock skew between hosts.
    """
    return max(spans, key=_rank)


def _rank(span: Span) -> tuple[bool, int, int, Service, str]:
    return not span.parent_id, span.duration_ns, -span.start_ns, span.service, span.name


class TraceSource(Protocol):
    """A source of traces."""

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """List traces that have a matching span, in the query's order.

        Raises:
            SourceError: the source cannot answer.
            UnsearchableError: the source cannot search by one of the query's attributes.
        """

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """All spans of one trace by start time, or the first of many (`Partial`); empty if the trace is unknown.

        Raises:
            SourceError: the source cannot answer.
        """
