"""GPU lanes of a trace: occupancy of its GPUs, and how the time of its spans on them was divided.

The time of a span on a GPU splits into time of other services, of its service, idle time while the GPU was shared,
and unshared time, in which fewer than two services were active: the span had the GPU to itself, or did not use it. The
time of other services is an upper bound of the GPU wait. All times of a GPU and of its spans are of one host's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from foreshock_dashboard.analysis.traces.occupancy import OccupancyInterval, Quality, Timeline, clip, merge
from foreshock_dashboard.analysis.traces.span_gpu_join import MatchedBy, Placement, SpanGpuJoin
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Span, main_span
from foreshock_dashboard.model.world import Gpu, Tenant


class GpuTimeSplit(NamedTuple):
    """How a time range on a GPU was divided, in seconds.

    others: time of other services. own: of the service itself. idle: of none, while two or more services were active.
    unshared: fewer than two services were active. resolution: the coarsest sampling interval; 0 without occupancy.
    overlapping: the service and others were active at once, so `others` is a division by shares, and an upper bound.
    """

    others: Mapping[Service, float]
    own: float
    idle: float
    unshared: float
    resolution: float
    overlapping: bool

    @property
    def waited(self) -> float:
        """Seconds of other services."""
        return math.fsum(self.others.values())

    @property
    def length(self) -> float:
        """Seconds in all."""
        return self.waited + self.own + self.idle + self.unshared

    @property
    def exact(self) -> bool:
        """Whether the split was measured, not computed from shares nor finer than the resolution allows."""
        return not self.overlapping and 2.0 * self.resolution <= self.length


class Wait(NamedTuple):
    """GPU time of a span, or of several. `split` is the mean over `gpus` where it is unknown which one was used.

    occupancy_quality: of the occupancy intervals of the GPUs.
    """

    gpus: tuple[Gpu, ...]
    service: Service
    matched_by: MatchedBy
    occupancy_quality: Quality
    split: GpuTimeSplit

    @property
    def quality(self) -> Quality:
        """Measured only if the span's process was matched and the occupancy measured."""
        return "measured" if self.matched_by == "process" and self.occupancy_quality == "measured" else "inferred"


class Lane(NamedTuple):
    """One GPU during a trace: occupancy from the first to the last of its spans, the span IDs, and their GPU time."""

    gpu: Gpu
    intervals: tuple[OccupancyInterval, ...]
    spans: tuple[str, ...]
    wait: Wait


class TraceLanes(NamedTuple):
    """GPU lanes of a trace.

    waits: by span ID and kind. longest: the longest wait of a placement until the root span ended, each moment counted
    once; where no span of a placement ran that early, of all its time. duration: seconds of the root span.
    """

    lanes: tuple[Lane, ...] = ()
    waits: Mapping[tuple[str, Kind], Wait] = MappingProxyType({})
    longest: Wait | None = None
    duration: float = 0.0


def trace_lanes(
    spans: Sequence[Span], intervals: Iterable[OccupancyInterval], tenants: Iterable[Tenant] = ()
) -> TraceLanes:
    """Join the spans of one trace with GPU occupancy.

    Args:
        spans: of the trace, in any order.
        intervals: of any GPUs around the time of the trace, in any order; overlaps and duplicates are allowed.
        tenants: services on GPUs.
    """
    occupancy = merge(intervals)
    join, gpus = SpanGpuJoin(occupancy, tenants), _GpuTimelines(occupancy)
    placed = [
        (span, gpus.longest_wait(placement, span.start_ns, span.end_ns))
        for span in spans
        if (placement := join.placement(span)) is not None
    ]
    waits = {
        (span.span_id, span.kind): gpus.wait(placement, [(span.start_ns, span.end_ns)]) for span, placement in placed
    }
    times: dict[Placement, list[tuple[int, int]]] = {}
    for span, placement in placed:
        times.setdefault(placement, []).append((span.start_ns, span.end_ns))
    if not placed:
        return TraceLanes(duration=main_span(spans).duration_ns / 1e9 if spans else 0.0)
    root = main_span(spans)
    within = {placement: _clipped(ranges, root) for placement, ranges in times.items()}
    counted = {placement: ranges for placement, ranges in within.items() if ranges} or times
    totals = [gpus.wait(placement, ranges) for placement, ranges in counted.items()]
    longest = max(totals, key=lambda wait: (wait.split.waited, wait.matched_by == "process", wait.gpus))
    return TraceLanes(_lanes(placed, gpus), waits, longest, root.duration_ns / 1e9)


class _GpuTimelines:
    """Occupancy by GPU."""

    def __init__(self, intervals: Sequence[OccupancyInterval]) -> None:
        self.by_gpu: dict[Gpu, list[OccupancyInterval]] = {}
        for interval in intervals:
            self.by_gpu.setdefault(interval.gpu, []).append(interval)
        self._timelines = {gpu: Timeline(group) for gpu, group in self.by_gpu.items()}

    def longest_wait(self, placement: Placement, start: int, end: int) -> Placement:
        """Of the GPUs of one process, the one with the longest wait; inferred placements are unchanged."""
        if placement.matched_by != "process" or len(placement.gpus) == 1:
            return placement
        waited = {gpu: self._split((gpu,), placement.service, [(start, end)]).waited for gpu in placement.gpus}
        return placement._replace(gpus=(max(placement.gpus, key=lambda gpu: waited[gpu]),))

    def wait(self, placement: Placement, times: Iterable[tuple[int, int]]) -> Wait:
        """GPU time of a placement over several time ranges (ns), each moment counted once."""
        gpus, service = placement.gpus, placement.service
        qualities = {interval.quality for gpu in gpus for interval in self.by_gpu.get(gpu, ())}
        quality: Quality = "inferred" if "inferred" in qualities else "measured"
        return Wait(gpus, service, placement.matched_by, quality, self._split(gpus, service, _union(times)))

    def _split(self, gpus: Sequence[Gpu], service: Service, times: Sequence[tuple[int, int]]) -> GpuTimeSplit:
        """Division of disjoint time ranges (ns), mean over the GPUs. `others` is sorted, the longest time first."""
        timelines = [self._timelines[gpu] for gpu in gpus if gpu in self._timelines]
        segments = [
            segment for start, end in times for timeline in timelines for segment in timeline.between(start, end)
        ]
        seconds_per_ns = 1e-9 / len(gpus)
        seconds: dict[Service, float] = {}
        idle = 0.0
        for segment in segments:
            length = seconds_per_ns * (segment.end - segment.start)
            idle += length * max(0.0, 1.0 - math.fsum(segment.shares.values()))
            for active, share in segment.shares.items():
                seconds[active] = seconds.get(active, 0.0) + length * share
        own = seconds.pop(service, 0.0)
        total = len(gpus) * sum(end - start for start, end in times)
        covered = sum(segment.end - segment.start for segment in segments)
        return GpuTimeSplit(
            {other: time for other, time in sorted(seconds.items(), key=lambda item: (-item[1], item[0])) if time > 0},
            own,
            idle,
            unshared=seconds_per_ns * (total - covered),
            resolution=max((segment.resolution for segment in segments), default=0.0),
            overlapping=any(service in segment.shares and len(segment.shares) > 1 for segment in segments),
        )


def _clipped(times: Iterable[tuple[int, int]], root: Span) -> list[tuple[int, int]]:
    """The parts of time ranges (ns) within the root span."""
    clipped = [(max(start, root.start_ns), min(end, root.end_ns)) for start, end in times]
    return [(start, end) for start, end in clipped if start < end]


def _union(times: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Time ranges with overlapping or touching ones joined."""
    union: list[tuple[int, int]] = []
    for start, end in sorted(times):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((start, end))
    return union


def _lanes(placed: Sequence[tuple[Span, Placement]], gpus: _GpuTimelines) -> tuple[Lane, ...]:
    """A lane for each GPU with spans and occupancy."""
    by_gpu: dict[Gpu, list[tuple[Span, Placement]]] = {}
    for span, placement in placed:
        for gpu in placement.gpus:
            by_gpu.setdefault(gpu, []).append((span, placement))
    lanes = []
    for gpu in sorted(by_gpu.keys() & gpus.by_gpu.keys()):
        times = [(span.start_ns, span.end_ns) for span, _ in by_gpu[gpu]]
        placement = min(placement._replace(gpus=(gpu,)) for _, placement in by_gpu[gpu])
        ids = sorted((span.start_ns, span.span_id) for span, _ in by_gpu[gpu])
        intervals = clip(gpus.by_gpu[gpu], min(start for start, _ in times), max(end for _, end in times))
        lanes.append(Lane(gpu, intervals, tuple(span_id for _, span_id in ids), gpus.wait(placement, times)))
    return tuple(lanes)
