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
    intervals = (_interval(span) for span in spans if span.occupancy)
    return tuple(interval for interval in intervals if interval is not None)


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
    out: list[OccupancyInterval] = []
    for each in sorted(intervals, key=lambda i: (i.gpu, i.service, i.start, i.end, i.share or 0.0)):
        last = out[-1] if out else None
        if last is not None and _fields_without_time(last) == _fields_without_time(each) and each.start <= last.end:
            out[-1] = replace(last, end=max(last.end, each.end))
        else:
            out.append(each)
    return tuple(out)


def clip(intervals: Iterable[OccupancyInterval], start: int, end: int) -> tuple[OccupancyInterval, ...]:
    """The parts of intervals between two times (ns)."""
    inside = (each for each in intervals if each.start < end and each.end > start)
    return tuple(replace(each, start=max(each.start, start), end=min(each.end, end)) for each in inside)


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
        ordered = sorted(intervals, key=lambda i: (i.start, i.end, i.service))
        self.segments = tuple(_segments(ordered))
        self._starts = [segment.start for segment in self.segments]

    def between(self, start: int, end: int) -> Iterator[Segment]:
        """Segments that overlap a time range (ns), clipped to it."""
        at = max(0, bisect_right(self._starts, start) - 1)
        for segment in self.segments[at:]:
            if segment.start >= end:
                return
            if segment.end > start:
                yield segment._replace(start=max(segment.start, start), end=min(segment.end, end))


def _segments(ordered: list[OccupancyInterval]) -> Iterator[Segment]:
    bounds = sorted({time for each in ordered for time in (each.start, each.end)})
    active: list[OccupancyInterval] = []
    at = 0
    for start, end in pairwise(bounds):
        while at < len(ordered) and ordered[at].start <= start:
            active.append(ordered[at])
            at += 1
        active = [each for each in active if each.end > start]
        if active:
            yield Segment(start, end, _shares(active), max(each.resolution for each in active))


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
    uuid, name = _text(span.attributes.get(attribute.GPU_ID)), _text(span.attributes.get(attribute.OCCUPANT))
    if not uuid or not name or span.duration_ns <= 0:
        return None
    host_id = _text(span.resource.get("host.id"))
    host = _text(span.resource.get("host.name")) or host_id
    processes = span.attributes.get(attribute.PROCESSES)
    return OccupancyInterval(
        gpu=Gpu(host, _text(span.attributes.get(attribute.GPU_NAME)).removeprefix("GPU ") or "?", uuid),
        host_id=host_id,
        service=Service(_text(span.attributes.get(attribute.OCCUPANT_NAMESPACE)), name),
        start=span.start_ns,
        end=span.end_ns,
        share=_number(span.attributes.get(attribute.SHARE), maximum=1.0),
        resolution=_number(span.attributes.get(attribute.RESOLUTION), maximum=math.inf) or 0.0,
        processes=frozenset(map(_text, processes)) if isinstance(processes, list) else frozenset(),
    )


def _fields_without_time(interval: OccupancyInterval) -> tuple[object, ...]:
    """All fields of an interval except its time."""
    gpu, host_id, service, quality = interval.gpu, interval.host_id, interval.service, interval.quality
    return gpu, host_id, service, quality, interval.share, interval.resolution, interval.processes


def _text(value: AttributeValue) -> str:
    return value if isinstance(value, str) else ""


def _number(value: AttributeValue, maximum: float) -> float | None:
    """A number between 0 and `maximum`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= maximum:
        return None
    return float(value)
