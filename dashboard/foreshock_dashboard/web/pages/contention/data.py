"""What the Contention page shows: who waits for whom, on which GPUs, and what GPUs' time goes into. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.saturation.pooling import tier_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.units import percent
from foreshock_dashboard.web.charts.theme import service_colour
from foreshock_dashboard.web.pages.contention.pair import counted, pair_detail
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.freshness import serving_services
from foreshock_dashboard.web.state.numbers import newest, number
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO, Pair, pairs, placement

MAX_PAIRS = 600
"""Pairs on the page, the longest waits first; all are in /api/contention and its CSV."""
MAX_GPUS = 60
"""GPUs that are ranked on the page."""
MAX_GROUPS = 60
"""Pools or hosts on the page."""
TIME_SPLIT_SECONDS = 300.0
"""Seconds whose mean says what a GPU's time goes into: a moment says little."""
UNKNOWN_RANK, ABSENT_RANK = -1.0, -2.0
"""Where waits that are not known, and those of nobody, sort."""


class TimeSplit(NamedTuple):
    """What the time of GPUs goes into, shares 0…1 of it; NaN where nothing is known.

    useful: busy for one service, or for several that do not hinder each other. contended: full, and several want it
    (docs/metrics.md). idle: the rest.
    """

    useful: Floats
    contended: Floats
    idle: Floats


def time_split(world: World) -> TimeSplit:
    """Of each GPU, mean of the last `LATELY` seconds; shape (gpus,). Without word of contention, none is told."""
    points = max(1, round(TIME_SPLIT_SECONDS / world.step))
    busy, contended = (_mean(values[:, -points:]) for values in (world.utilization, world.contended))
    busy = np.clip(busy, 0.0, 1.0)
    both = np.minimum(contended, busy)
    return TimeSplit(busy - np.nan_to_num(both), both, 1.0 - busy)


def contention(snapshot: Snapshot, victim: str = "", aggressor: str = "") -> Json:
    """All values of the page. `victim`, `aggressor`: the pair that is open, as `namespace/name`."""
    world = snapshot.world
    if world is None:
        return {"ready": False}
    found = pairs(world)
    listed = found[:MAX_PAIRS]
    names = sorted({str(who) for pair in listed for who in (pair.victim, pair.aggressor)})
    place = {name: i for i, name in enumerate(names)}
    warned = {(str(item.victim), str(item.aggressor)): item for item in open_incidents(snapshot) if item.aggressor}
    spent, serving = time_split(world), serving_services(world)
    return {
        "ready": True,
        "headline": headline(found, serving, warned) if world.gpus else "No GPU is known yet.",
        "services": [[name, service_colour(name)] for name in names],
        "victims": [place[str(who)] for who in worst_first(listed, "victim", serving)],
        "aggressors": [place[str(who)] for who in worst_first(listed, "aggressor", serving)],
        "jobs": sorted({place[str(pair.victim)] for pair in listed if pair.victim not in serving}),
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
        "gpus": ranked_gpus(world, spent),
        "groups": groups(world, spent),
        "tiers": tiers(world),
        "missing": [name for name in world.missing if "stalled" in name or "contended" in name],
        "pair": pair_detail(snapshot, found, victim, aggressor) if victim or aggressor else None,
    }


def worst_first(
    found: Sequence[Pair], side: Literal["victim", "aggressor"], serving: Collection[Service]
) -> list[Service]:
    """One side of all pairs, by the longest wait of each: of those who answer requests, then of any.

    So who answers no requests comes after those who do, and who keeps only such jobs waiting after who keeps others.
    """
    longest: dict[Service, tuple[float, float]] = {}
    for pair in found:
        wait = UNKNOWN_RANK if pair.ratio is None else pair.ratio
        of_those, of_any = longest.get(who := getattr(pair, side), (ABSENT_RANK, ABSENT_RANK))
        longest[who] = max(of_those, wait if pair.victim in serving else ABSENT_RANK), max(of_any, wait)
    return sorted(longest, key=lambda who: (-longest[who][0], -longest[who][1], str(who)))


def headline(found: Sequence[Pair], serving: Collection[Service], warned: Collection[tuple[str, str]] = ()) -> str:
    """The worst pair as a sentence, of those that answer requests where one of them waits; or why there is none.

    warned: victim and aggressor of the pairs that are in an incident.
    """
    if not found:
        return "No two services share a GPU, so none can starve another."
    known = [pair for pair in found if pair.ratio is not None]
    if not known:
        return "Cannot tell: nothing says who waits for whom."
    waiting = [pair for pair in known if (pair.ratio or 0.0) >= MIN_WAIT_RATIO]
    if not waiting:
        return f"No service waits for another: {counted(len(found), 'pair')} share GPUs in peace."
    worst = next((pair for pair in waiting if pair.victim in serving), waiting[0])
    who = f"{worst.victim}{'' if worst.victim in serving else ', which answers no requests,'}"
    longest = f"{who} waits up to {percent(worst.ratio or 0.0)} of its time for {worst.aggressor}"
    wait = f"{len(waiting)} wait{'s' if len(waiting) == 1 else ''}"
    none = (
        "" if any((str(pair.victim), str(pair.aggressor)) in warned for pair in found) else "; none is in an incident"
    )
    more = f" Of {counted(len(found), 'pair')} that share GPUs, {wait}{none}." if len(found) > 1 else ""
    return f"{longest} on {counted(len(worst.gpus), 'GPU')}.{more}"


def ranked_gpus(world: World, spent: TimeSplit) -> list[Json]:
    """GPUs by how many services wait there times how long they do, the worst first; then those contended."""
    place, stalled = placement(world), newest(world.stalled)
    waiting = np.nan_to_num(stalled) >= MIN_WAIT_RATIO
    count = len(world.gpus)
    waits = np.bincount(place.gpu[waiting], stalled[waiting], count)
    waiters = np.bincount(place.gpu[waiting], minlength=count)
    score = waits * waiters
    order = np.lexsort((np.arange(count), -np.nan_to_num(spent.contended), -score))[:MAX_GPUS].tolist()
    told = bool(np.isfinite(stalled).any())
    return [
        {
            "gpu": world.gpus[row].label,
            "pool": world.pool[row] if world.pool else "",
            "waiters": int(waiters[row]) if told else None,
            "wait": number(float(waits[row])) if told else None,
            **_shares(spent, np.array([row])),
            "services": _tenants(world, place.on(row).tolist()),
        }
        for row in order
    ]


def _tenants(world: World, rows: Sequence[int]) -> list[Json]:
    """Tenants of a GPU, the busiest first."""
    busy, stalled = newest(world.busy), newest(world.stalled)
    rows = sorted(rows, key=lambda row: (-np.nan_to_num(busy[row]), world.tenants[row].service))
    return [
        {
            "service": str(world.tenants[row].service),
            "busy": number(float(busy[row])),
            "stalled": number(float(stalled[row])),
        }
        for row in rows
    ]


def groups(world: World, spent: TimeSplit) -> Json:
    """What the time of each pool goes into; of each host, where nobody tells of pools. The most contended first."""
    by_pool = any(world.pool)
    rows: dict[str, list[int]] = {}
    for i, gpu in enumerate(world.gpus):
        rows.setdefault((world.pool[i] or "no pool") if by_pool else gpu.host, []).append(i)
    listed = [{"name": name, "gpus": len(those), **_shares(spent, np.array(those))} for name, those in rows.items()]
    listed.sort(key=lambda row: (-(row["contended"] or 0.0), str(row["name"])))
    return {"by": "pool" if by_pool else "host", "rows": listed[:MAX_GROUPS], "all": len(listed)}


def tiers(world: World) -> Json:
    """On how many GPUs of each pool each tier is; and how many of all carry more than one tier.

    `cells` has a row a tier: of each pool [GPUs, of these shared with another tier].
    """
    of, place = tier_of(world), placement(world)
    names = sorted({of.get(service, "") for service in place.services})
    places = sorted(set(world.pool)) if any(world.pool) else [""]
    pool = np.array([places.index(name) for name in world.pool] if any(world.pool) else [0] * len(world.gpus), np.int64)
    tier = np.array([names.index(of.get(service, "")) for service in place.services], np.int64)
    on = np.zeros((len(world.gpus), len(names)), bool)
    on[place.gpu, tier[place.service]] = True
    crowded = on.sum(axis=1) > 1
    cells = [
        [_gpu_counts(on[:, i] & (pool == where), crowded) for where in range(len(places))] for i in range(len(names))
    ]
    return {
        "tiers": names,
        "pools": places,
        "cells": cells,
        "mixed": int(crowded.sum()),
        "configured": any(world.tier),
    }


def _gpu_counts(these: NDArray[np.bool_], crowded: NDArray[np.bool_]) -> list[int] | None:
    """How many GPUs, and how many of them carry another tier too; None for none."""
    return [int(these.sum()), int((these & crowded).sum())] if these.any() else None


def _shares(spent: TimeSplit, rows: NDArray[np.int64]) -> Json:
    """Mean over GPUs of what their time goes into."""
    return {name: number(float(_mean(values[rows][None])[0])) for name, values in spent._asdict().items()}


def _mean(values: Floats) -> Floats:
    """Of each row, NaN where nothing is known."""
    known = np.isfinite(values)
    count = np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1, dtype=np.float64) / count)
