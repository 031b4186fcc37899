"""Layout and charts of the Fleet page: all GPUs, and one of them in detail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.charts.chart import Chart, Look
from foreshock_dashboard.web.charts.lines import MAX_LINES, Line, blank, lines
from foreshock_dashboard.web.pages.fleet.gpu import gpu_row
from foreshock_dashboard.web.panels.service_charts import change_marks
from foreshock_dashboard.web.shell.shell import Page, chart, page_of, panel
from foreshock_dashboard.web.state.parameters import View

GIBIBYTE = 2**30


def layout() -> Component:
    """Counts, the grid with the open GPU beside it and its charts below, and the inventory."""
    return page_of(
        "fleet",
        "GPU fleet",
        [
            html.Div(id="counts", className="counts"),
            html.Div(
                [panel("grid", "GPUs by host", ""), panel("gpu", "GPU", "")],
                id="fleet-panels",
                className="fleet-panels",
            ),
            html.Div(
                [
                    chart("gpu-use", "GPU time", "% of time", height=160),
                    chart("gpu-throttling", "Throttling and clock", "% of time, % of maximum clock", height=160),
                    chart("gpu-errors", "Hardware errors", "per minute", height=160),
                    chart("gpu-memory", "Memory", "", height=160),
                    chart("gpu-power", "Power", "", height=160),
                    chart("gpu-temperature", "Temperature", "", height=160),
                ],
                id="gpu-charts",
                className="gpu-charts",
                hidden=True,
            ),
            html.Div([panel("inventory", "GPU inventory", "", wide=True, csv="/api/csv/gpus")], className="panels"),
        ],
        "/api/pages/fleet",
        takes="metric gpu q sort",
        orders="osort",
    )


class _Series(NamedTuple):
    """The lines of a chart of one GPU, and its presentation (see `lines`). signal: its subject in words."""

    lines: Sequence[Line]
    unit: str
    signal: str
    top: float | None = None
    legend: bool = False


def _usage(world: World, row: int) -> _Series:
    """Share of time busy, contended, and used by each service."""
    rows = [i for i, tenant in enumerate(world.tenants) if tenant.gpu == world.gpus[row]]
    rows.sort(key=lambda i: -float(np.nansum(world.busy[i])))
    services = [Line(str(world.tenants[i].service), world.busy[i], dash="dot") for i in rows[: MAX_LINES - 2]]
    contended = Line("contended", np.minimum(world.contended[row], world.utilization[row]), "data", fill=True)
    series = [Line("busy", world.utilization[row], "text"), contended, *services]
    return _Series(series, "ratio", "GPU time", 1.0)


def _memory(world: World, row: int) -> _Series:
    used = Line("used", world.memory_used[row] / GIBIBYTE, "data", fill=True)
    total = Line("total", world.memory_total[row] / GIBIBYTE, "muted", dash="dot")
    return _Series([used, total], "gibibytes", "memory")


def _power(world: World, row: int) -> _Series:
    return _Series(_beside_median(world.power, row), "watts", "power")


def _temperature(world: World, row: int) -> _Series:
    return _Series(_beside_median(world.temperature, row), "celsius", "temperature")


def _throttling(world: World, row: int) -> _Series:
    """Share of time throttled, and the clock relative to its maximum."""
    series = []
    if hardware := world.hardware:
        series.append(Line("throttled", hardware.throttled[row], "warn", fill=True))
        series.append(Line("clock", hardware.clock[row], "muted", dash="dot"))
    return _Series(series, "ratio", "throttling and clock", 1.0, legend=True)


def _errors(world: World, row: int) -> _Series:
    """Errors per minute, apart from the ratios because these are counts."""
    hardware = world.hardware
    series = [Line("errors per minute", hardware.errors[row] * 60.0, "crit", fill=True)] if hardware else []
    return _Series(series, "count", "hardware errors", 1.0)


def _beside_median(values: Floats, row: int) -> Sequence[Line]:
    """The values of a GPU, and the median of all GPUs, NaN at times without data."""
    known = np.isfinite(values).any(axis=0)
    medians = np.full(values.shape[1], np.nan)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return Line("this GPU", values[row], "data"), Line("median of all GPUs", medians, "muted", dash="dot")


def _chart(name: str, series_of: Callable[[World, int], _Series]) -> Chart:
    def draw(hub: HubView, view: View, look: Look) -> Json:
        if not view.get("gpu"):
            return blank("", look)
        world, span = hub.over(view.start, view.end), (view.start, view.end)
        row = gpu_row(world, view.get("gpu")) if world else None
        if world is None or row is None:
            return blank(EMPTY["chart" if world is None else "gpu_chart"], look)
        drawn, unit, signal, top, legend = series_of(world, row)
        empty = filled_text(EMPTY["signal"], signal=signal)
        gpu = world.gpus[row]
        services = {tenant.service for tenant in world.tenants if tenant.gpu == gpu}
        marks = change_marks(world.changes, services, span, gpu.host)
        return lines(world.times, drawn, look, unit=unit, span=span, marks=marks, empty=empty, top=top, legend=legend)

    return Chart(name, draw)


CHARTS = (
    _chart("gpu-use", _usage),
    _chart("gpu-memory", _memory),
    _chart("gpu-power", _power),
    _chart("gpu-temperature", _temperature),
    _chart("gpu-throttling", _throttling),
    _chart("gpu-errors", _errors),
)
PAGE = Page("/fleet", "Fleet", "GPU fleet", layout, key="f", charts=CHARTS)
