"""Layout of the Contention page: noisy neighbors, affected services, and their GPUs."""

from __future__ import annotations

from collections.abc import Callable

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Mark, blank
from foreshock_dashboard.web.pages.contention import figures
from foreshock_dashboard.web.pages.contention.pair import find_service
from foreshock_dashboard.web.shell.page import Page
from foreshock_dashboard.web.shell.shell import attributes, chart, page_of, panel
from foreshock_dashboard.web.state.time_range import View

_PAIR = "service_namespace, service_name, by_service_namespace, by_service_name"
_WAITS = (
    f"avg by ({_PAIR}) (sum by (instance, uuid, {_PAIR}) "
    '(rate(gpu_service_stalled_by_seconds_total{by_service_name!=""}[2m])))'
)
"""The mean over the GPUs that two share, as the page has it."""
_BUSY = (
    "avg by (pool) (rate(gpu_busy_seconds_total[5m]) * on (uuid) group_left (pool) max by (uuid, pool) (gpu_pool_info))"
)
"""Several targets may tell the pool of one GPU."""


def layout() -> Component:
    """The headline, the open pair, the matrix, then GPUs, their time, and tiers."""
    return page_of(
        "contention",
        "Who starves whom",
        [
            html.Section(
                [html.P("Loading…", id="headline", className="headline"), html.Div(id="pair-facts")],
                id="verdict",
                className="verdict",
                **attributes(data_state="loading", aria_label="The longest wait"),
            ),
            html.Div(
                [
                    chart("pair-wait", "Waiting", "share of the victim's time, at most", height=180),
                    chart("pair-slow", "Slowness of the victim", "", height=180),
                    chart("pair-use", "Who uses the shared GPUs", "share of time busy", height=180),
                    panel("pair-gpus", "Shared GPUs", "now, the longest wait first"),
                    panel("pair-traces", "Traces that waited longest", "of the victim, in this range"),
                ],
                id="pair-open",
                className="panels pair-panels",
                hidden=True,
            ),
            html.Div(
                [
                    panel(
                        "who",
                        "Who waits for whom",
                        "how much of its time the one on the left waits, at most, while the one above runs",
                        wide=True,
                        csv="/api/csv/pairs",
                        promql=_WAITS,
                    ),
                    panel("ranked", "GPUs", "waiters × wait, the worst first", wide=True, csv="/api/csv/gpus"),
                    panel("split", "What GPU time goes into", "mean of the last 5 min", promql=_BUSY),
                    panel("tiers", "Tiers and pools", "GPUs that each tier is on; of these shared with another"),
                ],
                className="panels",
            ),
        ],
        "/api/pages/contention",
        takes="victim aggressor",
        keeps="order peace",
        orders="sort psort gsort hsort tsort",
    )


Draw = Callable[[World, figures.PairView, Look], Json]


def _pair_chart(draw: Draw) -> Callable[[HubView, View, Look], Json]:
    """A chart of the pair in the address."""

    def drawn(hub: HubView, seen: View, look: Look) -> Json:
        if not seen.get("victim") or not seen.get("aggressor"):
            return blank("", look)
        world = hub.over(seen.start, seen.end)
        if world is None:
            return blank("Nothing is known of this range.", look)
        victim, aggressor = (find_service(seen.get(side), world.services) for side in ("victim", "aggressor"))
        if victim is None or aggressor is None:
            return blank("No such service in this range.", look)
        marks = [
            Mark(item.since, "first sign", "crit")
            for item in snapshot_at(hub, seen).incidents
            if (item.victim, item.aggressor) == (victim, aggressor) and seen.start <= item.since <= seen.end
        ]
        return draw(world, figures.PairView(victim, aggressor, (seen.start, seen.end), marks), look)

    return drawn


PAGE = Page(
    "/contention",
    "Contention",
    "Who starves whom",
    layout,
    key="c",
    charts=tuple(
        Chart(name, _pair_chart(draw))
        for name, draw in (
            ("pair-wait", figures.wait_figure),
            ("pair-slow", figures.latency_figure),
            ("pair-use", figures.usage_figure),
        )
    ),
)
