"""Encoding of spans: to rows of search columns and the chunks that hold the spans, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.ingest.otlp.attribute_reader import AttributeReader
from foreshock_dashboard.ingest.otlp.batch import SpanBatch
from foreshock_dashboard.ingest.otlp.decode import decode_spans
from foreshock_dashboard.ingest.otlp.encode import encode_spans
from foreshock_dashboard.ingest.otlp.values import search_text
from foreshock_dashboard.model.span import Attributes, Span
from foreshock_dashboard.store.blocks.format import Columns, RowBatch
from foreshock_dashboard.store.spans.chunks import pack, unpack
from foreshock_dashboard.store.spans.table import (
    KINDS,
    NO_SYMBOL,
    STATUSES,
    SymbolRefs,
    SymbolTable,
    column_of,
)

ROW_BYTES = 120
"""Approximate memory of the columns of one row."""
SYMBOL_BYTES = 150
"""Approximate memory of a text that occurs once; one that other batches have, too, is counted with each."""

_END_NS_LIMIT = 1 << 63
_KINDS = {kind: number for number, kind in enumerate(KINDS)}
_STATUSES = {status: number for number, status in enumerate(STATUSES)}


class SpanCodec:
    """Converts spans to rows that are searched by the attributes `keys`."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = frozenset(keys)
        self._attributes = AttributeReader(keys)

    def rows(self, spans: Sequence[Span]) -> RowBatch:
        """Return the rows of spans, with the WAL payload as body. Invalid spans are refused and counted."""
        batch = self._batch(spans)
        body, places = pack(batch)
        return self._row_batch(batch, body, places, len(spans) - len(batch))

    def _batch(self, spans: Sequence[Span]) -> SpanBatch:
        """Return the valid spans together with the attributes they are searched by."""
        if isinstance(spans, SpanBatch) and self.keys <= spans.search_columns.searchable_keys:
            if max(spans.outlines.end_ns, default=0) < _END_NS_LIMIT:
                return spans
            return spans.without({row for row, end in enumerate(spans.outlines.end_ns) if end >= _END_NS_LIMIT})
        return decode_spans(
            encode_spans([span for span in spans if _valid(span)]), self._attributes, checked=False
        ).spans

    def unpack(self, body: bytes) -> RowBatch:
        """Return the rows of a WAL payload. Raises ValueError if the payload is malformed."""
        spans, places = unpack(body, self._attributes)
        return self._row_batch(spans, body, places, 0)

    def _row_batch(self, spans: SpanBatch, body: bytes, places: list[int], refused: int) -> RowBatch:
        if not spans:
            return RowBatch({}, 0, 0, 0, 0, refused)
        outlines = spans.outlines
        symbols = _BatchSymbols(spans.search_columns.texts)
        first_rows, run_of_row = _resource_runs(outlines.resource)
        services = [outlines.service[row] for row in first_rows]
        starts = np.array(outlines.start_ns, np.int64)
        ends = np.array(outlines.end_ns, np.int64)
        ids = np.frombuffer(b"".join(outlines.key), ">u8").astype(np.uint64).reshape(-1, 3)
        columns: Columns = {
            "trace_hi": ids[:, 0].copy(),
            "trace_lo": ids[:, 1].copy(),
            "span": ids[:, 2].copy(),
            "root": np.array([not parent for parent in outlines.parent_key], np.bool_),
            "kind": np.fromiter(map(_KINDS.__getitem__, outlines.kind), np.uint8, len(spans)),
            "status": np.fromiter(map(_STATUSES.__getitem__, outlines.status), np.uint8, len(spans)),
            "start_ns": starts,
            "end_ns": ends,
            "name": symbols.refs(outlines.name),
            "namespace": symbols.refs([service.namespace for service in services])[run_of_row],
            "service": symbols.refs([service.name for service in services])[run_of_row],
            "place": np.array(places, np.int64),
        }
        resources = [outlines.resource[row] for row in first_rows]
        for key in sorted(self.keys):
            own, resource_texts = spans.search_columns.columns.get(key), _texts(resources, key)
            if resource_texts is not None:
                inherited = symbols.refs(resource_texts)[run_of_row]
                columns[column_of(key)] = inherited if own is None else np.where(own == NO_SYMBOL, inherited, own)
            elif own is not None:
                columns[column_of(key)] = own.copy()  # a view would keep the columns of all keys in memory
        texts = symbols.texts()
        size = len(body) + ROW_BYTES * len(spans) + SYMBOL_BYTES * len(texts)
        return RowBatch(columns, len(spans), int(starts.min()), int(ends.max()), size, refused, texts, body)


class _BatchSymbols:
    """Symbols of a batch: the texts that already have refs, then further ones.

    A text may occur twice: the head's symbol table maps both refs to one (`SpanTable.insert`).
    """

    def __init__(self, existing: Sequence[str | None]) -> None:
        self._existing, self._added = existing, SymbolTable()

    def refs(self, texts: Sequence[str | None]) -> SymbolRefs:
        """Return the ref of each text."""
        refs = self._added.refs(texts)
        return np.where(refs == NO_SYMBOL, NO_SYMBOL, refs + np.uint32(len(self._existing) - 1)).astype(np.uint32)

    def texts(self) -> list[str | None]:
        """Return the texts by ref."""
        return [*self._existing, *(text if text is None else search_text(text) for text in list(self._added)[1:])]


def _resource_runs(resources: Sequence[Attributes]) -> tuple[list[int], NDArray[np.intp]]:
    """Return the first row of each run of consecutive spans with the same resource, and the run of each row.

    Resources are compared by identity: the decoder gives the spans of one OTLP resource the same object, and the list
    keeps all objects alive. Equal resources that are different objects only make more runs.
    """
    ids = np.fromiter(map(id, resources), np.intp, len(resources))
    changes = np.diff(ids, prepend=0) != 0
    return np.flatnonzero(changes).tolist(), np.cumsum(changes) - 1


def _texts(resources: Sequence[Attributes], key: str) -> list[str | None] | None:
    """Return an attribute of each resource as text; None if no resource has it."""
    texts = [search_text(resource[key]) if key in resource else None for resource in resources]
    return None if texts.count(None) == len(texts) else texts


def _valid(span: Span) -> bool:
    """Whether the span can be encoded and its times fit into a column."""
    try:
        return (
            len(span.key) == 24
            and len(span.parent_key) in (0, 24)
            and 0 <= span.start_ns <= span.end_ns < _END_NS_LIMIT
        )
    except ValueError:
        return False
