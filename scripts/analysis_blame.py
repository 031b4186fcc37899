"""Plots of who waits for weights, and of who is blamed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from analysis_run import SINCE, Run
from foreshock_dashboard.web.charts.svg import Axis, SvgLine
from foreshock_dashboard.web.charts.svg import draw as svg


def weights(run: Run) -> str:
    """How much longer requests take than usual, how many the second user sends, and how idle the GPUs are meanwhile."""
    who, points = run.origin, run.shown(after=1500.0)
    x = run.minutes(points)
    gpus = {each.gpu for each in run.world.tenants if each.service == who}
    rows = [run.world.gpus.index(gpu) for gpu in sorted(gpus)]
    ingest = next(edge for edge in run.world.edges if edge.server == who and edge.client.name == "gateway")
    lines = [
        SvgLine("median, times the usual", x, run.over(points, lambda point: point.ratio("p50", who))),
        SvgLine("calls of gateway, 1/s", x, run.over(points, lambda point: point.value("edge_rate", ingest)), color=1),
        SvgLine("GPUs idle, %", x, [_idle(run, rows, at) for at in points], color=2),
    ]
    title = f"Who waits at {who.name} ({run.truth.scenario})"
    return svg(title, SINCE, Axis("times the usual; 1/s; %", log=True), lines, run.marks())


def _idle(run: Run, rows: Sequence[int], at: int) -> float:
    return 100.0 * (1.0 - float(np.nanmean(run.world.utilization[rows, at])))


def blame(run: Run) -> str:
    """Each candidate's share of the blame while the incident is open."""
    points = run.shown(0.0, 600.0)
    x = run.minutes(points)
    names = sorted({each.service for at in points if (told := run.incident(at)) for each in told.candidates})
    lines = []
    for color, who in enumerate(names[:6]):
        shares = [
            next((each.score for each in told.candidates if each.service == who), 0.0)
            if (told := run.incident(at))
            else math.nan
            for at in points
        ]
        lines.append(SvgLine(who.name, x, shares, color=color))
    return run.chart("Who is blamed", "share of the blame", lines)


PLOTS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "weights": ("model-thrash", weights),
    "blame": ("starve", blame),
}
