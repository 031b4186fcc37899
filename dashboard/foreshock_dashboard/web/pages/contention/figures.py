"""Charts of a victim and an aggressor over time: wait, latency of the victim, and use of the GPUs they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import Line, Mark, blank, lines


class PairView(NamedTuple):
    """A pair, the time range of a chart in Unix seconds, and its marks."""

    victim: Service
    aggressor: Service
    span: tuple[float, float]
    marks: Sequence[Mark] = ()


def shared_gpus(world: World, view: PairView) -> tuple[Gpu, ...]:
    """The GPUs that the pair shares."""
    gpus = {stall.gpu for stall in world.stalls if (stall.victim, stall.aggressor) == (view.victim, view.aggressor)}
    return tuple(sorted(gpus))


def wait_figure(world: World, view: PairView, look: Look) -> Json:
    """Share of time that the victim waits: for the aggressor, and for any service; mean over the GPUs they share."""
    on = shared_gpus(world, view)
    if not on:
        return blank(_no_shared_gpu(view), look)
    pair = [i for i, stall in enumerate(world.stalls) if stall[1:] == (view.victim, view.aggressor)]
    any_rows = [i for i, row in enumerate(world.tenants) if row.service == view.victim and row.gpu in on]
    series = [
        Line(f"for {view.aggressor}", nan_mean(world.stalled_by[pair], axis=0), "crit", fill=True),
        Line("for anybody", nan_mean(world.stalled[any_rows], axis=0), "muted", dash="dot"),
    ]
    why = "Nothing told in this range how long one waits for the other."
    return lines(world.times, series, look, unit="ratio", span=view.span, marks=view.marks, empty=why, top=0.1)


def latency_figure(world: World, view: PairView, look: Look) -> Json:
    """Latency of the victim: time per token of its model servers, or else p95 and median of its requests."""
    servers = world.model_servers
    if servers and view.victim in servers.services:
        per_token = servers.per_token[servers.services.index(view.victim)]
        if np.isfinite(per_token).any():
            series = [Line("time per token, mean", per_token, "crit")]
            return lines(world.times, series, look, unit="s", span=view.span, marks=view.marks, legend=True)
    if view.victim not in world.services:
        return blank(f"{view.victim} serves no requests: how slow it is cannot be told.", look)
    row = world.services.index(view.victim)
    series = [Line("p95", world.red.p95[row], "crit"), Line("p50", world.red.p50[row], "muted", dash="dot")]
    why = f"{view.victim} had no requests in this range."
    return lines(world.times, series, look, unit="s", span=view.span, marks=view.marks, empty=why)


def usage_figure(world: World, view: PairView, look: Look) -> Json:
    """Share of time that each of the two is busy, and contended; mean over the GPUs they share."""
    on = set(shared_gpus(world, view))
    if not on:
        return blank(_no_shared_gpu(view), look)
    series = [
        Line(str(service), nan_mean(world.busy[_rows(world, service, on)], axis=0))
        for service in (view.victim, view.aggressor)
    ]
    contended = world.contended[[i for i, gpu in enumerate(world.gpus) if gpu in on]]
    series.append(Line("contended", nan_mean(contended, axis=0), "warn", dash="dot"))
    why = "Nothing told in this range who used the GPUs."
    return lines(world.times, series, look, unit="ratio", span=view.span, marks=view.marks, empty=why, top=1.0)


def _rows(world: World, service: Service, on: set[Gpu]) -> list[int]:
    return [i for i, row in enumerate(world.tenants) if row.service == service and row.gpu in on]


def _no_shared_gpu(view: PairView) -> str:
    return f"{view.victim} and {view.aggressor} share no GPU in this range."
