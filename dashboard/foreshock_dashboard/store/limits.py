"""What bounds a store, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE = 60.0
"""Seconds that upkeep may fail before the store calls itself not ready."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long data is kept, in seconds, and in how many bytes of segments; whichever is reached first."""

    metrics: float = 15 * 86_400
    spans: float = 2 * 86_400
    bytes: int = 10 << 30

    def __post_init__(self) -> None:
        if not (self.metrics > 0 and self.spans > 0 and self.bytes > 0):
            raise ValueError(f"retention must be positive: {self}")


@dataclass(frozen=True, slots=True)
class Sealing:
    """When data in memory becomes a segment: at this many bytes or seconds. Past `full` bytes more is refused."""

    bytes: int = 48 << 20
    seconds: float = 120.0
    full: int = 192 << 20


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The store's health in figures. Times in Unix seconds; `None` where there is no data."""

    inbox_rows: int
    inbox_bytes: int
    hot_samples: int
    hot_spans: int
    series: int
    segments: int
    segment_bytes: int
    disk_bytes: int
    oldest: float | None
    corrupt: int
    """Damaged pieces that were set aside since the store was opened."""
    dropped: int
    """Samples of series beyond the limit, and spans whose times do not fit."""
    expired: int
    """Segments removed by retention."""
    last_error: str
    """Empty where the latest append and the latest upkeep went well."""
    spans: int = 0
    """Spans in memory and in segments; one that came twice may count twice until segments are merged."""
