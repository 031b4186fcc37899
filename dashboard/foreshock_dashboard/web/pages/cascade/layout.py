"""Layout and charts of the Cascade page: propagation, origin, time to SLO breaches, and headroom."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.signals import capacity, model_servers
from foreshock_dashboard.model.forecast import Load
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Line, Mark, blank, lines
from foreshock_dashboard.web.pages.cascade.data import headroom_service
from foreshock_dashboard.web.panels.timeline import chosen_incidents
from foreshock_dashboard.web.panels.vitals import load_ratios
from foreshock_dashboard.web.shell.shell import Page, chart, page_of, panel
from foreshock_dashboard.web.state.parameters import View


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


LEGEND_ROW_LENGTH = 72
"""Characters of names in a legend row below these charts, two of which are side by side."""


class _Headroom(NamedTuple):
    """What both charts show: a World, a service, a time range, the first sign of an incident, and the analyzed load."""

    world: World | None
    service: Service | None
    span: tuple[float, float]
    marks: tuple[Mark, ...]
    load: Load | None


def _headroom(hub: HubView, view: View) -> _Headroom:
    snapshot = snapshot_at(hub, view)
    chosen = chosen_incidents(snapshot, view.get("incident"))
    service = headroom_service(snapshot, chosen, view.get("service"))
    marks = () if chosen.onset is None else (Mark(chosen.onset, "first sign", "warn"),)
    load = next((load for load in snapshot.forecast.loads if load.service == service), None)
    return _Headroom(hub.over(view.start, view.end), service, (view.start, view.end), marks, load)


def replicas(hub: HubView, view: View, look: Look) -> Json:
    """Wanted and ready replicas, and pods that wait for a node."""
    world, service, span, marks, _ = _headroom(hub, view)
    if world is None or service is None:
        return blank("No service tells of its replicas.", look)
    state = capacity(world)
    if service not in state.services:
        return blank(f"No replicas of {service} are told of: kube-state-metrics is not read.", look)
    row = state.services.index(service)
    series = (
        Line("ready", state.ready[row], "data", fill=True),
        Line("wanted", state.wanted[row], "text", "dash"),
        Line("at most", state.max_replicas[row], "muted", "dot"),
        Line("waiting for a node", state.pending[row], "crit"),
    )
    return lines(world.times, series, look, unit="count", span=span, marks=marks, top=1.0, row=LEGEND_ROW_LENGTH)


def load(hub: HubView, view: View, look: Look) -> Json:
    """The load of a service relative to its ready replicas, with its safe limit; and the used quota of its pool.

    The line ends in the load of the analysis, which is the figure that the page shows.
    """
    world, service, span, marks, analyzed = _headroom(hub, view)
    if world is None or service is None:
        return blank("No service tells of its load.", look)
    series, why = [], f"{service} has no model server that tells of its load."
    servers = model_servers(world)
    if service in servers.services:
        why = f"The load of {service} is not known: its model servers have not told enough."
        laws = {service: analyzed.law} if analyzed and analyzed.law else {}
        values = load_ratios(world, np.arange(len(world.times)), laws)[servers.services.index(service)]
        series.append(Line("offered load", values, "data"))
    known = bool(series) and bool(np.isfinite(series[0].values).any())
    safe = analyzed.safe if analyzed else math.nan
    if known and math.isfinite(safe):
        series.append(Line("safe, bursts included", np.full(len(world.times), safe), "warn", "dash"))
    used = _used_quota(world, service)
    if used is not None:
        series.append(Line("GPU quota of its pool used", used, "muted", "dot"))
    return lines(
        world.times, series, look, unit="ratio", span=span, marks=marks, empty=why, note="" if known else why, top=1.0,
        legend=True, row=LEGEND_ROW_LENGTH,
    )  # fmt: skip


def _used_quota(world: World, service: Service) -> Floats | None:
    """The used share of its pool's quota.

    Its pool is that of its GPUs; without pools of GPUs, the pool in its name, as in the analysis.
    """
    state = capacity(world)
    pool = pool_of(world, [tenant.gpu for tenant in world.tenants if tenant.service == service])
    pools = [pool] if pool else [name for name in state.pools if name and name in service.name]
    if len(pools) != 1 or pools[0] not in state.pools:
        return None
    row = state.pools.index(pools[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(state.quota[row] > 0, state.used[row] / state.quota[row], np.nan)


CHARTS = (Chart("cascade-replicas", replicas), Chart("cascade-load", load))
PAGE = Page("/cascade", "Cascade", "Cascade", layout, key="a", charts=CHARTS)
