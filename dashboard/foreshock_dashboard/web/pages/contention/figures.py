"""Charts of a victim and an aggressor over time: how long one waits, how slow it is, who uses the GPUs they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import Line, Mark, blank, lines


class PairView(NamedTuple):
    """What a chart of a pair covers: the pair, the Unix seconds of its axis, and the moments marked on it."""

    victim: Service
    aggressor: Service
    span: tuple[float, float]
    marks: Sequence[Mark] = ()


def shared_gpus(world: World, seen: PairView) -> tuple[Gpu, ...]:
    """The GPUs on which one makes the other wait."""
    found = {stall.gpu for stall in world.stalls if (stall.victim, stall.aggressor) == (seen.victim, seen.aggressor)}
    return tuple(sorted(found))


def wait_figure(world: World, seen: PairView, look: Look) -> Json:
    """Share of time that the victim waits: for the aggressor, and for anybody; mean over the GPUs they share."""
    on = shared_gpus(world, seen)
    if not on:
        return blank(_no_shared_gpu(seen), look)
    pair = [i for i, stall in enumerate(world.stalls) if stall[1:] == (seen.victim, seen.aggressor)]
    anybody = [i for i, row in enumerate(world.tenants) if row.service == seen.victim and row.gpu in on]
    found = [
        Line(f"for {seen.aggressor}", _mean(world.stalled_by[pair]), "crit", fill=True),
        Line("for anybody", _mean(world.stalled[anybody]), "muted", dash="dot"),
    ]
    why = "Nothing told in this range how long one waits for the other."
    return lines(world.times, found, look, unit="ratio", span=seen.span, marks=seen.marks, empty=why, top=0.1)


def latency_figure(world: World, seen: PairView, look: Look) -> Json:
    """How slow the victim is: time for each token of a model server, else p95 and median of its requests."""
    told = world.model_servers
    if told and seen.victim in told.services:
        per_token = told.per_token[told.services.index(seen.victim)]
        if np.isfinite(per_token).any():
            found = [Line("time per token, mean", per_token, "crit")]
            return lines(world.times, found, look, unit="s", span=seen.span, marks=seen.marks, legend=True)
    if seen.victim not in world.services:
        return blank(f"{seen.victim} serves no requests: how slow it is cannot be told.", look)
    row = world.services.index(seen.victim)
    found = [Line("p95", world.red.p95[row], "crit"), Line("p50", world.red.p50[row], "muted", dash="dot")]
    why = f"{seen.victim} had no requests in this range."
    return lines(world.times, found, look, unit="s", span=seen.span, marks=seen.marks, empty=why)


def usage_figure(world: World, seen: PairView, look: Look) -> Json:
    """Share of time that each of the two is busy, and both contend; mean over the GPUs they share."""
    on = set(shared_gpus(world, seen))
    if not on:
        return blank(_no_shared_gpu(seen), look)
    found = [Line(str(who), _mean(world.busy[_rows(world, who, on)])) for who in (seen.victim, seen.aggressor)]
    contended = world.contended[[i for i, gpu in enumerate(world.gpus) if gpu in on]]
    found.append(Line("contended", _mean(contended), "warn", dash="dot"))
    why = "Nothing told in this range who used the GPUs."
    return lines(world.times, found, look, unit="ratio", span=seen.span, marks=seen.marks, empty=why, top=1.0)


def _rows(world: World, who: Service, on: set[Gpu]) -> list[int]:
    return [i for i, row in enumerate(world.tenants) if row.service == who and row.gpu in on]


def _no_shared_gpu(seen: PairView) -> str:
    return f"{seen.victim} and {seen.aggressor} share no GPU in this range."


def _mean(values: Floats) -> Floats:
    """Over the rows, at each time; NaN where nothing is known."""
    known = np.isfinite(values)
    count = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    return np.asarray(np.where(known, values, 0.0).sum(axis=0, dtype=np.float64) / count)
