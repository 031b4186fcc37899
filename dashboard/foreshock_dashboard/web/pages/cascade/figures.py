"""The headroom of a service over time: wanted and ready replicas, and load. Pure."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS
from foreshock_dashboard.analysis.baseline.signals import capacity, model_servers
from foreshock_dashboard.analysis.saturation.pooling import safe_load
from foreshock_dashboard.model.forecast import Load
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import Line, Mark, blank, lines
from foreshock_dashboard.web.panels.vitals import load_ratios

WIDE = 72
"""Characters of names in a legend row below these charts, two of which are side by side."""


def replicas(
    world: World | None, service: Service | None, look: Look, span: tuple[float, float], marks: tuple[Mark, ...] = ()
) -> Json:
    """Wanted and ready replicas, and pods that wait for a node."""
    if world is None or service is None:
        return blank("No service tells of its replicas.", look)
    capacity_ = capacity(world)
    if service not in capacity_.services:
        return blank(f"No replicas of {service} are told of: kube-state-metrics is not read.", look)
    row = capacity_.services.index(service)
    series = (
        Line("ready", capacity_.ready[row], "ok", fill=True),
        Line("wanted", capacity_.wanted[row], "text", "dash"),
        Line("at most", capacity_.max_replicas[row], "muted", "dot"),
        Line("waiting for a node", capacity_.pending[row], "crit"),
    )
    return lines(world.times, series, look, unit="count", span=span, marks=marks, top=1.0, row=WIDE)


def load(
    world: World | None,
    service: Service | None,
    look: Look,
    span: tuple[float, float],
    marks: tuple[Mark, ...] = (),
    load_: Load | None = None,
) -> Json:
    """The load of a service relative to its ready replicas, with its safe limit; and the used quota of its pool.

    load: the load by the analysis, so that the line ends in the figure that the page shows.
    """
    if world is None or service is None:
        return blank("No service tells of its load.", look)
    series, why = [], f"{service} has no model server that tells of its load."
    servers = model_servers(world)
    if service in servers.services:
        why = f"The load of {service} is not known: its model servers have not told enough."
        laws = {service: load_.law} if load_ and load_.law else {}
        values = load_ratios(world, np.arange(len(world.times)), laws)[servers.services.index(service)]
        series.append(Line("offered load", values, "crit"))
    known = bool(series) and bool(np.isfinite(series[0].values).any())
    safe = load_.safe if load_ else _safe(world, service)
    if known and math.isfinite(safe):
        series.append(Line("safe, bursts included", np.full(len(world.times), safe), "ok", "dash"))
    used = _used(world, service)
    if used is not None:
        series.append(Line("GPU quota of its pool used", used, "muted", "dot"))
    return lines(
        world.times, series, look, unit="ratio", span=span, marks=marks, empty=why, note="" if known else why, top=1.0,
        legend=True, row=WIDE,
    )  # fmt: skip


def _safe(world: World, service: Service) -> float:
    if service not in world.services:
        return math.nan
    return safe_load(
        world.red.rate[world.services.index(service), -world.points(BASELINE_HISTORY_SECONDS) :], world.step
    )


def _used(world: World, service: Service) -> Floats | None:
    """The used share of its pool's quota.

    Its pool is that of its GPUs; without pools of GPUs, the pool in its name, as in the analysis.
    """
    capacity_ = capacity(world)
    pool = pool_of(world, [tenant.gpu for tenant in world.tenants if tenant.service == service])
    pools = [pool] if pool else [name for name in capacity_.pools if name and name in service.name]
    if len(pools) != 1 or pools[0] not in capacity_.pools:
        return None
    row = capacity_.pools.index(pools[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(capacity_.quota[row] > 0, capacity_.used[row] / capacity_.quota[row], np.nan)
