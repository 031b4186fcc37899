"""Fleet: all GPUs at once, one of them in full, and whether it is the hardware."""

from __future__ import annotations

from collections.abc import Callable

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Chart, Look
from foreshock_dashboard.web.charts.lines import blank
from foreshock_dashboard.web.pages.fleet import figures
from foreshock_dashboard.web.pages.fleet.gpu import gpu_row
from foreshock_dashboard.web.shell.page import Page
from foreshock_dashboard.web.shell.shell import chart, page_of, panel
from foreshock_dashboard.web.state.time_range import View


def layout() -> Component:
    """The grid, beside it the GPU that is open with its charts below, and the inventory."""
    return page_of(
        "fleet",
        "GPUs",
        [
            html.Div(id="counts", className="counts"),
            html.Div(
                [panel("grid", "All GPUs", "by pool and host"), panel("gpu", "GPU", "")],
                id="fleet-panels",
                className="fleet-panels",
            ),
            html.Div(
                [
                    chart("gpu-use", "Busy and contended", "share of time", height=200),
                    chart("gpu-health", "Held back", "share of time, by heat or a lack of power", height=200),
                    chart("gpu-errors", "Errors", "each minute; not those of an application", height=200),
                    chart("gpu-memory", "Memory", "", height=200),
                    chart("gpu-power", "Power", "", height=200),
                    chart("gpu-heat", "Temperature", "", height=200),
                ],
                id="gpu-charts",
                className="gpu-charts",
                hidden=True,
            ),
            html.Div(
                [panel("inventory", "Inventory", "", wide=True, csv="/api/csv/gpus")],
                className="panels",
            ),
        ],
        "/api/pages/fleet",
        takes="metric gpu q sort",
        orders="osort",
    )


Draw = Callable[[World, int, tuple[float, float], Look], Json]


def _gpu_chart(draw: Draw) -> Callable[[HubView, View, Look], Json]:
    """A chart of the GPU in the address, over the time range."""

    def drawn(hub: HubView, seen: View, look: Look) -> Json:
        if not seen.get("gpu"):
            return blank("", look)
        world = hub.over(seen.start, seen.end)
        row = gpu_row(world, seen.get("gpu")) if world else None
        if world is None or row is None:
            return blank("Nothing is known of it in this range.", look)
        return draw(world, row, (seen.start, seen.end), look)

    return drawn


PAGE = Page(
    "/fleet",
    "Fleet",
    "GPUs",
    layout,
    key="f",
    charts=tuple(
        Chart(name, _gpu_chart(draw))
        for name, draw in (
            ("gpu-use", figures.usage_figure),
            ("gpu-memory", figures.memory_figure),
            ("gpu-power", figures.power_figure),
            ("gpu-heat", figures.temperature_figure),
            ("gpu-health", figures.throttling_figure),
            ("gpu-errors", figures.error_figure),
        )
    ),
)
