"""Histograms of OTLP as the cumulative buckets of Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, HistogramDataPoint

MAX_BOUNDS = 400
"""Bounds of one histogram."""
MIN_SCALE, MAX_SCALE = -10, 20
"""Scales of exponential histograms in OpenTelemetry's SDKs."""
FINEST_SCALE = 1
"""Exponential histograms are reduced to this scale: two bounds for each doubling, at the same values always."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations by the upper bound of their bucket, which may be infinite; `total` is their sum, NaN if unknown."""

    counts: dict[float, float]
    count: float
    total: float

    def __add__(self, other: Histogram) -> Histogram:
        counts = dict(self.counts)
        for bound, count in other.counts.items():
            counts[bound] = counts.get(bound, 0.0) + count
        return Histogram(counts, self.count + other.count, self.total + other.total)

    def series(self) -> Iterator[tuple[str, str, float]]:
        """Suffix of the metric, `le` or "", and value of each series."""
        seen = 0.0
        for bound in sorted({*self.counts, math.inf}):
            seen = self.count if bound == math.inf else seen + self.counts[bound]
            yield "_bucket", bound_text(bound), seen
        yield "_count", "", self.count
        if not math.isnan(self.total):
            yield "_sum", "", self.total


def ended(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> Histogram:
    """The series of a point without a value: those of its bounds, the count, and the sum."""
    bounds = point.explicit_bounds if isinstance(point, HistogramDataPoint) else ()
    return Histogram(dict.fromkeys(bounds[:MAX_BOUNDS], 0.0), 0.0, 0.0)


def bound_text(bound: float) -> str:
    """A bound as the label `le`."""
    return "+Inf" if bound == math.inf else repr(bound).removesuffix(".0")


def explicit(point: HistogramDataPoint) -> Histogram:
    """The buckets of a point. Raises ValueError if they do not match their bounds, or are too many."""
    bounds, counts = [*point.explicit_bounds, math.inf], point.bucket_counts
    if len(bounds) > MAX_BOUNDS:
        raise ValueError("too many buckets")
    if counts and len(counts) != len(bounds):
        raise ValueError("bounds and counts of different length")
    by_bound = dict(zip(bounds, map(float, counts), strict=True)) if counts else {}
    return Histogram(by_bound, float(point.count), point.sum if point.HasField("sum") else math.nan)


def exponential(point: ExponentialHistogramDataPoint) -> Histogram:
    """The buckets of a point, reduced to `FINEST_SCALE`; zeros and negative values are below the bound 0.

    Bucket i of scale s has the bounds b**i and b**(i + 1), where b = 2**(2**-s) (OpenTelemetry, "Metrics Data Model").
    Raises ValueError if they are too many, or the scale is none of an SDK.
    """
    if not MIN_SCALE <= point.scale <= MAX_SCALE:
        raise ValueError(f"scale outside {MIN_SCALE} to {MAX_SCALE}")
    counts = {0.0: float(point.zero_count + sum(point.negative.bucket_counts))}
    scale = min(point.scale, FINEST_SCALE)
    for index, count in enumerate(point.positive.bucket_counts, point.positive.offset):
        bound = _power_of_two(((index >> (point.scale - scale)) + 1) * 2.0**-scale)
        counts[bound] = counts.get(bound, 0.0) + count
        if len(counts) > MAX_BOUNDS:
            raise ValueError("too many buckets")
    return Histogram(counts, float(point.count), point.sum if point.HasField("sum") else math.nan)


def _power_of_two(exponent: float) -> float:
    return math.inf if exponent >= 1024 else 0.0 if exponent < -1074 else 2.0**exponent
