"""Layout and charts of the Contention page: GPU wait by pair of services, and the use of GPU time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.render.clause import filled_text, in_words
from foreshock_dashboard.render.verdict.pair_sentence import no_shared_gpu
from foreshock_dashboard.render.words.gpus import GPU_TEXTS
from foreshock_dashboard.render.words.incidents import CAUSES
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Line, Mark, blank, lines
from foreshock_dashboard.web.pages.contention.pair import find_service
from foreshock_dashboard.web.panels.service_charts import change_marks
from foreshock_dashboard.web.shell.shell import Page, chart, page_of, panel, verdict
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.parameters import View
from foreshock_dashboard.web.state.placement import incident_pair_rows

_PAIR = "service_namespace, service_name, aggressor_namespace, aggressor_name"
_WAITS = (
    f"avg by ({_PAIR}) (sum by (instance, uuid, {_PAIR}) "
    '(rate(gpu_service_wait_by_aggressor_seconds_total{aggressor_name!=""}[2m])))'
)
"""The mean over the GPUs that two services share, as the page has it."""
_LOSSES = "rate(gpu_service_resource_wait_seconds_total[2m]) >= 0.05"
_BUSY = (
    "avg by (pool) (rate(gpu_busy_seconds_total[5m]) * on (uuid) group_left (pool) max by (uuid, pool) (gpu_pool_info))"
)
"""Several targets may export the pool of one GPU."""


def layout() -> Component:
    """The headline and the open pair, the matrix, then GPU time by pool and by GPU, and tiers."""
    return page_of(
        "contention",
        CAUSES["gpu_contention"],
        [
            verdict("verdict", CAUSES["gpu_contention"], "headline", html.Div(id="pair-facts")),
            html.Div(
                [
                    chart("pair-wait", "GPU wait (upper bound)", "% of time", height=180),
                    chart("pair-latency", "Latency", "", height=180),
                    chart("pair-use", "Use of shared GPUs", "% of time", height=180),
                    panel("pair-gpus", "Shared GPUs", ""),
                    panel("pair-traces", "Traces with the longest GPU wait", ""),
                    panel("pair-changes", "Changes", "last 3 h", wide=True),
                ],
                id="pair-open",
                className="panels pair-panels",
                hidden=True,
            ),
            html.Div(
                [
                    panel(
                        "waits",
                        "GPU wait by service pair",
                        "share of time",
                        csv="/api/csv/pairs",
                        promql=_WAITS,
                    ),
                    panel("gpu-time", "GPU time: busy, contended, idle", GPU_TEXTS["contended"], promql=_BUSY),
                    panel(
                        "limits",
                        "Other resources at their limit",
                        "% of the last 2 min",
                        wide=True,
                        promql=_LOSSES,
                        hidden=True,
                    ),
                    panel("ranked", "Contended GPUs", "", wide=True, csv="/api/csv/gpus"),
                    panel("tiers", "GPUs by tier and pool", "", wide=True),
                ],
                className="panels contention-panels",
            ),
        ],
        "/api/pages/contention",
        takes="victim aggressor",
        keeps="order all",
        orders="sort gsort hsort tsort lsort",
    )


LEGEND_ROW_LENGTH = 40
"""Characters of names in a legend row below these charts, three of which are side by side."""


class _Pair(NamedTuple):
    """A pair in the World of a time range. gpus: those that the two share, of an open incident only its own."""

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
    empty: str
    top: float | None = None


def _wait(pair: _Pair) -> _Series | str:
    """Share of time that the victim waits: on the aggressor, and on any service; mean over the GPUs they share."""
    if not pair.gpus:
        return no_shared_gpu(pair.victim, pair.aggressor)
    world = pair.world
    both = pair.victim, pair.aggressor
    rows = [i for i, key in enumerate(world.gpu_wait_pairs) if key[1:] == both and key.gpu in pair.gpus]
    total = nan_mean(world.gpu_wait[pair.tenants(pair.victim)], axis=0)
    series = [
        Line(f"on {in_words(pair.aggressor)}", nan_mean(world.gpu_wait_by[rows], axis=0), "data", fill=True),
        Line("on any service", total, "muted", dash="dot"),
    ]
    return _Series(series, "ratio", filled_text(EMPTY["signal"], signal="GPU wait"), 0.1)


def _latency(pair: _Pair) -> _Series | str:
    """Latency of the victim: time per output token of its model servers, or else p95 and p50 of its requests."""
    world, victim, name = pair.world, pair.victim, in_words(pair.victim)
    servers = world.model_servers
    if servers and victim in servers.services:
        per_token = servers.per_token[servers.services.index(victim)]
        if np.isfinite(per_token).any():
            return _Series([Line(f"{name}: time per output token, mean", per_token, "data")], "s", "")
    no_traffic = filled_text(EMPTY["service_traffic"], service=name)
    if victim not in world.services:
        return no_traffic
    row = world.services.index(victim)
    series = [
        Line(f"{name} p95", world.red.p95[row], "data"),
        Line(f"{name} p50", world.red.p50[row], "muted", dash="dot"),
    ]
    return _Series(series, "s", no_traffic)


def _usage(pair: _Pair) -> _Series | str:
    """Share of time that each of the two is busy, and contended; mean over the GPUs they share."""
    if not pair.gpus:
        return no_shared_gpu(pair.victim, pair.aggressor)
    world, both = pair.world, (pair.victim, pair.aggressor)
    series = [Line(in_words(service), nan_mean(world.busy[pair.tenants(service)], axis=0)) for service in both]
    contended = world.contended[[i for i, gpu in enumerate(world.gpus) if gpu in pair.gpus]]
    series.append(Line("contended", nan_mean(contended, axis=0), "text", dash="dot"))
    return _Series(series, "ratio", filled_text(EMPTY["signal"], signal="GPU use"), 1.0)


def _chart(name: str, series_of: Callable[[_Pair], _Series | str]) -> Chart:
    def draw(hub: HubView, view: View, look: Look) -> Json:
        if not view.get("victim") or not view.get("aggressor"):
            return blank("", look)
        world = hub.over(view.start, view.end)
        if world is None:
            return blank(EMPTY["chart"], look)
        victim, aggressor = (find_service(view.get(side), world.services) for side in ("victim", "aggressor"))
        if victim is None or aggressor is None:
            return blank(EMPTY["service_chart"], look)
        snapshot = snapshot_at(hub, view)
        marks = [
            Mark(item.since, "first anomaly", "warn")
            for item in snapshot.incidents
            if (item.service, item.stated_suspect.service) == (victim, aggressor)
            and view.start <= item.since <= view.end
        ]
        marks += change_marks(world.changes, {victim, aggressor}, (view.start, view.end))
        rows = dict(incident_pair_rows(world, open_incidents(snapshot))).get((victim, aggressor), ())
        gpus = frozenset(world.gpu_wait_pairs[row].gpu for row in rows)
        series = series_of(_Pair(world, victim, aggressor, gpus))
        if isinstance(series, str):
            return blank(series, look)
        drawn, unit, empty, top = series
        span = (view.start, view.end)
        return lines(
            world.times, drawn, look, unit=unit, span=span, marks=marks, empty=empty, top=top, legend=True,
            row=LEGEND_ROW_LENGTH,
        )  # fmt: skip

    return Chart(name, draw)


CHARTS = (_chart("pair-wait", _wait), _chart("pair-latency", _latency), _chart("pair-use", _usage))
PAGE = Page("/contention", "Contention", CAUSES["gpu_contention"], layout, key="c", charts=CHARTS)
