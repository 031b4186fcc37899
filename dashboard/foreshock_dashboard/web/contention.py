"""What the Contention page shows: who waits for whom, on which GPUs, and what GPUs' time goes into. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.pooling import tier_of
from foreshock_dashboard.model.query import Floats, Json
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.web.now import WAITING
from foreshock_dashboard.web.numbers import last, number
from foreshock_dashboard.web.pair import count, opened, percent
from foreshock_dashboard.web.payloads import Pair, open_incidents, pairs
from foreshock_dashboard.web.theme import service_colour

MOST_PAIRS = 600
"""Pairs on the page, the longest waits first; all are in /api/contention and its CSV."""
MOST_GPUS = 60
"""GPUs that are ranked on the page."""
MOST_GROUPS = 60
"""Pools or hosts on the page."""
LATELY = 300.0
"""Seconds whose mean says what a GPU's time goes into: a moment says little."""


class Split(NamedTuple):
    """What the time of GPUs goes into, shares 0…1 of it; NaN where nothing is known.

    useful: busy for one service, or for several that do not hinder each other. contended: full, and several want it
    (docs/metrics.md). idle: the rest.
    """

    useful: Floats
    contended: Floats
    idle: Floats


def split(world: World) -> Split:
    """Of each GPU, mean of the last `LATELY` seconds; shape (gpus,). Without word of contention, none is told."""
    points = max(1, round(LATELY / world.step))
    busy, contended = (_mean(values[:, -points:]) for values in (world.utilization, world.contended))
    busy = np.clip(busy, 0.0, 1.0)
    both = np.minimum(contended, busy)
    return Split(busy - np.nan_to_num(both), both, 1.0 - busy)


def contention(snapshot: Snapshot, victim: str = "", aggressor: str = "") -> Json:
    """All values of the page. `victim`, `aggressor`: the pair that is open, as `namespace/name`."""
    world = snapshot.world
    if world is None:
        return {"ready": False}
    found = pairs(world)
    listed = found[:MOST_PAIRS]
    names = sorted({str(who) for pair in listed for who in (pair.victim, pair.aggressor)})
    place = {name: i for i, name in enumerate(names)}
    warned = {(str(item.victim), str(item.aggressor)): item for item in open_incidents(snapshot) if item.aggressor}
    spent = split(world)
    return {
        "ready": True,
        "headline": headline(found),
        "services": [[name, service_colour(name)] for name in names],
        "pairs": [
            [
                place[str(pair.victim)],
                place[str(pair.aggressor)],
                pair.ratio,
                len(pair.gpus),
                (str(pair.victim), str(pair.aggressor)) in warned,
            ]
            for pair in listed
        ],
        "hidden": len(found) - len(listed),
        "gpus": ranked(world, spent),
        "groups": groups(world, spent),
        "tiers": tiers(world),
        "missing": [name for name in world.missing if "stalled" in name or "contended" in name],
        "pair": opened(snapshot, found, victim, aggressor) if victim or aggressor else None,
    }


def headline(found: Sequence[Pair]) -> str:
    """The worst pair as a sentence; what else can be said where nobody waits."""
    if not found:
        return "No two services share a GPU, so none can starve another."
    known = [pair for pair in found if pair.ratio is not None]
    if not known:
        return "Cannot tell: nothing says who waits for whom."
    waiting = [pair for pair in known if (pair.ratio or 0.0) >= WAITING]
    if not waiting:
        return f"No service waits for another: {count(len(found), 'pair')} share GPUs in peace."
    worst = waiting[0]
    longest = f"{worst.victim} waits up to {percent(worst.ratio)} of its time for {worst.aggressor}"
    more = f" Of {count(len(found), 'pair')} that share GPUs, {len(waiting)} wait." if len(found) > 1 else ""
    return f"{longest} on {count(len(worst.gpus), 'GPU')}.{more}"


def ranked(world: World, spent: Split) -> list[Json]:
    """GPUs by how many services wait there times how long they do, the worst first; then those contended."""
    place = {gpu: i for i, gpu in enumerate(world.gpus)}
    waits = np.zeros(len(world.gpus))
    waiters = np.zeros(len(world.gpus), np.int64)
    on: dict[int, list[Json]] = {}
    rows = zip(world.tenants, last(world.busy), last(world.stalled), strict=True)
    held = [(place[tenant.gpu], tenant.service, busy, stalled) for tenant, busy, stalled in rows]
    for row, _, _, stalled in held:
        if stalled is not None and stalled >= WAITING:
            waits[row] += stalled
            waiters[row] += 1
    score = waits * waiters
    order = np.lexsort((np.arange(len(score)), -np.nan_to_num(spent.contended), -score))[:MOST_GPUS].tolist()
    wanted = set(order)
    for row, service, busy, stalled in held:
        if row in wanted:
            on.setdefault(row, []).append({"service": str(service), "busy": busy, "stalled": stalled})
    told = np.isfinite(world.stalled[:, -1]).any() if len(world.tenants) else False
    return [
        {
            "gpu": world.gpus[row].label,
            "pool": world.pool[row] if world.pool else "",
            "waiters": int(waiters[row]) if told else None,
            "wait": number(float(waits[row])) if told else None,
            **_shares(spent, np.array([row])),
            "services": sorted(on.get(row, ()), key=lambda one: (-(one["busy"] or 0.0), str(one["service"]))),
        }
        for row in order
    ]


def groups(world: World, spent: Split) -> Json:
    """What the time of each pool goes into; of each host, where nobody tells of pools. The most contended first."""
    by_pool = any(world.pool)
    rows: dict[str, list[int]] = {}
    for i, gpu in enumerate(world.gpus):
        rows.setdefault((world.pool[i] or "no pool") if by_pool else gpu.host, []).append(i)
    listed = [{"name": name, "gpus": len(those), **_shares(spent, np.array(those))} for name, those in rows.items()]
    listed.sort(key=lambda row: (-(row["contended"] or 0.0), str(row["name"])))
    return {"by": "pool" if by_pool else "host", "rows": listed[:MOST_GROUPS], "all": len(listed)}


def tiers(world: World) -> Json:
    """On how many GPUs of each pool each tier is; and how many of all carry more than one tier.

    `cells` has a row a tier: of each pool [GPUs, of these shared with another tier].
    """
    of = tier_of(world)
    on: dict[Gpu, set[str]] = {}
    for tenant in world.tenants:
        on.setdefault(tenant.gpu, set()).add(of.get(tenant.service, ""))
    pool = dict(zip(world.gpus, world.pool, strict=False))
    counted: dict[tuple[str, str], list[int]] = {}
    for gpu, those in on.items():
        for tier in those:
            cell = counted.setdefault((tier, pool.get(gpu, "")), [0, 0])
            cell[0] += 1
            cell[1] += len(those) > 1
    names, places = sorted({tier for tier, _ in counted}), sorted({where for _, where in counted})
    return {
        "tiers": names,
        "pools": places,
        "cells": [[counted.get((tier, where)) for where in places] for tier in names],
        "mixed": sum(len(those) > 1 for those in on.values()),
        "configured": any(world.tier),
    }


def _shares(spent: Split, rows: NDArray[np.int64]) -> Json:
    """Mean over GPUs of what their time goes into."""
    return {name: number(float(_mean(values[rows][None])[0])) for name, values in spent._asdict().items()}


def _mean(values: Floats) -> Floats:
    """Of each row, NaN where nothing is known."""
    known = np.isfinite(values)
    count = np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1, dtype=np.float64) / count)
