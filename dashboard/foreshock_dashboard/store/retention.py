"""Retention: which blocks expire, by age and by size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from foreshock_dashboard.store.blocks.block_store import BlockStore
from foreshock_dashboard.store.samples.format import SampleTable
from foreshock_dashboard.store.spans.table import SpanTable
from foreshock_dashboard.store.trusted_clock import TrustedClock


@dataclass(frozen=True, slots=True)
class Retention:
    """Age limits of samples and spans, and the size limit of all blocks. The first one reached applies."""

    metrics_seconds: float = 15 * 86_400
    spans_seconds: float = 2 * 86_400
    max_bytes: int = 10 << 30

    def __post_init__(self) -> None:
        if not (self.metrics_seconds > 0 and self.spans_seconds > 0 and self.max_bytes > 0):
            raise ValueError(f"retention must be positive: {self}")


def expire(
    samples: BlockStore[SampleTable], spans: BlockStore[SpanTable], retention: Retention, clock: TrustedClock
) -> Iterator[int]:
    """Remove what is beyond the limits, step by step; yields the number of removed blocks of each step."""
    stores: tuple[BlockStore[Any], ...] = (samples, spans)
    newest = [time / store.block_format.second for store in stores if (time := store.newest()) is not None]
    reference = clock.reference(max(newest)) if newest else None
    if reference is not None:
        for store, seconds in zip(stores, (retention.metrics_seconds, retention.spans_seconds), strict=True):
            yield store.expire(round((reference - seconds) * store.block_format.second))
    while True:
        sizes = {store: sum(meta.bytes for meta in store.blocks()) for store in stores}
        if sum(sizes.values()) <= retention.max_bytes:
            return
        yield max(sizes, key=lambda store: sizes[store]).drop_oldest()
