"""Layout and charts of the Contention page: noisy neighbors, affected services, and their GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Line, Mark, blank, lines
from foreshock_dashboard.web.pages.contention.pair import find_service
from foreshock_dashboard.web.shell.shell import Page, chart, page_of, panel, verdict
from foreshock_dashboard.web.state.parameters import View

_PAIR = "service_namespace, service_name, aggressor_namespace, aggressor_name"
_WAITS = (
    f"avg by ({_PAIR}) (sum by (instance, uuid, {_PAIR}) "
    '(rate(gpu_service_wait_by_aggressor_seconds_total{aggressor_name!=""}[2m])))'
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
            verdict("verdict", "The longest wait", "headline", html.Div(id="pair-facts")),
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


class _Pair(NamedTuple):
    """A pair in the World of a time range. gpus: those that the two share."""

    world: World
    victim: Service
    aggressor: Service
    gpus: frozenset[Gpu]

    def tenants(self, service: Service) -> list[int]:
        """The rows of a service on the shared GPUs."""
        rows = enumerate(self.world.tenants)
        return [i for i, tenant in rows if tenant.service == service and tenant.gpu in self.gpus]


class _Series(NamedTuple):
    """The lines of a chart, and its presentation (see `lines`)."""

    lines: Sequence[Line]
    unit: str
    empty: str = ""
    top: float | None = None


def _wait(pair: _Pair) -> _Series | str:
    """Share of time that the victim waits: for the aggressor, and for any service; mean over the GPUs they share."""
    if not pair.gpus:
        return f"{pair.victim} and {pair.aggressor} share no GPU in this range."
    world = pair.world
    stalls = [i for i, stall in enumerate(world.stalls) if stall[1:] == (pair.victim, pair.aggressor)]
    total = nan_mean(world.stalled[pair.tenants(pair.victim)], axis=0)
    series = [
        Line(f"for {pair.aggressor}", nan_mean(world.stalled_by[stalls], axis=0), "crit", fill=True),
        Line("for anybody", total, "muted", dash="dot"),
    ]
    return _Series(series, "ratio", "Nothing told in this range how long one waits for the other.", 0.1)


def _latency(pair: _Pair) -> _Series | str:
    """Latency of the victim: time per token of its model servers, or else p95 and median of its requests."""
    world, victim = pair.world, pair.victim
    servers = world.model_servers
    if servers and victim in servers.services:
        per_token = servers.per_token[servers.services.index(victim)]
        if np.isfinite(per_token).any():
            return _Series([Line("time per token, mean", per_token, "data")], "s")
    if victim not in world.services:
        return f"{victim} serves no requests: how slow it is cannot be told."
    row = world.services.index(victim)
    series = [Line("p95", world.red.p95[row], "data"), Line("p50", world.red.p50[row], "muted", dash="dot")]
    return _Series(series, "s", f"{victim} had no requests in this range.")


def _usage(pair: _Pair) -> _Series | str:
    """Share of time that each of the two is busy, and contended; mean over the GPUs they share."""
    if not pair.gpus:
        return f"{pair.victim} and {pair.aggressor} share no GPU in this range."
    world, both = pair.world, (pair.victim, pair.aggressor)
    series = [Line(str(service), nan_mean(world.busy[pair.tenants(service)], axis=0)) for service in both]
    contended = world.contended[[i for i, gpu in enumerate(world.gpus) if gpu in pair.gpus]]
    series.append(Line("contended", nan_mean(contended, axis=0), "warn", dash="dot"))
    return _Series(series, "ratio", "Nothing told in this range who used the GPUs.", 1.0)


def _chart(name: str, series_of: Callable[[_Pair], _Series | str]) -> Chart:
    def draw(hub: HubView, view: View, look: Look) -> Json:
        if not view.get("victim") or not view.get("aggressor"):
            return blank("", look)
        world = hub.over(view.start, view.end)
        if world is None:
            return blank("Nothing is known of this range.", look)
        victim, aggressor = (find_service(view.get(side), world.services) for side in ("victim", "aggressor"))
        if victim is None or aggressor is None:
            return blank("No such service in this range.", look)
        marks = [
            Mark(item.since, "first sign", "crit")
            for item in snapshot_at(hub, view).incidents
            if (item.victim, item.aggressor) == (victim, aggressor) and view.start <= item.since <= view.end
        ]
        gpus = frozenset(stall.gpu for stall in world.stalls if stall[1:] == (victim, aggressor))
        series = series_of(_Pair(world, victim, aggressor, gpus))
        if isinstance(series, str):
            return blank(series, look)
        drawn, unit, empty, top = series
        span = (view.start, view.end)
        return lines(
            world.times, drawn, look, unit=unit, span=span, marks=marks, empty=empty, top=top, legend=len(drawn) == 1
        )

    return Chart(name, draw)


CHARTS = (_chart("pair-wait", _wait), _chart("pair-slow", _latency), _chart("pair-use", _usage))
PAGE = Page("/contention", "Contention", "Who starves whom", layout, key="c", charts=CHARTS)
