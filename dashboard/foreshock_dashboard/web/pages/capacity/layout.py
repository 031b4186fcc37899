"""Layout of the Capacity page: the first shortage, the week of each service, replicas, headroom, and slow burns."""

from __future__ import annotations

import math

import numpy as np
from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.analysis.capacity.headroom import Headroom, headrooms, hourly_peak_steps
from foreshock_dashboard.analysis.capacity.shortage import hourly_means
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.render.capacity_text import no_forecast
from foreshock_dashboard.render.units import significant
from foreshock_dashboard.render.words.capacity import CAPACITY_TEXTS, LOAD_UNITS
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.charts.chart import Chart, Look
from foreshock_dashboard.web.charts.lines import Line, Mark, Threshold, blank, lines, stamp
from foreshock_dashboard.web.pages.capacity.what_if import WhatIf
from foreshock_dashboard.web.shell.shell import Page, attributes, chart, page_of, panel, verdict
from foreshock_dashboard.web.state.parameters import BadParameterError, View

SHOWN_HISTORY_SECONDS = 7 * 86_400.0
CHART_UNITS = {"req/s": "per_second", "tokens/s": "tokens_per_second", "ratio": "ratio"}
"""Units of charts by those of loads; others are counts."""


def layout() -> Component:
    """The headline first, then the evidence."""
    case = html.Div(id="what-if", className="filters")
    detail = html.Div(id="shortage-detail", className="verdict-detail")
    return page_of(
        "capacity",
        "Capacity",
        [
            verdict(
                "capacity-verdict",
                "Capacity",
                "shortage",
                detail,
                role="alert",
            ),
            case,
            html.Div(
                [
                    panel("strips", "Next 7 days", "share of hourly safe limit", wide=True),
                    panel("replicas", "Replicas", "needed to stay within the safe limit", wide=True),
                    chart("capacity-load", "Load", [html.Span(id="chosen")], wide=True, height=260),
                    panel("headroom", "Headroom", wide=True, csv="/api/csv/forecast"),
                    panel("slow-burns", "Slow burns", "resources that fill up or run out within 7 days", wide=True),
                ],
                className="panels",
                **attributes(data_kind="capacity"),
            ),
        ],
        "/api/pages/capacity",
        takes="traffic lost move move_to replicas",
        keeps="service pool",
        orders="sort rsort",
    )


def _load(hub: HubView, view: View, look: Look) -> Json:
    """The chosen service, or the most urgent one: seven days of history, and the forecast with its 80% interval."""
    forecast = _shown(hub, view)
    rows = headrooms(forecast, hub.now())
    row = next((row for row in rows if _is_chosen(row, view)), rows[0] if rows and not view.get("service") else None)
    if not view.live or row is None:
        return blank(no_forecast(forecast) or CAPACITY_TEXTS["no_forecast"], look)
    return figure(row, look)


def _shown(hub: HubView, view: View) -> CapacityForecast:
    """The forecast in the case of the address; without an impossible move, as the page shows the error."""
    try:
        return _case(hub, view).applied(hub.capacity, hub.snapshot.world)
    except BadParameterError:
        return hub.capacity


def _case(hub: HubView, view: View) -> WhatIf:
    """The what-if case of the address; that of no change where it cannot be read, as the page shows the error."""
    try:
        traffic, replicas = float(view.get("traffic") or 1.0), float(view.get("replicas") or math.inf)
        lost, move, to = (view.get(name) for name in ("lost", "move", "move_to"))
        return WhatIf.of(hub.capacity, hub.snapshot.world, traffic, lost, move, replicas, to)
    except ValueError:
        return WhatIf()


def _is_chosen(row: Headroom, view: View) -> bool:
    service, pool = view.get("service"), view.get("pool")
    named = str(row.subject.service) if row.subject.service else ""
    return bool(service or pool) and named == service and pool in ("", row.subject.pool)


def figure(row: Headroom, look: Look) -> Json:
    """The chart of a service: the highest hourly mean that begins in each hour, with the 80% interval as a band.

    Each lies where its hour begins, so that the line crosses the hourly safe limit when a shortage begins.
    """
    load = row.load
    unit = CHART_UNITS.get(LOAD_UNITS[load.kind], "count")
    shown_steps = round(SHOWN_HISTORY_SECONDS / FORECAST_STEP_SECONDS)
    old, before = load.history_times[-shown_steps:], load.history[-shown_steps:]
    past = hourly_peak_steps(before, float(old[0]) if len(old) else load.start)
    coming = hourly_peak_steps(load.p50, load.start)
    low, median, high = (hourly_means(values)[coming] for values in (load.p10, load.p50, load.p90))
    new = load.times[coming]
    times: Floats = np.concatenate([old[past], new])
    measured = np.concatenate([hourly_means(before)[past], np.full(len(new), math.nan)])
    forecast = np.concatenate([np.full(len(past), math.nan), median])
    shown = f"hourly safe limit {significant(load.safe) if unit != 'ratio' else format(load.safe, '.0%')}"
    drawn = lines(
        times,
        [Line("measured", measured, "data"), Line("forecast", forecast, "link", dash="dash")],
        look,
        unit=unit,
        span=(float(times[0]), float(times[-1])),
        marks=[Mark(load.start, "now", "muted")],
        threshold=Threshold(load.safe, shown) if math.isfinite(load.safe) else None,
        top=float(np.nanmax(high)) if np.isfinite(high).any() else None,
        empty=EMPTY["chart"],
    )
    if drawn["data"]:
        drawn["data"] = [*_band(new, low, high, look), *drawn["data"]]
        drawn["layout"]["dragmode"] = False
        drawn["layout"]["xaxis"] |= {"fixedrange": True, "tickformat": "%a %-d"}
    return drawn


def _band(times: Floats, low: Floats, high: Floats, look: Look) -> list[Json]:
    """The area between two lines, as Plotly traces."""
    stamps = [stamp(time, look) for time in times.tolist()]
    trace = {"type": "scatter", "mode": "lines", "x": stamps, "line": {"width": 0}, "showlegend": False}
    rows = [[None if math.isnan(value) else float(f"{value:.4g}") for value in of.tolist()] for of in (low, high)]
    fill = {"fill": "tonexty", "fillcolor": f"{look.colors['link']}33", "showlegend": True}
    return [
        trace | {"y": rows[0], "hoverinfo": "skip"},
        trace | fill | {"y": rows[1], "name": "80% interval", "hovertemplate": "up to %{y:,.3~r}"},
    ]


PAGE = Page("/capacity", "Capacity", "Capacity", layout, key="p", charts=(Chart("capacity-load", _load),))
