"""Charts of one GPU over time: who uses it, memory, power, temperature, and what it tells of throttling and errors."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import MAX_LINES, Line, lines

Span = tuple[float, float]


def use(world: World, row: int, span: Span, look: Look) -> Json:
    """Share of time busy and contended, and of that what each service has."""
    rows = [i for i, tenant in enumerate(world.tenants) if tenant.gpu == world.gpus[row]]
    rows.sort(key=lambda i: -float(np.nansum(world.busy[i])))
    found = [
        Line("busy", world.utilization[row], "text"),
        Line("contended", world.contended[row], "warn", fill=True),
        *(Line(str(world.tenants[i].service), world.busy[i], dash="dot") for i in rows[: MAX_LINES - 2]),
    ]
    why = "Nothing told in this range how busy it was."
    return lines(world.times, found, look, unit="ratio", span=span, empty=why, top=1.0)


def memory(world: World, row: int, span: Span, look: Look) -> Json:
    """Bytes used, and all there is."""
    found = [
        Line("used", world.memory_used[row], "ok", fill=True),
        Line("all", world.memory_total[row], "muted", dash="dot"),
    ]
    return lines(world.times, found, look, unit="bytes", span=span, empty="Nothing told of its memory.")


def power(world: World, row: int, span: Span, look: Look) -> Json:
    """Watts, beside the median of all GPUs."""
    found = [Line("this one", world.power[row], "ok"), Line("median of all", _median(world.power), "muted", dash="dot")]
    return lines(world.times, found, look, unit="watts", span=span, empty="Nothing told of its power.")


def heat(world: World, row: int, span: Span, look: Look) -> Json:
    """°C, beside the median of all GPUs."""
    values = world.temperature
    found = [Line("this one", values[row], "ok"), Line("median of all", _median(values), "muted", dash="dot")]
    return lines(world.times, found, look, unit="celsius", span=span, empty="Nothing told of its temperature.")


def health(world: World, row: int, span: Span, look: Look) -> Json:
    """Share of time held back by heat or power, and the clock as a share of its highest."""
    told = world.hardware
    found = (
        [
            Line("held back", told.throttled[row], "crit", fill=True),
            Line("clock, of its highest", told.clock[row], "muted", dash="dot"),
        ]
        if told
        else []
    )
    why = "Nothing told of throttling or clocks."
    return lines(world.times, found, look, unit="ratio", span=span, empty=why, top=1.0, legend=True)


def errors(world: World, row: int, span: Span, look: Look) -> Json:
    """Errors in each minute: they are counted, and share no axis with what is a share of time."""
    told = world.hardware
    found = [Line("errors per minute", told.errors[row] * 60.0, "crit", fill=True)] if told else []
    return lines(world.times, found, look, unit="count", span=span, empty="Nothing told of its errors.", top=1.0)


def _median(values: Floats) -> Floats:
    """Over the GPUs, at each time; NaN where none is known."""
    known = np.isfinite(values).any(axis=0)
    found = np.full(values.shape[1], np.nan)
    found[known] = np.nanmedian(values[:, known], axis=0)
    return found
