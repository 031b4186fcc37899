"""Samples in the Prometheus data model."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]
"""Label pairs, sorted by name, without `__name__` and without empty values (Prometheus: empty equals absent)."""
MAX_SERIES = 500_000
"""Series of samples in memory, however much memory there is."""
MAX_LABELS, MAX_LABEL_CHARACTERS = 64, 4096
"""Of a series from outside: labels, and characters of a name or a value."""
TARGET_METRICS = ("up", "scrape_duration_seconds", "scrape_samples_scraped")
"""State of each scrape target, kept besides what it exposes, also where no other series fits into memory."""

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""Prometheus' staleness marker: a NaN with this bit pattern (prometheus/model/value/value.go)."""

_STALE_BITS = struct.pack("<d", STALE)


def is_stale(value: float) -> bool:
    """Whether a value is the staleness marker; other NaNs are not."""
    return math.isnan(value) and struct.pack("<d", value) == _STALE_BITS


def labels_of(pairs: Mapping[str, str]) -> Labels:
    """Put label pairs into the canonical form of `Labels`."""
    return tuple(sorted((name, value) for name, value in pairs.items() if value))


class Sample(NamedTuple):
    """One value of one series, at the time of its batch."""

    metric: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Samples of one scrape of one target.

    `time` is in Unix seconds. `target` names the origin in logs and on the status page. Series that the
    previous scrape of the target had and this one lacks are present with the value `STALE`. The last `own` samples
    are those of the scraper itself (`TARGET_METRICS`), not exposed by the target.
    """

    time: float
    target: str
    samples: tuple[Sample, ...]
    own: int = 0
