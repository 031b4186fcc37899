"""Lanes and waits of a trace → plain dicts for JSON. Offsets and durations in seconds, from the trace's start."""

from __future__ import annotations

from foreshock_dashboard.analysis.traces.gpu_lanes import Held, Lane, Wait
from foreshock_dashboard.analysis.traces.occupancy import Interval
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.charts.theme import service_colour
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTime


def lanes(found: GpuTime, origin: int) -> Json:
    """What a trace had of its GPUs; `origin` is its start in ns."""
    worst = found.lanes.worst
    return {
        "lanes": [_lane(lane, origin) for lane in found.lanes.lanes],
        "sentence": found.sentence,
        "gpu_wait_seconds": None if worst is None else _seconds(worst.held.waited),
        "lanes_settled": found.settled,
        "lanes_left_out": found.left_out,
        "lanes_error": found.error,
        "lanes_note": found.note,
    }


def wait(found: Wait | None) -> Json | None:
    """What a span had of its GPU; None where it is not known to have run on a shared one."""
    if found is None:
        return None
    return {
        "gpus": [gpu.label for gpu in found.gpus],
        "waited_seconds": _seconds(found.held.waited),
        "by": {str(service): _seconds(seconds) for service, seconds in found.held.by.items()},
        **_rest(found.held),
        "quality": found.quality,
        "found_by": found.found_by,
        "resolution_seconds": _seconds(found.held.resolution),
        "upper_bound": not found.held.exact,
    }


def _lane(lane: Lane, origin: int) -> Json:
    return {
        "gpu": lane.gpu.label,
        "uuid": lane.gpu.uuid,
        "own": str(lane.wait.own),
        "colour": service_colour(str(lane.wait.own)),
        "spans": list(lane.spans),
        "waited_seconds": _seconds(lane.wait.held.waited),
        "by": {str(service): _seconds(seconds) for service, seconds in lane.wait.held.by.items()},
        **_rest(lane.wait.held),
        "quality": lane.wait.seen,
        "intervals": [_interval(each, origin) for each in sorted(lane.intervals, key=lambda i: (i.start, i.service))],
    }


def _interval(interval: Interval, origin: int) -> Json:
    return {
        "service": str(interval.service),
        "colour": service_colour(str(interval.service)),
        "offset_seconds": _seconds((interval.start - origin) / 1e9),
        "duration_seconds": _seconds((interval.end - interval.start) / 1e9),
        "share": interval.share,
        "resolution_seconds": _seconds(interval.resolution),
        "quality": interval.quality,
    }


def _rest(held: Held) -> Json:
    return {
        "own_seconds": _seconds(held.own),
        "idle_seconds": _seconds(held.idle),
        "unshared_seconds": _seconds(held.unshared),
    }


def _seconds(value: float) -> float:
    """To a nanosecond: what lies beyond is rounding."""
    return round(value, 9)
