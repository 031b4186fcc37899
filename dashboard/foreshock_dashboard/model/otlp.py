"""Spans ↔ OTLP's bytes: the one place that knows how trace.proto lays out a span.

Reading a span whole costs far more than receiving it: nearly all of that is making Python values of attributes that
nobody looks at. So a span is read as far as it is searched and paired by, and its bytes are kept for the rest. A
request is parsed three times, each time for what the others cannot give cheaply: whole, to know that all of it is
sound; as spans whose attributes are still bytes, to read their fields; and as spans that are still bytes, to keep
those.

Parsing is protobuf's own; the two lighter message types below have OTLP's field numbers, and so the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from foreshock_dashboard.model.span import (
    LONGEST_SERVICE,
    Attributes,
    AttributeValue,
    Draft,
    Event,
    Kind,
    Link,
    Origin,
    Span,
    Status,
)

MAX_SPAN = 1 << 20
"""Bytes of one span; larger ones are refused alone."""
MAX_ORIGIN = 1 << 17
"""Bytes of a resource or of a scope, which are kept again and again; the spans of larger ones are refused."""
SPAN_TOO_LARGE = f"larger than {MAX_SPAN} bytes"
ORIGIN_TOO_LARGE = f"resource or scope larger than {MAX_ORIGIN} bytes"
ORIGIN_MALFORMED = "malformed resource or scope"
MAX_KNOWN = 1 << 12
"""Bytes of a resource or of a scope that is remembered as read."""
AHEAD_NS = 86_400 * 10**9
"""How far after now a span may end: beyond it, it would outlive the store's retention and stretch every range."""
BEHIND_NS = 30 * AHEAD_NS
"""How long before now a span may have started."""

_KINDS: tuple[Kind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES: tuple[Status, ...] = ("unset", "ok", "error")
_KIND_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_STATUS_NUMBERS = {status: number for number, status in enumerate(_STATUSES)}
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_LAST_TIME = 2**63 - 1
_INT64 = 1 << 63


def _light_types() -> tuple[Any, Any]:
    """TracesData with spans as bytes, and with spans whose attributes, events and links are bytes."""
    file = descriptor_pb2.FileDescriptorProto(name="foreshock/light.proto", package="foreshock", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    data, text, number, fixed = field.TYPE_BYTES, field.TYPE_STRING, field.TYPE_INT32, field.TYPE_FIXED64
    layout: dict[str, tuple[tuple[str, int, Any, bool], ...]] = {
        "Status": (("message", 2, text, False), ("code", 3, number, False)),
        "Fields": (
            ("trace_id", 1, data, False), ("span_id", 2, data, False), ("trace_state", 3, text, False),
            ("parent_span_id", 4, data, False), ("name", 5, text, False), ("kind", 6, number, False),
            ("start", 7, fixed, False), ("end", 8, fixed, False), ("attributes", 9, data, True),
            ("events", 11, data, True), ("links", 13, data, True), ("status", 15, "Status", False),
        ),
        "ScopedFields": (("spans", 2, "Fields", True),),
        "GroupFields": (("scope_spans", 2, "ScopedFields", True),),
        "DataFields": (("resource_spans", 1, "GroupFields", True),),
        "ScopedBytes": (("scope", 1, data, False), ("spans", 2, data, True), ("schema_url", 3, data, False)),
        "GroupBytes": (
            ("resource", 1, data, False), ("scope_spans", 2, "ScopedBytes", True), ("schema_url", 3, data, False)
        ),
        "DataBytes": (("resource_spans", 1, "GroupBytes", True),),
    }  # fmt: skip
    for name, fields in layout.items():
        message = file.message_type.add(name=name)
        for label, place, kind, many in fields:
            made = message.field.add(name=label, number=place, label=3 if many else 1)
            if isinstance(kind, str):
                made.type, made.type_name = field.TYPE_MESSAGE, f".foreshock.{kind}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"foreshock.{name}") for name in ("DataBytes", "DataFields")]
    return tuple(message_factory.GetMessageClass(each) for each in found)  # type: ignore[return-value]  # two


_DataBytes, _DataFields = _light_types()


class Picker:
    """Reads those of a span's attributes that are asked for of every span; the rest stays bytes until it is asked for.

    `keys` are read from the start. With `learns`, a key that somebody asks a span for is read at once for later ones:
    so whatever the reader of spans looks at is read in one pass, without a list that both have to agree on.
    """

    MAX_KEYS, MAX_KNOWN, MAX_KNOWN_BYTES, MAX_VALUES = 128, 16_384, 256, 1000

    def __init__(self, keys: Iterable[str] = (), *, learns: bool = False) -> None:
        self.learns = learns
        self.covered: set[frozenset[str]] = set()
        self.keys: frozenset[str] = frozenset()
        self._names: dict[bytes, str] = {}
        self._met: Counter[bytes | None] = Counter()
        # Most attributes of most spans are the same bytes over and over; () stands for one that is not read.
        self._known: dict[bytes, tuple[str, AttributeValue] | tuple[()]] = {}
        self.add(keys)

    def add(self, keys: Iterable[str]) -> None:
        """Read these from now on, too."""
        wanted = self.keys.union(keys)
        if wanted != self.keys and len(wanted) <= self.MAX_KEYS:
            self._names = {key.encode(): key for key in wanted}
            self._known, self._met = {}, Counter()
            self.keys = wanted

    def pick(self, pairs: Iterable[bytes]) -> dict[str, AttributeValue]:
        """The values of the wanted keys among encoded KeyValues; the first of a key holds."""
        found: dict[str, AttributeValue] = {}
        known = self._known
        for pair in pairs:
            hit = known.get(pair)
            if hit is None:
                hit = self._read(pair, known)
            if hit and hit[0] not in found:
                found[hit[0]] = hit[1]
        return found

    def _read(self, pair: bytes, known: dict[bytes, Any]) -> tuple[str, AttributeValue] | tuple[()]:
        name = pair[2 : 2 + pair[1]] if len(pair) > 1 and pair[0] == 10 and pair[1] < 128 else None
        hit: tuple[str, AttributeValue] | tuple[()] = ()
        if name is None:  # it does not begin with its key, or that is a long one
            message = KeyValue.FromString(pair)
            if message.key in self.keys:
                hit = message.key, _value(message.value)
        elif (key := self._names.get(name)) is not None:
            hit = key, _value_of(pair, 2 + len(name))
        met = self._met.get(name, 0)
        if met < self.MAX_VALUES and len(pair) <= self.MAX_KNOWN_BYTES:  # a request's id would come once each
            if len(known) >= self.MAX_KNOWN:
                known.clear()
                self._met.clear()
            known[pair], self._met[name] = hit, met + 1
        return hit


def _value_of(pair: bytes, at: int) -> AttributeValue:
    """The value of an encoded KeyValue whose key ends at `at`: a short text by hand, for most are, else by protobuf."""
    head = pair[at : at + 4]
    if len(head) == 4 and head[0] == 18 and head[2] == 10 and head[3] < 128 and len(pair) == at + 4 + head[3]:
        return pair[at + 4 :].decode()
    return _value(KeyValue.FromString(pair).value)


class Encoded(Mapping[str, AttributeValue]):
    """A span's attributes: those that its picker wants are at hand, all others are read when one is asked for."""

    __slots__ = ("_all", "_picker", "_raw", "_some", "_wanted")

    def __init__(self, raw: bytes, some: dict[str, AttributeValue], picker: Picker) -> None:
        self._raw, self._some, self._picker = raw, some, picker
        self._wanted = picker.keys
        self._all: dict[str, AttributeValue] | None = None

    def some(self, keys: frozenset[str]) -> Mapping[str, AttributeValue]:
        """At least those of `keys` that there are, as a plain dict."""
        if self._wanted is self._picker.keys and keys in self._picker.covered:
            return self._some
        if keys <= self._wanted:
            if len(self._picker.covered) < Picker.MAX_KEYS:
                self._picker.covered.add(keys)
            return self._some
        if self._picker.learns:
            self._picker.add(keys)
        return self._whole()

    def _whole(self) -> dict[str, AttributeValue]:
        if self._all is None:
            self._all = attributes_of(OtlpSpan.FromString(self._raw).attributes)
        return self._all

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - as Mapping has it
        """As of any mapping."""
        if key in self._wanted:
            return self._some.get(key, default)
        if self._picker.learns and key not in self._picker.keys:
            self._picker.add((key,))
        return self._whole().get(key, default)

    def __getitem__(self, key: str) -> AttributeValue:
        return self._some[key] if key in self._wanted else self._whole()[key]

    def __contains__(self, key: object) -> bool:
        return key in (self._some if key in self._wanted else self._whole())

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __repr__(self) -> str:
        return repr(self._whole())


def some(attributes: Attributes, keys: frozenset[str]) -> Mapping[str, AttributeValue]:
    """At least those of `keys` that are among the attributes: the fast way to ask for several of one span."""
    return attributes.some(keys) if type(attributes) is Encoded else attributes


@dataclass(frozen=True, slots=True)
class Read:
    """The spans of some bytes, and how many were refused for which reason."""

    spans: list[Span]
    refused: Mapping[str, int]


_FRUGAL = Picker()


def read(data: bytes, picker: Picker = _FRUGAL, now_ns: int | None = None, *, checked: bool = True) -> Read:
    """Read a TracesData (or an ExportTraceServiceRequest, which has the same bytes).

    A span that cannot be used is refused alone. With `now_ns`, so is one that lies too far from now. What `encode` made
    need not be `checked`.

    Raises:
        DecodeError: these are not the bytes of one.
    """
    refused: Counter[str] = Counter()
    try:
        if checked:
            TracesData.FromString(data)
    except DecodeError:
        data = _without_malformed(data, refused)
    earliest, latest = (1, _LAST_TIME) if now_ns is None else (max(1, now_ns - BEHIND_NS), now_ns + AHEAD_NS)
    spans: list[Any] = []  # a Draft is a Span once made
    for group, raw_group in zip(
        _DataFields.FromString(data).resource_spans, _DataBytes.FromString(data).resource_spans, strict=True
    ):
        resource_raw = raw_group.resource
        resource = _resource(resource_raw)
        for scoped, raw_scoped in zip(group.scope_spans, raw_group.scope_spans, strict=True):
            origin = Origin(resource_raw, raw_scoped.scope, raw_group.schema_url, raw_scoped.schema_url)
            if checked and max(map(len, origin)) > MAX_ORIGIN:
                refused[ORIGIN_TOO_LARGE] += len(scoped.spans)
                continue
            scope = _scope(raw_scoped.scope)
            for span, raw in zip(scoped.spans, raw_scoped.spans, strict=True):
                trace_id, span_id, start, end = span.trace_id, span.span_id, span.start, span.end
                parent = span.parent_span_id
                if checked and (
                    len(trace_id) != 16 or len(span_id) != 8 or trace_id == _NO_TRACE or span_id == _NO_SPAN
                    or len(parent) not in (0, 8) or not earliest <= start <= _LAST_TIME or end > latest
                    or len(raw) > MAX_SPAN or start > latest
                ):  # fmt: skip
                    refused[_fault(trace_id, span_id, parent, start, end, len(raw))] += 1
                    continue
                events, links, status, kind = span.events, span.links, span.status, span.kind
                code = status.code
                spans.append(
                    Draft(
                        origin,
                        raw,
                        trace_id.hex(),
                        span_id.hex(),
                        "" if parent == _NO_SPAN else parent.hex(),
                        span.name,
                        _KINDS[kind] if 0 <= kind < 6 else "internal",
                        start,
                        max(start, end),
                        _STATUSES[code] if 0 <= code < 3 else "unset",
                        status.message,
                        resource,
                        Encoded(raw, picker.pick(span.attributes), picker),
                        _events(raw) if events else (),
                        _links(raw) if links else (),
                        scope,
                        span.trace_state,
                        end < start,
                    )
                )
    return Read(spans, +refused)


def _without_malformed(data: bytes, refused: Counter[str]) -> bytes:
    """The same without what is the reason why it cannot be read; the spans that it costs are counted."""
    found = _DataBytes.FromString(data)
    for group in found.resource_spans:
        spans = sum(len(scoped.spans) for scoped in group.scope_spans)
        if spans and not _sound(Resource, group.resource):
            refused[ORIGIN_MALFORMED] += spans
            group.Clear()
        for scoped in group.scope_spans:
            if scoped.spans and not _sound(InstrumentationScope, scoped.scope):
                refused[ORIGIN_MALFORMED] += len(scoped.spans)
                scoped.Clear()
            sound = [raw for raw in scoped.spans if _sound(OtlpSpan, raw)]
            refused["malformed span"] += len(scoped.spans) - len(sound)
            del scoped.spans[:]
            scoped.spans.extend(sound)
    data = bytes(found.SerializeToString())
    TracesData.FromString(data)
    return data


def _sound(kind: type[OtlpSpan | Resource | InstrumentationScope], raw: bytes) -> bool:
    try:
        kind.FromString(raw)
    except DecodeError:
        return False
    return True


def _fault(trace_id: bytes, span_id: bytes, parent: bytes, start: int, end: int, size: int) -> str:
    """Why a span cannot be used (opentelemetry-proto, trace.proto)."""
    if len(trace_id) != 16 or trace_id == _NO_TRACE:
        return "invalid trace_id"
    if len(span_id) != 8 or span_id == _NO_SPAN:
        return "invalid span_id"
    if len(parent) not in (0, 8):
        return "invalid parent_span_id"
    if size > MAX_SPAN:
        return SPAN_TOO_LARGE
    if not 0 < start <= _LAST_TIME or end > _LAST_TIME:
        return "invalid time"
    return "time too far from now"


def _resource(raw: bytes) -> dict[str, AttributeValue]:
    """Shared by all spans of a resource, over many requests."""
    return _known_resource(raw) if len(raw) <= MAX_KNOWN else _known_resource.__wrapped__(raw)


@lru_cache(1024)
def _known_resource(raw: bytes) -> dict[str, AttributeValue]:
    return attributes_of(Resource.FromString(raw).attributes)


def _scope(raw: bytes) -> str:
    return _known_scope(raw) if len(raw) <= MAX_KNOWN else _known_scope.__wrapped__(raw)


@lru_cache(1024)
def _known_scope(raw: bytes) -> str:
    return InstrumentationScope.FromString(raw).name


def _events(raw: bytes) -> tuple[Event, ...]:
    events = OtlpSpan.FromString(raw).events
    return tuple(Event(each.time_unix_nano, each.name, attributes_of(each.attributes)) for each in events)


def _links(raw: bytes) -> tuple[Link, ...]:
    links = OtlpSpan.FromString(raw).links
    return tuple(Link(each.trace_id.hex(), each.span_id.hex(), attributes_of(each.attributes)) for each in links)


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    """Encoded attributes; of a key that is there twice the first holds."""
    attributes: dict[str, AttributeValue] = {}
    for pair in pairs:
        attributes.setdefault(pair.key, _value(pair.value))
    return attributes


def _value(value: AnyValue) -> AttributeValue:
    if text := value.string_value:  # nearly all are non-empty strings, and asking which is set costs more
        return text
    match value.WhichOneof("value"):
        case "string_value":
            return ""
        case "int_value":
            return value.int_value
        case "bool_value":
            return value.bool_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return value.bytes_value
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {**attributes_of(value.kvlist_value.values)}
        case _:
            return None


# --- and back


def encode(spans: Sequence[Span]) -> bytes:
    """A TracesData that `read` gives these spans of, in this order; spans that came as bytes are those bytes."""
    return joined(encoded(spans))


def joined(spans: Iterable[tuple[Origin, bytes]]) -> bytes:
    """The same of spans that are encoded already; neighbours share a resource, and within it a scope."""
    data = _DataBytes()
    last: tuple[bytes, bytes] | None = None
    for origin, group in groupby(spans, key=lambda one: one[0]):
        if (shared := (origin.resource, origin.resource_schema_url)) != last:
            last, added = shared, data.resource_spans.add(resource=shared[0], schema_url=shared[1])
        scoped = [raw for _, raw in group]
        added.scope_spans.add(scope=origin.scope, schema_url=origin.scope_schema_url, spans=scoped)
    return bytes(data.SerializeToString())


def encoded(spans: Sequence[Span]) -> Iterator[tuple[Origin, bytes]]:
    """Each span's bytes, and what it shares with its neighbours."""
    origins: dict[tuple[int, str], Origin] = {}
    for span in spans:
        raw = span.raw
        if raw is not None:
            yield raw
            continue
        shared = id(span.resource), span.scope
        origin = origins.get(shared)
        if origin is None:
            resource = Resource(attributes=_pairs(span.resource))
            scope = InstrumentationScope(name=_text(span.scope))
            origin = origins[shared] = Origin(resource.SerializeToString(), scope.SerializeToString())
        yield origin, _span(span).SerializeToString()


def _span(span: Span) -> OtlpSpan:
    made = OtlpSpan(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        name=_text(span.name),
        kind=_KIND_NUMBERS[span.kind],  # type: ignore[arg-type]  # an enum's number
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=max(0, span.start_ns - 1) if span.clamped else span.end_ns,
        trace_state=_text(span.trace_state),
        attributes=_pairs(span.attributes),
    )
    if span.status != "unset" or span.status_message:
        made.status.code = _STATUS_NUMBERS[span.status]  # type: ignore[assignment]  # an enum's number
        made.status.message = _text(span.status_message)
    for event in span.events:
        made.events.add(time_unix_nano=event.time_ns, name=_text(event.name), attributes=_pairs(event.attributes))
    for link in span.links:
        made.links.add(
            trace_id=bytes.fromhex(link.trace_id),
            span_id=bytes.fromhex(link.span_id),
            attributes=_pairs(link.attributes),
        )
    return made


def _pairs(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=_text(key), value=_any(value)) for key, value in attributes.items()]


def _text(value: str) -> str:
    """The text without lone surrogates, which are no valid UTF-8."""
    return value.encode("utf-8", "replace").decode()


def _any(value: AttributeValue) -> AnyValue:
    """A value as OTLP has it; integers beyond 64 bits, which OTLP lacks, become their digits."""
    made = AnyValue()
    match value:
        case None:
            pass
        case bool():
            made.bool_value = value
        case str():
            made.string_value = _text(value)
        case int() if -_INT64 <= value < _INT64:
            made.int_value = value
        case int():
            made.string_value = str(value)
        case float():
            made.double_value = value
        case bytes():
            made.bytes_value = value
        case list() | tuple():
            made.array_value.SetInParent()
            made.array_value.values.extend([_any(item) for item in value])
        case Mapping():
            made.kvlist_value.SetInParent()
            made.kvlist_value.values.extend(_pairs(value))
        case _:
            raise TypeError(f"an attribute cannot be {type(value).__name__}")
    return made


def index_of(attributes: Attributes, keys: Collection[str]) -> dict[str, str]:
    """The texts of those of `keys` that are among the attributes."""
    return {key: text_of(attributes[key]) for key in keys if key in attributes}


LONGEST_TEXT = LONGEST_SERVICE
"""Characters of a text that is searched by."""


def text_of(value: AttributeValue) -> str:
    """A value as a search names it: `true`, `7`, `0.5`, a text's first characters."""
    if type(value) is str:
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT]
    if isinstance(value, bool):
        return "true" if value else "false"
    return (value.hex() if isinstance(value, bytes) else str(value))[:LONGEST_TEXT]
