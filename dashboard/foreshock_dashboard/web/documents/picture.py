"""The picture of an incident for a message: two plots of its postmortem as one PNG.

resvg draws the SVG: 1.4 MB and no other dependency, where matplotlib takes 10 MB and nine packages, CairoSVG needs a
system library, and a browser takes hundreds of megabytes. The font comes with foreshock, as images have none.
"""

from __future__ import annotations

import re
from pathlib import Path

from foreshock_dashboard.model.incident import Cause, Incident
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.svg import HEIGHT, WIDTH, Axis, SvgLine, draw
from foreshock_dashboard.web.documents.postmortem import incident_plots

FONT = Path(__file__).with_name("inter.ttf")
FAMILY = "Inter Variable"
ZOOM = 1.5
"""Pixels of the PNG per unit of the SVG."""
MAX_PLOTS = 2
MAX_LINES = 3
"""Services in one plot: the names of more do not fit above it."""
PLOTS: dict[Cause, tuple[str, ...]] = {
    "gpu_contention": ("latency", "gpu-wait", "gpu-usage"),
    "retry_storm": ("error-rate", "request-rate"),
}
"""Plots that show a stated cause, the first ones that have data; others show latency and request rate."""


def incident_picture(world: World, incident: Incident) -> bytes | None:
    """PNG of an incident; None without data around it. world: the data up to now."""
    svg = incident_svg(world, incident)
    return None if svg is None else _png(svg)


def sample_picture() -> bytes:
    """PNG for a test message."""
    axes = Axis("time, UTC", clock=True), Axis("seconds")
    return _png(draw("Test picture", *axes, [SvgLine("example", (0.0, 600.0, 900.0), (1.0, 1.0, 3.0))]))


def _png(svg: str) -> bytes:
    import resvg_py  # only a hub with channels needs it

    return resvg_py.svg_to_bytes(
        svg_string=svg,
        zoom=ZOOM,
        skip_system_fonts=True,
        font_files=[str(FONT)],
        font_family=FAMILY,
        sans_serif_family=FAMILY,
    )


def incident_svg(world: World, incident: Incident) -> str | None:
    """The plots one below another as one SVG."""
    plots = dict(incident_plots(world, incident, incident.since, incident.resolved or world.time, MAX_LINES))
    by_cause = PLOTS.get(incident.cause, ()) if incident.is_cause_stated else ()
    order = (*by_cause, "latency", "error-rate", "request-rate")
    shown = [plots[name] for name in dict.fromkeys(order) if name in plots][:MAX_PLOTS]
    if not shown:
        return None
    parts = [
        re.sub("^<svg ", f'<svg y="{row * HEIGHT}" width="{WIDTH}" height="{HEIGHT}" ', svg)
        for row, svg in enumerate(shown)
    ]
    size = f'width="{WIDTH}" height="{HEIGHT * len(parts)}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *parts, "</svg>"])
