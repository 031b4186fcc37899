"""Cascade: is it spreading, from where, how long is left, and what room there is."""

from __future__ import annotations

from collections.abc import Callable

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.cascade import focused
from foreshock_dashboard.web.charts import Chart, Look, seen_at
from foreshock_dashboard.web.figures import capacity
from foreshock_dashboard.web.figures.lines import Mark
from foreshock_dashboard.web.registry import Page
from foreshock_dashboard.web.shell import chart, page_of, panel
from foreshock_dashboard.web.timeline import picked
from foreshock_dashboard.web.view import View


def layout() -> Component:
    """Which incident, the map and the lanes of it, then signs, time left and room."""
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


Figure = Callable[[World | None, Service | None, Look, tuple[float, float], tuple[Mark, ...]], Json]


def _drawn(figure: Figure) -> Callable[[HubView, View, Look], Json]:
    """A chart of the service that is looked at, with the first sign marked."""

    def draw(hub: HubView, view: View, look: Look) -> Json:
        snapshot = seen_at(hub, view)
        chosen = picked(snapshot, view.get("incident"))
        who = focused(snapshot, chosen, view.get("service"))
        marks = () if chosen.onset is None else (Mark(chosen.onset, "first sign", "warn"),)
        return figure(hub.over(view.start, view.end), who, look, (view.start, view.end), marks)

    return draw


CHARTS = (Chart("cascade-replicas", _drawn(capacity.replicas)), Chart("cascade-load", _drawn(capacity.load)))
PAGE = Page("/cascade", "Cascade", "Cascade", layout, key="a", charts=CHARTS)
