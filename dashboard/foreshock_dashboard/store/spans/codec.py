"""Spans ↔ the columns by which they are found, and the blocks that hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.ingest.otlp import Pickers, SpanBatch, encode, read, searched
from foreshock_dashboard.model.span import Attributes, Span
from foreshock_dashboard.store.blocks.chunk import Chunk, Columns
from foreshock_dashboard.store.spans.columns import KINDS, STATUSES, column_of
from foreshock_dashboard.store.spans.span_blocks import pack, unpack
from foreshock_dashboard.store.spans.symbols import NONE, Codes, Texts

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
        return self._rows(batch, body, places, len(spans) - len(batch))

    def _batch(self, spans: Sequence[Span]) -> SpanBatch:
        """The same with what they are searched by, without those that cannot be kept."""
        if isinstance(spans, SpanBatch) and self.keys <= spans.searched.keys:
            if max(spans.outlines.end_ns, default=0) < _LATEST:
                return spans
            return spans.without({row for row, end in enumerate(spans.outlines.end_ns) if end >= _LATEST})
        return read(encode([span for span in spans if _fits(span)]), self._pickers, checked=False).spans

    def unpack(self, body: bytes) -> Chunk:
        """The same of an inbox row.

        Raises:
            ValueError: these are not such bytes.
        """
        spans, places = unpack(body, self._pickers)
        return self._rows(spans, body, places, 0)

    def _rows(self, spans: SpanBatch, body: bytes, places: list[int], refused: int) -> Chunk:
        if not spans:
            return Chunk({}, 0, 0, 0, 0, refused)
        found = spans.outlines
        texts = _Words(spans.searched.texts)
        owners = _Owners(found.resource)
        services = [found.service[row] for row in owners.first]
        starts = np.array(found.start_ns, np.int64)
        ends = np.array(found.end_ns, np.int64)
        ids = np.frombuffer(b"".join(found.key), ">u8").astype(np.uint64).reshape(-1, 3)
        columns: Columns = {
            "trace_hi": ids[:, 0].copy(),
            "trace_lo": ids[:, 1].copy(),
            "span": ids[:, 2].copy(),
            "root": np.array([not above for above in found.above], np.bool_),
            "kind": np.fromiter(map(_KINDS.__getitem__, found.kind), np.uint8, len(spans)),
            "status": np.fromiter(map(_STATUSES.__getitem__, found.status), np.uint8, len(spans)),
            "start_ns": starts,
            "end_ns": ends,
            "name": texts.codes(found.name),
            "namespace": texts.codes([service.namespace for service in services])[owners.of],
            "service": texts.codes([service.name for service in services])[owners.of],
            "place": np.array(places, np.int64),
        }
        resources = [found.resource[row] for row in owners.first]
        for key in sorted(self.keys):
            own, shared = spans.searched.columns.get(key), _shared(resources, key)
            if shared is not None:
                behind = texts.codes(shared)[owners.of]
                columns[column_of(key)] = behind if own is None else np.where(own == NONE, behind, own)
            elif own is not None:
                columns[column_of(key)] = own.copy()
        size = len(body) + ROW * len(spans)
        return Chunk(columns, len(spans), int(starts.min()), int(ends.max()), size, refused, texts.listed(), body)


class _Words:
    """Texts of a chunk: those that have numbers already, and more. A text may be there twice."""

    def __init__(self, first: Sequence[str | None]) -> None:
        self._first, self._more = first, Texts()

    def codes(self, texts: Sequence[str | None]) -> Codes:
        """The number of each."""
        codes = self._more.codes(texts)
        return np.where(codes == NONE, NONE, codes + np.uint32(len(self._first) - 1)).astype(np.uint32)

    def listed(self) -> list[str | None]:
        """What the numbers stand for."""
        return [*self._first, *(text if text is None else searched(text) for text in list(self._more)[1:])]


class _Owners:
    """Of neighbours that share a resource the `first`, and `of` each span which of these that is."""

    def __init__(self, resources: Sequence[Attributes]) -> None:
        ids = np.fromiter(map(id, resources), np.intp, len(resources))
        other = np.diff(ids, prepend=0) != 0
        self.first: list[int] = np.flatnonzero(other).tolist()
        self.of = np.cumsum(other) - 1


def _shared(resources: Sequence[Attributes], key: str) -> list[str | None] | None:
    """The texts of an attribute of resources; None where none has it."""
    found = [searched(resource[key]) if key in resource else None for resource in resources]
    return None if found.count(None) == len(found) else found


def _fits(span: Span) -> bool:
    """Whether it can be encoded, and its times fit into a column."""
    try:
        return len(span.key) == 24 and len(span.above) in (0, 24) and 0 <= span.start_ns <= span.end_ns < _LATEST
    except ValueError:
        return False
