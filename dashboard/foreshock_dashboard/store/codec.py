"""Samples and spans ↔ the bytes of an inbox row, and the columns that DuckDB takes."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import SampleBatch
from foreshock_dashboard.model.span import Attributes, AttributeValue, Event, Kind, Link, Span, Status
from foreshock_dashboard.store.series import SeriesIndex

_LEVEL = 1
_INT64 = 1 << 63
Columns = dict[str, NDArray[Any]]

SAMPLE_COLUMNS = {"metric": "INTEGER", "series": "INTEGER", "time": "BIGINT", "bits": "BIGINT"}
"""`time` in ms; `bits` is the float64's bit pattern, so that a staleness marker stays one in every encoding."""

SPAN_COLUMNS = {
    "trace_id": "VARCHAR", "span_id": "VARCHAR", "parent_id": "VARCHAR", "name": "VARCHAR", "kind": "VARCHAR",
    "start_ns": "BIGINT", "end_ns": "BIGINT", "status": "VARCHAR", "status_message": "VARCHAR",
    "namespace": "VARCHAR", "service": "VARCHAR", "resource": "VARCHAR", "attributes": "VARCHAR",
    "events": "VARCHAR", "links": "VARCHAR", "scope": "VARCHAR", "trace_state": "VARCHAR", "clamped": "BOOLEAN",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows of one request as columns; `start` and `end` in the kind's unit of time; `refused` were not taken."""

    columns: Columns
    rows: int
    start: int
    end: int
    bytes: int
    refused: int = 0


# --- samples


def sample_chunk(batches: Sequence[SampleBatch], index: SeriesIndex) -> Chunk:
    """Columns of scrapes. Series beyond the index's limit are refused and counted.

    Raises:
        ValueError: a batch's time is no time.
    """
    named = [(sample.metric, sample.labels) for batch in batches for sample in batch.samples]
    series = np.array(index.intern(named), dtype=np.int32)
    values = np.array([s.value for batch in batches for s in batch.samples], dtype=np.float64)
    times = np.repeat(
        np.array([_milliseconds(batch) for batch in batches], dtype=np.int64), [len(b.samples) for b in batches]
    )
    return _sample_chunk(series, times, values.view(np.int64), index)


def _milliseconds(batch: SampleBatch) -> int:
    if not (math.isfinite(batch.time) and abs(batch.time) < 1e12):
        raise ValueError(f"target {batch.target}: a scrape's time cannot be {batch.time}")
    return round(batch.time * 1000)


def _sample_chunk(series: NDArray[np.int32], times: NDArray[Any], bits: NDArray[Any], index: SeriesIndex) -> Chunk:
    taken = series >= 0
    refused = int(len(series) - np.count_nonzero(taken))
    if refused:
        series, times, bits = series[taken], times[taken], bits[taken]
    metric = np.fromiter(map(index.metric_of.__getitem__, series.tolist()), np.int32, len(series))
    start, end = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    columns: Columns = {"metric": metric, "series": series, "time": times, "bits": bits}
    return Chunk(columns, len(series), start, end, 24 * len(series), refused)


def pack_samples(chunk: Chunk, index: SeriesIndex) -> bytes:
    """Bytes of an inbox row: the series' texts once each, then numbers, times and bit patterns."""
    used, local = np.unique(chunk.columns["series"], return_inverse=True)
    texts = index.texts
    names = "\n".join([texts[number] for number in used.tolist()]).encode()  # JSON texts hold no line feed
    body = (
        struct.pack("<II", len(names), chunk.rows),
        names,
        local.astype("<i4").tobytes(),
        chunk.columns["time"].astype("<i8").tobytes(),
        chunk.columns["bits"].astype("<i8").tobytes(),
    )
    return zlib.compress(b"".join(body), _LEVEL)


def unpack_samples(payload: bytes, index: SeriesIndex) -> Chunk:
    """The reverse.

    Raises:
        ValueError: these are not such bytes.
    """
    try:
        body = zlib.decompress(payload)
        length, rows = struct.unpack_from("<II", body)
        names = body[8 : 8 + length].decode().split("\n")
        at = 8 + length
        local = np.frombuffer(body, "<i4", rows, at)
        times = np.frombuffer(body, "<i8", rows, at + 4 * rows)
        bits = np.frombuffer(body, "<i8", rows, at + 12 * rows)
        known = np.array(index.intern_texts(names) if length else [], np.int32)
        series = known[local] if rows else np.empty(0, np.int32)
    except (zlib.error, struct.error, IndexError, TypeError) as error:
        raise ValueError(f"not a row of samples: {error}") from error
    return _sample_chunk(series, times, bits, index)


# --- spans


def span_chunk(spans: Sequence[Span]) -> tuple[Chunk, bytes]:
    """Columns of spans and the bytes of their inbox row. Spans whose times do not fit are refused and counted."""
    kept = [span for span in spans if 0 <= span.start_ns <= span.end_ns < _INT64]
    texts = _resources(kept)
    services = {id(span.resource): span.service for span in kept}
    lists: dict[str, list[Any]] = {
        "trace_id": [span.trace_id for span in kept],
        "span_id": [span.span_id for span in kept],
        "parent_id": [span.parent_id for span in kept],
        "name": [span.name for span in kept],
        "kind": [span.kind for span in kept],
        "start_ns": [span.start_ns for span in kept],
        "end_ns": [span.end_ns for span in kept],
        "status": [span.status for span in kept],
        "status_message": [span.status_message for span in kept],
        "namespace": [services[id(span.resource)].namespace for span in kept],
        "service": [services[id(span.resource)].name for span in kept],
        "resource": [texts[id(span.resource)] for span in kept],
        "attributes": [dump(span.attributes) for span in kept],
        "events": [_dump_events(span.events) if span.events else "[]" for span in kept],
        "links": [_dump_links(span.links) if span.links else "[]" for span in kept],
        "scope": [span.scope for span in kept],
        "trace_state": [span.trace_state for span in kept],
        "clamped": [span.clamped for span in kept],
    }
    unique = list(dict.fromkeys(texts.values()))
    number = {text: at for at, text in enumerate(unique)}
    packed = {**lists, "resource": [number[text] for text in lists["resource"]], "resources": unique}
    try:
        body = orjson.dumps(packed)
    except TypeError:  # a lone surrogate somewhere: no valid UTF-8, so no valid OTLP either
        lists = {name: _sound_column(column) for name, column in lists.items()}
        body = orjson.dumps({**lists, "resource": packed["resource"], "resources": [_sound(text) for text in unique]})
    return _span_chunk(lists, len(body), len(spans) - len(kept)), zlib.compress(body, _LEVEL)


def _resources(spans: Sequence[Span]) -> dict[int, str]:
    """The JSON of every resource, by identity: the spans of one request share few of them."""
    texts: dict[int, str] = {}
    for span in spans:
        if id(span.resource) not in texts:
            texts[id(span.resource)] = dump(span.resource)
    return texts


def _span_chunk(lists: dict[str, list[Any]], size: int, refused: int) -> Chunk:
    columns: Columns = {
        name: np.array(lists[name], dtype={"BIGINT": np.int64, "BOOLEAN": np.bool_}.get(kind, object))
        for name, kind in SPAN_COLUMNS.items()
    }
    rows = len(lists["trace_id"])
    start, end = (min(lists["start_ns"]), max(lists["end_ns"])) if rows else (0, 0)
    return Chunk(columns, rows, start, end, size, refused)


def unpack_spans(payload: bytes) -> Chunk:
    """The columns of an inbox row.

    Raises:
        ValueError: these are not such bytes.
    """
    try:
        body = zlib.decompress(payload)
        lists = orjson.loads(body)
        resources = lists.pop("resources")
        lists["resource"] = [resources[at] for at in lists["resource"]]
        return _span_chunk(lists, len(body), 0)
    except (zlib.error, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"not a row of spans: {error}") from error


def span_of(row: Mapping[str, Any]) -> Span:
    """The span of a row of `SPAN_COLUMNS`."""
    return Span(
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        parent_id=row["parent_id"],
        name=row["name"],
        kind=cast("Kind", row["kind"]),
        start_ns=row["start_ns"],
        end_ns=row["end_ns"],
        status=cast("Status", row["status"]),
        status_message=row["status_message"],
        resource=load(row["resource"]),
        attributes=load(row["attributes"]),
        events=tuple(Event(time, name, _plain(pairs)) for time, name, pairs in orjson.loads(row["events"])),
        links=tuple(Link(trace, span, _plain(pairs)) for trace, span, pairs in orjson.loads(row["links"])),
        scope=row["scope"],
        trace_state=row["trace_state"],
        clamped=bool(row["clamped"]),
    )


# --- attributes as JSON. What JSON lacks is written as an object with one key that starts with "$".

_PLAIN = frozenset({str, int, bool, type(None)})


def dump(attributes: Attributes) -> str:
    """JSON of attributes, in which bytes, infinities, NaN and integers of any size survive."""
    if not attributes:
        return "{}"
    try:
        if _PLAIN.issuperset(map(type, attributes.values())):
            return orjson.dumps(attributes if type(attributes) is dict else dict(attributes)).decode()
        return orjson.dumps({key: _tag(value) for key, value in attributes.items()}).decode()
    except TypeError:
        return orjson.dumps({_sound(key): _tag(value, strict=True) for key, value in attributes.items()}).decode()


def load(text: str) -> dict[str, AttributeValue]:
    """The reverse of `dump`."""
    found = orjson.loads(text)
    return _plain(found) if '{"$' in text else cast("dict[str, AttributeValue]", found)


def _dump_events(events: Sequence[Event]) -> str:
    return "[" + ",".join(f"[{e.time_ns},{_text(e.name)},{dump(e.attributes)}]" for e in events) + "]"


def _dump_links(links: Sequence[Link]) -> str:
    return "[" + ",".join(f"[{_text(k.trace_id)},{_text(k.span_id)},{dump(k.attributes)}]" for k in links) + "]"


def _text(value: str) -> str:
    return orjson.dumps(_sound(value)).decode()


def _sound(value: str) -> str:
    """The text without lone surrogates."""
    return value.encode("utf-8", "replace").decode()


def _sound_column(values: list[Any]) -> list[Any]:
    return [_sound(value) if isinstance(value, str) else value for value in values]


def _tag(value: AttributeValue, strict: bool = False) -> object:
    match value:
        case bool() | None:
            return value
        case str():
            return _sound(value) if strict else value
        case int():
            return value if -_INT64 <= value < _INT64 else {"$int": str(value)}
        case float():
            return value if math.isfinite(value) else {"$float": str(value)}
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case list() | tuple():
            return [_tag(item, strict) for item in value]
        case Mapping():
            inner = {_sound(key) if strict else key: _tag(item, strict) for key, item in value.items()}
            return {"$map": inner} if any(key.startswith("$") for key in inner) else inner
    raise TypeError(f"an attribute cannot be {type(value).__name__}")


def _plain(pairs: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {key: _untag(value) for key, value in pairs.items()}


def _untag(value: object) -> AttributeValue:
    match value:
        case list():
            return [_untag(item) for item in value]
        case {"$int": text}:
            return int(text)
        case {"$float": text}:
            return float(text)
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$map": inner}:
            return _plain(inner)
        case dict():
            return _plain(value)
    return cast("AttributeValue", value)
