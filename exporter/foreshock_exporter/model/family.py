"""Metric families and samples, independent of any exposition format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

MAX_LABEL_CHARS = 128
"""Longest label value; longer text is cut."""

Kind = Literal["counter", "gauge", "histogram", "untyped"]
"""`untyped` is for families that node_exporter does not type; OpenMetrics calls it `unknown`."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family. `labels` defines the order of label values in samples.

    `bounds` are the upper bounds of histogram buckets in ascending order, without +Inf.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = ()


class Sample(NamedTuple):
    """Value with label values in the order of the family's labels."""

    labels: tuple[str, ...]
    value: float


class HistogramSample(NamedTuple):
    """Histogram with counts per bucket (not cumulative, one more than bounds) and the sum of values."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum: float


Families = Sequence[tuple[Family, Sequence[Sample] | Sequence[HistogramSample]]]
"""Families with their samples in output order; those without samples are omitted."""


def label_value(text: str) -> str:
    """Label value of an untrusted name: printable characters with single spaces, at most `MAX_LABEL_CHARS` long."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:MAX_LABEL_CHARS].rstrip()
