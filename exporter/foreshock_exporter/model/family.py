"""A metric family and its samples, between whatever knows the values and whatever writes them down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram", "untyped"]
"""`untyped` is for families that node_exporter does not type; OpenMetrics calls it `unknown`."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family. `labels` fixes the order in which samples give their label values.

    `bounds` are the upper bounds of a histogram's buckets in rising order, without the last, which is infinite.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = ()


class Sample(NamedTuple):
    """A value and its label values, in the order of the family's labels."""

    labels: tuple[str, ...]
    value: float


class HistogramSample(NamedTuple):
    """The sample of a histogram: how many values fell in each bucket alone (one more than bounds), and their sum."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum: float


Families = Sequence[tuple[Family, Sequence[Sample] | Sequence[HistogramSample]]]
"""Families in the order in which they are written; one without samples is left out."""
