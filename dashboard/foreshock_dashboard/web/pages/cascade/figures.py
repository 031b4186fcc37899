"""A service's room over time: replicas that are wanted and there, and what is asked of them. Pure."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.levels import HISTORY_SECONDS
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
"""Characters of names that a row holds below these charts, of which two stand side by side."""


def replicas(
    world: World | None, who: Service | None, look: Look, span: tuple[float, float], marks: tuple[Mark, ...] = ()
) -> Json:
    """Replicas that the autoscaler wants, those that are ready, and pods that wait for a node."""
    if world is None or who is None:
        return blank("No service tells of its replicas.", look)
    found = capacity(world)
    if who not in found.services:
        return blank(f"No replicas of {who} are told of: kube-state-metrics is not read.", look)
    row = found.services.index(who)
    told = (
        Line("ready", found.ready[row], "ok", fill=True),
        Line("wanted", found.wanted[row], "text", "dash"),
        Line("at most", found.max_replicas[row], "muted", "dot"),
        Line("waiting for a node", found.pending[row], "crit"),
    )
    return lines(world.times, told, look, unit="count", span=span, marks=marks, top=1.0, row=WIDE)


def load(
    world: World | None,
    who: Service | None,
    look: Look,
    span: tuple[float, float],
    marks: tuple[Mark, ...] = (),
    judged: Load | None = None,
) -> Json:
    """What is asked of a service over what its ready replicas give, up to where that is safe; and its pool's quota.

    judged: how the analysis sees its load, so that the line ends in the figure that the page tells.
    """
    if world is None or who is None:
        return blank("No service tells of its load.", look)
    told, why = [], f"{who} has no model server that tells of its load."
    found = model_servers(world)
    if who in found.services:
        why = f"The load of {who} is not known: its model servers have not told enough."
        laws = {who: judged.law} if judged and judged.law else {}
        values = load_ratios(world, np.arange(len(world.times)), laws)[found.services.index(who)]
        told.append(Line("offered load", values, "crit"))
    known = bool(told) and bool(np.isfinite(told[0].values).any())
    safe = judged.safe if judged else _safe(world, who)
    if known and math.isfinite(safe):
        told.append(Line("safe, bursts included", np.full(len(world.times), safe), "ok", "dash"))
    used = _used(world, who)
    if used is not None:
        told.append(Line("GPU quota of its pool used", used, "muted", "dot"))
    return lines(
        world.times, told, look, unit="ratio", span=span, marks=marks, empty=why, note="" if known else why, top=1.0,
        legend=True, row=WIDE,
    )  # fmt: skip


def _safe(world: World, who: Service) -> float:
    if who not in world.services:
        return math.nan
    return safe_load(world.red.rate[world.services.index(who), -round(HISTORY_SECONDS / world.step) :], world.step)


def _used(world: World, who: Service) -> Floats | None:
    """The share of its pool's quota that is given out.

    Its pool is that of its GPUs; where nobody tells whose they are, the one that its name tells of, as in the analysis.
    """
    found = capacity(world)
    pool = pool_of(world, [tenant.gpu for tenant in world.tenants if tenant.service == who])
    named = [pool] if pool else [each for each in found.pools if each and each in who.name]
    if len(named) != 1 or named[0] not in found.pools:
        return None
    row = found.pools.index(named[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(found.quota[row] > 0, found.used[row] / found.quota[row], np.nan)
