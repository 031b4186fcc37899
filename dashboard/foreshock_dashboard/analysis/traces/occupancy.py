"""Intervals in which services were active on GPUs, from occupancy spans, or from counters where there are none.

Times are Unix nanoseconds on the clock of the GPU's host; times of different hosts are never compared.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import AttributeValue, Span
from foreshock_dashboard.model.world import Gpu
from foreshock_exporter.gpu import occupancy as attribute
from foreshock_exporter.gpu.contention import MIN_ACTIVE_SHARE

Quality = Literal["measured", "inferred"]


@dataclass(frozen=True, slots=True)
class OccupancyInterval:
    """Time from `start` to `end` (ns) in which a service was active on a shared GPU.

    share: mean share 0 to 1 of that time during which its kernels ran; None where unknown.
    resolution: sampling interval in seconds.
    quality: "measured" by an occupancy span, "inferred" from counters.
    processes: join keys of its processes (`foreshock_exporter.attribution.container`).
    """

    gpu: Gpu
    host_id: str
    service: Service
    start: int
    end: int
    share: float | None
    resolution: float
    quality: Quality = "measured"
    processes: frozenset[str] = frozenset()


def measured_intervals(spans: Iterable[Span]) -> tuple[OccupancyInterval, ...]:
    """Intervals of occupancy spans; other spans, and those without a GPU or a service, are skipped."""
    return tuple(interval for span in spans if span.occupancy and (interval := _interval(span)))


def inferred_intervals(
    gpu: Gpu, host_id: str, shares: Mapping[Service, float], start: float, end: float
) -> tuple[OccupancyInterval, ...]:
    """Intervals from mean shares between two scrapes (Unix seconds); none unless two services were active."""
    active = {service: share for service, share in shares.items() if share >= MIN_ACTIVE_SHARE}
    if len(active) < 2:
        return ()
    first, last = round(start * 1e9), round(end * 1e9)
    return tuple(
        OccupancyInterval(gpu, host_id, service, first, last, min(1.0, share), end - start, "inferred")
        for service, share in sorted(active.items())
    )


def merge(intervals: Iterable[OccupancyInterval]) -> tuple[OccupancyInterval, ...]:
    """Intervals with adjacent equal ones joined, sorted by GPU, service, and start."""
    merged: list[OccupancyInterval] = []
    for interval in sorted(intervals, key=lambda i: (i.gpu, i.service, i.start, i.end, i.share or 0.0)):
        last = merged[-1] if merged else None
        if last and interval.start <= last.end and replace(last, start=interval.start, end=interval.end) == interval:
            merged[-1] = replace(last, end=max(last.end, interval.end))
        else:
            merged.append(interval)
    return tuple(merged)


def clip(intervals: Iterable[OccupancyInterval], start: int, end: int) -> tuple[OccupancyInterval, ...]:
    """The parts of intervals between two times (ns)."""
    return tuple(
        replace(interval, start=max(interval.start, start), end=min(interval.end, end))
        for interval in intervals
        if interval.start < end and interval.end > start
    )


class Segment(NamedTuple):
    """Time (ns) in which the same services were active on a GPU. `shares` add up to at most 1."""

    start: int
    end: int
    shares: Mapping[Service, float]
    resolution: float


class Timeline:
    """One GPU's time, split where a service begins or ceases to be active, and divided among the active services.

    Shares that add up to more than 1 are scaled down, as in the exporter. Where one is unknown, all are equal.
    """

    def __init__(self, intervals: Iterable[OccupancyInterval]) -> None:
        self._segments = list(_segments(sorted(intervals, key=lambda i: (i.start, i.end, i.service))))

    def between(self, start: int, end: int) -> Iterator[Segment]:
        """Segments that overlap a time range (ns), clipped to it."""
        for segment in self._segments[bisect_right(self._segments, start, key=lambda segment: segment.end) :]:
            if segment.start >= end:
                return
            yield segment._replace(start=max(segment.start, start), end=min(segment.end, end))


def _segments(ordered: list[OccupancyInterval]) -> Iterator[Segment]:
    bounds = sorted({time for interval in ordered for time in (interval.start, interval.end)})
    active: list[OccupancyInterval] = []
    begun = 0
    for start, end in pairwise(bounds):
        while begun < len(ordered) and ordered[begun].start <= start:
            active.append(ordered[begun])
            begun += 1
        active = [interval for interval in active if interval.end > start]
        if active:
            yield Segment(start, end, _shares(active), max(interval.resolution for interval in active))


def _shares(active: list[OccupancyInterval]) -> Mapping[Service, float]:
    """Share of each active service; of a service with two intervals the larger one, unknown if one is."""
    services = sorted({interval.service for interval in active})
    shares: dict[Service, float] = {}
    for interval in active:
        if interval.share is None:
            return dict.fromkeys(services, 1.0 / len(services))
        shares[interval.service] = max(shares.get(interval.service, 0.0), interval.share)
    total = math.fsum(shares.values())
    return {service: shares[service] / max(1.0, total) for service in services}


def _interval(span: Span) -> OccupancyInterval | None:
    attributes = span.attributes
    uuid, name, gpu_name, namespace = (
        text_value(attributes.get(key))
        for key in (attribute.GPU_ID, attribute.OCCUPANT, attribute.GPU_NAME, attribute.OCCUPANT_NAMESPACE)
    )
    if not uuid or not name or span.duration_ns <= 0:
        return None
    host_id = text_value(span.resource.get("host.id"))
    host = text_value(span.resource.get("host.name")) or host_id
    processes = attributes.get(attribute.PROCESSES)
    return OccupancyInterval(
        Gpu(host, gpu_name.removeprefix("GPU ") or "?", uuid),
        host_id,
        Service(namespace, name),
        span.start_ns,
        span.end_ns,
        share=_number(attributes.get(attribute.SHARE), maximum=1.0),
        resolution=_number(attributes.get(attribute.RESOLUTION), maximum=math.inf) or 0.0,
        processes=frozenset(map(text_value, processes)) if isinstance(processes, list) else frozenset(),
    )


def text_value(value: AttributeValue) -> str:
    """A text attribute; "" for anything else."""
    return value if isinstance(value, str) else ""


def _number(value: AttributeValue, maximum: float) -> float | None:
    """A number between 0 and `maximum`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= maximum:
        return None
    return float(value)
