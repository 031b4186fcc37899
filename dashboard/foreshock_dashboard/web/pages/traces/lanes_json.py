"""GPU lanes and waits of a trace as JSON. Offsets and durations in seconds from the trace's start."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.traces.gpu_lanes import GpuTimeSplit, Lane, Wait
from foreshock_dashboard.analysis.traces.occupancy import OccupancyInterval, Quality
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTime


class GpuSeconds(TypedDict):
    """How the time was divided in which a service had work on a GPU."""

    waited_seconds: Annotated[float, Field(description="upper bound of GPU wait: sum of `by`")]
    by: Annotated[dict[str, float], Field(description="seconds used by other services")]
    own_seconds: Annotated[float, Field(description="seconds used by the service itself")]
    idle_seconds: Annotated[float, Field(description="idle while two or more services were active")]
    unshared_seconds: Annotated[float, Field(description="fewer than two services were active")]
    quality: Quality


class SpanGpu(GpuSeconds):
    """The time of a span on its GPU."""

    gpus: Annotated[list[str], Field(description="several where the GPU of the span is unknown")]
    matched_by: Literal["process", "container", "service"]
    resolution_seconds: float
    upper_bound: bool


class LaneInterval(TypedDict):
    """A service on a GPU for a while."""

    service: str
    color: int
    offset_seconds: float
    duration_seconds: float
    share: float | None
    resolution_seconds: float
    quality: Quality


class LaneRow(GpuSeconds):
    """A GPU on which spans of the trace ran."""

    gpu: str
    uuid: str
    own: Annotated[str, Field(description="the trace's service on it")]
    color: int
    spans: Annotated[list[str], Field(description="span ids")]
    intervals: Annotated[list[LaneInterval], Field(description="occupancy over time")]


class Lanes(TypedDict):
    """The GPUs of a trace."""

    lanes: Annotated[list[LaneRow], Field(description="one for each GPU on which spans of the trace ran")]
    sentence: Annotated[str, Field(description="what took most of the duration, and the GPU wait")]
    gpu_wait_seconds: Annotated[
        float | None, Field(description="the longest wait for one GPU within the root span, each moment counted once")
    ]
    lanes_settled: Annotated[bool, Field(description="false: the last GPU samples may still arrive")]
    lanes_left_out: Annotated[int, Field(description="minutes with GPU samples that were not read")]
    lanes_error: Annotated[str, Field(description="why GPU samples could not be read; empty if they were")]
    lanes_note: Annotated[str, Field(description="reason that no GPU is shown, once settled; else empty")]


def lanes(gpu_time: GpuTime, origin: int) -> Lanes:
    """What ran on the GPUs of a trace; `origin` is its start in ns."""
    worst = gpu_time.lanes.longest
    return {
        "lanes": [_lane(lane, origin) for lane in gpu_time.lanes.lanes],
        "sentence": gpu_time.sentence,
        "gpu_wait_seconds": None if worst is None else _seconds(worst.split.waited),
        "lanes_settled": gpu_time.settled,
        "lanes_left_out": gpu_time.left_out,
        "lanes_error": gpu_time.error,
        "lanes_note": gpu_time.note,
    }


def wait(wait_: Wait | None) -> SpanGpu | None:
    """A span's time on its GPU; None where it is not known to have run on a shared one."""
    if wait_ is None:
        return None
    return {
        "gpus": [gpu.label for gpu in wait_.gpus],
        **_split(wait_.split, wait_.quality),
        "matched_by": wait_.matched_by,
        "resolution_seconds": _seconds(wait_.split.resolution),
        "upper_bound": not wait_.split.exact,
    }


def _lane(lane: Lane, origin: int) -> LaneRow:
    return {
        "gpu": lane.gpu.label,
        "uuid": lane.gpu.uuid,
        "own": str(lane.wait.service),
        "color": service_color(str(lane.wait.service)),
        "spans": list(lane.spans),
        **_split(lane.wait.split, lane.wait.occupancy_quality),
        "intervals": [
            _interval(interval, origin) for interval in sorted(lane.intervals, key=lambda i: (i.start, i.service))
        ],
    }


def _interval(interval: OccupancyInterval, origin: int) -> LaneInterval:
    return {
        "service": str(interval.service),
        "color": service_color(str(interval.service)),
        "offset_seconds": _seconds((interval.start - origin) / 1e9),
        "duration_seconds": _seconds((interval.end - interval.start) / 1e9),
        "share": interval.share,
        "resolution_seconds": _seconds(interval.resolution),
        "quality": interval.quality,
    }


def _split(split: GpuTimeSplit, quality: Quality) -> GpuSeconds:
    return {
        "waited_seconds": _seconds(split.waited),
        "by": {str(service): _seconds(seconds) for service, seconds in split.others.items()},
        "own_seconds": _seconds(split.own),
        "idle_seconds": _seconds(split.idle),
        "unshared_seconds": _seconds(split.unshared),
        "quality": quality,
    }


def _seconds(value: float) -> float:
    """Seconds to a nanosecond; the rest is rounding error."""
    return round(value, 9)
