"""Layout and charts of the Cascade page: map, timeline, anomalous signals, forecast breaches, and capacity."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.clause import filled_text, in_words
from foreshock_dashboard.render.units import percent
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Line, Mark, Threshold, blank, lines
from foreshock_dashboard.web.pages.cascade.data import capacity_service
from foreshock_dashboard.web.panels import service_charts
from foreshock_dashboard.web.panels.chosen_incidents import ChosenIncidents, chosen_incidents, first_sign
from foreshock_dashboard.web.panels.vitals import load_ratios
from foreshock_dashboard.web.shell.shell import Page, chart, page_of, panel
from foreshock_dashboard.web.state.parameters import View


def layout() -> Component:
    """The chooser of incidents, map and lanes, then anomalous signals, forecast breaches, and capacity."""
    return page_of(
        "cascade",
        "Cascade",
        [
            html.Div(id="chooser", className="chooser"),
            html.Div(
                [
                    panel("map", "Cascade map", "callers left, dependencies right", wide=True, fold=True),
                    panel("timeline", "Timeline", "cause, then by first anomaly (±1 min)", wide=True, fold=True),
                    panel("signals", "Anomalous signals", "oldest first", fold=True),
                    panel("breaches", "SLO breach forecast", "", fold=True),
                    html.Div(id="capacity", className="capacity"),
                    chart("cascade-replicas", "Replica count", "", height=180, fold=True),
                    chart("cascade-load", "Load", "share of ready capacity", height=180, fold=True),
                ],
                className="panels",
            ),
        ],
        "/api/pages/cascade",
        takes="from incident service",
        orders="signals",
    )


MAX_LOAD = 3.0
"""Load at which the chart is cut off, as a ratio of capacity."""


class _Capacity(NamedTuple):
    """The subject of both charts: a World, a service, a time range, the onset of an incident, and its snapshot."""

    world: World | None
    service: Service | None
    span: tuple[float, float]
    marks: tuple[Mark, ...]
    snapshot: Snapshot


def _capacity(hub: HubView, view: View) -> _Capacity:
    snapshot = snapshot_at(hub, view)
    chosen = chosen_incidents(snapshot, view.get("incident"))
    service = capacity_service(snapshot, chosen, view.get("service"))
    onset = first_anomaly(chosen, service)
    marks: tuple[Mark, ...] = () if onset is None else (Mark(onset, "first anomaly", "warn"),)
    world, span = hub.over(view.start, view.end), (view.start, view.end)
    if world is not None and service is not None:
        marks += tuple(service_charts.change_marks(world.changes, {service}, span))
    return _Capacity(world, service, span, marks, snapshot)


def first_anomaly(chosen: ChosenIncidents, service: Service | None) -> float | None:
    """Unix seconds of the first anomaly of the incidents of a service, or of the only incident; else None."""
    own = [item for item in chosen.incidents if service in item.services]
    return min(map(first_sign, own or (chosen.incidents if len(chosen.incidents) == 1 else ())), default=None)


def _no_service(world: World | None, view: View, none_at_all: str) -> str:
    """Why there is no service to draw: no data, none of the chosen one, or the entry for a platform without any."""
    if world is None:
        return EMPTY["chart"]
    return EMPTY["service_chart" if view.get("service") else none_at_all]


def replicas(hub: HubView, view: View, look: Look) -> Json:
    """The replicas of a service, as on its page."""
    world, service, span, marks, _ = _capacity(hub, view)
    if world is None or service is None:
        return blank(_no_service(world, view, "no_replicas"), look)
    return service_charts.replicas(world, service, look, span, marks)


def load(hub: HubView, view: View, look: Look) -> Json:
    """The load of a service as a share of the capacity of its ready replicas, up to `MAX_LOAD`, with its safe limit."""
    world, service, span, marks, snapshot = _capacity(hub, view)
    if world is None or service is None:
        return blank(_no_service(world, view, "no_model_servers"), look)
    series, why = [], filled_text(EMPTY["model_servers"], service=in_words(service))
    servers = model_servers(world)
    if service in servers.services:
        why = filled_text(EMPTY["server_load"], service=in_words(service))
        values = load_ratios(world, np.arange(len(world.times)), snapshot)[servers.services.index(service)]
        cut_off = bool((values > MAX_LOAD).any())
        name = f"load (clipped at {MAX_LOAD:.0f}x capacity)" if cut_off else "load"
        series.append(Line(name, np.minimum(values, MAX_LOAD), "data"))
    known = bool(series) and bool(np.isfinite(series[0].values).any())
    safe = next((item.safe for item in snapshot.forecast.loads if item.service == service), math.nan)
    limit = Threshold(safe, f"safe limit {percent(safe)}") if known and math.isfinite(safe) else None
    return lines(
        world.times, series, look, unit="ratio", span=span, marks=marks, threshold=limit, empty=why, top=1.0,
        legend=any(line.name != "load" for line in series),
    )  # fmt: skip


CHARTS = (Chart("cascade-replicas", replicas), Chart("cascade-load", load))
PAGE = Page("/cascade", "Cascade", "Cascade", layout, key="a", charts=CHARTS)
