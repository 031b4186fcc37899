"""Layout of the Cascade page: propagation, origin, time to SLO breaches, and headroom."""

from __future__ import annotations

from typing import NamedTuple

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.forecast import Load
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Mark
from foreshock_dashboard.web.pages.cascade import figures
from foreshock_dashboard.web.pages.cascade.data import headroom_service
from foreshock_dashboard.web.panels.timeline import chosen_incidents
from foreshock_dashboard.web.shell.page import Page
from foreshock_dashboard.web.shell.shell import chart, page_of, panel
from foreshock_dashboard.web.state.time_range import View


def layout() -> Component:
    """The chooser of incidents, map and lanes, then signs, breaches, and headroom."""
    return page_of(
        "cascade",
        "Cascade",
        [
            html.Div(id="chooser", className="chooser"),
            html.Div(
                [
                    panel(
                        "map",
                        "How it spread",
                        "callers left, callees right; numbers: the order in which they were hit",
                        wide=True,
                        fold=True,
                    ),
                    panel(
                        "timeline",
                        "From first sign to impact",
                        "one lane a service, by first sign",
                        wide=True,
                        fold=True,
                    ),
                    panel(
                        "breaches",
                        "Time until objectives are missed",
                        "bar: 80 % sure; mark: as likely as not",
                        fold=True,
                    ),
                    panel(
                        "signs", "Early-warning signals", "what is not as usual now, the first sign first", fold=True
                    ),
                    html.Div(id="room", className="room"),
                    chart("cascade-replicas", "Replicas", "wanted, ready, and pods that wait for a node", fold=True),
                    chart("cascade-load", "Offered load", "of what the replicas that are ready can do", fold=True),
                ],
                className="panels",
            ),
        ],
        "/api/pages/cascade",
        takes="from incident service",
        orders="signs",
    )


class HeadroomView(NamedTuple):
    """What both charts show: a World, a service, a time range, and the first sign of an incident."""

    world: World | None
    service: Service | None
    span: tuple[float, float]
    marks: tuple[Mark, ...]
    load: Load | None


def _headroom_view(hub: HubView, view: View) -> HeadroomView:
    snapshot = snapshot_at(hub, view)
    chosen = chosen_incidents(snapshot, view.get("incident"))
    service = headroom_service(snapshot, chosen, view.get("service"))
    marks = () if chosen.onset is None else (Mark(chosen.onset, "first sign", "warn"),)
    load = next((load for load in snapshot.forecast.loads if load.service == service), None)
    return HeadroomView(hub.over(view.start, view.end), service, (view.start, view.end), marks, load)


def _replicas(hub: HubView, view: View, look: Look) -> Json:
    seen = _headroom_view(hub, view)
    return figures.replicas(seen.world, seen.service, look, seen.span, seen.marks)


def _load(hub: HubView, view: View, look: Look) -> Json:
    seen = _headroom_view(hub, view)
    return figures.load(seen.world, seen.service, look, seen.span, seen.marks, seen.load)


CHARTS = (Chart("cascade-replicas", _replicas), Chart("cascade-load", _load))
PAGE = Page("/cascade", "Cascade", "Cascade", layout, key="a", charts=CHARTS)
