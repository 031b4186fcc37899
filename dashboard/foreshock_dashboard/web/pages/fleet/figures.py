"""Plotly figures of one GPU over time: usage, memory, power, temperature, throttling, and errors.

world: the data. row: row of the GPU in the World. span: Unix seconds of the axis.
"""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import MAX_LINES, Line, lines

Span = tuple[float, float]


def usage_figure(world: World, row: int, span: Span, look: Look) -> Json:
    """Plotly figure of the ratios of time busy, contended, and used by each service."""
    rows = [i for i, tenant in enumerate(world.tenants) if tenant.gpu == world.gpus[row]]
    rows.sort(key=lambda i: -float(np.nansum(world.busy[i])))
    series = [
        Line("busy", world.utilization[row], "text"),
        Line("contended", world.contended[row], "warn", fill=True),
        *(Line(str(world.tenants[i].service), world.busy[i], dash="dot") for i in rows[: MAX_LINES - 2]),
    ]
    why = "Nothing told in this range how busy it was."
    return lines(world.times, series, look, unit="ratio", span=span, empty=why, top=1.0)


def memory_figure(world: World, row: int, span: Span, look: Look) -> Json:
    """Plotly figure of used and total memory in bytes."""
    series = [
        Line("used", world.memory_used[row], "ok", fill=True),
        Line("all", world.memory_total[row], "muted", dash="dot"),
    ]
    return lines(world.times, series, look, unit="bytes", span=span, empty="Nothing told of its memory.")


def power_figure(world: World, row: int, span: Span, look: Look) -> Json:
    """Plotly figure of the power in watts, and the median of all GPUs."""
    series = [
        Line("this one", world.power[row], "ok"),
        Line("median of all", _median(world.power), "muted", dash="dot"),
    ]
    return lines(world.times, series, look, unit="watts", span=span, empty="Nothing told of its power.")


def temperature_figure(world: World, row: int, span: Span, look: Look) -> Json:
    """Plotly figure of the temperature in °C, and the median of all GPUs."""
    values = world.temperature
    series = [Line("this one", values[row], "ok"), Line("median of all", _median(values), "muted", dash="dot")]
    return lines(world.times, series, look, unit="celsius", span=span, empty="Nothing told of its temperature.")


def throttling_figure(world: World, row: int, span: Span, look: Look) -> Json:
    """Plotly figure of the ratio of time throttled, and of the clock relative to its maximum."""
    hardware = world.hardware
    series = (
        [
            Line("held back", hardware.throttled[row], "crit", fill=True),
            Line("clock, of its highest", hardware.clock[row], "muted", dash="dot"),
        ]
        if hardware
        else []
    )
    why = "Nothing told of throttling or clocks."
    return lines(world.times, series, look, unit="ratio", span=span, empty=why, top=1.0, legend=True)


def error_figure(world: World, row: int, span: Span, look: Look) -> Json:
    """Plotly figure of errors per minute, apart from the ratios because these are counts."""
    hardware = world.hardware
    series = [Line("errors per minute", hardware.errors[row] * 60.0, "crit", fill=True)] if hardware else []
    return lines(world.times, series, look, unit="count", span=span, empty="Nothing told of its errors.", top=1.0)


def _median(values: Floats) -> Floats:
    """Median over GPUs, shape (times,); NaN at times without data."""
    known = np.isfinite(values).any(axis=0)
    medians = np.full(values.shape[1], np.nan)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians
