"""What ran on the GPUs of a trace while its spans did, and how much of their time others held them. Pure.

The time of a span on a GPU is divided into what others held, what its own service used, what nobody used while the GPU
was shared, and the rest, in which no two services were active: there it had the GPU to itself, or did not ask for it.
What others held is an upper bound of waiting. All times of a GPU and of the spans on it are of one host's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from foreshock_dashboard.analysis.traces.occupancy import Interval, Quality, Timeline, clipped, merged
from foreshock_dashboard.analysis.traces.span_gpu_join import By, Join, Place
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Span, head_of
from foreshock_dashboard.model.world import Gpu, Tenant


@dataclass(frozen=True, slots=True)
class Held:
    """How a stretch of time on a GPU was divided, in seconds; the parts add up to its length.

    by: others' time by service. own: of the service itself. idle: nobody's, while two or more services were active.
    unshared: no two services were active. resolution: the coarsest of what was seen, seconds; 0 where nothing was.
    together: the service and others were seen at once, so that `by` is a division by shares and bounds waiting from
    above.
    """

    by: Mapping[Service, float]
    own: float
    idle: float
    unshared: float
    resolution: float
    together: bool

    @property
    def waited(self) -> float:
        """Seconds that others held."""
        return math.fsum(self.by.values())

    @property
    def length(self) -> float:
        """Seconds in all."""
        return self.waited + self.own + self.idle + self.unshared

    @property
    def exact(self) -> bool:
        """Whether the division was seen, not computed from shares nor much finer than what was seen."""
        return not self.together and 2.0 * self.resolution <= self.length


@dataclass(frozen=True, slots=True)
class Wait:
    """What a span, or several, had of their GPUs. Of several `gpus` which one is not known; `held` is their mean."""

    gpus: tuple[Gpu, ...]
    own: Service
    found_by: By
    seen: Quality
    held: Held

    @property
    def quality(self) -> Quality:
        """Measured only if the span's process was found, and what ran was seen."""
        return "measured" if self.found_by == "process" and self.seen == "measured" else "inferred"


@dataclass(frozen=True, slots=True)
class Lane:
    """One GPU during a trace: what ran on it from the first to the last of its spans, and what these had of it."""

    gpu: Gpu
    intervals: tuple[Interval, ...]
    spans: tuple[str, ...]
    wait: Wait


@dataclass(frozen=True, slots=True)
class TraceLanes:
    """A trace on its GPUs. `waits` by span id and kind. `worst`: where the trace waited longest, each moment once.

    duration: seconds that the trace took, those of its head.
    """

    lanes: tuple[Lane, ...] = ()
    waits: Mapping[tuple[str, Kind], Wait] = field(default_factory=dict)
    worst: Wait | None = None
    duration: float = 0.0


def lanes_of(spans: Sequence[Span], intervals: Iterable[Interval], tenants: Iterable[Tenant] = ()) -> TraceLanes:
    """Join the spans of one trace with what ran on GPUs around its time.

    Args:
        spans: of the trace, in any order.
        intervals: of any GPUs, in any order, also such as overlap or come twice.
        tenants: which services are on which GPUs.
    """
    known = merged(intervals)
    join = Join(known, tenants)
    gpus = _Gpus(known)
    placed = [(span, place) for span in spans if (place := join.place(span)) is not None]
    chosen = [(span, gpus.narrowed(place, span.start_ns, span.end_ns)) for span, place in placed]
    waits = {(span.span_id, span.kind): gpus.wait(place, [(span.start_ns, span.end_ns)]) for span, place in chosen}
    groups: dict[Place, list[tuple[int, int]]] = {}
    for span, place in chosen:
        groups.setdefault(place, []).append((span.start_ns, span.end_ns))
    totals = [gpus.wait(place, times) for place, times in groups.items()]
    worst = max(totals, key=lambda wait: (wait.held.waited, wait.found_by == "process", wait.gpus), default=None)
    return TraceLanes(_lanes(chosen, known, gpus), waits, worst, head_of(spans).duration_ns / 1e9 if spans else 0.0)


class _Gpus:
    """The GPUs' time, by GPU."""

    def __init__(self, intervals: Sequence[Interval]) -> None:
        self.by_gpu: dict[Gpu, list[Interval]] = {}
        for each in intervals:
            self.by_gpu.setdefault(each.gpu, []).append(each)
        self._timelines = {gpu: Timeline(each) for gpu, each in self.by_gpu.items()}

    def narrowed(self, place: Place, start: int, end: int) -> Place:
        """Of the GPUs that one process used, the one it waited for longest; inferred places stay as they are."""
        if place.by != "process" or len(place.gpus) == 1:
            return place
        waited = {gpu: self._held(gpu, place.own, start, end).waited for gpu in place.gpus}
        return place._replace(gpus=(max(place.gpus, key=lambda gpu: waited[gpu]),))

    def wait(self, place: Place, times: Iterable[tuple[int, int]]) -> Wait:
        """What was had of a place in all of some times, each moment counted once."""
        pieces = [self._held(gpu, place.own, start, end) for start, end in _union(times) for gpu in place.gpus]
        seen = (each.quality for gpu in place.gpus for each in self.by_gpu.get(gpu, ()))
        quality: Quality = "inferred" if "inferred" in seen else "measured"
        return Wait(place.gpus, place.own, place.by, quality, _summed(pieces, 1.0 / len(place.gpus)))

    def _held(self, gpu: Gpu, own: Service, start: int, end: int) -> Held:
        timeline = self._timelines.get(gpu)
        by: dict[Service, float] = {}
        mine = idle = covered = resolution = 0.0
        together = False
        for segment in timeline.between(start, end) if timeline else ():
            length = segment.end - segment.start
            covered += length
            resolution = max(resolution, segment.resolution)
            idle += length * max(0.0, 1.0 - math.fsum(segment.shares.values()))
            together = together or (own in segment.shares and len(segment.shares) > 1)
            for service, share in segment.shares.items():
                if service == own:
                    mine += length * share
                elif share > 0.0:
                    by[service] = by.get(service, 0.0) + length * share
        seconds = {service: held / 1e9 for service, held in sorted(by.items())}
        return Held(seconds, mine / 1e9, idle / 1e9, max(0.0, end - start - covered) / 1e9, resolution, together)


def _summed(pieces: Sequence[Held], scale: float) -> Held:
    by: dict[Service, float] = {}
    for piece in pieces:
        for service, seconds in piece.by.items():
            by[service] = by.get(service, 0.0) + seconds * scale
    return Held(
        by=dict(sorted(by.items(), key=lambda item: (-item[1], item[0]))),
        own=scale * math.fsum(piece.own for piece in pieces),
        idle=scale * math.fsum(piece.idle for piece in pieces),
        unshared=scale * math.fsum(piece.unshared for piece in pieces),
        resolution=max((piece.resolution for piece in pieces), default=0.0),
        together=any(piece.together for piece in pieces),
    )


def _union(times: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Times that overlap or touch, as one."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(times):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def _lanes(chosen: Sequence[tuple[Span, Place]], known: Sequence[Interval], gpus: _Gpus) -> tuple[Lane, ...]:
    """A lane for each GPU that something is known of."""
    on: dict[Gpu, list[tuple[Span, Place]]] = {}
    for span, place in chosen:
        for gpu in place.gpus:
            on.setdefault(gpu, []).append((span, place))
    lanes = []
    for gpu in sorted(on.keys() & gpus.by_gpu.keys()):
        times = [(span.start_ns, span.end_ns) for span, _ in on[gpu]]
        first, last = min(start for start, _ in times), max(end for _, end in times)
        place = min(place._replace(gpus=(gpu,)) for _, place in on[gpu])
        ids = sorted((span.start_ns, span.span_id) for span, _ in on[gpu])
        shown = clipped((each for each in known if each.gpu == gpu), first, last)
        lanes.append(Lane(gpu, shown, tuple(span_id for _, span_id in ids), gpus.wait(place, times)))
    return tuple(lanes)
