"""Which service ran on a GPU when: intervals from occupancy spans, or from counters where there are none. Pure.

Times are Unix nanoseconds on the clock of the GPU's host, and never compared with those of another host.
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
from foreshock_exporter.gpu import occupancy as told

Quality = Literal["measured", "inferred"]

ACTIVE_FROM = 0.05
"""Share from which a service counts as active on a GPU, as the exporter has it (foreshock_exporter.gpu.contention)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A service was active on a shared GPU from `start` to `end` (ns).

    share: mean share 0…1 of that time during which its kernels ran; None where nobody said.
    resolution: seconds; nothing shorter is seen.
    quality: "measured" by an occupancy span, "inferred" from counters.
    processes: its processes in the words of their spans (foreshock_exporter.attribution.container).
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


def measured(spans: Iterable[Span]) -> tuple[Interval, ...]:
    """The intervals that occupancy spans tell; other spans, and those that name no GPU or service, are left out."""
    found = (_interval(span) for span in spans if span.occupancy)
    return tuple(interval for interval in found if interval is not None)


def inferred(gpu: Gpu, host_id: str, shares: Mapping[Service, float], start: float, end: float) -> tuple[Interval, ...]:
    """What mean shares of counters over `start`…`end` (Unix seconds) say; nothing unless two services were on it."""
    active = {service: share for service, share in shares.items() if share >= ACTIVE_FROM}
    if len(active) < 2:
        return ()
    first, last = round(start * 1e9), round(end * 1e9)
    return tuple(
        Interval(gpu, host_id, service, first, last, min(1.0, share), end - start, "inferred")
        for service, share in sorted(active.items())
    )


def merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Intervals that touch and say the same, as one; sorted by GPU, service and start."""
    out: list[Interval] = []
    for each in sorted(intervals, key=lambda i: (i.gpu, i.service, i.start, i.end, i.share or 0.0)):
        last = out[-1] if out else None
        if last is not None and _facts(last) == _facts(each) and each.start <= last.end:
            out[-1] = replace(last, end=max(last.end, each.end))
        else:
            out.append(each)
    return tuple(out)


def clipped(intervals: Iterable[Interval], start: int, end: int) -> tuple[Interval, ...]:
    """The parts between two times (ns)."""
    inside = (each for each in intervals if each.start < end and each.end > start)
    return tuple(replace(each, start=max(each.start, start), end=min(each.end, end)) for each in inside)


class Segment(NamedTuple):
    """A stretch of a GPU's time (ns) in which the same services were active. `shares` add up to 1 at most."""

    start: int
    end: int
    shares: Mapping[Service, float]
    resolution: float


class Timeline:
    """One GPU's time cut where a service begins or ceases to be active, divided among those active.

    Each has its share of a stretch; where these add up to more than 1 they are scaled down, as the exporter does, and
    where one is not known all get the same. So of two services that ran at once at a coarse resolution each has a part.
    """

    def __init__(self, intervals: Iterable[Interval]) -> None:
        known = sorted(intervals, key=lambda i: (i.start, i.end, i.service))
        self.segments = tuple(_segments(known))
        self._starts = [segment.start for segment in self.segments]

    def between(self, start: int, end: int) -> Iterator[Segment]:
        """The segments that overlap a time, cut to it."""
        at = max(0, bisect_right(self._starts, start) - 1)
        for segment in self.segments[at:]:
            if segment.start >= end:
                return
            if segment.end > start:
                yield segment._replace(start=max(segment.start, start), end=min(segment.end, end))


def _segments(known: list[Interval]) -> Iterator[Segment]:
    bounds = sorted({time for each in known for time in (each.start, each.end)})
    active: list[Interval] = []
    at = 0
    for start, end in pairwise(bounds):
        while at < len(known) and known[at].start <= start:
            active.append(known[at])
            at += 1
        active = [each for each in active if each.end > start]
        if active:
            yield Segment(start, end, _shares(active), max(each.resolution for each in active))


def _shares(active: list[Interval]) -> Mapping[Service, float]:
    """How a stretch is divided; a service that was told twice counts once, with the larger share."""
    told_of: dict[Service, float | None] = {}
    for each in active:
        before = told_of.get(each.service)
        told_of[each.service] = each.share if before is None or each.share is None else max(before, each.share)
    if any(share is None for share in told_of.values()):
        return dict.fromkeys(sorted(told_of), 1.0 / len(told_of))
    total = math.fsum(share or 0.0 for share in told_of.values())
    return {service: (told_of[service] or 0.0) / max(1.0, total) for service in sorted(told_of)}


def _interval(span: Span) -> Interval | None:
    uuid, name = _text(span.attributes.get(told.GPU_ID)), _text(span.attributes.get(told.OCCUPANT))
    if not uuid or not name or span.duration_ns <= 0:
        return None
    host_id = _text(span.resource.get("host.id"))
    host = _text(span.resource.get("host.name")) or host_id
    processes = span.attributes.get(told.PROCESSES)
    return Interval(
        gpu=Gpu(host, _text(span.attributes.get(told.GPU_NAME)).removeprefix("GPU ") or "?", uuid),
        host_id=host_id,
        service=Service(_text(span.attributes.get(told.OCCUPANT_NAMESPACE)), name),
        start=span.start_ns,
        end=span.end_ns,
        share=_number(span.attributes.get(told.SHARE), most=1.0),
        resolution=_number(span.attributes.get(told.RESOLUTION), most=math.inf) or 0.0,
        processes=frozenset(map(_text, processes)) if isinstance(processes, list) else frozenset(),
    )


def _facts(interval: Interval) -> tuple[object, ...]:
    """All that an interval says besides its time."""
    gpu, host_id, service, quality = interval.gpu, interval.host_id, interval.service, interval.quality
    return gpu, host_id, service, quality, interval.share, interval.resolution, interval.processes


def _text(value: AttributeValue) -> str:
    return value if isinstance(value, str) else ""


def _number(value: AttributeValue, most: float) -> float | None:
    """A number between 0 and `most`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= most:
        return None
    return float(value)
