"""Spans ↔ the columns by which they are found, and the blocks that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.otlp import Pickers, SpanBatch, encode, index_of, read, text_of
from foreshock_dashboard.model.span import Attributes, Outline, Span, service_of
from foreshock_dashboard.store.blocks import pack, unpack
from foreshock_dashboard.store.chunk import Chunk, Columns
from foreshock_dashboard.store.span_columns import KINDS, STATUSES, column_of
from foreshock_dashboard.store.texts import Texts

ROW = 120
"""Bytes of a row's columns in memory, roughly."""

_LATEST = 1 << 63
_KINDS = {kind: number for number, kind in enumerate(KINDS)}
_STATUSES = {status: number for number, status in enumerate(STATUSES)}


class SpanCodec:
    """Turns spans into rows that are searched by `keys`, and back."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = frozenset(keys)
        self._pickers = Pickers(keys)

    def chunk(self, spans: Sequence[Span]) -> Chunk:
        """Rows of spans, and the inbox row as their body. Spans that cannot be kept are refused and counted."""
        batch = self._batch(spans)
        body, places = pack(batch)
        return self._rows(batch.outlines, body, places, len(spans) - len(batch))

    def _batch(self, spans: Sequence[Span]) -> SpanBatch:
        """The same with what they are searched by, without those that cannot be kept."""
        if isinstance(spans, SpanBatch) and self.keys <= spans.keys:
            late = [row for row, span in enumerate(spans.outlines) if span.end_ns >= _LATEST]
            return spans.without(late) if late else spans
        return read(encode([span for span in spans if _fits(span)]), self._pickers, checked=False).spans

    def unpack(self, body: bytes) -> Chunk:
        """The same of an inbox row.

        Raises:
            ValueError: these are not such bytes.
        """
        spans, places = unpack(body, self._pickers)
        return self._rows(spans.outlines, body, places, 0)

    def _rows(self, spans: Sequence[Outline], body: bytes, places: list[int], refused: int) -> Chunk:
        if not spans:
            return Chunk({}, 0, 0, 0, 0, refused)
        owners = [id(span.resource) for span in spans]
        resources = {owner: span.resource for owner, span in zip(owners, spans, strict=True)}
        services = {owner: service_of(resource) for owner, resource in resources.items()}
        of = [services[owner] for owner in owners]
        starts = np.array([span.start_ns for span in spans], np.int64)
        ends = np.array([span.end_ns for span in spans], np.int64)
        ids = np.frombuffer(b"".join([span.key for span in spans]), ">u8").astype(np.uint64).reshape(-1, 3)
        texts = Texts()
        columns: Columns = {
            "trace_hi": ids[:, 0].copy(),
            "trace_lo": ids[:, 1].copy(),
            "span": ids[:, 2].copy(),
            "root": np.array([not span.above for span in spans], np.bool_),
            "kind": np.array([_KINDS[span.kind] for span in spans], np.uint8),
            "status": np.array([_STATUSES[span.status] for span in spans], np.uint8),
            "start_ns": starts,
            "end_ns": ends,
            "name": texts.codes([span.name for span in spans]),
            "namespace": texts.codes([service.namespace for service in of]),
            "service": texts.codes([service.name for service in of]),
            "place": np.array(places, np.int64),
        }
        for key, values in self._attributes(spans, owners, resources):
            columns[column_of(key)] = texts.codes(values)
        size = len(body) + ROW * len(spans)
        found = [None if text is None else searched(text) for text in texts]
        return Chunk(columns, len(spans), int(starts.min()), int(ends.max()), size, refused, found, body)

    def _attributes(
        self, spans: Sequence[Outline], owners: list[int], resources: dict[int, Attributes]
    ) -> Iterator[tuple[str, list[str | None]]]:
        """The texts of those attributes that any of the spans has; a span's own holds before its resource's."""
        keys = self.keys
        own = [span.attributes for span in spans]
        indexed = {owner: index_of(resource, keys) for owner, resource in resources.items()}
        shared = set().union(*indexed.values())
        behind = [indexed[owner] for owner in owners] if shared else []
        for key in keys.intersection(set().union(*own)) | shared:
            values: list[Any] = [found.get(key) for found in own]
            if key in shared:
                values = [there.get(key) if mine is None else mine for mine, there in zip(values, behind, strict=True)]
            if not _TEXT.issuperset(map(type, values)):
                values = [value if value is None else text_of(value) for value in values]
            yield key, values


_TEXT = frozenset({str, type(None)})


def _fits(span: Span) -> bool:
    """Whether it can be encoded, and its times fit into a column."""
    try:
        return len(span.key) == 24 and len(span.above) in (0, 24) and 0 <= span.start_ns <= span.end_ns < _LATEST
    except ValueError:
        return False


def searched(text: str) -> str:
    """A text as it is searched by and listed: not too long, and valid Unicode."""
    cut = text_of(text)
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode()


def _ids(spans: Sequence[Span]) -> tuple[NDArray[Any], ...]:
    """Both halves of the trace ids, and the span ids, as numbers; () where one is no id."""
    try:
        traces = bytes.fromhex("".join([span.trace_id for span in spans]))
        own = bytes.fromhex("".join([span.span_id for span in spans]))
    except ValueError:
        return ()
    if len(traces) != 16 * len(spans) or len(own) != 8 * len(spans):
        return ()
    halves = np.frombuffer(traces, ">u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 0].copy(), halves[:, 1].copy(), np.frombuffer(own, ">u8").astype(np.uint64)
